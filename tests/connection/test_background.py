"""Tasks beside a block: how they end, and what comes out of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing

from hubws.connection.background import open_background


async def fail(error: BaseException) -> None:
    raise error


async def fail_when_cancelled() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise OSError("the task's")


async def run_beside(
    task: Callable[[], Awaitable[None]], block: Callable[[], Awaitable[None]]
) -> None:
    async with open_background() as nursery:
        nursery.start_soon(task)
        await trio.testing.wait_all_tasks_blocked()
        await block()


class TestOpenBackground:
    async def test_its_tasks_end_with_the_block(self) -> None:
        async with open_background() as nursery:
            nursery.start_soon(trio.sleep_forever)
        assert nursery.cancel_scope.cancel_called

    @pytest.mark.parametrize("error", [ValueError("mine"), SystemExit("mine")])
    async def test_the_error_of_the_block_comes_as_it_is(self, error: BaseException) -> None:
        with pytest.raises(type(error)) as caught:
            await run_beside(trio.sleep_forever, partial(fail, error))
        assert caught.value is error

    async def test_it_comes_before_one_of_a_task(self) -> None:
        with pytest.raises(ValueError, match="mine"):
            await run_beside(fail_when_cancelled, partial(fail, ValueError("mine")))

    async def test_the_error_of_a_task_ends_the_block(self) -> None:
        error = OSError("the task's")
        with pytest.raises(ExceptionGroup) as caught:
            await run_beside(partial(fail, error), trio.sleep_forever)
        assert caught.value.exceptions == (error,)

    async def test_cancelled_from_outside(self) -> None:
        with trio.CancelScope() as scope:
            async with open_background() as nursery:
                nursery.start_soon(trio.sleep_forever)
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught

    async def test_cancelled_in_a_nursery_of_the_block(self) -> None:
        """What reaches it then is a group of Cancelled."""
        with trio.CancelScope() as scope:
            async with open_background(), trio.open_nursery() as inner:
                inner.start_soon(trio.sleep_forever)
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
