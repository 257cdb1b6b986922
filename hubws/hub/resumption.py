"""How a client that comes back says which messages of which topics it has, and is told the rest.

    the client    {"recover": {"news": "aB3-_xYz01w:7", "prices": null}}    null: from now on

    the server    what was missed, in envelopes, then for each topic one of
                  {"recovered": "news", "position": "aB3-_xYz01w:9"}
                  {"lost": "news", "position": "...", "oldest": "...", "newest": "..."}
                  {"refused": "news", "error": "..."}

Each is a text message in JSON with these fields and no others. After the first two the client is in
the topic, and the next of its messages has the offset behind `position`, or behind `newest`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..connection.connection import Connection
from ..errors import RequestFailed
from ..protocol.frames import CloseCode
from .backplane import BackplaneAway
from .envelope import Envelope, unwrap
from .history import Message, Position, PositionLost

if TYPE_CHECKING:
    from .hub import Hub


# -- the server's side -----------------------------------------------------------------------------


async def serve_recovery(hub: Hub, connection: Connection, message: Message) -> bool:
    """Do what a client asks for that comes back, if the message asks for it; False for any other.

        async with hub.member(connection):
            async for message in connection:
                if not await hubws.serve_recovery(hub, connection, message):
                    ...

    The connection must be a member, and joins each topic that the client names and that has a history
    (see `Hub.recover`); `may_join` of the hub says which it may. It takes as long as the client does to
    read what it missed. Raises ConnectionClosed.
    """
    topics = _read(message).get("recover")
    if not isinstance(topics, dict):
        return False
    for topic, position in topics.items():
        await connection.send(_write(await _recover(hub, connection, topic, position)))
    return True


async def _recover(
    hub: Hub, connection: Connection, topic: str, position: object
) -> dict[str, str]:
    try:
        since = None if position is None else Position.parse(position)
        try:
            reached = await hub.recover(connection, topic, since)
        except PositionLost as lost:
            newest = await hub.recover(connection, topic, None)
            places = {"position": lost.position, "oldest": lost.oldest, "newest": newest}
            return {"lost": topic} | {name: str(place) for name, place in places.items()}
        return {"recovered": topic, "position": str(reached)}
    except (ValueError, PermissionError, BackplaneAway) as error:  # of a position, a topic, a rule
        return {"refused": topic, "error": str(error)}


# -- the client's side -----------------------------------------------------------------------------


class TopicLost(PositionLost):
    """What a client missed in a topic can't be told without a gap: read the whole state anew.

    Attributes: `topic`, and those of `PositionLost`. Messages from behind `newest` on follow.
    """

    def __init__(self, topic: str, position: Position, oldest: Position, newest: Position) -> None:
        super().__init__(position, oldest, newest)
        self.topic = topic
        self.add_note(f"in the topic {topic!r}")


class TopicPositions:
    """Has a client get every message of some topics of a hub exactly once, whatever it is cut off from.

        positions = hubws.TopicPositions({"news": None})
        async with hubws.open_client(url, resume=positions) as client:
            async for envelope in client:
                print(envelope.topic, envelope.message)

    For a server that uses `serve_recovery`, and topics that have a history. Messages of these topics
    come as `Envelope`; other messages as they are. A gap is told, by `receive` or the iteration, as
    `TopicLost`, in the place of the messages that are missing; a topic that is refused as
    `RequestFailed`. Both may be caught, and the others received on.

    Args:
        topics: by name the position of the last message that the application has, or None for none:
            then what is published from now on.

    Attributes:
        positions: those of the messages that the application was given; to be kept and handed in by
            an application that is started again.

    """

    def __init__(self, topics: Mapping[str, Position | str | None]) -> None:
        self.positions: dict[str, Position | None] = {
            topic: Position.parse(position) if isinstance(position, str) else position
            for topic, position in topics.items()
        }

    async def open(self, connection: Connection) -> None:
        """Ask for what was missed (see `Resumption`)."""
        positions = {
            topic: None if position is None else str(position)
            for topic, position in self.positions.items()
        }
        await connection.send(_write({"recover": positions}))

    def take(self, connection: Connection, message: Message) -> Envelope | Message | None:
        """Sort out what the application gets of a message (see `Resumption`)."""
        try:
            envelope = unwrap(message)
        except ValueError:
            return None if self._take_answer(connection, message) else message
        if envelope.topic not in self.positions:
            return message
        last, position = self.positions[envelope.topic], envelope.position
        if last is None or position.epoch != last.epoch or position.offset > last.offset + 1:
            _come_back(connection, position)
        elif position.offset == last.offset + 1:
            self.positions[envelope.topic] = position
            return envelope
        return None  # it was there already

    def _take_answer(self, connection: Connection, message: Message) -> bool:
        """Whether a message was an answer to what `open` asked."""
        match _read(message):
            case {"recovered": str(topic), "position": at}:
                places = _parse(at)
            case {"lost": str(topic), "position": at, "oldest": oldest, "newest": newest}:
                places = _parse(at, oldest, newest)
            case {"refused": str(topic), "error": str(error)} if topic in self.positions:
                raise RequestFailed(f"{topic!r} is not recovered: {error}")
            case _:
                return False
        if topic not in self.positions or not places:
            return False
        last = self.positions[topic]
        if last is None:
            self.positions[topic] = places[-1]
        elif last != places[0]:  # a gap, or it was asked before what is here was read
            _come_back(connection, places[0])
        elif len(places) == 3:
            self.positions[topic] = places[-1]
            raise TopicLost(topic, *places)
        return True


def _parse(*positions: object) -> list[Position]:
    """Those positions, or none if one of them isn't any."""
    try:
        return [Position.parse(position) for position in positions]
    except ValueError:
        return []


def _come_back(connection: Connection, position: Position) -> None:
    """End a connection by which a message was left out: by the next one it is recovered."""
    connection.close_nowait(CloseCode.TRY_AGAIN_LATER, f"a message is missing near {position}")


def _write(fields: dict[str, Any]) -> str:
    # In ASCII, for a client may have named a topic by what UTF-8 can't hold.
    return json.dumps(fields, separators=(",", ":"))


def _read(message: Message) -> dict[str, Any]:
    """The fields of a JSON object, none of any other message."""
    if not (isinstance(message, str) and message.startswith("{")):
        return {}
    try:
        fields: dict[str, Any] = json.loads(message)
    except (ValueError, RecursionError):
        return {}
    return fields
