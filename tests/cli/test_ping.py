"""hubws/cli/ping.py: round-trip times, and what is said of them."""

from __future__ import annotations

import json
import re
import signal
import socket

import pytest

import hubws
from hubws.cli.ping import STEPS, bar_of
from tests.cli.command import interrupt, run, start
from tests.cli.conftest import Ends, Serve, echo


async def test_each_ping_is_told_and_then_all_of_them(serve: Serve, ends: Ends):
    url = await serve(echo, callbacks=ends.callbacks)
    end = await run("ping", url, "--count", "3", "--interval", "0.01")
    assert end.status == 0
    assert end.errors == [f"connected to {url}"]
    for sequence, line in enumerate(end.lines[:3], start=1):
        assert re.fullmatch(rf"seq={sequence} time=\d+\.\d{{3}} ms", line)
    empty, title, counts, times, percentiles, *bars = end.lines[3:]
    assert (empty, title) == ("", f"--- {url} ---")
    assert counts.startswith("3 pings sent, 3 answered, 0.0% lost, in ")
    assert re.fullmatch(r"min/avg/max/jitter (\d+\.\d{3}/?){4} ms", times)
    assert re.fullmatch(r"p50/p90/p99 (\d+\.\d{3}/?){3} ms", percentiles)
    assert sum(int(bar.split()[-1]) for bar in bars) == 3
    assert await ends.next_code() == 1000


async def test_flood_for_programs(serve: Serve):
    url = await serve(echo)
    end = await run("ping", url, "--flood", "-c", "100", "--json")
    assert (end.status, end.errors) == (0, [])
    (summary,) = map(json.loads, end.lines)
    assert summary["event"] == "summary"
    assert summary["sent"] == summary["answered"] == summary["count"] == 100
    assert summary["loss"] == 0
    assert 0 < summary["minimum"] <= summary["mean"] <= summary["maximum"]
    assert sum(number for _, number in summary["histogram"]) == 100


async def test_control_c_sums_up_and_closes(serve: Serve, ends: Ends):
    url = await serve(echo, callbacks=ends.callbacks)
    async with start("ping", url, "--json", "--interval", "60") as program:
        line = await program.wait_for(lambda line: '"pong"' in line)
        assert json.loads(line)["sequence"] == 1
        end = await interrupt(program)
    assert end.status == 0
    summary = json.loads(end.lines[-1])
    assert (summary["sent"], summary["answered"]) == (1, 1)
    assert await ends.next_code() == 1000


async def test_without_an_answer_all_are_lost(serve: Serve):
    callbacks = hubws.Callbacks(on_frame=lambda _, frame: frame.opcode is hubws.Opcode.PING)
    url = await serve(callbacks)
    end = await run("ping", url, "-q", "-c", "2", "-i", "0.01", "--wait", "0.02")
    assert end.status == 1
    assert end.lines[2].startswith("2 pings sent, 0 answered, 100.0% lost, in ")
    assert end.errors == []


async def test_a_server_that_goes_away_is_an_error(serve: Serve):
    async def leave(connection: hubws.Connection) -> None:
        await connection.aclose(1001, "good night")

    url = await serve(leave)
    end = await run("ping", url, "-q")
    assert end.status == 1
    assert len(end.errors) == 1
    assert "the peer closed with 1001 (going away): good night" in end.errors[0]


async def test_interrupted_before_it_is_connected():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        silent.settimeout(30)
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}/"
        async with start("ping", url, "--log-level", "debug") as program:
            client, _ = silent.accept()
            with client:
                assert client.recv(3) == b"GET"
                end = await interrupt(program, signal.SIGTERM)
    assert end.status == 128 + signal.SIGTERM
    assert end.lines == []


@pytest.mark.parametrize(
    ("seconds", "low"),
    [(0.0, 0.0), (1e-3, 1e-3), (0.00149, 1e-3), (0.0015, 1.5e-3), (0.0099, 7e-3), (12.0, 10.0)],
)
def test_bars(seconds: float, low: float):
    assert bar_of(seconds) == low


def test_every_bar_begins_with_itself():
    for exponent in range(-6, 3):
        for step in STEPS:
            low = float(f"{step}e{exponent}")
            assert bar_of(low) == low
