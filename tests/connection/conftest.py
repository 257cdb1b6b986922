"""Fixtures of connected pairs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.connection.pairs import TRANSPORTS, Pairs


@pytest.fixture(params=list(TRANSPORTS))
async def make_pair(request: pytest.FixtureRequest) -> AsyncIterator[Pairs]:
    pairs = Pairs(request.param)
    yield pairs
    await pairs.end()


@pytest.fixture
async def make_socket_pair() -> AsyncIterator[Pairs]:
    pairs = Pairs("socket")
    yield pairs
    await pairs.end()


@pytest.fixture
async def make_memory_pair() -> AsyncIterator[Pairs]:
    pairs = Pairs("memory")
    yield pairs
    await pairs.end()


@pytest.fixture
async def make_lockstep_pair() -> AsyncIterator[Pairs]:
    pairs = Pairs("lockstep")
    yield pairs
    await pairs.end()


@pytest.fixture(autouse=True)
def no_logged_errors(
    caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> Iterator[None]:
    """Nothing is logged as an error unless a test says so by the mark `logs_errors`."""
    yield
    if request.node.get_closest_marker("logs_errors") is None:
        assert [record for record in caplog.records if record.levelname == "ERROR"] == []
