"""`hubws transfer-server`: keeps files in a folder for those who send and receive them."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import trio

from ..connection.connection import Connection
from .files import Content, Source, TransferError, part_of
from .options import ServerOptions
from .running import Run, Status, run
from .serving import serve_until_interrupted
from .transfer import (
    MAX_SIZE,
    PROTOCOL,
    REFUSED,
    check_name,
    content_of,
    hear,
    offer,
    store,
)

EXAMPLES = """
hubws transfer-server files  # keeps them in that folder
hubws transfer-server --max-size 100000000 --port 9000
"""

MAX_KNOWN = 1000
"""Files whose content is remembered, so that it need not be read for each who receives them."""

MAX_REASON = 123
"""Of a close frame, in bytes (RFC 6455 §5.5)."""

logger = logging.getLogger("hubws.cli")

_NO_OPTIONS = ServerOptions()


def transfer_server(
    folder: Path = Path(),
    /,
    *,
    max_size: int | None = None,
    options: ServerOptions = _NO_OPTIONS,
) -> int:
    """Keep files for those who send and receive them.

    Whoever can connect may read and replace every file in the folder but those whose names begin with
    a dot; nothing beside and below it.

    Args:
        folder: where the files are kept, by default here.
        max_size: the largest file to take, in bytes; by default any.

    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    if max_size is not None and max_size < 0:
        raise ValueError(f"--max-size must be 0 bytes or more, not {max_size}")
    if options.subprotocol:
        raise ValueError(f"--subprotocol is not for transfers, which speak {PROTOCOL}")
    shelf = Shelf(folder.resolve(), MAX_SIZE if max_size is None else max_size)

    async def serve(run: Run) -> Status:
        return await serve_until_interrupted(
            shelf.serve, options, run, subprotocols=[PROTOCOL], max_stream_size=sys.maxsize
        )

    return run(serve, options)


class Shelf:
    """Files in a folder, and those who send and receive them."""

    def __init__(self, folder: Path, max_size: int) -> None:
        self._folder = folder
        self._max_size = max_size
        self._known: dict[tuple[int, ...], Content] = {}
        self._reading = trio.Lock()
        self._storing: dict[Path, tuple[Connection, trio.Event]] = {}

    async def serve(self, connection: Connection) -> None:
        """Serve one client, one file."""
        name = connection.path.removeprefix("/")
        try:
            await self._serve(connection, name)
        except TransferError as error:
            await _refuse(connection, str(error))
        except OSError as error:
            await _refuse(connection, f"{name}: {os.strerror(error.errno or 0)}")

    async def _serve(self, connection: Connection, name: str) -> None:
        if connection.subprotocol != PROTOCOL:
            raise TransferError(f"this server speaks the subprotocol {PROTOCOL} only")
        check_name(name)
        target = self._folder / name
        said = await hear(connection)
        if said.get("receive") is True:
            with Source(target) as source:
                await offer(connection, source, await self._content(source), _unseen)
        else:
            content = content_of(said, self._max_size)
            async with self._turn(part_of(target, content), connection):
                await store(connection, target, content, _unseen)
        await connection.wait_closed()

    async def _content(self, source: Source) -> Content:
        async with self._reading:
            content = self._known.get(source.stamp)
            if content is None:
                content = await source.content()
                if len(self._known) >= MAX_KNOWN:
                    del self._known[next(iter(self._known))]
                self._known[source.stamp] = content
            return content

    @contextlib.asynccontextmanager
    async def _turn(self, part: Path, connection: Connection) -> AsyncIterator[None]:
        """Be the only one who stores that file; who did before has lost its connection, or loses it.

        A client that comes back may be there before this side has noticed that it had gone.
        """
        while part in self._storing:
            other, is_over = self._storing[part]
            other.abort()
            await is_over.wait()
        is_over = trio.Event()
        self._storing[part] = connection, is_over
        try:
            yield
        finally:
            del self._storing[part]
            is_over.set()


def _unseen(_: int) -> None:
    """Nobody looks at the progress."""


async def _refuse(connection: Connection, reason: str) -> None:
    logger.warning("client %d: %s", connection.id, reason)
    await connection.aclose(REFUSED, reason.encode()[:MAX_REASON].decode(errors="ignore"))
