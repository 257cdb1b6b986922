"""Files on their way: one that is read, and one that gets its name only once it is whole."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Self

import attrs
import trio

from ..errors import HubwsError

BLOCK = 1024 * 1024
"""How much is read at once, in bytes."""

Progress = Callable[[int], object]
"""Told how many bytes of a file are done."""


class TransferError(HubwsError):
    """A file can't be sent or stored, for a reason that the other side may be told."""


@attrs.frozen
class Content:
    """What is in a file: its `size` in bytes, and its `sha256` in hex."""

    size: int
    sha256: str


class Source:
    """A file that is read, and must stay as it was when it was opened. Close it, or use `with`.

    Args:
        path: of the file.
        follow: go where a symbolic link leads, which else is an error.

    Raises OSError when it can't be read, TransferError when it is no file or has changed.

    """

    def __init__(self, path: Path, *, follow: bool = False) -> None:
        # O_NONBLOCK: opening a pipe would wait for a writer; with files it has no effect.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
        self._fd = os.open(path, flags)
        self._path = path
        state = os.fstat(self._fd)
        self.stamp = _stamp(state)
        if not stat.S_ISREG(state.st_mode):
            self.close()
            raise TransferError(f"{path.name} is not a file")
        self.size = state.st_size

    def close(self) -> None:
        """Read no more."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def content(self, progress: Progress = lambda _: None) -> Content:
        """Read all of it."""
        digest = hashlib.sha256()
        at = 0
        while block := await self.read(at):
            await trio.to_thread.run_sync(digest.update, block)
            progress(at := at + len(block))
        return Content(self.size, digest.hexdigest())

    async def read(self, at: int) -> bytes:
        """Some of what is in it from that byte on; empty at its end."""
        block = await trio.to_thread.run_sync(os.pread, self._fd, BLOCK, at)
        if _stamp(os.fstat(self._fd)) != self.stamp:
            raise TransferError(f"{self._path.name} has changed while it was being read")
        return block


def _stamp(state: os.stat_result) -> tuple[int, ...]:
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


class Partial:
    """A file that is being stored; use `open_partial`.

    What has come of it is in a hidden file beside it, named for its content, so that it can be gone on
    with later. It is locked, so that nobody else writes to it.
    """

    def __init__(self, target: Path, content: Content) -> None:
        self.path = part_of(target, content)
        self._target = target
        self._content = content
        self._fd = _open_locked(self.path)
        self._digest = hashlib.sha256()
        self.size = 0
        self._is_finished = False

    async def resume(self) -> int:
        """Look at what is there already; returns how many bytes that are."""
        size = os.fstat(self._fd).st_size
        if size > self._content.size:
            size = 0
        while self.size < size:
            block = await trio.to_thread.run_sync(os.pread, self._fd, BLOCK, self.size)
            await trio.to_thread.run_sync(self._digest.update, block)
            self.size += len(block)
        os.ftruncate(self._fd, size)
        os.lseek(self._fd, size, os.SEEK_SET)
        return size

    async def write(self, data: bytes) -> None:
        """Add bytes. OSError when they can't be written, TransferError when they are too many."""
        if self.size + len(data) > self._content.size:
            raise TransferError(f"more came than the {self._content.size} bytes announced")
        try:
            await trio.to_thread.run_sync(self._write, data)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._target)) from error
        self.size += len(data)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        self._digest.update(data)

    async def finish(self) -> None:
        """Give it its name. TransferError, and it is deleted, when it is not what was announced."""
        if (sha256 := self._digest.hexdigest()) != self._content.sha256:
            os.ftruncate(self._fd, 0)
            raise TransferError(
                f"what came is not what was announced: SHA-256 {sha256[:12]}..., "
                f"not {self._content.sha256[:12]}..."
            )
        await trio.to_thread.run_sync(os.fsync, self._fd)
        self.path.replace(self._target)
        self._is_finished = True

    def close(self) -> None:
        """Stop; what has come is kept."""
        if not self._is_finished and os.fstat(self._fd).st_size == 0:
            self.path.unlink(missing_ok=True)
        os.close(self._fd)


@contextlib.asynccontextmanager
async def open_partial(target: Path, content: Content) -> AsyncIterator[Partial]:
    """Store a file while the block runs, until `finish`.

    OSError when it can't be made; TransferError when it can't be replaced, or when somebody else is
    storing it.
    """
    check_target(target)
    partial = Partial(target, content)
    try:
        yield partial
    finally:
        partial.close()


async def is_there(target: Path, content: Content) -> bool:
    """Whether a file is there already, with that content."""
    try:
        with Source(target) as source:
            return source.size == content.size and await source.content() == content
    except (OSError, TransferError):
        return False


def part_of(target: Path, content: Content) -> Path:
    """Where a file is kept until it is whole."""
    return target.with_name(f".{target.name}.{content.sha256[:16]}.part")


def check_target(target: Path) -> None:
    """TransferError for what is no file, and must not be replaced by one, or has no folder."""
    if not target.parent.is_dir():
        raise TransferError(f"{target.name}: there is no folder {target.parent}")
    if target.exists() and not target.is_file():
        raise TransferError(f"{target.name} is there, and is not a file")


def _open_locked(path: Path) -> int:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), path.stat()):
                return fd
        except FileNotFoundError:  # it got its name meanwhile
            pass
        except OSError as error:
            os.close(fd)
            if error.errno == errno.EWOULDBLOCK:
                raise TransferError(f"{path.name} is being written by another process") from None
            raise
        os.close(fd)
