"""How a file travels over a connection: `docs/cli.md` has the messages."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs

from ..connection.connection import Connection
from .files import Content, Progress, Source, TransferError, is_there, open_partial

PROTOCOL = "hubws-transfer-1"
"""The subprotocol."""

REFUSED = 4000
"""The close code for what trying again won't mend; its reason says why."""

MAX_NAME = 200
"""Of a file, in bytes; what is added while it is on its way must fit into the 255 of a folder."""

MAX_SIZE = 2**63 - 1

_SHA256 = re.compile(r"[0-9a-f]{64}")


@attrs.frozen
class Report:
    """How one transfer went: what it was, and at which byte it began."""

    content: Content
    offset: int


async def offer(
    connection: Connection, source: Source, content: Content, progress: Progress
) -> Report:
    """Send a file, as far as the other side does not have it.

    Raises ConnectionClosed when the connection is lost, TransferError when the other side says what
    makes no sense or the file changes.
    """
    await say(connection, size=content.size, sha256=content.sha256)
    offset = _whole_number(await hear(connection), "offset", content.size)
    progress(offset)

    async def pieces() -> AsyncIterator[bytes]:
        at = offset
        while block := await source.read(at):
            connection.raise_if_closing()  # the other side has given up
            yield block
            at += len(block)

    await connection.send_stream(pieces(), on_progress=lambda sent: progress(offset + sent))
    if (await hear(connection)).get("stored") is not True:
        raise TransferError("the other side did not say that it has stored the file")
    return Report(content, offset)


async def store(
    connection: Connection, target: Path, content: Content, progress: Progress
) -> Report:
    """Take a file that was announced, as far as it is not there, and give it its name.

    Raises ConnectionClosed when the connection is lost: what has come is kept for the next time.
    OSError and TransferError when it can't be stored, or is not what was announced.
    """
    if await is_there(target, content):  # it was the last message that got lost
        await say(connection, offset=content.size)
        await connection.receive()
        await say(connection, stored=True)
        return Report(content, content.size)
    async with open_partial(target, content) as partial:
        offset = await partial.resume()
        progress(offset)
        await say(connection, offset=offset)
        async with connection.receive_stream() as message:
            async for piece in message:
                if isinstance(piece, str):
                    raise TransferError("a file comes as a binary message, not as text")
                await partial.write(piece)
                progress(partial.size)
        await partial.finish()
        progress(partial.size)
    await say(connection, stored=True)
    return Report(content, offset)


async def say(connection: Connection, **fields: Any) -> None:
    """Send a JSON object."""
    await connection.send(json.dumps(fields))


async def hear(connection: Connection) -> dict[str, Any]:
    """Receive a JSON object. TransferError for anything else."""
    message = await connection.receive()
    try:
        said = json.loads(message) if isinstance(message, str) else None
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise TransferError(f"a JSON object should come here, not {message[:40]!r}")
    return said


def content_of(said: dict[str, Any], max_size: int = MAX_SIZE) -> Content:
    """What a file is announced to be. TransferError when that makes no sense, or is too much."""
    sha256 = said.get("sha256")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise TransferError(f"sha256 must be 64 hexadecimal digits, not {sha256!r:.80}")
    return Content(_whole_number(said, "size", max_size), sha256)


def check_name(name: str) -> None:
    """TransferError for a name that is not one of a file right here."""
    if (
        not name
        or name.startswith(".")
        or "/" in name
        or any(ord(char) < 32 for char in name)
        or len(name.encode(errors="replace")) > MAX_NAME
    ):
        raise TransferError(
            f"{name[:40]!r} is no name for a file: no slash, no dot first, 1 to {MAX_NAME} bytes"
        )


def _whole_number(said: dict[str, Any], name: str, maximum: int) -> int:
    value = said.get(name)
    if type(value) is not int or not 0 <= value <= maximum:
        raise TransferError(f"{name} must be a whole number from 0 to {maximum}, not {value!r:.80}")
    return value
