"""Several processes behind one port, as processes with real sockets and signals."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial

import pytest
import trio

import hubws
from hubws.server.workers import _twin, listening_sockets, run_workers

PROGRAM = """
import os, sys, time
import hubws, trio
from hubws.server.workers import listening_sockets, run_workers

async def tell(connection):
    await connection.send(str(os.getpid()))
    async for message in connection:
        if message == "exit":
            os._exit(3)

async def main(worker):
    if "uneven" in sys.argv:
        os.write(1, b"start %d\\n" % worker.number)
        worker.started()
        try:
            with trio.CancelScope(shield=worker.number == 0):
                await trio.sleep_forever()
        finally:
            os.write(1, b"told %d\\n" % worker.number)
    if "stubborn" in sys.argv:
        os.write(1, b"up")
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()
    await hubws.serve(tell, listeners=worker.listeners, task_status=worker)

sockets = listening_sockets(0, "127.0.0.1")
print(sockets[0].getsockname()[1], flush=True)
if "crowded" in sys.argv:
    fork, tries = os.fork, []
    def try_to_fork():
        tries.append(None)
        if len(tries) == 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return fork()
    os.fork = try_to_fork
grace = 1 if {"stubborn", "uneven"} & set(sys.argv) else 30
before = time.process_time()
run_workers(main, int(sys.argv[1]), sockets=sockets, restart_delay=0.01, grace=grace)
if "uneven" in sys.argv:
    assert time.process_time() - before < 0.5
print("over", flush=True)
"""


class Service:
    """Workers at work."""

    def __init__(self, process: trio.Process, said: bytes) -> None:
        self.process = process
        port, _, self.said = said.partition(b"\n")
        self.url = f"ws://127.0.0.1:{int(port)}/"

    async def pid(self) -> int:
        """Of the worker that takes the next connection."""
        async with hubws.connect(self.url) as connection:
            return int(await connection.receive())

    async def pids(self, count: int, without: frozenset[int] = frozenset()) -> frozenset[int]:
        """Of so many workers that are none of those."""
        found: set[int] = set()
        with trio.fail_after(30):
            async with contextlib.AsyncExitStack() as stack:  # who is busy takes fewer
                while len(found) < count:
                    connection = await stack.enter_async_context(hubws.connect(self.url))
                    found |= {int(await connection.receive())} - without
        return frozenset(found)

    async def end(self) -> bytes:
        """End it in order; returns the rest of what it said."""
        self.process.send_signal(signal.SIGTERM)
        said = b""
        with trio.fail_after(30):
            async for data in self.process.stdout:
                said += data
            assert await self.process.wait() == 0
        return said


@contextlib.asynccontextmanager
async def service(workers: int = 2, *more: str) -> AsyncIterator[Service]:
    run = partial(
        trio.run_process,
        [sys.executable, "-c", PROGRAM, str(workers), *more],
        stdout=subprocess.PIPE,
        check=False,
    )
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(partial(run, capture_stdout=False))
        said = b""
        with trio.fail_after(30):
            while b"\n" not in said:
                said += await process.stdout.receive_some()
        try:
            yield Service(process, said)
        finally:
            process.kill()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_all_workers_serve_and_end_in_order() -> None:
    async with service() as workers:
        pids = await workers.pids(2)
        assert workers.process.pid not in pids
        async with hubws.connect(workers.url) as connection:
            await connection.receive()
            assert await workers.end() == b"over\n"
            with pytest.raises(hubws.ConnectionClosed):
                await connection.receive()
            assert connection.closure.code == 1001
        assert not any(map(is_alive, pids))


async def test_a_worker_that_dies_is_started_again() -> None:
    async with service() as workers:
        pids = await workers.pids(2)
        victim = min(pids)
        os.kill(victim, signal.SIGKILL)
        (new,) = await workers.pids(1, without=pids)
        async with hubws.connect(workers.url) as connection:
            await connection.receive()
            await connection.send("exit")  # by itself, with an error
            with pytest.raises(hubws.ConnectionClosed):
                await connection.receive()
        assert await workers.pids(2, without=frozenset({victim})) != {new, *pids} - {victim}


async def test_a_restart_goes_one_by_one_and_the_port_stays_open() -> None:
    async with service() as workers:
        pids = await workers.pids(2)
        async with hubws.connect(workers.url) as staying:
            own = int(await staying.receive())
            workers.process.send_signal(signal.SIGHUP)
            seen: set[int] = set()
            with trio.fail_after(30):
                while len(seen - pids) < 2 or any(map(is_alive, pids)):
                    with contextlib.suppress(hubws.HandshakeError):  # by one that is told to end
                        seen.add(await workers.pid())  # OSError if nobody listens
            assert own in pids
            with pytest.raises(hubws.ConnectionClosed):
                await staying.receive()
            assert staying.closure.code == 1001
        assert await workers.end() == b"over\n"


async def test_a_worker_that_does_not_end_is_killed() -> None:
    async with service(1, "stubborn") as workers:
        with trio.fail_after(30):
            while workers.said != b"up":
                workers.said += await workers.process.stdout.receive_some()
        assert await workers.end() == b"over\n"


async def test_a_worker_that_does_not_end_outlives_nobody() -> None:
    async with service(1, "stubborn") as workers:
        with trio.fail_after(30):
            while workers.said != b"up":
                workers.said += await workers.process.stdout.receive_some()
            workers.process.kill()
            while await workers.process.stdout.receive_some():
                pass  # until nobody is left who could write


async def test_one_by_one_also_when_one_has_to_be_killed() -> None:
    """Then, waiting for the last of them costs the supervisor nothing."""
    async with service(2, "uneven") as workers:

        async def says(count: int) -> list[bytes]:
            with trio.fail_after(30):
                while workers.said.count(b"\n") < count:
                    workers.said += await workers.process.stdout.receive_some()
            return workers.said.splitlines()

        assert sorted(await says(2)) == [b"start 0", b"start 1"]
        workers.process.send_signal(signal.SIGHUP)
        assert (await says(5))[2:] == [b"start 0", b"told 1", b"start 1"]
        assert await workers.end() == b"told 1\nover\n"  # else the program raises


async def test_who_can_not_be_started_now_is_started_later() -> None:
    async with service(2, "crowded") as workers:
        await workers.pids(2)
        assert await workers.end() == b"over\n"


async def test_workers_end_with_their_supervisor() -> None:
    async with service() as workers:
        pids = await workers.pids(2)
        workers.process.kill()
        with trio.fail_after(30):
            while any(map(is_alive, pids)):
                await trio.sleep(0.01)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"workers": 0}, "workers must be a whole number from 1, not 0"),
        ({"grace": 0}, "grace must be over 0 seconds, not 0"),
        ({"restart_delay": -1}, "restart_delay must be 0 or more seconds, not -1"),
        ({"longest_delay": float("inf")}, "longest_delay must be 0 or more seconds, not inf"),
        ({"sockets": []}, "workers need sockets that listen"),
    ],
)
def test_arguments(options, what) -> None:
    async def main(worker: object) -> None: ...

    sockets = listening_sockets(0, "127.0.0.1")
    with contextlib.closing(sockets[0]), pytest.raises(ValueError, match=what):
        run_workers(main, **{"workers": 1, "sockets": sockets, **options})


async def test_not_within_trio() -> None:
    async def main(worker: object) -> None: ...

    sockets = listening_sockets(0, "127.0.0.1")
    with contextlib.closing(sockets[0]), pytest.raises(RuntimeError, match="in the place of"):
        run_workers(main, 1, sockets=sockets)


async def test_not_in_another_thread() -> None:
    async def main(worker: object) -> None: ...

    sockets = listening_sockets(0, "127.0.0.1")
    run = partial(run_workers, main, 1, sockets=sockets)
    with contextlib.closing(sockets[0]), pytest.raises(RuntimeError, match="in the main thread"):
        await trio.to_thread.run_sync(run)


def test_without_ipv6(monkeypatch) -> None:
    make = socket.socket

    def without(family: int, *more: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return make(family, *more)

    monkeypatch.setattr(socket, "socket", without)
    (sock,) = listening_sockets(0)
    with sock:
        assert sock.family == socket.AF_INET
    with pytest.raises(OSError, match="not supported"):
        listening_sockets(0, "::1")


@pytest.mark.parametrize("kind", ["port", "port of its own", "path"])
def test_each_worker_has_a_socket(kind, tmp_path) -> None:
    """At the same port, or where that can't be, the same one."""
    if kind == "path":
        given = socket.socket(socket.AF_UNIX)
        given.bind(str(tmp_path / "s"))
        given.listen()
    elif kind == "port of its own":
        given = socket.create_server(("127.0.0.1", 0))
    else:
        (given,) = listening_sockets(0, "127.0.0.1")
    with given, _twin(given) as twin:
        assert twin.getsockname() == given.getsockname()
        same = os.fstat(twin.fileno()).st_ino == os.fstat(given.fileno()).st_ino
        assert same == (kind != "port")


def test_sockets_of_all_families_share_a_free_port() -> None:
    sockets = listening_sockets(0)
    try:
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
    finally:
        for sock in sockets:
            sock.close()
    with pytest.raises(OSError, match=r"."):
        listening_sockets(0, "192.0.2.1")
