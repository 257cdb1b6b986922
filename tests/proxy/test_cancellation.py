"""A proxy, or its client, cancelled at any scheduling point: both sides end, and nothing is left.

Every few points; with `HYPOTHESIS_PROFILE=long` every single one.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Awaitable, Callable

import pytest
import trio

import hubws
from hubws.proxy import Backend, Inspection, Route, serve_proxy
from tests.faults.cancelling import Canceller, cancel_everywhere

IS_LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
ENDED = (OSError, hubws.HandshakeError, hubws.ConnectionClosed)


async def echo(connection: hubws.Connection) -> None:
    async for message in connection:
        await connection.send(message)


async def exchange(port: int) -> None:
    """What a client does."""
    async with hubws.connect(f"ws://127.0.0.1:{port}/", timeout=5, close_timeout=1) as connection:
        await connection.send("x" * 500_000)
        assert await connection.receive() == "x" * 500_000
        await connection.aclose(4000)


async def scenario(canceller: Canceller, *, of_client: bool, inspect: Inspection | None) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(functools.partial(hubws.serve, echo, "127.0.0.1", 0, grace=1))
        backend = Backend(f"ws://127.0.0.1:{server.port}")
        serve = functools.partial(
            serve_proxy, [Route(backends=[backend], inspect=inspect)], "127.0.0.1", 0, grace=1
        )
        if of_client:
            proxy = await nursery.start(serve)
            with canceller.block():
                await exchange(proxy.port)
        else:
            await proxied(canceller, serve)
        nursery.cancel_scope.cancel()


async def proxied(canceller: Canceller, serve: Callable[..., Awaitable[None]]) -> None:
    """Exchange with a proxy that is cancelled."""

    async def run(task_status: trio.TaskStatus[int]) -> None:
        with canceller.block():
            await serve(task_status=task_status)

    async with trio.open_nursery() as nursery:
        try:
            proxy = await nursery.start(run)
        except RuntimeError:  # it was cancelled before it began
            return
        try:
            await exchange(proxy.port)
        except ENDED:
            pass
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("inspect", [None, Inspection()], ids=["transparent", "inspecting"])
@pytest.mark.parametrize("of_client", [False, True])
def test_nothing_is_left(of_client: bool, inspect: Inspection | None):
    points = cancel_everywhere(
        functools.partial(scenario, of_client=of_client, inspect=inspect),
        stride=1 if IS_LONG else 5,
        cushion=0.002,
        jump=0.01,
    )
    assert points > 20
