"""That what these tests look for would be found: leaks, torn frames, points that were left out."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from hubws import Connection, Settings
from hubws.transport.poller import current_poller
from tests.faults.cancelling import Canceller, cancel_everywhere
from tests.faults.peer import Peer, memory_ends
from tests.faults.remains import Remains, check_nobody_waits


def test_every_point_is_cancelled_once() -> None:
    reached = []

    async def scenario(canceller: Canceller) -> None:
        steps = 0
        with canceller.block():
            for _ in range(5):
                await trio.lowlevel.checkpoint()
                steps += 1
        reached.append(steps)

    points = cancel_everywhere(scenario)
    assert points >= 6
    assert len(reached) == points + 1
    assert set(reached) == {0, 1, 2, 3, 4, 5}


def test_steps_of_other_tasks_are_points() -> None:
    reached = []

    async def scenario(canceller: Canceller) -> None:
        steps = 0

        async def other() -> None:
            nonlocal steps
            for _ in range(5):
                await trio.lowlevel.checkpoint()
                steps += 1
            event.set()

        event = trio.Event()
        async with trio.open_nursery() as nursery:
            with canceller.block():
                nursery.start_soon(other)
                await event.wait()
            reached.append(steps)

    assert cancel_everywhere(scenario) >= 6
    assert set(reached) == {0, 1, 2, 3, 4, 5}


async def leak_task() -> Callable[[], object]:
    scope = trio.CancelScope()

    async def stay() -> None:
        with scope:
            await trio.sleep_forever()

    trio.lowlevel.spawn_system_task(stay)
    return scope.cancel


async def leak_descriptor() -> Callable[[], object]:
    descriptor = os.open("/dev/null", os.O_RDONLY)
    return lambda: os.close(descriptor)


async def leak_watch() -> Callable[[], object]:
    ends = socket.socketpair()
    poller = current_poller()
    poller.watch(ends[0].fileno(), lambda: None)

    def undo() -> None:
        poller.forget(ends[0].fileno())
        for end in ends:
            end.close()

    return undo


async def leak_timer() -> Callable[[], object]:
    return current_poller().timers.call_later(60, lambda: None).cancel


@pytest.mark.parametrize("leak", [leak_task, leak_descriptor, leak_watch, leak_timer])
async def test_leak_is_found(leak: Callable[[], Awaitable[Callable[[], object]]]) -> None:
    before = Remains.now()
    await before.check()
    undo = await leak()
    with pytest.raises(AssertionError):
        await before.check()
    undo()
    await before.check()


def test_connection_that_stays_in_memory_is_found() -> None:
    kept = []

    async def scenario(canceller: Canceller) -> None:
        ends = memory_ends()
        connection = Connection(
            ends.transport, current_poller(), is_client=True, settings=Settings()
        )
        connection.begin()
        connection.abort()
        await trio.aclose_forcefully(ends.stream)
        kept.append(connection)

    with pytest.raises(AssertionError):
        cancel_everywhere(scenario)


async def test_who_still_waits_is_found() -> None:
    ends = memory_ends()
    connection = Connection(ends.transport, current_poller(), is_client=True, settings=Settings())
    connection.begin()
    check_nobody_waits(connection)
    for operation in (connection.receive, connection.ping, connection.wait_closed):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(operation)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(AssertionError):
                check_nobody_waits(connection)
            nursery.cancel_scope.cancel()
        check_nobody_waits(connection)
    connection.abort()
    await trio.aclose_forcefully(ends.stream)


@pytest.mark.parametrize("stop", range(1, 8))
async def test_torn_frame_is_found(stop: int) -> None:
    near, far = trio.testing.memory_stream_pair()
    peer = Peer(far, is_client=True)
    frame = b"\x81\x05hello"
    await near.send_all(frame[:stop])
    await near.send_eof()
    await peer.read()
    assert peer.is_torn == (stop < len(frame))
    assert peer.messages == ([] if peer.is_torn else ["hello"])


async def test_what_follows_a_torn_frame_is_found() -> None:
    near, far = trio.testing.memory_stream_pair()
    peer = Peer(far, is_client=True)
    await near.send_all(b"\x82\x05hel" + b"\x82\x05hello" * 30)
    with trio.fail_after(10), pytest.raises(AssertionError):
        await peer.read()
