"""A proxy between clients and backends, of which either can be raw."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio

from hubws.proxy import Backend, Proxy, Route, serve_proxy
from tests.proxy.peers import Listening, RawBackend, listening
from tests.server.conftest import (  # noqa: F401 - fixtures of this folder's, too
    RawClient,
    authority,
    client_tls,
    complaints,
    raw,
    server_tls,
    start,
)

StartProxy = Callable[..., Awaitable[Proxy]]


@pytest.fixture
async def _limit() -> AsyncIterator[None]:
    """No test hangs."""
    with trio.fail_after(30):
        yield


@pytest.fixture
def start_proxy(nursery: trio.Nursery, _limit) -> StartProxy:
    """Start a proxy in front of the backends of these URLs, or of these routes."""

    async def start_proxy(*behind: str | Route, path: str = "/", **options: Any) -> Proxy:
        routes = [route for route in behind if isinstance(route, Route)]
        if not routes:
            routes = [Route(path=path, backends=[Backend(str(url)) for url in behind])]
        options = {"host": "127.0.0.1", "port": 0, **options}
        proxy: Proxy = await nursery.start(functools.partial(serve_proxy, routes, **options))
        return proxy

    return start_proxy


@pytest.fixture
async def backend() -> AsyncIterator[Listening]:
    """A raw backend."""
    async with listening() as place:
        yield place


@attrs.frozen
class Pair:
    """Both ends of a proxied connection, raw, with the proxy between them."""

    client: RawClient
    backend: RawBackend
    proxy: Proxy


StartPair = Callable[..., Awaitable[Pair]]


@pytest.fixture
def pair(start_proxy: StartProxy, backend: Listening, raw) -> StartPair:  # noqa: F811 - pytest's way
    """Open a proxied connection with both ends raw."""

    async def pair(**options: object) -> Pair:
        proxy = await start_proxy(backend.url, **options)
        client = await raw(proxy)
        await client.send(client.hello())
        peer = await backend.next()
        await peer.accept()
        assert (await client.head())[0] == 101
        return Pair(client, peer, proxy)

    return pair
