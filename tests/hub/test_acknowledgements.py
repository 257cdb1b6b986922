"""Broadcasts with acknowledgements: who has answered, who could not, who has not, who left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

import hubws
from hubws import Callbacks, Connection, Hub, RequestFailed
from hubws.connection.request_reader import open_requests
from hubws.connection.requests import Requests, requests_of
from hubws.hub.acknowledgements import Acknowledgements, broadcast_with_acknowledgements
from tests.connection.pairs import Pairs


def take(connection: Connection, message: str | bytes) -> None:
    requests = requests_of(connection)
    assert requests is not None
    assert requests.take(message)


TAKING = Callbacks(on_message=take)


@pytest.fixture
async def make_pair() -> AsyncIterator[Pairs]:
    pairs = Pairs("socket")
    yield pairs
    await pairs.end()


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with hubws.open_hub() as hub:
        yield hub


class Members:
    """Members of a hub whose clients behave as they are told."""

    def __init__(self, hub: Hub, make_pair: Pairs, nursery: trio.Nursery) -> None:
        self.hub = hub
        self.make_pair = make_pair
        self.nursery = nursery

    def add(self, behaviour: Any, *topics: str) -> Connection:
        client, server = self.make_pair(client=TAKING, server=TAKING)

        async def serve(body: Any) -> Any:
            if behaviour == "refuse":
                raise RequestFailed("I will not")
            if behaviour == "leave":
                client.abort()
            elif behaviour == "be silent":
                await trio.sleep_forever()
            elif isinstance(behaviour, float):
                await trio.sleep(behaviour)
            return [body, behaviour]

        Requests(client, serve, self.nursery)
        Requests(server)
        self.hub.register(server, *topics)
        return server


@pytest.fixture
def members(hub: Hub, make_pair: Pairs, nursery: trio.Nursery) -> Members:
    return Members(hub, make_pair, nursery)


async def test_everyone_is_accounted_for(
    hub: Hub, members: Members, make_pair: Pairs, autojump_clock: trio.testing.MockClock
) -> None:
    late, quick = members.add(2.0), members.add("answer")
    refusing, leaving = members.add("refuse"), members.add("leave")
    silent, too_late = members.add("be silent"), members.add(11.0)
    _, deaf = make_pair()
    hub.register(deaf)  # which has no Requests
    closing = members.add("answer")
    closing.close_nowait()
    start = trio.current_time()
    result = await broadcast_with_acknowledgements(hub, {"news": "✓"}, timeout=10)
    assert trio.current_time() - start == pytest.approx(10)
    assert result == Acknowledgements(
        delivery=hubws.Delivery(7, 0, 0),
        acknowledged={quick: [{"news": "✓"}, "answer"], late: [{"news": "✓"}, 2.0]},
        failed={refusing: "I will not"},
        missing=(deaf, silent, too_late),
        left=(leaving,),
    )
    assert list(result.acknowledged) == [quick, late]
    await trio.sleep(2)
    requests = requests_of(too_late)
    assert requests is not None
    assert requests.statistics().unknown == 1
    assert requests.statistics().in_flight == 0


async def test_ends_with_the_last_answer(
    hub: Hub, members: Members, autojump_clock: trio.testing.MockClock
) -> None:
    for delay in (1.0, 3.0, 2.0):
        members.add(delay)
    start = trio.current_time()
    result = await broadcast_with_acknowledgements(hub, None)
    assert trio.current_time() - start == pytest.approx(3)
    assert [body[1] for body in result.acknowledged.values()] == [1.0, 2.0, 3.0]


async def test_goes_to_whom_the_options_say(hub: Hub, members: Members) -> None:
    first, second, third = (members.add(name, "a.b") for name in "123")
    fourth, wide = members.add("4", "b"), members.add("5", "a.*")
    ask = broadcast_with_acknowledgements
    with trio.fail_after(10):
        assert set((await ask(hub, 0, topic="a.b")).acknowledged) == {first, second, third, wide}
        result = await ask(hub, 0, topic="a.b", exclude=first, where=lambda one: one is not third)
        assert set(result.acknowledged) == {second, wide}
        assert set((await ask(hub, 0, to=[fourth])).acknowledged) == {fourth}
        nobody = await ask(hub, 0, topic="nobody")
    assert nobody == Acknowledgements(hubws.Delivery(0, 0, 0), {}, {}, (), ())


async def test_a_slow_consumer_has_left(hub: Hub, make_pair: Pairs) -> None:
    _, slow = make_pair(start_client=False, outbox_messages=1)
    requests = Requests(slow)
    hub.register(slow)
    while hub.broadcast(bytes(100_000), policy="drop_newest").sent:
        await trio.testing.wait_all_tasks_blocked()
    with trio.fail_after(10):
        result = await broadcast_with_acknowledgements(hub, 1, timeout=9)
    assert result.delivery.disconnected == 1
    assert result.left == (slow,)
    assert requests.statistics().in_flight == 0


async def test_one_that_does_not_ask_any_more_is_missing(hub: Hub, members: Members) -> None:
    one = members.add("be silent")
    results = []

    async def ask() -> None:
        results.append(await broadcast_with_acknowledgements(hub, 1))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            requests = requests_of(one)
            assert requests is not None
            requests.close()
    assert results[0].missing == (one,)


@pytest.mark.parametrize("turns", range(8))
async def test_cancelled_at_every_point(hub: Hub, members: Members, turns: int) -> None:
    connections = [members.add(name) for name in ("be silent", "answer", "refuse")]
    with trio.CancelScope() as scope:

        async def cancel() -> None:
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel)
            await broadcast_with_acknowledgements(hub, 1)
    assert scope.cancelled_caught
    await trio.testing.wait_all_tasks_blocked()
    for connection in connections:
        requests = requests_of(connection)
        assert requests is not None
        assert requests.statistics().in_flight == 0


async def test_what_can_not_be_sent_leaves_no_trace(hub: Hub, members: Members) -> None:
    one = members.add("answer")
    members.add("answer")
    ask = broadcast_with_acknowledgements

    def fail(connection: Connection) -> bool:
        if connection is not one:
            raise ZeroDivisionError
        return True

    with pytest.raises(TypeError):
        await ask(hub, object())
    with pytest.raises(TypeError):
        await ask(hub, 1, topic="a", to=[one])
    with pytest.raises(ValueError, match="policy"):
        await ask(hub, 1, policy="nonsense")
    with pytest.raises(ValueError, match="timeout"):
        await ask(hub, 1, timeout=-1)
    with pytest.raises(ZeroDivisionError):
        await ask(hub, 1, where=fail)
    requests = requests_of(one)
    assert requests is not None
    assert requests.statistics().in_flight == 0
    assert hub.statistics().sent == 0


@given(st.lists(st.sampled_from(["answer", "refuse", "leave", "be silent", 0.5, 5.0]), max_size=8))
def test_of_any_behaviour(behaviours: list[Any]) -> None:
    """Each is in one group, the one that its behaviour says."""

    async def main() -> None:
        pairs = Pairs("socket")
        async with hubws.open_hub() as hub, trio.open_nursery() as nursery:
            members = Members(hub, pairs, nursery)
            expected = {members.add(behaviour): behaviour for behaviour in behaviours}
            result = await broadcast_with_acknowledgements(hub, 7, timeout=1)
            groups = dict.fromkeys(result.acknowledged, "answer")
            groups |= dict.fromkeys(result.failed, "refuse")
            groups |= dict.fromkeys(result.missing, "be silent")
            groups |= dict.fromkeys(result.left, "leave")
            as_group = {0.5: "answer", 5.0: "be silent"}
            assert groups == {one: as_group.get(what, what) for one, what in expected.items()}
            sizes = [result.acknowledged, result.failed, result.missing, result.left]
            assert sum(map(len, sizes)) == len(behaviours) == result.delivery.sent
            nursery.cancel_scope.cancel()
        await pairs.end()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_over_tcp(hub: Hub) -> None:
    """As an application would write it: clients acknowledge by returning."""
    seen: list[str] = []

    async def stay(connection: Connection) -> None:
        async with open_requests(connection) as requests, hub.member(connection, "news"):
            async for _ in requests:
                pass

    async def read_news(body: str) -> None:
        seen.append(body)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(hubws.serve, stay, "127.0.0.1", 0)
            url = f"ws://127.0.0.1:{server.port}/"
            async with (
                hubws.connect(url) as one,
                hubws.connect(url) as other,
                open_requests(one, read_news),
                open_requests(other, read_news),
            ):
                while len(hub) < 2:
                    await trio.sleep(0.001)
                result = await broadcast_with_acknowledgements(hub, "extra!", topic="news")
            nursery.cancel_scope.cancel()
    assert len(result.acknowledged) == 2
    assert seen == ["extra!", "extra!"]
