"""Messages in pieces: their payload, their limit, and text that stops being UTF-8."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubws.errors import RemoteProtocolError
from hubws.protocol.frames import Opcode
from hubws.protocol.messages import PartialMessage

LIMIT = 1024 * 1024

# Where UTF-8's rules change from one byte to the next (The Unicode Standard, table 3-7).
EDGES = bytes.fromhex("00 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f3 f4 f5 ff")
ENDINGS = ["", "80", "bf", "80 80", "bf 80", "80 80 80", "bf 80 80"]


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def may_become_utf8(data: bytes) -> bool:
    """Whether something can follow that makes it UTF-8."""
    return any(is_utf8(data + bytes.fromhex(ending)) for ending in ENDINGS)


def accepted(data: bytes) -> int:
    """How many bytes a text message takes, byte by byte, before it is refused."""
    message = PartialMessage(Opcode.TEXT, LIMIT)
    for at in range(len(data)):
        try:
            message.feed(data[at : at + 1])
        except RemoteProtocolError:
            return at
    return len(data)


def longest_good_start(data: bytes) -> int:
    return next(n for n in range(len(data), -1, -1) if may_become_utf8(data[:n]))


class TestText:
    """RFC 6455 §8.1."""

    @pytest.mark.parametrize("text", ["", "plain", "é", "€", "😀", "\ud7ff\ue000\U0010ffff", "﻿"])
    def test_byte_by_byte(self, text: str) -> None:
        message = PartialMessage(Opcode.TEXT, LIMIT)
        for byte in text.encode():
            message.feed(bytes([byte]))
        assert message.finish() == text

    def test_refused_on_the_first_offending_byte(self) -> None:
        for length in (1, 2, 3):
            for some in itertools.product(EDGES, repeat=length):
                data = bytes(some)
                assert accepted(data) == longest_good_start(data), data.hex(" ")

    @given(st.lists(st.sampled_from(EDGES), max_size=8).map(bytes))
    def test_refused_on_the_first_offending_byte_of_many(self, data: bytes) -> None:
        assert accepted(data) == longest_good_start(data)

    @given(st.lists(st.sampled_from(EDGES), max_size=8).map(bytes), st.integers(0, 8))
    def test_pieces_are_judged_as_the_whole(self, data: bytes, cut: int) -> None:
        message = PartialMessage(Opcode.TEXT, LIMIT)
        try:
            message.feed(data[:cut])
            message.feed(data[cut:])
            text = message.finish()
        except RemoteProtocolError:
            assert not is_utf8(data)
        else:
            assert text == data.decode()

    @pytest.mark.parametrize("data", ["c3", "e2 82", "f0 9f", "f0 9f 98", "41 ed"])
    def test_ends_inside_a_character(self, data: str) -> None:
        message = PartialMessage(Opcode.TEXT, LIMIT)
        message.feed(bytes.fromhex(data))
        with pytest.raises(RemoteProtocolError, match="not UTF-8") as caught:
            message.finish()
        assert caught.value.code == 1007


class TestBinary:
    def test_any_bytes(self) -> None:
        message = PartialMessage(Opcode.BINARY, LIMIT)
        for piece in (b"\xff", bytearray(b"\xc3"), memoryview(b"\x28")):
            message.feed(piece)
        assert message.finish() == b"\xff\xc3\x28"

    def test_nothing(self) -> None:
        assert PartialMessage(Opcode.BINARY, LIMIT).finish() == b""


class TestLimit:
    def test_counts_what_has_arrived_and_what_is_announced(self) -> None:
        message = PartialMessage(Opcode.BINARY, 10)
        message.feed(b"12345")
        message.begin_frame(5)
        with pytest.raises(RemoteProtocolError, match="at least 11 bytes; at most 10") as caught:
            message.begin_frame(6)
        assert caught.value.code == 1009

    @pytest.mark.parametrize(("limit", "frames"), [(1, 1024), (16 * 1024, 1024), (65_568, 2049)])
    def test_bounds_the_number_of_fragments(self, limit: int, frames: int) -> None:
        message = PartialMessage(Opcode.BINARY, limit)
        for _ in range(frames):
            message.begin_frame(0)
        with pytest.raises(RemoteProtocolError, match=f"has over {frames} fragments") as caught:
            message.begin_frame(0)
        assert caught.value.code == 1009
