"""Running a command: signals, errors in one line, and the exit status."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from enum import IntEnum

import attrs
import trio

from ..bench.reasons import in_one_line, leaves
from ..errors import HubwsError
from .options import CommonOptions
from .output import PATIENCE, Output, OutputClosed, printable


class Status(IntEnum):
    """The exit status; `docs/cli.md` says more."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    OUTPUT_CLOSED = 128 + signal.SIGPIPE


class Interrupt:
    """Ctrl-C and SIGTERM: the first ends in order what runs, the second ends the process."""

    def __init__(self) -> None:
        self._scopes: list[trio.CancelScope] = []
        self.signal: int | None = None

    @contextlib.contextmanager
    def here(self) -> Iterator[trio.CancelScope]:
        """The innermost of these blocks is what the first signal cancels."""
        with trio.CancelScope() as scope:
            self._scopes.append(scope)
            try:
                yield scope
            finally:
                self._scopes.remove(scope)

    async def watch(self, signals: AsyncIterator[int]) -> None:
        """Wait for signals."""
        async for number in signals:
            if self.signal is not None:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            self.signal = number
            self._scopes[-1].cancel()


@attrs.frozen
class Run:
    """One run of a command: where it writes, and what interrupts it."""

    output: Output
    interrupt: Interrupt


Command = Callable[[Run], Awaitable[Status]]


def run(command: Command, options: CommonOptions) -> int:
    """Run a command to its end; returns the exit status.

    What the network, the peer or the user did wrong is told in one line on standard error. With
    --log-level debug the traceback is told, too; a mistake of our own is raised as it is.
    """
    return run_to_end(lambda output: trio.run(_run, command, output), options)


def run_to_end(function: Callable[[Output], int], options: CommonOptions) -> int:
    """As `run`, but a function, which may take the place of a trio run."""
    output = Output(is_json=options.json, is_quiet=options.quiet)
    with _logging_to(output, options.log_level):
        return with_errors_told(function, output)


def with_errors_told(function: Callable[[Output], int], output: Output) -> int:
    """Call it and write its output; what went wrong without our mistake is told in one line."""
    try:
        status = function(output)
        output.flush_at_end()
    except OutputClosed:
        return output_closed()
    except (OSError, HubwsError, ValueError, ImportError, ExceptionGroup) as error:
        failures = list(leaves(error))
        if any(isinstance(one, OutputClosed) for one in failures):
            return output_closed()
        if not all(is_told(one) for one in failures):
            raise
        logging.getLogger("hubws").debug("what follows in one line, in full:", exc_info=error)
        output.error(in_one_line(failures[0]))
        with contextlib.suppress(OutputClosed, OSError):
            output.flush_at_end()
        return Status.USAGE if isinstance(failures[0], ValueError) else Status.FAILED
    return status


async def _run(command: Command, output: Output) -> int:
    interrupt = Interrupt()
    status: int | None = None
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as it is behind a shell's &
        numbers.append(signal.SIGINT)
    with trio.open_signal_receiver(*numbers) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(interrupt.watch, signals)
            nursery.start_soon(output.run)
            with interrupt.here():
                status = await command(Run(output, interrupt))
                with trio.move_on_after(PATIENCE if interrupt.signal else float("inf")):
                    await output.flush()
                output.drop()
            nursery.cancel_scope.cancel()
    if status is None:  # before there was anything to be ended in order
        assert interrupt.signal is not None
        return 128 + interrupt.signal
    return status


def output_closed() -> Status:
    """Say nothing, not even when Python flushes at its end, since nobody reads it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    return Status.OUTPUT_CLOSED


class LogLine(logging.Formatter):
    """One line of printable characters, whatever peers chose of it; the lines of a traceback behind it.

    Args:
        before: what stands before each message.

    """

    def __init__(self, before: str = "") -> None:
        super().__init__(f"%(asctime)s %(levelname)s {before}%(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - of logging
        """The line."""
        return super().formatMessage(record).replace("\n", "\\n")

    def format(self, record: logging.LogRecord) -> str:
        """The line, and a traceback."""
        return printable(super().format(record))


class _LogHandler(logging.Handler):
    """Log lines go where notes go, so that they stay clear of the prompt."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output
        self.setFormatter(LogLine())

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else "dim"
        self._output.say(self.format(record), style=style, to=2)


@contextlib.contextmanager
def _logging_to(output: Output, level: str) -> Iterator[None]:
    """While the block runs, have what is logged go there."""
    root = logging.getLogger()
    handler, before = _LogHandler(output), root.level
    root.addHandler(handler)
    root.setLevel(level.upper())
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def is_told(error: BaseException) -> bool:
    """Whether one line says enough of it: nobody here made a mistake."""
    return isinstance(error, OSError | HubwsError | ValueError | ImportError)
