"""One connection after another: when the next comes, when none does, and what is told of it."""

from __future__ import annotations

import gc
import itertools
import random
from contextlib import aclosing, suppress

import pytest
import trio
import trio.testing

import hubws
from hubws import Close, Connection, ConnectionClosed, HandshakeRefused, Response
from hubws.client.backoff import Backoff
from hubws.client.reconnect import Connecting, Connections, Lost, Opened, Waiting, reconnect
from hubws.testing.plan import Fault, Kind, Plan
from tests.client.service import Events, echo
from tests.faults.proxy import Proxy

FIVE_SECONDS = Backoff(stable_after=5)


def whole() -> float:
    """Draws the longest wait each time."""
    return 1.0


@pytest.fixture
async def nobody() -> str:
    """The URL of a port on which nobody listens."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    return f"ws://127.0.0.1:{port}/"


@pytest.fixture
async def events() -> Events:
    return Events()


async def none_of(connections: Connections) -> None:
    """Iterate, in vain."""
    async for connection in connections:
        raise AssertionError(connection)


async def each_closed(connections: Connections) -> None:
    """Iterate, and wait each time for what the server does."""
    async for connection in connections:
        await connection.wait_closed()


class TestSchedule:
    async def test_first_at_once_then_doubled(self, clock, nobody, events) -> None:
        """The whole schedule, to the microsecond, without jitter."""
        backoff = Backoff(retries=9)
        with pytest.raises(OSError, match=r"."):
            await none_of(reconnect(nobody, backoff=backoff, on_event=events, draw=whole))
        waits = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]
        assert [event.seconds for event in events.of(Waiting)] == waits
        at = [0, *itertools.accumulate(waits)]
        assert events.times(Connecting) == [round(time, 6) for time in at]
        assert [event.attempt for event in events.of(Connecting)] == list(range(1, 11))
        assert events.kinds == [*["Connecting", "Lost", "Waiting"] * 9, "Connecting", "Lost"]
        assert all(isinstance(event.error, OSError) for event in events.of(Lost))

    async def test_full_jitter(self, clock, nobody, events) -> None:
        chance, same = random.Random(7), random.Random(7)
        backoff = Backoff(initial=1, factor=3, maximum=20, retries=6)
        with pytest.raises(OSError, match=r"."):
            await none_of(reconnect(nobody, backoff=backoff, on_event=events, draw=chance.random))
        waits = [same.random() * bound for bound in (1, 3, 9, 20, 20, 20)]
        assert [event.seconds for event in events.of(Waiting)] == waits
        at = [0, *itertools.accumulate(waits)]
        assert events.times(Connecting) == [round(time, 6) for time in at]

    async def test_no_retries(self, clock, nobody, events) -> None:
        with pytest.raises(OSError, match=r"."):
            await none_of(reconnect(nobody, backoff=Backoff(retries=0), on_event=events))
        assert events.kinds == ["Connecting", "Lost"]

    async def test_begins_anew_after_a_stable_time(self, clock, service, events) -> None:
        """Connections that last 5 seconds are successes, those that last less are failures."""
        running = await service()
        lasting = iter([1, 4.99, 5.01, 1, 60, 0])
        opened = 0
        async for connection in reconnect(
            running.url, backoff=FIVE_SECONDS, on_event=events, draw=whole
        ):
            opened += 1
            if (seconds := next(lasting, None)) is None:
                break
            await trio.sleep(seconds)
            running.cut()
            await connection.wait_closed()
        waits = [event.seconds for event in events.of(Waiting)]
        assert waits == [0.1, 0.2, 0.1, 0.2, 0.1, 0.2]
        assert opened == 7
        assert [event.attempt for event in events.of(Connecting)] == [1, 2, 3, 2, 3, 2, 3]

    async def test_stable_time_ends_with_the_connection(self, clock, service, events) -> None:
        """However long the application then takes to come back for another."""
        running = await service()
        async for connection in reconnect(
            running.url, backoff=FIVE_SECONDS, on_event=events, draw=whole
        ):
            if len(events.of(Opened)) == 3:
                break
            running.cut()
            await connection.wait_closed()
            await trio.sleep(100)
        assert [event.seconds for event in events.of(Waiting)] == [0.1, 0.2]

    async def test_limit_counts_failures_in_a_row(self, clock, service, events) -> None:
        running = await service()
        backoff = Backoff(retries=2, stable_after=0)

        async def five_times() -> None:
            async for _ in reconnect(running.url, backoff=backoff, on_event=events, draw=whole):
                running.cut()
                if len(events.of(Opened)) == 5:
                    await running.stop()

        with pytest.raises(OSError, match=r"."):
            await five_times()
        assert len(events.of(Opened)) == 5
        assert [event.attempt for event in events.of(Connecting)] == [1, 2, 2, 2, 2, 2, 3]

    async def test_cancelled_while_waiting_it_waits_for_the_rest(
        self, clock, service, events
    ) -> None:
        running = await service()
        await running.stop()
        backoff = Backoff(initial=10, maximum=10)
        connections = reconnect(running.url, backoff=backoff, on_event=events, draw=whole)
        for _ in range(3):
            with trio.move_on_after(3):
                await anext(connections)
                raise AssertionError
        await running.start()
        await anext(connections)
        assert events.times(Connecting) == [0, 10]
        await connections.aclose()


class TestHints:
    async def test_retry_after_of_a_refusal(self, clock, service, events) -> None:
        answers = iter([("Retry-After", "30"), ("Retry-After", "0"), ("X", "y"), None])

        def authenticate(_request: hubws.Request) -> Response | None:
            header = next(answers)
            return None if header is None else Response.refusal(503, "full", [header])

        running = await service(authenticate=authenticate)
        async for _ in reconnect(running.url, on_event=events, draw=whole):
            break
        assert [round(event.seconds, 6) for event in events.of(Waiting)] == [30.1, 0.2, 0.4]
        assert isinstance(events.of(Lost)[0].error, HandshakeRefused)
        assert events.times(Connecting) == [0, 30.1, 30.3, 30.7]

    async def test_at_most_the_longest(self, clock, service, events) -> None:
        answers = iter([Response.refusal(503, "full", [("Retry-After", "999999999")]), None])
        running = await service(authenticate=lambda _request: next(answers))
        backoff = Backoff(longest_hint=300)
        async for _ in reconnect(running.url, backoff=backoff, on_event=events, draw=whole):
            break
        assert events.times(Connecting) == [0, 300.1]

    async def test_server_that_drains(self, clock, service, events) -> None:
        running = await service(retry_after=2.5)
        async for connection in reconnect(running.url, on_event=events, draw=whole):
            if len(events.of(Opened)) == 2:
                break
            await running.stop(kill=False)
            assert connection.closure.retry_after == 2.5
            await running.start()
        (waiting,) = events.of(Waiting)
        assert waiting.seconds == 2.6


class TestWhatIsWorthIt:
    async def test_close_1000_ends_the_iteration(self, clock, service, events) -> None:
        async def greet(connection: Connection) -> None:
            await connection.send("hello")

        running = await service(greet)
        messages = []
        connections = reconnect(running.url, on_event=events)
        async for connection in connections:
            messages += [message async for message in connection]
        assert messages == ["hello"]
        assert events.kinds == ["Connecting", "Opened", "Lost"]
        assert events.of(Lost)[0].error.closure.normal
        with pytest.raises(StopAsyncIteration):
            await anext(connections)

    @pytest.mark.parametrize("code", [1002, 1008, 4003])
    async def test_other_codes_raise(self, clock, service, events, code) -> None:
        async def refuse(connection: Connection) -> None:
            await connection.aclose(code, "no")

        running = await service(refuse)
        connections = reconnect(running.url, on_event=events)
        with pytest.raises(ConnectionClosed, match=rf"{code} \(.*no") as caught:
            await each_closed(connections)
        assert caught.value is events.of(Lost)[0].error
        with pytest.raises(StopAsyncIteration):
            await anext(connections)

    @pytest.mark.parametrize("code", [1001, 1011, 1012, 1013, 1014])
    async def test_servers_that_will_be_back(self, clock, service, events, code) -> None:
        async def leave(connection: Connection) -> None:
            await connection.aclose(code)

        running = await service(leave)
        async for connection in reconnect(running.url, on_event=events):
            await connection.wait_closed()
            if len(events.of(Opened)) == 3:
                break
        assert [event.error.code for event in events.of(Lost)] == [code, code]

    @pytest.mark.parametrize("status", [401, 404])
    async def test_refused_for_good(self, clock, service, events, status) -> None:
        running = await service(authenticate=lambda _request: Response.refusal(status, "no"))
        with pytest.raises(HandshakeRefused, match=rf"{status}"):
            await none_of(reconnect(running.url, on_event=events))
        assert events.kinds == ["Connecting", "Lost"]

    async def test_rule_of_the_application(self, clock, service, events) -> None:
        codes = iter([4001, 4002, 4003])

        async def leave(connection: Connection) -> None:
            await connection.aclose(next(codes))

        def rule(error: Exception) -> bool:
            return isinstance(error, ConnectionClosed) and error.code != 4003

        running = await service(leave)
        with pytest.raises(ConnectionClosed, match=r"4003"):
            await each_closed(reconnect(running.url, on_event=events, worth_retrying=rule))
        assert len(events.of(Opened)) == 3

    async def test_certificate(self, clock, service, events, server_tls) -> None:
        running = await service(ssl_context=server_tls)
        url = running.url.replace("ws:", "wss:")
        with pytest.raises(hubws.HandshakeError, match=r"certificate verify failed"):
            await none_of(reconnect(url, on_event=events))
        assert events.kinds == ["Connecting", "Lost"]

    async def test_mistakes_of_the_application(self, clock, events) -> None:
        with pytest.raises(hubws.LocalProtocolError):
            await none_of(reconnect("http//nonsense", on_event=events))
        with pytest.raises(TypeError, match=r"a stream serves one connection"):
            reconnect("ws://127.0.0.1/", stream=trio.testing.memory_stream_pair()[0])
        with pytest.raises(ZeroDivisionError):
            await none_of(reconnect("ws://127.0.0.1/", on_event=lambda _event: 1 / 0))

    async def test_dead_link_is_noticed(self, clock, service, events) -> None:
        """Nothing passes any more and nothing says so; the pong that does not come tells."""
        running = await service()
        plans = iter([Plan((Fault(400, Kind.STALL),), (Fault(400, Kind.STALL),)), Plan()])
        proxy = Proxy(lambda: next(plans), running.port)
        async with trio.open_nursery() as nursery:
            await nursery.start(proxy.run)
            async for connection in reconnect(
                f"ws://127.0.0.1:{proxy.port}/",
                on_event=events,
                keepalive_interval=20,
                keepalive_timeout=5,
            ):
                with suppress(ConnectionClosed):
                    await connection.send("x" * 400)
                    assert await connection.receive() == "x" * 400
                    break
            nursery.cancel_scope.cancel()
        (lost,) = events.of(Lost)
        assert isinstance(lost.error.closure.error, TimeoutError)
        assert lost.error.closure.sent == Close(1011, "keepalive: no pong")
        assert 25 <= events.times(Lost)[0] <= 26.5


class TestLoop:
    async def test_the_ten_lines_of_the_docstring(self, clock, service) -> None:
        """The loop as it is recommended, over a server that is restarted under it."""
        running = await service()
        seen = []

        async def restart() -> None:
            for count in range(1, 5):
                while len(seen) < count:
                    await trio.sleep(1)
                await running.stop()
                await trio.sleep(3)
                await running.start()
            scope.cancel()

        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(restart)
                async for connection in reconnect(running.url):
                    try:
                        await connection.send("hello")
                        async for message in connection:
                            seen.append(message)  # noqa: PERF401 - as in the docstring
                    except ConnectionClosed:
                        continue
        assert seen == ["hello"] * 4

    async def test_going_on_closes_the_last(self, clock, service, events) -> None:
        running = await service()
        last = None
        async for connection in reconnect(running.url, on_event=events):
            assert last is None or last.closure.normal
            assert len(running.server.connections) == 1
            if len(events.of(Opened)) == 4:
                break
            last = connection
        assert [event.error.closure.sent for event in events.of(Lost)] == [Close(1000)] * 3
        assert len(events.of(Waiting)) == 3

    async def test_break_closes(self, clock, service) -> None:
        running = await service()
        async for one in reconnect(running.url):
            connection = one
            break
        await connection.wait_closed()
        assert connection.closure.normal
        assert connection.closure.sent == Close(1000)

    async def test_exception_closes(self, clock, service) -> None:
        running = await service()

        async def fail() -> None:
            async for connection in reconnect(running.url):
                kept.append(connection)
                raise ZeroDivisionError

        kept: list[Connection] = []
        with suppress(ZeroDivisionError):
            await fail()
        await kept[0].wait_closed()
        assert kept[0].closure.normal

    async def test_cancelling_closes(self, clock, service) -> None:
        running = await service()
        with trio.move_on_after(1):
            async for connection in reconnect(running.url):
                await connection.receive()
        await connection.wait_closed()
        assert connection.closure.normal

    async def test_block_waits_for_the_end(self, clock, service) -> None:
        running = await service()
        async with reconnect(running.url) as connections:
            connection = await anext(connections)
            assert connection.state is hubws.State.OPEN
        assert connection.closure.normal
        with pytest.raises(StopAsyncIteration):
            await anext(connections)

    async def test_block_left_by_an_exception_ends_it_at_once(self, clock, service) -> None:
        running = await service()
        kept: list[Connection] = []

        async def fail() -> None:
            async with reconnect(running.url) as connections:
                async for connection in connections:
                    kept.append(connection)
                    raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert kept[0].closure.sent is None
        assert kept[0].state is hubws.State.CLOSED

    async def test_aclose(self, clock, service) -> None:
        running = await service()
        async with aclosing(reconnect(running.url)) as connections:
            connection = await anext(connections)
        assert connection.closure.normal
        await connections.aclose()

    async def test_unused(self, clock, service) -> None:
        running = await service()
        connections = reconnect(running.url)
        await connections.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(connections)

    async def test_forgotten_in_a_cycle(self, clock, service) -> None:
        """Whoever collects it, the connection is closed by the run that it belongs to."""
        running = await service()
        connections = reconnect(running.url)
        connection = await anext(connections)
        cycle: list[object] = [connections]
        cycle.append(cycle)
        del connections, cycle
        await trio.to_thread.run_sync(gc.collect)
        await connection.wait_closed()
        assert connection.closure.normal

    async def test_forgotten_after_the_run(self) -> None:
        kept: list[Connections] = []

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                server = await nursery.start(hubws.serve, echo, "127.0.0.1", 0)
                kept.append(reconnect(f"ws://127.0.0.1:{server.port}/"))
                await anext(kept[0])
                nursery.cancel_scope.cancel()

        await trio.to_thread.run_sync(trio.run, main)
        assert kept.pop() is not None
        gc.collect()

    async def test_restart_loses_and_doubles_nothing_that_was_answered(
        self, clock, service, events
    ) -> None:
        """Numbered messages, each sent until it is answered, over a server that comes and goes."""
        heard = []

        async def number(connection: Connection) -> None:
            async for message in connection:
                if message not in heard:
                    heard.append(message)
                await connection.send(message)

        running = await service(number)
        left = [str(n) for n in range(40)]
        answered = []

        async def restart() -> None:
            while True:
                await trio.sleep(0.9)
                await running.stop()
                await trio.sleep(0.3)
                await running.start()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(restart)
            async for connection in reconnect(running.url, on_event=events):
                with suppress(ConnectionClosed):
                    while left:
                        await connection.send(left[0])
                        answered.append(await connection.receive())
                        assert answered[-1] == left.pop(0)
                        await trio.sleep(0.1)
                    break
            nursery.cancel_scope.cancel()
        assert answered == heard == [str(n) for n in range(40)]
        assert len(events.of(Opened)) > 2
