"""Frames as peers send them: to begin fuzzing with, and to be mutated in differential runs."""

from __future__ import annotations

import zlib
from random import Random

from hubws.protocol.codec import encode_frame
from hubws.protocol.frames import FIN, RSV1, Opcode

KEY = bytes.fromhex("37fa213d")
TELLING = bytes.fromhex("00 01 02 03 08 0a 2c 3b 3d 7e 7f 80 81 82 83 84 88 89 8a c1 c2 fe ff")
"""Bytes that mean something in the header of a frame, or of an HTTP message."""

TEXTS = ["", "Hello", "é", "日本", "😀", "x" * 125, "y" * 126, "ab" * 200]


def frame(
    opcode: int, payload: bytes = b"", *, is_client: bool, fin: bool = True, bits: int = 0
) -> bytes:
    """A frame as the peer of that side sends it."""
    key = None if is_client else KEY
    return encode_frame((FIN if fin else 0) | bits | opcode, payload, key)


def deflate(payload: bytes) -> bytes:
    """A payload compressed by itself, as RFC 7692 §7.2.1 says."""
    state = zlib.compressobj(wbits=-15)
    return (state.compress(payload) + state.flush(zlib.Z_SYNC_FLUSH))[:-4]


def message(random: Random, *, is_client: bool, compressed: bool = False) -> bytes:
    """A message in one or more frames, perhaps with control frames between them."""
    is_text = random.random() < 0.6
    content = (
        random.choice(TEXTS).encode() if is_text else random.randbytes(random.choice([0, 3, 130]))
    )
    payload = deflate(content) if compressed else content
    cuts = sorted(random.randint(0, len(payload)) for _ in range(random.choice([0, 0, 1, 3])))
    bounds = [0, *cuts, len(payload)]
    wire = b""
    for number in range(len(bounds) - 1):
        opcode = Opcode.CONTINUATION if number else Opcode.TEXT if is_text else Opcode.BINARY
        wire += frame(
            opcode,
            payload[bounds[number] : bounds[number + 1]],
            is_client=is_client,
            fin=number == len(bounds) - 2,
            bits=RSV1 if compressed and not number else 0,
        )
        if random.random() < 0.2:
            wire += control(random, is_client=is_client)
    return wire


def control(random: Random, *, is_client: bool) -> bytes:
    """A ping or a pong."""
    opcode = random.choice([Opcode.PING, Opcode.PONG])
    return frame(opcode, random.randbytes(random.choice([0, 4, 125])), is_client=is_client)


def closing(random: Random, *, is_client: bool) -> bytes:
    """A close frame."""
    payload = random.choice([b"", b"\x03\xe8", b"\x0f\xa0why", b"\x03\xf3" + "é".encode() * 61])
    return frame(Opcode.CLOSE, payload, is_client=is_client)


def stream(random: Random, *, is_client: bool, compression: bool = False) -> bytes:
    """Some messages and control frames, perhaps a close frame and what comes behind it."""
    wire = b""
    for _ in range(random.randint(0, 4)):
        if random.random() < 0.25:
            wire += control(random, is_client=is_client)
        else:
            compressed = compression and random.random() < 0.7
            wire += message(random, is_client=is_client, compressed=compressed)
    if random.random() < 0.4:
        wire += closing(random, is_client=is_client) + random.randbytes(random.choice([0, 0, 5]))
    return wire


def mutate(wire: bytes, other: bytes, random: Random) -> bytes:
    """Some bytes changed, put in, taken out, or followed by another's."""
    data = bytearray(wire)
    for _ in range(random.randint(1, 4)):
        at = random.randint(0, len(data))
        chance = random.random()
        if chance < 0.4:
            data[at : at + 1] = bytes([random.choice(TELLING)])
        elif chance < 0.6:
            data[at:at] = random.randbytes(random.randint(1, 4))
        elif chance < 0.8:
            del data[at : at + random.randint(1, 4)]
        else:
            data[at:] = other[at:]
    return bytes(data)


def noise(random: Random) -> bytes:
    """Any bytes, with more of those that mean something in a header."""
    pool = random.choice([bytes(range(256)), TELLING])
    return bytes(random.choices(pool, k=random.choice([2, 10, 40, 200])))
