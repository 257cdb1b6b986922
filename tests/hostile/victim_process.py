"""hubws in a process of its own, to be attacked: it serves, and it dials where it is told to.

Arguments: a folder with a certificate to serve with (server.pem) and the authority to trust
(authority.pem), and how many descriptors it may have, 0 for as many as it gets. It prints the ports
it serves on, by name, as one line of JSON. On its port "control", text messages are orders in JSON:
"figures", "give back memory", or what to dial.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import json
import logging
import resource
import ssl
import sys
from pathlib import Path
from typing import Any

import trio

import hubws

HASTY = {
    "handshake_timeout": 0.4,
    "keepalive_interval": 0.1,
    "keepalive_timeout": 0.3,
    "write_timeout": 0.3,
    "close_timeout": 0.3,
}
"""Short times for attacks that play for time."""

servers: dict[str, hubws.Server] = {}


async def echo(connection: hubws.Connection) -> None:
    async for message in connection:
        await connection.send(message)


def echo_by_callback(connection: hubws.Connection, message: str | bytes) -> None:
    connection.send_nowait(message)


async def bounce(connection: hubws.Connection) -> None:
    """Close as soon as it is open."""
    await connection.aclose(4000)


async def push(connection: hubws.Connection) -> None:
    """Send for ever."""
    while True:
        await connection.send(bytes(65536))


async def ponder(request: hubws.Request) -> None:
    """Take time to let somebody in."""
    await trio.sleep(0.3)


def page(request: hubws.Request) -> hubws.Response | None:
    """A page, and a careless redirect: it puts what was asked for into a header."""
    if request.path.startswith("/to/"):
        return hubws.Response(302, headers={"Location": request.path[4:]})
    return hubws.Response(200, bytes(8 * 1024 * 1024)) if request.path == "/page" else None


async def narrow_listener() -> trio.SocketListener:
    """A listener whose connections take little at once, so that a peer that reads nothing is felt."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    listener.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 4096)
    return listener


async def services(tls: ssl.SSLContext) -> dict[str, tuple[Any, dict[str, Any]]]:
    """What is served, by name: handler and options."""
    return {
        "echo": (echo, {"on_request": page, "subprotocols": ["chat"]}),
        "hasty": (echo, {"on_request": page, **HASTY}),
        "tls": (echo, {"ssl_context": tls, **HASTY}),
        "deflate": (echo, {"compression": True}),
        "small": (echo, {"max_message_size": 64 * 1024}),
        "narrow": (echo, {"listeners": [await narrow_listener()]}),
        "narrow hasty": (echo, {"listeners": [await narrow_listener()], **HASTY}),
        "callbacks": (
            hubws.Callbacks(on_message=echo_by_callback),
            {"listeners": [await narrow_listener()], "policy": "disconnect"},
        ),
        "push": (push, {"listeners": [await narrow_listener()], **HASTY}),
        "bounce": (bounce, HASTY),
        "patient bounce": (bounce, {}),
        "secret": (echo, {"authenticate": hubws.basic_auth({"ada": "secret"})}),
        "pondering": (echo, {"authenticate": ponder}),
        "guarded": (echo, {"origins": ["http://good.example:8000"]}),
    }


def give_back_memory() -> None:
    """Return to the system what is free, so that the next attack can't hide in it."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def figures() -> dict[str, Any]:
    """What an attack must not leave behind."""
    statistics = {name: server.statistics() for name, server in servers.items()}
    return {
        "connections": {name: figure.connections for name, figure in statistics.items()},
        "handshaking": {name: figure.handshaking for name, figure in statistics.items()},
        "received": {
            name: sum(connection.statistics().bytes_received for connection in server.connections)
            for name, server in servers.items()
            if name != "control"
        },
        "stalled": {
            name: sum(connection.statistics().is_stalled for connection in server.connections)
            for name, server in servers.items()
        },
        "paused": {
            name: sum(connection.is_paused for connection in server.connections)
            for name, server in servers.items()
        },
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
    }


async def dial(
    url: str, options: dict[str, Any], tls: ssl.SSLContext, *, greet: bool = False
) -> dict[str, Any]:
    """Connect, echo until the end (or greet, wait for an answer and go), and tell how it went."""
    connection = None
    error: Exception | None = None
    messages = 0
    try:
        context = tls if url.startswith("wss") else None
        async with hubws.connect(url, ssl_context=context, **options) as connection:
            if greet:
                await connection.send("hello")
                messages = int(await connection.receive() == "hello")
            else:
                async for message in connection:
                    messages += 1
                    await connection.send(message)
    except (hubws.HubwsError, OSError, ValueError, TypeError) as caught:
        error = caught
    closure = None if connection is None else connection.closure
    return {
        "opened": connection is not None,
        "error": type(error).__name__,
        "words": str(error),
        "messages": messages,
        "sent": None if closure is None or closure.sent is None else closure.sent.code,
        "received": None if closure is None or closure.received is None else closure.received.code,
        "broken_by": None if closure is None else type(closure.error).__name__,
    }


async def main(folder: Path) -> None:
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(folder / "server.pem")
    client_tls = ssl.create_default_context(cafile=folder / "authority.pem")

    async def control(connection: hubws.Connection) -> None:
        async for message in connection:
            match json.loads(message):
                case "figures":
                    answer = figures()
                case "give back memory":
                    give_back_memory()
                    answer = {}
                case order:
                    answer = await dial(**order, tls=client_tls)
            await connection.send(json.dumps(answer))

    async with trio.open_nursery() as nursery:
        for name, (handler, options) in {
            "control": (control, {}),
            **await services(server_tls),
        }.items():
            if "listeners" not in options:
                options |= {"host": "127.0.0.1", "port": 0}
            serve = functools.partial(hubws.serve, handler, **options)
            servers[name] = await nursery.start(serve)
        print(json.dumps({name: server.port for name, server in servers.items()}), flush=True)


if __name__ == "__main__":
    descriptors = int(sys.argv[2])
    if descriptors:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    gc.collect()
    gc.freeze()  # what is there by now need not be looked through before each attack
    trio.run(main, Path(sys.argv[1]))
