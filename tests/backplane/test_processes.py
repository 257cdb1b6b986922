"""Workers behind one port whose hubs are linked, and what a client gets when one of them dies."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial

import trio

import hubws
from hubws.client.backoff import Backoff
from tests.backplane.conftest import backplane_at
from tests.backplane.redis_server import RedisServer

PROGRAM = """
import os, sys
import hubws
from hubws.server.workers import listening_sockets, run_workers
from tests.backplane.conftest import backplane_at, linked_hub

async def main(worker):
    async with linked_hub(backplane_at(*sys.argv[1:]), while_away="refuse") as hub:

        async def serve(connection):
            async with hub.member(connection):
                await connection.send(str(os.getpid()))
                async for message in connection:
                    if not await hubws.serve_recovery(hub, connection, message):
                        hub.broadcast(message, topic="news.a")
                        await hub.flush()
                        await connection.send("done")

        await hubws.serve(serve, listeners=worker.listeners, task_status=worker)

sockets = listening_sockets(0, "127.0.0.1")
print(sockets[0].getsockname()[1], flush=True)
run_workers(main, 2, sockets=sockets, restart_delay=0.01)
"""


@contextlib.asynccontextmanager
async def two_workers(redis: RedisServer) -> AsyncIterator[str]:
    """Two workers; yields their URL."""
    prefix = backplane_at(redis.url).prefix
    program = [sys.executable, "-c", PROGRAM, redis.url, prefix]
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, program, stdout=subprocess.PIPE, check=False)
        process: trio.Process = await nursery.start(partial(run, capture_stdout=False))
        said = b""
        with trio.fail_after(30):
            while not said.endswith(b"\n"):
                said += await process.stdout.receive_some()
        try:
            yield f"ws://127.0.0.1:{int(said)}/"
        finally:
            process.terminate()
            with trio.move_on_after(30, shield=True):
                await process.wait()
            process.kill()


async def pid_of(connection: hubws.Connection) -> int:
    return int(await connection.receive())


async def test_a_client_gets_everything_once_though_its_worker_is_killed(
    redis: RedisServer,
) -> None:
    async with two_workers(redis) as url, hubws.connect(url) as publisher:
        survivor = await pid_of(publisher)
        got: list[int] = []
        workers: list[int] = []
        changed = trio.lowlevel.ParkingLot()

        async def follow(task_status: trio.TaskStatus[None]) -> None:
            """A client of the other worker, that comes back to whichever there is."""
            while True:
                positions = hubws.TopicPositions({"news.a": None})
                async with hubws.open_client(
                    url, resume=positions, backoff=Backoff(initial=0.01, maximum=0.05)
                ) as client:
                    workers[:] = [int(await client.receive())]
                    if workers[0] == survivor:
                        continue
                    task_status.started()
                    async for message in client:
                        if isinstance(message, hubws.Envelope):
                            got.append(int(message.message))
                        else:
                            workers.append(int(message))
                        changed.unpark_all()

        async def publish(number: int) -> None:
            await publisher.send(str(number))
            assert await publisher.receive() == "done"

        async with trio.open_nursery() as nursery:
            await nursery.start(follow)
            with trio.fail_after(40):
                while not got:
                    await publish(0)
                for number in range(1, 100):
                    await publish(number)
                    if number == 50:
                        os.kill(workers[0], signal.SIGKILL)
                while got[-1:] != [99]:
                    await changed.park()
            nursery.cancel_scope.cancel()
        assert [number for number in got if number] == list(range(1, 100))
        assert len(workers) == 2
        assert workers[0] != workers[1]
