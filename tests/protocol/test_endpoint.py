"""Both roles of an endpoint, on both twins of the codec: exact bytes in, events out."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, TypeAlias

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubws.errors import LocalProtocolError
from hubws.protocol.endpoint import Endpoint, Event, Ping, Pong, Violation
from hubws.protocol.frames import Frame, Opcode
from hubws.protocol.messages import PartialMessage, Piece
from hubws.protocol.state import Close, State

pytestmark = pytest.mark.usefixtures("both_codecs")

KEY = bytes.fromhex("37fa213d")
LIMIT = 1000

Plain: TypeAlias = str | bytes | Piece | Ping | Pong | Close | Frame | tuple[str, int]


def make_endpoint(*, is_client: bool = False, limit: int = LIMIT, **options: Any) -> Endpoint:
    """An endpoint; the masking keys of a client are 0, 1, 2..."""
    keys = (n.to_bytes(4, "big") for n in itertools.count())
    next_key = keys.__next__ if is_client else None
    return Endpoint(is_client=is_client, max_message_size=limit, next_mask_key=next_key, **options)


def compare(events: Iterable[Event]) -> list[Plain]:
    """The events, with violations as their words and close code, since errors don't compare."""
    return [
        (str(event.error), event.error.code) if isinstance(event, Violation) else event
        for event in events
    ]


def receive(endpoint: Endpoint, *pieces: bytes) -> list[Plain]:
    """What some pieces bring, each in the same buffer, which is only valid during the call."""
    buffer = bytearray(max([0, *map(len, pieces)]) + 10)
    events: list[Plain] = []
    for piece in pieces:
        buffer[:] = b"\x81" * len(buffer)
        buffer[: len(piece)] = piece
        some = endpoint.receive_data(buffer, len(piece))
        assert endpoint.only_messages == all(isinstance(event, str | bytes) for event in some)
        events += compare(some)
    return events


def by_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@attrs.frozen
class Side:
    """One role, and what its peer must do about masks."""

    is_client: bool

    def endpoint(self, **options: Any) -> Endpoint:
        return make_endpoint(is_client=self.is_client, **options)

    def frame(self, opcode: int, payload: bytes = b"", *, fin: bool = True, **bits: bool) -> bytes:
        """A frame as the peer of this side sends it."""
        key = None if self.is_client else KEY
        return Frame(opcode=opcode, payload=payload, fin=fin, mask_key=key, **bits).to_bytes()

    def head(self, first: int, length: int) -> bytes:
        """The header of a frame of the peer with a 64-bit length."""
        bit, key = (0, b"") if self.is_client else (0x80, KEY)
        return bytes([first, bit | 127]) + length.to_bytes(8, "big") + key


@pytest.fixture(params=[False, True], ids=["server", "client"])
def side(request: pytest.FixtureRequest) -> Side:
    return Side(request.param)


class TestReceiving:
    def test_messages(self, side: Side) -> None:
        data = side.frame(1, "héllo".encode()) + side.frame(2, b"\xff") + side.frame(1)
        endpoint = side.endpoint()
        assert receive(endpoint, data) == ["héllo", b"\xff", ""]
        assert endpoint.state is State.OPEN

    def test_example_of_the_rfc(self) -> None:
        masked = bytes.fromhex("81 85 37 fa 21 3d 7f 9f 4d 51 58")
        assert receive(make_endpoint(), masked) == ["Hello"]
        assert receive(make_endpoint(is_client=True), b"\x81\x05Hello") == ["Hello"]

    def test_nothing(self, side: Side) -> None:
        endpoint = side.endpoint()
        assert receive(endpoint, b"") == []
        assert endpoint.only_messages

    def test_only_what_lies_before_the_end(self, side: Side) -> None:
        one, two = side.frame(1, b"one"), side.frame(1, b"two")
        endpoint = side.endpoint()
        assert endpoint.receive_data(one + two, len(one)) == ["one"]
        assert endpoint.receive_data(memoryview(two), len(two)) == ["two"]

    def test_ping_and_pong(self, side: Side) -> None:
        data = side.frame(9, b"a") + side.frame(1, b"text") + side.frame(10, b"b" * 125)
        for pieces in ([data], by_byte(data)):
            assert receive(side.endpoint(), *pieces) == [Ping(b"a"), "text", Pong(b"b" * 125)]

    def test_large_message_in_small_pieces(self, side: Side) -> None:
        content = bytes(range(256)) * 400
        data = side.frame(2, content)
        pieces = [data[at : at + 1001] for at in range(0, len(data), 1001)]
        assert receive(side.endpoint(limit=len(content)), *pieces) == [content]


class TestFragmentation:
    """RFC 6455 §5.4."""

    def test_with_control_frames_between(self, side: Side) -> None:
        data = (
            side.frame(1, b"Hel", fin=False)
            + side.frame(9, b"1")
            + side.frame(0, b"", fin=False)
            + side.frame(10, b"2")
            + side.frame(0, b"lo")
            + side.frame(2, b"next")
        )
        for pieces in ([data], by_byte(data)):
            endpoint = side.endpoint()
            assert receive(endpoint, *pieces) == [Ping(b"1"), Pong(b"2"), "Hello", b"next"]

    def test_a_character_across_fragments(self, side: Side) -> None:
        data = side.frame(1, b"\xf0\x9f", fin=False) + side.frame(0, b"\x98\x80")
        assert receive(side.endpoint(), data) == ["😀"]

    def test_only_empty_fragments(self, side: Side) -> None:
        empty = side.frame(0, fin=False)
        data = side.frame(1, fin=False) + empty * 1000 + side.frame(0)
        assert receive(side.endpoint(), data) == [""]

    def test_many_tiny_fragments(self, side: Side) -> None:
        data = side.frame(2, fin=False) + side.frame(0, b"x", fin=False) * LIMIT + side.frame(0)
        assert receive(side.endpoint(), data) == [b"x" * LIMIT]

    def test_a_close_frame_between(self, side: Side) -> None:
        data = side.frame(1, b"Hel", fin=False) + side.frame(8) + side.frame(0, b"lo")
        assert receive(side.endpoint(), data) == [Close(1005)]

    def test_a_new_message_before_the_end(self, side: Side) -> None:
        expected = [("a new message begins before the last fragment of another", 1002)]
        for fin in (False, True):
            data = side.frame(1, b"a", fin=False) + side.frame(1, b"b", fin=fin)
            assert receive(side.endpoint(), data) == expected

    def test_nothing_to_continue(self, side: Side) -> None:
        expected = ["whole", ("a continuation frame comes without a message to continue", 1002)]
        data = side.frame(1, b"whole") + side.frame(0, b"more", fin=False)
        assert receive(side.endpoint(), data) == expected


class TestMasking:
    """RFC 6455 §5.1."""

    def test_unmasked_frame_from_a_client(self) -> None:
        expected = [("a frame from a client is not masked", 1002)]
        assert receive(make_endpoint(), b"\x81\x05Hello") == expected

    def test_masked_frame_from_a_server(self) -> None:
        expected = [("a frame from a server is masked", 1002)]
        data = bytes.fromhex("81 85 37 fa 21 3d 7f 9f 4d 51 58")
        assert receive(make_endpoint(is_client=True), data) == expected

    def test_within_a_message(self) -> None:
        expected = [("a frame from a client is not masked", 1002)]
        data = Side(is_client=False).frame(1, b"Hel", fin=False) + b"\x80\x02lo"
        assert receive(make_endpoint(), data) == expected

    def test_every_frame_of_a_client_has_a_fresh_key(self) -> None:
        client = make_endpoint(is_client=True)
        sent = [
            client.encode("a"),
            client.encode(b"b"),
            client.encode_fragment("c", first=True, last=False, text=True),
            client.encode_ping(b"d"),
            client.encode_pong(b"e"),
            client.encode_crafted(Frame.text("f")),
            client.encode_close(),
        ]
        assert [data[2:6] for data in sent] == [n.to_bytes(4, "big") for n in range(len(sent))]
        assert all(data[1] & 0x80 for data in sent)

    def test_a_client_needs_keys(self) -> None:
        with pytest.raises(ValueError, match="a client needs next_mask_key"):
            Endpoint(is_client=True, max_message_size=1)

    def test_a_server_asks_for_none(self) -> None:
        server = Endpoint(is_client=False, max_message_size=1, next_mask_key=lambda: 1 / 0)  # type: ignore[arg-type, return-value]
        assert server.encode("x") == b"\x81\x01x"
        assert server.encode_ping(b"") == b"\x89\x00"


# What a peer must not send, as a server gets it: name, frame, words, close code. The first frame is
# one that needs no message before it.
VIOLATIONS: list[tuple[str, Callable[[Side], bytes], str, int]] = [
    ("rsv1", lambda s: s.frame(1, b"x", rsv1=True), "reserved bits 100 are set, but no", 1002),
    ("rsv2", lambda s: s.frame(9, b"x", rsv2=True), "reserved bits 010 are set, but no", 1002),
    ("rsv3", lambda s: s.frame(8, rsv3=True), "reserved bits 001 are set, but no", 1002),
    ("opcode 3", lambda s: s.frame(3, b"x"), "opcode 0x3 is reserved", 1002),
    ("opcode 0xb", lambda s: s.frame(0xB, b"x"), "opcode 0xb is reserved", 1002),
    ("huge opcode 0xf", lambda s: s.head(0x8F, 2**62), "opcode 0xf is reserved", 1002),
    ("long ping", lambda s: s.frame(9, bytes(126)), "a control frame has 126 bytes", 1002),
    ("huge close", lambda s: s.head(0x88, 2**62), "a control frame has 46116860184273", 1002),
    ("ping fragment", lambda s: s.frame(9, fin=False), "a control frame is fragmented", 1002),
    ("not minimal", lambda s: s.head(0x81, 5) + bytes(5), "the length 5 is not in the", 1002),
    ("not minimal ping", lambda s: s.head(0x89, 5) + bytes(5), "the length 5 is not", 1002),
    ("sign bit", lambda s: s.head(0x82, 2**63), "the most significant bit of the length", 1002),
    ("2**62 bytes", lambda s: s.head(0x82, 2**62), "the message has at least 4611686018", 1009),
    ("2**63 - 1", lambda s: s.head(0x02, 2**63 - 1), "the message has at least 92233720", 1009),
    ("oversize", lambda s: s.frame(2, bytes(LIMIT + 1)), "the message has at least 1001", 1009),
    ("close code", lambda s: s.frame(8, b"\x03\xee"), "close code 1006 may not be sent", 1002),
    ("short close", lambda s: s.frame(8, b"\x03"), "a close frame has one byte of", 1002),
    ("close reason", lambda s: s.frame(8, b"\x03\xe8\xff"), "a close reason is not UTF-8", 1007),
    ("not UTF-8", lambda s: s.frame(1, b"a\xff"), "a text message is not UTF-8", 1007),
    ("half a character", lambda s: s.frame(1, b"a\xc3"), "a text message is not UTF-8", 1007),
    ("surrogate", lambda s: s.frame(1, b"\xed\xa0\x80"), "a text message is not UTF-8", 1007),
]


class TestViolations:
    @pytest.mark.parametrize(("name", "make", "words", "code"), VIOLATIONS)
    def test_each(
        self, side: Side, name: str, make: Callable[[Side], bytes], words: str, code: int
    ) -> None:
        data = side.frame(1, b"before") + make(side) + side.frame(1, b"behind")
        for pieces in ([data], by_byte(data)):
            endpoint = side.endpoint()
            before, violation = receive(endpoint, *pieces)
            assert before == "before"
            assert isinstance(violation, tuple)
            assert violation[0].startswith(words)
            assert violation[1] == code
            assert endpoint.is_over
            assert endpoint.state is State.OPEN

    def test_what_follows_is_ignored(self, side: Side) -> None:
        endpoint = side.endpoint()
        assert len(receive(endpoint, side.frame(3))) == 1
        assert receive(endpoint, side.frame(1, b"text") + side.frame(8)) == []
        assert endpoint.close_received is None


class TestUtf8:
    """RFC 6455 §8.1: failed on the first offending byte, before the rest arrives."""

    @pytest.mark.parametrize(
        "bad", ["ff", "80", "c0", "e0 80", "ed a0", "f0 80", "f4 90", "f5", "c3 41", "e2 82 41"]
    )
    def test_within_a_frame(self, side: Side, bad: str) -> None:
        payload = b"ok \xc3\xa9" + bytes.fromhex(bad)
        data = side.frame(1, payload + b"more" * 100)
        offending = len(data) - 400
        endpoint = side.endpoint()
        assert receive(endpoint, data[: offending - 1]) == []
        expected = [("a text message is not UTF-8", 1007)]
        assert receive(endpoint, data[offending - 1 : offending]) == expected

    @pytest.mark.parametrize("cut", range(1, 5))
    def test_across_fragments(self, side: Side, cut: int) -> None:
        payload = b"a\xf0\x9f\x98\x41"
        endpoint = side.endpoint()
        assert receive(endpoint, side.frame(1, payload[:cut], fin=False)) == []
        data = side.frame(0, payload[cut:] + b"more", fin=False)
        assert receive(endpoint, data[:-5]) == []
        assert receive(endpoint, data[-5:-4]) == [("a text message is not UTF-8", 1007)]

    def test_binary_is_not_text(self, side: Side) -> None:
        data = side.frame(2, b"\xff", fin=False) + side.frame(0, b"\xc3")
        assert receive(side.endpoint(), data) == [b"\xff\xc3"]


class TestSizeLimit:
    def test_judged_by_the_declared_length(self, side: Side) -> None:
        data = side.frame(2, bytes(LIMIT + 1))
        header = len(data) - LIMIT - 1
        endpoint = side.endpoint()
        assert receive(endpoint, data[: header - 1]) == []
        expected = [("the message has at least 1001 bytes; at most 1000 are accepted", 1009)]
        assert receive(endpoint, data[header - 1 : header]) == expected

    def test_counts_all_fragments(self, side: Side) -> None:
        first = side.frame(1, b"x" * 600, fin=False) + side.frame(9)
        endpoint = side.endpoint()
        assert receive(endpoint, first + side.frame(0, b"x" * 400)) == [Ping(b""), "x" * LIMIT]
        expected = ("the message has at least 1001 bytes; at most 1000 are accepted", 1009)
        data = side.frame(0, b"x" * 401)
        assert receive(endpoint, first + data[:-401]) == [Ping(b""), expected]

    def test_starts_again_with_each_message(self, side: Side) -> None:
        data = side.frame(2, bytes(LIMIT)) * 3
        assert receive(side.endpoint(), data) == [bytes(LIMIT)] * 3

    def test_counts_bytes_not_characters(self, side: Side) -> None:
        assert receive(side.endpoint(limit=4), side.frame(1, "éé".encode())) == ["éé"]
        events = receive(side.endpoint(limit=3), side.frame(1, "éé".encode()))
        assert events == [("the message has at least 4 bytes; at most 3 are accepted", 1009)]


class TestClosing:
    """RFC 6455 §5.5.1 and §7."""

    def test_received(self, side: Side) -> None:
        data = side.frame(1, b"last") + side.frame(8, b"\x0f\xa0why") + side.frame(1, b"late")
        for pieces in ([data], by_byte(data)):
            endpoint = side.endpoint()
            assert receive(endpoint, *pieces) == ["last", Close(4000, "why")]
            assert endpoint.close_received == Close(4000, "why")
            assert endpoint.state is State.CLOSING
            assert endpoint.is_over
            assert receive(endpoint, side.frame(3), side.frame(8)) == []

    def test_sent(self) -> None:
        endpoint = make_endpoint()
        assert endpoint.encode_close(1001, "bye") == b"\x88\x05\x03\xe9bye"
        assert endpoint.close_sent == Close(1001, "bye")
        assert endpoint.state is State.CLOSING
        assert not endpoint.is_over
        with pytest.raises(LocalProtocolError, match="a close frame has been sent already"):
            endpoint.encode_close()
        assert receive(endpoint, Side(is_client=False).frame(1, b"still")) == ["still"]

    def test_sent_without_a_code(self) -> None:
        endpoint = make_endpoint()
        assert endpoint.encode_close(None) == b"\x88\x00"
        assert endpoint.close_sent == Close(1005)

    @pytest.mark.parametrize(
        ("code", "reason"),
        [(1006, ""), (999, ""), (1000, "x" * 124), (1000, "\ud800"), (None, "x")],
    )
    def test_what_may_not_be_sent_changes_nothing(self, code: int | None, reason: str) -> None:
        endpoint = make_endpoint(is_client=True)
        with pytest.raises(LocalProtocolError):
            endpoint.encode_close(code, reason)
        assert endpoint.close_sent is None
        assert endpoint.state is State.OPEN
        assert endpoint.encode("x")[2:6] == bytes(4)  # not even a masking key was used

    def test_both(self, side: Side) -> None:
        endpoint = side.endpoint()
        receive(endpoint, side.frame(8, b"\x03\xe8"))
        states = []
        for change in (endpoint.encode_close, endpoint.receive_eof, endpoint.receive_eof):
            change()
            states.append(endpoint.state)
        assert states == [State.CLOSING, State.CLOSED, State.CLOSED]

    @pytest.mark.parametrize("cut", [0, 1, 4])
    def test_the_stream_ends_early(self, side: Side, cut: int) -> None:
        endpoint = side.endpoint()
        data = side.frame(1, b"text")
        assert receive(endpoint, data[:cut]) == []
        endpoint.receive_eof()
        assert endpoint.is_over
        assert endpoint.state is State.CLOSED
        assert receive(endpoint, data[cut:]) == []

    def test_ignoring(self, side: Side) -> None:
        endpoint = side.endpoint()
        receive(endpoint, side.frame(1, b"half", fin=False))
        endpoint.ignore()
        assert receive(endpoint, side.frame(1, b"text"), side.frame(3)) == []
        assert endpoint.state is State.OPEN

    def test_ignoring_forgets_what_has_come(self, side: Side) -> None:
        endpoint = side.endpoint()
        receive(endpoint, side.frame(1, b"half", fin=False) + side.frame(0, b"more")[:-1])
        assert any(isinstance(held, PartialMessage) for held in gc.get_referents(endpoint))
        endpoint.ignore()
        assert not any(isinstance(held, PartialMessage) for held in gc.get_referents(endpoint))


class TestReportingFrames:
    def test_before_what_they_bring_about(self, side: Side) -> None:
        key = None if side.is_client else KEY
        data = (
            side.frame(1, b"one")
            + side.frame(1, b"Hel", fin=False)
            + side.frame(9, b"p")
            + side.frame(0, b"lo")
            + side.frame(8, b"\x03\xe8")
        )
        expected = [
            Frame(opcode=Opcode.TEXT, payload=b"one", mask_key=key),
            "one",
            Frame(opcode=Opcode.TEXT, payload=b"Hel", fin=False, mask_key=key),
            Frame(opcode=Opcode.PING, payload=b"p", mask_key=key),
            Ping(b"p"),
            Frame(opcode=Opcode.CONTINUATION, payload=b"lo", mask_key=key),
            "Hello",
            Frame(opcode=Opcode.CLOSE, payload=b"\x03\xe8", mask_key=key),
            Close(1000),
        ]
        for pieces in ([data], by_byte(data)):
            assert receive(side.endpoint(report_frames=True), *pieces) == expected

    def test_a_frame_that_breaks_a_rule(self, side: Side) -> None:
        endpoint = side.endpoint(report_frames=True)
        assert receive(endpoint, side.frame(3)) == [("opcode 0x3 is reserved", 1002)]


class TestSending:
    def test_exact_bytes(self) -> None:
        server, client = make_endpoint(), make_endpoint(is_client=True)
        assert server.encode("Hello") == b"\x81\x05Hello"
        assert client.encode("Hello") == b"\x81\x85\0\0\0\0Hello"
        assert client.encode(bytearray(b"\0\0\0\0\0")) == b"\x82\x85\0\0\0\1\0\0\0\1\0"
        assert server.encode_ping(b"x") == b"\x89\x01x"
        assert server.encode_pong(memoryview(b"x")) == b"\x8a\x01x"

    def test_fragments(self) -> None:
        server = make_endpoint()
        sent = [
            server.encode_fragment("Hel", first=True, last=False, text=True),
            server.encode_fragment(b"l\xc3", first=False, last=False, text=True),
            server.encode_fragment(b"\xb6", first=False, last=True, text=True),
            server.encode_fragment(b"x", first=True, last=False, text=False),
            server.encode_fragment(b"y", first=True, last=True, text=True),
        ]
        assert sent == [
            b"\x01\x03Hel",
            b"\x00\x02l\xc3",
            b"\x80\x01\xb6",
            b"\x02\x01x",
            b"\x81\x01y",
        ]

    def test_the_other_side_gets_it(self, side: Side) -> None:
        sender, receiver = side.endpoint(), Side(not side.is_client).endpoint()
        data = (
            sender.encode("text")
            + sender.encode_fragment("é", first=True, last=False, text=True)
            + sender.encode_ping(b"ping")
            + sender.encode_fragment("è", first=False, last=True, text=True)
            + sender.encode_pong(b"pong")
            + sender.encode_close(4000, "why")
        )
        expected = ["text", Ping(b"ping"), "éè", Pong(b"pong"), Close(4000, "why")]
        assert receive(receiver, data) == expected

    def test_crafted(self) -> None:
        server, client = make_endpoint(), make_endpoint(is_client=True)
        odd = Frame(opcode=3, payload=b"abc", rsv1=True)
        assert server.encode_crafted(odd) == b"\xc3\x03abc"
        assert client.encode_crafted(odd) == b"\xc3\x83\0\0\0\0abc"
        assert odd.mask_key is None
        keyed = attrs.evolve(odd, payload=b"", mask_key=KEY)
        assert client.encode_crafted(keyed) == b"\xc3\x80" + KEY
        assert server.encode_crafted(keyed) == b"\xc3\x80" + KEY

    @pytest.mark.parametrize("message", [None, 5, ["x"]])
    def test_neither_text_nor_bytes(self, side: Side, message: Any) -> None:
        endpoint = side.endpoint()
        for encode in (
            endpoint.encode,
            lambda m: endpoint.encode_fragment(m, first=True, last=True, text=True),
        ):
            with pytest.raises(TypeError, match="a message is str or bytes-like, not"):
                encode(message)
        for encode in (endpoint.encode_ping, endpoint.encode_pong):
            with pytest.raises(TypeError, match=r"the payload of a p[io]ng is bytes-like, not"):
                encode(message)

    def test_lone_surrogate(self, side: Side) -> None:
        endpoint = side.endpoint()
        for encode in (
            endpoint.encode,
            lambda m: endpoint.encode_fragment(m, first=True, last=True, text=True),
        ):
            with pytest.raises(LocalProtocolError, match=r"U\+D800 at index 2") as caught:
                encode("ab\ud800")
            assert caught.value.code == 1007
            assert str(caught.value).startswith("a text message must be text that UTF-8 can")

    def test_control_payload_of_126_bytes(self, side: Side) -> None:
        endpoint = side.endpoint()
        assert len(endpoint.encode_ping(bytes(125))) == 127 + 4 * side.is_client
        for encode in (endpoint.encode_ping, endpoint.encode_pong):
            with pytest.raises(LocalProtocolError, match="has at most 125 bytes, not 126"):
                encode(bytes(126))


FIRST_BYTES = b"\x00\x01\x02\x80\x81\x82\x88\x89\xc1\x7e\x7f"


@st.composite
def streams(draw: st.DrawFn, side: Side) -> tuple[bytes, list[Plain]]:
    """What a well-behaved peer may send, and the events that it stands for."""
    wire, events = b"", list[Plain]()
    for message in draw(st.lists(st.text(max_size=20) | st.binary(max_size=150), max_size=4)):
        content = message.encode() if isinstance(message, str) else message
        cuts = sorted(draw(st.lists(st.integers(0, len(content)), max_size=3)))
        bounds = list(itertools.pairwise([0, *cuts, len(content)]))
        for number, (start, end) in enumerate(bounds):
            opcode = 0 if number else 1 if isinstance(message, str) else 2
            wire += side.frame(opcode, content[start:end], fin=number == len(bounds) - 1)
            if number < len(bounds) - 1 and draw(st.booleans()):
                payload, is_ping = draw(st.binary(max_size=8)), draw(st.booleans())
                wire += side.frame(9 if is_ping else 10, payload)
                events.append(Ping(payload) if is_ping else Pong(payload))
        events.append(message)
    if draw(st.booleans()):
        wire += side.frame(8, b"\x0f\xa0why") + draw(st.binary(max_size=20))
        events.append(Close(4000, "why"))
    return wire, events


@st.composite
def hostile_streams(draw: st.DrawFn, side: Side) -> bytes:
    """Some good frames, then something bad, then anything; maybe inside of a message."""
    good, _ = draw(streams(side))
    inside = side.frame(draw(st.sampled_from([1, 2])), draw(st.binary(max_size=9)), fin=False)
    bad = draw(st.sampled_from(VIOLATIONS))[1](side)
    other = Side(not side.is_client).frame(1, b"x")
    first_bytes = bytes(draw(st.lists(st.sampled_from(FIRST_BYTES))))
    start = draw(st.sampled_from([b"", good, inside, good + inside]))
    return start + draw(st.sampled_from([b"", bad, other, first_bytes])) + draw(st.binary())


@st.composite
def splits(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The same bytes in pieces."""
    if draw(st.booleans()):
        return by_byte(data)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    return [data[a:b] for a, b in itertools.pairwise([0, *cuts, len(data)])]


class TestAnySplit:
    """How the bytes are cut into pieces makes no difference."""

    @given(data=st.data())
    def test_of_a_valid_stream(self, side: Side, data: st.DataObject) -> None:
        wire, expected = data.draw(streams(side))
        pieces = data.draw(splits(wire))
        assert receive(side.endpoint(), wire) == expected
        assert receive(side.endpoint(), *pieces) == expected
        reported = receive(side.endpoint(report_frames=True), *pieces)
        assert [event for event in reported if not isinstance(event, Frame)] == expected

    @given(data=st.data(), report_frames=st.booleans())
    def test_of_any_stream(self, side: Side, data: st.DataObject, report_frames: bool) -> None:
        wire = data.draw(hostile_streams(side))
        pieces = data.draw(splits(wire))
        whole = receive(side.endpoint(limit=100, report_frames=report_frames), wire)
        assert receive(side.endpoint(limit=100, report_frames=report_frames), *pieces) == whole

    @given(data=st.data())
    def test_on_the_other_codec(
        self,
        side: Side,
        data: st.DataObject,
        native_codec: ModuleType,
        pure_codec: ModuleType,
        use_codec: Callable[[ModuleType], AbstractContextManager[None]],
    ) -> None:
        wire = data.draw(hostile_streams(side))
        pieces = data.draw(splits(wire))
        with use_codec(native_codec):
            native = receive(side.endpoint(limit=100), *pieces)
        with use_codec(pure_codec):
            pure = receive(side.endpoint(limit=100), *pieces)
        assert native == pure

    @given(messages=st.lists(st.text() | st.binary(), max_size=5))
    def test_what_one_side_sends_the_other_receives(
        self, side: Side, messages: list[str | bytes]
    ) -> None:
        sender, receiver = side.endpoint(), Side(not side.is_client).endpoint(limit=10**6)
        wire = b"".join(map(sender.encode, messages))
        assert receive(receiver, wire) == messages


def test_close_after_the_stream_has_ended_is_refused() -> None:
    endpoint = Endpoint(is_client=False, max_message_size=100)
    endpoint.receive_eof()
    with pytest.raises(LocalProtocolError, match="the stream has ended"):
        endpoint.encode_close(1000)
    assert endpoint.close_sent is None
