"""The stream that goes wrong by plan does so exactly there."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from hubws.testing.plan import Fault, Kind, Plan
from hubws.testing.stream import FaultyStream

DATA = bytes(range(200))


def faulty(*out: Fault, into: tuple[Fault, ...] = ()) -> tuple[FaultyStream, trio.abc.Stream]:
    near, far = trio.testing.memory_stream_pair()
    return FaultyStream(near, Plan(out, into)), far


async def read_all(stream: trio.abc.ReceiveStream) -> list[bytes]:
    """The pieces that come, to the end of the stream."""
    pieces = []
    while piece := await stream.receive_some(1000):
        pieces.append(bytes(piece))
    return pieces


async def test_without_faults_all_passes() -> None:
    stream, far = faulty()
    await stream.send_all(DATA)
    await stream.send_eof()
    assert b"".join(await read_all(far)) == DATA
    await far.send_all(DATA)
    assert [await stream.receive_some(150), await stream.receive_some(150)] == [
        DATA[:150],
        DATA[150:],
    ]
    await stream.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_all(b"x")


async def test_split(autojump_clock) -> None:
    stream, far = faulty(into=(Fault(10, Kind.SPLIT, length=30, size=7),))
    await far.send_all(DATA)
    await trio.aclose_forcefully(far)
    assert [len(piece) for piece in await read_all(stream)] == [10, 7, 7, 7, 7, 7, 155]


async def test_delay(autojump_clock) -> None:
    stream, far = faulty(Fault(10, Kind.DELAY, seconds=3))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, DATA)
        assert await far.receive_some(1000) == DATA[:10]
        began = trio.current_time()
        assert await far.receive_some(1000) == DATA[10:]
        assert trio.current_time() - began == pytest.approx(3)


async def test_stall_lasts_until_it_is_released_or_closed() -> None:
    for way in ("released", "closed"):
        stream, far = faulty(Fault(10, Kind.STALL))
        ended = False

        async def send(stream: FaultyStream = stream) -> None:
            nonlocal ended
            try:
                await stream.send_all(DATA)
            except trio.ClosedResourceError:
                ended = True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
            assert stream.sent == 10
            await far.send_all(b"the other direction")
            assert await stream.receive_some() == b"the other direction"
            if way == "released":
                stream.release()
            else:
                await stream.aclose()
        assert ended == (way == "closed")
        assert stream.sent == (10 if ended else 200)


async def test_a_stall_outlasts_who_gives_up(autojump_clock) -> None:
    stream, _far = faulty(Fault(10, Kind.STALL))
    for _ in range(2):
        with trio.move_on_after(1) as scope:
            await stream.send_all(DATA)
        assert scope.cancelled_caught
        assert stream.sent == 10


@pytest.mark.parametrize("outwards", [True, False])
async def test_reset_breaks_both_directions(outwards: bool) -> None:
    fault = Fault(10, Kind.RESET)
    stream, far = faulty(fault) if outwards else faulty(into=(fault,))
    if outwards:
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(DATA)
        assert await read_all(far) == [DATA[:10]]
    else:
        await far.send_all(DATA)
        assert await stream.receive_some(1000) == DATA[:10]
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some(1000)
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(DATA)
    with pytest.raises(trio.BrokenResourceError):
        await far.send_all(DATA)


async def test_reset_is_told_to_who_waits_to_receive() -> None:
    stream, _far = faulty(Fault(10, Kind.RESET))
    async with trio.open_nursery() as nursery:
        broken = []

        async def receive() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
            broken.append("receive")

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(DATA)
    assert broken == ["receive"]


async def test_end_ends_one_direction() -> None:
    stream, far = faulty(Fault(10, Kind.END), into=(Fault(20, Kind.END),))
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(DATA)
    assert await read_all(far) == [DATA[:10]]
    await far.send_all(DATA)
    assert await read_all(stream) == [DATA[:20]]
    assert await stream.receive_some() == b""


async def test_receive_that_is_cancelled_loses_nothing(autojump_clock) -> None:
    delays = tuple(Fault(at, Kind.DELAY, seconds=1) for at in range(0, 200, 10))
    stream, far = faulty(into=delays)
    await far.send_all(DATA)
    pieces: list[bytes] = []
    while sum(map(len, pieces)) < 200:
        with trio.move_on_after(0.4):
            pieces.append(await stream.receive_some(3))
        with trio.move_on_after(1.3):
            pieces.append(await stream.receive_some(3))
    assert b"".join(pieces) == DATA
