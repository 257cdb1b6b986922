"""Connections over each transport: messages, cancellation, bounds, pings, endings."""

from __future__ import annotations

import errno
import gc
import itertools
import weakref
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from hubws import (
    Callbacks,
    CloseCode,
    Connection,
    ConnectionClosed,
    Frame,
    LocalProtocolError,
    Opcode,
    Policy,
    State,
)
from hubws.transport.poller import Poller
from tests.connection.pairs import Pairs


async def receive_all(connection: Connection) -> list[str | bytes]:
    return [message async for message in connection]


class TestMessages:
    async def test_come_whole_in_order_and_of_their_type(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        messages: list[str | bytes] = [
            "",
            b"",
            "grüß dich 🌍",
            b"\x00\xff",
            "x" * 100_000,
            bytes(70_000),
        ]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all_and_close, client, messages)
            assert await receive_all(server) == messages
            await server.wait_closed()
        assert server.closure is not None
        assert server.closure.normal

    async def test_flow_both_ways_at_once(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        messages: list[str | bytes] = [str(number) * 50 for number in range(2000)]
        received: dict[str, list[str | bytes]] = {}

        async def collect(name: str, connection: Connection) -> None:
            received[name] = [await connection.receive() for _ in messages]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect, "client", client)
            nursery.start_soon(collect, "server", server)
            for connection in (client, server):
                nursery.start_soon(send_each, connection, messages)
        assert received == {"client": messages, "server": messages}

    async def test_from_many_tasks_stay_whole(self, make_pair: Pairs) -> None:
        client, server = make_pair(outbox_bytes=30_000)
        messages = [chr(97 + number) * 9_000 for number in range(20)]
        async with trio.open_nursery() as nursery:
            for message in messages:
                nursery.start_soon(client.send, message)
            received = [await server.receive() for _ in messages]
        assert sorted(map(str, received)) == messages

    async def test_to_many_receivers_are_given_out_once(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        received: list[str | bytes] = []

        async def take_one() -> None:
            received.append(await server.receive())

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(take_one)
            await trio.testing.wait_all_tasks_blocked()
            for number in range(5):
                client.send_nowait(str(number))
        assert sorted(map(str, received)) == list("01234")

    async def test_arrive_before_the_close_that_follows(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        for number in range(300):
            client.send_nowait(str(number))
        client.close_nowait(3000, "done")
        received = [await server.receive() for _ in range(300)]
        assert received == [str(number) for number in range(300)]
        with pytest.raises(ConnectionClosed, match=r"3000.*done") as caught:
            await server.receive()
        assert (caught.value.code, caught.value.reason) == (3000, "done")

    async def test_iteration_raises_unless_the_end_was_normal(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        client.close_nowait(CloseCode.INTERNAL_ERROR)
        with pytest.raises(ConnectionClosed):
            await receive_all(server)

    async def test_iteration_lets_others_run(self, make_socket_pair: Pairs) -> None:
        client, server = make_socket_pair()
        for number in range(1000):
            client.send_nowait(str(number))
        await trio.testing.wait_all_tasks_blocked()
        seen_by_other: list[int] = []
        taken = 0

        async def other() -> None:
            while taken < 1000:
                seen_by_other.append(taken)
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            async for _ in server:
                taken += 1
                if taken == 1000:
                    break
        steps = [b - a for a, b in itertools.pairwise(seen_by_other)]
        assert max(steps) <= 128  # two turns, when trio shuffles the order

    @pytest.mark.parametrize(
        ("message", "error"),
        [
            ("\ud800", LocalProtocolError),
            (12, TypeError),
            (None, TypeError),
            (["x"], TypeError),
            ({"x": 1}, TypeError),
        ],
    )
    async def test_that_are_none_send_nothing(
        self, make_pair: Pairs, message: Any, error: type[Exception]
    ) -> None:
        for is_client in (True, False):
            sender, receiver = make_pair()[:: 1 if is_client else -1]
            with pytest.raises(error):
                sender.send_nowait(message)
            with pytest.raises(error):
                await sender.send(message)
            await sender.send("good")
            assert await receiver.receive() == "good"


async def send_each(connection: Connection, messages: list[str | bytes]) -> None:
    for message in messages:
        await connection.send(message)


async def send_all_and_close(connection: Connection, messages: list[str | bytes]) -> None:
    await send_each(connection, messages)
    await connection.aclose()


@given(messages=st.lists(st.text() | st.binary(max_size=300_000), max_size=20), data=st.data())
@settings(max_examples=20, deadline=None)
def test_any_messages_cross_a_socket(messages: list[str | bytes], data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["socket", "memory", "lockstep"]))

    async def main() -> None:
        pairs = Pairs(kind)
        client, server = pairs()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all_and_close, client, messages)
            assert await receive_all(server) == messages
        await pairs.end()

    trio.run(main)


class TestCancellation:
    @pytest.mark.parametrize("checkpoints", range(12))
    async def test_of_send_leaves_the_stream_valid(
        self, make_pair: Pairs, checkpoints: int
    ) -> None:
        client, server = make_pair(outbox_bytes=50_000, outbox_messages=4, start_server=False)
        accepted: list[str | bytes] = []

        async def send_many() -> None:
            for number in range(20):
                message = f"{number} " + "m" * 40_000
                await client.send(message)
                accepted.append(message)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_many)
            for _ in range(checkpoints):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        server.begin()
        accepted.append("after")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all_and_close, client, accepted[-1:])
            assert await receive_all(server) == accepted
        assert client.closure is not None
        assert client.closure.clean

    async def test_of_a_waiting_send_takes_it_out_of_the_line(
        self, make_lockstep_pair: Pairs
    ) -> None:
        client, server = make_lockstep_pair(outbox_messages=1, start_server=False)
        client.send_nowait("on its way")
        await trio.testing.wait_all_tasks_blocked()
        client.send_nowait("first")
        async with trio.open_nursery() as nursery:
            scope = await nursery.start(send_in_scope, client, "never")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(client.send, "second")
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            server.begin()
            assert [await server.receive() for _ in range(3)] == ["on its way", "first", "second"]

    async def test_of_receive_loses_nothing(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        received: list[str | bytes] = []

        async def take(task_status: trio.TaskStatus[trio.CancelScope]) -> None:
            with trio.CancelScope() as scope:
                task_status.started(scope)
                received.append(await server.receive())

        async with trio.open_nursery() as nursery:
            for number in range(50):
                scope = await nursery.start(take)
                client.send_nowait(str(number))
                for _ in range(number % 7):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        client.close_nowait()
        received += await receive_all(server)
        assert received == [str(number) for number in range(50)]

    async def test_of_ping_lets_the_pong_count(self, make_pair: Pairs) -> None:
        client, server = make_pair(start_server=False)
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.ping()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.ping)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        server.begin()
        await client.ping()
        assert client.rtt.samples + client.rtt.lost == 2

    async def test_of_aclose_ends_the_connection(self, make_pair: Pairs) -> None:
        client, _server = make_pair(start_server=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.aclose)
            await trio.testing.wait_all_tasks_blocked()
            assert client.state is State.CLOSING
            nursery.cancel_scope.cancel()
        assert client.state is State.CLOSED
        assert client.close_code == CloseCode.ABNORMAL


async def send_in_scope(
    connection: Connection, message: str, task_status: trio.TaskStatus[trio.CancelScope]
) -> None:
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await connection.send(message)


class TestBounds:
    async def test_full_inbox_holds_the_peer_back(self, make_pair: Pairs) -> None:
        client, server = make_pair(
            inbox_messages=10, outbox_messages=10, inbox_bytes=10_000, outbox_bytes=10_000
        )
        sent = 0

        async def send_many() -> None:
            nonlocal sent
            for number in range(3000):
                await client.send(f"{number} " + "m" * 1000)
                sent += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_many)
            await trio.testing.wait_all_tasks_blocked()
            if make_pair.kind != "memory":
                assert server.is_paused
                assert sent < 1000
            for number in range(3000):
                message = await server.receive()
                assert str(message).startswith(f"{number} ")
        assert not server.is_paused

    async def test_block_waits_and_nowait_raises(self, make_lockstep_pair: Pairs) -> None:
        client, server = make_lockstep_pair(outbox_messages=2, start_server=False)
        client.send_nowait("on its way")
        await trio.testing.wait_all_tasks_blocked()
        client.send_nowait("1")
        client.send_nowait("2")
        with pytest.raises(trio.WouldBlock, match="2 messages"):
            client.send_nowait("too much")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, "3")
            await trio.testing.wait_all_tasks_blocked()
            server.begin()
            assert [await server.receive() for _ in range(4)] == ["on its way", "1", "2", "3"]

    @pytest.mark.parametrize(
        ("policy", "arrived", "dropped"),
        [
            (Policy.DROP_OLDEST, ["on its way", "3", "4"], 2),
            (Policy.DROP_NEWEST, ["on its way", "1", "2"], 2),
            (Policy.LATEST, ["on its way", "4"], 3),
        ],
    )
    async def test_policies_that_drop(
        self, make_lockstep_pair: Pairs, policy: Policy, arrived: list[str], dropped: int
    ) -> None:
        client, server = make_lockstep_pair(outbox_messages=2, policy=policy, start_server=False)
        client.send_nowait("on its way")
        await trio.testing.wait_all_tasks_blocked()
        for number in range(1, 5):
            await client.send(str(number))
        server.begin()
        client.close_nowait()
        assert await receive_all(server) == arrived
        assert client.statistics().dropped + client.statistics().conflated == dropped

    async def test_disconnect_closes_with_1013(self, make_lockstep_pair: Pairs) -> None:
        client, server = make_lockstep_pair(
            outbox_messages=2, policy="disconnect", start_server=False
        )
        client.send_nowait("on its way")
        await trio.testing.wait_all_tasks_blocked()
        client.send_nowait("1")
        client.send_nowait("2")
        with pytest.raises(ConnectionClosed, match=r"1013.*slow consumer"):
            await client.send("3")
        server.begin()
        assert await server.receive() == "on its way"
        with pytest.raises(ConnectionClosed) as caught:
            await server.receive()
        assert caught.value.code == CloseCode.TRY_AGAIN_LATER
        assert client.closure is not None
        assert client.closure.undelivered == 2

    async def test_large_message_goes_alone(self, make_lockstep_pair: Pairs) -> None:
        client, server = make_lockstep_pair(outbox_bytes=1000, start_server=False)
        client.send_nowait("on its way")
        await trio.testing.wait_all_tasks_blocked()
        large = "l" * 5000
        client.send_nowait("small")
        with pytest.raises(trio.WouldBlock):
            client.send_nowait(large)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, large)
            await trio.testing.wait_all_tasks_blocked()
            server.begin()
            assert [await server.receive() for _ in range(3)] == ["on its way", "small", large]

    async def test_sender_that_never_waits_is_flushed(self, make_socket_pair: Pairs) -> None:
        client, server = make_socket_pair(outbox_messages=4)
        for number in range(40):
            client.send_nowait(str(number))
        assert [await server.receive() for _ in range(40)] == [str(n) for n in range(40)]

    async def test_flush_between_turns_sends_nothing_twice(self, make_socket_pair: Pairs) -> None:
        pairs = [make_socket_pair(outbox_messages=3) for _ in range(5)]
        for client, _ in pairs:
            for number in range(10):  # over the bound, so that some are flushed at once
                client.send_nowait(str(number))
            client.close_nowait()
        for _, server in pairs:
            assert await receive_all(server) == [str(number) for number in range(10)]

    async def test_ping_flood_that_is_never_read_is_bounded(
        self, make_lockstep_pair: Pairs
    ) -> None:
        client, server = make_lockstep_pair(start_client=False)
        for number in range(5000):
            client.outbox._urgent.append(client._endpoint.encode_ping(str(number).encode()))
        client.outbox.mark()
        await trio.testing.wait_all_tasks_blocked()
        assert server.queued_bytes < 20_000


class TestPings:
    async def test_time_is_that_of_the_stream(
        self, make_lockstep_pair: Pairs, mock_clock: trio.testing.MockClock
    ) -> None:
        client, server = make_lockstep_pair(start_server=False)
        times: list[float] = []

        async def ping() -> None:
            times.append(await client.ping())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ping)
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(0.25)
            server.begin()
        rtt = client.rtt
        assert times == [rtt.last]
        assert rtt.samples == 1
        assert rtt.lost == 0

    async def test_payload_is_time_and_nonce(self, make_pair: Pairs) -> None:
        seen: list[bytes] = []
        client, _server = make_pair(
            server=Callbacks(on_ping=lambda _connection, payload: seen.append(payload))
        )
        payload = client.ping_nowait()
        await client.ping(b"mine")
        assert seen == [payload, b"mine"]
        assert len(payload) == 16
        assert int.from_bytes(payload[:8], "big") > 1_700_000_000_000_000_000

    async def test_unsolicited_pong_is_no_sample(self, make_pair: Pairs) -> None:
        pongs: list[tuple[bytes, float | None]] = []
        client, server = make_pair(
            client=Callbacks(on_pong=lambda _, payload, rtt: pongs.append((payload, rtt)))
        )
        server.pong(b"heartbeat")
        await client.ping(b"asked")
        assert pongs[0] == (b"heartbeat", None)
        assert pongs[1] == (b"asked", client.rtt.last)
        assert client.rtt.samples == 1

    async def test_callbacks_can_be_added_and_removed(self, make_pair: Pairs) -> None:
        seen: list[bytes] = []

        def on_pong(_connection: Connection, payload: bytes, _rtt: float | None) -> None:
            seen.append(payload)

        client, _ = make_pair()
        client.add_pong_callback(on_pong)
        await client.ping(b"1")
        client.remove_pong_callback(on_pong)
        await client.ping(b"2")
        assert seen == [b"1"]
        with pytest.raises(ValueError, match=r"remove"):
            client.remove_pong_callback(on_pong)

    async def test_bad_payloads_send_nothing(self, make_pair: Pairs) -> None:
        client, server = make_pair(
            server=Callbacks(on_ping=lambda _, payload: pytest.fail(f"got {payload!r}"))
        )
        for bad in (b"x" * 126, bytearray(200)):
            with pytest.raises(LocalProtocolError, match="at most 125 bytes"):
                client.ping_nowait(bad)
            with pytest.raises(LocalProtocolError, match="at most 125 bytes"):
                client.pong(bad)
        with pytest.raises(TypeError, match="bytes-like"):
            await client.ping("text")  # type: ignore[arg-type]
        await client.send("still fine")
        assert await server.receive() == "still fine"

    async def test_same_payload_twice_is_refused(self, make_lockstep_pair: Pairs) -> None:
        client, _server = make_lockstep_pair(start_server=False)
        client.ping_nowait(b"twin")
        with pytest.raises(LocalProtocolError, match="in flight already"):
            client.ping_nowait(b"twin")

    async def test_pong_of_a_later_ping_wakes_who_waits_for_an_earlier(
        self, make_pair: Pairs
    ) -> None:
        client, server = make_pair(
            server=Callbacks(
                on_frame=lambda connection, frame: (
                    frame.opcode == Opcode.PING and frame.payload == b"ignored"
                )
            )
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.ping, b"ignored")
            await trio.testing.wait_all_tasks_blocked()
            await client.ping(b"answered")
        assert (client.rtt.samples, client.rtt.lost) == (1, 1)
        assert server.state is State.OPEN

    async def test_pending_ping_ends_with_the_connection(self, make_pair: Pairs) -> None:
        client, server = make_pair(start_server=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_closed, client.ping)
            await trio.testing.wait_all_tasks_blocked()
            server.abort()
            client.abort()
        with pytest.raises(ConnectionClosed):
            client.ping_nowait()
        with pytest.raises(ConnectionClosed):
            client.pong()

    async def test_pass_ahead_of_a_backlog(self, make_lockstep_pair: Pairs) -> None:
        order: list[object] = []
        client, server = make_lockstep_pair(
            start_server=False,
            server=Callbacks(
                on_message=lambda _, message: order.append(message[:1]),
                on_ping=lambda _, payload: order.append(payload),
            ),
        )
        for letter in "abc":
            client.send_nowait(letter * 100_000)
        await trio.testing.wait_all_tasks_blocked()
        client.ping_nowait(b"ping")
        server.begin()
        await client.aclose()
        assert order == ["a", b"ping", "b", "c"]


async def expect_closed(function: Any, *args: Any) -> None:
    with pytest.raises(ConnectionClosed):
        await function(*args)


class TestKeepalive:
    async def test_pings_when_idle(
        self, make_lockstep_pair: Pairs, autojump_clock: trio.testing.MockClock
    ) -> None:
        pings: list[float] = []
        client, server = make_lockstep_pair(
            keepalive_interval=20,
            keepalive_timeout=20,
            server=Callbacks(on_ping=lambda *_: pings.append(trio.current_time())),
        )
        start = trio.current_time()
        await trio.sleep(70)
        assert [round(when - start) for when in pings] == [20, 40, 60]
        assert client.state is server.state is State.OPEN

    async def test_closes_a_peer_that_does_not_answer(
        self, make_memory_pair: Pairs, autojump_clock: trio.testing.MockClock
    ) -> None:
        client, server = make_memory_pair(start_server=False)
        start = trio.current_time()
        quick, _ = make_memory_pair(keepalive_interval=20, keepalive_timeout=20, start_server=False)
        await quick.wait_closed()
        assert 40 <= trio.current_time() - start <= 42
        assert quick.closure is not None
        assert isinstance(quick.closure.error, TimeoutError)
        assert "no pong came within 20 s" in str(quick.closure)
        assert client.state is server.state is State.OPEN

    async def test_closes_while_a_send_is_blocked(
        self, make_lockstep_pair: Pairs, autojump_clock: trio.testing.MockClock
    ) -> None:
        client, _server = make_lockstep_pair(
            keepalive_interval=20,
            keepalive_timeout=20,
            write_timeout=None,
            outbox_messages=1,
            start_server=False,
        )
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ignore_closed, client.send, "x" * 100_000)
            nursery.start_soon(expect_closed, client.ping)
            await client.wait_closed()
        assert trio.current_time() - start == pytest.approx(40)

    async def test_gives_time_to_a_peer_we_do_not_read(
        self, make_socket_pair: Pairs, autojump_clock: trio.testing.MockClock
    ) -> None:
        client, server = make_socket_pair(
            inbox_messages=1, keepalive_interval=20, keepalive_timeout=20
        )
        for number in range(5):
            server.send_nowait(str(number))
        await trio.testing.wait_all_tasks_blocked()
        assert client.is_paused
        await trio.sleep(100)
        assert client.state is State.OPEN
        assert [await client.receive() for _ in range(5)] == list("01234")

    async def test_gives_it_its_time_anew_afterwards(
        self, make_memory_pair: Pairs, autojump_clock: trio.testing.MockClock
    ) -> None:
        """Its pong may be behind what was held back, and yet to be read."""
        client, server = make_memory_pair(
            inbox_messages=1, keepalive_interval=20, keepalive_timeout=20, start_server=False
        )
        await trio.sleep(21)  # the ping is in flight
        for number in range(5):
            server.send_nowait(str(number))
        await trio.testing.wait_all_tasks_blocked()
        assert client.is_paused
        await trio.sleep(18)
        while client.statistics().inbox_messages:
            await client.receive()
        assert not client.is_paused
        await trio.sleep(20)
        assert client.state is State.OPEN
        await trio.sleep(2)
        assert client.state is not State.OPEN


async def ignore_closed(function: Any, *args: Any) -> None:
    try:
        await function(*args)
    except ConnectionClosed:
        pass


class TestEndings:
    async def test_of_a_socket_that_the_system_watches_no_more(
        self, make_socket_pair: Pairs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As when /proc/sys/fs/epoll/max_user_watches was reached while it was held back."""

        def watch(self: Poller, fd: int, on_readable: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        client, server = make_socket_pair(inbox_messages=1)
        await client.send("1")
        await client.send("2")
        await trio.testing.wait_all_tasks_blocked()
        assert server.is_paused
        monkeypatch.setattr(Poller, "watch", watch)
        assert [await server.receive(), await server.receive()] == ["1", "2"]
        with pytest.raises(ConnectionClosed) as caught:
            await server.receive()
        assert isinstance(caught.value.closure.error, OSError)

    @pytest.mark.parametrize("closer", ["client", "server"])
    async def test_in_order(self, make_pair: Pairs, closer: str) -> None:
        client, server = make_pair()
        one, other = (client, server) if closer == "client" else (server, client)
        await one.aclose(4000, "grüß dich")
        await other.wait_closed()
        for connection in (one, other):
            assert connection.state is State.CLOSED
            assert (connection.close_code, connection.closure.clean) == (4000, True)
        assert other.close_reason == "grüß dich"

    async def test_from_both_sides_at_once(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        client.close_nowait(4001)
        server.close_nowait(4002)
        await client.wait_closed()
        await server.wait_closed()
        assert (client.close_code, server.close_code) == (4002, 4001)

    async def test_without_a_code(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        await client.aclose(None)
        await server.wait_closed()
        assert server.close_code == CloseCode.NO_STATUS

    async def test_close_again_only_waits(self, make_pair: Pairs) -> None:
        client, _server = make_pair()
        await client.aclose(4000)
        await client.aclose(4001)
        assert client.closure is not None
        assert client.closure.sent is not None
        assert client.closure.sent.code == 4000

    @pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 70_000])
    async def test_bad_codes_send_nothing(self, make_pair: Pairs, code: int) -> None:
        client, server = make_pair()
        with pytest.raises(LocalProtocolError, match=str(code)):
            await client.aclose(code)
        with pytest.raises(LocalProtocolError, match="at most 123 bytes"):
            await client.aclose(1000, "ü" * 62)
        with pytest.raises(LocalProtocolError, match="lone surrogate"):
            client.close_nowait(1000, "\ud800")
        await client.send("still open")
        assert await server.receive() == "still open"

    async def test_peer_that_vanishes(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        client.abort()
        with pytest.raises(ConnectionClosed, match="no close frame") as caught:
            await receive_all(server)
        assert caught.value.code == CloseCode.ABNORMAL
        with pytest.raises(ConnectionClosed):
            await server.send("x")
        with pytest.raises(ConnectionClosed):
            server.send_nowait("x")
        await server.aclose()

    async def test_peer_that_never_answers_a_close(
        self, make_lockstep_pair: Pairs, autojump_clock: trio.testing.MockClock
    ) -> None:
        client, _server = make_lockstep_pair(start_server=False, close_timeout=5)
        start = trio.current_time()
        client.send_nowait("undelivered, for it never left")
        client.send_nowait("x" * 100_000)
        await client.aclose()
        assert trio.current_time() - start == pytest.approx(5)
        assert client.closure is not None
        assert not client.closure.clean

    async def test_peer_that_takes_nothing(
        self, make_socket_pair: Pairs, autojump_clock: trio.testing.MockClock
    ) -> None:
        client, _server = make_socket_pair(start_server=False, write_timeout=7)
        start = trio.current_time()
        for _ in range(20):
            client.send_nowait(bytes(50_000))
        client.send_nowait("behind")
        await client.wait_closed()
        assert trio.current_time() - start == pytest.approx(7)
        assert "took nothing for 7 s" in str(client.closure)
        assert client.closure is not None
        assert client.closure.undelivered > 0

    async def test_close_while_nobody_takes_messages(self, make_pair: Pairs) -> None:
        client, server = make_pair(inbox_messages=1)
        for number in range(20):
            client.send_nowait(str(number))
        await trio.testing.wait_all_tasks_blocked()
        await server.aclose()
        assert server.closure is not None
        assert server.closure.clean

    async def test_protocol_error_says_why(self, make_pair: Pairs) -> None:
        errors: list[Exception] = []
        client, server = make_pair(server=Callbacks(on_error=lambda _, error: errors.append(error)))
        client.send_nowait("good")
        client.send_frame_nowait(Frame(opcode=Opcode.TEXT, payload=b"\xff"))
        client.send_nowait("ignored")
        assert await server.receive() == "good"
        with pytest.raises(ConnectionClosed, match="not UTF-8"):
            await server.receive()
        await client.wait_closed()
        assert client.close_code == CloseCode.INVALID_DATA
        assert [type(error).__name__ for error in errors] == ["RemoteProtocolError"]

    async def test_end_callbacks(self, make_pair: Pairs) -> None:
        ended: list[str] = []
        client, _server = make_pair(client=Callbacks(on_close=lambda _: ended.append("on_close")))
        client.add_end_callback(lambda _: ended.append("first"))

        def removed(_: Connection) -> None:
            ended.append("never")

        client.add_end_callback(removed)
        client.remove_end_callback(removed)
        client.abort()
        client.abort()
        client.add_end_callback(lambda _: ended.append("late"))
        assert ended == ["first", "on_close", "late"]

    async def test_leaves_no_task_behind(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        await client.aclose()
        await server.wait_closed()
        await trio.testing.wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(5):
            client, server = make_pair()
            client.send_nowait(b"x" * 500_000)
            await server.receive()
            await client.aclose()
            await server.wait_closed()
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before

    async def test_needs_no_garbage_collector(self, make_socket_pair: Pairs) -> None:
        client, server = make_socket_pair(keepalive_interval=20)
        await client.ping()
        await client.aclose()
        await server.wait_closed()
        await trio.testing.wait_all_tasks_blocked()
        ended = weakref.ref(server)
        make_socket_pair.made.clear()
        gc.disable()
        try:
            del client, server
            assert ended() is None
        finally:
            gc.enable()


class TestCallbacks:
    async def test_are_called_in_the_order_of_the_wire(self, make_pair: Pairs) -> None:
        calls: list[Any] = []
        client, server = make_pair(
            server=Callbacks(
                on_open=lambda _: calls.append("open"),
                on_message=lambda _, message: calls.append(message),
                on_ping=lambda _, payload: calls.append(("ping", payload)),
                on_pong=lambda _, payload, rtt: calls.append(("pong", payload, rtt)),
                on_close=lambda connection: calls.append(("close", connection.close_code)),
            )
        )
        client.send_nowait("1")
        client.ping_nowait(b"p")
        client.pong(b"q")
        await client.aclose(4321)
        await server.wait_closed()
        assert sorted(map(str, calls)) == sorted(
            map(str, ["open", "1", ("ping", b"p"), ("pong", b"q", None), ("close", 4321)])
        )
        assert calls[0] == "open"
        assert calls[-1] == ("close", 4321)

    @pytest.mark.logs_errors
    async def test_one_that_raises_ends_its_connection(
        self, make_pair: Pairs, caplog: pytest.LogCaptureFixture
    ) -> None:
        seen: list[str | bytes] = []

        def on_message(_connection: Connection, message: str | bytes) -> None:
            seen.append(message)
            raise ZeroDivisionError("handler's own")

        client, server = make_pair(server=Callbacks(on_message=on_message))
        client.send_nowait("1")
        client.send_nowait("2")
        await client.wait_closed()
        await server.wait_closed()
        assert client.close_code == CloseCode.INTERNAL_ERROR
        assert seen == ["1"]
        logged = [record for record in caplog.records if record.levelname == "ERROR"]
        assert len(logged) == 1
        assert logged[0].exc_info is not None

    async def test_connection_closed_in_one_is_no_error(self, make_pair: Pairs) -> None:
        other, _ = make_pair()
        other.abort()
        client, server = make_pair(
            server=Callbacks(on_message=lambda _, message: other.send_nowait(message))
        )
        client.send_nowait("1")
        await client.ping()
        assert server.state is State.OPEN

    async def test_abort_in_one_is_the_last_call(self, make_pair: Pairs) -> None:
        calls: list[object] = []

        def on_message(connection: Connection, message: str | bytes) -> None:
            calls.append(message)
            connection.abort()

        client, server = make_pair(
            server=Callbacks(on_message=on_message, on_close=lambda _: calls.append("closed"))
        )
        client.send_nowait("1")
        client.send_nowait("2")
        await server.wait_closed()
        await client.wait_closed()
        assert calls == ["1", "closed"]

    async def test_receive_says_that_messages_go_elsewhere(self, make_pair: Pairs) -> None:
        client, _ = make_pair(client=Callbacks(on_message=lambda *_: None))
        with pytest.raises(RuntimeError, match="on_message"):
            await client.receive()

    async def test_on_frame_sees_every_frame_and_may_handle_it(self, make_pair: Pairs) -> None:
        frames: list[str] = []

        def on_frame(_connection: Connection, frame: Frame) -> bool:
            frames.append(str(frame.opcode))
            return frame.payload == b"handled"

        client, server = make_pair(server=Callbacks(on_frame=on_frame))
        client.send_nowait("handled")
        client.send_frame_nowait(Frame(opcode=Opcode.TEXT, payload=b"in two ", fin=False))
        client.send_frame_nowait(Frame(opcode=Opcode.CONTINUATION, payload=b"frames"))
        client.close_nowait()
        assert await receive_all(server) == ["in two frames"]
        assert frames == ["1", "1", "0", "8"]


class TestWhatItIs:
    async def test_attributes_and_statistics(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        client.attributes["user"] = "Ada"
        assert client.attributes == {"user": "Ada"}
        assert server.attributes == {}
        assert client.id != server.id
        assert (client.is_client, server.is_client) == (True, False)
        assert client.path == ""
        assert client.closure is None
        assert client.close_code is client.close_reason is None
        await client.send("12345")
        await server.receive()
        assert client.statistics().bytes_sent == server.statistics().bytes_received == 11
        await trio.testing.wait_all_tasks_blocked()
        assert client.statistics().is_stalled is False
        assert repr(client) == f"<Connection {client.id} open None>"
