"""Where a server listens, what it says of itself, and what it refuses before it opens anything."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest
import trio
import trio.testing

import hubws


async def trip(connection: hubws.Connection) -> None:
    await connection.send("héllo")
    await connection.send(b"\0\xff")
    assert [await connection.receive(), await connection.receive()] == ["héllo", b"\0\xff"]


class TestListening:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", None])
    async def test_host_and_port(self, start, host) -> None:
        server = await start(host=host, port=0)
        assert server.port == server.addresses[0][1] > 0
        async with hubws.connect(f"ws://127.0.0.1:{server.port}/") as connection:
            await trip(connection)

    async def test_several_ready_listeners(self, start) -> None:
        listeners: list[trio.SocketListener] = []
        for _ in range(3):
            listeners += await trio.open_tcp_listeners(0, host="127.0.0.1")
        server = await start(listeners=listeners)
        assert len({port for _, port in server.addresses}) == 3
        for _, port in server.addresses:
            async with hubws.connect(f"ws://127.0.0.1:{port}/") as connection:
                await trip(connection)
        assert server.statistics().accepted == 3

    async def test_unix_socket_is_made_and_removed(self, start, tmp_path: Path, nursery) -> None:
        path = tmp_path / "socket"
        server = await start(unix_path=path)
        assert path.is_socket()
        assert server.addresses == [str(path)]
        with pytest.raises(ValueError, match="no port"):
            _ = server.port
        stream = await trio.open_unix_socket(str(path))
        async with hubws.connect("ws://localhost/", stream=stream) as connection:
            await trip(connection)
        await server.drain(1)
        await trio.testing.wait_all_tasks_blocked()
        while path.exists():
            await trio.lowlevel.checkpoint()

    async def test_port_and_unix_socket_at_once(self, start, tmp_path: Path) -> None:
        server = await start(port=0, host="127.0.0.1", unix_path=tmp_path / "socket")
        assert len(server.addresses) == 2
        async with hubws.connect(f"ws://127.0.0.1:{server.port}/") as connection:
            await trip(connection)

    async def test_tls(self, start, server_tls, client_tls) -> None:
        server = await start(ssl_context=server_tls)
        url = f"wss://localhost:{server.port}/"
        async with hubws.connect(url, ssl_context=client_tls) as connection:
            await trip(connection)

    async def test_ready_tls_listener(self, start, server_tls, client_tls) -> None:
        (plain,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server = await start(listeners=[trio.SSLListener(plain, server_tls, https_compatible=True)])
        port = plain.socket.getsockname()[1]
        assert server.port == port
        url = f"wss://localhost:{port}/"
        async with hubws.connect(url, ssl_context=client_tls) as connection:
            await trip(connection)
            assert next(iter(server.connections)).remote == connection.local

    async def test_ready_listener_of_other_streams(self, start) -> None:
        class Memory(trio.abc.Listener[trio.abc.Stream]):
            def __init__(self) -> None:
                self.dial, self._streams = trio.open_memory_channel(1)

            async def accept(self):
                return await self._streams.receive()

            async def aclose(self) -> None:
                await self._streams.aclose()

        listener = Memory()
        server = await start(listeners=[listener])
        assert server.addresses == []
        ours, theirs = trio.testing.memory_stream_pair()
        await listener.dial.send(theirs)
        async with hubws.connect("ws://memory/", stream=ours) as connection:
            await trip(connection)

    async def test_ready_tls_listener_beside_tls_on_sockets(
        self, start, server_tls, client_tls
    ) -> None:
        (plain,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        ready = trio.SSLListener(plain, server_tls, https_compatible=True)
        server = await start(listeners=[ready], host="127.0.0.1", port=0, ssl_context=server_tls)
        for _, port in server.addresses:
            url = f"wss://localhost:{port}/"
            async with hubws.connect(url, ssl_context=client_tls) as connection:
                await trip(connection)

    async def test_bytes_that_are_not_tls_end_that_client_only(
        self, start, raw, server_tls, client_tls
    ) -> None:
        server = await start(ssl_context=server_tls)
        plain = await raw(server)
        await plain.send(plain.hello())
        await plain.at_end()
        assert b"101" not in plain.buffer
        url = f"wss://localhost:{server.port}/"
        async with hubws.connect(url, ssl_context=client_tls) as connection:
            await trip(connection)


class TestServer:
    async def test_connections_and_statistics(self, start, raw) -> None:
        server = await start()
        url = f"ws://127.0.0.1:{server.port}/"
        handshaking = await raw(server)
        await handshaking.send(b"GET ")
        async with hubws.connect(url) as first, hubws.connect(url) as second:
            await trip(first)
            await trip(second)
            remotes = [connection.remote for connection in server.connections]
            assert remotes == [first.local, second.local]
            assert server.statistics() == hubws.ServerStatistics(2, 1, 2)
            await first.aclose()
            await trio.testing.wait_all_tasks_blocked()
            assert [connection.remote for connection in server.connections] == [second.local]
        assert server.statistics().accepted == 2

    async def test_connection_knows_the_request(self, start) -> None:
        async def handler(connection: hubws.Connection) -> None:
            request = connection.request
            assert request is not None
            await connection.send(f"{connection.path} {request.query} {request.headers['X-Who']}")

        server = await start(handler)
        url = f"ws://127.0.0.1:{server.port}/a%20b?c=d"
        async with hubws.connect(url, headers={"X-Who": "me"}) as connection:
            assert await connection.receive() == "/a b c=d me"


async def handler(connection: hubws.Connection) -> None:
    raise AssertionError("nobody connects")


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("arguments", "error", "words"),
        [
            ({}, TypeError, "needs a port"),
            ({"port": 65536}, ValueError, "port must be 0 to 65535, not 65536"),
            ({"port": -1}, ValueError, "not -1"),
            ({"handler": "chat"}, TypeError, "async function"),
            (
                {"handler": hubws.Callbacks(), "callbacks": hubws.Callbacks(on_open=print)},
                TypeError,
                "twice",
            ),
            ({"subprotocols": "chat"}, ValueError, "sequence of tokens"),
            ({"subprotocols": ["a b"]}, ValueError, "sequence of tokens"),
            ({"headers": {"X": "a\r\nSet-Cookie: b"}}, ValueError, "characters"),
            ({"headers": {"X\r\nY": "a"}}, ValueError, "not a header name"),
            ({"origins": "https://example.org"}, ValueError, "origins"),
            ({"max_message_size": 0}, ValueError, "max_message_size"),
            ({"policy": "hope"}, ValueError, "block"),
            ({"no_such_setting": 1}, TypeError, "no_such_setting"),
            ({"grace": -1}, ValueError, "grace"),
            ({"handshake_timeout": 0}, ValueError, "handshake_timeout"),
        ],
    )
    async def test_bad_arguments_before_anything_is_opened(
        self, tmp_path: Path, arguments, error, words
    ) -> None:
        path = tmp_path / "socket"
        if arguments:
            arguments = {"unix_path": path} | arguments
        with pytest.raises(error, match=words):
            await hubws.serve(**({"handler": handler} | arguments))
        assert not path.exists()

    async def test_port_taken_is_a_plain_oserror(self) -> None:
        with (
            socket.create_server(("127.0.0.1", 0)) as taken,
            pytest.raises(OSError, match="in use") as caught,
        ):
            await hubws.serve(handler, "127.0.0.1", taken.getsockname()[1])
        assert caught.value.errno == errno.EADDRINUSE

    async def test_unix_path_taken_leaves_it_alone_and_opens_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("mine")
        with pytest.raises(OSError, match="in use"):
            await hubws.serve(handler, "127.0.0.1", 0, unix_path=path)
        assert path.read_text() == "mine"

    async def test_listener_that_breaks_is_a_plain_error(self, nursery) -> None:
        class Broken(trio.abc.Listener[trio.SocketStream]):
            async def accept(self) -> trio.SocketStream:
                raise OSError(errno.EINVAL, "broken")

            async def aclose(self) -> None:
                await trio.lowlevel.checkpoint()

        with pytest.raises(OSError, match="broken") as caught:
            await hubws.serve(handler, listeners=[Broken()])
        assert caught.value.errno == errno.EINVAL

    async def test_already_cancelled(self) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        with trio.move_on_after(0) as scope:
            await hubws.serve(handler, listeners=listeners)
        assert scope.cancelled_caught
