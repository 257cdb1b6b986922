"""Floods, and peers that do not read, against a server."""

from __future__ import annotations

import pytest
import trio

from .attacker import (
    BINARY,
    CLOSE,
    CONTINUATION,
    ENDED,
    FIN,
    HELD_BACK,
    PING,
    PONG,
    SERVED,
    TEXT,
    close,
    frame,
)

LIMIT = 1024 * 1024
"""The victim's max_message_size."""

SMALL_LIMIT = 64 * 1024
"""That of its service "small"."""

FRAGMENTS = LIMIT // 32
"""How many fragments a message of the victim may have."""


# -- fragments ------------------------------------------------------------------------------------


async def test_empty_fragments(siege) -> None:
    """200,000 empty fragments (CVE-2026-48779, CVE-2026-62389, CVE-2026-12151, CVE-2026-9675)."""
    client = await siege.upgraded()
    await client.send(frame(TEXT) + 200_000 * frame(CONTINUATION))
    siege.expect(1009, await client.end())


async def test_fragments_of_one_byte(siege) -> None:
    """A message of 1 MiB in fragments of one byte (CVE-2026-48779, CVE-2014-0193)."""
    client = await siege.upgraded()
    await client.send(frame(BINARY, b"x") + LIMIT * frame(CONTINUATION, b"x"))
    siege.expect(1009, await client.end())


async def test_as_many_fragments_as_are_allowed(siege) -> None:
    """As many fragments as one message may have (CVE-2026-12151)."""
    siege.fills = 2 * LIMIT
    client = await siege.upgraded()
    size = 16
    await client.send(frame(BINARY) + (FRAGMENTS - 2) * frame(CONTINUATION, bytes(size)))
    await client.send(frame(FIN | CONTINUATION))
    assert await client.next_frame() == (FIN | BINARY, bytes((FRAGMENTS - 2) * size))
    siege.outcome = SERVED


async def test_single_bytes_of_a_frame(siege) -> None:
    """10,000 reads of one byte within a large frame (CVE-2026-54274, CVE-2026-123817)."""
    client = await siege.upgraded()
    await client.send(frame(FIN | BINARY, declared=LIMIT))
    await client.send_bytewise(10_000 * b"x")
    await siege.until_received("echo", 10_000)
    siege.outcome = SERVED


async def test_single_bytes_of_control_frames(siege) -> None:
    """80 pings of 125 bytes, one byte at a time (CVE-2026-123817)."""
    client = await siege.upgraded()
    await client.send_bytewise(80 * frame(FIN | PING, bytes(125)))
    for _ in range(80):
        assert await client.next_frame() == (FIN | PONG, bytes(125))
    siege.outcome = SERVED


async def test_incomplete_frames(siege) -> None:
    """Frames of 64 KiB that lack a byte, on 128 connections (CVE-2026-54274)."""
    siege.fills = 128 * SMALL_LIMIT
    clients = [await siege.upgraded("small") for _ in range(128)]
    for client in clients:
        await client.send(frame(FIN | BINARY, bytes(SMALL_LIMIT - 1), declared=SMALL_LIMIT))
    await siege.until_received("small", 128 * SMALL_LIMIT)
    siege.outcome = SERVED


async def test_incomplete_messages(siege) -> None:
    """Messages of 64 KiB that lack their last fragment, on 128 connections (CVE-2026-54274)."""
    siege.fills = 128 * SMALL_LIMIT
    clients = [await siege.upgraded("small") for _ in range(128)]
    for client in clients:
        await client.send(frame(BINARY) + 64 * frame(CONTINUATION, bytes(1024)))
    await siege.until_received("small", 128 * SMALL_LIMIT)
    siege.outcome = SERVED


# -- pings and pongs ------------------------------------------------------------------------------


async def test_pings_in_one_segment(siege) -> None:
    """20,000 empty pings at once."""
    client = await siege.upgraded()
    await client.send(20_000 * frame(FIN | PING) + frame(FIN | PING, b"last"))
    while await client.next_frame() != (FIN | PONG, b"last"):
        pass
    siege.outcome = SERVED


async def test_pings_of_different_payloads(siege) -> None:
    """20,000 pings, each with a payload of its own, at once."""
    client = await siege.upgraded()
    pings = [frame(FIN | PING, number.to_bytes(4, "big")) for number in range(20_000)]
    await client.send(b"".join(pings))
    while await client.next_frame() != (FIN | PONG, (19_999).to_bytes(4, "big")):
        pass
    siege.outcome = SERVED


@pytest.mark.parametrize("same", [True, False], ids=["all the same", "all different"])
async def test_pongs_are_never_read(siege, same) -> None:
    """10,000 pings of 125 bytes whose pongs are never read (GHSA-9fm3-97px-rjf6, ws 8.23.0)."""
    client = await siege.upgraded("narrow", receive_buffer=4096)
    pings = [frame(FIN | PING, (same or number).to_bytes(125, "big")) for number in range(10_000)]
    await client.send(b"".join(pings))
    await siege.until_stalled("narrow")
    await siege.until_received("narrow", 10_000 * 131)
    siege.outcome = SERVED


async def test_pongs_are_never_read_and_time_runs_out(siege) -> None:
    """Pings whose pongs are never read, until the server gives up (CVE-2026-11586)."""
    client = await siege.upgraded("narrow hasty", receive_buffer=4096)
    await client.send(10_000 * frame(FIN | PING, bytes(125)))
    await siege.until_alone("narrow hasty")
    siege.outcome = ENDED


async def test_pongs_that_nobody_asked_for(siege) -> None:
    """20,000 pongs that nobody asked for."""
    client = await siege.upgraded()
    await client.send(20_000 * frame(FIN | PONG, b"x"))
    await client.echo()
    siege.outcome = SERVED


# -- peers that do not read -----------------------------------------------------------------------


async def test_echo_is_never_read(siege) -> None:
    """An echo that is never read: the server stops reading (GHSA-rh7x-ppxx-p34c, CVE-2024-23672)."""
    siege.fills = 3 * LIMIT  # one message in the handler's hands, inbox and outbox
    client = await siege.upgraded("narrow", receive_buffer=4096)
    messages = 64 * frame(FIN | BINARY, bytes(LIMIT))
    siege.expect(HELD_BACK, await siege.press(client, "narrow", messages))


async def test_echo_of_small_messages_is_never_read(siege) -> None:
    """A flood of messages of one byte whose echo is never read (GHSA-rh7x-ppxx-p34c)."""
    siege.fills = 3 * LIMIT
    client = await siege.upgraded("narrow", receive_buffer=4096)
    messages = 4_000_000 * frame(FIN | BINARY, b"x")
    siege.expect(HELD_BACK, await siege.press(client, "narrow", messages))


async def test_echo_by_callback_is_never_read(siege) -> None:
    """An echo by callback that is never read, under the policy to disconnect."""
    siege.fills = 2 * LIMIT
    client = await siege.upgraded("callbacks", receive_buffer=4096)
    await client.send(32 * frame(FIN | BINARY, bytes(LIMIT)))
    siege.expect(1013, await client.end())


async def test_nothing_is_read(siege) -> None:
    """A peer to whom the server sends for ever, and who reads nothing (CVE-2024-23672)."""
    siege.fills = LIMIT
    await siege.upgraded("push", receive_buffer=4096)
    await siege.until_alone("push")
    siege.outcome = ENDED


async def test_reads_in_sips(siege) -> None:
    """A peer who reads a byte at a time, just enough to count as reading."""
    siege.fills = LIMIT
    client = await siege.upgraded("push", receive_buffer=4096)

    async def sip() -> None:
        while await client.stream.receive_some(1):
            await trio.sleep(0.02)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.quietly, sip)
        await siege.until_alone("push")
        nursery.cancel_scope.cancel()
    siege.outcome = ENDED


# -- peers that do not let go ---------------------------------------------------------------------


async def test_flood_behind_the_server_s_close_frame(siege) -> None:
    """64 MiB of messages behind the server's close frame, which is never answered."""
    siege.fills = 2 * LIMIT  # the inbox, and a message on its way
    client = await siege.upgraded("patient bounce")
    assert await client.next_frame() == (FIN | CLOSE, (4000).to_bytes(2, "big"))
    await siege.press(client, "patient bounce", 64 * frame(FIN | BINARY, bytes(LIMIT)))
    await client.send(close(4000))
    siege.expect(ENDED, await client.end())


async def test_flood_behind_a_violation(siege) -> None:
    """64 MiB behind a frame that broke the rules."""
    client = await siege.upgraded()
    await client.send(frame(FIN | 3) + 64 * frame(FIN | BINARY, bytes(LIMIT)))
    siege.expect(1002, await client.end())
