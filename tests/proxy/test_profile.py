"""A signal brings a profile, and the program goes on."""

from __future__ import annotations

import functools
import os
import pstats
import signal
from pathlib import Path

import trio
import trio.testing

from hubws.proxy import profile_on_signal


def something_slow() -> int:
    return sum(range(100_000))


async def profiled(path: Path, nursery: trio.Nursery, seconds: float) -> set[str]:
    """The names of the functions in a profile."""
    await nursery.start(functools.partial(profile_on_signal, path, seconds=seconds))
    os.kill(os.getpid(), signal.SIGUSR2)
    await trio.testing.wait_all_tasks_blocked(0.02)
    something_slow()
    if seconds > 1:
        os.kill(os.getpid(), signal.SIGUSR2)
    while not path.exists():
        await trio.testing.wait_all_tasks_blocked(0.02)
    return {name for _, _, name in pstats.Stats(str(path)).stats}  # type: ignore[attr-defined]


async def test_until_the_second_signal(tmp_path: Path, nursery: trio.Nursery):
    with trio.fail_after(10):
        assert "something_slow" in await profiled(tmp_path / "cpu.prof", nursery, 60)
        assert [one.name for one in tmp_path.iterdir()] == ["cpu.prof"]


async def test_until_the_time_is_up(tmp_path: Path, nursery: trio.Nursery):
    with trio.fail_after(10):
        assert "something_slow" in await profiled(tmp_path / "cpu.prof", nursery, 0.3)


async def test_a_place_that_can_not_be_written(tmp_path: Path, nursery: trio.Nursery, caplog):
    path = tmp_path / "nowhere" / "cpu.prof"
    with trio.fail_after(10):
        await nursery.start(profile_on_signal, path)
        os.kill(os.getpid(), signal.SIGUSR2)
        await trio.testing.wait_all_tasks_blocked(0.02)
        os.kill(os.getpid(), signal.SIGUSR2)
        await trio.testing.wait_all_tasks_blocked(0.02)
    assert "could not be written" in caplog.text
    caplog.clear()
