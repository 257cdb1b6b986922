"""A server that says what a test says, byte by byte."""

from __future__ import annotations

import functools
import math
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import trio
import trio.testing
import trustme

from hubws import Connection, Frame
from hubws.protocol.handshake import accept_key
from tests.client import proxy_programs
from tests.client.service import MakeService, Service, echo


class Peer:
    """The server's end of one connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.buffer = b""
        self.request_line = ""
        self.headers: dict[str, str] = {}

    async def _more(self) -> bool:
        data = await self.stream.receive_some(65536)
        self.buffer += data
        return bool(data)

    async def request(self) -> dict[str, str]:
        """Read the opening handshake; returns its headers, names in lower case."""
        while b"\r\n\r\n" not in self.buffer:
            assert await self._more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        self.request_line, *lines = head.decode("latin-1").split("\r\n")
        for line in lines:
            name, value = line.split(": ", 1)
            assert name.lower() not in self.headers
            self.headers[name.lower()] = value
        return self.headers

    def acceptance(self, *lines: str, key: str | None = None) -> bytes:
        """A 101 with the right Sec-WebSocket-Accept, or that of another key, and more lines."""
        accept = accept_key(self.headers["sec-websocket-key"] if key is None else key)
        head = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        return "\r\n".join([*head, f"Sec-WebSocket-Accept: {accept}", *lines, "", ""]).encode()

    async def accept(self, *lines: str) -> None:
        """Do the opening handshake."""
        await self.request()
        await self.stream.send_all(self.acceptance(*lines))

    async def send(self, data: bytes | Frame) -> None:
        await self.stream.send_all(data if isinstance(data, bytes) else data.to_bytes())

    async def frame(self) -> Frame:
        """The next frame from the client."""
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
        """Vanish: the client's kernel is told RST."""
        assert isinstance(self.stream, trio.SocketStream)
        linger = b"\x01\0\0\0\0\0\0\0"
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.stream.socket.close()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxy the tests' environment needs, it is none of theirs."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def tinyproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with proxy_programs.tinyproxy(tmp_path_factory.mktemp("tinyproxy")) as address:
        yield address


@pytest.fixture(scope="session")
def microsocks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with proxy_programs.microsocks(tmp_path_factory.mktemp("microsocks")) as address:
        yield address


@pytest.fixture(scope="session")
def dante(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with proxy_programs.dante(tmp_path_factory.mktemp("dante")) as address:
        yield address


@pytest.fixture
def clock() -> trio.testing.MockClock:
    """Jumps when nothing has happened for 20 ms: what is on its way in the kernel, trio can't see."""
    return trio.testing.MockClock(autojump_threshold=0.02)


class Names(dict[str, list[str]], trio.abc.HostnameResolver):
    """The names that this process knows, and their addresses; keeps which it was asked for."""

    def __init__(self) -> None:
        super().__init__(localhost=["127.0.0.1"])
        self.asked: list[str] = []
        self.is_silent = False

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # noqa: A002
        name = host.decode()
        self.asked.append(name)
        await trio.sleep(math.inf if self.is_silent else 0)
        if name not in self:
            raise socket.gaierror(socket.EAI_NONAME, "nobody knows that name")
        return [
            entry
            for address in self[name]
            for entry in socket.getaddrinfo(address, port, family, type, proto, flags)
        ]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


@pytest.fixture
async def names() -> Names:
    """Nobody but the test knows names; localhost is 127.0.0.1."""
    names = Names()
    trio.socket.set_custom_hostname_resolver(names)
    return names


Script = Callable[[Peer], Awaitable[object]]


@pytest.fixture
async def serve_script() -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """Run a script for whoever connects; gives the URL. A script that is not done fails the test."""
    async with trio.open_nursery() as nursery:
        running = 0
        done = trio.Event()  # one script more
        accepting = []

        async def run(script: Script, tls: ssl.SSLContext | None, stream: trio.abc.Stream) -> None:
            nonlocal running, done
            running += 1
            if tls is not None:
                stream = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
            try:
                await script(Peer(stream))
                running -= 1
                done.set()
                done = trio.Event()
            finally:
                await trio.aclose_forcefully(stream)

        async def accept(task_status, script: Script, tls: ssl.SSLContext | None) -> None:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            async with listener:
                with trio.CancelScope() as scope:
                    accepting.append(scope)
                    task_status.started(listener.socket.getsockname()[1])
                    while True:
                        nursery.start_soon(run, script, tls, await listener.accept())

        async def start(script: Script, tls: ssl.SSLContext | None = None) -> str:
            port = await nursery.start(functools.partial(accept, script=script, tls=tls))
            return f"{'ws' if tls is None else 'wss'}://localhost:{port}/"

        yield start
        for scope in accepting:
            scope.cancel()
        with trio.move_on_after(5):
            while running:
                await done.wait()
        assert running == 0, "the script is not done"


@pytest.fixture
def as_peer() -> type[Peer]:
    return Peer


# -- clients that come back ------------------------------------------------------------------------


@pytest.fixture
async def service() -> AsyncIterator[MakeService]:
    """Starts a service; the test has 2,000 seconds of its clock."""
    with trio.fail_after(2_000):
        async with trio.open_nursery() as nursery:

            async def start(
                handler: Callable[[Connection], Awaitable[object]] = echo, **options: object
            ) -> Service:
                service = Service(nursery, handler, options)
                await service.start()
                return service

            yield start
            nursery.cancel_scope.cancel()
