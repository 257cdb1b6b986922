"""The chat's page in Chromium."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .chromium import Browser, Page, open_browser
from .program import run, run_server

SERVER = "broadcast/server.py"
ARTEFACTS = Path(__file__).parents[2] / "test-artefacts"


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    async with open_browser(tmp_path / "profile") as running:
        yield running


async def enter(browser: Browser, host: str, name: str, room: str = "lobby") -> Page:
    """Open the page and say who one is and where one wants to be."""
    page = await browser.open(f"http://{host}/")
    await page.type("#name", name)
    if room != "lobby":
        await page.type("#room", room)
    await page.wait_for(
        f"document.querySelector('#messages').innerText.includes('You are in {room}.')"
    )
    await page.wait_for("document.querySelector('#state').innerText === 'connected'")
    return page


async def say(page: Page, text: str) -> None:
    await page.type("#message", text)


async def wait_for_message(page: Page, user: str, text: str) -> None:
    """Wait until the page shows a message of somebody, "You" for one's own."""
    await page.wait_for(
        "[...document.querySelectorAll('.said')].some((item) =>"
        f" item.querySelector('b').textContent === {json.dumps(user)}"
        f" && item.querySelector('.text').textContent === {json.dumps(text)})"
    )


def assert_no_complaints(*pages: Page) -> None:
    for page in pages:
        assert page.failures == []
        assert page.console == []


async def test_two_pages_talk_to_each_other(browser: Browser) -> None:
    async with run_server(SERVER) as (_, host):
        ada = await enter(browser, host, "Ada")
        mo = await enter(browser, host, "Mo")
        await say(ada, "hello, Mo")
        await wait_for_message(mo, "Ada", "hello, Mo")
        await wait_for_message(ada, "You", "hello, Mo")
        await say(mo, "hello, Ada")
        await wait_for_message(ada, "Mo", "hello, Ada")
        await wait_for_message(mo, "You", "hello, Ada")
        assert await ada.evaluate("document.querySelector('#message').value") == ""
        assert_no_complaints(ada, mo)


async def test_a_page_and_a_terminal_talk_to_each_other(browser: Browser) -> None:
    async with (
        run_server(SERVER) as (_, host),
        run("broadcast/client.py", f"ws://{host}/trio", "--name", "Mo") as mo,
    ):
        await mo.type("first")
        await mo.wait_for("Mo: first")
        ada = await enter(browser, host, "Ada", "trio")
        await say(ada, "from a page")
        await mo.wait_for("Ada: from a page")
        await mo.type("from a terminal")
        await wait_for_message(ada, "Mo", "from a terminal")
        assert_no_complaints(ada)


async def test_rooms_are_separate_and_a_link_leads_into_one(browser: Browser) -> None:
    async with run_server(SERVER) as (_, host):
        ada = await enter(browser, host, "Ada", "trio")
        mo = await enter(browser, host, "Mo")
        assert await ada.evaluate("location.hash") == "#trio"
        lin = await browser.open(f"http://{host}/#trio")
        await lin.type("#name", "Lin")
        await say(mo, "in the lobby")
        await wait_for_message(mo, "You", "in the lobby")
        await say(lin, "in trio")
        await wait_for_message(ada, "Lin", "in trio")
        assert await ada.evaluate("document.querySelectorAll('.said').length") == 1
        assert await mo.evaluate("document.querySelectorAll('.said').length") == 1
        assert_no_complaints(ada, mo, lin)


async def test_what_others_write_stays_text(browser: Browser) -> None:
    async with run_server(SERVER) as (_, host):
        ada = await enter(browser, host, "Ada")
        mo = await enter(browser, host, "<i>Mo</i>")
        await say(mo, "<img src=x onerror=alert(1)>")
        await wait_for_message(ada, "<i>Mo</i>", "<img src=x onerror=alert(1)>")
        assert await ada.evaluate("document.querySelectorAll('#messages :is(i, img)').length") == 0
        assert_no_complaints(ada, mo)


async def test_the_page_is_all_there_is_to_load(browser: Browser) -> None:
    async with run_server(SERVER) as (_, host):
        ada = await enter(browser, host, "Ada")
        assert (
            await ada.evaluate("performance.getEntriesByType('resource').map((e) => e.name)") == []
        )
        assert_no_complaints(ada)


async def test_same_name_and_same_words_are_still_somebody_else(browser: Browser) -> None:
    async with run_server(SERVER) as (_, host):
        one = await enter(browser, host, "Ada")
        other = await enter(browser, host, "Ada")
        await say(one, "same")
        await wait_for_message(one, "You", "same")
        await wait_for_message(other, "Ada", "same")
        await say(other, "same")
        await wait_for_message(other, "You", "same")
        await wait_for_message(one, "Ada", "same")
        assert_no_complaints(one, other)


async def test_announcements_are_apart_from_what_people_say(browser: Browser) -> None:
    async with run_server(SERVER) as (_, host):
        ada = await enter(browser, host, "Ada")
        await ada.wait_for(
            "document.querySelector('#announcement').innerText.includes('hello, this is server')"
        )
        assert await ada.evaluate("document.querySelectorAll('.said').length") == 0
        assert_no_complaints(ada)


async def test_the_page_survives_a_restart_of_the_server(browser: Browser) -> None:
    async with run_server(SERVER) as (server, host):
        ada = await enter(browser, host, "Ada")
        server.process.send_signal(signal.SIGTERM)
        assert await server.wait() == 0
    await ada.wait_for("document.querySelector('#state').innerText.startsWith('reconnecting')")
    await ada.wait_for("document.querySelector('#send').disabled")
    await ada.wait_for("document.querySelector('#messages').innerText.includes('going away')")
    port = int(host.rpartition(":")[2])
    async with run_server(SERVER, port=port) as (_, host_again):
        assert host == host_again
        await ada.wait_for("document.querySelector('#state').innerText === 'connected'")
        mo = await enter(browser, host, "Mo")
        await say(ada, "back again")
        await wait_for_message(mo, "Ada", "back again")  # she still has her name
        assert_no_complaints(mo)
    assert ada.console == []
    # Chromium itself reports the attempts while there was no server; nothing else went wrong.
    refused = "Error in connection establishment: net::ERR_CONNECTION_REFUSED"
    assert [failure for failure in ada.failures if not failure.endswith(refused)] == []


async def test_leaving_and_joining_again(browser: Browser) -> None:
    async with run_server(SERVER) as (_, host):
        ada = await enter(browser, host, "Ada")
        await ada.click("#leave")
        await ada.wait_for("document.querySelector('#state').innerText === 'you have left'")
        assert await ada.evaluate("document.querySelector('#send').disabled")
        await ada.click("#leave")
        await ada.wait_for("document.querySelector('#state').innerText === 'connected'")
        await say(ada, "again")
        await wait_for_message(ada, "You", "again")
        assert_no_complaints(ada)


async def test_the_keyboard_is_enough(browser: Browser) -> None:
    async with run_server(SERVER) as (_, host):
        ada = await browser.open(f"http://{host}/")
        await ada.wait_for("document.querySelector('#state').innerText === 'connected'")
        names = []
        for _ in range(6):
            await ada.press("Tab", 9)
            names.append(await ada.evaluate("document.activeElement.id"))
            if names[-1] == "name":
                await ada.call("Input.insertText", text="Ada")
            if names[-1] == "message":
                await ada.call("Input.insertText", text="no mouse")
        assert names == ["name", "room", "leave", "log", "message", "send"]
        await ada.press("Enter", 13, "\r")
        await wait_for_message(ada, "You", "no mouse")
        tree = await ada.call("Accessibility.getFullAXTree")
        found = {
            (node["role"]["value"], node["name"]["value"])
            for node in tree["nodes"]
            if "name" in node and "role" in node
        }
        expected = {
            ("textbox", "Name"), ("textbox", "Room"), ("textbox", "Message"), ("log", "lobby"),
            ("button", "Leave"), ("button", "Send"), ("heading", "lobby"),
        }  # fmt: skip
        assert set() == expected - found
        assert_no_complaints(ada)


async def test_pictures(browser: Browser) -> None:
    """A lively chat, light and dark, on a desktop and on phones; nothing is wider than the screen."""
    script = (
        ("Ada", "Morning! Who is coming to the river on Saturday?"),
        ("Mo", "I am. I can bring the small boat."),
        ("Mo", "And bread."),
        ("Ada", "Lovely. Lin?"),
        ("Lin", "Yes, by bicycle. Shall we say ten o'clock at the old bridge?"),
        ("Ada", "Ten it is. I'll make coffee."),
        ("Lin", "Then everything else in the room river. See you there!"),
    )
    async with run_server(SERVER) as (_, host):
        people = {name: await enter(browser, host, name) for name in ("Ada", "Mo", "Lin")}
        for name, text in script:
            await say(people[name], text)
            for page in people.values():
                await wait_for_message(page, "You" if page is people[name] else name, text)
        ada = people["Ada"]
        await ada.wait_for("!document.querySelector('#announcement').hidden")
        for scheme in ("light", "dark"):
            await ada.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
            for size, width, height in (
                ("desktop", 1200, 750), ("phone", 390, 844), ("small", 360, 640),
            ):  # fmt: skip
                await ada.resize(width, height, scale=1 if size == "desktop" else 2)
                assert width == await ada.evaluate("document.documentElement.scrollWidth")
                await ada.wait_for("log.scrollHeight - log.scrollTop - log.clientHeight < 2")
                picture = ARTEFACTS / f"chat-{scheme}-{size}.png"
                await ada.screenshot(picture)
                assert picture.read_bytes().startswith(b"\x89PNG")
        assert_no_complaints(*people.values())
