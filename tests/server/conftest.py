"""A server to connect to, and a client that writes to it whatever a test says."""

from __future__ import annotations

import functools
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio
import trustme

import hubws
from hubws import Frame

HELLO = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


class RawClient:
    """A client that is nothing but a byte stream."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.buffer = b""

    @staticmethod
    def hello(request: str = "GET / HTTP/1.1", **changes: str | None) -> bytes:
        """An opening handshake; underscores stand for dashes, None leaves a header out."""
        headers: dict[str, str | None] = dict(HELLO)
        headers |= {name.replace("_", "-"): value for name, value in changes.items()}
        lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
        return "\r\n".join([request, *lines, "", ""]).encode("latin-1")

    async def send(self, data: bytes | Frame) -> None:
        if isinstance(data, Frame):
            data.mask_key = data.mask_key or b"\x01\x02\x03\x04"
            data = data.to_bytes()
        await self.stream.send_all(data)

    async def _more(self) -> bool:
        data = await self.stream.receive_some(65536)
        self.buffer += data
        return bool(data)

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers, names in lower case, of a response."""
        while b"\r\n\r\n" not in self.buffer:
            assert await self._more(), f"the stream ended after {self.buffer!r}"
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, value = line.split(": ", 1)
            name = name.lower()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return int(status.split()[1]), headers

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        """A whole response; the server must end the stream behind it."""
        status, headers = await self.head()
        while await self._more():
            pass
        return status, headers, self.buffer

    async def upgrade(self, **changes: Any) -> dict[str, str]:
        """Do the opening handshake; returns the headers of the 101."""
        await self.send(self.hello(**changes))
        status, headers = await self.head()
        assert status == 101
        return headers

    async def frame(self) -> Frame:
        """The next frame from the server."""
        while (read := Frame.from_bytes(self.buffer)) is None:
            assert await self._more(), f"the stream ended after {self.buffer!r}"
        frame, size = read
        self.buffer = self.buffer[size:]
        return frame

    async def at_end(self) -> bool:
        """Wait for the end of the stream; whether nothing came before it."""
        try:
            while await self._more():
                pass
        except trio.BrokenResourceError:  # a reset is an end, too
            pass
        return not self.buffer

    def reset(self) -> None:
        """Vanish: the server's kernel is told RST, the server's process nothing in order."""
        assert isinstance(self.stream, trio.SocketStream)
        linger = b"\x01\0\0\0\0\0\0\0"
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.stream.socket.close()


@pytest.fixture(autouse=True)
def complaints(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[logging.LogRecord]]]:
    """Takes the errors logged so far; a test fails when it leaves any."""

    def take() -> list[logging.LogRecord]:
        records = [r for r in caplog.get_records("call") if r.levelno >= logging.ERROR]
        for record in records:
            caplog.get_records("call").remove(record)
        return records

    yield take
    assert [record.getMessage() for record in take()] == []


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def echo(connection: hubws.Connection) -> None:
    async for message in connection:
        await connection.send(message)


Start = Callable[..., Awaitable[hubws.Server]]


@pytest.fixture
def start(nursery: trio.Nursery) -> Start:
    """Start a server, by default an echo server on a free port; it ends with the test."""

    async def start(
        handler: Callable[[hubws.Connection], Awaitable[object]] | hubws.Callbacks = echo,
        **options: object,
    ) -> hubws.Server:
        if not options.keys() & {"listeners", "unix_path", "port"}:
            options |= {"host": "127.0.0.1", "port": 0}
        serve = functools.partial(hubws.serve, handler, **options)  # type: ignore[arg-type]
        server: hubws.Server = await nursery.start(serve)
        return server

    return start


@pytest.fixture
async def raw(nursery: trio.Nursery) -> AsyncIterator[Callable[..., Awaitable[RawClient]]]:
    """Connect a raw client to a server; it goes before the server does."""
    streams = []

    async def connect(
        server: hubws.Server, tls: ssl.SSLContext | None = None, *, upgraded: bool = False
    ) -> RawClient:
        stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        if tls is not None:
            stream = trio.SSLStream(stream, tls, server_hostname="localhost", https_compatible=True)
        streams.append(stream)
        client = RawClient(stream)
        if upgraded:
            await client.upgrade()
        return client

    yield connect
    for stream in streams:
        await trio.aclose_forcefully(stream)


@pytest.fixture
def hello() -> Callable[..., bytes]:
    return RawClient.hello
