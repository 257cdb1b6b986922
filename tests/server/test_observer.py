"""Observers: told of each client once, whatever becomes of it, and never able to harm the server."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import hubws
from hubws import Observer, Request


class Recorder(Observer):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.ended = trio.Event()

    def on_started(self, server: hubws.Server) -> None:
        self.told.append(("started", server.port))

    def on_stopped(self, server: hubws.Server) -> None:
        self.told.append(("stopped", server.port))

    def on_opened(self, connection: Any) -> None:
        self.told.append(("opened", connection.request.path, connection.state))

    def on_ended(self, connection: Any) -> None:
        self.told.append(("ended", connection.closure.code))
        self.ended.set()

    def on_response(self, request: Request | None, remote: object, status: int) -> None:
        self.told.append(("answered", request and request.path, status))

    def on_lost(self, remote: object, why: str) -> None:
        assert isinstance(remote, tuple)
        self.told.append(("lost", why))
        self.ended.set()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


async def test_connection(start, raw, recorder) -> None:
    server = await start(observers=[recorder])
    client = await raw(server, upgraded=True)
    await client.send(hubws.Frame.close(1000))
    with trio.fail_after(10):
        await recorder.ended.wait()
    assert recorder.told == [
        ("started", server.port),
        ("opened", "/", hubws.State.OPEN),
        ("ended", 1000),
    ]


async def test_server_that_ends(recorder) -> None:
    async with trio.open_nursery() as nursery:

        async def run(*, task_status: Any) -> None:
            await hubws.serve(
                lambda connection: connection.wait_closed(),
                "127.0.0.1",
                0,
                observers=[recorder],
                task_status=task_status,
            )

        server = await nursery.start(run)
        async with hubws.connect(f"ws://127.0.0.1:{server.port}/a"):
            nursery.cancel_scope.cancel()
    assert [what for what, *_ in recorder.told] == ["started", "opened", "ended", "stopped"]


@pytest.mark.parametrize(
    ("request_line", "changes", "told"),
    [
        ("GET /page HTTP/1.1", {"Sec_WebSocket_Key": "no"}, ("answered", "/page", 400)),
        ("POST /page HTTP/1.1", {}, ("answered", "/page", 405)),
        ("what is this", {}, ("answered", None, 400)),
        (
            "GET /plain HTTP/1.1",
            dict.fromkeys(("Upgrade", "Sec_WebSocket_Key", "Sec_WebSocket_Version")),
            ("answered", "/plain", 426),
        ),
    ],
)
async def test_another_answer(start, raw, recorder, request_line, changes, told) -> None:
    client = await raw(await start(observers=[recorder]))
    await client.send(client.hello(request_line, **changes))
    status, _, _ = await client.response()
    assert recorder.told[1:] == [told]
    assert status == told[2]


async def test_client_that_goes_before_its_request(start, raw, recorder) -> None:
    client = await raw(await start(observers=[recorder]))
    await client.send(b"GET / HT")
    await client.stream.aclose()
    with trio.fail_after(10):
        await recorder.ended.wait()
    assert recorder.told[1:] == [("lost", "it went away")]


async def test_client_that_says_nothing_in_time(start, raw, recorder) -> None:
    client = await raw(await start(observers=[recorder], handshake_timeout=0.01))
    assert await client.at_end()
    assert recorder.told[1:] == [("lost", "no opening handshake came in time")]


async def test_client_without_tls(start, raw, recorder, server_tls) -> None:
    client = await raw(await start(observers=[recorder], ssl_context=server_tls))
    await client.send(client.hello())
    with trio.fail_after(10):
        await recorder.ended.wait()
    [(what, why)] = recorder.told[1:]
    assert (what, why[:6]) == ("lost", "no TLS")


async def test_observer_that_raises(start, raw, recorder, complaints) -> None:
    class Broken(Observer):
        def on_opened(self, connection: Any) -> None:
            raise ValueError("broken observer")

    client = await raw(await start(observers=[Broken(), recorder]), upgraded=True)
    await client.send(hubws.Frame.text("still here"))
    assert (await client.frame()).payload == b"still here"
    assert [what for what, *_ in recorder.told] == ["started", "opened"]
    [record] = complaints()
    assert "Broken.on_opened" in record.getMessage()
    assert "broken observer" in str(record.exc_info[1])


async def test_what_is_no_observer() -> None:
    with pytest.raises(TypeError, match=r"observers are instances of hubws\.Observer, not <class"):
        await hubws.serve(hubws.Callbacks(), port=0, observers=[Recorder])  # type: ignore[list-item]
