"""hubws/pages/files/rtt.*: the page of round-trip times in Chromium."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import trio

import hubws
from hubws.pages import rtt as module
from hubws.pages.rtt import RttPage
from hubws.protocol.frames import Opcode
from tests.examples.chromium import Browser, Page

from .looking import SCHEMES, assert_calm, names_of, picture
from .serving import port_of, serving, stay

DELAYS = {"Ada": 0.018, "Mo": 0.035, "Lin": 0.061, "Kim": 0.007, "Zoe": 0.110, "Uma": 0.042}
"""How far away clients are, in seconds."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TICK", 0.05)


@contextlib.asynccontextmanager
async def measuring(port: int = 0, **bounds: Any) -> AsyncIterator[str]:
    async with (
        hubws.open_hub() as hub,
        hubws.open_monitor(hub, **{"interval": 0.1} | bounds) as monitor,
        serving(
            [RttPage(monitor)],
            partial(stay, hub),
            port=port,
            authenticate=lambda request: request.query,
        ) as host,
    ):
        yield host


async def be_far_away(host: str, name: str, delay: float, task_status: Any) -> None:
    """Be a client whose pongs come late, and one that is lost now and then if it is very far."""
    async with trio.open_nursery() as nursery:
        numbers = iter(range(10**9))

        async def answer(connection: hubws.Connection, payload: bytes) -> None:
            number = next(numbers)
            late = delay * (1 + (number * 7 % 10) / 20 + (number % 17 == 0))
            await trio.sleep(late)  # the distance, which is what this is about
            with contextlib.suppress(hubws.ConnectionClosed):
                connection.pong(payload)

        def on_frame(connection: hubws.Connection, frame: hubws.Frame) -> bool:
            if frame.opcode == Opcode.PING:
                nursery.start_soon(answer, connection, frame.payload)
                return True
            return False

        callbacks = hubws.Callbacks(on_frame=on_frame)
        url = f"ws://{host}/?{name}"
        async with hubws.connect(url, callbacks=callbacks, proxy=None) as connection:
            task_status.started()
            await connection.wait_closed()
        nursery.cancel_scope.cancel()


async def look(browser: Browser, host: str) -> Page:
    page = await browser.open(f"http://{host}/")
    await page.wait_for("state.innerText === 'connected'")
    return page


ROWS = "[...document.querySelectorAll('#rows tr')]"
NAMES = f"{ROWS}.map((row) => row.cells[0].innerText.split(/\\s/)[0])"


async def test_it_updates_and_survives_a_restart_of_the_server(browser: Browser):
    async with measuring() as host:
        page = await look(browser, host)
        assert await page.evaluate("empty.innerText") == "Nobody is connected yet."
        async with hubws.connect(f"ws://{host}/?Ada", proxy=None):
            await page.wait_for(f"{ROWS}.length === 1")
            assert (await page.evaluate(NAMES)) == ["Ada"]
            await page.wait_for("/^[0-9.]+ ms$/.test(document.querySelector('#p50 dd').innerText)")
            pings = f"{ROWS}[0].cells[6].innerText"
            before = await page.evaluate(pings)
            await page.wait_for(f"{pings} !== '{before}'")
            await page.wait_for(
                "document.querySelector('#timeline .first').getAttribute('d').length > 20"
            )
            await page.wait_for("document.querySelectorAll('#histogram .bar').length")
        await page.wait_for("!empty.hidden")
    await page.wait_for("state.innerText.startsWith('reconnecting')")
    async with measuring(port_of(host)), hubws.connect(f"ws://{host}/?Mo", proxy=None):
        await page.wait_for(f"JSON.stringify({NAMES}) === '[\"Mo\"]'")
        assert await page.evaluate("state.innerText") == "connected"
        assert_calm(page, lost_server=True)


async def test_sorting_filtering_pausing_by_keyboard(browser: Browser):
    async with measuring() as host, trio.open_nursery() as nursery:
        for name in ("Mo", "Ada", "Lin"):
            await nursery.start(partial(be_far_away, host, name, DELAYS[name]))
        page = await look(browser, host)
        await page.wait_for(
            f"{ROWS}.length === 3 && {ROWS}.every((row) => row.cells[6].innerText > '2')"
        )
        assert await page.evaluate(NAMES) == ["Lin", "Mo", "Ada"]  # the slowest first
        seen = []
        for _ in range(10):
            await page.press("Tab", 9)
            seen.append(
                await page.evaluate(
                    "document.activeElement.id || document.activeElement.dataset.key"
                )
            )
            if seen[-1] == "name":
                await page.press("Enter", 13, "\r")
        keys = ["name", "last", "p50", "p99", "jitter", "loss", "pings"]
        assert seen == ["pause", "filter", None, *keys]
        sorted_by = "document.querySelector('[aria-sort]')"
        assert await page.evaluate(f"{sorted_by}.innerText") == "Connection"
        assert await page.evaluate(f"{sorted_by}.ariaSort") == "ascending"
        assert await page.evaluate(NAMES) == ["Ada", "Lin", "Mo"]
        await page.type("#filter", "a", enter=False)
        await page.wait_for(f"JSON.stringify({NAMES}) === '[\"Ada\"]'")
        await page.type("#filter", "zz", enter=False)
        await page.wait_for("empty.innerText === 'No connection has this in its name or address.'")
        await page.type("#filter", " ", enter=False)
        await page.click("#pause")
        held = await page.evaluate("document.querySelector('#lost').innerText")
        ticks = "performance.now()"
        start = await page.evaluate(ticks)
        await page.wait_for(f"{ticks} > {start} + 350")  # some ticks go by
        assert await page.evaluate("document.querySelector('#lost').innerText") == held
        await page.click("#pause")
        await page.wait_for(f"document.querySelector('#lost').innerText !== {held!r}")
        expected = {
            ("button", "Pause"), ("heading", "Over time"), ("heading", "Each connection"),
            ("image", "How many pings took how long"), ("button", "Connection"),
            ("searchbox", "Only those with this in name or address"), ("status", ""),
        }  # fmt: skip
        assert set() == expected - await names_of(page)
        assert_calm(page)
        nursery.cancel_scope.cancel()


async def test_pictures(browser: Browser):
    """Clients near and far, one of them with an alarm; nothing is wider than the screen."""
    async with (
        measuring(rtt_bound=0.1, timeout=0.3) as host,
        trio.open_nursery() as nursery,
    ):
        for name, delay in DELAYS.items():
            await nursery.start(partial(be_far_away, host, name, delay))
        page = await look(browser, host)
        await page.wait_for("document.querySelectorAll('tr.is-bad').length === 1")
        await page.wait_for("document.querySelector('#alarmed').innerText.startsWith('Alarm: Zoe')")
        await page.wait_for(
            f"{ROWS}.every((row) => row.querySelector('polyline').points.length > 8)"
        )
        await page.click("#pause")
        for scheme in SCHEMES:
            for size in ("desktop", "phone"):
                await picture(page, "rtt", scheme, size, whole=True)
        assert_calm(page)
        nursery.cancel_scope.cancel()
