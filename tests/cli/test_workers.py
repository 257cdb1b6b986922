"""hubws/cli/workers.py: servers of several processes, which are signalled and killed for real."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import trio

import hubws
from tests.backplane.conftest import running
from tests.cli.command import interrupt, run, start
from tests.examples.program import Program


def children_of(program: Program) -> list[int]:
    """The processes of a server's workers."""
    pid = program.process.pid
    return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


async def url_of(program: Program) -> str:
    line = await program.wait_for(lambda line: line.startswith("listening at "))
    return line.removeprefix("listening at ")


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[hubws.Connection]:
    """A connection; a worker that has just been killed may take the first attempts with it."""
    with trio.fail_after(30):
        while True:
            try:
                async with hubws.connect(url, proxy=None) as connection:
                    await connection.send("hello")
                    assert await connection.receive() == "hello"
                    yield connection
                    return
            except (hubws.HandshakeError, hubws.ConnectionClosed, OSError):
                await trio.sleep(0.01)


async def test_a_worker_that_is_killed_is_replaced_and_all_end_in_order():
    async with start("echo-server", "--port", "0", "--workers", "2") as program:
        url = await url_of(program)
        async with connected(url):
            pass
        workers = children_of(program)
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        with trio.fail_after(30):
            while not (workers[1] in (now := children_of(program)) and len(now) == 2):
                await trio.sleep(0.01)
        async with contextlib.AsyncExitStack() as stack:
            connections = [await stack.enter_async_context(connected(url)) for _ in range(20)]
            end = await interrupt(program, signal.SIGTERM)
            for connection in connections:
                await connection.wait_closed()
        assert {connection.close_code for connection in connections} == {1001}
    assert end.status == 0
    assert end.lines == [f"listening at {url}"]


async def test_broadcasts_reach_the_clients_of_all_workers():
    with running(durable=False) as redis:
        options = ["--port", "0", "--workers", "2", "--redis", redis.url, "--json"]
        async with start("broadcast-server", *options) as program:
            listening = json.loads(await program.wait_for(lambda line: "listening" in line))
            assert listening["workers"] == 2
            async with contextlib.AsyncExitStack() as stack:
                with trio.fail_after(30):
                    people = [
                        await stack.enter_async_context(hubws.connect(listening["url"], proxy=None))
                        for _ in range(12)  # of whom the kernel gives each worker some
                    ]
                    for person in people:
                        await person.ping()  # who is a member by now
                    for number, speaker in enumerate(people):
                        await speaker.send(f"message {number}")
                    for number, listener in enumerate(people):
                        heard = {await listener.receive() for _ in range(len(people) - 1)}
                        assert heard == {
                            f"message {other}" for other in range(len(people)) if other != number
                        }
            end = await interrupt(program, signal.SIGTERM)
    assert end.status == 0


async def test_what_can_not_be():
    for arguments, why in (
        (["broadcast-server", "--workers", "2"], "--workers needs --redis"),
        (["echo-server", "--workers", "0"], "--workers must be 1 or more, not 0"),
        (["echo-server", "--workers", "2", "--unix-path", "a.sock"], "--workers needs a port"),
    ):
        end = await run(*arguments)
        assert end.status == 2
        assert why in end.errors[0]
        assert len(end.errors) == 1


async def test_a_port_that_is_taken():
    with trio.socket.socket() as taken:
        await taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        end = await run("echo-server", "--workers", "2", "--port", port)
    assert end.status == 1
    assert f"can't listen at 127.0.0.1:{port}" in end.errors[0]
