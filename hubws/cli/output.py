"""What a command writes: lines for people or for programs, without ever holding up the event loop."""

from __future__ import annotations

import io
import json
import os
import select
from collections import deque
from collections.abc import Callable

import trio
from rich.console import Console, RenderableType
from rich.text import Text

STDOUT, STDERR = 1, 2
NAMES = {STDOUT: "standard output", STDERR: "standard error"}

CHUNK = 4096
"""What a pipe takes at once when it takes anything (PIPE_BUF), in bytes."""

MAX_WAITING = 4 * 1024 * 1024
"""Bytes that may wait to be written; of what is noted beyond, lines are left out and counted."""

PATIENCE = 0.5
"""Seconds that a reader who takes nothing is given when everything else is over."""

WIDEST = 1000
"""Columns that a line or table may have; a terminal breaks them, where else figures would be cut."""

ERASE = "\r\x1b[K"
"""Takes the line off the terminal that the cursor is in."""


class OutputClosed(Exception):
    """Whoever read our output has gone."""


class Output:
    """Standard output and standard error.

    What `put`, `say` and `record` are given is written by `flush`, which waits for as long as the
    reader takes its time and can be cancelled; `run` flushes what callbacks leave.

    Attributes:
        is_json: JSON lines on standard output, and nothing for people.
        is_quiet: no notes.
        is_terminal: whether standard output is one.
        can_prompt: whether its cursor can be moved, too.
        prompt: what stands under the output of a terminal, if anything does.

    """

    def __init__(self, *, is_json: bool = False, is_quiet: bool = False) -> None:
        self.is_json = is_json
        self.is_quiet = is_quiet or is_json
        self.prompt: Callable[[], str] | None = None
        self._consoles = {to: console_at(to, width=WIDEST) for to in NAMES}
        self.is_terminal = os.isatty(STDOUT)
        self.can_prompt = self.is_terminal and not self._consoles[STDOUT].is_dumb_terminal
        self._waiting: deque[tuple[int, memoryview]] = deque()
        self._size = 0
        self._left_out = 0
        self._given_up: set[int] = set()
        self._is_flushing = trio.Lock()
        self._has_some = trio.Event()

    # -- what is said --------------------------------------------------------------------------

    def say(self, what: RenderableType, *, style: str = "", to: int = STDOUT) -> None:
        """Put a line, or a table, for people."""
        if to == STDERR and self._size > MAX_WAITING:
            self._left_out += 1
        elif not self.is_json or to == STDERR:
            console = self._consoles[to]
            with console.capture() as captured:
                console.print(what, style=style, soft_wrap=True, markup=False, emoji=False)
            self.put(captured.get(), to=to)

    def note(self, what: RenderableType, *, style: str = "dim") -> None:
        """Put what goes beside the output, to standard error, unless it is to be quiet."""
        if not self.is_quiet:
            self.say(what, style=style, to=STDERR)

    def error(self, text: str) -> None:
        """Put one line that says what went wrong."""
        line = " ".join(text.split())
        self.say(Text.assemble(("hubws: ", "bold red"), printable(line)), to=STDERR)

    def record(self, **fields: object) -> None:
        """Put a line for programs, if that is what was asked for."""
        if self.is_json:
            line = json.dumps(fields, ensure_ascii=False, allow_nan=False) + "\n"
            self.put(line.encode(errors="backslashreplace"))  # half of a pair: as JSON has it

    def put(self, text: str | bytes, *, to: int = STDOUT) -> None:
        """Put text as it is."""
        if isinstance(text, str):
            if self.prompt is not None and os.isatty(to):
                text = ERASE + text + self.prompt()
            text = text.encode(errors="surrogateescape")
        if text and to not in self._given_up:
            self._waiting.append((to, memoryview(text)))
            self._size += len(text)
            self._has_some.set()

    # -- and written ---------------------------------------------------------------------------

    async def flush(self) -> None:
        """Write what waits. OutputClosed when nobody reads it any more, OSError for a full disk."""
        async with self._is_flushing:
            while self._waiting:
                to, text = self._waiting[0]
                await _wait_writable(to)
                self._write(to, text[:CHUNK])
                if not self._waiting and self._left_out:
                    left_out, self._left_out = self._left_out, 0
                    self.note(f"({left_out} lines were left out here)")

    def flush_at_end(self) -> None:
        """Write what waits, as far as it is read; for the very end, when no event loop runs."""
        while self._waiting:
            to, text = self._waiting[0]
            if not select.select([], [to], [], PATIENCE)[1]:
                return
            self._write(to, text[:CHUNK])

    def drop(self) -> None:
        """Forget what nobody has read."""
        self._waiting.clear()
        self._size = 0

    def _write(self, to: int, text: memoryview) -> None:
        try:
            size = os.write(to, text)
        except OSError as error:
            self._give_up(to)
            if isinstance(error, BrokenPipeError):
                raise OutputClosed from None
            raise OSError(error.errno, error.strerror, NAMES[to]) from None
        _, first = self._waiting.popleft()
        self._size -= size
        if size < len(first):
            self._waiting.appendleft((to, first[size:]))

    def _give_up(self, to: int) -> None:
        """Write nothing more there."""
        self._given_up.add(to)
        self._waiting = deque(one for one in self._waiting if one[0] != to)
        self._size = sum(len(text) for _, text in self._waiting)

    async def run(self) -> None:
        """Write whatever comes, until cancelled."""
        while True:
            await self._has_some.wait()
            self._has_some = trio.Event()
            await self.flush()


async def _wait_writable(fd: int) -> None:
    try:
        await trio.lowlevel.wait_writable(fd)
    except PermissionError:  # a file, which always is
        await trio.lowlevel.checkpoint()


async def read_some(fd: int, size: int = 65536) -> bytes:
    """Wait for input from a terminal, a pipe or a file; empty at its end."""
    try:
        await trio.lowlevel.wait_readable(fd)
    except PermissionError:  # a file, which always is
        await trio.lowlevel.checkpoint()
    return os.read(fd, size)


def console_at(fd: int, *, width: int | None = None) -> Console:
    """A console to capture, with colours at a terminal only, whatever the environment says."""
    return Console(file=io.StringIO(), force_terminal=os.isatty(fd), width=width, highlight=False)


def printable(text: str) -> str:
    """A text from elsewhere as a terminal may be shown it: control characters spelled out."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else repr(char)[1:-1] for char in text
    )


def size_in_words(size: int) -> str:
    """A number of bytes for people."""
    if size < 1000:
        return f"{size} B"
    value, units = size / 1000, ["kB", "MB", "GB", "TB"]
    while value >= 999.95 and len(units) > 1:
        value /= 1000
        del units[0]
    return f"{value:.1f} {units[0]}"
