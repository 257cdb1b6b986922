"""A client that outlives its connections: sending, receiving, and its end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

import hubws
from hubws import Connection, ConnectionClosed, State
from hubws.client.backoff import Backoff
from hubws.client.offline import Offline
from hubws.client.reconnect import Lost, Opened
from hubws.client.resuming import BACKLOG, Client, open_client
from tests.client.service import Events, Service

QUICK = Backoff(initial=0, maximum=0)


@pytest.fixture
async def events() -> Events:
    return Events()


class Heard:
    """A handler that takes down what it hears, by connection."""

    def __init__(self) -> None:
        self.by_connection: list[list[Any]] = []

    async def __call__(self, connection: Connection) -> None:
        messages: list[Any] = []
        self.by_connection.append(messages)
        async for message in connection:
            messages.append(message)  # noqa: PERF401 - as they come

    @property
    def all(self) -> list[Any]:
        return [message for messages in self.by_connection for message in messages]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await trio.sleep(1)


async def cut(running: Service, client: Client) -> None:
    """End its connection without a word; the client has noticed."""
    connection = client.connection
    running.cut()
    await connection.wait_closed()


class TestSending:
    async def test_goes_over_one_connection_after_another(self, clock, service, events) -> None:
        heard = Heard()
        running = await service(heard)
        async with open_client(running.url, on_event=events) as client:
            for n in range(25):
                await client.send(f"{n}")
                if n % 10 == 9:
                    await until(lambda: len(heard.all) == n + 1)  # noqa: B023 - called at once
                    await running.stop()
                    await until(lambda: client.connection is None)
                    await running.start()
            await until(lambda: len(heard.all) == 25)
        assert heard.all == [f"{n}" for n in range(25)]
        assert len(heard.by_connection) == client.statistics().opened == 3
        assert client.state is State.CLOSED

    async def test_waits_for_a_connection_in_order(self, clock, service) -> None:
        heard = Heard()
        running = await service(heard)
        await running.stop()
        async with open_client(running.url) as client:
            for n in range(100):
                await client.send(n.to_bytes(2))
                client.send_nowait(f"{n}")
            assert client.statistics().waiting == 200
            assert client.state is State.CONNECTING
            assert client.connection is None
            await running.start()
            await until(lambda: client.statistics().waiting == 0)
            assert client.state is State.OPEN
            await client.send("the last")
        assert heard.all[-1] == "the last"
        assert heard.all[:-1:2] == [n.to_bytes(2) for n in range(100)]
        assert heard.all[1::2] == [f"{n}" for n in range(100)]

    @pytest.mark.parametrize(
        ("policy", "expected"),
        [
            ("drop_oldest", ["7", "8", "9"]),
            ("drop_newest", ["0", "1", "2"]),
            ("latest", ["9"]),
        ],
    )
    async def test_policy_of_what_waits(self, clock, service, policy, expected) -> None:
        heard = Heard()
        running = await service(heard)
        await running.stop()
        async with open_client(running.url, offline=Offline(messages=3, policy=policy)) as client:
            for n in range(10):
                await client.send(f"{n}")
            await running.start()
            await until(lambda: bool(heard.all))
        assert heard.all == expected
        statistics = client.statistics()
        assert statistics.dropped + statistics.conflated == 10 - len(expected)

    async def test_block(self, clock, service) -> None:
        heard = Heard()
        running = await service(heard)
        await running.stop()
        sent = []

        async def send() -> None:
            for n in range(10):
                await client.send(f"{n}")
                sent.append(n)

        async with (
            open_client(running.url, offline=Offline(messages=3)) as client,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(send)
            await trio.sleep(5)
            assert sent == [0, 1, 2]
            with pytest.raises(trio.WouldBlock, match=r"3 messages of 9 bytes"):
                client.send_nowait("x")
            await running.start()
        assert heard.all == [f"{n}" for n in range(10)]

    async def test_disconnect(self, clock, service) -> None:
        running = await service()
        await running.stop()
        offline = Offline(messages=3, policy="disconnect")
        async with open_client(running.url, offline=offline) as client:
            for n in range(3):
                await client.send(f"{n}")
            with pytest.raises(OverflowError, match=r"3 messages"):
                await client.send("3")
            assert client.state is State.CLOSED
            with pytest.raises(OverflowError, match=r"3 messages"):
                await client.receive()
            with pytest.raises(OverflowError, match=r"3 messages"):
                client.send_nowait("4")

    async def test_nothing_waits(self, clock, service) -> None:
        """With `offline=None` it is the sender that waits."""
        heard = Heard()
        running = await service(heard)
        await running.stop()
        async with (
            open_client(running.url, offline=None) as client,
            trio.open_nursery() as nursery,
        ):
            with pytest.raises(trio.WouldBlock, match=r"there is no connection"):
                client.send_nowait("x")
            with trio.move_on_after(1):
                await client.send("cancelled")
            nursery.start_soon(client.send, "patient")
            await trio.sleep(1)
            assert client.statistics().waiting == 0
            await running.start()
        assert heard.all == ["patient"]

    async def test_mistakes(self, clock, service) -> None:
        running = await service()
        async with open_client(running.url) as client:
            for _ in range(2):
                with pytest.raises(TypeError):
                    await client.send(5)  # type: ignore[arg-type]
                with pytest.raises(hubws.LocalProtocolError):
                    await client.send("\ud800")
                await until(lambda: client.state is State.OPEN)

    async def test_cancelled_has_sent_nothing(self, clock, service) -> None:
        heard = Heard()
        running = await service(heard)
        await running.stop()
        async with open_client(running.url, offline=Offline(messages=1)) as client:
            await client.send("one")
            with trio.move_on_after(1) as scope:
                await client.send("two")
            assert scope.cancelled_caught
            await running.start()
            await client.send("three")
        assert heard.all == ["one", "three"]

    async def test_connection_that_takes_nothing_more(self, clock, service, events) -> None:
        """What is sent while a connection is ending goes over the next."""
        heard = Heard()
        running = await service(heard)
        async with open_client(running.url, on_event=events) as client:
            for n in range(2):
                await until(lambda: client.connection is not None)
                client.connection.close_nowait(1001)
                if n:
                    client.send_nowait(f"{n}")
                else:
                    await client.send(f"{n}")
                assert client.statistics().waiting == 1
                await until(lambda: client.statistics().waiting == 0)
        assert heard.by_connection == [[], ["0"], ["1"]]

    async def test_nobody_waits_for_a_connection_that_takes_nothing_more(
        self, clock, service
    ) -> None:
        heard = Heard()
        running = await service(heard)
        async with open_client(running.url, offline=None) as client:
            await client.send("0")
            client.connection.close_nowait(1001)
            with pytest.raises(trio.WouldBlock, match=r"there is no connection"):
                client.send_nowait("1")
            await client.send("2")
        assert heard.by_connection == [["0"], ["2"]]

    async def test_lost_again_while_what_waited_is_sent(self, clock, service) -> None:
        """What a connection did not take goes first over the next."""
        heard: list[Any] = []

        async def one(connection: Connection) -> None:
            if not heard:
                heard.append(await connection.receive())
                connection.abort()
            else:
                async for message in connection:
                    heard.append(message)  # noqa: PERF401 - as they come

        running = await service(one, inbox_bytes=1)
        await running.stop()
        large = 300_000  # what fits into the buffers of the sockets is lost with the connection
        async with open_client(
            running.url, offline=Offline(bytes=100_000_000), outbox_bytes=1
        ) as client:
            for n in range(100):
                await client.send(bytes([n]) * large)
            await running.start()
            await until(lambda: client.statistics().waiting == 0)
        numbers = [message[0] for message in heard]
        assert numbers == sorted(set(numbers))
        assert numbers[0] == 0
        assert numbers[-1] == 99
        lost = 100 - len(numbers)
        assert lost >= client.statistics().undelivered >= 1
        assert lost < 60


class TestReceiving:
    async def test_in_order_over_connections(self, clock, service, events) -> None:
        numbers = iter(range(1000))

        async def three(connection: Connection) -> None:
            for _ in range(3):
                await connection.send(f"{next(numbers)}")
            await connection.aclose(1001)

        running = await service(three)
        received = []
        async with open_client(running.url, on_event=events) as client:
            async for message in client:
                received.append(message)
                if len(received) == 30:
                    break
        assert received == [f"{n}" for n in range(30)]
        assert len(events.of(Opened)) >= 10

    async def test_who_does_not_receive_gets_no_more_connections(
        self, clock, service, events
    ) -> None:
        """And loses nothing of what came."""
        numbers = iter(range(1000))

        async def one(connection: Connection) -> None:
            await connection.send(f"{next(numbers)}")
            await connection.aclose(1001)

        running = await service(one)
        async with open_client(running.url, on_event=events, backoff=QUICK) as client:
            await trio.sleep(50)
            assert len(events.of(Opened)) == BACKLOG
            assert [await client.receive() for _ in range(50)] == [f"{n}" for n in range(50)]

    async def test_with_callbacks(self, clock, service, events) -> None:
        async def one(connection: Connection) -> None:
            await connection.send("hello")
            await connection.aclose(1001)

        running = await service(one)
        messages = []
        callbacks = hubws.Callbacks(on_message=lambda _connection, one: messages.append(one))
        backoff = Backoff(maximum=0.5)
        async with open_client(running.url, callbacks=callbacks, backoff=backoff) as client:
            await until(lambda: len(messages) > BACKLOG + 5)
            with pytest.raises(RuntimeError, match=r"go to its on_message callback"):
                await client.receive()

    async def test_cancelled_loses_nothing(self, clock, service) -> None:
        running = await service()
        received = []
        async with open_client(running.url) as client:
            for n in range(20):
                with trio.move_on_after(0.5):
                    await client.receive()
                    raise AssertionError
                await client.send(f"{n}")
                received.append(await client.receive())
                if n % 5 == 0:
                    await cut(running, client)
        assert received == [f"{n}" for n in range(20)]

    async def test_several_receivers(self, clock, service) -> None:
        running = await service()
        received: list[str] = []

        async def receive() -> None:
            async for message in client:
                received.append(message)
                if len(received) == 20:
                    nursery.cancel_scope.cancel()

        async with open_client(running.url) as client, trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(receive)
            for n in range(20):
                await client.send(f"{n}")
                if n % 7 == 0:
                    await until(lambda: len(received) == n + 1)  # noqa: B023 - called at once
                    await cut(running, client)
        assert sorted(received, key=int) == [f"{n}" for n in range(20)]


class TestResumption:
    async def test_open_comes_first_and_take_decides(self, clock, service, events) -> None:
        """A login on each connection, and an answer that the application does not see."""
        heard = Heard()

        async def greet(connection: Connection) -> None:
            assert await connection.receive() == "login"
            await connection.send("welcome")
            await connection.send("news")
            await heard(connection)

        class Login:
            async def open(self, connection: Connection) -> None:
                await connection.send("login")

            def take(self, connection: Connection, message: str | bytes) -> Any:
                assert connection in [event.connection for event in events.of(Opened)]
                return None if message == "welcome" else {"text": message}

        running = await service(greet)
        async with open_client(running.url, resume=Login(), on_event=events) as client:
            await client.send("waiting")
            assert await client.receive() == {"text": "news"}
            await until(lambda: heard.all == ["waiting"])
            running.cut()
            assert await client.receive() == {"text": "news"}
        assert heard.by_connection == [["waiting"], []]

    async def test_what_take_raises_receive_does(self, clock, service) -> None:
        class Strict:
            async def open(self, connection: Connection) -> None:
                pass

            def take(self, connection: Connection, message: str | bytes) -> Any:
                if message == "bad":
                    raise ZeroDivisionError
                return message

        running = await service()
        async with open_client(running.url, resume=Strict()) as client:
            for message in ("bad", "good"):
                await client.send(message)
            with pytest.raises(ZeroDivisionError):
                await client.receive()
            assert await client.receive() == "good"

    async def test_what_open_raises_ends_the_client(self, clock, service) -> None:
        class Broken:
            async def open(self, connection: Connection) -> None:
                raise ZeroDivisionError

            def take(self, connection: Connection, message: str | bytes) -> Any:
                return message

        running = await service()
        async with open_client(running.url, resume=Broken()) as client:
            with pytest.raises(ZeroDivisionError):
                await client.receive()
            with pytest.raises(ZeroDivisionError):
                await client.send("x")
            assert client.state is State.CLOSED
        await until(lambda: not running.server.connections)

    async def test_lost_while_opening(self, clock, service, events) -> None:
        class Slow:
            async def open(self, connection: Connection) -> None:
                await connection.send("login")
                if len(events.of(Opened)) < 3:
                    running.cut()
                    while True:
                        await connection.send("more")
                        await trio.sleep(1)

            def take(self, connection: Connection, message: str | bytes) -> Any:
                return message

        heard = Heard()
        running = await service(heard)
        async with open_client(running.url, resume=Slow(), on_event=events) as client:
            await client.send("x")
            await until(lambda: "x" in heard.all)
        assert heard.by_connection[-1] == ["login", "x"]
        assert len(heard.by_connection) == 3


class TestEnd:
    async def test_server_that_closes_in_order(self, clock, service) -> None:
        async def greet(connection: Connection) -> None:
            await connection.send("hello")

        running = await service(greet)
        async with open_client(running.url) as client:
            assert [message async for message in client] == ["hello"]
            with pytest.raises(ConnectionClosed) as caught:
                await client.receive()
            assert caught.value.closure.normal
            with pytest.raises(ConnectionClosed):
                await client.send("x")
            with pytest.raises(StopAsyncIteration):
                await anext(client)

    async def test_close_code_that_is_final(self, clock, service) -> None:
        async def refuse(connection: Connection) -> None:
            await connection.send("no")
            await connection.aclose(4003, "banned")

        running = await service(refuse)
        async with open_client(running.url) as client:
            assert await anext(client) == "no"
            with pytest.raises(ConnectionClosed, match=r"banned"):
                await anext(client)

    async def test_gives_up(self, clock, service, events) -> None:
        running = await service()
        await running.stop()
        async with open_client(running.url, backoff=Backoff(retries=3), on_event=events) as client:
            await client.send("never")
            with pytest.raises(OSError, match=r"."):
                await client.receive()
            with pytest.raises(OSError, match=r"."):
                await client.send("x")
        assert len(events.of(Lost)) == 4
        assert client.statistics().waiting == 1

    async def test_senders_in_line_are_told(self, clock, service) -> None:
        running = await service()
        await running.stop()

        async def send() -> None:
            with pytest.raises(OSError, match=r"."):
                await client.send("x")

        async with (
            open_client(
                running.url, backoff=Backoff(retries=3), offline=Offline(messages=1)
            ) as client,
            trio.open_nursery() as nursery,
        ):
            await client.send("one")
            nursery.start_soon(send)
            nursery.start_soon(send)

    async def test_block_ends(self, clock, service) -> None:
        """What waits is sent if there is a connection; then it is closed in order."""
        heard = Heard()
        running = await service(heard)
        await running.stop()
        async with open_client(running.url) as client:
            for n in range(100):
                await client.send(f"{n}")
            await running.start()
            await until(lambda: client.connection is not None)
            connection = client.connection
        assert heard.all == [f"{n}" for n in range(100)]
        assert connection.closure.normal
        assert client.state is State.CLOSED

    async def test_block_ends_while_offline(self, clock, service) -> None:
        running = await service()
        await running.stop()
        began = trio.current_time()
        async with open_client(running.url) as client:
            await client.send("x")
            await trio.sleep(3)
        assert trio.current_time() - began < 4
        assert client.statistics().waiting == 1

    async def test_after_aclose(self, clock, service) -> None:
        running = await service()
        async with open_client(running.url) as client:
            for n in range(3):
                await client.send(f"{n}")
            await until(lambda: client.connection is not None)
            connection = client.connection
            await until(lambda: connection.statistics().inbox_messages == 3)
            await client.aclose()
            assert [message async for message in client] == ["0", "1", "2"]
            with pytest.raises(trio.ClosedResourceError):
                await client.receive()
            with pytest.raises(trio.ClosedResourceError):
                await client.send("x")
            await client.aclose()

    async def test_while_closing(self, clock, service) -> None:
        running = await service()
        async with open_client(running.url) as client, trio.open_nursery() as nursery:
            await until(lambda: client.connection is not None)
            nursery.start_soon(client.aclose)
            while client.state is State.OPEN:
                await trio.lowlevel.checkpoint()
            assert client.state is State.CLOSING
            with pytest.raises(trio.ClosedResourceError):
                client.send_nowait("x")

    async def test_block_left_by_an_exception(self, clock, service) -> None:
        running = await service()
        kept: list[Client] = []

        async def fail() -> None:
            async with open_client(running.url) as client:
                await until(lambda: client.connection is not None)
                kept.append(client)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert kept[0].state is State.CLOSED
        await until(lambda: not running.server.connections)

    async def test_events_that_raise_end_it(self, clock, service) -> None:
        running = await service()
        async with open_client(running.url, on_event=lambda _event: 1 / 0) as client:
            with pytest.raises(ZeroDivisionError):
                await client.receive()

    async def test_close_is_not_waited_for_for_ever(self, clock, service) -> None:
        """A server that reads nothing: what waits is given up when the connection is."""

        async def deaf(connection: Connection) -> None:
            await trio.sleep_forever()

        running = await service(deaf, inbox_bytes=1)
        await running.stop()
        async with open_client(
            running.url, offline=Offline(bytes=10**9), write_timeout=7, keepalive_interval=None
        ) as client:
            for _ in range(100):
                await client.send(bytes(1_000_000))
            await running.start()
            await until(lambda: client.connection is not None)
        assert client.statistics().waiting > 10
        with suppress(trio.ClosedResourceError):
            await client.receive()
