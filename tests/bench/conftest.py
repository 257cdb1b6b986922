"""Servers that are put under load, in the tests' own process."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeAlias

import pytest
import trio

import hubws
from hubws.bench.alarm import open_alarm
from hubws.bench.load import Load
from hubws.bench.metrics import Metrics
from hubws.bench.pacer import Pacer
from hubws.bench.plan import Plan, Share
from hubws.bench.result import Result, Second
from hubws.bench.stages import Stage

Serve: TypeAlias = Callable[..., Awaitable[str]]


@pytest.fixture
async def serve(nursery: trio.Nursery) -> Serve:
    """Starts a server; returns its URL."""

    async def start(handler: Any, **options: Any) -> str:
        server = await nursery.start(partial(hubws.serve, handler, "127.0.0.1", 0, **options))
        return f"ws://127.0.0.1:{server.port}/"

    return start


def at_once(connections: int, seconds: float) -> tuple[Stage, ...]:
    return Stage(connections, 0.0), Stage(connections, seconds)


async def load(url: str, *, connections: int = 3, seconds: float = 0.2, **plan: Any) -> Result:
    """Put a server under load, from the tests' own process."""
    arguments = {"urls": (url,), "stages": at_once(connections, seconds)} | plan
    share = Share(Plan(**arguments), 0, 1)
    began = time.monotonic_ns()
    with trio.fail_after(60), open_alarm() as alarm:
        pacer = Pacer(alarm)
        load = Load(share, pacer, began)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pacer.run)
            await load.run()
            nursery.cancel_scope.cancel()
    taken, total = load.take(), Metrics()
    total.merge(taken["metrics"])
    return Result(
        plan=share.plan,
        began_at=datetime.now(UTC),
        seconds=(time.monotonic_ns() - began) / 1e9,
        total=total,
        by_second=[Second.of(0, taken["active"], total)],
        is_interrupted=False,
    )


def echo(connection: hubws.Connection, message: str | bytes) -> None:
    """Send back what comes."""
    connection.send_nowait(message)


ECHO = hubws.Callbacks(on_message=echo)
