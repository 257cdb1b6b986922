"""Clients that come back to topics of a hub: every message exactly once, or a gap that is told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import hubws
from hubws import Connection, Envelope, Hub, Position, PositionLost, RequestFailed, Retention
from hubws.client.backoff import Backoff
from hubws.client.reconnect import Event, Opened
from hubws.client.resuming import Client, open_client
from hubws.hub.resumption import TopicLost, TopicPositions, serve_recovery
from hubws.testing.plan import Fault, Kind, Plan
from tests.connection.pairs import Pairs
from tests.faults.proxy import Proxy

QUICK = Backoff(initial=0, maximum=0)


@pytest.fixture
async def make_pair() -> AsyncIterator[Pairs]:
    pairs = Pairs("socket")
    yield pairs
    await pairs.end()


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    """One that keeps five messages; the test has a minute."""
    with trio.fail_after(60):
        async with hubws.open_hub() as hub:
            hub.configure("news.*", history=Retention(messages=5))
            yield hub


def told(message: str | bytes) -> Any:
    assert isinstance(message, str)
    return json.loads(message)


class TestServing:
    async def ask(self, hub: Hub, server: Connection, **topics: Any) -> None:
        message = json.dumps({"recover": {f"news.{name}": at for name, at in topics.items()}})
        assert await serve_recovery(hub, server, message)

    async def test_from_now_on(self, hub: Hub, make_pair: Pairs) -> None:
        client, server = make_pair()
        hub.register(server)
        before = hub.broadcast("before", topic="news.a").position
        await self.ask(hub, server, a=None)
        hub.broadcast("after", topic="news.a")
        assert told(await client.receive()) == {"recovered": "news.a", "position": str(before)}
        assert hubws.unwrap(await client.receive()).message == "after"

    async def test_what_was_missed(self, hub: Hub, make_pair: Pairs) -> None:
        client, server = make_pair()
        hub.register(server)
        first, _, last = [hub.broadcast(f"{n}", topic="news.a").position for n in range(3)]
        await self.ask(hub, server, a=str(first), b=None)
        assert hubws.unwrap(await client.receive()).message == "1"
        assert hubws.unwrap(await client.receive()).message == "2"
        assert told(await client.receive()) == {"recovered": "news.a", "position": str(last)}
        nothing = str(hub.position("news.b"))
        assert told(await client.receive()) == {"recovered": "news.b", "position": nothing}
        assert set(hub.topics(server)) == {"news.a", "news.b"}

    async def test_lost(self, hub: Hub, make_pair: Pairs) -> None:
        client, server = make_pair()
        hub.register(server)
        positions = [hub.broadcast(f"{n}", topic="news.a").position for n in range(7)]
        await self.ask(hub, server, a=str(positions[0]))
        hub.broadcast("after", topic="news.a")
        assert told(await client.receive()) == {
            "lost": "news.a",
            "position": str(positions[0]),
            "oldest": str(positions[1]),
            "newest": str(positions[6]),
        }
        assert hubws.unwrap(await client.receive()).message == "after"

    @pytest.mark.parametrize(
        ("topic", "position", "error"),
        [
            ("other", None, r"'other' has no history"),
            ("news.a", "x", "a position is written epoch:offset, not 'x'"),
            ("news.a", 7, "a position is written epoch:offset, not 7"),
            ("", None, "topic"),
            ("news.secret", None, "may not join 'news.secret'"),
        ],
    )
    async def test_refused(
        self, make_pair: Pairs, topic: str, position: object, error: str
    ) -> None:
        client, server = make_pair()
        async with hubws.open_hub(may_join=lambda _, topic: topic != "news.secret") as hub:
            hub.configure("news.*", history=Retention())
            hub.register(server)
            assert await serve_recovery(hub, server, json.dumps({"recover": {topic: position}}))
            answer = told(await client.receive())
            assert set(answer) == {"refused", "error"}
            assert answer["refused"] == topic
            assert error in answer["error"]
            assert not hub.topics(server)

    async def test_already_there(self, hub: Hub, make_pair: Pairs) -> None:
        client, server = make_pair()
        hub.register(server, "news.*")
        await self.ask(hub, server, a=None)
        assert "gets messages of 'news.a' already" in told(await client.receive())["error"]

    async def test_no_member(self, hub: Hub, make_pair: Pairs) -> None:
        client, server = make_pair()
        await self.ask(hub, server, a=None)
        assert "is no member of this hub" in told(await client.receive())["error"]

    @pytest.mark.parametrize(
        "message", ["", "hello", "{", "[]", "{}", '{"recover": []}', '{"Recover": {}}', b"{}"]
    )
    async def test_other_messages(self, hub: Hub, make_pair: Pairs, message: str | bytes) -> None:
        _, server = make_pair()
        hub.register(server)
        assert not await serve_recovery(hub, server, message)
        assert server.statistics().outbox_messages == 0

    async def test_deeply_nested(self, hub: Hub, make_pair: Pairs) -> None:
        _, server = make_pair()
        assert not await serve_recovery(hub, server, '{"recover":' * 100_000)

    async def test_gone(self, hub: Hub, make_pair: Pairs) -> None:
        _, server = make_pair()
        hub.register(server)
        server.abort()
        with pytest.raises(hubws.ConnectionClosed):
            await self.ask(hub, server, a=None)


class Scripted:
    """A client's connection whose server says what the test says."""

    def __init__(self, make_pair: Pairs, **topics: str | None) -> None:
        self.connection, self.server = make_pair()
        self.positions = TopicPositions(topics)

    def take(self, message: str | bytes) -> Any:
        return self.positions.take(self.connection, message)

    def message(self, offset: int, topic: str = "a", epoch: str = "e") -> Any:
        return self.take(hubws.wrap(f"{offset}", topic, Position(epoch, offset)))

    def answer(self, **fields: str) -> Any:
        return self.take(json.dumps(fields))

    @property
    def is_leaving(self) -> bool:
        return self.connection.state is not hubws.State.OPEN


class TestTaking:
    async def test_asks_for_all_topics(self, make_pair: Pairs) -> None:
        scripted = Scripted(make_pair, a="e:7", b=None)
        await scripted.positions.open(scripted.connection)
        asked = told(await scripted.server.receive())
        assert asked == {"recover": {"a": "e:7", "b": None}}

    async def test_in_order_once(self, make_pair: Pairs) -> None:
        scripted = Scripted(make_pair, a="e:7")
        assert scripted.message(7) is None
        assert scripted.message(8) == Envelope("a", Position("e", 8), "8")
        assert scripted.message(8) is None
        assert scripted.message(9).message == "9"
        assert scripted.answer(recovered="a", position="e:9") is None
        assert scripted.positions.positions == {"a": Position("e", 9)}
        assert not scripted.is_leaving

    async def test_first_position_is_the_servers(self, make_pair: Pairs) -> None:
        scripted = Scripted(make_pair, a=None)
        assert scripted.answer(recovered="a", position="e:3") is None
        assert scripted.message(3) is None
        assert scripted.message(4).message == "4"
        assert not scripted.is_leaving

    async def test_others_as_they_are(self, make_pair: Pairs) -> None:
        scripted = Scripted(make_pair, a="e:7")
        for message in (
            "hello",
            b"\x01",
            '{"recovered": "b", "position": "e:1"}',
            '{"recovered": "a", "position": "nonsense"}',
            '{"recovered": "a", "position": 5}',
            '{"lost": "a", "position": "e:7", "oldest": "e:9", "newest": ""}',
            '{"refused": "b", "error": "no"}',
            hubws.wrap("x", "b", Position("e", 1)),
            hubws.wrap(b"x", "b", Position("e", 1)),
        ):
            assert scripted.take(message) == message
        assert not scripted.is_leaving

    @pytest.mark.parametrize("offset", [9, 10, 1000])
    async def test_a_hole_brings_it_back(self, make_pair: Pairs, offset: int) -> None:
        """Nothing is given out of order: the next connection recovers from the last position."""
        scripted = Scripted(make_pair, a="e:7")
        assert scripted.message(offset) is None
        assert scripted.positions.positions == {"a": Position("e", 7)}
        assert scripted.is_leaving
        assert scripted.connection.closure.sent.code == 1013
        assert scripted.message(8).message == "8"  # it may still come

    async def test_another_epoch_brings_it_back(self, make_pair: Pairs) -> None:
        scripted = Scripted(make_pair, a="e:7")
        assert scripted.message(8, epoch="f") is None
        assert scripted.is_leaving

    async def test_message_before_the_first_answer_brings_it_back(self, make_pair: Pairs) -> None:
        scripted = Scripted(make_pair, a=None)
        assert scripted.message(1) is None
        assert scripted.is_leaving

    async def test_answer_that_is_ahead_brings_it_back(self, make_pair: Pairs) -> None:
        scripted = Scripted(make_pair, a="e:7")
        assert scripted.answer(recovered="a", position="e:9") is None
        assert scripted.is_leaving

    async def test_longest_reason(self, make_pair: Pairs) -> None:
        scripted = Scripted(make_pair, a="e:7")
        assert scripted.message(2**53 - 1, epoch="E" * 64) is None
        assert "E" * 64 in scripted.connection.closure.sent.reason

    async def test_lost(self, make_pair: Pairs) -> None:
        scripted = Scripted(make_pair, a="e:7")
        with pytest.raises(
            PositionLost, match=r"the position e:7 is lost: the history beg"
        ) as caught:
            scripted.answer(lost="a", position="e:7", oldest="f:0", newest="f:2")
        assert isinstance(caught.value, TopicLost)
        assert caught.value.topic == "a"
        assert caught.value.position == Position("e", 7)
        assert (caught.value.oldest, caught.value.newest) == (Position("f", 0), Position("f", 2))
        assert scripted.message(3, epoch="f").message == "3"
        assert not scripted.is_leaving

    async def test_lost_a_position_that_was_passed_meanwhile(self, make_pair: Pairs) -> None:
        scripted = Scripted(make_pair, a="e:7")
        assert scripted.message(8).message == "8"
        assert scripted.answer(lost="a", position="e:7", oldest="e:9", newest="e:12") is None
        assert scripted.is_leaving  # to be told about 8, which may still be there

    async def test_refused(self, make_pair: Pairs) -> None:
        scripted = Scripted(make_pair, a="e:7")
        with pytest.raises(RequestFailed, match=r"^'a' is not recovered: because$"):
            scripted.answer(refused="a", error="because")

    async def test_positions_are_checked(self) -> None:
        with pytest.raises(ValueError, match=r"a position is written epoch:offset"):
            TopicPositions({"a": "nonsense"})


class News:
    """A server with a hub, and connections that are cut."""

    def __init__(self, hub: Hub, server: hubws.Server) -> None:
        self.hub = hub
        self.server = server
        self.url = f"ws://127.0.0.1:{server.port}/"

    def cut(self, *, orderly: bool = False) -> None:
        for connection in list(self.server.connections):
            if orderly:
                connection.close_nowait(1001)
            else:
                connection.abort()


@pytest.fixture
async def news(hub: Hub) -> AsyncIterator[News]:
    async with trio.open_nursery() as nursery:
        yield await start(hub, nursery)
        nursery.cancel_scope.cancel()


async def start(hub: Hub, nursery: trio.Nursery) -> News:
    async def handler(connection: Connection) -> None:
        async with hub.member(connection):
            async for message in connection:
                if not await serve_recovery(hub, connection, message):
                    await connection.send(message)

    return News(hub, await nursery.start(hubws.serve, handler, "127.0.0.1", 0))


async def take(client: Client, count: int) -> list[tuple[int, str | bytes]]:
    taken = []
    for _ in range(count):
        envelope = await client.receive()
        taken.append((envelope.position.offset, envelope.message))
    return taken


class TestTogether:
    async def test_goes_on_where_it_was_cut_off(self, news: News) -> None:
        positions = TopicPositions({"news.a": str(news.hub.position("news.a"))})
        async with open_client(news.url, resume=positions, backoff=QUICK) as client:
            for n in range(20):
                news.hub.broadcast(f"{n}", topic="news.a")
                if n % 3 == 1:
                    news.cut(orderly=n % 2 == 1)
                if n % 4 == 3:
                    assert await take(client, 4) == [(k + 1, f"{k}") for k in range(n - 3, n + 1)]
            await client.send("own")
            assert await client.receive() == "own"

    async def test_gap_is_told_and_the_rest_follows(self, news: News) -> None:
        positions = TopicPositions({"news.a": str(news.hub.position("news.a"))})
        async with open_client(news.url, resume=positions, backoff=QUICK) as client:
            news.hub.broadcast("0", topic="news.a")
            assert await take(client, 1) == [(1, "0")]
            news.cut()
            for n in range(1, 8):  # two more than are kept
                news.hub.broadcast(f"{n}", topic="news.a")
            with pytest.raises(TopicLost) as caught:
                await client.receive()
            assert caught.value.topic == "news.a"
            assert (caught.value.position.offset, caught.value.newest.offset) == (1, 8)
            news.hub.broadcast("8", topic="news.a")
            assert await take(client, 1) == [(9, "8")]

    async def test_restarted_server_is_a_gap(self, news: News) -> None:
        positions = TopicPositions({"news.a": "other:5"})
        async with open_client(news.url, resume=positions, backoff=QUICK) as client:
            with pytest.raises(TopicLost, match=r"other:5 is lost: the history began anew"):
                await client.receive()

    async def test_refused_topic_does_not_hinder_others(self, news: News) -> None:
        now = str(news.hub.position("news.a"))
        positions = TopicPositions({"other": None, "news.a": now})
        async with open_client(news.url, resume=positions, backoff=QUICK) as client:
            news.hub.broadcast("0", topic="news.a")
            with pytest.raises(RequestFailed, match=r"'other' has no history"):
                await client.receive()
            assert await take(client, 1) == [(1, "0")]

    async def test_what_a_policy_dropped_is_recovered(self, news: News) -> None:
        """A slow client under drop_oldest sees a hole, and comes back for what was in it."""
        news.hub.configure("news.*", history=Retention(bytes=10**9), policy="drop_oldest")
        opened = []

        def note(event: Event) -> None:
            if isinstance(event, Opened):
                opened.append(event.connection)

        now = str(news.hub.position("news.a"))
        async with open_client(
            news.url,
            resume=TopicPositions({"news.a": now}),
            backoff=QUICK,
            on_event=note,
            inbox_bytes=1,
        ) as client:
            while not news.hub.members("news.a"):
                await trio.lowlevel.checkpoint()
            for n in range(900):
                news.hub.broadcast(f"{n} ".ljust(30_000, "x"), topic="news.a")
                await trio.lowlevel.checkpoint()
            assert news.hub.statistics().dropped > 0
            taken = [int((await client.receive()).message.split()[0]) for _ in range(900)]
        assert taken == list(range(900))
        assert len(opened) > 1


# What happens, as a list of steps: publish to a topic, cut the connections, or let the client take
# some messages. Each published message must come exactly once and in order, whatever was cut when.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(0, 1)),
        st.tuples(st.just("cut"), st.booleans()),
        st.tuples(st.just("take"), st.integers(1, 5)),
        st.tuples(st.just("rest"), st.integers(1, 30)),
    ),
    max_size=60,
)


@given(STEPS)
@settings(max_examples=settings().max_examples // 2)
async def test_exactly_once_wherever_it_is_cut(steps: list[tuple[str, int]]) -> None:
    published: dict[str, list[str]] = {"news.a": [], "news.b": []}
    received: dict[str, list[str | bytes]] = {"news.a": [], "news.b": []}
    left = 0

    async with hubws.open_hub() as hub, trio.open_nursery() as nursery:
        hub.configure("news.*", history=Retention(messages=1000))
        news = await start(hub, nursery)
        positions = TopicPositions({topic: hub.position(topic) for topic in published})

        async def receive(count: int) -> None:
            for _ in range(count):
                envelope = await client.receive()
                received[envelope.topic].append(envelope.message)

        async with open_client(news.url, resume=positions, backoff=QUICK) as client:
            for step, value in steps:
                if step == "publish":
                    topic = ("news.a", "news.b")[value]
                    published[topic].append(f"{topic} {len(published[topic])}")
                    hub.broadcast(published[topic][-1], topic=topic)
                    left += 1
                elif step == "cut":
                    news.cut(orderly=bool(value))
                elif step == "take":
                    count = min(value, left)
                    left -= count
                    await receive(count)
                else:
                    for _ in range(value):
                        await trio.lowlevel.checkpoint()
            for topic, messages in published.items():  # behind which nothing else may be
                messages.append("the last")
                hub.broadcast("the last", topic=topic)
            await receive(left + 2)
        nursery.cancel_scope.cancel()
    assert received == published


FAULTS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 3000), st.sampled_from([Kind.RESET, Kind.END])),
    max_size=8,
)
"""For each connection, until one lasts: which direction breaks, after how many bytes, and how."""


@given(FAULTS)
@settings(max_examples=settings().max_examples // 2)
async def test_exactly_once_at_whatever_byte_it_breaks(
    faults: list[tuple[bool, int, Kind]],
) -> None:
    """The opening handshake included: its request and its answer are the first 200 bytes."""
    plans = iter([_plan(*fault) for fault in faults])
    with trio.fail_after(60):
        async with hubws.open_hub() as hub, trio.open_nursery() as nursery:
            hub.configure("news", history=Retention(messages=1000))
            news = await start(hub, nursery)
            proxy = Proxy(lambda: next(plans, Plan()), news.server.port)
            await nursery.start(proxy.run)
            positions = TopicPositions({"news": hub.position("news")})
            async with open_client(
                f"ws://127.0.0.1:{proxy.port}/", resume=positions, backoff=QUICK
            ) as client:
                for n in range(40):
                    hub.broadcast(f"{n}", topic="news")
                    if n % 4 == 3:
                        assert await take(client, 4) == [
                            (k + 1, f"{k}") for k in range(n - 3, n + 1)
                        ]
            nursery.cancel_scope.cancel()


def _plan(to_server: bool, at: int, kind: Kind) -> Plan:
    fault = (Fault(at, kind),)
    return Plan(fault) if to_server else Plan((), fault)
