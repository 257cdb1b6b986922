"""`hubws echo-server`, `push-server` and `broadcast-server`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, Literal

import trio
from cyclopts import Parameter

from ..connection.callbacks import Callbacks
from ..connection.connection import Connection
from ..errors import ConnectionClosed
from ..hub.hub import open_hub
from ..server.accept import Handler
from ..server.serve import serve
from ..server.server import Server
from .options import ServerOptions
from .output import size_in_words
from .running import Run, Status, in_one_line, run

ECHO_EXAMPLES = """
hubws echo-server  # at ws://127.0.0.1:8008/, until Ctrl-C
hubws echo-server --host "" --port 443 --certificate chain.pem --key key.pem
"""

PUSH_EXAMPLES = """
hubws push-server --send-msg yo  # as fast as each client reads
hubws push-server --rate 100  # 100 messages a second to each
"""

BROADCAST_EXAMPLES = """
hubws broadcast-server
hubws broadcast-server --policy drop_oldest  # slow clients miss messages
"""

CATCH_UP = 0.01
"""Seconds' worth of messages that is made up for; of what a slow reader was spared, no more."""

logger = logging.getLogger("hubws.cli")

_NO_OPTIONS = ServerOptions()


def echo_server(*, options: ServerOptions = _NO_OPTIONS) -> int:
    """Serve clients who get back what they send."""
    return run(partial(serve_until_interrupted, _echo, options), options)


async def _echo(connection: Connection) -> None:
    async for message in connection:
        await connection.send(message)


def push_server(
    *,
    send_msg: str = "hello",
    binary: Annotated[bool, Parameter(negative=())] = False,
    rate: float | None = None,
    options: ServerOptions = _NO_OPTIONS,
) -> int:
    """Serve clients who get the same message again and again.

    Args:
        send_msg: the message.
        binary: send it as binary.
        rate: messages a second to each client; by default as fast as it reads.

    """
    if rate is not None and not 0 < rate < float("inf"):
        raise ValueError(f"--rate must be over 0 messages a second, not {rate:g}")
    message = send_msg.encode() if binary else send_msg
    return run(partial(serve_until_interrupted, partial(_push, message, rate), options), options)


async def _push(message: str | bytes, rate: float | None, connection: Connection) -> None:
    if rate is None:
        while True:
            await connection.send(message)
    due = trio.current_time()
    while True:
        await trio.sleep_until(due)
        await connection.send(message)
        due = max(due + 1 / rate, trio.current_time() - CATCH_UP)


def broadcast_server(
    *,
    policy: Literal["disconnect", "drop_oldest", "drop_newest", "latest"] = "disconnect",
    options: ServerOptions = _NO_OPTIONS,
) -> int:
    """Serve clients who get what the others send.

    Args:
        policy: what happens to a client who reads too slowly.

    """
    return run(partial(_broadcast, policy, options), options)


async def _broadcast(policy: str, options: ServerOptions, run: Run) -> Status:
    async with open_hub(policy=policy) as hub:

        async def relay(connection: Connection) -> None:
            async with hub.member(connection):
                async for message in connection:
                    hub.broadcast(message, exclude=connection)

        return await serve_until_interrupted(relay, options, run)


class Totals:
    """What a server saw of its clients."""

    def __init__(self) -> None:
        self.connections = self.bytes_received = self.bytes_sent = 0

    @property
    def callbacks(self) -> Callbacks:
        """Log and count each connection."""
        return Callbacks(on_open=self._on_open, on_close=self._on_close)

    def _on_open(self, connection: Connection) -> None:
        self.connections += 1
        logger.info("client %d opened %s", connection.id, connection.path)

    def _on_close(self, connection: Connection) -> None:
        figures = connection.statistics()
        self.bytes_received += figures.bytes_received
        self.bytes_sent += figures.bytes_sent
        logger.info("client %d: %s", connection.id, connection.closure)


async def serve_until_interrupted(
    handler: Handler, options: ServerOptions, run: Run, **more: Any
) -> Status:
    """Serve, and when interrupted close every connection with 1001; `more` goes to `serve`."""
    totals = Totals()
    arguments = options.arguments() | {"callbacks": totals.callbacks} | more

    async def handle(connection: Connection) -> None:
        try:
            await handler(connection)
        except ConnectionClosed:  # which is logged as what it is
            pass

    async def listen(task_status: trio.TaskStatus[Server]) -> None:
        await serve(handle, task_status=task_status, **arguments)

    server = await attend(listen, options, run)
    received, sent = totals.bytes_received, totals.bytes_sent
    run.output.note(
        f"{totals.connections} connections, {size_in_words(received)} received, "
        f"{size_in_words(sent)} sent"
    )
    run.output.record(
        event="summary",
        connections=totals.connections,
        bytes_received=received,
        bytes_sent=sent,
        clean=server.clean,
    )
    return Status.DONE


async def attend(
    listen: Callable[[trio.TaskStatus[Server]], Awaitable[None]], options: ServerOptions, run: Run
) -> Server:
    """Start a server, say where it listens, and cancel it when interrupted."""
    async with trio.open_nursery() as nursery:
        try:
            server: Server = await nursery.start(listen)
        except OSError as error:
            raise OSError(f"can't listen at {options.place}: {in_one_line(error)}") from error
        for url in urls_of(options, server):
            run.output.say(f"listening at {url}")
            run.output.record(event="listening", url=url)
        with run.interrupt.here():
            await run.output.flush()
            await trio.sleep_forever()
        nursery.cancel_scope.cancel()
    return server


def urls_of(options: ServerOptions, server: Server) -> list[str]:
    """Where clients reach the server."""
    scheme = "wss" if options.is_secure else "ws"
    urls = []
    for address in server.addresses:
        if isinstance(address, tuple):
            host = f"[{address[0]}]" if ":" in address[0] else address[0]
            urls.append(f"{scheme}://{host}:{address[1]}/")
        else:
            urls.append(f"{scheme}+unix:{address}")
    return urls
