"""The hub: membership, topics, broadcast, slow members, round-trip times."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

import hubws
from hubws import Connection, ConnectionClosed, Delivery, Hub, LocalProtocolError, Policy, State
from hubws.hub.topics import Topics
from tests.connection.pairs import Pairs


@pytest.fixture
async def make_pair() -> AsyncIterator[Pairs]:
    pairs = Pairs("socket")
    yield pairs
    await pairs.end()


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with hubws.open_hub() as hub:
        yield hub


class TestMembership:
    async def test_while_the_block_runs(self, hub: Hub, make_pair: Pairs) -> None:
        _, connection = make_pair()
        async with hub.member(connection, "a", "b"):
            assert list(hub.connections) == list(hub) == [connection]
            assert connection in hub
            assert sorted(hub.topics()) == sorted(hub.topics(connection)) == ["a", "b"]
            assert list(hub.members("a")) == [connection]
        assert len(hub) == 0
        assert list(hub.topics()) == list(hub.members("a")) == []

    async def test_ends_with_the_connection(self, hub: Hub, make_pair: Pairs) -> None:
        client, connection = make_pair()
        hub.register(connection, "a")
        client.abort()
        await connection.wait_closed()
        assert len(hub) == len(hub.topics()) == 0
        with pytest.raises(ConnectionClosed):
            hub.register(connection)

    async def test_registering_again_joins_more(self, hub: Hub, make_pair: Pairs) -> None:
        _, connection = make_pair()
        hub.register(connection, "a")
        hub.register(connection, "b")
        hub.join(connection, "c")
        hub.leave(connection, "a")
        hub.leave(connection, "never joined")
        assert sorted(hub.topics(connection)) == ["b", "c"]
        hub.unregister(connection)
        hub.unregister(connection)
        assert connection.state is State.OPEN

    @pytest.mark.parametrize(
        ("topic", "error"), [(1, TypeError), (None, TypeError), ("", ValueError)]
    )
    async def test_bad_topics_change_nothing(
        self, hub: Hub, make_pair: Pairs, topic: Any, error: type[Exception]
    ) -> None:
        _, connection = make_pair()
        with pytest.raises(error):
            hub.register(connection, "good", topic)
        assert len(hub) == 0
        hub.register(connection)
        for method in (hub.join, hub.leave):
            with pytest.raises(error):
                method(connection, topic)
        assert list(hub.topics()) == []

    async def test_joining_takes_membership(self, hub: Hub, make_pair: Pairs) -> None:
        _, connection = make_pair()
        with pytest.raises(ValueError, match="register it first"):
            hub.join(connection, "a")

    async def test_closed_hub_lets_go(self, make_pair: Pairs) -> None:
        _, connection = make_pair()
        async with hubws.open_hub() as hub:
            hub.register(connection)
        assert len(hub) == 0
        assert connection.state is State.OPEN
        with pytest.raises(RuntimeError, match="closed"):
            hub.register(connection)


class TestOpenHub:
    async def test_errors_come_out_unwrapped(self) -> None:
        with pytest.raises(ZeroDivisionError):
            async with hubws.open_hub(ping_interval=1):
                raise ZeroDivisionError

    async def test_can_be_cancelled(self) -> None:
        with trio.CancelScope() as scope:
            async with hubws.open_hub(ping_interval=1):
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught

    async def test_ends_its_tasks(self) -> None:
        with trio.fail_after(5):
            async with hubws.open_hub() as hub:
                hub.nursery.start_soon(trio.sleep_forever)

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            ({"policy": "block"}, "never waits"),
            ({"policy": "nonsense"}, "not a policy"),
            ({"ping_interval": 0}, "over 0"),
            ({"ping_interval": -1.0}, "over 0"),
        ],
    )
    async def test_bad_arguments(self, arguments: dict[str, Any], match: str) -> None:
        with pytest.raises(ValueError, match=match):
            async with hubws.open_hub(**arguments):
                pass


class TestBroadcast:
    async def test_reaches_all_or_a_topic_or_some(self, hub: Hub, make_pair: Pairs) -> None:
        pairs = [make_pair() for _ in range(4)]
        servers = [server for _, server in pairs]
        for index, server in enumerate(servers):
            hub.register(server, "even" if index % 2 == 0 else "odd")
        assert hub.broadcast("all") == Delivery(4, 0, 0)
        assert hub.broadcast(b"even", topic="even") == Delivery(2, 0, 0)
        assert hub.broadcast("others", exclude=servers[0]) == Delivery(3, 0, 0)
        assert hub.broadcast("few", to=servers[2:], exclude=[servers[3]]) == Delivery(1, 0, 0)
        assert hub.broadcast("nobody", topic="none") == Delivery(0, 0, 0)
        for server in servers:
            server.close_nowait()
        received = [[message async for message in client] for client, _ in pairs]
        assert received == [
            ["all", b"even"],
            ["all", "others"],
            ["all", b"even", "others", "few"],
            ["all", "others"],
        ]
        assert hub.statistics() == hubws.HubStatistics(0, 0, 5, 10, 0, 0, {})

    async def test_passes_over_who_is_ending(self, hub: Hub, make_pair: Pairs) -> None:
        _, server = make_pair()
        hub.register(server)
        server.close_nowait()
        assert hub.broadcast("late") == Delivery(0, 0, 0)

    async def test_to_clients_is_masked(self, hub: Hub, make_pair: Pairs) -> None:
        client, server = make_pair()
        hub.register(client)
        assert hub.broadcast("from a client") == Delivery(1, 0, 0)
        assert await server.receive() == "from a client"

    @pytest.mark.parametrize(
        ("message", "error"), [(1, TypeError), (None, TypeError), ("\ud800", LocalProtocolError)]
    )
    async def test_of_no_message_reaches_nobody(
        self, hub: Hub, make_pair: Pairs, message: Any, error: type[Exception]
    ) -> None:
        client, server = make_pair()
        hub.register(server)
        with pytest.raises(error):
            hub.broadcast(message)
        with pytest.raises(ValueError, match="policy"):
            hub.broadcast("x", policy="nonsense")
        with pytest.raises(TypeError, match="to one"):
            hub.broadcast("x", topic="t", to=[server])
        server.close_nowait()
        assert [received async for received in client] == []

    async def test_works_from_another_thread(self, hub: Hub, make_pair: Pairs) -> None:
        client, server = make_pair()
        hub.register(server)

        def in_thread() -> Delivery:
            return trio.from_thread.run_sync(hub.broadcast, "from a thread")

        assert await trio.to_thread.run_sync(in_thread) == Delivery(1, 0, 0)
        assert await client.receive() == "from a thread"


class TestSlowMembers:
    async def test_one_stalled_among_many_delays_nobody(self, hub: Hub, make_pair: Pairs) -> None:
        """1,000 members, one of which reads nothing: all the others get everything."""
        stalled_client, stalled = make_pair(start_client=False, outbox_messages=8)
        hub.register(stalled)
        pairs = [make_pair() for _ in range(999)]
        for _, server in pairs:
            hub.register(server)
        message = bytes(20_000)
        deliveries = []
        for _ in range(20):
            deliveries.append(hub.broadcast(message))
            with trio.fail_after(30):
                for client, _ in pairs:
                    assert await client.receive() == message
        assert [delivery.sent for delivery in deliveries[-5:]] == [999] * 5
        assert sum(delivery.disconnected for delivery in deliveries) == 1
        assert stalled.closure is not None
        assert stalled.closure.sent == hubws.Close(1013, "slow consumer")
        await stalled.wait_closed()
        assert stalled not in hub
        assert stalled_client.state is State.OPEN

    @pytest.mark.parametrize(
        ("policy", "arrived", "dropped"),
        [
            ("drop_oldest", ["on its way", "direct", "4"], 3),
            ("drop_newest", ["on its way", "direct", "1"], 3),
        ],
    )
    async def test_policies_drop_broadcasts_not_what_was_sent(
        self, hub: Hub, policy: str, arrived: list[str], dropped: int
    ) -> None:
        pairs = Pairs("lockstep")
        client, server = pairs(start_client=False, outbox_messages=2)
        hub.register(server)
        server.send_nowait("on its way")
        await trio.testing.wait_all_tasks_blocked()
        server.send_nowait("direct")
        deliveries = [hub.broadcast(str(number), policy=policy) for number in range(1, 5)]
        assert server.statistics().dropped == dropped
        if policy == "drop_newest":
            assert deliveries == [Delivery(1, 0, 0)] + [Delivery(0, 1, 0)] * 3
        client.begin()
        server.close_nowait()
        assert [message async for message in client] == arrived
        await pairs.end()

    async def test_drop_oldest_spares_messages_of_other_policies(self, hub: Hub) -> None:
        pairs = Pairs("lockstep")
        client, server = pairs(start_client=False, outbox_messages=3)
        hub.register(server)
        server.send_nowait("on its way")
        await trio.testing.wait_all_tasks_blocked()
        for policy in ("disconnect", "drop_newest", "drop_oldest"):
            hub.broadcast(policy, policy=policy)
        assert hub.broadcast("newer", policy="drop_oldest").sent == 1
        client.begin()
        server.close_nowait()
        arrived = [message async for message in client]
        assert arrived == ["on its way", "disconnect", "drop_newest", "newer"]
        await pairs.end()

    async def test_latest_keeps_the_newest_of_each_key(self, hub: Hub) -> None:
        pairs = Pairs("lockstep")
        client, server = pairs(start_client=False)
        hub.register(server, "prices")
        server.send_nowait("on its way")
        await trio.testing.wait_all_tasks_blocked()
        for number in range(3):
            for key in ("a", "b"):
                hub.broadcast(f"{key}{number}", topic="prices", policy=Policy.LATEST, key=key)
        hub.broadcast("t0", topic="prices", policy="latest")
        hub.broadcast("t1", topic="prices", policy="latest")
        assert server.statistics().conflated == 5
        client.begin()
        server.close_nowait()
        assert [message async for message in client] == ["on its way", "a2", "b2", "t1"]
        await pairs.end()

    async def test_stalled_member_costs_bounded_memory(self, hub: Hub, make_pair: Pairs) -> None:
        _, server = make_pair(start_client=False, outbox_bytes=100_000)
        hub.register(server)
        for _ in range(500):
            hub.broadcast(bytes(10_000), policy="drop_oldest")
            await trio.lowlevel.checkpoint()
        assert server.queued_bytes <= 100_000 + 10_014
        assert server.statistics().dropped > 400


class TestRoundTrips:
    async def test_pings_all_and_reports_pongs(self, make_pair: Pairs) -> None:
        seen: list[tuple[Connection, bytes, float | None]] = []
        async with hubws.open_hub(on_pong=lambda *pong: seen.append(pong)) as hub:
            pairs = [make_pair() for _ in range(3)]
            for client, server in pairs:
                hub.register(server, "t")
                assert client.state is State.OPEN
            assert hub.ping() == hub.ping(topic="t") == 3
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert len(seen) == 6
            assert all(connection.rtt.samples == 2 for _, connection in pairs)
            assert seen[-1][2] == seen[-1][0].rtt.last
            pairs[0][0].pong(b"unasked")
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert seen[-1] == (pairs[0][1], b"unasked", None)
            hub.unregister(pairs[0][1])
            await pairs[0][1].ping()
            assert len(seen) == 7

    async def test_pings_at_its_interval(self, autojump_clock: trio.testing.MockClock) -> None:
        times: list[float] = []
        pairs = Pairs("memory")
        _, server = pairs()
        start = trio.current_time()
        async with hubws.open_hub(
            ping_interval=2, on_pong=lambda *_: times.append(trio.current_time() - start)
        ) as hub:
            hub.register(server)
            await trio.sleep(7)
        assert [round(time) for time in times] == [0, 2, 4, 6]
        await pairs.end()

    async def test_ping_passes_over_who_has_gone(self, hub: Hub, make_pair: Pairs) -> None:
        _, server = make_pair()
        hub.register(server)
        server.close_nowait()
        assert hub.ping() == 0


class TopicsMachine(RuleBasedStateMachine):
    """Topics against a set of pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.topics = Topics()
        self.model: set[tuple[object, str]] = set()

    connections = Bundle("connections")

    @rule(target=connections)
    def new(self) -> object:
        return object()

    @rule(connection=connections, topic=st.sampled_from("abcd"))
    def join(self, connection: Any, topic: str) -> None:
        self.topics.join(connection, topic)
        self.model.add((connection, topic))

    @rule(connection=connections, topic=st.sampled_from("abcd"))
    def leave(self, connection: Any, topic: str) -> None:
        self.topics.leave(connection, topic)
        self.model.discard((connection, topic))

    @rule(connection=consumes(connections))
    def leave_all(self, connection: Any) -> None:
        for name in "abcd":
            self.topics.leave(connection, name)
        self.model = {pair for pair in self.model if pair[0] is not connection}

    @invariant()
    def agree(self) -> None:
        names = {topic for _, topic in self.model}
        assert set(self.topics.names(None)) == names
        assert len(self.topics) == len(names)
        for name in "abcd":
            expected = {connection for connection, topic in self.model if topic == name}
            assert set(self.topics.members(name)) == expected
        for connection, _ in self.model:
            joined = {topic for other, topic in self.model if other is connection}
            assert set(self.topics.names(connection)) == joined  # type: ignore[arg-type]


TestTopics = TopicsMachine.TestCase
TestTopics.settings = hypothesis_settings(max_examples=30, stateful_step_count=30, deadline=None)
