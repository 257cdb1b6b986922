"""The servers of the seeds' benchmarks: `python -m hubws.bench.seeds.servers KIND HOST BACKEND`.

Each prints its port, and serves until its standard input ends.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from ...connection.callbacks import Callbacks
from ...connection.connection import Connection
from ...errors import ConnectionClosed
from ...hub.hub import Hub
from ...hub.open import open_hub
from ...proxy.backends import Backend
from ...proxy.routes import Route
from ...proxy.serve import Proxy, serve_proxy
from ...server.serve import serve
from ...server.server import Server

BROADCAST_EVERY = 3.0
"""Seconds between two messages of the chat's server to everybody."""

PUSHED = "yo"

BROADCAST = json.dumps({"event": "CHAT_MSG", "user": "server", "message": "hello, this is server"})


def send_back(connection: Connection, message: str | bytes) -> None:
    """Echo by a callback."""
    connection.send_nowait(message)


async def echo(connection: Connection) -> None:
    """Echo by a task, which waits when its client doesn't read."""
    async for message in connection:
        await connection.send(message)


async def push(connection: Connection) -> None:
    """Send the same message as fast as the client reads."""
    try:
        while True:
            await connection.send(PUSHED)
    except ConnectionClosed:
        pass


async def chat(hub: Hub, connection: Connection) -> None:
    """A user who says things that nobody but the server hears, as in the tutorial."""
    async with hub.member(connection):
        async for message in connection:
            json.loads(message)


async def announce(hub: Hub) -> None:
    """Say something to everybody, again and again."""
    while True:
        await trio.sleep(BROADCAST_EVERY)
        hub.broadcast(BROADCAST)


async def run_chat(host: str, task_status: trio.TaskStatus[Server]) -> None:
    """Serve the chat."""
    async with open_hub() as hub, trio.open_nursery() as nursery:
        nursery.start_soon(announce, hub)
        await serve(partial(chat, hub), host, 0, grace=0, task_status=task_status)


async def run_proxy(backend: str, host: str, task_status: trio.TaskStatus[Proxy]) -> None:
    """Serve as a proxy for /echo, as the document's."""
    routes = [Route(path="/echo", backends=[Backend(backend)])]
    await serve_proxy(routes, host, 0, grace=0, task_status=task_status)


Run = Callable[..., Awaitable[None]]

KINDS: dict[str, Run] = {
    "callbacks": partial(
        serve, Callbacks(on_message=send_back), port=0, grace=0, policy="disconnect"
    ),
    "tasks": partial(serve, echo, port=0, grace=0),
    "push": partial(serve, push, port=0, grace=0),
    "chat": run_chat,
}


async def main(kind: str, host: str, backend: str) -> None:
    """Serve until standard input ends."""
    run: Run = partial(run_proxy, backend) if kind == "proxy" else KINDS[kind]
    async with trio.open_nursery() as nursery:
        started: Server | Proxy = await nursery.start(partial(run, host=host))
        server = started.server if isinstance(started, Proxy) else started
        print(server.port, flush=True)
        async with trio.lowlevel.FdStream(os.dup(0)) as source:
            async for _ in source:
                pass
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3])
