"""What waits for a connection: in order, in bounds, and by each policy."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from hubws import LocalProtocolError, Policy
from hubws.client.offline import Offline, OfflineQueue


def queue(policy: str = "block", messages: int = 3, size: int = 1000) -> OfflineQueue:
    return OfflineQueue(Offline(messages=messages, bytes=size, policy=policy))


def content(queue: OfflineQueue) -> list[str | bytes]:
    return [queue.pop().source for _ in range(len(queue))]


@pytest.mark.parametrize("policy", list(Policy))
async def test_kinds_and_order(policy: str) -> None:
    waiting = queue(policy)
    buffer = bytearray(b"three")
    for message in ("one", b"", buffer):
        assert waiting.offer(message)
    buffer[:] = b"other"
    expected = ["one", b"", b"three"] if policy != "latest" else [b"three"]
    assert content(waiting) == expected
    assert not waiting


class TestFull:
    async def test_block(self) -> None:
        waiting = queue()
        offered = [waiting.offer(str(n)) for n in range(5)]
        assert offered == [True, True, True, False, False]
        assert content(waiting) == ["0", "1", "2"]

    async def test_block_lets_in_those_in_line(self) -> None:
        waiting = queue()
        for n in range(3):
            waiting.offer(str(n))
        async with trio.open_nursery() as nursery:
            for n in (3, 4):
                nursery.start_soon(waiting.wait_offer, str(n))
                await trio.testing.wait_all_tasks_blocked()
            assert not waiting.offer("5")
            assert [waiting.pop().source for _ in range(2)] == ["0", "1"]
        assert content(waiting) == ["2", "3", "4"]

    async def test_block_cancelled_in_line(self) -> None:
        waiting = queue(messages=1)
        waiting.offer("one")
        with trio.move_on_after(0):
            await waiting.wait_offer("two")
        assert content(waiting) == ["one"]

    async def test_drop_oldest(self) -> None:
        waiting = queue("drop_oldest")
        assert all(waiting.offer(str(n)) for n in range(5))
        assert content(waiting) == ["2", "3", "4"]
        assert waiting.counters.dropped == 2

    async def test_drop_newest(self) -> None:
        waiting = queue("drop_newest")
        assert all(waiting.offer(str(n)) for n in range(5))
        assert content(waiting) == ["0", "1", "2"]
        assert waiting.counters.dropped == 2

    async def test_latest(self) -> None:
        waiting = queue("latest")
        assert all(waiting.offer(str(n)) for n in range(5))
        assert content(waiting) == ["4"]
        assert waiting.counters.conflated == 4

    async def test_disconnect(self) -> None:
        waiting = queue("disconnect")
        assert all(waiting.offer(str(n)) for n in range(3))
        with pytest.raises(OverflowError, match=r"^3 messages of 9 bytes in all wait for a conn"):
            waiting.offer("3")
        assert content(waiting) == ["0", "1", "2"]

    async def test_bytes(self) -> None:
        """Counted as on the wire: with the header of a frame, 2 bytes or more for each."""
        waiting = queue("drop_oldest", messages=1000, size=100)
        for n in range(20):
            waiting.offer(f"{n:08}")
        assert waiting.queued_bytes == 100
        assert content(waiting) == [f"{n:08}" for n in range(10, 20)]

    async def test_one_that_is_larger_waits_alone(self) -> None:
        waiting = queue(size=10)
        assert waiting.offer("x" * 100)
        assert not waiting.offer("y")
        assert content(waiting) == ["x" * 100]
        assert waiting.offer("y")


class TestPutBack:
    @pytest.mark.parametrize("policy", ["block", "drop_oldest", "drop_newest", "disconnect"])
    async def test_is_the_first_again(self, policy: str) -> None:
        waiting = queue(policy)
        for n in range(3):
            waiting.offer(str(n))
        frame = waiting.pop()
        waiting.offer("3")
        waiting.put_back(frame)
        assert content(waiting) == ["0", "1", "2", "3"]
        for n in range(4, 7):  # there is as much room as before
            assert waiting.offer(str(n))
        assert content(waiting) == ["4", "5", "6"]

    async def test_latest(self) -> None:
        waiting = queue("latest")
        waiting.offer("old")
        frame = waiting.pop()
        waiting.put_back(frame)
        assert waiting.pop() is frame
        waiting.offer("new")
        waiting.put_back(frame)
        assert content(waiting) == ["new"]
        assert waiting.counters.conflated == 1


class TestValues:
    @pytest.mark.parametrize("name", ["messages", "bytes"])
    @pytest.mark.parametrize("value", [0, -1, 1.5, True])
    async def test_bounds(self, name: str, value: int) -> None:
        with pytest.raises(ValueError, match=rf"{name} must be a whole number from 1 to"):
            Offline(**{name: value})  # type: ignore[arg-type]

    async def test_policy(self) -> None:
        with pytest.raises(ValueError, match=r"'drop' is not a policy; it must be one of block, "):
            Offline(policy="drop")

    async def test_messages(self) -> None:
        with pytest.raises(TypeError):
            queue().offer(5)  # type: ignore[arg-type]
        with pytest.raises(LocalProtocolError):
            queue().offer("\ud800")
