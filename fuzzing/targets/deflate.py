"""Compressed messages bring what zlib alone makes of them, however they are cut, or 1007 or 1009.

So it is for every sequence of compressed payloads, cut into frames and reads, with and without
context takeover, for every size of window; what the message inflates to is never held beyond the
limit. A message can be no deflate, no UTF-8 and too large at once: either code will do. And what a
`Deflater` makes of the payloads, an `Inflater` turns into them again.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from random import Random
from zlib import crc32

from fuzzing.feeding import check_ways, held
from fuzzing.targets import text
from fuzzing.traffic import TEXTS, deflate
from hubws.protocol.codec import encode_frame
from hubws.protocol.deflate import MAX_FINAL_BLOCKS, TAIL, Deflate, DeflateParameters, Inflater
from hubws.protocol.endpoint import Endpoint, Event, Violation
from hubws.protocol.frames import FIN, RSV1, Opcode

LIMITS = (1, 100, 5_000, 300_000)
NO_TAKEOVER, TEXT, FRAGMENTS = 1, 2, 4


def payloads(data: bytes) -> Iterator[bytes]:
    """The compressed payloads of an input: each behind its length, in two bytes."""
    at = 0
    while at + 2 <= len(data):
        length = int.from_bytes(data[at : at + 2], "big")
        yield data[at + 2 : at + 2 + length]
        at += 2 + length


def as_input(option: int, compressed: Sequence[bytes]) -> bytes:
    """The other way round."""
    lengths = [len(payload).to_bytes(2, "big") + payload for payload in compressed]
    return bytes([option]) + b"".join(lengths)


class Reference:
    """What zlib makes of compressed payloads, one after the other, in memory."""

    def __init__(self, bits: int, *, takeover: bool) -> None:
        self.bits, self.takeover = bits, takeover
        self.state = zlib.decompressobj(-bits)

    def inflate(self, payload: bytes, limit: int) -> bytes | None:
        """The message, None for a bad one."""
        rest, message, finals = payload + TAIL, b"", 0
        if not payload:
            return None
        while rest:
            try:
                message += self.state.decompress(rest, limit + 1 - len(message))
            except zlib.error:
                return None
            if len(message) > limit:
                return None
            if not self.state.eof:
                rest = self.state.unconsumed_tail
                continue
            rest, finals = self.state.unused_data, finals + 1
            self.state = zlib.decompressobj(-self.bits)
            if finals > MAX_FINAL_BLOCKS:
                return None
            if rest == TAIL:  # that only stood for the end of a block
                break
        if not self.takeover:
            self.state = zlib.decompressobj(-self.bits)
        return message


def expected(
    compressed: Sequence[bytes], reference: Reference, limit: int, *, is_text: bool
) -> Iterator[str | bytes | None]:
    """The messages, and None for the first bad one, behind which nothing comes."""
    for payload in compressed:
        message = reference.inflate(payload, limit)
        event = text.whole(message) if is_text and message is not None else message
        yield event
        if event is None:
            return


def wire_of(compressed: Sequence[bytes], option: int) -> bytes:
    """The payloads as frames, whole or cut at random, for a client."""
    random = Random(crc32(b"".join(compressed)))
    wire = b""
    for payload in compressed:
        cuts = [random.randint(0, len(payload)) for _ in range(3)] if option & FRAGMENTS else []
        bounds = [0, *sorted(cuts), len(payload)]
        for number, (start, end) in enumerate(pairwise(bounds)):
            first = Opcode.TEXT if option & TEXT else Opcode.BINARY
            last = number == len(bounds) - 2
            bits = (0 if number else first | RSV1) | (FIN if last else 0)
            wire += encode_frame(bits, payload[start:end], None)
    return wire


def check(data: bytes) -> None:
    """The first byte says what was agreed on; then come compressed payloads, behind their lengths."""
    option, rest = (data[0], data[1:]) if data else (0, b"")
    compressed, bits = list(payloads(rest)), 8 + (option >> 3 & 7)
    takeover, limit = not option & NO_TAKEOVER, LIMITS[option >> 6]

    def read(pieces: Sequence[bytes]) -> list[Event | None]:
        endpoint = Endpoint(
            is_client=True,
            max_message_size=limit,
            next_mask_key=lambda: bytes(4),
            inflater=Inflater(bits=bits, takeover=takeover),
        )
        events: list[Event] = []
        for piece in pieces:
            events += endpoint.receive_data(piece, len(piece))
            assert held(endpoint) <= limit + 14
        for event in events:
            assert not isinstance(event, Violation) or event.error.code in (1007, 1009)
        return [None if isinstance(event, Violation) else event for event in events]

    events = check_ways(wire_of(compressed, option), read)
    reference = Reference(bits, takeover=takeover)
    assert events == list(expected(compressed, reference, limit, is_text=bool(option & TEXT)))
    check_round_trip(compressed, option, bits)


def check_round_trip(messages: Sequence[bytes], option: int, bits: int) -> None:
    """The payloads taken for messages come back, from a `Deflater` by an `Inflater`."""
    agreed = DeflateParameters(
        server_no_context_takeover=bool(option & NO_TAKEOVER), server_max_window_bits=bits
    )
    settings = Deflate(min_size=0, level=1 + option % 9, memory_level=1 + option % 7)
    deflater, _ = settings.build(agreed, is_client=False)
    _, inflater = settings.build(agreed, is_client=True)
    assert deflater is not None
    for message in messages:
        if option & FRAGMENTS:
            half = len(message) // 2
            pieces = [message[:half], message[half:]]
            sent = b"".join(
                deflater.compress_piece(piece, first=not last, last=last)
                for piece, last in zip(pieces, (False, True), strict=True)
            )
        else:
            made = deflater.compress(message)
            if made is None:
                continue
            assert len(made) <= len(message) * 9 / 8 + 16
            sent = made
        assert inflate(inflater, sent) == message


def inflate(inflater: Inflater, payload: bytes) -> bytes:
    """A whole message, by an inflater alone."""
    message = b""
    for piece in (payload, None):
        rest: bytes | bytearray | memoryview = inflater.tail() if piece is None else piece
        while True:
            inflated, rest = inflater.inflate(rest, 1000)
            message += inflated
            if not rest and len(inflated) < 1000:
                break
    inflater.end_message()
    return message


def seeds() -> list[bytes]:
    """Messages compressed in every way that the RFC shows (RFC 7692 §7.2.3), and a bomb."""
    hello = deflate(b"Hello")
    takeover = zlib.compressobj(wbits=-15)
    again = [
        (takeover.compress(b"Hello") + takeover.flush(zlib.Z_SYNC_FLUSH))[:-4] for _ in range(2)
    ]
    final = bytes.fromhex("f348cdc9c9070000")
    stored = bytes.fromhex("000500faff48656c6c6f00")
    two_blocks = bytes.fromhex("f248050000 00ffff cac9c90700")
    lists = [
        [hello],
        again,
        [final, hello],
        [stored],
        [two_blocks],
        [b"\0"],
        [b""],
        [final[:-1] * 3],
        [deflate(word.encode()) for word in TEXTS],
        [deflate(bytes(200_000))],
        [b"\xff" + hello],
    ]
    options = (0xF8, 0xF9, 0xFA, 0xFC, 0xFE, 0xBE, 0x7A)
    return [as_input(option, compressed) for compressed in lists for option in options]
