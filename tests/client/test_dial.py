"""Ways to a server: one at a time, Unix sockets, and a name with several addresses."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

import hubws
from hubws.client.dial import Way
from hubws.client.tls import TLS
from hubws.protocol.address import Address


async def echo(connection: hubws.Connection) -> None:
    async for message in connection:
        await connection.send(message)


async def accept(peer) -> None:
    """Open, and close."""
    await peer.accept()
    await peer.frame()
    await peer.send(hubws.Frame.close())


def bound(address: str, port: int = 0) -> socket.socket:
    """A socket there; OSError when the port is taken."""
    listener = socket.socket()
    try:
        listener.bind((address, port))
    except OSError:
        listener.close()
        raise
    return listener


@contextmanager
def silence(elsewhere: str) -> Iterator[int]:
    """Somebody listens at 127.0.0.1, but the queue is full: whoever dials waits.

    Gives the port, which is free at another address.
    """
    with ExitStack() as stack:
        while True:
            listener = stack.enter_context(bound("127.0.0.1"))
            port = listener.getsockname()[1]
            with suppress(OSError):
                bound(elsewhere, port).close()
                break
        listener.listen(0)
        while True:
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
            if not select.select([], [waiting], [], 0.05)[1]:
                break
        yield port


async def talk(url: str, **options: Any) -> hubws.Connection:
    """Send something there and back."""
    async with hubws.connect(url, **options) as connection:
        await connection.send("héllo")
        assert await connection.receive() == "héllo"
    return connection


class TestUnixSockets:
    @pytest.mark.parametrize("secure", [False, True])
    async def test_through(self, nursery, tmp_path, server_tls, client_tls, secure) -> None:
        path = tmp_path / "server"
        requests = []

        async def handler(connection: hubws.Connection) -> None:
            requests.append(connection.request)
            await echo(connection)

        await nursery.start(
            partial(
                hubws.serve, handler, unix_path=path, ssl_context=server_tls if secure else None
            )
        )
        connection = await talk(
            f"{'wss' if secure else 'ws'}://localhost/a?b", unix_path=path, ssl_context=client_tls
        )
        assert connection.remote == str(path)
        (request,) = requests
        assert request.target == "/a?b"
        assert request.headers["Host"] == "localhost"
        nursery.cancel_scope.cancel()

    async def test_nobody_listens(self, tmp_path) -> None:
        with pytest.raises(OSError, match=r"Unix socket .*missing.*No such file"):
            await talk("ws://localhost/", unix_path=tmp_path / "missing")

    async def test_environment_is_not_asked(self, nursery, tmp_path, monkeypatch) -> None:
        monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")
        await nursery.start(partial(hubws.serve, echo, unix_path=tmp_path / "server"))
        await talk("ws://server.example/", unix_path=tmp_path / "server")
        nursery.cancel_scope.cancel()


class TestSeveralAddresses:
    @pytest.mark.parametrize("addresses", [["::1", "127.0.0.1"], ["127.0.0.1", "::1"]])
    async def test_some_refuse(self, serve_script, names, addresses) -> None:
        """Nobody listens at ::1 (RFC 8305)."""
        names["both.example"] = addresses

        url = (await serve_script(accept)).replace("localhost", "both.example")
        async with hubws.connect(url) as connection:
            assert connection.remote == ("127.0.0.1", int(url[:-1].rpartition(":")[2]))
        assert names.asked == ["both.example"]

    async def test_some_are_silent(self, nursery, names, clock) -> None:
        """The next address is tried while the first has not answered, and the first is given up."""
        names["both.example"] = ["127.0.0.1", "127.0.0.2"]
        with silence("127.0.0.2") as port:
            await nursery.start(hubws.serve, echo, "127.0.0.2", port)
            start = trio.current_time()
            connection = await talk(f"ws://both.example:{port}/")
        assert connection.remote == ("127.0.0.2", port)
        assert 0 < trio.current_time() - start < 1
        nursery.cancel_scope.cancel()

    async def test_all_refuse(self, names) -> None:
        names["both.example"] = ["::1", "127.0.0.1"]
        with pytest.raises(OSError, match=r"both\.example:1"):
            await talk("ws://both.example:1/")

    async def test_nobody_tells_the_address(self, names, clock) -> None:
        names.is_silent = True
        start = trio.current_time()
        with pytest.raises(hubws.HandshakeTimeout, match=r"ws://slow\.example within 7 s"):
            await talk("ws://slow.example/", timeout=7)
        assert trio.current_time() - start == pytest.approx(7)

    async def test_nobody_knows_the_name(self, names) -> None:
        with pytest.raises(OSError, match=r"nowhere\.example: nobody knows that name"):
            await talk("ws://nowhere.example/")


class TestWay:
    @pytest.mark.parametrize(
        "options",
        [
            {"stream": trio.testing.memory_stream_pair()[0], "unix_path": "/a"},
            {"stream": trio.testing.memory_stream_pair()[0], "proxy": "http://a"},
            {"unix_path": "/a", "proxy": "http://a"},
        ],
        ids=lambda options: " and ".join(options),
    )
    async def test_there_is_only_one(self, options) -> None:
        with pytest.raises(ValueError, match=" and ".join(options)):
            Way(**options)

    async def test_certificates_name_no_root(
        self, serve_script, server_tls, client_tls, names
    ) -> None:
        """The dot at the end of a host is for DNS only (RFC 6066 §3)."""
        names["localhost."] = ["127.0.0.1"]
        url = (await serve_script(accept, server_tls)).replace("localhost", "localhost.")
        async with hubws.connect(url, ssl_context=client_tls) as connection:
            assert connection.response.status == 101

    async def test_secrets_are_not_shown(self) -> None:
        way = Way(proxy="http://ada:hidden@a", tls=TLS(certificate="a", password="hidden"))
        assert "hidden" not in repr(way)

    async def test_bad_proxy_is_found_first(self) -> None:
        with pytest.raises(ValueError, match="the proxy 'ftp://a' must begin with"):
            await talk("ws://localhost:1/", proxy="ftp://a")

    async def test_stream_with_tls_is_taken_as_it_is(self, serve_script, server_tls, client_tls):
        url = await serve_script(accept, server_tls)
        address = Address.from_url(url)
        stream = await Way(tls=TLS(context=client_tls)).open(address)
        assert await Way(stream=stream).open(address) is stream
        async with hubws.connect(url, stream=stream) as connection:
            assert connection.response.status == 101
