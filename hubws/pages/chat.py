"""A chat: rooms, names, who is here, and what was said before; with the page for it.

The room is the path of the URL; `/` is the lobby. Messages are JSON objects.

    from the client   {"event": "SET_NAME", "new_name": "Ada"}
                      {"event": "SAY", "message": "hello"}
                      {"event": "LEAVE"}

    from the server   {"event": "CHAT_MSG", "user": "Ada", "message": "hello", "id": 7,
                       "time": 1790000000.5, "position": "aB3-_xYz01w:9"}
                      {"event": "ERROR", "message": "this is not JSON"}

Whoever asks for `/ROOM?since=` is first sent what was said before, by the position of the last message
that it has (`?since=aB3-_xYz01w:9`) only what came after that; and then told who is here:

                      {"event": "JOINED", "id": 7, "user": "guest 7", "complete": true,
                       "since": "aB3-_xYz01w:9"}
                      {"presence": "snapshot", ...}, and from then on joined, updated and left

`complete` is false when some of what came after the position is not known any more.
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any
from urllib.parse import parse_qs, quote

from ..connection.connection import Connection
from ..errors import ConnectionClosed
from ..hub.history import Position, PositionLost, Retention
from ..hub.hub import Hub
from ..protocol.frames import CloseCode
from .site import Site

LAST = Retention(messages=100, bytes=64 * 1024)
"""What is kept of each room, when nothing else is said."""

LONGEST_NAME, LONGEST_TEXT, LONGEST_ROOM = 32, 4000, 64  # characters

BAD_JSON = "this is not JSON"
BAD_NAME = f"a name has 1 to {LONGEST_NAME} visible characters and is not 'server'"
BAD_TEXT = f"a message has at most {LONGEST_TEXT} characters"
BAD_EVENT = "the events are SET_NAME with new_name, SAY with message, and LEAVE"
BAD_ROOM = f"a room's name has at most {LONGEST_ROOM} characters"
BAD_SINCE = "since is the position of a message, or empty"


def chat_message(user: str, message: str, connection_id: int | None = None) -> str:
    """The event that people get to see."""
    return json.dumps(
        {
            "event": "CHAT_MSG",
            "user": user,
            "message": message,
            "id": connection_id,
            "time": time.time(),
        }
    )


def error(message: str) -> str:
    """The event for whoever sent something that makes no sense."""
    return json.dumps({"event": "ERROR", "message": message})


def with_position(message: str | bytes, _topic: str, position: Position) -> str:
    """A message of a room as its members get it."""
    assert isinstance(message, str)
    return f'{message[:-1]}, "position": "{position}"}}'


class Chat:
    """Rooms in a hub.

        chat = Chat(hub)
        await hubws.serve(chat.talk, "127.0.0.1", 8080, on_request=chat.answer)

    Args:
        hub: where people are members.
        history: how much is kept of what was said in each room.

    Attributes:
        messages: how many were said here.

    """

    def __init__(self, hub: Hub, *, history: Retention = LAST) -> None:
        self.hub = hub
        self.messages = 0
        self.answer = Site("chat").answer
        """For `on_request` of `serve`: the page, at `/`."""
        hub.configure("said.*", history=history, wrap=with_position)
        hub.configure("here.*", presence=True)

    async def talk(self, connection: Connection) -> None:
        """Let somebody be in a room, from coming in to leaving; the handler for `serve`."""
        room = connection.path.strip("/") or "lobby"
        if len(room) > LONGEST_ROOM:
            await connection.aclose(CloseCode.POLICY_VIOLATION, BAD_ROOM)
            return
        async with self.hub.member(connection):
            person = Person(self, connection, room)
            if not await person.come_in():
                await connection.aclose(CloseCode.POLICY_VIOLATION, BAD_SINCE)
                return
            async for message in connection:
                try:
                    event = json.loads(message)
                except (ValueError, RecursionError):
                    wrong: str | None = BAD_JSON
                else:
                    if isinstance(event, dict) and event.get("event") == "LEAVE":
                        return  # a connection whose handler returns is closed with 1000
                    wrong = person.take(event)
                if wrong is not None:
                    await connection.send(error(wrong))


class Person:
    """Somebody in a room."""

    def __init__(self, chat: Chat, connection: Connection, room: str) -> None:
        self._chat = chat
        self._hub = chat.hub
        self._connection = connection
        name = quote(room, safe="")  # a room may be called a.*, a topic may not
        self._said, self._here = f"said.{name}", f"here.{name}"
        self._name = f"guest {connection.id}"
        self._is_shown = False

    async def come_in(self) -> bool:
        """Join, after what was said before if that was asked for; False when it was asked badly."""
        assert self._connection.request is not None
        query = parse_qs(self._connection.request.query, keep_blank_values=True)
        if "since" not in query:
            with contextlib.suppress(
                ConnectionClosed
            ):  # gone again; what it said is said all the same
                self._hub.join(self._connection, self._said)
            return True
        since = query["since"][-1]
        try:
            position = Position.parse(since) if since else None
        except ValueError:
            return False
        if position is None:
            newest = await self._hub.newest_position(self._said)
            position = Position(newest.epoch, 0)
        reached, complete = await self._catch_up(position)
        joined = {
            "event": "JOINED",
            "id": self._connection.id,
            "user": self._name,
            "since": str(reached),
            "complete": complete or not since,
        }
        await self._connection.send(json.dumps(joined))
        self._is_shown = True
        self._show()
        return True

    async def _catch_up(self, position: Position) -> tuple[Position, bool]:
        """Join after what came behind a position; returns where that is, and whether that was all."""
        complete = True
        while True:
            try:
                return await self._hub.recover(self._connection, self._said, position), complete
            except PositionLost as lost:
                position, complete = lost.oldest, False

    def take(self, event: Any) -> str | None:
        """Do what a client asks for; returns what was wrong with it."""
        match event:
            case {"event": "SET_NAME", "new_name": str(name)}:
                name = name.strip()
                if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or name == "server":
                    return BAD_NAME
                self._name = name
                self._show()
            case {"event": "SAY", "message": str(text)}:
                if len(text) > LONGEST_TEXT:
                    return BAD_TEXT
                # Never waits: who reads too slowly is disconnected, the others don't notice.
                message = chat_message(self._name, text, self._connection.id)
                self._hub.broadcast(message, topic=self._said)
                self._chat.messages += 1
            case _:
                return BAD_EVENT
        return None

    def _show(self) -> None:
        """Be among those who are here, under that name."""
        if self._is_shown:
            self._hub.join(self._connection, self._here, info={"name": self._name})
