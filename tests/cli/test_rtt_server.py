"""hubws/cli/rtt_server.py: round-trip times with their page, as a process."""

from __future__ import annotations

import json
import re
import signal
import socket

import pytest
import trio

import hubws
from hubws.pages.live import address_in_words
from tests.cli.command import interrupt, run, start
from tests.pages.serving import get


async def test_clients_are_measured_and_shown():
    async with start("rtt-server", "--port", "0", "--interval", "0.05") as program:
        line = await program.wait_for(lambda line: line.startswith("listening at ws://"))
        host = line.split("/")[2]
        assert program.lines[0] == f"page at http://{host}/"
        assert b"Round-trip times" in (await get(host, "/")).body
        async with (
            hubws.connect(f"ws://{host}/client", proxy=None) as client,
            hubws.connect(f"ws://{host}/feed", proxy=None) as viewer,
        ):
            await client.send("is not answered")
            with trio.fail_after(30):
                while not (news := json.loads(await viewer.receive())).get("rows"):
                    pass
            assert news["rows"][0]["remote"] == address_in_words(client.local)
            with trio.fail_after(30):
                while (
                    not (news := json.loads(await viewer.receive())).get("point", {}).get("count")
                ):
                    pass
            end = await interrupt(program, signal.SIGTERM)
            await client.wait_closed()
            assert client.close_code == 1001
    assert end.status == 0
    assert re.fullmatch(
        r"[0-9]+ pings, 0 lost, p50/p90/p99 [0-9.]+/[0-9.]+/[0-9.]+ ms", end.errors[0]
    )


async def test_what_programs_are_told():
    async with start("rtt-server", "--port", "0", "--interval", "3600", "--json") as program:
        await program.wait_for(lambda line: "listening" in line)
        end = await interrupt(program)
    summary = json.loads(end.lines[-1])
    assert (summary["event"], summary["pings"], summary["p50"]) == ("summary", 0, None)
    assert end.errors == []


async def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        end = await run("rtt-server", "--port", str(port))
    assert (end.status, end.lines) == (1, [])
    assert end.errors == [f"hubws: can't listen at 127.0.0.1:{port}: Address already in use"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--interval", "0"], "--interval must be over 0 seconds, not 0"),
        (["--wait", "-1"], "--wait must be over 0 seconds, not -1"),
        (["--rtt-bound", "inf"], "--rtt-bound must be over 0 seconds, not inf"),
        (["--loss-bound", "5"], "--loss-bound must be a share from 0 to 1, not 5"),
        (["--dashboard", "/a/"], "--dashboard needs --dashboard-password"),
    ],
)
async def test_bad_arguments(arguments: list[str], error: str):
    end = await run("rtt-server", "--port", "0", *arguments)
    assert (end.status, end.lines) == (2, [])
    assert len(end.errors) == 1
    assert error in end.errors[0]
