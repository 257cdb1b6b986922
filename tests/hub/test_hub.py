"""The hub: membership, topics, broadcast, slow members, round-trip times."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import outcome
import pytest
import trio
import trio.testing

import hubws
from hubws import Connection, ConnectionClosed, Delivery, Hub, LocalProtocolError, Policy, State
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
            ({"max_histories": 0}, "max_histories must be a whole number from 1, not 0"),
        ],
    )
    async def test_bad_arguments(self, arguments: dict[str, Any], match: str) -> None:
        with pytest.raises(ValueError, match=match):
            async with hubws.open_hub(**arguments):
                pass

    async def test_cancelled_by_its_own_nursery(self) -> None:
        """Wherever the block is."""

        async def run() -> None:
            async with hubws.open_hub() as hub, trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                hub.nursery.cancel_scope.cancel()
                await trio.sleep_forever()

        assert await outcome.acapture(run) == outcome.Value(None)

    async def test_what_the_block_raises_is_not_lost_beside_a_task(self) -> None:
        async def fail() -> None:
            raise KeyError("a task")

        async def run() -> None:
            async with hubws.open_hub() as hub:
                hub.nursery.start_soon(fail)
                try:
                    await trio.sleep_forever()
                finally:
                    raise ValueError("the block")

        with pytest.raises(ValueError, match="the block") as caught:
            await run()
        assert isinstance(caught.value.__context__, ExceptionGroup)


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


class Unsearchable(list[Connection]):
    """To be looked through once, not for each member."""

    def __contains__(self, item: object) -> bool:
        raise AssertionError(item)


class TestRecipients:
    async def test_patterns(self, hub: Hub, make_pair: Pairs) -> None:
        clients = await members_of(
            hub, make_pair, ["prices.*"], ["prices.EUR", "prices.*"], ["news"]
        )
        assert hub.broadcast("1", topic="prices.EUR").sent == 2
        assert hub.broadcast("2", topic="prices.EUR.spot").sent == 2
        assert hub.broadcast("3", topic="prices").sent == 0
        assert hub.broadcast("4", topic="prices.").sent == 2
        assert await received(clients) == [["1", "2", "4"], ["1", "2", "4"], []]
        for call in (
            lambda: hub.broadcast("x", topic="prices.*"),
            lambda: hub.broadcast("x", topic=["news", "prices.*"]),
        ):
            with pytest.raises(ValueError, match="stands for many topics; messages go to one"):
                call()
        assert hub.members("prices.*") == set(hub.connections) - set(hub.members("news"))

    async def test_several_topics_reach_each_once(self, hub: Hub, make_pair: Pairs) -> None:
        clients = await members_of(hub, make_pair, ["a"], ["a", "b"], ["b"], ["c"])
        assert hub.broadcast("x", topic=("a", "b")).sent == 3
        assert hub.broadcast("y", topic=[]).sent == 0
        assert await received(clients) == [["x"], ["x"], ["x"], []]

    async def test_users(self, hub: Hub, make_pair: Pairs) -> None:
        clients = await members_of(hub, make_pair, [], [], [])
        first, second, third = hub.connections
        for connection in (first, second):
            hub.register(connection, user="ada")
        hub.register(third, user=7)
        assert set(hub.users()) == {"ada", 7}
        assert hub.broadcast("x", user="ada").sent == 2
        assert hub.broadcast("y", user="nobody").sent == 0
        hub.register(second, user=7)
        assert (hub.user_of(first), hub.user_of(second)) == ("ada", 7)
        assert set(hub.connections_of(7)) == {second, third}
        hub.unregister(first)
        assert set(hub.users()) == {7}
        assert hub.user_of(first) is None
        assert await received(clients) == [["x"], ["x"], []]

    async def test_exclusions_and_predicates(self, hub: Hub, make_pair: Pairs) -> None:
        clients = await members_of(hub, make_pair, [], ["a"], ["a"])
        first, second, third = hub.connections
        assert hub.broadcast("1", exclude=first).sent == 2
        assert hub.broadcast("2", exclude=Unsearchable([first, third])).sent == 1
        assert hub.broadcast("3", topic="a", where=lambda one: one is not second).sent == 1
        assert hub.broadcast("4", exclude={second}, where=lambda one: one is not third).sent == 1
        assert await received(clients) == [["4"], ["1", "2"], ["1", "3"]]

    async def test_one_by_its_id(self, hub: Hub, make_pair: Pairs) -> None:
        [client] = await members_of(hub, make_pair, [])
        [member] = hub.connections
        assert hub.get(member.id) is member
        assert hub.get(-1) is None
        hub.unregister(member)
        assert hub.get(member.id) is None
        await client.aclose()

    async def test_at_most_one_choice(self, hub: Hub) -> None:
        for options in ({"topic": "a", "user": 1}, {"user": 1, "to": []}, {"topic": "a", "to": []}):
            with pytest.raises(TypeError, match="to one"):
                hub.broadcast("x", **options)


class TestRules:
    async def test_joining(self, make_pair: Pairs) -> None:
        def may_join(connection: Connection, topic: str) -> bool:
            return topic != "secret"

        async with hubws.open_hub(may_join=may_join) as hub:
            _, server = make_pair()
            with pytest.raises(hubws.NotAllowed, match=f"{server.id} may not join 'secret'"):
                hub.register(server, "open", "secret")
            assert len(hub) == 0
            assert hub.topics() == set()
            hub.register(server, "open")
            with pytest.raises(PermissionError):
                hub.join(server, "secret")
            assert set(hub.topics(server)) == {"open"}

    async def test_publishing(self, make_pair: Pairs) -> None:
        def may_publish(connection: Connection, topic: str, message: str | bytes) -> bool:
            return topic == "open" and message != "bad"

        async with hubws.open_hub(may_publish=may_publish) as hub:
            client, server = make_pair()
            with pytest.raises(ValueError, match="is no member"):
                hub.publish(server, "x", "open")
            hub.register(server, "open")
            assert hub.publish(server, "good", "open").sent == 1
            assert hub.publish(server, "good", "open", exclude=server).sent == 0
            for message, topic in [("bad", "open"), ("good", "closed")]:
                with pytest.raises(hubws.NotAllowed, match=f"may not publish to '{topic}'"):
                    hub.publish(server, message, topic)
            assert await client.receive() == "good"


class TestPolicies:
    """What is said for the message goes before what is said for the member, the topic, the hub."""

    async def stalled(self, hub: Hub, *topics: str, **options: Any) -> Connection:
        _, server = Pairs("lockstep")(outbox_messages=3, start_client=False)
        hub.register(server, *topics, **options)
        hub.broadcast("begun", to=[server])
        await trio.testing.wait_all_tasks_blocked()
        return server

    @pytest.mark.parametrize(
        ("hubs", "topics", "members", "messages", "expected"),
        [
            ("drop_oldest", None, None, None, "drop_oldest"),
            ("drop_oldest", "drop_newest", None, None, "drop_newest"),
            ("drop_oldest", "drop_newest", "disconnect", None, "disconnect"),
            ("drop_oldest", "drop_newest", "disconnect", "latest", "latest"),
            ("disconnect", None, "drop_newest", None, "drop_newest"),
            ("disconnect", "latest", None, "drop_oldest", "drop_oldest"),
        ],
    )
    async def test_the_nearest_applies(
        self,
        hubs: str,
        topics: str | None,
        members: str | None,
        messages: str | None,
        expected: str,
    ) -> None:
        async with hubws.open_hub(policy=hubs) as hub:
            member = await self.stalled(hub, "a.b", policy=members)
            hub.configure("a.*", policy=topics)
            for number in range(5):
                hub.broadcast(str(number), topic="a.b", policy=messages, key=number)
            statistics = hub.statistics()
            assert list(statistics.by_policy) == [Policy(expected)]
            closed = member.state is not State.OPEN
            assert closed is (expected == "disconnect")
            assert statistics.dropped == (0 if closed else 2)
            assert statistics.disconnected == (1 if closed else 0)
            left = b"".join(member.outbox.parts())
            assert (b"4" in left) is (expected in ("drop_oldest", "latest"))
            member.abort()

    async def test_key_functions(self) -> None:
        async with hubws.open_hub(policy="latest", key=lambda message: message[:3]) as hub:
            member = await self.stalled(hub, "prices", "other", "all")
            hub.configure("other", key=lambda message: message[3:])
            for message in ("EUR 1", "GBP 1", "EUR 2"):
                hub.broadcast(message, topic="prices")
            assert member.statistics().conflated == 1
            for message in ("abcX", "defX"):
                hub.broadcast(message, topic="other")
            assert member.statistics().conflated == 2
            hub.broadcast("EUR 3", topic="all", key="mine")
            left = b"".join(member.outbox.parts())
            assert [text in left for text in (b"EUR 1", b"GBP 1", b"EUR 2", b"abcX", b"defX")] == [
                False, False, True, False, True,
            ]  # fmt: skip
            member.abort()

    async def test_the_narrowest_pattern_applies(self) -> None:
        async with hubws.open_hub(policy="drop_newest") as hub:
            hub.configure("a.*", policy="disconnect")
            hub.configure("a.b.*", policy="drop_oldest")
            hub.configure("a.b.c", policy="latest")
            for topic, expected in [
                ("a.b.c", Policy.LATEST),
                ("a.b.d", Policy.DROP_OLDEST),
                ("a.x", Policy.DISCONNECT),
                ("x", None),
            ]:
                assert hub._settings[topic].policy is expected

    async def test_bad_settings(self, hub: Hub, make_pair: Pairs) -> None:
        _, server = make_pair()
        with pytest.raises(ValueError, match="'sometimes' is not a policy"):
            hub.configure("a", policy="sometimes")
        with pytest.raises(ValueError, match="never waits"):
            hub.register(server, policy="block")
        with pytest.raises(TypeError, match="key is a function, not 'x'"):
            hub.configure("a", key="x")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="a topic is a str, not 5"):
            hub.configure(5)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="unhashable"):
            hub.register(server, user=[])  # type: ignore[arg-type]
        assert len(hub) == 0


class TestLosses:
    async def test_are_reported_and_counted(self) -> None:
        losses: list[hubws.Loss] = []
        async with hubws.open_hub() as hub:
            hub.add_loss_callback(losses.append)
            member = await TestPolicies().stalled(hub, "a")
            for number in range(4):
                hub.broadcast(str(number), topic="a", policy="drop_newest")
            assert hub.broadcast("4", topic="a", policy="drop_oldest") == Delivery(0, 1, 0)
            assert hub.broadcast(b"5", to=[member]) == Delivery(0, 0, 1)
            assert [
                (loss.message, loss.policy, loss.topic, loss.disconnected) for loss in losses
            ] == [
                ("3", Policy.DROP_NEWEST, "a", False),
                ("4", Policy.DROP_OLDEST, "a", False),
                (b"5", Policy.DISCONNECT, None, True),
            ]
            assert {loss.connection for loss in losses} == {member}
            hub.remove_loss_callback(losses.append)
            with pytest.raises(ValueError, match="not in list"):
                hub.remove_loss_callback(losses.append)
            member.abort()

    async def test_can_be_iterated_over(self) -> None:
        seen: list[Any] = []

        async def follow(hub: Hub, task_status: trio.TaskStatus[None]) -> None:
            async with hub.watch_losses(limit=2) as watch:
                task_status.started()
                seen.extend([loss.message async for loss in watch])
                seen.append(watch.dropped)

        async with trio.open_nursery() as nursery, hubws.open_hub(policy="drop_oldest") as hub:
            await nursery.start(follow, hub)
            member = await TestPolicies().stalled(hub)
            for number in range(8):
                hub.broadcast(str(number))
            member.abort()
        assert seen == ["0", "1", 3]

    @pytest.mark.logs_errors
    async def test_a_callback_that_fails_harms_nobody(
        self, caplog: pytest.LogCaptureFixture, make_pair: Pairs
    ) -> None:
        async with hubws.open_hub(policy="drop_newest") as hub:
            hub.add_loss_callback(lambda loss: 1 / 0)
            member = await TestPolicies().stalled(hub)
            client, other = make_pair()
            hub.register(other)
            for number in range(5):
                hub.broadcast(str(number))
            assert [await client.receive() for _ in range(5)] == list("01234")
            member.abort()
        assert [record.message for record in caplog.records] == [
            "a function that watches a hub failed"
        ] * 2


class TestSnapshot:
    async def test_is_plain_data(self, make_pair: Pairs) -> None:
        async with hubws.open_hub() as hub:
            clients = await members_of(hub, make_pair, *[["a"]] * 600)
            first = next(iter(hub.connections))
            hub.register(first, "b.*", user="ada")
            hub.broadcast("x", topic="b.c")
            await first.ping()
            snapshot = json.loads(json.dumps(await hub.snapshot()))
            assert len(snapshot["members"]) == 600
            described = snapshot["members"][0]
            assert described["id"] == first.id
            assert (described["user"], described["state"]) == ("ada", "open")
            assert described["topics"] == ["a", "b.*"]
            assert described["rtt"]["last"] > 0
            assert described["bytes_sent"] > 0
            assert snapshot["members"][1]["rtt"] is None
            assert snapshot["topics"] == {"a": 600, "b.*": 1}
            assert (snapshot["broadcasts"], snapshot["sent"], snapshot["by_policy"]) == (1, 1, {})
            assert len(clients) == 600


async def members_of(hub: Hub, make_pair: Pairs, *topics: list[str]) -> list[Connection]:
    """Members with those topics; returns their peers."""
    clients = []
    for names in topics:
        client, server = make_pair()
        hub.register(server, *names)
        clients.append(client)
    return clients


async def received(clients: list[Connection]) -> list[list[str | bytes]]:
    """What each of them has received by now."""
    await trio.testing.wait_all_tasks_blocked()
    result = []
    for client in clients:
        waiting = client.statistics().inbox_messages
        result.append([await client.receive() for _ in range(waiting)])
    return result
