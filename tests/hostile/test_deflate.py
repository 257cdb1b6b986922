"""Compression as a weapon, against a server and a client that have agreed on it."""

from __future__ import annotations

import zlib

import pytest

from .attacker import BINARY, CONTINUATION, FIN, PING, RSV1, SERVED, TEXT, Raw, frame, request

LIMIT = 1024 * 1024
"""The victim's max_message_size."""

OFFER = "Sec-WebSocket-Extensions: permessage-deflate"

EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"
"""A stored block with nothing in it."""

FINAL_BLOCK = b"\x01\x00\x00\xff\xff"
"""The same, which says that it is the last."""


def deflate(data: bytes) -> bytes:
    """As a sender does (RFC 7692 §7.2.1)."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def bomb(size: int) -> bytes:
    """So many zeros, compressed."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = bytes(LIMIT)
    parts = [compressor.compress(piece) for _ in range(size // LIMIT)]
    return (b"".join(parts) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.fixture(scope="module")
def large_bomb() -> bytes:
    """512 MiB in half a MiB."""
    return bomb(512 * LIMIT)


@pytest.fixture
async def client(siege) -> Raw:
    """A connection on which compression is agreed on."""
    client = await siege.upgraded("deflate", OFFER)
    assert client.headers["sec-websocket-extensions"].startswith("permessage-deflate")
    return client


# -- bombs ----------------------------------------------------------------------------------------


async def test_bomb(siege, client, large_bomb) -> None:
    """512 MiB of zeros in a message (CVE-2018-1000518, CVE-2026-1526, CVE-2026-54464)."""
    siege.fills = LIMIT
    assert len(large_bomb) < LIMIT
    await client.send(frame(FIN | RSV1 | BINARY, large_bomb))
    siege.expect(1009, await client.end())


async def test_bomb_in_text(siege, client) -> None:
    """16 MiB of text that is no UTF-8 only at its end (CVE-2026-107227)."""
    siege.fills = LIMIT
    await client.send(frame(FIN | RSV1 | TEXT, deflate(bytes(16 * LIMIT) + b"\xff")))
    siege.expect(1009, await client.end())


async def test_bomb_in_fragments(siege, client, large_bomb) -> None:
    """512 MiB of zeros in 256 fragments, each far below the limit (CVE-2026-107227)."""
    siege.fills = LIMIT
    size = len(large_bomb) // 256
    pieces = [large_bomb[at : at + size] for at in range(0, len(large_bomb), size)]
    data = frame(RSV1 | BINARY) + b"".join(frame(CONTINUATION, piece) for piece in pieces)
    await client.send(data)
    siege.expect(1009, await client.end())


async def test_bomb_on_many_connections(siege) -> None:
    """2 MiB of zeros each on 16 connections at a time."""
    siege.fills = 16 * LIMIT
    clients = [await siege.upgraded("deflate", OFFER) for _ in range(16)]
    for client in clients:
        await client.send(frame(FIN | RSV1 | BINARY, bomb(2 * LIMIT)))
    outcomes = {await client.end() for client in clients}
    siege.expect(1009, outcomes.pop())
    assert not outcomes


async def test_just_below_the_limit(siege, client) -> None:
    """Exactly as much as a message may have, from 1 KiB, over and over."""
    siege.fills = 4 * LIMIT
    for _ in range(8):
        await client.send(frame(FIN | RSV1 | BINARY, bomb(LIMIT)))
        read = await client.next_frame()
        assert read is not None
        assert read[0] == FIN | RSV1 | BINARY
    siege.outcome = SERVED


async def test_declared_length(siege, client) -> None:
    """A compressed frame that declares 2^62 bytes."""
    await client.send(frame(FIN | RSV1 | BINARY, declared=1 << 62))
    siege.expect(1009, await client.end())


async def test_limit_exceeded_then_malformed(siege, client) -> None:
    """A message over the limit that goes on with what is not deflate (GHSA-3wwx-pv8p-q78v)."""
    siege.fills = LIMIT
    await client.send(frame(RSV1 | BINARY, bomb(2 * LIMIT)) + frame(FIN, 1000 * b"\xff"))
    siege.expect(1009, await client.end())


# -- malformed ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xff", id="a reserved kind of block"),
        pytest.param(1000 * b"\xff", id="1,000 times 0xff"),
        pytest.param(b"\x00\x05\x00\x00\x00hello", id="a stored block with a wrong length"),
        pytest.param(b"\x03\x02\x00", id="a distance beyond the beginning"),
        pytest.param(deflate(b"hello")[:-1] + b"\xff\xff\xff", id="a good beginning"),
        pytest.param(b"\x04" + 100 * b"\xff", id="bad code lengths"),
        pytest.param(b"", id="nothing"),
        pytest.param(20 * FINAL_BLOCK, id="20 final blocks"),
        pytest.param(150_000 * FINAL_BLOCK, id="150,000 final blocks"),
    ],
)
async def test_not_deflate(siege, client, data) -> None:
    """A compressed message that is not deflate."""
    await client.send(frame(FIN | RSV1 | BINARY, data))
    siege.expect(1007, await client.end())


async def test_not_utf8(siege, client) -> None:
    """A compressed text that is not UTF-8."""
    await client.send(frame(FIN | RSV1 | TEXT, deflate(10_000 * b"x" + b"\xff")))
    siege.expect(1007, await client.end())


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(frame(RSV1 | TEXT, b"\x00") + frame(FIN | RSV1), id="of a continuation"),
        pytest.param(frame(TEXT) + frame(FIN | RSV1), id="of a continuation only"),
        pytest.param(frame(FIN | RSV1 | PING), id="of a ping"),
        pytest.param(frame(FIN | RSV1 | 8), id="of a close frame"),
        pytest.param(frame(FIN | RSV1 | 3), id="of a reserved opcode"),
        pytest.param(frame(FIN | RSV1 | 0x20 | TEXT), id="with RSV2"),
        pytest.param(frame(RSV1 | TEXT, b"\x00") + frame(FIN | RSV1 | TEXT), id="within a message"),
    ],
)
async def test_rsv1(siege, client, data) -> None:
    """RSV1 where compression does not define it."""
    await client.send(data)
    siege.expect(1002, await client.end())


# -- floods ---------------------------------------------------------------------------------------


async def test_empty_blocks(siege, client) -> None:
    """200,000 empty blocks in a message."""
    await client.send(frame(FIN | RSV1 | BINARY, 200_000 * EMPTY_BLOCK))
    assert await client.next_frame() == (FIN | BINARY, b"")
    siege.outcome = SERVED


async def test_empty_blocks_beyond_the_limit(siege, client) -> None:
    """Empty blocks that inflate to nothing, and are more than a message may have."""
    siege.fills = LIMIT
    await client.send(frame(RSV1 | BINARY) + 32 * frame(CONTINUATION, 13_000 * EMPTY_BLOCK))
    siege.expect(1009, await client.end())


async def test_empty_fragments(siege, client) -> None:
    """200,000 empty fragments of a compressed message (CVE-2026-48779, CVE-2026-9675)."""
    await client.send(frame(RSV1 | BINARY, b"\x00") + 200_000 * frame(CONTINUATION))
    siege.expect(1009, await client.end())


async def test_fragments_of_one_byte(siege, client) -> None:
    """A compressed message in fragments of one byte (CVE-2026-12151)."""
    data = EMPTY_BLOCK * 20_000
    fragments = b"".join(frame(CONTINUATION, data[at : at + 1]) for at in range(len(data)))
    await client.send(frame(RSV1 | BINARY) + fragments)
    siege.expect(1009, await client.end())


async def test_final_blocks(siege, client) -> None:
    """2,000 messages, each with as many final blocks as are allowed."""
    message = frame(FIN | RSV1 | BINARY, 16 * FINAL_BLOCK)
    await client.send(2000 * message)
    for _ in range(2000):
        assert await client.next_frame() == (FIN | BINARY, b"")
    siege.outcome = SERVED


async def test_small_messages(siege, client) -> None:
    """10,000 compressed messages with next to nothing in them."""
    await client.send(10_000 * frame(FIN | RSV1 | BINARY, b"\x00"))
    for _ in range(10_000):
        assert await client.next_frame() == (FIN | BINARY, b"")
    siege.outcome = SERVED


async def test_byte_by_byte(siege, client) -> None:
    """A compressed message of 5,000 bytes that comes byte by byte (CVE-2026-123817)."""
    data = frame(FIN | RSV1 | BINARY, 1000 * EMPTY_BLOCK)
    await client.send_bytewise(data)
    assert await client.next_frame() == (FIN | BINARY, b"")
    siege.outcome = SERVED


async def test_many_windows(siege) -> None:
    """100 connections that fill their windows, and stay."""
    # An inflater with 15 bits takes 42 KiB, a deflater with 12 bits 38 (zlib) or 161 (zlib-ng), and
    # the handler holds on to its last message.
    siege.fills = 100 * (42 + 161 + 60) * 1024
    clients = [await siege.upgraded("deflate", OFFER) for _ in range(100)]
    message = bytes(index % 251 for index in range(60_000))
    for client in clients:
        await client.send(frame(FIN | RSV1 | BINARY, deflate(message)))
        assert await client.next_frame() is not None
    siege.outcome = SERVED


# -- offers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offer", "agreed"),
    [
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; client_max_window_bits=16", None),
        ("permessage-deflate; client_max_window_bits=015", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=0", None),
        ("permessage-deflate; server_max_window_bits=8.0", None),
        ("permessage-deflate; server_max_window_bits=99999999999999999999", None),
        ("permessage-deflate; server_no_context_takeover=0", None),
        ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
        ("permessage-deflate; unknown", None),
        ('permessage-deflate; server_max_window_bits="10"', "server_max_window_bits=10"),
        ("permessage-deflate; server_max_window_bits=8", "server_max_window_bits=8"),
        ("permessage-deflate; x, permessage-deflate", ""),
        ("x-webkit-deflate-frame", None),
        ("permessage-bzip2, permessage-deflate;x=y", None),
        ("PERMESSAGE-DEFLATE", None),
    ],
)
async def test_offers(siege, offer, agreed) -> None:
    """An offer that is not valid is declined, and the connection is as good as without it."""
    client = await siege.upgraded("deflate", f"Sec-WebSocket-Extensions: {offer}")
    answer = client.headers.get("sec-websocket-extensions")
    if agreed is None:
        assert answer is None
    else:
        assert answer is not None
        assert agreed in answer
    await client.echo()
    siege.outcome = SERVED


@pytest.mark.parametrize(
    "offer",
    ["permessage-deflate; =", "permessage-deflate; a=b=c", ";", '"permessage-deflate"', "a b",
     "permessage-deflate; a=\xff", 'permessage-deflate; server_max_window_bits="10'],
)  # fmt: skip
async def test_malformed_offers(siege, offer) -> None:
    """A header of extensions that can't be read is refused."""
    client = await siege.connect("deflate")
    await client.send(request(f"Sec-WebSocket-Extensions: {offer}"))
    siege.expect(400, await client.end())


# -- against a client -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bomb", "not deflate", "fragments", "final blocks"])
async def test_client(siege, large_bomb, name) -> None:
    """A server's bombs and floods (CVE-2026-1526, CVE-2026-9675)."""
    siege.fills = LIMIT
    data, code = {
        "bomb": (frame(FIN | RSV1 | BINARY, large_bomb, key=None), 1009),
        "not deflate": (frame(FIN | RSV1 | BINARY, b"\xff", key=None), 1007),
        "fragments": (
            frame(RSV1 | TEXT, key=None) + 200_000 * frame(CONTINUATION, key=None),
            1009,
        ),
        "final blocks": (frame(FIN | RSV1 | TEXT, 1000 * FINAL_BLOCK, key=None), 1007),
    }[name]

    async def script(peer: Raw) -> None:
        await peer.accept(OFFER)
        await peer.send(data)
        await peer.until_close()

    report = await siege.dial(script, compression=True)
    siege.expect(code, report["sent"])
