"""Ways to leave, or not to, against a server."""

from __future__ import annotations

import itertools

import pytest
import trio

from .attacker import (
    BINARY,
    CLOSE,
    CONTINUATION,
    ENDED,
    FIN,
    PING,
    SERVED,
    TEXT,
    close,
    frame,
    request,
)

LIMIT = 1024 * 1024
"""The victim's max_message_size."""


# -- close frames ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2999, 5000, 32768, 65535]
)
async def test_illegal_codes(siege, code) -> None:
    """A close code that may not be sent."""
    client = await siege.upgraded()
    await client.send(close(code))
    siege.expect(1002, await client.end())


async def test_half_a_code(siege) -> None:
    """A close frame with one byte of payload."""
    client = await siege.upgraded()
    await client.send(frame(FIN | CLOSE, b"\x03"))
    siege.expect(1002, await client.end())


@pytest.mark.parametrize(
    "reason",
    [b"\xff", b"\xed\xa0\x80", "é".encode()[:1], 123 * b"\x80"],
    ids=["0xff", "a surrogate", "half a character", "123 bytes"],
)
async def test_reason_is_not_utf8(siege, reason) -> None:
    """A close reason that is not UTF-8."""
    client = await siege.upgraded()
    await client.send(close(1000, reason))
    siege.expect(1007, await client.end())


@pytest.mark.parametrize(
    "reason", [b"", b"x", 123 * b"y"], ids=["no reason", "1 byte", "123 bytes"]
)
async def test_nothing_but_the_code_comes_back(siege, reason) -> None:
    """A close frame whose answer might carry bytes that are nobody's (CVE-2026-45736)."""
    client = await siege.upgraded()
    await client.send(close(3210, reason))
    siege.expect(3210, await client.end())
    assert client.frames == [(FIN | CLOSE, (3210).to_bytes(2, "big"))]


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(frame(FIN | TEXT, b"x"), id="a message"),
        pytest.param(frame(FIN | PING, b"x"), id="a ping"),
        pytest.param(close(1001), id="another close frame"),
        pytest.param(frame(FIN | 3, declared=1 << 62), id="a frame that breaks the rules"),
        pytest.param(10_000 * close(1001), id="10,000 close frames"),
        pytest.param(16 * frame(FIN | BINARY, bytes(LIMIT)), id="16 MiB"),
    ],
)
async def test_more_behind_a_close_frame(siege, more) -> None:
    """Frames behind a close frame."""
    client = await siege.upgraded()
    await client.send(close(1000) + more)
    siege.expect(1000, await client.end())
    assert len(client.frames) == 1


async def test_close_within_a_message(siege) -> None:
    """A close frame in the middle of a message."""
    client = await siege.upgraded()
    await client.send(frame(TEXT, b"x") + close(1000) + frame(FIN | CONTINUATION, b"y"))
    siege.expect(1000, await client.end())
    assert len(client.frames) == 1


# -- stalling -------------------------------------------------------------------------------------


async def test_stall_behind_a_close_frame(siege) -> None:
    """Closing, then neither reading nor hanging up."""
    client = await siege.upgraded()
    await client.send(close(1000))
    await siege.until_alone("echo")
    siege.expect(1000, await client.end())


async def test_stall_behind_a_violation(siege) -> None:
    """Breaking the rules, then neither reading nor hanging up."""
    client = await siege.upgraded()
    await client.send(frame(FIN | 3))
    await siege.until_alone("echo")
    siege.expect(1002, await client.end())


async def test_close_is_never_answered(siege) -> None:
    """A server's close frame that is never answered."""
    client = await siege.upgraded("bounce")
    await siege.until_alone("bounce")
    siege.expect(4000, await client.end())


async def test_close_is_answered_with_pings(siege) -> None:
    """A server's close frame that is answered with pings for ever."""
    client = await siege.upgraded("bounce")

    async def ping() -> None:
        while True:
            await client.stream.send_all(frame(FIN | PING, b"x"))
            await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.quietly, ping)
        await siege.until_alone("bounce")
        nursery.cancel_scope.cancel()
    siege.expect(4000, await client.end())


async def test_half_open(siege) -> None:
    """A peer that is there no more, so that no pong comes."""
    client = await siege.upgraded("hasty")
    siege.expect(1011, await client.end())


async def test_half_open_within_a_message(siege) -> None:
    """A peer that is there no more, in the middle of a frame."""
    client = await siege.upgraded("hasty")
    await client.send(frame(FIN | BINARY, bytes(1000), declared=LIMIT))
    siege.expect(1011, await client.end())


async def test_wrong_pongs(siege) -> None:
    """A peer that answers keepalive with pongs of its own invention."""
    client = await siege.upgraded("hasty")

    async def pong() -> None:
        while True:
            await client.stream.send_all(frame(FIN | 0xA, b"x"))
            await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.quietly, pong)
        siege.expect(1011, await client.end())
        nursery.cancel_scope.cancel()


# -- resets and ends ------------------------------------------------------------------------------

STATES = {
    "before the request": b"",
    "in the request": request()[:40],
    "behind the request": request(),
    "behind a bad request": request(Host=None),
    "in a frame's header": request() + frame(FIN | BINARY, bytes(200))[:3],
    "in a frame": request() + frame(FIN | BINARY, b"x", declared=1000),
    "in a message": request() + frame(TEXT, b"x"),
    "in a control frame": request() + frame(FIN | PING, declared=100),
    "behind a message": request() + frame(FIN | TEXT, b"x"),
    "behind a close frame": request() + close(1000),
    "behind a violation": request() + frame(FIN | 3),
}
"""What has been sent when the peer goes."""


@pytest.mark.parametrize("sent", STATES.values(), ids=list(STATES))
async def test_reset(siege, sent) -> None:
    """A reset (SO_LINGER 0) at any time."""
    client = await siege.connect()
    await client.send(sent)
    if b"\r\n\r\n" in sent:
        await client.more()  # an answer; without it, see test_rapid_resets
    client.reset()
    siege.outcome = ENDED


@pytest.mark.parametrize("sent", STATES.values(), ids=list(STATES))
async def test_end_of_the_stream(siege, sent) -> None:
    """The peer ends its output at any time, and goes on reading."""
    client = await siege.connect()
    await client.send(sent)
    await client.stream.send_eof()
    siege.expect(ENDED, await client.gone())


async def test_reset_while_the_server_sends(siege) -> None:
    """A reset while the server has much to send."""
    siege.fills = LIMIT
    client = await siege.upgraded("push", receive_buffer=4096)
    await client.more()
    client.reset()
    siege.outcome = ENDED


async def test_rapid_resets(siege) -> None:
    """500 connections that are reset as soon as they have sent what they had to say."""
    for sent, _ in zip(itertools.cycle(STATES.values()), range(500), strict=False):
        client = await siege.connect()
        await client.send(sent)
        client.reset()
    siege.outcome = ENDED


async def test_many_that_leave_together(siege) -> None:
    """200 connections that all break the rules in the same moment."""
    clients = [await siege.upgraded() for _ in range(200)]
    for client in clients:
        await client.send(frame(FIN | 3))
    outcomes = {await client.end() for client in clients}
    siege.expect(1002, outcomes.pop())
    assert not outcomes


async def test_opening_and_closing_without_end(siege) -> None:
    """200 connections, one after the other, each closed in order."""
    for _ in range(200):
        client = await siege.upgraded()
        await client.send(close(1000))
        assert await client.end() == 1000
    siege.outcome = SERVED
