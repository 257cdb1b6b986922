"""hubws/cli/echo_client.py: messages in a circle, and how many a second."""

from __future__ import annotations

import json
import re

import hubws
from tests.cli.command import interrupt, run, start
from tests.cli.conftest import Ends, Serve, echo


async def test_it_sends_back_what_comes_until_there_were_enough(serve: Serve, ends: Ends):
    url = await serve(echo, callbacks=ends.callbacks)
    end = await run("echo-client", url, "--in-flight", "8", "--count", "1000", "--binary", "--json")
    assert (end.status, end.errors) == (0, [])
    summary = json.loads(end.lines[-1])
    assert summary["messages"] == 1000
    assert summary["bytes_received"] >= 1000 * 7
    assert await ends.next_code() == 1000


async def test_receiving_only_it_counts_what_comes(serve: Serve, ends: Ends):
    sent: list[str | bytes] = []

    async def push(connection: hubws.Connection) -> None:
        for _ in range(500):
            await connection.send("yo")
        sent.extend([message async for message in connection])

    url = await serve(push, callbacks=ends.callbacks)
    async with start("echo-client", url, "-m", "--interval", "0.02") as program:
        await program.wait_for(lambda line: line.endswith(" per second 500 total"))
        end = await interrupt(program)
    assert end.status == 0
    assert all(
        re.fullmatch(r"messages received: \d+ per second \d+ total", line)
        for line in end.lines[:-1]
    )
    assert end.lines[-1].startswith("500 messages in ")
    assert await ends.next_code() == 1000
    assert sent == []


async def test_a_connection_that_breaks_is_an_error(serve: Serve):
    async def drop(connection: hubws.Connection) -> None:
        connection.abort()

    end = await run("echo-client", await serve(drop), "-m", "-q")
    assert end.status == 1
    assert len(end.errors) == 1
    assert "no close frame came" in end.errors[0]
