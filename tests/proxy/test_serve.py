"""Starting a proxy, its figures, and its end."""

from __future__ import annotations

import functools
import logging
from typing import Any

import pytest
import trio
import trio.testing

import hubws
from hubws.proxy import Backend, Inspection, Route, serve_proxy
from tests.proxy.conftest import StartPair, StartProxy
from tests.proxy.peers import Listening
from tests.server.conftest import Start

ROUTE = Route(backends=[Backend("ws://127.0.0.1:9")])


async def test_statistics(pair: StartPair):
    ends = await pair()
    figures = ends.proxy.statistics()
    assert figures.server == hubws.ServerStatistics(connections=1, handshaking=0, accepted=1)
    [backend] = figures.backends
    assert (backend.is_healthy, backend.connections, backend.accepted) == (True, 1, 1)
    assert backend.failures == 0


@pytest.mark.parametrize("inspect", [None, Inspection()], ids=["transparent", "inspecting"])
async def test_the_access_log_says_what_was_asked_for(
    inspect: Inspection | None,
    start: Start,
    start_proxy: StartProxy,
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.INFO, "hubws.access")
    server = await start()
    route = Route(backends=[Backend(f"ws://127.0.0.1:{server.port}")], inspect=inspect)
    proxy = await start_proxy(route, observers=[hubws.AccessLog()])
    async with hubws.connect(f"ws://127.0.0.1:{proxy.port}/a?b=c"):
        pass
    while not (lines := [one for one in caplog.messages if "HTTP" in one]):
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert '"GET /a?b=c HTTP/1.1" 101 ' in lines[0]


async def test_two_routes(start: Start, start_proxy: StartProxy):
    routes = []
    for name in ("a", "b"):

        async def say(connection: hubws.Connection, name: str = name) -> None:
            await connection.send(name)

        server = await start(say)
        backend = Backend(f"ws://127.0.0.1:{server.port}")
        routes.append(Route(path=f"/{name}", backends=[backend]))
    proxy = await start_proxy(*routes)
    for name in ("a", "b"):
        async with hubws.connect(f"ws://127.0.0.1:{proxy.port}/{name}") as connection:
            assert await connection.receive() == name


async def test_cancelled_it_drains_and_gives_up(backend: Listening, raw):
    scope = trio.CancelScope()
    async with trio.open_nursery() as nursery:

        async def run(task_status: trio.TaskStatus[Any]) -> None:
            with scope:
                await serve_proxy([route], "127.0.0.1", 0, grace=0.1, task_status=task_status)

        route = Route(backends=[Backend(backend.url)])
        proxy = await nursery.start(run)
        client = await raw(proxy)
        await client.send(client.hello())
        peer = await backend.next()
        await peer.accept()
        await client.head()
        scope.cancel()
        assert await client.at_end()
        assert await peer.at_end()
    assert not proxy.server.clean


async def test_a_port_that_is_taken(backend: Listening):
    with pytest.raises(OSError, match="in use"):
        await serve_proxy([ROUTE], "127.0.0.1", backend.port)


@pytest.mark.parametrize(
    ("options", "error", "why"),
    [
        ({"routes": []}, ValueError, "a proxy needs a route"),
        ({"timeout": 0}, ValueError, "timeout must be over 0 and finite, not 0"),
        ({"timeout": float("inf")}, ValueError, "timeout must be over 0 and finite"),
        ({"connect_timeout": -1}, ValueError, "connect_timeout must be over 0 and finite, not -1"),
        ({"handshake_timeout": 0}, ValueError, "handshake_timeout must be over 0, not 0"),
        ({"origins": "all"}, ValueError, "origins is 'same', 'any' or a list"),
        ({"max_connections_per_user": 1}, TypeError, "needs authenticate"),
        ({"spread": 10}, ValueError, "spread must be from 0 to grace"),
        ({"idle_timeout": 0}, ValueError, "idle_timeout must be over 0"),
        ({"port": None}, TypeError, "needs a port"),
    ],
)
async def test_arguments(options: dict[str, Any], error: type[Exception], why: str):
    serve = functools.partial(serve_proxy, **{"routes": [ROUTE], "port": 0, **options})
    with pytest.raises(error, match=why):
        await serve()
