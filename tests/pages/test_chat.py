"""hubws/pages/chat.py: rooms, names, who is here, and what was said before."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

import hubws
from hubws.pages.chat import LONGEST_TEXT

from .serving import chatting, port_of


@pytest.fixture
async def host() -> AsyncIterator[str]:
    async with chatting() as running:
        yield running


def connect(host: str, room: str = "", *, since: str | None = None):
    query = "" if since is None else f"?since={since}"
    return hubws.connect(f"ws://{host}/{room}{query}", proxy=None)


async def receive(connection: hubws.Connection) -> dict[str, Any]:
    with trio.fail_after(30):
        event: dict[str, Any] = json.loads(await connection.receive())
    return event


async def receive_until(connection: hubws.Connection, **fields: object) -> list[dict[str, Any]]:
    """The events up to one with these fields."""
    events = [await receive(connection)]
    while not fields.items() <= events[-1].items():
        events.append(await receive(connection))
    return events


async def say(connection: hubws.Connection, *texts: str) -> None:
    for text in texts:
        await connection.send(json.dumps({"event": "SAY", "message": text}))


async def be(connection: hubws.Connection, name: str) -> None:
    await connection.send(json.dumps({"event": "SET_NAME", "new_name": name}))


class TestEvents:
    async def test_what_one_says_everybody_in_the_room_sees(self, host: str):
        async with connect(host, "lobby") as ada, connect(host) as mo:
            await say(mo, "here")  # so Mo is in the room by now
            for person in (mo, ada):
                assert (await receive(person))["message"] == "here"
            await be(ada, " Ada ")
            await say(ada, "hi <b>Mo</b> \ud83d\ude00")
            events = [await receive(person) for person in (ada, mo)]
            assert events[0] == events[1]
            expected = {"event": "CHAT_MSG", "user": "Ada", "message": "hi <b>Mo</b> 😀"}
            assert expected.items() <= events[0].items()

    async def test_rooms_are_separate_whatever_they_are_called(self, host: str):
        rooms = ("one", "two%20%C3%BC", "one.*", "*", "one/two")
        for room in rooms:
            async with connect(host, room) as someone, connect(host, "one") as other:
                await say(someone, room)
                assert (await receive(someone))["message"] == room
                await say(other, "end")
                assert (await receive(other))["message"] == ("one" if room == "one" else "end")

    async def test_those_who_do_not_ask_for_it_are_told_nothing_else(self, host: str):
        async with connect(host, since="") as ada, connect(host) as mo:
            await receive_until(ada, presence="snapshot")
            await be(ada, "Ada")
            await say(ada, "hello")
            events = await receive_until(ada, message="hello")
            assert events[0]["presence"] == "updated"
            assert (await receive(mo))["message"] == "hello"

    @pytest.mark.parametrize(
        ("message", "why"),
        [
            ("{", "JSON"),
            ("", "JSON"),
            (b"\xff\x00", "JSON"),
            ("[" * 10_000, "JSON"),
            ("1" * 10_000, "JSON"),
            ("null", "events"),
            ('"a text"', "events"),
            ('{"event": "SHOUT"}', "events"),
            ('{"event": ["LEAVE"]}', "events"),
            ('{"event": "SAY", "message": 3}', "events"),
            (json.dumps({"event": "SAY", "message": "x" * (LONGEST_TEXT + 1)}), "4000"),
            ('{"event": "SET_NAME"}', "events"),
            ('{"event": "SET_NAME", "new_name": "  "}', "name"),
            ('{"event": "SET_NAME", "new_name": "server"}', "name"),
            ('{"event": "SET_NAME", "new_name": "a\\nb"}', "name"),
            ('{"event": "SET_NAME", "new_name": "\\ud800"}', "name"),
            (json.dumps({"event": "SET_NAME", "new_name": "x" * 33}), "name"),
        ],
    )
    async def test_what_makes_no_sense_is_answered_and_the_conversation_goes_on(
        self, host: str, message: str | bytes, why: str
    ):
        async with connect(host) as connection:
            await connection.send(message)
            event = await receive(connection)
            assert event["event"] == "ERROR"
            assert why in event["message"]
            await connection.send('{"event": "SAY", "message": "lone surrogate: \\ud800"}')
            assert (await receive(connection))["message"] == "lone surrogate: \ud800"

    async def test_leaving_closes_with_1000(self, host: str):
        async with connect(host) as connection:
            await say(connection, "bye")
            await connection.send(json.dumps({"event": "LEAVE"}))
            assert (await receive(connection))["message"] == "bye"
            await connection.wait_closed()
        assert connection.closure.normal
        assert connection.close_code == 1000

    @pytest.mark.parametrize(
        ("room", "since", "why"),
        [("x" * 65, None, "64 characters"), ("", "yesterday", "since is the position")],
    )
    async def test_what_can_not_be_entered(self, host: str, room: str, since: str | None, why: str):
        async with connect(host, room, since=since) as connection:
            with trio.fail_after(30):
                await connection.wait_closed()
        assert connection.close_code == 1008
        assert why in connection.close_reason


class TestHistory:
    async def test_who_comes_sees_what_was_said(self, host: str):
        async with connect(host) as ada:
            await be(ada, "Ada")
            await say(ada, "one", "two")
            await receive_until(ada, message="two")
        async with connect(host, since="") as mo:
            one, two, joined = await receive_until(mo, event="JOINED")
            assert [one["message"], two["message"]] == ["one", "two"]
            assert one["user"] == "Ada"
            assert one["time"] <= two["time"]
            assert (joined["complete"], joined["since"]) == (True, two["position"])

    async def test_who_comes_back_gets_exactly_what_was_missed(self, host: str):
        async with connect(host) as ada:
            await say(ada, "one")
            position = (await receive(ada))["position"]
            await say(ada, "two", "three")
            await receive_until(ada, message="three")
            async with connect(host, since=position) as mo:
                *missed, joined = await receive_until(mo, event="JOINED")
                assert [event["message"] for event in missed] == ["two", "three"]
                assert joined["complete"]
                await say(ada, "four")
                assert (await receive_until(mo, message="four"))[-1]["user"].startswith("guest ")

    async def test_what_is_not_known_any_more_is_told(self):
        async with (
            chatting(history=hubws.Retention(messages=2)) as host,
            connect(host) as ada,
        ):
            await say(ada, "one")
            position = (await receive(ada))["position"]
            await say(ada, "two", "three", "four")
            await receive_until(ada, message="four")
            async with connect(host, since=position) as mo:
                *missed, joined = await receive_until(mo, event="JOINED")
        assert [event["message"] for event in missed] == ["three", "four"]
        assert not joined["complete"]

    async def test_after_a_restart_positions_are_others(self):
        async with chatting() as host, connect(host) as ada:
            await say(ada, "before")
            position = (await receive(ada))["position"]
        async with chatting(port_of(host)) as host, connect(host) as ada:
            await say(ada, "after")
            await receive(ada)
            async with connect(host, since=position) as mo:
                after, joined = await receive_until(mo, event="JOINED")
        assert after["message"] == "after"
        assert not joined["complete"]


class TestPresence:
    async def test_who_is_here(self, host: str):
        async with connect(host, since="") as ada:
            joined, snapshot = await receive_until(ada, presence="snapshot")
            assert joined["user"] == f"guest {joined['id']}"
            assert [one["user"] for one in snapshot["members"]] == [joined["id"]]
            await be(ada, "Ada")
            assert (await receive(ada))["info"] == {"name": "Ada"}
            async with connect(host, since="") as mo:
                names = [
                    one["info"]["name"]
                    for one in (await receive_until(mo, presence="snapshot"))[-1]["members"]
                ]
                assert names[0] == "Ada"
                came = await receive(ada)
                assert (came["presence"], came["info"]["name"]) == ("joined", names[1])
                await be(mo, "Mo")
                assert (await receive(ada))["info"] == {"name": "Mo"}
            left = await receive(ada)
            assert (left["presence"], left["user"]) == ("left", came["user"])

    async def test_rooms_do_not_see_each_other(self, host: str):
        async with connect(host, "one", since="") as ada:
            await receive_until(ada, presence="snapshot")
            async with connect(host, "two", since="") as mo:
                snapshot = (await receive_until(mo, presence="snapshot"))[-1]
                assert len(snapshot["members"]) == 1
            await be(ada, "Ada")
            assert (await receive(ada))["presence"] == "updated"
