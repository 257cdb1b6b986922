"""An endpoint that brings what is large, or slow, in pieces."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubws import Deflate, DeflateParameters
from hubws.protocol.endpoint import Endpoint, Event, Ping, Violation
from hubws.protocol.messages import Piece
from hubws.protocol.state import Close


def make_endpoint(limit: int = 20, most: int = 50, **options: object) -> Endpoint:
    """A client, which reads frames without a mask."""
    return Endpoint(
        is_client=True,
        max_message_size=limit,
        max_stream_size=most,
        next_mask_key=lambda: bytes(4),
        **options,  # type: ignore[arg-type]
    )


def receive(endpoint: Endpoint, *data: bytes) -> list[Event]:
    return [event for each in data for event in endpoint.receive_data(each, len(each))]


class TestPieces:
    def test_what_is_whole_at_once(self) -> None:
        endpoint = make_endpoint()
        assert receive(endpoint, b"\x81\x02ab\x82\x01c") == ["ab", b"c"]
        assert endpoint.only_messages
        assert receive(endpoint, b"\x89\x00\x01\x01a\x80\x01b\x81\x00") == [Ping(b""), "ab", ""]

    def test_what_comes_bit_by_bit(self) -> None:
        endpoint = make_endpoint()
        assert receive(endpoint, b"\x82\x05a") == [Piece(b"a", last=False)]
        assert not endpoint.only_messages
        assert receive(endpoint, b"bc", b"", b"de\x81\x01x") == [
            Piece(b"bc", last=False),
            Piece(b"de", last=True),
            "x",
        ]

    def test_fragments(self) -> None:
        """RFC 6455 §5.4; control frames come between."""
        endpoint = make_endpoint()
        assert receive(endpoint, b"\x01\x01a", b"\x00\x00", b"\x89\x01p\x00\x01b", b"\x80\x00") == [
            Piece("a", last=False),
            Ping(b"p"),
            Piece("b", last=False),
            Piece("", last=True),
        ]

    def test_nothing_has_come_of_it(self) -> None:
        endpoint = make_endpoint()
        assert receive(endpoint, b"\x82", b"\x02", b"ab") == [b"ab"]
        assert receive(endpoint, b"\x01\x00", b"\x80\x00") == [""]

    def test_characters_are_whole(self) -> None:
        """RFC 6455 §8.1: what is text in the end need not be at the end of a fragment."""
        endpoint = make_endpoint()
        data = "é😀".encode()
        events = receive(endpoint, b"\x81\x06" + data[:1], *[data[i : i + 1] for i in range(1, 6)])
        assert events == [Piece("é", last=False), Piece("😀", last=True)]

    @pytest.mark.parametrize("late", [b"\xff", b"\xed\xa0"])
    def test_invalid_text(self, late: bytes) -> None:
        endpoint = make_endpoint()
        (piece, violation) = receive(endpoint, b"\x81\x05ab", late)
        assert piece == Piece("ab", last=False)
        assert isinstance(violation, Violation)
        assert violation.error.code == 1007

    def test_too_large_to_be_whole(self) -> None:
        endpoint = make_endpoint(limit=3)
        assert receive(endpoint, b"\x82\x03abc\x82\x04abcd\x82\x01x") == [
            b"abc",
            Piece(b"abcd", last=True),
            b"x",
        ]

    def test_too_large_for_anything(self) -> None:
        endpoint = make_endpoint(limit=3, most=5)
        events = receive(endpoint, b"\x02\x03abc", b"\x00\x02de", b"\x80\x01f")
        assert events[:2] == [Piece(b"abc", last=False), Piece(b"de", last=False)]
        assert isinstance(events[2], Violation)
        assert events[2].error.code == 1009

    def test_close_in_the_middle(self) -> None:
        endpoint = make_endpoint()
        assert receive(endpoint, b"\x02\x01a\x88\x02\x03\xe8") == [
            Piece(b"a", last=False),
            Close(1000),
        ]

    @pytest.mark.parametrize("takeover", [True, False])
    def test_compressed(self, takeover: bool) -> None:
        """RFC 7692 §7.2.2: what has been inflated is brought, and the limit is of that."""
        settings = Deflate(min_size=0)
        parameters = DeflateParameters(server_no_context_takeover=not takeover)
        deflater, _ = settings.build(parameters, is_client=False)
        sender = Endpoint(is_client=False, max_message_size=1, deflater=deflater)
        inflater = settings.build(parameters, is_client=True)[1]
        endpoint = make_endpoint(limit=100, most=2000, inflater=inflater)
        for _ in range(2):
            first = sender.encode_fragment(b"a" * 1000, first=True, last=False, text=False)
            last = sender.encode_fragment(b"b" * 1000, first=False, last=True, text=False)
            events = receive(endpoint, first, last)
            assert events == [Piece(b"a" * 1000, last=False), Piece(b"b" * 1000, last=True)]
        (violation,) = receive(endpoint, sender.encode_compressed(b"c" * 2001))
        assert isinstance(violation, Violation)
        assert violation.error.code == 1009


class TestBombs:
    """What was inflated should be taken before more is: a compressed byte may bring a thousand."""

    @pytest.mark.parametrize("size", [1_000_000, 40_000_000])
    def test_is_brought_piece_by_piece(self, size: int) -> None:
        settings = Deflate(min_size=0)
        deflater, _ = settings.build(DeflateParameters(), is_client=False)
        sender = Endpoint(is_client=False, max_message_size=1, deflater=deflater)
        inflater = settings.build(DeflateParameters(), is_client=True)[1]
        endpoint = make_endpoint(limit=1000, most=size, inflater=inflater)
        wire = sender.encode_compressed(bytes(size)) + b"\x89\x01p\x81\x01x"
        events = receive(endpoint, wire)
        pieces: list[Any] = []
        while endpoint.has_rest:
            assert len(events) == 1
            pieces += events
            events = receive(endpoint, b"")
        pieces.append(events[0])
        assert events[1:] == [Ping(b"p"), "x"]
        assert sum(len(piece.data) for piece in pieces) == size
        assert max(len(piece.data) for piece in pieces) < 1_500_000
        assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True]

    def test_more_may_come_meanwhile(self) -> None:
        settings = Deflate(min_size=0)
        deflater, _ = settings.build(DeflateParameters(), is_client=False)
        sender = Endpoint(is_client=False, max_message_size=1, deflater=deflater)
        inflater = settings.build(DeflateParameters(), is_client=True)[1]
        endpoint = make_endpoint(limit=1000, most=10**8, inflater=inflater)
        wire = sender.encode_compressed(bytes(20_000_000)) + b"\x81\x01x"
        half = len(wire) - 100
        events: list[Any] = receive(endpoint, wire[:half])
        assert endpoint.has_rest
        events += receive(endpoint, wire[half:])
        while endpoint.has_rest:
            events += receive(endpoint, b"")
        assert events.pop() == "x"
        assert sum(len(event.data) for event in events) == 20_000_000


@given(
    st.lists(st.tuples(st.booleans(), st.lists(st.text(max_size=30), min_size=1, max_size=4))),
    st.lists(st.integers(1, 40), min_size=1),
)
def test_any_messages_cut_anywhere(messages, cuts) -> None:
    """Put together again, pieces are the messages, in their order."""
    sender = Endpoint(is_client=False, max_message_size=1)
    wire = b""
    for text, parts in messages:
        for index, part in enumerate(parts):
            wire += sender.encode_fragment(
                part if text else part.encode(),
                first=not index,
                last=index == len(parts) - 1,
                text=text,
            )
    endpoint = make_endpoint(limit=20, most=10_000)
    received: list[str | bytes] = []
    under_way: str | bytes | None = None
    index = 0
    while wire:
        size = cuts[index % len(cuts)]
        index += 1
        for event in receive(endpoint, wire[:size]):
            if not isinstance(event, Piece):
                received.append(event)  # type: ignore[arg-type]
                continue
            under_way = event.data if under_way is None else under_way + event.data  # type: ignore[operator]
            if event.last:
                received.append(under_way)
                under_way = None
        wire = wire[size:]
    whole = ["".join(parts) for _, parts in messages]
    assert received == [
        message if text else message.encode()
        for (text, _), message in zip(messages, whole, strict=True)
    ]
