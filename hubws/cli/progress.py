"""How far something has come, as a bar at the foot of a terminal."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from .output import ERASE, STDERR, Output, console_at, printable

EVERY = 0.1
"""Seconds between two pictures of it."""


class ProgressLine:
    """A bar under what standard error says, if that is a terminal; elsewhere nothing.

    Use it as a context manager, and tell it where things are by `tell` and `is_at`.
    """

    def __init__(self, output: Output, total: int) -> None:
        self._output = output
        self._console = console_at(STDERR)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            auto_refresh=False,
            console=self._console,
        )
        self._task = self._bar.add_task("", total=total)
        self._drawn_at = 0.0
        is_capable = os.isatty(STDERR) and not self._console.is_dumb_terminal
        self._is_shown = is_capable and not output.is_quiet

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show it while the block runs."""
        if self._is_shown:
            self._output.prompt = self._render
        try:
            yield
        finally:
            if self._is_shown:
                self._output.prompt = None
                self._output.put(ERASE, to=STDERR)

    def tell(self, what: str, total: int) -> None:
        """Say what is being done now, and how much there is of it, in bytes."""
        self._bar.reset(self._task, description=printable(what), total=total)
        self._drawn_at = 0.0

    def is_at(self, done: int) -> None:
        """Say how much is done."""
        if self._is_shown:
            self._bar.update(self._task, completed=done)
            if (now := time.monotonic()) >= self._drawn_at + EVERY:
                self._drawn_at = now
                self._output.put(ERASE, to=STDERR)

    def _render(self) -> str:
        with self._console.capture() as captured:
            self._console.print(self._bar.get_renderable(), end="")
        return captured.get().rstrip("\n")
