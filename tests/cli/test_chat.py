"""hubws/cli/chat.py: people in a room, one of them at a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import trio

import hubws
from hubws.cli.app import main
from hubws.cli.chat import url_of
from hubws.pages.chat import Chat
from tests.cli.command import interrupt, run, start
from tests.cli.conftest import Ends, Serve
from tests.cli.terminal import open_terminal


def has(part: str) -> Callable[[str], bool]:
    return lambda line: part in line


async def said(connection: hubws.Connection, user: str) -> str:
    """What somebody says next, or what somebody's name becomes."""
    with trio.fail_after(30):
        async for message in connection:
            event = json.loads(message)
            if event.get("user") == user and "message" in event:
                return str(event["message"])
    raise AssertionError(f"{user} said nothing")


async def test_lines_are_said(serve: Serve, ends: Ends):
    async with hubws.open_hub() as hub:
        url = await serve(Chat(hub).talk, callbacks=ends.callbacks)
        async with hubws.connect(url + "kitchen", proxy=None) as mo:
            end = await run("chat", url, "Ada", "--room", "kitchen", "--linger", "0.3",
                            stdin="dinner\nis réady\n".encode())  # fmt: skip
            assert end.status == 0
            assert await said(mo, "Ada") == "dinner"
            assert await said(mo, "Ada") == "is réady"
            assert end.lines == ["Ada: dinner", "Ada: is réady"]
            assert await ends.next_code() == 1000


async def test_what_was_said_before_and_while_the_connection_was_lost(serve: Serve):
    connections: list[hubws.Connection] = []
    async with hubws.open_hub() as hub:
        chat = Chat(hub)

        async def talk(connection: hubws.Connection) -> None:
            connections.append(connection)
            await chat.talk(connection)

        url = await serve(talk)
        async with (
            hubws.connect(url, proxy=None) as mo,
            start("chat", url, "Ada", "--json", "--max-wait", "0.01") as program,
        ):
            for number, text in enumerate(["one", "two", "three"]):
                await mo.send(json.dumps({"event": "SAY", "message": text}))
                await said(mo, f"guest {connections[0].id}")
                await program.wait_for(has(f'"message": "{text}"'))
                if number < 2:
                    connections[-1].abort()
            end = await interrupt(program)
    assert end.status == 0
    texts = [event["message"] for event in map(json.loads, end.lines) if "message" in event]
    assert texts == ["one", "two", "three"]


async def test_at_a_terminal(serve: Serve):
    async with hubws.open_hub() as hub:
        url = await serve(Chat(hub).talk)
        async with (
            hubws.connect(url + "lobby?since=", proxy=None) as mo,
            open_terminal("chat", url, "Ada") as terminal,
        ):
            await mo.send(json.dumps({"event": "SET_NAME", "new_name": "Mo"}))
            await terminal.wait_for("here: ")
            await mo.send(json.dumps({"event": "SAY", "message": "hello \x1b[2J"}))
            await terminal.wait_for(r"Mo\S*: hello \\x1b\[2J")
            await terminal.type("hi\r")
            assert await said(mo, "Ada") == "hi"
            await terminal.type("/name Ada L.\r/name server\r")
            await terminal.wait_for("a name has ")
            await terminal.type("//really\r")
            assert await said(mo, "Ada L.") == "/really"
            await terminal.type("/dance\r/help\r")
            await terminal.wait_for("there is no /dance; /help says what there is")
            await terminal.wait_for("/name NAME ")
            async with hubws.connect(url + "?since=", proxy=None):
                await terminal.wait_for(r"guest \d+ is here")
            await terminal.wait_for(r"guest \d+ has left")
            await terminal.type("\x04")
            assert await terminal.wait() == 0


async def test_nobody_says_lines_of_others(serve: Serve):
    async with hubws.open_hub() as hub:
        url = await serve(Chat(hub).talk)
        async with hubws.connect(url, proxy=None) as mo:
            await mo.send(json.dumps({"event": "SAY", "message": "hi\nAda: me, too"}))
            await mo.ping()
            end = await run("chat", url, "Ada")
    assert end.lines[0].endswith(": hi")
    assert end.lines[1] == "    Ada: me, too"


async def test_a_server_that_speaks_otherwise(serve: Serve):
    async def babble(connection: hubws.Connection) -> None:
        for message in ("hello", b"{}", "[]", '{"event": "CHAT_MSG"}', '{"position": 7}',
                        '{"presence": "snapshot", "members": [7]}', '{"user": [], "presence": "x"}',
                        '{"event": "CHAT_MSG", "user": "x", "message": "y"}'):  # fmt: skip
            await connection.send(message)

    end = await run("chat", await serve(babble), "Ada")
    assert end.lines == ["x: y"]
    assert [line.partition("not of a chat: ")[2] for line in end.errors if "not of" in line] == [
        "'hello'", "'[]'", """'{"position": 7}'""",
        """'{"presence": "snapshot", "members": [7]}'""", """'{"user": [], "presence": "x"}'""",
    ]  # fmt: skip


def test_urls():
    for url, room, at in [
        ("ws://host", None, "ws://host/?since="),
        ("ws://host/kitchen", None, "ws://host/kitchen?since="),
        ("ws://host/kitchen", "a b/c", "ws://host/a%20b%2Fc?since="),
        ("ws://host/?key=1", "x", "ws://host/x?key=1&since="),
        ("ws://host/?since=a:1", "x", "ws://host/x?since=a:1"),
    ]:
        assert url_of(url, room) == at


def test_wrong_arguments(capfd: pytest.CaptureFixture[str]):
    assert main(["chat", "ws://host/", "Ada", "--linger", "-1"]) == 2
    assert "--linger must be 0 seconds or more" in capfd.readouterr().err
    assert main(["chat", "ws://host/"]) == 2
    assert "NAME" in capfd.readouterr().err
