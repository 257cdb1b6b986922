"""What one connection may do: messages and bytes in a second, idle time, lifetime."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

import hubws
from hubws import RateLimit, TokenBucket
from tests.connection.pairs import Pairs


class TestTokenBucket:
    async def test_full_at_first_and_filled_up_to_its_size(self) -> None:
        bucket = TokenBucket(10, 2.0, now=100.0)
        assert bucket.tokens(100.0) == 20
        assert bucket.take(15, 100.0) == 15
        assert bucket.take(15, 100.0) == 5
        assert bucket.take(1, 100.0) == 0
        assert bucket.tokens(100.5) == 5
        assert bucket.tokens(1000.0) == 20

    async def test_debt(self) -> None:
        bucket = TokenBucket(8, 1.0, now=0.0)
        assert bucket.charge(8, 0.0) == 0
        assert bucket.charge(4, 0.0) == 0.5
        assert bucket.charge(4, 0.0) == 1.0
        assert bucket.take(1, 0.75) == 0
        assert bucket.tokens(1.0) == 0
        assert bucket.take(5, 1.5) == 4

    async def test_time_that_stands_still_or_goes_back_gives_nothing(self) -> None:
        bucket = TokenBucket(8, 1.0, now=5.0)
        assert bucket.take(8, 5.0) == 8
        assert bucket.take(1, 4.0) == 0
        assert bucket.tokens(5.5) == 4

    async def test_parts_of_a_token_are_kept(self) -> None:
        bucket = TokenBucket(1, 1.0, now=0.0)
        assert [bucket.take(1, quarter / 4) for quarter in range(9)] == [1, 0, 0, 0, 1, 0, 0, 0, 1]

    @given(
        st.integers(1, 64),
        st.integers(1, 8),
        st.lists(st.tuples(st.integers(0, 64), st.integers(0, 300)), max_size=30),
    )
    async def test_never_more_than_the_burst_and_the_rate(self, rate, burst, steps) -> None:
        bucket = TokenBucket(rate, burst, now=0.0)
        now, taken = 0.0, []
        for quarters, wanted in steps:
            now += quarters / 4
            taken.append((now, bucket.take(wanted, now)))
        for first, (begin, _) in enumerate(taken):
            for last in range(first, len(taken)):
                end = taken[last][0]
                count = sum(got for _, got in taken[first : last + 1])
                assert count <= rate * burst + rate * (end - begin)


class TestRateLimit:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({}, "needs messages or bytes"),
            ({"messages": 0}, "messages of a RateLimit must be over 0"),
            ({"bytes": -5}, "bytes of a RateLimit must be over 0"),
            ({"messages": float("inf")}, "finite"),
            ({"messages": float("nan")}, "nan"),
            ({"messages": 1, "burst": 0}, "burst"),
            ({"messages": 1, "burst": float("nan")}, "burst"),
            ({"messages": 0.5}, "never let one in"),
            ({"messages": 1, "policy": "wait"}, "'wait' is not a policy.*pause, drop, close"),
        ],
    )
    async def test_what_makes_no_sense(self, arguments, words) -> None:
        with pytest.raises(ValueError, match=words):
            RateLimit(**arguments)

    async def test_slow_rates_need_a_long_burst(self) -> None:
        assert RateLimit(messages=0.1, burst=10).policy == "pause"
        assert str(RateLimit(messages=0.1, bytes=5000, burst=10)) == (
            "0.1 messages and 5000 bytes a second"
        )


Pair = Callable[..., tuple[hubws.Connection, hubws.Connection]]


@pytest.fixture(params=["socket", "memory"])
async def make_pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    pairs = Pairs(request.param)
    yield pairs
    await pairs.end()


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


def send(connection: hubws.Connection, numbers: range) -> None:
    for number in numbers:
        connection.send_nowait(b"%d" % number)


class Arrivals:
    """Takes messages and notes when each came, in seconds from the first."""

    def __init__(self) -> None:
        self.began = trio.current_time()
        self.at: list[tuple[float, int]] = []

    def __call__(self, connection: hubws.Connection, message: str | bytes) -> None:
        self.at.append((round(trio.current_time() - self.began, 6), int(message)))


class TestPause:
    async def test_rate_is_kept_to_the_moment(self, autojump_clock, make_pair) -> None:
        arrivals = Arrivals()
        client, server = make_pair(
            server=hubws.Callbacks(on_message=arrivals), rate_limit=RateLimit(messages=4, burst=2)
        )
        send(client, range(8))
        await settled()
        assert not server.is_paused
        send(client, range(8, 10))
        await settled()
        assert arrivals.at == [(0, number) for number in range(10)]
        assert server.is_paused
        for number in range(10, 14):
            send(client, range(number, number + 1))
            await trio.sleep(0.125)
        await trio.sleep(5)
        # two beyond the burst: half a second, and what came meanwhile was paid for afterwards
        assert arrivals.at[10:] == [(0.5, number) for number in range(10, 14)]
        assert not server.is_paused

    @pytest.mark.parametrize("make_pair", ["socket", "lockstep"], indirect=True)
    async def test_long_run_rate(self, autojump_clock, make_pair) -> None:
        got = []
        client, _ = make_pair(
            server=hubws.Callbacks(on_message=lambda _, message: got.append(message)),
            rate_limit=RateLimit(messages=100, policy="pause"),
        )

        async def flood() -> None:
            while True:
                await client.send(bytes(4000))

        with trio.move_on_after(20):
            await flood()
        # not one message in flight more than what one read brings, 256 KiB
        assert 100 * 20 <= len(got) <= 100 * 21 + 66

    async def test_bytes(self, autojump_clock, make_pair) -> None:
        arrivals = Arrivals()
        client, server = make_pair(
            server=hubws.Callbacks(on_message=arrivals), rate_limit=RateLimit(bytes=1000)
        )
        client.send_nowait("1".rjust(1492))  # 1500 on the wire, with the header of 8
        await settled()
        assert server.is_paused
        send(client, range(2, 3))
        await trio.sleep(1)
        assert arrivals.at == [(0, 1), (0.5, 2)]

    async def test_inbox_and_rate_hold_independently(self, autojump_clock, make_pair) -> None:
        client, server = make_pair(rate_limit=RateLimit(messages=4), inbox_messages=2)
        send(client, range(6))  # both: the inbox is full, and half a second is owed
        await settled()
        for _ in range(6):
            await server.receive()
        assert server.is_paused
        send(client, range(6, 7))
        began = trio.current_time()
        assert await server.receive() == b"6"
        assert trio.current_time() - began == 0.5
        send(client, range(7, 20))
        await trio.sleep(25)  # paid long ago, but nobody takes them
        assert server.is_paused
        assert [await server.receive() for _ in range(13)] == [b"%d" % n for n in range(7, 20)]
        assert not server.is_paused

    @pytest.mark.parametrize("closes", ["server", "abort"])
    async def test_closing_does_not_wait_until_it_is_paid(
        self, autojump_clock, make_pair, closes
    ) -> None:
        client, server = make_pair(rate_limit=RateLimit(messages=1))
        send(client, range(1000))
        await settled()
        assert server.is_paused
        began = trio.current_time()
        if closes == "server":
            await server.aclose()
            assert server.closure.clean
        else:
            server.abort()
        await client.wait_closed()
        assert trio.current_time() == began
        assert not server.is_paused


class TestDrop:
    @pytest.mark.parametrize("style", ["callbacks", "iterate", "frames"])
    async def test_over_the_rate_is_dropped_and_counted(
        self, autojump_clock, make_pair, style
    ) -> None:
        got: list[str | bytes] = []
        seen = []
        callbacks = {
            "callbacks": hubws.Callbacks(on_message=lambda _, message: got.append(message)),
            "iterate": hubws.Callbacks(),
            "frames": hubws.Callbacks(
                on_message=lambda _, message: got.append(message),
                on_frame=lambda _, frame: seen.extend([frame]),
            ),
        }[style]
        client, server = make_pair(
            server=callbacks, rate_limit=RateLimit(messages=4, policy="drop")
        )

        async def take() -> list[str | bytes]:
            await settled()
            if style == "iterate":
                count = server.statistics().inbox_messages
                return [await server.receive() for _ in range(count)]
            taken, got[:] = list(got), []
            return taken

        send(client, range(10))
        assert await take() == [b"0", b"1", b"2", b"3"]
        assert server.statistics().rate_dropped == 6
        await trio.sleep(0.5)
        send(client, range(10, 15))
        assert await take() == [b"10", b"11"]
        assert server.statistics().rate_dropped == 9
        assert client.statistics().rate_dropped == 0
        assert not server.is_paused
        assert len(seen) == (15 if style == "frames" else 0)

    async def test_control_frames_are_not(self, autojump_clock, make_pair) -> None:
        client, server = make_pair(rate_limit=RateLimit(messages=1, policy="drop"))
        send(client, range(50))
        assert await client.ping() >= 0
        send(client, range(50))
        await client.aclose(4000, "enough")
        assert (server.close_code, server.statistics().rate_dropped) == (4000, 99)

    async def test_bytes_without_starving_who_goes_on(self, autojump_clock, make_pair) -> None:
        got = []
        client, server = make_pair(
            server=hubws.Callbacks(on_message=lambda _, message: got.append(message)),
            rate_limit=RateLimit(bytes=1000, policy="drop"),
        )
        for _ in range(80):  # 4000 bytes a second for 20 seconds
            client.send_nowait(bytes(992))
            await trio.sleep(0.25)
        assert 20 <= len(got) <= 22
        assert server.statistics().rate_dropped == 80 - len(got)


class TestClose:
    @pytest.mark.parametrize("style", ["callbacks", "iterate"])
    async def test_over_the_rate_ends_the_connection(
        self, autojump_clock, make_pair, style
    ) -> None:
        got: list[str | bytes] = []
        errors = []
        client, server = make_pair(
            server=hubws.Callbacks(
                on_message=(lambda _, message: got.append(message))
                if style == "callbacks"
                else None,
                on_error=lambda _, error: errors.append(error),
            ),
            rate_limit=RateLimit(messages=4, policy="close"),
        )
        send(client, range(4))
        await settled()
        assert server.state is hubws.State.OPEN
        await trio.sleep(0.25)
        send(client, range(4, 9))
        await client.wait_closed()
        await server.wait_closed()
        if style == "iterate":
            got += [await server.receive() for _ in range(5)]
        assert got == [b"0", b"1", b"2", b"3", b"4"]
        assert (client.close_code, client.close_reason) == (1008, "more than 4 messages a second")
        (error,) = errors
        assert isinstance(error, hubws.RemoteProtocolError)
        assert error.code == 1008

    async def test_bytes_of_control_frames_too(self, autojump_clock, make_pair) -> None:
        client, _ = make_pair(rate_limit=RateLimit(bytes=1000, policy="close"))
        for _ in range(40):
            client.pong(bytes(120))
        await client.wait_closed()
        assert (client.close_code, client.close_reason) == (1008, "more than 1000 bytes a second")

    async def test_within_the_rate_for_ever(self, autojump_clock, make_pair) -> None:
        client, server = make_pair(rate_limit=RateLimit(messages=4, bytes=64, policy="close"))
        for number in range(100):
            send(client, range(number, number + 1))
            assert await server.receive() == b"%d" % number
            await trio.sleep(0.25)
        assert server.state is hubws.State.OPEN


class Memory(trio.abc.Listener[trio.abc.Stream]):
    def __init__(self) -> None:
        self.dial, self._streams = trio.open_memory_channel[trio.abc.Stream](10)

    async def accept(self) -> trio.abc.Stream:
        return await self._streams.receive()

    async def aclose(self) -> None:
        await self._streams.aclose()


@pytest.fixture
async def dial(start, nursery) -> AsyncIterator[Callable[..., Awaitable[hubws.Connection]]]:
    """Connect, over memory, to a server with the given options."""
    scope = trio.CancelScope()

    async def hold(task_status, options) -> None:
        listener = Memory()
        await start(listeners=[listener], **options)
        ours, theirs = trio.testing.memory_stream_pair()
        listener.dial.send_nowait(theirs)
        with scope:
            async with hubws.connect("ws://memory/", stream=ours) as connection:
                task_status.started(connection)
                await trio.sleep_forever()

    async def dial(**options) -> hubws.Connection:
        return await nursery.start(lambda task_status: hold(task_status, options))

    yield dial
    scope.cancel()


class TestTimes:
    async def test_idle(self, autojump_clock, dial) -> None:
        client = await dial(idle_timeout=8)
        began = trio.current_time()
        await client.wait_closed()
        assert trio.current_time() - began == pytest.approx(8, abs=1e-6)
        assert (client.close_code, client.close_reason) == (1001, "idle for 8 s")
        assert client.closure.normal

    async def test_pings_and_pongs_don_t_count(self, autojump_clock, dial) -> None:
        client = await dial(idle_timeout=8, keepalive_interval=1)
        began = trio.current_time()

        async def chatter() -> None:
            while True:
                client.pong()
                await client.ping()
                await trio.sleep(0.5)

        with pytest.raises(ExceptionGroup), trio.fail_after(20):  # of ConnectionClosed
            async with trio.open_nursery() as nursery:
                nursery.start_soon(chatter)
        await client.wait_closed()
        assert trio.current_time() - began == pytest.approx(8, abs=0.5)
        assert client.close_reason == "idle for 8 s"

    async def test_messages_do(self, autojump_clock, dial) -> None:
        client = await dial(idle_timeout=8)
        began = trio.current_time()
        await trio.sleep(7)
        await client.send("still here")
        await trio.sleep(4)
        await client.send("and here")
        await client.wait_closed()
        # looked at every 2 seconds: 11 is seen at 12
        assert trio.current_time() - began == pytest.approx(20, abs=1e-6)

    async def test_lifetime(self, autojump_clock, dial) -> None:
        client = await dial(max_lifetime=8)
        began = trio.current_time()
        for number in range(7):
            await client.send(f"{number}")
            assert await client.receive() == f"{number}"
            await trio.sleep(1)
        await client.wait_closed()
        assert trio.current_time() - began == pytest.approx(8, abs=1e-6)
        assert (client.close_code, client.close_reason) == (1001, "lifetime")

    async def test_held_back_is_not_dead(self, autojump_clock, dial) -> None:
        options = {"keepalive_interval": 1.3, "keepalive_timeout": 1.3, "idle_timeout": 4}
        client = await dial(rate_limit=RateLimit(messages=1), **options)
        for number in range(16):
            await client.send(f"{number}")
        await trio.sleep(14)  # held back until 15, so that no pong comes through
        assert client.state is hubws.State.OPEN
        assert [await client.receive() for _ in range(16)] == [f"{number}" for number in range(16)]
        await client.wait_closed()
        assert client.close_reason == "idle for 4 s"

    async def test_timers_go_with_the_connection(self, autojump_clock, dial) -> None:
        client = await dial(max_lifetime=20, idle_timeout=20, rate_limit=RateLimit(messages=1))
        await client.send("one")
        await client.aclose()
        await trio.sleep(25)
        assert client.close_code == 1000


class TestWiring:
    @pytest.mark.parametrize("tls", [False, True])
    async def test_of_a_server(self, start, raw, tls, server_tls, client_tls) -> None:
        server = await start(
            rate_limit=RateLimit(messages=2, policy="close"),
            ssl_context=server_tls if tls else None,
        )
        client = await raw(server, client_tls if tls else None, upgraded=True)
        for number in range(2):
            await client.send(hubws.Frame.text(f"{number}"))
            assert (await client.frame()).payload == b"%d" % number
        await client.send(hubws.Frame.text("2"))
        assert (await client.frame()).close_code == 1008

    async def test_off_costs_nothing(self, autojump_clock, make_pair) -> None:
        """The endpoint is the plain one, and there is no limiter."""
        client, server = make_pair()
        for connection in (client, server):
            assert type(connection._endpoint).__name__ == "Endpoint"
            assert connection._limiter is None
