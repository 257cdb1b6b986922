"""hubws/pages/live.py: a page that is fed while somebody looks at it."""

from __future__ import annotations

import json
import logging
import math
from typing import Any

import pytest
import trio

import hubws
from hubws.pages import live
from hubws.pages.live import LivePage, address_in_words, known

from .serving import port_of, serving


class Clockwork(LivePage):
    """A page that shows what it is told to."""

    def __init__(self, nursery: trio.Nursery, **options: Any) -> None:
        super().__init__("rtt", "/clock/", nursery, options.get("authenticate"))
        self.runs = 0
        self.is_running = False
        self.send, self.receive = trio.open_memory_channel[dict[str, Any] | Exception](10)
        self.ended = trio.Event()

    async def greet(self, connection: hubws.Connection) -> None:
        await connection.send('{"hello":1}')

    async def feed(self) -> None:
        self.runs += 1
        self.is_running = True
        self.ended = trio.Event()
        try:
            async for one in self.receive:
                if isinstance(one, Exception):
                    raise one
                self.show(one)
        finally:
            self.is_running = False
            self.ended.set()


def look(host: str, **options: Any):
    return hubws.connect(f"ws://{host}/clock/feed", proxy=None, **options)


async def test_it_is_fed_once_for_all_and_only_while_somebody_looks():
    async with hubws.open_hub() as hub:
        page = Clockwork(hub.nursery)
        async with serving([page]) as host:
            assert (page.path, page.feed_path) == ("/clock/", "/clock/feed")
            assert page.server.port == port_of(host)
            for runs in (1, 2):
                async with look(host) as ada, look(host) as mo:
                    for viewer in (ada, mo):
                        assert await viewer.receive() == '{"hello":1}'
                    await page.send.send({"number": runs})
                    for viewer in (ada, mo):
                        assert json.loads(await viewer.receive()) == {"number": runs}
                    assert (page.runs, page.is_running) == (runs, True)
                with trio.fail_after(30):
                    await page.ended.wait()


class Stumbling(Clockwork):
    """One whose first feed fails while it is being cancelled, when it is told to."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(nursery)
        self.is_cancelled, self.may_fail, self.has_failed = trio.Event(), trio.Event(), trio.Event()

    async def feed(self) -> None:
        if self.runs:
            await super().feed()
            return
        self.runs += 1
        try:
            await trio.sleep_forever()
        finally:
            self.is_cancelled.set()
            with trio.CancelScope(shield=True):
                await self.may_fail.wait()
            self.has_failed.set()
            raise OSError("too late")


async def test_a_feed_that_fails_when_it_is_over_does_not_end_the_next(
    caplog: pytest.LogCaptureFixture,
):
    async with hubws.open_hub() as hub:
        page = Stumbling(hub.nursery)
        async with serving([page]) as host:
            with trio.fail_after(30):
                async with look(host) as ada:
                    await ada.receive()
                await page.is_cancelled.wait()
                async with look(host) as mo:
                    await mo.receive()
                    page.may_fail.set()
                    await page.has_failed.wait()
                    await page.send.send({"number": 2})
                    assert json.loads(await mo.receive()) == {"number": 2}
                await page.ended.wait()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "the feed of /clock/ failed"
    ]


async def test_one_message_is_made_for_all(monkeypatch: pytest.MonkeyPatch):
    made: list[dict[str, Any]] = []

    def to_json(fields: dict[str, Any]) -> str:
        made.append(fields)
        return json.dumps(fields)

    monkeypatch.setattr(live, "to_json", to_json)
    async with hubws.open_hub() as hub:
        page = Clockwork(hub.nursery)
        async with serving([page]) as host, look(host) as ada, look(host) as mo:
            for viewer in (ada, mo):
                await viewer.receive()
            page.show({"a": 1})
            assert [await ada.receive(), await mo.receive()] == ['{"a": 1}'] * 2
    assert made == [{"a": 1}]


async def test_who_reads_too_slowly_is_closed_with_1013_and_the_others_go_on():
    async with hubws.open_hub() as hub:
        page = Clockwork(hub.nursery)
        async with (
            serving([page], outbox_bytes=100_000) as host,
            look(host, inbox_messages=1) as slow,
            look(host) as quick,
        ):
            await quick.receive()
            with trio.fail_after(30):
                while len(page._viewers) == 2:
                    page.show({"a": "x" * 90_000})
                    await quick.receive()
                for _ in range(1000):
                    await slow.receive() if slow.closure is None else None
                    if slow.closure is not None:
                        break
            assert slow.close_code == 1013
            assert quick.closure is None


async def test_a_feed_that_fails_is_logged_and_tried_again_for_who_comes_back(
    caplog: pytest.LogCaptureFixture,
):
    async with hubws.open_hub() as hub:
        page = Clockwork(hub.nursery)
        async with serving([page]) as host:
            async with look(host) as ada:
                await ada.receive()
                await page.send.send(RuntimeError("a bug"))
                await ada.wait_closed()
                assert ada.close_code == 1011
            assert [(one.levelno, one.message) for one in caplog.records] == [
                (logging.ERROR, "the feed of /clock/ failed")
            ]
            async with look(host) as ada:
                await ada.receive()
                await page.send.send({"number": 2})
                assert json.loads(await ada.receive()) == {"number": 2}
            assert page.runs == 2


async def test_so_many_may_look(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "MAX_VIEWERS", 1)
    async with (
        hubws.open_hub() as hub,
        serving([Clockwork(hub.nursery)]) as host,
        look(host) as ada,
    ):
        await ada.receive()
        async with look(host) as mo:
            await mo.wait_closed()
        assert mo.close_code == 1013
        assert ada.closure is None


def test_figures_for_json():
    assert [known(value) for value in (None, math.nan, 0.00123456, 123456.0, 0)] == [
        None, None, 0.001235, 123500.0, 0.0
    ]  # fmt: skip


def test_addresses():
    assert address_in_words(("127.0.0.1", 80)) == "127.0.0.1:80"
    assert address_in_words(("::1", 80, 0, 0)) == "[::1]:80"
    assert address_in_words("/run/chat") == "/run/chat"
    assert address_in_words(None) == ""
