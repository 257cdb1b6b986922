"""A Redis server to be killed, paused and cut off: Debian's, by `scripts/need redis`."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio


class RedisServer:
    """A server with a Unix socket in a folder of its own.

    Args:
        folder: for its socket and what it keeps.
        durable: whether it keeps all that it acknowledges.

    """

    def __init__(self, folder: Path, *, durable: bool) -> None:
        program = shutil.which("redis-server")
        if program is None:
            if os.environ.get("CI") == "true":
                pytest.fail("redis-server is missing")
            pytest.skip("redis-server is missing")
        keeping = ["--appendonly", "yes", "--appendfsync", "always"] if durable else []
        self.path = folder / "redis.sock"
        self._command = [
            program, "--port", "0", "--unixsocket", str(self.path), "--dir", str(folder),
            "--save", "", *keeping,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        said = []
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said.append(line)
            if b"ready to accept connections" in line:
                return
        raise AssertionError(f"redis-server did not start: {said}")

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as kill -9 does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
            self._process = None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)


class Way:
    """A TCP way to a server that can swallow all that goes over it, and lead there again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listener: trio.SocketListener | None = None
        self._swallows = False

    @property
    def url(self) -> str:
        assert self._listener is not None
        return f"redis://127.0.0.1:{self._listener.socket.getsockname()[1]}"

    def swallow(self) -> None:
        """From now on nothing arrives, and nobody is told; new connections are accepted."""
        self._swallows = True

    def heal(self) -> None:
        """New connections lead there again; old ones stay dead."""
        self._swallows = False

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        (self._listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with self._listener, trio.open_nursery() as nursery:
            task_status.started()
            while True:
                nursery.start_soon(self._lead, await self._listener.accept())

    async def _lead(self, client: trio.SocketStream) -> None:
        try:
            server = await trio.open_unix_socket(self._path)
        except OSError:
            await client.aclose()
            return
        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, client, server)
            await self._pump(server, client)
            nursery.cancel_scope.cancel()

    async def _pump(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        is_dead = False
        with contextlib.suppress(trio.BrokenResourceError):
            async for data in source:
                is_dead = is_dead or self._swallows
                if not is_dead:
                    await sink.send_all(data)


@contextlib.asynccontextmanager
async def open_way(server: RedisServer) -> AsyncIterator[Way]:
    way = Way(server.path)
    async with trio.open_nursery() as nursery:
        await nursery.start(way.run)
        yield way
        nursery.cancel_scope.cancel()
