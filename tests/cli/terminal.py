"""Commands at a terminal: a pseudo-terminal, and somebody who types."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import termios
from collections.abc import AsyncIterator

import trio

from tests.cli.command import COMMAND, ENVIRONMENT


class Terminal:
    """A terminal, on which a command runs; `shown` is all that it has written."""

    def __init__(self, master: int, slave: int, process: trio.Process) -> None:
        self._stream = trio.lowlevel.FdStream(master)
        self._master = master
        self.slave = slave
        self.process = process
        self.shown = ""
        self._seen = 0

    async def type(self, text: str) -> None:
        await self._stream.send_all(text.encode())

    async def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until it shows that, behind what was waited for before."""
        with trio.move_on_after(30):
            while (match := re.compile(pattern).search(self.shown, self._seen)) is None:
                data = await self._stream.receive_some(65536)
                self.shown += data.decode()
            self._seen = match.end()
            return match
        raise AssertionError(f"no {pattern!r} in {self.shown[self._seen :]!r}")

    def resize(self, columns: int) -> None:
        termios.tcsetwinsize(self._master, (24, columns))

    async def wait(self) -> int:
        with trio.fail_after(30):
            return await self.process.wait()


@contextlib.asynccontextmanager
async def open_terminal(*arguments: str, no_color: bool = False) -> AsyncIterator[Terminal]:
    """Run a command at a terminal while the block runs."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(master, (24, 100))
    process = await trio.lowlevel.open_process(
        [*COMMAND, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=ENVIRONMENT | {"TERM": "xterm-256color"} | ({"NO_COLOR": "1"} if no_color else {}),
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C is a signal
    )
    terminal = Terminal(master, slave, process)
    try:
        yield terminal
    finally:
        with trio.CancelScope(shield=True):
            if process.poll() is None:
                process.kill()
            await process.wait()
            await terminal._stream.aclose()
            os.close(slave)
    assert "Traceback" not in terminal.shown
    assert "Warning" not in terminal.shown
