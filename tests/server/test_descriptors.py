"""A server for which the system has no more: of descriptors, of room to watch them."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable

import pytest
import trio

import hubws
from hubws.transport.poller import Poller

resource = pytest.importorskip("resource")

SERVER = """
import logging, resource, sys, trio, hubws
from hubws.server import acceptor as module, server

logging.basicConfig(stream=sys.stdout, format="LOG %(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
module.RETRY = 0.001
failures = 0

class Counting(module.Acceptor):
    async def _complain(self, error):
        global failures
        failures += 1
        if failures == 50:
            print("EXHAUSTED", trio.current_time() - began, flush=True)
        await super()._complain(error)

server.Acceptor = Counting

async def echo(connection):
    async for message in connection:
        await connection.send(message)

async def main():
    global began
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        async def serve(task_status):
            await hubws.serve(echo, "127.0.0.1", 0, task_status=task_status)
        print((await nursery.start(serve)).port, flush=True)

trio.run(main)
"""


async def test_it_keeps_serving() -> None:
    """It waits, says so once a second, and goes on."""
    with trio.fail_after(30):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", SERVER], stdout=subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            lines = Lines(process.stdout)
            url = f"ws://127.0.0.1:{int(await lines.next())}/"
            async with trio.open_nursery() as nursery:
                for _ in range(64):
                    nursery.start_soon(stay, url)
                said = []
                while not (line := await lines.next()).startswith("EXHAUSTED"):
                    said.append(line)
                nursery.cancel_scope.cancel()
            assert "can't accept connections" in said[0]
            assert "Too many open files" in said[0]
            assert len(said) <= 1 + float(line.split()[1])
            for _ in range(5):
                async with hubws.connect(url) as connection:
                    await connection.send("still here")
                    assert await connection.receive() == "still here"
        finally:
            process.kill()
            await process.wait()
            await process.stdout.aclose()


async def stay(url: str) -> None:
    async with hubws.connect(url, timeout=30):
        await trio.sleep_forever()


class Lines:
    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._buffer = b""

    async def next(self) -> str:
        while b"\n" not in self._buffer:
            data = await self._stream.receive_some()
            assert data, f"the server ended: {self._buffer!r}"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()


async def test_a_client_that_can_not_be_watched_is_the_only_one_that_is_lost(
    start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when /proc/sys/fs/epoll/max_user_watches is reached."""

    def watch(self: Poller, fd: int, on_readable: Callable[[], None]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    server = await start()
    async with hubws.connect(f"ws://127.0.0.1:{server.port}/") as connection:
        with monkeypatch.context() as patch, trio.fail_after(30):
            patch.setattr(Poller, "watch", watch)
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                assert await stream.receive_some() == b""
        assert server.statistics().handshaking == 0
        await connection.send("still here")
        assert await connection.receive() == "still here"
