"""Active checks take a backend out and bring it back."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from hubws.proxy import Backend, HealthCheck, Proxy, Route
from hubws.proxy.backends import Upstream
from tests.proxy.conftest import StartProxy
from tests.proxy.peers import Listening, listening

UP = b"HTTP/1.1 204 No Content\r\n\r\n"
DOWN = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


async def answer(place: Listening, answers: list[bytes]) -> None:
    """Answer checks, the last answer again and again."""
    while True:
        peer = await place.next()
        await peer.request()
        await peer.send(answers[0] if len(answers) == 1 else answers.pop(0))
        await trio.aclose_forcefully(peer.stream)


def healthy(proxy: Proxy) -> list[bool]:
    return [one.is_healthy for one in proxy.statistics().backends]


async def test_by_http(start_proxy: StartProxy, backend: Listening, nursery, autojump_clock):
    autojump_clock.autojump_threshold = 0.01
    answers = [UP, DOWN, DOWN, DOWN, DOWN, UP]
    nursery.start_soon(answer, backend, answers)
    proxy = await start_proxy(backend.url, health_check=HealthCheck(path="/health", interval=0.5))
    seen = []
    while len(answers) > 1 or not all(healthy(proxy)):
        seen.append((len(answers), *healthy(proxy)))
        await trio.sleep(0.05)
    assert (5, True) in seen  # answers left: one bad check is not enough
    assert (4, True) in seen
    assert (3, False) in seen
    assert (2, False) in seen
    looks = [sum(one[0] == left for one in seen) for left in (3, 2)]
    assert looks[0] < looks[1]  # between the checks: it backs off
    assert [peer.target for peer in backend.peers] == ["/health"] * len(backend.peers)
    assert backend.peers[0].header("Host") == f"127.0.0.1:{backend.port}"


async def test_by_dialling(start_proxy: StartProxy, backend: Listening, autojump_clock):
    autojump_clock.autojump_threshold = 0.01
    check = HealthCheck(interval=1, failures=1)
    proxy = await start_proxy(backend.url, health_check=check)
    await backend.next()
    assert healthy(proxy) == [True]
    await backend.close()
    while healthy(proxy) == [True]:
        await trio.sleep(0.1)
    async with listening(backend.port):
        while healthy(proxy) == [False]:
            await trio.sleep(0.1)


async def test_time_is_up(backend: Listening, autojump_clock, nursery):
    autojump_clock.autojump_threshold = 0.01
    upstream = Upstream(Backend(backend.url))
    check = HealthCheck(path="/", interval=1, timeout=1, failures=1)
    nursery.start_soon(check.run, upstream)
    while upstream.is_up:  # it is dialled, and never answers
        await trio.sleep(0.1)
    nursery.cancel_scope.cancel()


async def test_clients_get_503(start_proxy, backend: Listening, raw, nursery):
    nursery.start_soon(answer, backend, [DOWN])
    route = Route(backends=[Backend(backend.url)])
    proxy = await start_proxy(route, health_check=HealthCheck(path="/", failures=1))
    while all(healthy(proxy)):
        await trio.testing.wait_all_tasks_blocked(0.01)
    client = await raw(proxy)
    await client.send(client.hello())
    status, _, body = await client.response()
    assert (status, body) == (503, b"no backend is healthy\n")


async def test_checks_end_with_the_drain(start_proxy: StartProxy, backend: Listening):
    proxy = await start_proxy(backend.url, health_check=HealthCheck(), grace=1000)
    await backend.next()
    assert await proxy.server.drain(1000)


@pytest.mark.parametrize(
    "options", [{"interval": 0}, {"timeout": float("inf")}, {"failures": 0}, {"path": "health"}]
)
def test_arguments(options: dict[str, object]):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must"):
        HealthCheck(**options)  # type: ignore[arg-type]
