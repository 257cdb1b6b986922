"""Where lines come from: a prompt at a terminal, or a pipe or file."""

from __future__ import annotations

import contextlib
import os
import signal
import termios
import tty
from collections import deque
from collections.abc import Iterator

import trio

from .editor import LineEditor
from .output import ERASE, Output, read_some

STDIN = 0

PROMPT = "> "

MAX_LINE = 16 * 1024 * 1024
"""The longest line of a pipe or file, in bytes."""


class Prompt:
    """Asks for lines at the foot of the terminal, while other lines go by above.

    Keys are read as they come, without echo, and no thread waits for them: so it can be cancelled.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._editor = LineEditor()
        self._lines: deque[str | None] = deque()

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show it; afterwards the terminal is as it was before."""
        before = termios.tcgetattr(STDIN)
        tty.setcbreak(STDIN)
        self._output.prompt = self._render
        self._output.put(ERASE)
        try:
            yield
        finally:
            self._output.prompt = None
            self._output.put(ERASE)
            termios.tcsetattr(STDIN, termios.TCSADRAIN, before)

    def _render(self) -> str:
        try:
            columns = os.get_terminal_size(STDIN).columns
        except OSError:  # it has gone
            columns = 0
        return self._editor.render(PROMPT, columns or 80)

    def __aiter__(self) -> Prompt:
        return self

    async def __anext__(self) -> str:
        """The next line that is typed, until Ctrl-D."""
        while not self._lines:
            data = await read_some(STDIN)
            for line in self._editor.feed(data) if data else [None]:
                self._lines.append(line)
                if line is not None:
                    self._output.put(f"{PROMPT}{line}\n")
            self._output.put(ERASE)
            await self._output.flush()
        line = self._lines.popleft()
        if line is None:
            raise StopAsyncIteration
        return line

    async def watch(self) -> None:
        """Draw it anew when the terminal's size changes, and after Ctrl-Z."""
        with trio.open_signal_receiver(signal.SIGWINCH, signal.SIGCONT) as signals:
            async for number in signals:
                if number == signal.SIGCONT:
                    tty.setcbreak(STDIN)
                self._output.put(ERASE)


class InputLines:
    """The lines of a pipe or file, without their ends. ValueError for one that is too long."""

    def __init__(self, fd: int = STDIN) -> None:
        self._fd = fd
        self._lines: deque[bytes] = deque()
        self._rest = bytearray()
        self._is_over = False

    def __aiter__(self) -> InputLines:
        return self

    async def __anext__(self) -> bytes:
        while not self._lines and not self._is_over:
            await self._read()
        if not self._lines:
            raise StopAsyncIteration
        return self._lines.popleft()

    async def _read(self) -> None:
        data = await read_some(self._fd)
        self._rest += data
        if b"\n" in data:
            *lines, self._rest = self._rest.split(b"\n")
            self._lines.extend(map(bytes, lines))
        if len(self._rest) > MAX_LINE:
            raise ValueError(f"a line of the input is longer than {MAX_LINE} bytes")
        if not data:
            self._is_over = True
            if self._rest:
                self._lines.append(bytes(self._rest))
