"""Envelopes: messages that carry their topic and position."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hubws.hub.envelope import MAX_TOPIC, Envelope, unwrap, wrap
from hubws.hub.history import MAX_OFFSET, Position

positions = st.builds(
    Position, st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True), st.integers(1, MAX_OFFSET)
)
topics = st.text(min_size=1)


@given(st.text() | st.binary(), topics, positions)
def test_what_is_wrapped_is_unwrapped(message: str | bytes, topic: str, position: Position) -> None:
    wrapped = wrap(message, topic, position)
    assert type(wrapped) is type(message)
    assert unwrap(wrapped) == Envelope(topic, position, message)


def test_text() -> None:
    wrapped = wrap('a "€"', "prices", Position("e-1", 7))
    assert wrapped == '{"topic":"prices","epoch":"e-1","offset":7,"message":"a \\"€\\""}'


def test_binary() -> None:
    wrapped = wrap(bytearray(b"\x00\xff"), "é", Position("e-1", 0x010203))
    header = b"\x01\x03\x00\x02\x00\x00\x00\x00\x00\x01\x02\x03"
    assert wrapped == header + b"e-1\xc3\xa9\x00\xff"
    assert unwrap(memoryview(wrapped)) == unwrap(bytearray(wrapped)) == unwrap(wrapped)


def test_the_longest_topic() -> None:
    topic = "é" * (MAX_TOPIC // 2) + "e"
    for message in ("text", b"binary"):
        assert unwrap(wrap(message, topic, Position("e", 1))).topic == topic
        with pytest.raises(ValueError, match=f"1 to {MAX_TOPIC} bytes"):
            wrap(message, topic + "e", Position("e", 1))


@pytest.mark.parametrize(
    ("message", "topic", "offset", "error"),
    [
        ("a", "", 1, ValueError),
        ("a", None, 1, ValueError),
        ("a", "\ud800", 1, ValueError),
        ("\udfff", "a", 1, ValueError),
        ("a", "a", 0, ValueError),
        (None, "a", 1, TypeError),
        (5, "a", 1, TypeError),
    ],
)
def test_nothing_else_is_wrapped(
    message: Any, topic: Any, offset: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        wrap(message, topic, Position("e", offset))


GOOD = {"topic": "t", "epoch": "e", "offset": 1, "message": "m"}


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "null", "[]", "1", "[" * 100_000, '"text"', json.dumps([GOOD]), "9" * 10_000,
        *(json.dumps({key: GOOD[key] for key in GOOD if key != missing}) for missing in GOOD),
        json.dumps({**GOOD, "more": 1}),
        *(json.dumps({**GOOD, "topic": topic}) for topic in ("", None, 1, [], "\ud800")),
        *(json.dumps({**GOOD, "epoch": epoch}) for epoch in ("", None, 1, "é", "a:b", "e" * 65)),
        *(json.dumps({**GOOD, "offset": offset}) for offset in (0, -1, 1.0, "1", True, 2**53)),
        *(json.dumps({**GOOD, "message": message}) for message in (None, 1, {}, "\ud800")),
    ],
)  # fmt: skip
def test_other_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no envelope: .+") as caught:
        unwrap(text)
    assert len(str(caught.value)) < 250


HEADER = b"\x01\x01\x00\x01" + (1).to_bytes(8, "big")


@pytest.mark.parametrize(
    "data",
    [
        b"", HEADER[:-1], HEADER, HEADER + b"e",
        b"\x02" + HEADER[1:] + b"etm",
        HEADER + b"\xfftm", HEADER + b"e\xffm", HEADER + b":tm",
        b"\x01\x00" + HEADER[2:] + b"tm",
        b"\x01\x01\x00\x00" + HEADER[4:] + b"em",
        HEADER[:4] + bytes(8) + b"etm",
        HEADER[:4] + b"\xff" * 8 + b"etm",
        b"\x01\xff\xff\xff" + HEADER[4:] + bytes(1000),
    ],
)  # fmt: skip
def test_other_bytes(data: bytes) -> None:
    assert unwrap(HEADER + b"etm") == Envelope("t", Position("e", 1), b"m")
    with pytest.raises(ValueError, match=r"is no envelope: .+"):
        unwrap(data)


@given(st.binary() | st.binary().map(HEADER.__add__))
@example(HEADER + b"et")
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        envelope = unwrap(data)
    except ValueError:
        return
    assert wrap(envelope.message, envelope.topic, envelope.position) == data


@given(
    st.text()
    | st.fixed_dictionaries(dict.fromkeys(GOOD, st.text() | st.integers())).map(json.dumps)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        envelope = unwrap(text)
    except ValueError:
        return
    assert unwrap(wrap(envelope.message, envelope.topic, envelope.position)) == envelope
