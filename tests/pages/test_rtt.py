"""hubws/pages/rtt.py: what the page of round-trip times is sent."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import attrs
import pytest
import trio

import hubws
from hubws.pages import rtt as module
from hubws.pages.rtt import RttPage
from hubws.protocol.frames import Opcode

from .serving import serving, stay


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TICK", 0.02)


@attrs.frozen
class Measured:
    """A server with a page, and its monitor."""

    host: str
    monitor: hubws.Monitor
    page: RttPage

    def client(self, **options: Any):
        return hubws.connect(f"ws://{self.host}/client", proxy=None, **options)

    def look(self):
        return hubws.connect(f"ws://{self.host}/feed", proxy=None)


@contextlib.asynccontextmanager
async def measuring(**bounds: Any) -> AsyncIterator[Measured]:
    async with (
        hubws.open_hub() as hub,
        hubws.open_monitor(hub, **{"interval": 0.05} | bounds) as monitor,
    ):
        page = RttPage(monitor)
        async with serving([page], partial(stay, hub)) as host:
            yield Measured(host, monitor, page)


async def news(viewer: hubws.Connection, is_wanted: Callable[[dict[str, Any]], object]) -> Any:
    """The first message of which that is true."""
    with trio.fail_after(30):
        while True:
            message = json.loads(await viewer.receive())
            if is_wanted(message):
                return message


def mute(connection: hubws.Connection, frame: hubws.Frame) -> bool:
    """Answer no ping; an on_frame callback."""
    return frame.opcode == Opcode.PING


async def test_who_comes_is_sent_what_there_is_and_then_what_changes():
    async with measuring() as measured, measured.client():
        async with measured.look() as viewer:
            hello = json.loads(await viewer.receive())
            assert (hello["interval"], hello["points"]) == (0.05, [])
            message = await news(viewer, lambda one: one.get("point", {}).get("count"))
            point, (row,) = message["point"], message["rows"]
            assert 0 < point["p50"] <= point["p99"] < 10
            assert sum(point["bins"].values()) == point["count"]
            assert row["remote"].startswith("127.0.0.1:")
            assert 0 < row["last"] < 10
            assert row["pings"] >= 1
            assert message["total"]["connections"] == 1
        seen = len(measured.page.points)
        async with measured.look() as viewer:
            assert len(json.loads(await viewer.receive())["points"]) == seen


async def test_who_comes_is_sent_all_rows_in_parts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_ROWS", 2)
    async with measuring(interval=100) as measured, contextlib.AsyncExitStack() as clients:
        for _ in range(5):
            await clients.enter_async_context(measured.client())
        with trio.fail_after(30):
            while len(list(measured.monitor)) < 5:
                await trio.sleep(0.01)
        async with measured.look() as viewer:
            await viewer.receive()
            parts: list[int] = []
            while sum(parts) < 5:
                rows = (await news(viewer, lambda one: "rows" in one))["rows"]
                if rows:
                    parts.append(len(rows))
        assert parts == [2, 2, 1]


async def test_rows_are_bounded_and_all_have_their_turn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_ROWS", 2)
    async with measuring() as measured, contextlib.AsyncExitStack() as clients:
        for _ in range(5):
            await clients.enter_async_context(measured.client())
        async with measured.look() as viewer:
            seen: set[int] = set()
            while len(seen) < 5:
                rows = (await news(viewer, lambda one: "point" in one))["rows"]
                assert len(rows) <= 2
                seen |= {row["id"] for row in rows}


async def test_who_has_gone_is_taken_off():
    async with measuring() as measured, measured.look() as viewer:
        async with measured.client():
            (row,) = (await news(viewer, lambda one: one.get("rows")))["rows"]
        message = await news(viewer, lambda one: one.get("gone"))
        assert message["gone"] == [row["id"]]
        assert (await news(viewer, lambda one: "total" in one))["total"]["connections"] == 0


async def test_alarms_are_raised_and_cleared_in_the_rows():
    bounds = {"timeout": 0.01, "loss_bound": 0.5}
    is_mute = True

    def sometimes_mute(connection: hubws.Connection, frame: hubws.Frame) -> bool:
        return is_mute and mute(connection, frame)

    callbacks = hubws.Callbacks(on_frame=sometimes_mute)
    async with (
        measuring(**bounds) as measured,
        measured.look() as viewer,
        measured.client(callbacks=callbacks),
    ):
        message = await news(viewer, lambda one: any(row["alarms"] for row in one.get("rows", ())))
        assert message["rows"][0]["alarms"] == ["loss"]
        assert message["rows"][0]["loss"] == 1
        assert message["total"]["alarms"] == 1
        is_mute = False
        message = await news(viewer, lambda one: one["total"]["alarms"] == 0)
        assert [row["alarms"] for row in message["rows"]] == [[]]


async def test_nothing_is_sampled_while_nobody_looks():
    async with measuring() as measured, measured.client():
        for _ in range(2):
            assert measured.monitor._sample_feeds == []
            async with measured.look() as viewer:
                await news(viewer, lambda one: "point" in one)
                assert len(measured.monitor._sample_feeds) == 1
            with trio.fail_after(30):
                while measured.monitor._sample_feeds:
                    await trio.sleep(0.01)


async def test_users_are_named():
    async with (
        hubws.open_hub() as hub,
        hubws.open_monitor(hub, interval=0.05) as monitor,
        serving([RttPage(monitor)], partial(stay, hub), authenticate=lambda _: "Ada") as host,
        hubws.connect(f"ws://{host}/client", proxy=None),
        hubws.connect(f"ws://{host}/feed", proxy=None) as viewer,
    ):
        message = await news(viewer, lambda one: one.get("rows"))
        assert message["rows"][0]["user"] == "Ada"
