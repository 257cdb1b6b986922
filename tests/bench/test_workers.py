"""hubws/bench/workers.py, child.py and worker.py: load tests by several processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import hubws
from hubws.bench import child
from hubws.bench.child import WorkerFailed
from hubws.bench.plan import Plan
from hubws.bench.result import Result, Second
from hubws.bench.stages import Stage
from hubws.bench.workers import Workers
from tests.bench.conftest import ECHO, Serve, at_once


async def run(plan: Plan, on_second: Callable[[Second], object] = lambda _: None) -> Result:
    with trio.fail_after(60):
        return await Workers(plan, on_second).run()


async def test_two_processes_share_the_connections(serve: Serve):
    url = await serve(ECHO)
    plan = Plan(urls=(url,), stages=at_once(3, 0.3), in_flight=8, processes=2)
    result = await run(plan)
    counts = result.total.counts
    assert counts["ws_sessions"] == result.active_maximum == 3
    assert counts["ws_msgs_sent"] == counts["ws_msgs_received"] > 3 * 8
    assert len(result.total.trends["ws_rtt"]) == counts["ws_msgs_received"]
    assert sum(second.sent for second in result.by_second) == counts["ws_msgs_sent"]
    assert not result.is_interrupted


async def test_stages(serve: Serve):
    seen: list[Second] = []
    stages = (Stage(4, 0.4), Stage(4, 0.2), Stage(0, 0.2))
    result = await run(Plan(urls=(await serve(ECHO),), stages=stages, rate=10), seen.append)
    assert [second.number for second in seen] == list(range(len(seen)))
    assert result.total.counts["ws_sessions"] == 4
    durations = result.total.trends["ws_session_duration"]
    assert durations.maximum > durations.minimum + 0.3


async def test_an_end_before_its_time(serve: Serve):
    closed: list[int] = []
    received = trio.Event()

    def echo(connection: hubws.Connection, message: str | bytes) -> None:
        connection.send_nowait(message)
        received.set()

    callbacks = hubws.Callbacks(
        on_message=echo, on_close=lambda connection: closed.append(connection.close_code or 0)
    )
    plan = Plan(urls=(await serve(callbacks),), stages=at_once(3, 600), rate=20)
    workers = Workers(plan, lambda _: None)

    async def end() -> None:
        await received.wait()
        await workers.end_early()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            result = await workers.run()
    assert result.is_interrupted
    assert result.total.counts["ws_msgs_sent"] > 0
    assert closed == [1000] * 3


async def test_a_process_that_fails(monkeypatch: pytest.MonkeyPatch):
    script = "input(); print('{}', flush=True); input(); raise SystemExit('oh')"
    monkeypatch.setattr(child, "COMMAND", [*child.COMMAND[:1], "-c", script])
    with pytest.raises(WorkerFailed, match="ended with status 1 and said: oh"):
        await run(Plan(urls=("ws://127.0.0.1:1/",), stages=at_once(1, 0.1), rate=1))


async def test_a_process_that_does_not_start(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(child, "COMMAND", [*child.COMMAND[:1], "-c", "raise SystemExit('oh')"])
    with pytest.raises(WorkerFailed, match="ended with status 1 and said: oh"):
        await run(Plan(urls=("ws://127.0.0.1:1/",), stages=at_once(1, 0.1), rate=1))


async def test_processes_end_with_whoever_started_them_and_ctrl_c_is_not_for_them(serve: Serve):
    connected = trio.Event()
    url = await serve(hubws.Callbacks(on_message=ECHO.on_message, on_open=_sets(connected)))
    others = _children()
    async with trio.open_nursery() as nursery:
        plan = Plan(urls=(url,), stages=at_once(1, 600), rate=20)
        nursery.start_soon(Workers(plan, lambda _: None).run)
        with trio.fail_after(60):
            await connected.wait()
        children = _children() - others
        assert children
        assert os.getpgrp() not in {os.getpgid(pid) for pid in children}
        nursery.cancel_scope.cancel()
    assert not children & _children()


def _sets(event: trio.Event) -> Callable[[Any], None]:
    return lambda _: event.set()


def _children() -> set[int]:
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}
