"""One of the processes of a load test, from outside; from inside it is `worker.py`."""

from __future__ import annotations

import base64
import contextlib
import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from typing import IO, Any

import trio

from ..errors import HubwsError
from .lines import Lines
from .plan import Share

COMMAND = [sys.executable, "-m", "hubws.bench.worker"]


class WorkerFailed(HubwsError):
    """A process of the load test ended before its time."""


class Child:
    """A process that carries out a share of a plan."""

    def __init__(self, process: trio.Process, errors: IO[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._input: trio.abc.SendStream = process.stdin
        self._lines = Lines(process.stdout)
        self._errors = errors

    async def tell(self, line: str) -> None:
        """Tell it something; nothing happens when it has ended."""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._input.send_all(line.encode() + b"\n")

    async def next(self) -> dict[str, Any] | None:
        """What it tells next; None at its end. Raises WorkerFailed when it failed."""
        line = await self._lines.next()
        if not line:
            await self._check_end()
            return None
        told: dict[str, Any] = json.loads(line)
        return told

    async def _check_end(self) -> None:
        status = await self._process.wait()
        if status != 0:
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").split("\n")
            last = next((line for line in reversed(said) if line), "nothing")
            raise WorkerFailed(
                f"a process of the load test ended with status {status} and said: {last}"
            )


@contextlib.asynccontextmanager
async def started(share: Share) -> AsyncIterator[Child]:
    """A process that knows its share, for as long as the block runs; Ctrl-C is not for it."""
    with tempfile.TemporaryFile() as errors:
        process = await trio.lowlevel.open_process(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        async with process.stdin, process.stdout:
            try:
                child = Child(process, errors)
                await child.tell(base64.b64encode(pickle.dumps(share)).decode())
                yield child
            finally:
                if process.poll() is None:
                    process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()
