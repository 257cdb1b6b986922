"""What all commands that serve have in common."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from ..bench.reasons import in_one_line
from ..connection.callbacks import Callbacks
from ..connection.connection import Connection
from ..errors import ConnectionClosed
from ..server.accept import Handler
from ..server.serve import serve
from ..server.server import Server
from ..transport.abc import SocketAddress
from .options import ServerOptions
from .output import size_in_words
from .running import Run, Status

logger = logging.getLogger("hubws.cli")


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

    async def listen(task_status: trio.TaskStatus[Server]) -> None:
        await serve(quiet(handler), task_status=task_status, **arguments)

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


def quiet(handler: Handler) -> Handler:
    """A handler that makes no error of a connection that ends, which is logged as what it is."""

    async def handle(connection: Connection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await handler(connection)

    return handle


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
    return [at_address(options, address) for address in server.addresses]


def at_address(options: ServerOptions, address: SocketAddress) -> str:
    """The URL of a server that listens there."""
    scheme = "wss" if options.is_secure else "ws"
    if not isinstance(address, tuple):
        return f"{scheme}+unix:{address}"
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{scheme}://{host}:{address[1]}/"
