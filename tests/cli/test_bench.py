"""hubws/cli/bench.py: the load tester as people start it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import hubws
from hubws.cli.app import main
from hubws.cli.running import Status
from tests.cli.command import interrupt, run, start
from tests.cli.conftest import Ends, Serve, echo
from tests.cli.terminal import open_terminal

URL = "ws://127.0.0.1:1/"
SHORT = ("--connections", "3", "--duration", "300ms")


async def test_tables_files_and_thresholds_that_are_kept(serve: Serve, tmp_path: Path):
    url = await serve(echo)
    saved, page = tmp_path / "result.json", tmp_path / "report.html"
    end = await run(
        "bench", url, *SHORT, "--rate", "50", "--save", str(saved), "--report", str(page),
        "--fail-if", "p99>30s", "--fail-if", "checks:rate<100%",
    )  # fmt: skip
    assert end.status == 0
    text = "\n".join(end.lines)
    for name in (
        "ws_connecting", "ws_msgs_sent", "ws_msgs_received", "ws_session_duration", "checks",
        "data_sent", "data_received", "iteration_duration", "ws_rtt", "p95",
    ):  # fmt: skip
        assert name in text
    assert "✓  connected  100.00%  3 passed, 0 failed" in text
    assert "kept: p99>30s" in text
    assert end.errors
    assert end.errors[0].startswith("1s ━")
    assert json.loads(saved.read_text())["counts"]["ws_sessions"]["count"] == 3
    assert page.read_text().startswith("<!DOCTYPE html>")


async def test_a_threshold_that_is_crossed(serve: Serve):
    end = await run("bench", await serve(echo), *SHORT, "--quiet", "--fail-if", "p99>0ms")
    assert end.status == 99
    assert end.lines[-1].startswith("crossed: p99>0ms (")
    assert end.errors == []


async def test_for_programs(serve: Serve):
    end = await run("bench", await serve(echo), *SHORT, "--in-flight", "4", "-p", "2", "--json")
    assert (end.status, end.errors) == (0, [])
    *seconds, summary = map(json.loads, end.lines)
    assert [second["event"] for second in seconds] == ["second"] * len(seconds)
    assert summary["event"] == "summary"
    assert summary["connections"] == 3
    assert summary["counts"]["ws_msgs_received"]["count"] > 12
    assert summary["trends"]["ws_rtt"]["p99"] > 0


async def test_control_c_ends_in_order_and_prints_what_there_is(serve: Serve, ends: Ends):
    url = await serve(echo, callbacks=ends.callbacks)
    async with start("bench", url, "-c", "2", "-d", "10m", "--rate", "50", "--json") as program:
        await program.wait_for(lambda line: '"received": 0' not in line)
        end = await interrupt(program)
    assert end.status == 0
    summary = json.loads(end.lines[-1])
    assert summary["interrupted"]
    assert summary["counts"]["ws_msgs_received"]["count"] > 0
    assert await ends.next_code() == await ends.next_code() == 1000


async def test_nobody_there():
    end = await run("bench", URL, *SHORT, "-q")
    assert end.status == 1
    assert end.errors == [
        "hubws: no connection: all attempts to connect to 127.0.0.1:1 failed: Connection refused"
    ]


async def test_receiving_broadcasts(serve: Serve):
    async with hubws.open_hub() as hub:

        async def relay(connection: hubws.Connection) -> None:
            async with hub.member(connection):
                async for message in connection:
                    hub.broadcast(message)

        end = await run(
            "bench", await serve(relay), *SHORT, "--broadcast", "--rate", "50", "--json"
        )
    summary = json.loads(end.lines[-1])
    assert summary["trends"]["ws_delivery"]["count"] > 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--stage", "x"], "'x' is no stage"),
        (["--stage", "1:1s", "-c", "1"], "--stage excludes --connections and --duration"),
        (["--duration", "0"], "must take more than 0 seconds"),
        (["--rate", "1", "--in-flight", "1"], "exclude each other"),
        (["--receive-only", "--rate", "1"], "--receive-only excludes"),
        (["--broadcast", "--no-answers"], "exclude each other"),
        (["--message", "x", "--size", "1"], "exclude each other"),
        (["--template", "{int:x}"], "makes no sense in a template"),
        (["--in-flight", "100", "--size", "100000"], "more than fit into the outbox"),
        (["--in-flight", "2000"], "1 to 1024 messages can be in flight"),
        (["--scenario", "none.py"], "none.py"),
        (["--report", "no/folder/x.html"], "there is no folder no/folder"),
        (["--fail-if", "p99"], "'p99' is no threshold"),
    ],
)
def test_wrong_arguments(arguments: list[str], error: str, capfd: pytest.CaptureFixture[str]):
    assert main(["bench", URL, *arguments]) == Status.USAGE
    told = capfd.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert error in told.err


async def test_a_missing_package_is_named():
    program = "import sys; sys.modules['hdrh'] = None; from hubws.__main__ import main; "
    command = [sys.executable, "-c", program + "sys.exit(main())"]
    end = await run("bench", URL, command=command)
    assert end.status == 1
    assert end.errors == ["hubws: load tests need hdrhistogram: pip install 'hubws[cli]'"]


def test_a_file_that_is_no_text(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    path = tmp_path / "message"
    path.write_bytes(b"\xff")
    assert main(["bench", URL, "--file", str(path)]) == Status.USAGE
    assert "is not UTF-8; --binary sends it as it is" in capfd.readouterr().err


async def test_at_a_terminal_a_line_changes_until_control_c(serve: Serve, ends: Ends):
    url = await serve(echo, callbacks=ends.callbacks)
    async with open_terminal("bench", url, "-c", "1", "-d", "10m", "--rate", "50") as terminal:
        line = await terminal.wait_for(r"\r\x1b\[K\r1s .* 1 connections .* received/s.*p99")
        assert "\n" not in line[0]
        await terminal.type("\x03")
        await terminal.wait_for(r"\r\x1b\[K.*1 at a time, .* interrupted")
        await terminal.wait_for("ws_msgs_received")
        assert await terminal.wait() == 0
    assert await ends.next_code() == 1000
