"""hubws/pages/files/dashboard.*: the dashboard in Chromium."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator

import pytest
import trio

import hubws
from hubws.pages import dashboard as module
from hubws.pages.dashboard import Dashboard
from tests.examples.chromium import Browser

from .looking import SCHEMES, assert_calm, names_of, picture
from .serving import port_of, serving, stay

CHECK = hubws.basic_auth({"ada": "open sesame"})


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TICK", 0.05)


@contextlib.asynccontextmanager
async def busy(port: int = 0) -> AsyncIterator[tuple[hubws.Hub, str]]:
    """A hub whose members are in the topics of their path, with a dashboard."""
    async with hubws.open_hub(policy="drop_oldest") as hub:

        async def handle(connection: hubws.Connection) -> None:
            await stay(hub, connection, *connection.path.strip("/").split("/"))

        pages = [Dashboard(hub, authenticate=CHECK)]
        async with serving(pages, handle, port=port, outbox_bytes=1_000_000) as host:
            yield hub, host


def figure(name: str) -> str:
    return f"document.querySelector('#{name} dd').innerText"


async def test_it_updates_for_who_may_look_and_survives_a_restart(browser: Browser):
    async with busy() as (hub, host):
        page = await browser.open(f"http://ada:open%20sesame@{host}/dashboard/")
        await page.wait_for("state.innerText === 'connected'")
        await page.wait_for(f"{figure('connections')} === '0'")
        async with hubws.connect(f"ws://{host}/news/prices", proxy=None) as client:
            await page.wait_for(f"{figure('connections')} === '1'")
            await page.wait_for("largest.innerText.includes('prices')")
            hub.broadcast("hello", topic="news")
            await page.wait_for("about.innerText === '1 messages to members so far'")
            assert await client.receive() == "hello"
            await client.aclose(4001)
        await page.wait_for("closes.innerText.includes('4001 of an application')")
        await page.wait_for("document.querySelector('#rates .first').getAttribute('d').length > 20")
    await page.wait_for("state.innerText.startsWith('reconnecting')")
    async with busy(port_of(host)):
        await page.wait_for("state.innerText === 'connected'")  # by a new cookie
        await page.wait_for("closes.innerText.includes('none has, yet')")
        assert_calm(page, lost_server=True)


async def test_by_keyboard_and_for_screen_readers(browser: Browser):
    async with busy() as (_, host):
        page = await browser.open(f"http://ada:open%20sesame@{host}/dashboard/")
        await page.wait_for(f"{figure('connections')} === '0'")
        await page.press("Tab", 9)
        assert await page.evaluate("document.activeElement.id") == "pause"
        await page.press("Enter", 13, "\r")
        assert await page.evaluate("document.activeElement.innerText") == "Go on"
        async with hubws.connect(f"ws://{host}/news", proxy=None):
            assert await page.evaluate(figure("connections")) == "0"
            await page.press("Enter", 13, "\r")
            await page.wait_for(f"{figure('connections')} === '1'")
        expected = {
            ("button", "Pause"), ("heading", "Largest topics"), ("status", ""),
            ("columnheader", "Close code"), ("image", "Connections, over time"),
            ("region", "Longest queues"),
        }  # fmt: skip
        assert set() == expected - await names_of(page)
        assert_calm(page)


async def test_pictures(browser: Browser):
    """A busy hub; nothing is wider than the screen."""
    async with busy() as (hub, host), contextlib.AsyncExitStack() as clients:
        await clients.enter_async_context(
            hubws.connect(f"ws://{host}/lobby/slow", proxy=None, inbox_messages=1)
        )
        with trio.fail_after(30):
            while not (slow := list(hub.members("slow"))):
                await trio.sleep(0.01)
            for length in (90_000, 400):  # until not even a small message has room
                dropped = hub.statistics().dropped
                while hub.statistics().dropped < dropped + 1:
                    hub.broadcast("x" * length, to=slow, policy="drop_newest")
                    await trio.lowlevel.checkpoint()
        page = await browser.open(f"http://ada:open%20sesame@{host}/dashboard/")
        await page.wait_for("state.innerText === 'connected'")
        quick = []
        for number in range(24):
            rooms = "/".join(
                room
                for every, room in enumerate(("lobby", "river", "kitchen", "trio"), 1)
                if not number % every
            )
            quick.append(
                await clients.enter_async_context(hubws.connect(f"ws://{host}/{rooms}", proxy=None))
            )
        async with trio.open_nursery() as nursery:

            async def read(connection: hubws.Connection) -> None:
                async for _ in connection:
                    pass

            async def talk() -> None:
                for number in itertools.count():
                    for topic, length in (("lobby", 400), ("river", 150 + number % 100)):
                        hub.broadcast("x" * length, topic=topic)
                    await trio.sleep(0.01)  # the rate that the picture shows

            for connection in quick[:-3]:
                nursery.start_soon(read, connection)
            await quick[-1].aclose()
            await quick[-2].aclose(1001)
            quick[-3].abort()
            nursery.start_soon(talk)
            await page.wait_for("longest.innerText.includes('stalled')")
            await page.wait_for("closes.rows.length === 3")
            line = "document.querySelector('#rates .first').getAttribute('d')"
            await page.wait_for(f"{line}.split('L').length > 30")
            await page.click("#pause")
            for scheme in SCHEMES:
                for size in ("desktop", "phone"):
                    await picture(page, "dashboard", scheme, size, whole=True)
            assert_calm(page)
            nursery.cancel_scope.cancel()
