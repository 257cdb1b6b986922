"""Requests and their answers: both ways, in any order, cancelled, late, too many, cut off."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

import hubws
from hubws import Callbacks, Connection, ConnectionClosed, RequestFailed
from hubws.connection.exchange import (
    Answer,
    Call,
    Exchange,
    Failure,
    decode_json,
    encode_json,
)
from hubws.connection.request_reader import open_requests
from hubws.connection.requests import Requests, RequestStatistics, requests_of
from tests.connection.pairs import Pairs

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3
    ),
    max_leaves=8,
)  # fmt: skip
IDS = st.integers() | st.text(st.characters(exclude_categories=["Cs"]))


async def twice(body: Any) -> Any:
    return body * 2


class TestWireForm:
    @given(
        st.builds(Call, IDS, JSON)
        | st.builds(Answer, IDS, JSON)
        | st.builds(Failure, IDS, st.text(st.characters(exclude_categories=["Cs"])))
    )
    def test_decodes_what_was_encoded(self, exchange: Exchange) -> None:
        assert decode_json(encode_json(exchange)) == exchange

    @given(st.text() | st.binary() | JSON.map(json.dumps))
    def test_anything_else_is_none_of_ours(self, message: str | bytes) -> None:
        exchange = decode_json(message)
        assert exchange is None or decode_json(encode_json(exchange)) == exchange

    @pytest.mark.parametrize(
        "message",
        [
            "", "{", "{}", "hello", "[" * 100_000, '{"a":' * 100_000, b'{"request":1,"body":2}',
            '{"request":1}', '{"request":true,"body":1}', '{"request":[],"body":1}',
            '{"request":1.0,"body":1}', '{"request":null,"body":1}', '{"response":{},"body":1}',
            '{"request":1,"body":2,"more":3}', '{"response":1,"error":2}',
            '{"response":1,"body":1,"error":"x"}', '{"response":1}', ' {"request":1,"body":2}',
            '{"request":' + "9" * 5000 + ',"body":1}',
        ],
    )  # fmt: skip
    def test_near_misses(self, message: str | bytes) -> None:
        assert decode_json(message) is None

    @pytest.mark.parametrize("body", [math.nan, math.inf, object(), {1: {2}}, b"bytes"])
    def test_what_json_cannot_express(self, body: Any) -> None:
        with pytest.raises((TypeError, ValueError)):
            encode_json(Call(1, body))


class TestAsking:
    async def test_both_ways_at_once(self, make_pair: Pairs) -> None:
        client, server = make_pair()

        async def named(name: str, body: Any) -> Any:
            return [name, body]

        async with (
            open_requests(client, functools.partial(named, "client")) as ask_server,
            open_requests(server, functools.partial(named, "server")) as ask_client,
            trio.open_nursery() as nursery,
        ):

            async def ask(requests: Requests, number: int, name: str) -> None:
                assert await requests.request({"n": number}) == [name, {"n": number}]

            for number in range(40):
                nursery.start_soon(ask, ask_server, number, "server")
                nursery.start_soon(ask, ask_client, number, "client")
        expected = RequestStatistics(
            in_flight=0, sent=40, answered=40, timed_out=0, unknown=0,
            serving=0, served=40, refused=0,
        )  # fmt: skip
        assert ask_server.statistics() == ask_client.statistics() == expected

    async def test_answers_in_any_order(
        self, make_memory_pair: Pairs, autojump_clock: trio.testing.MockClock
    ) -> None:
        client, server = make_memory_pair()
        done = []

        async def slow(delay: float) -> float:
            await trio.sleep(delay)
            return delay

        async with open_requests(client) as requests, open_requests(server, slow):

            async def ask(delay: float) -> None:
                done.append(await requests.request(delay))

            async with trio.open_nursery() as nursery:
                for delay in (5, 1, 4, 2, 3):
                    nursery.start_soon(ask, delay)
        assert done == [1, 2, 3, 4, 5]

    async def test_other_messages_pass_in_order(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        async with open_requests(client) as mine, open_requests(server, twice) as theirs:
            for number in range(50):
                await client.send(f"message {number}")
                assert await mine.request(number) == 2 * number
                await server.send(b"binary")
                assert await mine.receive() == b"binary"
            await client.send('{"request": "without a body"}')
            client.close_nowait()
            passed = [message async for message in theirs]
        assert passed == [f"message {number}" for number in range(50)] + [
            '{"request": "without a body"}'
        ]

    async def test_a_failure_is_told(
        self, make_pair: Pairs, caplog: pytest.LogCaptureFixture
    ) -> None:
        client, server = make_pair()

        async def refuse(body: Any) -> Any:
            raise RequestFailed(f"no {body}")

        async with open_requests(client) as requests, open_requests(server, refuse) as serving:
            with pytest.raises(RequestFailed, match=r"^no coffee$"):
                await requests.request("coffee")
        assert serving.statistics().served == requests.statistics().answered == 1
        assert caplog.records == []

    @pytest.mark.logs_errors
    @pytest.mark.parametrize("result", ["raises", "returns what JSON can't express"])
    async def test_an_exception_is_logged_and_not_told(
        self, make_socket_pair: Pairs, caplog: pytest.LogCaptureFixture, result: str
    ) -> None:
        client, server = make_socket_pair()

        async def fail(_body: Any) -> Any:
            if result == "raises":
                raise ZeroDivisionError("secret")
            return object()

        async with open_requests(client) as requests, open_requests(server, fail):
            for _ in range(2):
                with pytest.raises(RequestFailed, match=r"^internal error$"):
                    await requests.request(1)
        assert len([record for record in caplog.records if record.exc_info]) == 2
        assert server.closure is None

    async def test_nobody_serves(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        async with open_requests(client) as requests, open_requests(server) as others:
            with pytest.raises(RequestFailed, match="not served here"):
                await requests.request(1)
            assert others.statistics().refused == 1

    async def test_encode_that_raises_sends_nothing(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        async with open_requests(client) as requests, open_requests(server, twice):
            with pytest.raises(TypeError):
                await requests.request(object())
            assert await requests.request(2) == 4
            assert requests.statistics().sent == 1
            assert requests.statistics().in_flight == 0


class TestGivingUp:
    async def test_timeouts(
        self, make_memory_pair: Pairs, autojump_clock: trio.testing.MockClock
    ) -> None:
        """Each at its time; what comes late is counted, and harms nobody."""
        client, server = make_memory_pair()

        async def slow(delay: float) -> str:
            await trio.sleep(delay)
            return "late"

        async with open_requests(client, timeout=3) as requests, open_requests(server, slow):
            start = trio.current_time()
            with pytest.raises(trio.TooSlowError):
                await requests.request(5)
            assert trio.current_time() - start == pytest.approx(3)
            with pytest.raises(trio.TooSlowError):
                await requests.request(5, timeout=1)
            assert requests.statistics().in_flight == 0
            assert await requests.request(4, timeout=math.inf) == "late"
            await trio.sleep(10)
            statistics = requests.statistics()
        assert (statistics.timed_out, statistics.unknown, statistics.answered) == (2, 2, 1)

    async def test_an_outer_timeout_is_no_timeout_of_ours(
        self, make_memory_pair: Pairs, autojump_clock: trio.testing.MockClock
    ) -> None:
        client, _ = make_memory_pair()
        async with open_requests(client) as requests:
            with trio.move_on_after(1):
                await requests.request(1)
            assert requests.statistics().timed_out == 0
            assert requests.statistics().in_flight == 0

    @pytest.mark.parametrize("turns", range(12))
    async def test_cancelled_at_every_point(self, make_socket_pair: Pairs, turns: int) -> None:
        """After any number of turns of the scheduler: an answer or nothing, and no trace of it."""
        client, server = make_socket_pair()
        outcome = []
        async with (
            open_requests(client, max_in_flight=1) as requests,
            open_requests(server, twice) as theirs,
        ):
            with trio.CancelScope() as scope:

                async def cancel() -> None:
                    for _ in range(turns):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel)
                    outcome.append(await requests.request(21))
            assert outcome in ([], [42])
            with trio.fail_after(10):
                assert await requests.request(3) == 6
                await trio.testing.wait_all_tasks_blocked()
            mine, served = requests.statistics(), theirs.statistics()
        assert mine.in_flight == served.serving == 0
        assert mine.answered + mine.unknown == served.served == mine.sent
        assert mine.answered == 1 + len(outcome) or mine.unknown == 0

    async def test_cancelled_while_the_outbox_is_full(self, make_socket_pair: Pairs) -> None:
        client, _ = make_socket_pair(start_server=False, outbox_messages=1)
        async with open_requests(client) as requests:
            with trio.move_on_after(0.05):
                while True:
                    await client.send(bytes(100_000))
            with trio.move_on_after(0.05) as scope:
                await requests.request(1)
            assert scope.cancelled_caught
            assert requests.statistics().in_flight == requests.statistics().sent == 0

    async def test_late_and_unknown_answers(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        async with open_requests(client) as requests:
            for request_id in (0, -1, "x", 10**30):
                await server.send(encode_json(Answer(request_id, None)))
                await server.send(encode_json(Failure(request_id, "no")))
            await server.send("the end")
            assert await requests.receive() == "the end"
            assert requests.statistics().unknown == 8

    async def test_an_answer_on_another_connection_is_unknown(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        other_client, other_server = make_pair()
        async with open_requests(client) as requests, open_requests(other_client) as other:
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    assert await requests.request("?") == "the right one"

                nursery.start_soon(ask)
                call = decode_json(await server.receive())
                assert isinstance(call, Call)
                await other_server.send(encode_json(Answer(call.id, "the wrong one")))
                await other_server.send("done")
                assert await other.receive() == "done"
                await server.send(encode_json(Answer(call.id, "the right one")))
                await server.send(encode_json(Answer(call.id, "once more")))
            await server.send("done")
            assert await requests.receive() == "done"
        assert requests.statistics().unknown == other.statistics().unknown == 1


class TestBounds:
    async def test_requests_in_flight(
        self, make_memory_pair: Pairs, autojump_clock: trio.testing.MockClock
    ) -> None:
        client, server = make_memory_pair()
        most = 0

        async def slow(_body: Any) -> None:
            nonlocal most
            most = max(most, theirs.statistics().serving)
            await trio.sleep(1)

        async with (
            open_requests(client, max_in_flight=3) as requests,
            open_requests(server, slow) as theirs,
        ):
            start = trio.current_time()
            async with trio.open_nursery() as nursery:
                for number in range(9):
                    nursery.start_soon(requests.request, number)
                await trio.sleep(0.5)
                assert requests.statistics().in_flight == 3
                with pytest.raises(trio.TooSlowError):
                    await requests.request("no room", timeout=0.1)
            assert trio.current_time() - start == pytest.approx(3)
        assert most == 3
        assert requests.statistics().sent == 9

    async def test_requests_served(
        self, make_memory_pair: Pairs, autojump_clock: trio.testing.MockClock
    ) -> None:
        """Beyond the bound they are refused at once, and others go on."""
        client, server = make_memory_pair()
        outcomes: list[str] = []

        async def slow(_body: Any) -> str:
            await trio.sleep(1)
            return "served"

        async with (
            open_requests(client) as requests,
            open_requests(server, slow, max_serving=2) as theirs,
        ):

            async def ask() -> None:
                try:
                    outcomes.append(await requests.request(1))
                except RequestFailed as failed:
                    outcomes.append(str(failed))

            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(ask)
            statistics = theirs.statistics()
        assert outcomes == ["too many requests at once"] * 3 + ["served"] * 2
        assert (statistics.served, statistics.refused) == (2, 3)

    async def test_refused_without_room_for_saying_so(self, make_socket_pair: Pairs) -> None:
        _, server = make_socket_pair(start_client=False, outbox_messages=1)
        requests = Requests(server)
        with trio.move_on_after(0.05):
            while True:
                await server.send(bytes(100_000))
        assert requests.take(encode_json(Call(1, None)))
        server.abort()
        assert requests.take(encode_json(Call(2, None)))
        assert requests.statistics().refused == 2

    async def test_other_messages_hold_back_the_peer(
        self, make_memory_pair: Pairs, autojump_clock: trio.testing.MockClock
    ) -> None:
        client, server = make_memory_pair()
        async with open_requests(client, limit=2) as requests, open_requests(server, twice):
            for number in range(5):
                await server.send(str(number))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.TooSlowError):
                await requests.request(1, timeout=1)
            assert [await requests.receive() for _ in range(5)] == ["0", "1", "2", "3", "4"]
            assert await requests.request(2) == 4
            assert requests.statistics().unknown == 1


class TestTheEnd:
    @pytest.mark.parametrize("how", ["abort", "peer aborts", "peer closes", "closes"])
    async def test_fails_everybody(self, make_pair: Pairs, how: str) -> None:
        client, server = make_pair(close_timeout=0.1)
        caught: list[ConnectionClosed] = []
        async with open_requests(client) as requests:

            async def ask() -> None:
                with pytest.raises(ConnectionClosed) as raised:
                    await requests.request(1)
                caught.append(raised.value)

            with trio.fail_after(10):
                async with trio.open_nursery() as nursery:
                    for _ in range(3):
                        nursery.start_soon(ask)
                    for _ in range(3):
                        await server.receive()
                    if how == "abort":
                        client.abort()
                    elif how == "peer aborts":
                        server.abort()
                    elif how == "peer closes":
                        server.close_nowait(4000, "enough")
                    else:
                        client.close_nowait()
                    await client.wait_closed()
            with pytest.raises(ConnectionClosed):
                await requests.request(1)
            with pytest.raises(ConnectionClosed):
                await requests.receive()
        assert len(caught) == 3
        if how == "peer closes":
            assert {closed.code for closed in caught} == {4000}
        assert requests.statistics().in_flight == 0
        assert requests_of(client) is None

    @pytest.mark.parametrize(("code", "is_normal"), [(1000, True), (4000, False)])
    async def test_iteration_ends_as_that_of_the_connection(
        self, make_pair: Pairs, code: int, is_normal: bool
    ) -> None:
        client, server = make_pair()
        received = []
        async with open_requests(client) as requests:
            await server.send("last words")
            server.close_nowait(code)
            received.append(await anext(requests))
            with pytest.raises(StopAsyncIteration if is_normal else ConnectionClosed):
                await anext(requests)
            assert client.close_code == code
        assert received == ["last words"]

    async def test_of_the_block_leaves_the_connection_open(
        self, make_memory_pair: Pairs, autojump_clock: trio.testing.MockClock
    ) -> None:
        client, server = make_memory_pair()
        outcomes = []
        async with trio.open_nursery() as nursery, open_requests(client) as requests:

            async def ask() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await requests.request(1)
                outcomes.append("closed")

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
        assert outcomes == ["closed"]
        with pytest.raises(trio.ClosedResourceError):
            await requests.request(1)
        requests.close()
        await server.receive()
        await server.send("still there")
        assert await client.receive() == "still there"
        async with open_requests(client) as again, open_requests(server, twice):
            assert await again.request(1) == 2

    async def test_of_the_block_cancels_what_is_served(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        cancelled = trio.Event()

        async def forever(_body: Any) -> None:
            try:
                await trio.sleep_forever()
            finally:
                cancelled.set()

        async with trio.open_nursery() as nursery, open_requests(client) as requests:

            async def ask() -> None:
                with pytest.raises(ConnectionClosed):
                    await requests.request(1)

            async with open_requests(server, forever) as theirs:
                nursery.start_soon(ask)
                with trio.fail_after(10):
                    while not theirs.statistics().serving:
                        await trio.sleep(0.001)
                    await trio.testing.wait_all_tasks_blocked()
            assert cancelled.is_set()
            assert theirs.statistics().serving == 0
            server.abort()
            await client.wait_closed()

    async def test_of_the_connection_while_it_is_served(self, make_pair: Pairs) -> None:
        """Whoever serves may run into the end; that is no error."""
        client, server = make_pair()

        async def hang_up(body: Any) -> None:
            server.abort()
            if body == "raise":
                await server.send("x")

        for body in ("raise", "return"):
            async with open_requests(client) as requests, open_requests(server, hang_up) as theirs:
                with pytest.raises(ConnectionClosed):
                    await requests.request(body)
                await trio.testing.wait_all_tasks_blocked()
                assert theirs.statistics().serving == theirs.statistics().served == 0
            client, server = make_pair()

    async def test_errors_come_out_as_they_are(self, make_pair: Pairs) -> None:
        client, _ = make_pair()
        with pytest.raises(ZeroDivisionError):
            async with open_requests(client):
                raise ZeroDivisionError
        with trio.CancelScope() as scope:
            async with open_requests(client):
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught


class TestByHand:
    async def test_with_callbacks(self, make_socket_pair: Pairs) -> None:
        """No reading task: each message is offered to the requests."""
        seen: list[Any] = []

        def on_message(connection: Connection, message: str | bytes) -> None:
            requests = requests_of(connection)
            assert requests is not None
            if not requests.take(message):
                seen.append(message)

        callbacks = Callbacks(on_message=on_message)
        client, server = make_socket_pair(client=callbacks, server=callbacks)
        async with trio.open_nursery() as nursery:
            requests = Requests(client)
            Requests(server, twice, nursery)
            client.send_nowait("hello")
            assert await requests.request("la ") == "la la "
        assert seen == ["hello"]
        assert requests_of(client) is requests

    async def test_forms_of_ones_own(self, make_pair: Pairs) -> None:
        def encode(exchange: Exchange) -> bytes:
            return repr((type(exchange).__name__, *vars_of(exchange))).encode()

        def vars_of(exchange: Exchange) -> tuple[Any, Any]:
            return exchange.id, exchange.error if isinstance(exchange, Failure) else exchange.body

        def decode(message: str | bytes) -> Exchange | None:
            if not isinstance(message, bytes):
                return None
            name, request_id, body = eval(message)
            kinds: dict[str, Any] = {"Call": Call, "Answer": Answer, "Failure": Failure}
            return kinds[name](request_id, body)

        client, server = make_pair()
        async with (
            open_requests(client, encode=encode, decode=decode) as requests,
            open_requests(server, twice, encode=encode, decode=decode),
        ):
            assert await requests.request((1, 2)) == (1, 2, 1, 2)
            with pytest.raises(SyntaxError):
                decode(b"(")

    @pytest.mark.logs_errors
    @pytest.mark.parametrize("broken", ["decode", "encode"])
    async def test_forms_that_raise_close_with_1011(
        self, make_socket_pair: Pairs, broken: str
    ) -> None:
        def fail(_: Any) -> Any:
            raise ZeroDivisionError

        client, server = make_socket_pair()
        arguments: dict[str, Any] = {broken: fail}
        async with open_requests(client) as requests, open_requests(server, twice, **arguments):
            with pytest.raises(ConnectionClosed) as raised, trio.fail_after(10):
                await requests.request(1)
        assert raised.value.code == 1011

    async def test_one_for_each_connection(self, make_pair: Pairs) -> None:
        client, _ = make_pair()
        requests = Requests(client)
        with pytest.raises(ValueError, match="has its Requests already"):
            Requests(client)
        requests.close()
        Requests(client).close()

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ({"timeout": -1}, ValueError),
            ({"timeout": math.nan}, ValueError),
            ({"max_in_flight": 0}, ValueError),
            ({"max_serving": 1.5}, ValueError),
            ({"serve": twice}, TypeError),
        ],
    )
    async def test_bad_arguments(
        self, make_pair: Pairs, arguments: dict[str, Any], error: type[Exception]
    ) -> None:
        client, _ = make_pair()
        with pytest.raises(error):
            Requests(client, **arguments)
        assert requests_of(client) is None
        requests = Requests(client)
        with pytest.raises(ValueError, match="timeout"):
            await requests.request(1, timeout=-1)
        assert requests.statistics().sent == 0

    async def test_without_anybody_holding_on_to_it(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        Requests(server)  # the connection keeps it
        async with open_requests(client) as requests:
            await requests.connection.send("x")
            assert requests_of(server) is not None


@pytest.fixture
async def echo_url() -> AsyncIterator[str]:
    async def serve_requests(connection: Connection) -> None:
        async with open_requests(connection, twice) as requests:
            async for message in requests:
                await connection.send(message)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(hubws.serve, serve_requests, "127.0.0.1", 0)
        yield f"ws://127.0.0.1:{server.port}/"
        nursery.cancel_scope.cancel()


Step = Callable[[Requests], Awaitable[object]]


async def test_over_tcp(echo_url: str) -> None:
    """Many requests and other messages at once, some of them cancelled: each gets its own answer."""
    async with hubws.connect(echo_url) as connection, open_requests(connection) as requests:
        answers: dict[int, int] = {}

        async def ask(number: int) -> None:
            with trio.CancelScope() as scope:
                if number % 7 == 0:
                    scope.cancel()
                answers[number] = await requests.request(number)

        async with trio.open_nursery() as nursery:
            for number in range(500):
                nursery.start_soon(ask, number)
                if number % 10 == 0:
                    await connection.send(f"message {number}")
        assert answers == {number: 2 * number for number in range(500) if number % 7}
        echoed = [await requests.receive() for _ in range(50)]
        assert echoed == [f"message {number}" for number in range(0, 500, 10)]
        assert requests.statistics().in_flight == 0
