"""Metrics as a Prometheus server would read them, of real servers and their clients."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

import hubws
from hubws.metrics import Metrics
from hubws.metrics.metrics import MAX_LABELS

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def values(metrics: Metrics) -> Values:
    """Every sample by name and labels, read from the exposition format."""
    request = hubws.Request("GET", "/metrics", "1.1", b"GET /metrics HTTP/1.1\r\n\r\n")
    response = metrics.respond(request)
    assert response is not None
    assert response.status == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text + "\n")
        for sample in family.samples
    }


class Reading:
    """Reads single metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics

    def __call__(self, name: str, **labels: str) -> float | None:
        return values(self.metrics).get((f"hubws_{name}", tuple(sorted(labels.items()))))

    async def wait_for(self, value: float, name: str, **labels: str) -> None:
        with trio.fail_after(10):
            while self(name, **labels) != value:
                await trio.testing.wait_all_tasks_blocked(0.01)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def read(metrics: Metrics) -> Reading:
    return Reading(metrics)


async def echo(connection: hubws.Connection) -> None:
    async for message in connection:
        await connection.send(message)


@pytest.fixture
def start(nursery: trio.Nursery, metrics: Metrics) -> Callable[..., Awaitable[str]]:
    async def start(handler: Any = echo, **options: Any) -> str:
        serve = functools.partial(
            hubws.serve, handler, "127.0.0.1", 0, observers=[metrics], **options
        )
        return f"ws://127.0.0.1:{(await nursery.start(serve)).port}/"

    return start


async def test_connections_messages_and_bytes(start, read) -> None:
    url = await start()
    assert read("connections") == 0
    assert read("handshakes_total", result="101") == 0
    async with hubws.connect(url) as one, hubws.connect(url) as other:
        for connection in (one, one, other):
            await connection.send("twelve bytes")
            assert await connection.receive() == "twelve bytes"
        assert read("connections") == 2
        assert read("received_messages_total") == 3
        await read.wait_for(3, "sent_messages_total")
        assert read("received_bytes_total") == 3 * (2 + 4 + 12)
        bytes_sent = read("sent_bytes_total")
        assert bytes_sent is not None
        assert bytes_sent > 3 * (2 + 12)
    await read.wait_for(0, "connections")
    assert read("closes_total", code="1000") == 2
    assert read("connection_seconds_count") == 2
    assert read("handshakes_total", result="101") == 2
    assert read("received_messages_total") == read("sent_messages_total") == 3
    assert read("received_bytes_total") == 3 * (2 + 4 + 12) + 2 * (2 + 4 + 2)


async def test_no_figure_goes_back_when_a_connection_ends(start, read) -> None:
    url = await start()
    seen = []
    for _ in range(3):
        async with hubws.connect(url) as connection:
            await connection.send(b"1234")
            await connection.receive()
            seen.append(read("received_messages_total"))
        await read.wait_for(0, "connections")
        seen.append(read("received_messages_total"))
    assert seen == [1, 1, 2, 2, 3, 3]


async def test_refusals_and_the_lost(start, read) -> None:
    url = await start(origins=["https://a.example"])
    for _ in range(2):
        with pytest.raises(hubws.HandshakeRefused):
            async with hubws.connect(url):
                pass
    port = int(url.rstrip("/").rpartition(":")[2])
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await stream.aclose()
    await read.wait_for(1, "handshakes_total", result="lost")
    assert read("handshakes_total", result="403") == 2
    assert read("handshakes_total", result="101") == 0
    assert read("handshaking") == 0


async def test_closes_by_code(start, read) -> None:
    async def fail(connection: hubws.Connection) -> None:
        await connection.receive()
        await connection.aclose(4001, "as agreed")

    url = await start(fail)
    async with hubws.connect(url) as connection:
        await connection.send("go")
        await connection.wait_closed()
    await read.wait_for(1, "closes_total", code="4001")


async def test_outbox_and_drops(start, read) -> None:
    filled = trio.Event()

    async def fill(connection: hubws.Connection) -> None:
        while not connection.statistics().dropped:
            await connection.send(bytes(100_000))
        filled.set()
        await connection.wait_closed()

    url = await start(fill, policy="drop_newest", outbox_messages=5, write_timeout=None)
    port = int(url.rstrip("/").rpartition(":")[2])
    stream = await trio.open_tcp_stream("127.0.0.1", port)  # which never reads
    request = [f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}", "Upgrade: websocket"]
    request += ["Connection: Upgrade", "Sec-WebSocket-Version: 13"]
    request += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""]
    await stream.send_all("\r\n".join(request).encode())
    with trio.fail_after(10):
        await filled.wait()
    assert read("dropped_messages_total", policy="drop_newest") == 1
    assert read("outbox_messages") == 5
    assert read("outbox_bytes") == read("outbox_bytes_max")
    assert (read("outbox_bytes") or 0) > 4 * 100_000
    assert read("stalled") == 1
    await stream.aclose()
    await read.wait_for(0, "stalled")
    assert read("dropped_messages_total", policy="drop_newest") == 1


async def test_round_trips_and_the_loop(start, read) -> None:
    url = await start(keepalive_interval=0.02)
    async with hubws.connect(url):
        with trio.fail_after(10):
            while not read("rtt_seconds_count"):
                await trio.testing.wait_all_tasks_blocked(0.01)
    assert read("rtt_seconds_bucket", le="+Inf") == read("rtt_seconds_count")
    assert 0 < (read("rtt_seconds_sum") or 0) < 10
    assert (read("loop_delay_seconds_count") or 0) >= 1


async def test_loop_delay_is_that_of_trios_clock(autojump_clock, metrics, read) -> None:
    async with trio.open_nursery() as nursery:
        serve = functools.partial(hubws.serve, echo, "127.0.0.1", 0, observers=[metrics])
        await nursery.start(serve)
        await trio.sleep(1.05)
        assert read("loop_delay_seconds_count") == 11
        autojump_clock.jump(0.25)  # as if something had held the loop up
        await trio.sleep(0.01)
        assert read("loop_delay_seconds_bucket", le="0.1") == 11
        assert read("loop_delay_seconds_bucket", le="0.25") == 12
        nursery.cancel_scope.cancel()
    await trio.sleep(10)
    assert read("loop_delay_seconds_count") == 12


async def test_hub(start, metrics, read) -> None:
    async with hubws.open_hub() as hub:

        async def join(connection: hubws.Connection) -> None:
            hub.register(connection, "news")
            await connection.wait_closed()

        metrics.watch_hub(hub, "chat")
        url = await start(join)
        async with hubws.connect(url) as connection:
            await read.wait_for(1, "hub_topics", hub="chat")
            hub.broadcast("hello", topic="news")
            assert await connection.receive() == "hello"
            assert read("hub_members", hub="chat") == 1
            assert read("hub_broadcasts_total", hub="chat") == 1
            assert read("hub_sent_total", hub="chat") == 1
        await read.wait_for(0, "hub_members", hub="chat")
        with pytest.raises(ValueError, match="another hub is watched under the name 'chat'"):
            async with hubws.open_hub() as other:
                metrics.watch_hub(other, "chat")
        metrics.forget_hub("chat")
        assert read("hub_members", hub="chat") is None


async def test_page_beside_the_application(start, metrics) -> None:
    url = await start(on_request=metrics.respond)
    status, headers, body = await get(url, "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=")
    assert b"\nhubws_connections 0.0\n" in body
    assert (await get(url, "/other"))[0] == 426
    assert (await get(url, "/metrics", method="POST"))[0] == 405
    _, headers, body = await get(url, "/metrics", "Accept: application/openmetrics-text")
    assert headers["content-type"].startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


async def test_server_of_its_own(nursery, metrics) -> None:
    server = await nursery.start(metrics.serve, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.port}/metrics"
    status, _, body = await get(url, "/metrics")
    assert (status, b"hubws_connections 0.0" in body) == (200, True)
    async with hubws.connect(url) as connection:
        await connection.wait_closed()
        assert connection.close_code == 1000


def test_shared_registry() -> None:
    registry = CollectorRegistry()
    assert Metrics(registry).registry is registry
    with pytest.raises(ValueError, match="Duplicated"):
        Metrics(registry)


async def get(
    url: str, path: str, *lines: str, method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    """Ask a server for a page."""
    port = int(url.split(":")[2].partition("/")[0])
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        head = "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *lines, "", ""])
        await stream.send_all(head.encode())
        data = b"".join([piece async for piece in stream])
    head, _, body = data.decode("latin-1").partition("\r\n\r\n")
    status, *headers = head.split("\r\n")
    named = {line.split(": ")[0].lower(): line.split(": ")[1] for line in headers}
    return int(status.split()[1]), named, body.encode("latin-1")


async def test_linked_hubs(metrics, read) -> None:
    backplane = hubws.LocalBackplane()
    async with hubws.open_hub(backplane=backplane) as hub, hubws.open_hub() as alone:
        metrics.watch_hub(hub, "linked")
        metrics.watch_hub(alone, "alone")
        assert read("backplane_linked", hub="linked") == 1
        hub.broadcast("hello", topic="news")
        assert read("backplane_messages_total", hub="linked", result="sent") == 1
        assert read("backplane_messages_total", hub="linked", result="unshared") == 0
        assert read("backplane_gaps_total", hub="linked") == 0
        assert read("backplane_linked", hub="alone") is None
    assert read("backplane_linked", hub="linked") == 0


def test_an_accept_that_makes_no_sense(metrics: Metrics) -> None:
    head = b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=x\r\n\r\n"
    response = metrics.respond(hubws.Request("GET", "/metrics", "1.1", head))
    assert response is not None
    assert "text/plain" in response.headers["Content-Type"]
    assert "hubws_connections 0.0" in response.text


async def test_a_peer_can_not_choose_ever_more_codes(start, metrics, read) -> None:
    url = await start()
    for code in range(3000, 3000 + MAX_LABELS + 5):
        async with hubws.connect(url) as connection:
            await connection.aclose(code)
    await read.wait_for(0, "connections")
    assert read("closes_total", code="3000") == 1
    assert read("closes_total", code="other") == 5
    labels = [labels for name, labels in values(metrics) if name == "hubws_closes_total"]
    assert len(labels) == MAX_LABELS + 1


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("hubws.metrics", "hubws.metrics.metrics"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ImportError, match=r"pip install 'hubws\[metrics\]'"):
        importlib.import_module("hubws.metrics")
