"""What `decode` takes off a buffer is exactly what `encode_message` makes of the messages.

So it is for every buffer, role and limit, in whatever pieces the buffer comes, and what is left can
be read by `Frame`, which gives its bytes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from fuzzing.feeding import check_ways
from fuzzing.traffic import TEXTS, message
from hubws.protocol import codec
from hubws.protocol.frames import Frame, parse_header

LIMITS = (0, 10, 125, 100_000)


def check(data: bytes) -> None:
    """The first byte says the role and the limit; the others are the buffer."""
    option, buffer = (data[0], data[1:]) if data else (0, b"")
    masked, limit = bool(option & 1), LIMITS[option >> 1 & 3]

    def read(pieces: Sequence[bytes]) -> tuple[list[str | bytes], bytes]:
        messages: list[str | bytes] = []
        left = b""
        for piece in pieces:
            left += piece
            some, position = codec.decode(left, 0, len(left), masked, limit)
            messages += some
            left = left[position:]
        return messages, left

    messages, left = check_ways(buffer, read)
    at = 0
    for one in messages:
        header = parse_header(buffer, at, len(buffer))
        assert header is not None
        frame = codec.encode_message(one, header.mask_key)
        assert header.length <= limit
        assert (header.mask_key is not None) is masked
        assert buffer[at : at + len(frame)] == frame
        at += len(frame)
    assert buffer[at:] == left
    check_frame(left)


def check_frame(data: bytes) -> None:
    """Whatever the first frame says, it can be read, shown and, its length aside, written again."""
    header, read = parse_header(data, 0, len(data)), Frame.from_bytes(data)
    if read is None:
        assert header is None or header.size + header.length > len(data)
        return
    frame, size = read
    assert header is not None
    assert size == header.size + header.length
    assert len(frame.payload) == header.length
    assert not header.minimal or frame.to_bytes() == data[:size]
    assert str(frame).startswith("<")
    assert frame.close_code is None or 0 <= frame.close_code <= 0xFFFF
    assert len(frame.close_reason.encode()) <= 3 * len(frame.payload)


def seeds() -> list[bytes]:
    """Messages of both roles, and a long one."""
    random = Random(1)
    wires = [
        bytes([option]) + b"".join(message(random, is_client=not option & 1) for _ in range(3))
        for option in range(8)
    ]
    return [
        *wires,
        b"\x06" + b"".join(codec.encode_message(text) for text in [*TEXTS, "x" * 70_000]),
    ]
