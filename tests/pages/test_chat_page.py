"""hubws/pages/files/chat.*: the chat's page in Chromium."""

from __future__ import annotations

import json

import hubws
from hubws.pages import Chat, chat_message
from tests.examples.chromium import Browser, Page

from .looking import SCHEMES, SIZES, assert_calm, names_of, picture
from .serving import chatting, port_of, serving


async def enter(browser: Browser, host: str, name: str, room: str = "lobby") -> Page:
    """Open the page and say who one is and where one wants to be."""
    page = await browser.open(f"http://{host}/")
    await page.type("#name", name)
    if room != "lobby":
        await page.type("#room", room)
    await page.wait_for(f"messages.innerText.includes('You are in {room}.')")
    await page.wait_for("state.innerText === 'connected'")
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


async def wait_for_people(page: Page, *names: str) -> None:
    await page.wait_for(
        "JSON.stringify([...document.querySelectorAll('#people li span:last-child')]"
        f".map((name) => name.textContent)) === {json.dumps(json.dumps(names, separators=(',', ':')))}"
    )


async def test_pages_and_others_talk_in_rooms(browser: Browser):
    async with chatting() as host:
        ada = await enter(browser, host, "Ada")
        mo = await enter(browser, host, "<i>Mo</i>")
        await wait_for_people(ada, "Ada (you)", "<i>Mo</i>")
        await wait_for_people(mo, "Ada", "<i>Mo</i> (you)")
        await say(ada, "hello, Mo")
        await wait_for_message(mo, "Ada", "hello, Mo")
        await wait_for_message(ada, "You", "hello, Mo")
        assert await ada.evaluate("message.value") == ""
        # what others write stays text
        await say(mo, "<img src=x onerror=alert(1)>")
        await wait_for_message(ada, "<i>Mo</i>", "<img src=x onerror=alert(1)>")
        assert await ada.evaluate("document.querySelectorAll('main :is(i, img)').length") == 0
        # the same name is still somebody else
        other = await enter(browser, host, "Ada")
        await say(other, "the same name")
        await wait_for_message(ada, "Ada", "the same name")
        await wait_for_message(other, "You", "the same name")
        # who goes to another room hears no more of this one
        await mo.type("#room", "trio")
        await mo.wait_for("messages.innerText.includes('You are in trio.')")
        await wait_for_people(ada, "Ada (you)", "Ada")
        await wait_for_people(mo, "<i>Mo</i> (you)")
        assert await mo.evaluate("location.hash") == "#trio"
        await say(ada, "in the lobby")
        await wait_for_message(other, "Ada", "in the lobby")
        async with hubws.connect(f"ws://{host}/trio", proxy=None) as lin:
            await lin.send(json.dumps({"event": "SAY", "message": "from elsewhere"}))
            await wait_for_message(
                mo, f"guest {json.loads(await lin.receive())['id']}", "from elsewhere"
            )
        assert await mo.evaluate("document.querySelectorAll('.said').length") == 1
        assert_calm(ada, mo, other)


async def test_who_comes_sees_what_was_said(browser: Browser):
    async with chatting() as host:
        ada = await enter(browser, host, "Ada")
        await say(ada, "before")
        await wait_for_message(ada, "You", "before")
        mo = await browser.open(f"http://{host}/#lobby")
        await wait_for_message(mo, "Ada", "before")
        # leaving and joining again
        await ada.click("#leave")
        await ada.wait_for("state.innerText === 'you have left'")
        assert await ada.evaluate("document.getElementById('send').disabled")
        await wait_for_people(ada)
        await ada.click("#leave")
        await ada.wait_for("state.innerText === 'connected'")
        await wait_for_message(ada, "You", "before")
        assert_calm(ada, mo)


async def test_announcements_are_apart_from_what_people_say(browser: Browser):
    async with hubws.open_hub() as hub:
        chat = Chat(hub)
        async with serving([], chat.talk, on_request=chat.answer) as host:
            ada = await enter(browser, host, "Ada")
            hub.broadcast(chat_message("server", "dinner is ready"))
            await ada.wait_for("announcement.innerText.includes('dinner is ready')")
            assert await ada.evaluate("document.querySelectorAll('.said').length") == 0
            assert_calm(ada)


async def test_the_page_survives_a_restart_of_the_server(browser: Browser):
    async with chatting() as host:
        ada = await enter(browser, host, "Ada")
        await say(ada, "before")
        await wait_for_message(ada, "You", "before")
    await ada.wait_for("state.innerText.startsWith('reconnecting')")
    await ada.wait_for("document.getElementById('send').disabled")
    await ada.wait_for("messages.innerText.includes('going away')")
    async with chatting(port_of(host)):
        await ada.wait_for("state.innerText === 'connected'")
        assert "not known any more" in await ada.evaluate("messages.innerText")
        mo = await enter(browser, host, "Mo")
        await say(mo, "hello again")
        await wait_for_message(ada, "Mo", "hello again")  # though her number may be Ada's old one
        await say(ada, "back again")
        await wait_for_message(mo, "Ada", "back again")  # she still has her name
        await wait_for_message(ada, "You", "before")
        assert_calm(mo)
        assert_calm(ada, lost_server=True)


async def test_what_was_said_while_the_connection_was_lost_is_made_up_for(browser: Browser):
    connections: list[hubws.Connection] = []

    async with hubws.open_hub() as hub:
        chat = Chat(hub)

        async def talk(connection: hubws.Connection) -> None:
            connections.append(connection)
            await chat.talk(connection)

        async with serving([], talk, on_request=chat.answer) as host:
            ada = await enter(browser, host, "Ada")
            async with hubws.connect(f"ws://{host}/", proxy=None) as mo:
                await mo.send('{"event": "SAY", "message": "one"}')
                await wait_for_message(ada, f"guest {json.loads(await mo.receive())['id']}", "one")
                connections[0].abort()
                await mo.send('{"event": "SAY", "message": "two"}')
                await ada.wait_for("messages.innerText.includes('Connected again.')")
                said = "[...document.querySelectorAll('.text')].map((text) => text.innerText)"
                assert await ada.evaluate(said) == ["one", "two"]
            assert_calm(ada)


async def test_the_keyboard_is_enough(browser: Browser):
    async with chatting() as host:
        ada = await browser.open(f"http://{host}/")
        await ada.wait_for("state.innerText === 'connected'")
        seen = []
        for _ in range(7):
            await ada.press("Tab", 9)
            seen.append(await ada.evaluate("document.activeElement.id"))
            if seen[-1] == "name":
                await ada.call("Input.insertText", text="Ada")
            if seen[-1] == "message":
                await ada.call("Input.insertText", text="no mouse")
        assert seen == ["name", "room", "leave", "count", "log", "message", "send"]
        await ada.press("Enter", 13, "\r")
        await wait_for_message(ada, "You", "no mouse")
        expected = {
            ("textbox", "Name"), ("textbox", "Room"), ("textbox", "Message"), ("log", "lobby"),
            ("button", "Leave"), ("button", "Send"), ("heading", "lobby"), ("list", "1 is here"),
        }  # fmt: skip
        assert set() == expected - await names_of(ada)
        assert_calm(ada)


async def test_pictures(browser: Browser):
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
    async with chatting() as host:
        people = {name: await enter(browser, host, name) for name in ("Ada", "Mo", "Lin")}
        for name, text in script:
            await say(people[name], text)
            for page in people.values():
                await wait_for_message(page, "You" if page is people[name] else name, text)
        ada = people["Ada"]
        for scheme in SCHEMES:
            for size in SIZES:
                await picture(ada, "chat", scheme, size)
                assert await ada.evaluate("log.scrollHeight - log.scrollTop - log.clientHeight") < 2
        assert_calm(*people.values())
