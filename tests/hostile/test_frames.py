"""Frames that break the rules, sent to a server."""

from __future__ import annotations

import pytest

from .attacker import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    PING,
    PONG,
    SERVED,
    TEXT,
    frame,
)

LIMIT = 1024 * 1024
"""The victim's max_message_size."""


def named(cases: dict[str, bytes]) -> pytest.MarkDecorator:
    """Parametrize `data`: what is sent, by the name of the attack."""
    return pytest.mark.parametrize("data", cases.values(), ids=list(cases))


@named(
    {
        f"RSV{number} of a {name}": frame(FIN | bit | opcode, b"x")
        for number, bit in ((1, 0x40), (2, 0x20), (3, 0x10))
        for name, opcode in (("text", TEXT), ("ping", PING), ("close", CLOSE))
    }
    | {
        "RSV1 of a continuation": frame(TEXT) + frame(0x40 | CONTINUATION),
        "all three bits": frame(FIN | 0x70 | BINARY),
    }
)
async def test_reserved_bits(siege, data) -> None:
    """A reserved bit that nobody negotiated."""
    client = await siege.upgraded()
    await client.send(data)
    siege.expect(1002, await client.end())


@named(
    {f"{opcode:#x}": frame(FIN | opcode, b"x") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)}
    | {
        "0x3 with 2^62 bytes (CVE-2022-35922, CVE-2026-1528)": frame(FIN | 3, declared=1 << 62),
        "0xb with 2^62 bytes (CVE-2022-35922)": frame(FIN | 11, declared=1 << 62),
        "0x7 in the middle of a message": frame(TEXT, b"x") + frame(FIN | 7),
    }
)
async def test_reserved_opcodes(siege, data) -> None:
    """A reserved opcode."""
    client = await siege.upgraded()
    await client.send(data)
    siege.expect(1002, await client.end())


@named(
    {
        "2^62 (CVE-2020-27813, CVE-2026-1528)": frame(FIN | BINARY, declared=1 << 62),
        "2^63 - 1 (CVE-2020-13935)": frame(FIN | BINARY, declared=(1 << 63) - 1),
        "4 GiB (CVE-2022-35922)": frame(FIN | BINARY, declared=1 << 32),
        "one byte over the limit (CVE-2026-19204)": frame(FIN | TEXT, declared=LIMIT + 1),
        "in fragments, over the limit": frame(BINARY, b"x") + frame(FIN, declared=LIMIT),
        "in fragments, over 2^63 in sum (CVE-2020-27813)": frame(BINARY, bytes(1000))
        + frame(CONTINUATION, declared=(1 << 63) - 999),
    }
)
async def test_declared_lengths(siege, data) -> None:
    """A length that is only declared, and never paid for."""
    client = await siege.upgraded()
    await client.send(data)
    siege.expect(1009, await client.end())


@named(
    {
        "2^63, the sign bit (CVE-2020-27813)": frame(FIN | BINARY, declared=1 << 63),
        "2^64 - 1 (CVE-2020-13935)": frame(FIN | BINARY, declared=(1 << 64) - 1),
        "125 in two bytes": frame(FIN | TEXT, bytes(125), length_bytes=2),
        "0 in two bytes": frame(FIN | TEXT, length_bytes=2),
        "65,535 in eight bytes": frame(FIN | BINARY, bytes(65535), length_bytes=8),
        "1 in eight bytes": frame(FIN | BINARY, b"x", length_bytes=8),
        "of a ping, in two bytes": frame(FIN | PING, b"x", length_bytes=2),
    }
)
async def test_malformed_lengths(siege, data) -> None:
    """A length that is not in the fewest bytes, or negative."""
    client = await siege.upgraded()
    await client.send(data)
    siege.expect(1002, await client.end())


@named(
    {
        "text": frame(FIN | TEXT, b"x", key=None),
        "empty binary": frame(FIN | BINARY, key=None),
        "ping": frame(FIN | PING, b"x", key=None),
        "close": frame(FIN | CLOSE, b"\x03\xe8", key=None),
        "continuation": frame(TEXT, b"x") + frame(FIN, b"y", key=None),
        "behind one that is masked": frame(FIN | TEXT, b"x") + frame(FIN | TEXT, b"y", key=None),
    }
)
async def test_unmasked(siege, data) -> None:
    """A client's frame that is not masked."""
    client = await siege.upgraded()
    await client.send(data)
    siege.expect(1002, await client.end())


@named(
    {
        "a fragmented ping": frame(PING, b"x"),
        "a fragmented close": frame(CLOSE, b"\x03\xe8"),
        "a ping of 126 bytes": frame(FIN | PING, bytes(126)),
        "a pong of 64 KiB": frame(FIN | PONG, bytes(65536)),
        "a close of 126 bytes": frame(FIN | CLOSE, b"\x03\xe8" + bytes(124)),
        "a ping that declares 2^62 bytes (CVE-2026-1528)": frame(FIN | PING, declared=1 << 62),
    }
)
async def test_control_frames(siege, data) -> None:
    """A control frame that is too long or in fragments."""
    client = await siege.upgraded()
    await client.send(data)
    siege.expect(1002, await client.end())


@named(
    {
        "a continuation of nothing": frame(FIN | CONTINUATION, b"x"),
        "a fragment of nothing": frame(CONTINUATION, b"x"),
        "a text within a binary message": frame(BINARY, b"x") + frame(FIN | TEXT, b"y"),
        "a message begun twice": frame(TEXT, b"x") + frame(TEXT, b"y"),
        "a continuation behind the end": frame(TEXT) + 2 * frame(FIN | CONTINUATION),
    }
)
async def test_sequence(siege, data) -> None:
    """Fragments out of order."""
    client = await siege.upgraded()
    await client.send(data)
    siege.expect(1002, await client.end())


@named(
    {
        "at the very end of 64 KiB": frame(FIN | TEXT, bytes(65535) + b"\xff"),
        "at the end of the 100th fragment": frame(TEXT, b"x")
        + 98 * frame(CONTINUATION, b"x")
        + frame(CONTINUATION, b"\xc3"),
        "an overlong NUL": frame(FIN | TEXT, b"\xc0\x80"),
        "a surrogate": frame(FIN | TEXT, b"\xed\xa0\x80"),
        "beyond U+10FFFF": frame(FIN | TEXT, b"\xf4\x90\x80\x80"),
        "a character cut off by the end": frame(FIN | TEXT, "é".encode()[:1]),
        "in a frame that never ends": frame(FIN | TEXT, b"\xff", declared=LIMIT),
        "in a message that never ends": frame(TEXT, b"\xff"),
    }
)
async def test_not_utf8(siege, data) -> None:
    """Text that turns out not to be UTF-8."""
    client = await siege.upgraded()
    await client.send(data)
    if data.endswith(b"\xc3"):  # up to here it could still be UTF-8
        await client.send(frame(FIN | CONTINUATION, b"x"))
    siege.expect(1007, await client.end())


async def test_unmasking(siege) -> None:
    """Masked messages of every length and offset (CVE-2026-49854, OSV-2021-414, OSV-2020-2217)."""
    client = await siege.upgraded()
    lengths = [*range(140), *range(1020, 1030), *range(65530, 65545)]
    messages = [bytes(index % 251 for index in range(length)) for length in lengths]
    for message in messages:
        masked = frame(FIN | BINARY, message, key=b"\x37\xfa\x21\x3d")
        half = len(masked) // 2
        await client.send(masked[:half])
        await client.send(masked[half:])
        assert await client.next_frame() == (FIN | BINARY, message)
    siege.outcome = SERVED
