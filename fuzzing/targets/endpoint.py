"""An endpoint brings the same events however its bytes are cut, and never more than it may hold.

So it is for both roles, with and without frames reported and compression, and for every stream. The
events are messages up to the limit, control frames, and at most one close frame or violation, with
1002, 1007 or 1009, behind which nothing comes. What waits for the rest of it is a frame's header, a
control frame, and one message up to the limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from fuzzing.feeding import check_ways, held
from fuzzing.traffic import closing, frame, stream
from hubws.protocol.deflate import Inflater
from hubws.protocol.endpoint import Endpoint, Event, Ping, Pong, Violation
from hubws.protocol.frames import MAX_CONTROL_PAYLOAD, Frame
from hubws.protocol.state import Close, State

LIMITS = (1, 125, 1000, 100_000)
IS_CLIENT, REPORT_FRAMES, COMPRESSION, NO_TAKEOVER = 1, 2, 4, 8
SLACK = 14 + MAX_CONTROL_PAYLOAD  # a header, and a control frame


def make_endpoint(option: int) -> Endpoint:
    """The endpoint that the first byte of an input asks for."""
    inflater = Inflater(bits=15, takeover=not option & NO_TAKEOVER)
    return Endpoint(
        is_client=bool(option & IS_CLIENT),
        max_message_size=LIMITS[option >> 4 & 3],
        next_mask_key=lambda: bytes(4),
        report_frames=bool(option & REPORT_FRAMES),
        inflater=inflater if option & COMPRESSION else None,
    )


def comparable(event: Event, option: int) -> object:
    """The event, a violation as its words and close code, since errors don't compare.

    A compressed message can be too large, no deflate and no UTF-8 all at once; which of them is seen
    first depends on how much zlib is given.
    """
    if not isinstance(event, Violation):
        return event
    if option & COMPRESSION and event.error.code in (1007, 1009):
        return "a bad message", 1007
    return str(event.error), event.error.code


def check(data: bytes) -> None:
    """The first byte says what endpoint it is; the others are what arrives."""
    option, wire = (data[0], data[1:]) if data else (0, b"")
    limit = LIMITS[option >> 4 & 3]
    # compressed frames are reported as they came, and those may be larger than what they bring
    bound = SLACK + (limit if not option & REPORT_FRAMES else 3 * limit + 1024)

    def read(pieces: Sequence[bytes]) -> tuple[list[object], State, Close | None, bool]:
        endpoint = make_endpoint(option)
        buffer = bytearray(max(map(len, pieces), default=0) + 10)
        events: list[Event] = []
        for piece in pieces:
            buffer[:] = b"\x81" * len(buffer)  # nothing behind the end may be looked at
            buffer[: len(piece)] = piece
            was_over = endpoint.is_over
            some = endpoint.receive_data(buffer, len(piece))
            assert not (was_over and some)
            assert endpoint.only_messages == all(isinstance(event, str | bytes) for event in some)
            assert held(endpoint) <= bound, f"{held(endpoint)} bytes are held"
            events += some
        check_events(events, option, limit, len(wire))
        shown = [comparable(event, option) for event in events]
        return shown, endpoint.state, endpoint.close_received, endpoint.is_over

    events, _, close, is_over = check_ways(wire, read)
    assert is_over == any(isinstance(event, tuple | Close) for event in events)
    assert (close is None) == (not any(isinstance(event, Close) for event in events))


def check_events(events: Sequence[Event], option: int, limit: int, size: int) -> None:
    """What each event, and all of them together, may be."""
    for event in events:
        if isinstance(event, Ping | Pong):
            assert len(event.payload) <= MAX_CONTROL_PAYLOAD
        elif isinstance(event, str | bytes):
            assert len(event.encode() if isinstance(event, str) else event) <= limit
        elif isinstance(event, Frame):
            assert option & REPORT_FRAMES
        else:
            assert event is events[-1]
            if isinstance(event, Violation):
                assert event.error.code in (1002, 1007, 1009)
    if not option & COMPRESSION:
        assert sum(len(event) for event in events if isinstance(event, str | bytes)) <= size


def seeds() -> list[bytes]:
    """Streams of both roles, plain and compressed, and a few that end badly."""
    random = Random(2)
    wires = [
        bytes([option]) + stream(random, is_client=bool(option & 1), compression=bool(option & 4))
        for option in (*range(32, 40), *range(48, 64))
    ]
    for option in (32, 33):
        side = bool(option & IS_CLIENT)
        first = frame(1, "é".encode()[:1], is_client=side, fin=False)
        wires += [
            bytes([option]) + bad
            for bad in (
                first + frame(0, b"\xff", is_client=side),
                first + frame(2, is_client=side),
                frame(0, is_client=side),
                frame(1, bytes(126), is_client=side, bits=0x40),
                frame(3, is_client=side),
                frame(9, fin=False, is_client=side),
                frame(8, b"\x03\xed", is_client=side) + closing(random, is_client=side),
            )
        ]
    return wires
