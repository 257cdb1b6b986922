"""How a message's topic and position travel to clients: a JSON object for text, a header for binary.

    text     {"topic": "prices", "epoch": "aB3-_xYz01w", "offset": 7, "message": "..."}

    binary   byte 0         1, the version of this layout
             byte 1         length of the epoch
             bytes 2-3      length of the topic; all numbers are big endian
             bytes 4-11     offset
             then           epoch (ASCII), topic (UTF-8), message

An application with a format of its own uses a function of its own in the place of `wrap`.
"""

from __future__ import annotations

import json
import reprlib
import struct
from typing import Any, NoReturn

import attrs

from ..protocol.frames import Payload
from .history import Message, Position, size_of

HEADER = struct.Struct("!BBHQ")
"""Version, length of the epoch, length of the topic, offset."""

VERSION = 1
MAX_TOPIC = 0xFFFF
"""The longest topic, in bytes of UTF-8."""

KEYS = {"topic", "epoch", "offset", "message"}


def _check_topic(_: object, __: object, value: Any) -> None:
    if not isinstance(value, str) or not 0 < size_of(value) <= MAX_TOPIC:
        what = reprlib.repr(value)
        raise ValueError(f"a topic is text of 1 to {MAX_TOPIC} bytes of UTF-8, not {what}")


def _check_position(_: object, __: object, value: Position) -> None:
    if value.offset == 0:
        raise ValueError(f"no message is at {value}: the first has offset 1")


def _check_message(_: object, __: object, value: Message) -> None:
    if isinstance(value, str):
        size_of(value)


@attrs.frozen
class Envelope:
    """A message of a topic, and where in the topic's history it stands."""

    topic: str = attrs.field(validator=_check_topic)
    position: Position = attrs.field(validator=_check_position)
    """To be named when coming back."""
    message: Message = attrs.field(validator=_check_message)


def wrap(message: str | Payload, topic: str, position: Position) -> Message:
    """Put a message and its position into one message of the same kind.

    ValueError for text with lone surrogates, an empty topic or one of more than 65,535 bytes, and
    for offset 0; TypeError for what is no message.
    """
    if not isinstance(message, str):
        message = bytes(memoryview(message))
    envelope = Envelope(topic, position, message)
    epoch, offset = position.epoch, position.offset
    if isinstance(message, bytes):
        name = envelope.topic.encode()
        header = HEADER.pack(VERSION, len(epoch), len(name), offset)
        return b"".join((header, epoch.encode(), name, message))
    fields = {"topic": topic, "epoch": epoch, "offset": offset, "message": message}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def unwrap(data: str | Payload) -> Envelope:
    """Read back what `wrap` made; ValueError for any other text or bytes."""
    try:
        if isinstance(data, str):
            return _unwrap_text(data)
        return _unwrap_binary(bytes(memoryview(data)))
    except (ValueError, RecursionError) as error:  # of JSON that is nested too deep
        raise ValueError(f"{reprlib.repr(data)} is no envelope: {error}") from None


def _unwrap_text(text: str) -> Envelope:
    fields: Any = json.loads(text)
    if type(fields) is not dict or fields.keys() != KEYS:
        _refuse("it must be an object of topic, epoch, offset and message")
    if not isinstance(fields["message"], str):
        _refuse("its message must be a string")
    position = Position(fields["epoch"], fields["offset"])
    return Envelope(fields["topic"], position, fields["message"])


def _unwrap_binary(data: bytes) -> Envelope:
    if len(data) < HEADER.size:
        _refuse(f"it is shorter than the header's {HEADER.size} bytes")
    version, epoch_size, topic_size, offset = HEADER.unpack_from(data)
    if version != VERSION:
        _refuse(f"version {version} is unknown")
    topic_at = HEADER.size + epoch_size
    message_at = topic_at + topic_size
    if len(data) < message_at:
        _refuse(f"it is shorter than the {message_at} bytes that its header announces")
    epoch = data[HEADER.size : topic_at].decode()
    topic = data[topic_at:message_at].decode()
    return Envelope(topic, Position(epoch, offset), data[message_at:])


def _refuse(why: str) -> NoReturn:
    raise ValueError(why)
