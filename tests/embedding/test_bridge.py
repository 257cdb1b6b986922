"""hubws/embedding/bridge.py: a connection over a WebSocket that does as the test says."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import hubws
from hubws.connection.callbacks import NO_CALLBACKS
from hubws.embedding.bridge import Capabilities, EmbeddedConnection, Ended, open_bridge


class Script:
    """A port: what it was given, and what it gives."""

    def __init__(self, *, is_client: bool = False, abort: bool = True) -> None:
        self.is_client = is_client
        self.capabilities = Capabilities(abort=abort)
        self.given: list[object] = []
        self.gives, self._gives = trio.open_memory_channel[str | bytes | Exception](10)
        self.sending: Exception | None = None
        self.answers = trio.Event()
        self.is_aborted = False

    async def receive(self) -> str | bytes:
        message = await self._gives.receive()
        if isinstance(message, Exception):
            raise message
        return message

    async def send(self, message: str | bytes) -> None:
        if self.sending is not None:
            raise self.sending
        self.given.append(message)

    async def ping(self, payload: bytes) -> None:
        self.given.append(("ping", len(payload)))
        await self.answers.wait()

    async def pong(self, payload: bytes) -> None:
        self.given.append(("pong", payload))

    async def close(self, code: int | None, reason: str) -> None:
        self.given.append(("close", code, reason))
        self.gives.send_nowait(Ended(1000 if code is None else code, reason))

    async def abort(self) -> None:
        self.is_aborted = True


def opened(port: Script, **settings: object) -> EmbeddedConnection:
    return open_bridge(port, hubws.Settings(**settings), NO_CALLBACKS)  # type: ignore[arg-type]


@pytest.mark.parametrize("is_client", [False, True])
async def test_messages_go_through_whole(is_client: bool):
    port = Script(is_client=is_client)
    connection = opened(port)
    assert connection.is_client is is_client
    messages: list[str | bytes] = ["text", b"bytes", "", b"", "x" * 100_000]
    for message in messages:
        await connection.send(message)
        await port.gives.send(message)
        assert await connection.receive() == message
    await trio.testing.wait_all_tasks_blocked()
    connection.pong(b"beat")
    await trio.testing.wait_all_tasks_blocked()
    assert port.given == [*messages, ("pong", b"beat")]
    await connection.aclose(4000, "bye")
    assert port.given[-1] == ("close", 4000, "bye")
    assert connection.closure is not None
    assert connection.closure.clean
    await trio.testing.wait_all_tasks_blocked()
    assert port.is_aborted


async def test_messages_in_pieces_and_compression():
    port = Script()
    connection = opened(port, compression=True)
    await connection.send_stream(["a", "b", "c"])
    await trio.testing.wait_all_tasks_blocked()
    assert port.given == ["abc"]
    assert connection.compression is None
    connection.abort()


async def test_a_pong_comes_even_if_nobody_receives():
    port = Script()
    connection = opened(port, inbox_messages=1)
    await port.gives.send("one")
    await port.gives.send("two")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.ping)
        await trio.testing.wait_all_tasks_blocked()
        assert port.given == [("ping", 16)]
        assert connection.is_paused
        port.answers.set()
    assert connection.rtt.samples == 1
    connection.abort()


@pytest.mark.parametrize("abort", [False, True])
async def test_a_library_that_fails_ends_the_connection(abort: bool):
    port = Script(abort=abort)
    port.sending = ZeroDivisionError("theirs")
    connection = opened(port)
    await connection.send("hello")
    with pytest.raises(hubws.ConnectionClosed) as closed:
        await connection.receive()
    assert closed.value.code == 1006
    assert closed.value.closure.undelivered == 1
    port = Script(abort=abort)
    connection = opened(port)
    await port.gives.send(ZeroDivisionError("theirs"))
    with pytest.raises(hubws.ConnectionClosed):
        await connection.receive()


@pytest.mark.parametrize("code", [1000, 1005, 1006, 4000])
async def test_how_the_peer_closed(code: int):
    port = Script()
    connection = opened(port)
    await port.gives.send("last")
    await port.gives.send(Ended(code, "bye" if code == 4000 else ""))
    assert await connection.receive() == "last"
    with pytest.raises(hubws.ConnectionClosed):
        await connection.receive()
    assert connection.close_code == code


async def test_a_send_that_can_not_be_cancelled_holds_up_nothing_but_itself():
    class Stuck(Script):
        async def send(self, message: str | bytes) -> None:
            with trio.CancelScope(shield=True):
                await self.answers.wait()
            self.given.append(message)

    port = Stuck(abort=False)
    connection = opened(port)
    await connection.send("hello")
    await trio.testing.wait_all_tasks_blocked()
    connection.abort()
    await trio.testing.wait_all_tasks_blocked()
    assert port.is_aborted
    assert port.given == []
    port.answers.set()
    await trio.testing.wait_all_tasks_blocked()
    assert port.given == ["hello"]


async def test_no_peer_answers_keepalive(autojump_clock: trio.testing.MockClock):
    port = Script()
    connection = opened(port)
    with pytest.raises(hubws.ConnectionClosed):
        await connection.receive()
    assert connection.closure is not None
    assert connection.closure.sent is not None
    assert connection.closure.sent.code == 1011
    assert 39 < trio.current_time() < 60
