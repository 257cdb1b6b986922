"""Commands run as the processes that people start."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import attrs
import trio

from tests.examples.program import Program

COMMAND = [sys.executable, "-W", "default", "-m", "hubws"]

LIMITED = [
    sys.executable,
    "-c",
    """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
from hubws.__main__ import main
sys.exit(main())
""",
]
"""The command, for whom the disk is full when a file has 300,000 bytes (EFBIG, not ENOSPC)."""

ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.lower().endswith("_proxy") and name not in ("NO_COLOR", "COLUMNS")
}


@attrs.frozen
class Ended:
    """How a command ended, and what it printed."""

    status: int
    lines: list[str]
    errors: list[str]


@contextlib.asynccontextmanager
async def start(
    *arguments: str, stdin: int = subprocess.PIPE, command: list[str] = COMMAND
) -> AsyncIterator[Program]:
    """Run a command while the block runs; it is killed at the end if it still runs then."""
    process = await trio.lowlevel.open_process(
        [*command, *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    program = Program(process)
    assert process.stdout is not None
    assert process.stderr is not None
    async with process.stdout, process.stderr, trio.open_nursery() as nursery:
        nursery.start_soon(program.read_output)
        nursery.start_soon(program.read_errors)
        try:
            yield program
        finally:
            with trio.CancelScope(shield=True):
                if process.poll() is None:
                    process.kill()
                await process.wait()
                if process.stdin is not None:
                    await process.stdin.aclose()
    assert b"Traceback" not in program.errors, program.errors.decode()
    assert b"Warning" not in program.errors, program.errors.decode()


async def ended(program: Program) -> Ended:
    """Wait for the end of a command."""
    status = await program.wait()
    await program.read_to_end()
    with trio.fail_after(30):
        while not program._ended:
            await program._changed.wait()
    return Ended(status, program.lines, program.errors.decode().splitlines())


async def run(*arguments: str, stdin: bytes | int = b"", command: list[str] = COMMAND) -> Ended:
    """Run a command to its end, with that input."""
    is_pipe = isinstance(stdin, bytes)
    where = subprocess.PIPE if is_pipe else stdin
    assert isinstance(where, int)
    async with start(*arguments, stdin=where, command=command) as program:
        if isinstance(stdin, bytes):
            assert program.process.stdin is not None
            await program.process.stdin.send_all(stdin)
            await program.end_input()
        return await ended(program)


async def interrupt(program: Program, number: signal.Signals = signal.SIGINT) -> Ended:
    """Send a signal and wait for the end."""
    program.process.send_signal(number)
    return await ended(program)


async def run_unread(*arguments: str) -> tuple[int, bytes]:
    """Run a command whose standard output nobody reads; returns exit status and errors."""
    read, write = os.pipe()
    os.close(read)
    try:
        with trio.fail_after(30):
            process = await trio.run_process(
                [*COMMAND, *arguments],
                stdin=b"",
                stdout=write,
                capture_stderr=True,
                check=False,
                env=ENVIRONMENT,
            )
    finally:
        os.close(write)
    assert process.stderr is not None
    return process.returncode, process.stderr
