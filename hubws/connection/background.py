"""A nursery for what runs beside a block of the application, and ends with it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import trio


@contextlib.asynccontextmanager
async def open_background() -> AsyncIterator[trio.Nursery]:
    """Open a nursery that is cancelled when the block ends.

    What the block raises comes out as it is, and not in a group as of a trio nursery; what a task
    raises cancels the block, and comes in a group, unless the block raises something itself then.
    """
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as error:
                if _is_cancelled(error):
                    raise  # the nursery knows what to do with it
                failure = error
            nursery.cancel_scope.cancel()
    finally:
        if failure is not None:
            raise failure


def _is_cancelled(error: BaseException) -> bool:
    """Whether an exception is, or has among others, what trio cancels by."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(trio.Cancelled) is not None
    return isinstance(error, trio.Cancelled)
