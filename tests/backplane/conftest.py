"""Redis servers, and hubs that are linked by them or within the process."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeAlias

import pytest

import hubws
from hubws.backplane.redis import RedisBackplane
from hubws.client.backoff import Backoff
from hubws.hub.backplane import Backplane, LocalBackplane
from hubws.hub.linked import LinkedHub
from tests.backplane.redis_server import RedisServer
from tests.connection.pairs import Pairs

OpenHub: TypeAlias = Callable[..., AbstractAsyncContextManager[LinkedHub]]
MakeBackplane: TypeAlias = Callable[..., RedisBackplane]


@contextlib.contextmanager
def running(*, durable: bool) -> Iterator[RedisServer]:
    # Paths of Unix sockets are short, so not in the test's own folder.
    with tempfile.TemporaryDirectory(prefix="hubws-") as folder:
        server = RedisServer(Path(folder), durable=durable)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """One server for all tests that do it no harm."""
    with running(durable=False) as server:
        yield server


@pytest.fixture
def frail() -> Iterator[RedisServer]:
    """A server of the test's own, that forgets everything when it is killed."""
    with running(durable=False) as server:
        yield server


@pytest.fixture
def durable() -> Iterator[RedisServer]:
    """A server of the test's own, that forgets nothing."""
    with running(durable=True) as server:
        yield server


def backplane_at(url: str, prefix: str = "", **options: Any) -> RedisBackplane:
    """Quick to notice and to come back, so that tests are quick."""
    defaults: dict[str, Any] = {
        "heartbeat": 0.1,
        "timeout": 1.0,
        "backoff": Backoff(initial=0.05, maximum=0.1),
    }
    return RedisBackplane(url, prefix=prefix or secrets.token_hex(4), **{**defaults, **options})


@pytest.fixture(params=["local", "redis"])
def backplane(request: pytest.FixtureRequest) -> Backplane:
    """Each implementation."""
    if request.param == "local":
        return LocalBackplane()
    return backplane_at(request.getfixturevalue("redis").url)


@pytest.fixture
async def make_pair() -> AsyncIterator[Pairs]:
    pairs = Pairs("socket")
    yield pairs
    await pairs.end()


@contextlib.asynccontextmanager
async def linked_hub(backplane: Backplane, **options: Any) -> AsyncIterator[LinkedHub]:
    """A hub with a history for `news.*` and presence in `rooms.*`."""
    async with hubws.open_hub(backplane=backplane, **options) as hub:
        assert isinstance(hub, LinkedHub)
        hub.configure("news.*", history=hubws.Retention(messages=1000))
        hub.configure("rooms.*", presence=True)
        yield hub


@pytest.fixture
async def hubs(backplane: Backplane) -> AsyncIterator[tuple[LinkedHub, LinkedHub]]:
    """Two hubs that are linked."""
    async with linked_hub(backplane) as one, linked_hub(backplane) as other:
        yield one, other
