"""hubws/pages/dashboard.py: what the dashboard is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio

import hubws
from hubws.pages import dashboard as module
from hubws.pages.dashboard import Dashboard

from .serving import serving, stay


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TICK", 0.02)


def connect(host: str, path: str = "", **options: Any):
    return hubws.connect(f"ws://{host}/{path}", proxy=None, **options)


async def news(viewer: hubws.Connection, is_wanted: Callable[[dict[str, Any]], object]) -> Any:
    """The first tick of which that is true."""
    with trio.fail_after(30):
        while True:
            message = json.loads(await viewer.receive())
            if "point" in message and is_wanted(message):
                return message


async def test_what_a_hub_does():
    async with hubws.open_hub(policy="drop_newest") as hub:
        page = Dashboard(hub, authenticate=None)

        async def handle(connection: hubws.Connection) -> None:
            await stay(hub, connection, "news", connection.path.strip("/"))

        async with (
            serving([page], handle, outbox_bytes=1_000_000) as host,
            connect(host, "dashboard/feed") as viewer,
            connect(host, "one") as ada,
            connect(host, "two", inbox_messages=1),
        ):
            assert json.loads(await viewer.receive()) == {"points": [], "now": {}}
            message = await news(viewer, lambda one: one["point"]["members"] == 2)
            assert message["now"]["topics"] == 3
            assert message["now"]["largest"] == [["news", 2], ["two", 1], ["one", 1]]
            assert message["now"]["server"]["connections"] == 3
            assert message["point"]["memory"] > 10_000_000
            hub.broadcast("hello", topic="news")
            assert await ada.receive() == "hello"
            message = await news(viewer, lambda one: one["now"]["sent"] == 2)
            assert message["now"]["broadcasts"] == 1
            await news(viewer, lambda one: one["point"]["bytes_out_rate"] is not None)
            with trio.fail_after(30):
                while not hub.statistics().dropped:
                    hub.broadcast("x" * 100_000)
                    await ada.receive()
            message = await news(viewer, lambda one: one["now"]["dropped"])
            assert message["now"]["policies"] == {"drop_newest": [1, 0]}
            assert message["now"]["queues"]["longest"][0]["dropped"] == 1
            assert message["point"]["queued"] > 800_000


async def test_closes_are_counted_by_code_though_nobody_looks():
    async with hubws.open_hub() as hub:
        page = Dashboard(hub, authenticate=None)
        async with serving([page], partial(stay, hub)) as host:
            for code in (1000, 1000, 4001):
                async with connect(host) as client:
                    await client.aclose(code)
            async with connect(host) as client:
                client.abort()
            with trio.fail_after(30):
                while sum(page._closes.values()) < 4:
                    await trio.sleep(0.01)
            async with connect(host, "dashboard/feed") as viewer:
                message = await news(viewer, lambda _: True)
        assert message["now"]["closes"] == {"1000": 2, "4001": 1, "1006": 1}


async def test_only_the_most_frequent_closes_are_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_CODES", 2)
    async with hubws.open_hub() as hub:
        page = Dashboard(hub, authenticate=None)
        async with serving([page], partial(stay, hub)) as host:
            for code in (4001, 4002, 4002, 4003, 4003):
                async with connect(host) as client:
                    await client.aclose(code)
            async with connect(host, "dashboard/feed") as viewer:
                message = await news(viewer, lambda one: one["now"]["closes"].get("4003") == 2)
        assert message["now"]["closes"] == {"4002": 2, "4003": 2}


async def test_on_a_server_of_its_own_it_is_told_of_closes():
    async with hubws.open_hub() as hub:
        page = Dashboard(hub, "/", authenticate=None)
        callbacks = hubws.Callbacks(
            on_open=lambda connection: hub.register(connection), on_close=page.count_close
        )
        async with serving([page]) as host, trio.open_nursery() as nursery:
            server = await nursery.start(hubws.serve, callbacks, "127.0.0.1", 0)
            async with connect(host, "feed") as viewer:
                async with connect(f"127.0.0.1:{server.port}"):
                    await news(viewer, lambda one: one["point"]["members"] == 1)
                message = await news(viewer, lambda one: one["now"]["closes"])
                assert message["now"]["closes"] == {"1000": 1}
                assert message["point"]["members"] == 0
            nursery.cancel_scope.cancel()


async def test_what_was_before_is_shown_to_who_comes():
    async with hubws.open_hub() as hub:
        page = Dashboard(hub, authenticate=None)
        async with serving([page]) as host:
            async with connect(host, "dashboard/feed") as viewer:
                await news(viewer, lambda _: True)
            seen = len(page.points)
            async with connect(host, "dashboard/feed") as viewer:
                hello = json.loads(await viewer.receive())
                assert len(hello["points"]) >= seen
                assert hello["now"]["users"] == 0
