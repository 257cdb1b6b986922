"""Servers of the seeds' benchmarks as processes of their own, watched from outside."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import trio

from ..child import WorkerFailed
from ..result import Second

COMMAND = [sys.executable, "-m", "hubws.bench.seeds.servers"]

_TICKS = os.sysconf("SC_CLK_TCK")


@attrs.define
class SeedServer:
    """A server in a process of its own.

    Attributes:
        url: where it is.
        pid: of the process.
        most: the most memory that was seen, in bytes.

    """

    url: str
    pid: int
    most: int = 0

    @property
    def memory(self) -> int:
        """What it has in memory now (VmRSS), in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise WorkerFailed(f"the server's process {self.pid} has ended")

    @property
    def processor(self) -> tuple[float, float]:
        """Seconds that it has computed, for itself and in the kernel."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) / _TICKS, int(fields[12]) / _TICKS

    def watch(self, _second: Second) -> None:
        """Look at its memory."""
        self.most = max(self.most, self.memory)


@contextlib.asynccontextmanager
async def started(
    kind: str, *, host: str = "127.0.0.1", backend: str = ""
) -> AsyncIterator[SeedServer]:
    """A server of a kind, while the block runs; kinds are those of `servers.py`."""
    process = await trio.lowlevel.open_process(
        [*COMMAND, kind, host, backend],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    async with process.stdin, process.stdout:
        try:
            said = b""
            while not said.endswith(b"\n"):
                data = await process.stdout.receive_some()
                if not data:
                    raise WorkerFailed(f"the server {kind!r} did not start")
                said += bytes(data)
            yield SeedServer(f"ws://{host}:{int(said)}/", process.pid)
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
