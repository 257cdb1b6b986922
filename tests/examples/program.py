"""Examples run as the processes that people start."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import trio

EXAMPLES = Path(__file__).parents[2] / "examples"


class Program:
    """A running example: what it printed so far, and a way to type."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self.errors = b""
        self._changed = trio.Event()
        self._ended = False
        self._errors_ended = trio.Event()

    async def read_output(self) -> None:
        assert self.process.stdout is not None
        rest = b""
        async for data in self.process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            self.lines += [line.decode() for line in lines]
            self._wake()
        self._ended = True
        self._wake()

    async def read_errors(self) -> None:
        assert self.process.stderr is not None
        async for data in self.process.stderr:
            self.errors += data
        self._errors_ended.set()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def wait_for(self, condition: Callable[[str], object] | str, *, after: int = 0) -> str:
        """The first line, not before the index `after`, that is the text or meets the condition."""
        wanted = condition.__eq__ if isinstance(condition, str) else condition
        with trio.move_on_after(30):
            while True:
                for line in self.lines[after:]:
                    if wanted(line):
                        return line
                if self._ended:
                    break
                await self._changed.wait()
        raise AssertionError(f"no such line in {self.lines}; errors: {self.errors.decode()}")

    async def type(self, *lines: str) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all("".join(line + "\n" for line in lines).encode())

    async def end_input(self) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.aclose()

    async def read_to_end(self) -> None:
        """Wait until `errors` is complete."""
        with trio.fail_after(30):
            await self._errors_ended.wait()

    async def wait(self) -> int:
        with trio.fail_after(30):
            return await self.process.wait()


@contextlib.asynccontextmanager
async def run(script: str, *arguments: str) -> AsyncIterator[Program]:
    """Run an example while the block runs; it is killed at the end if it still runs then."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-X", "dev", str(EXAMPLES / script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    program = Program(process)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    async with process.stdin, process.stdout, process.stderr, trio.open_nursery() as nursery:
        nursery.start_soon(program.read_output)
        nursery.start_soon(program.read_errors)
        try:
            yield program
        finally:
            with trio.CancelScope(shield=True):
                if process.poll() is None:
                    process.kill()
                await process.wait()


@contextlib.asynccontextmanager
async def run_server(
    script: str, *arguments: str, port: int = 0
) -> AsyncIterator[tuple[Program, str]]:
    """Run a server; gives it and host:port, as it printed them."""
    async with run(script, "--port", str(port), *arguments) as program:
        url = await program.wait_for(lambda line: "://" in line)
        yield program, url.split("/")[2]
