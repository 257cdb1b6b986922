"""What came before a violation, a close or a flood is dealt with before it, within bounds."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from hubws import Callbacks, Connection, ConnectionClosed, Frame, Opcode, State
from hubws.connection import engine
from hubws.connection.engine import PONGS
from tests.connection.pairs import Pairs

BAD = Frame(opcode=Opcode.TEXT, payload=b"x", rsv2=True)


class TestViolation:
    async def test_what_came_before_it_can_be_answered(self, make_pair: Pairs) -> None:
        """By a task that iterates as by a callback; then it fails with 1002."""
        client, server = make_pair()
        for number in range(3):
            client.send_nowait(f"message {number}")
        client.send_frame_nowait(BAD)
        client.send_nowait("after it")
        await trio.testing.wait_all_tasks_blocked()
        assert server.state is State.OPEN
        for number in range(3):
            assert await server.receive() == f"message {number}"
            await server.send(f"answer {number}")
        with pytest.raises(ConnectionClosed, match="reserved bits 010"):
            await server.receive()
        with pytest.raises(ConnectionClosed):
            await server.send("too late")
        for number in range(3):
            assert await client.receive() == f"answer {number}"
        with pytest.raises(ConnectionClosed) as caught:
            await client.receive()
        assert caught.value.code == 1002

    async def test_without_messages_before_it(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        client.send_frame_nowait(BAD)
        await trio.testing.wait_all_tasks_blocked()
        assert server.state is not State.OPEN
        assert client.close_code == 1002

    async def test_is_not_put_off_for_ever(
        self, make_pair: Pairs, autojump_clock: trio.testing.MockClock
    ) -> None:
        client, server = make_pair()
        client.send_nowait("never taken")
        client.send_frame_nowait(BAD)
        await client.wait_closed()
        assert client.close_code == 1002
        await server.wait_closed()
        assert await server.receive() == "never taken"
        assert trio.current_time() <= 3 * engine.LINGER

    async def test_closing_instead_tells_of_it(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        client.send_nowait("not taken")
        client.send_frame_nowait(BAD)
        await trio.testing.wait_all_tasks_blocked()
        server.close_nowait(1000)
        await client.wait_closed()
        assert client.close_code == 1002

    async def test_the_end_instead_tells_of_it(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        client.send_nowait("not taken")
        client.send_frame_nowait(BAD)
        await trio.testing.wait_all_tasks_blocked()
        server.abort()
        assert server.closure is not None
        assert "reserved bits" in str(server.closure.error)

    async def test_another_failure_instead(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        client.send_nowait("not taken")
        client.send_frame_nowait(BAD)
        await trio.testing.wait_all_tasks_blocked()
        server.fail(1011, "no pong came", None)
        await client.wait_closed()
        assert client.close_code == 1011


async def test_echoes_go_before_the_answer_to_a_close(make_pair: Pairs) -> None:
    """On a stream too, whose writer task is always at it when several reads follow each other."""

    def echo(connection: Connection, message: str | bytes) -> None:
        connection.send_nowait(message)

    client, server = make_pair(server=Callbacks(on_message=echo))
    client.send_nowait("one")
    await trio.lowlevel.checkpoint()
    client.send_nowait("two")
    client.close_nowait(3001)
    assert await client.receive() == "one"
    assert await client.receive() == "two"
    await client.wait_closed()
    assert server.closure is not None
    assert server.closure.clean


@pytest.mark.parametrize("count", [10, PONGS])
async def test_pings_in_one_go_are_all_answered(make_pair: Pairs, count: int) -> None:
    pongs: list[bytes] = []
    callbacks = Callbacks(on_pong=lambda connection, payload, rtt: pongs.append(payload))
    client, _ = make_pair(client=callbacks)
    payloads = [b"%d" % number for number in range(count)]
    for payload in payloads:
        client.send_frame_nowait(Frame(opcode=Opcode.PING, payload=payload))
    await trio.testing.wait_all_tasks_blocked()
    assert pongs == payloads


async def test_pongs_that_are_not_read_are_bounded(make_lockstep_pair: Pairs) -> None:
    _, server = make_lockstep_pair(start_client=False)
    server.send_nowait("so that the writer is stuck")
    await trio.testing.wait_all_tasks_blocked()
    frames = b"".join(
        Frame(opcode=Opcode.PING, payload=b"%d" % number, mask_key=b"abcd").to_bytes()
        for number in range(1000)
    )
    server.on_bytes(frames, len(frames))
    assert server.outbox.urgent_frames == PONGS
    assert server.outbox.parts()[-1] == b"\x8a\x03999"


async def test_flood_behind_the_close_frame_is_bounded(make_pair: Pairs) -> None:
    """Nobody may be there to take it, and the peer's close frame is behind it."""
    client, server = make_pair(inbox_messages=10, outbox_messages=5000, outbox_bytes=10**7)
    server.close_nowait(1000)
    for number in range(3000):
        client.send_nowait(f"{number}" * 100)
    await client.wait_closed()
    await server.wait_closed()
    assert server.statistics().inbox_messages < 3000
    assert server.closure is not None
    assert server.closure.clean


class TestStalledStream:
    async def test_is_told_by_time(
        self, make_lockstep_pair: Pairs, autojump_clock: trio.testing.MockClock
    ) -> None:
        _, server = make_lockstep_pair(start_client=False)
        assert not server.outbox.is_stalled
        server.send_nowait("x")
        await trio.testing.wait_all_tasks_blocked()
        assert not server.outbox.is_stalled
        await trio.sleep(1)
        assert server.outbox.is_stalled
        assert server.statistics().is_stalled
        server.abort()
