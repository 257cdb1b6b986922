"""hubws/embedding/accept.py: upgrades on streams that belong to somebody else's HTTP server."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import hubws
from hubws.connection.connection import Connection
from hubws.embedding.accept import accept
from hubws.protocol.address import Address
from hubws.protocol.frames import Frame, Opcode
from hubws.protocol.handshake import build_request
from tests.faults.conftest import Tls

KEY = bytes(16)


def request(**options: object) -> bytes:
    return build_request(Address.from_url("ws://host.invalid/a?b"), KEY, **options)  # type: ignore[arg-type]


async def converse(stream: trio.abc.Stream, head: bytes = b"") -> None:
    """Be a program's HTTP server that has read some of a request."""
    async with accept(stream, head, compression=True, subprotocols=["chat"]) as connection:
        async for message in connection:
            await connection.send(message)


@pytest.mark.parametrize("read_before", [0, 1, 60, 10_000])
async def test_what_was_read_before_is_not_lost(read_before: int):
    ours, theirs = trio.testing.memory_stream_pair()
    masked = Frame(opcode=Opcode.TEXT, payload=b"early", mask_key=b"abcd").to_bytes()
    data = request() + masked
    async with trio.open_nursery() as nursery:
        nursery.start_soon(converse, ours, data[:read_before])
        await theirs.send_all(data[read_before:])
        received = b""
        while not received.endswith(b"\x81\x05early"):
            received += await theirs.receive_some()
        assert received.startswith(b"HTTP/1.1 101 ")
        await theirs.send_all(b"\x88\x80abcd")
        assert await theirs.receive_some() == b"\x88\x00"
        assert await theirs.receive_some() == b""


@pytest.fixture(params=["socket", "tls", "memory"])
async def streams(
    request: pytest.FixtureRequest,
    tls_contexts: Tls,
    nursery: trio.Nursery,
) -> tuple[trio.abc.Stream, trio.abc.Stream]:
    """A server's stream and its client's."""
    if request.param == "memory":
        return trio.testing.memory_stream_pair()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    client: trio.abc.Stream = await trio.testing.open_stream_to_socket_listener(listener)
    server: trio.abc.Stream = await listener.accept()
    await listener.aclose()
    if request.param == "tls":
        server = trio.SSLStream(server, tls_contexts.server, server_side=True)
        client = trio.SSLStream(client, tls_contexts.client, server_hostname="127.0.0.1")
    return server, client


async def test_any_stream(streams: tuple[trio.abc.Stream, trio.abc.Stream]):
    server, client = streams
    seen: list[Connection] = []

    async def serve() -> None:
        async with accept(
            server, subprotocols=["chat"], compression=True, headers={"X-A": "b"}, user="ada"
        ) as connection:
            seen.append(connection)
            async for message in connection:
                await connection.send(message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with hubws.connect(
            "ws://host.invalid/a%20b?c", stream=client, subprotocols=["chat"], compression=True
        ) as connection:
            await connection.send("text" * 100)
            assert await connection.receive() == "text" * 100
            assert connection.subprotocol == "chat"
            assert connection.compression is not None
            assert connection.response is not None
            assert connection.response.headers["X-A"] == "b"
            assert await connection.ping() > 0
    (ours,) = seen
    assert (ours.path, ours.user, ours.close_code) == ("/a b", "ada", 1000)
    assert ours.request is not None
    assert ours.request.query == "c"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"hello\r\n\r\n", 400),
        (request(origin="https://elsewhere.invalid"), 403),
        (request().replace(b"Version: 13", b"Version: 8"), 426),
    ],
)
async def test_what_is_no_proper_handshake_is_answered(head: bytes, status: int):
    ours, theirs = trio.testing.memory_stream_pair()
    with pytest.raises(hubws.UpgradeRefused) as refused:
        await converse(ours, head)
    assert refused.value.response.status == status
    assert (await theirs.receive_some()).startswith(b"HTTP/1.1 %d " % status)
    await ours.send_all(b"still ours")
    assert await theirs.receive_some() == b"still ours"


async def test_a_client_that_takes_its_time(autojump_clock: trio.testing.MockClock):
    ours, _theirs = trio.testing.memory_stream_pair()
    with pytest.raises(hubws.HandshakeTimeout, match="no opening handshake came within 10 s"):
        await converse(ours, request()[:20])
    assert trio.current_time() == pytest.approx(10, abs=0.1)


async def test_a_client_that_hangs_up():
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.aclose()
    with pytest.raises(hubws.HandshakeError, match="the client hung up"):
        await converse(ours, request()[:20])


async def test_a_client_that_does_not_wait_for_its_refusal():
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.aclose()
    with pytest.raises(hubws.UpgradeRefused):
        await converse(ours, b"hello\r\n\r\n")
