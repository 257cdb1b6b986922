"""`connect` through proxies, Unix sockets and redirects, cancelled at every scheduling point.

Nothing is left of the streams that were open by then, on any of the three sides.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import trio

import hubws
from hubws.client.tls import TLS
from tests.faults.cancelling import Canceller, cancel_everywhere
from tests.faults.conftest import Tls
from tests.faults.remains import rest_until

Tunnel = Callable[[trio.abc.Stream], Coroutine[Any, Any, tuple[str, int]]]


async def echo(connection: hubws.Connection) -> None:
    async for message in connection:
        await connection.send(message)


def redirect(request: hubws.Request) -> hubws.Response | None:
    """Everybody goes to /."""
    return None if request.path == "/" else hubws.Response(307, headers={"Location": "/"})


async def by_connect(stream: trio.abc.Stream) -> tuple[str, int]:
    """The proxy's part of CONNECT, in two pieces; returns where to go."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await received(stream)
    host, _, port = head.split()[1].decode().rpartition(":")
    await stream.send_all(b"HTTP/1.1 200 ")
    await stream.send_all(b"Fine\r\n\r\n")
    return host, int(port)


async def by_socks(stream: trio.abc.Stream) -> tuple[str, int]:
    """The proxy's part of SOCKS5 with user and password (RFC 1928, RFC 1929)."""
    asked = b""
    for answer in (b"\5\2", b"\1\0", b"\5\0\0\1\0\0\0\0\0\0"):
        asked = await received(stream)
        await stream.send_all(answer)
    return ".".join(map(str, asked[4:8])), int.from_bytes(asked[8:10], "big")


async def received(stream: trio.abc.Stream) -> bytes:
    data = await stream.receive_some()
    if not data:
        raise trio.BrokenResourceError
    return bytes(data)


@contextlib.asynccontextmanager
async def proxy(tunnel: Tunnel, tls: Tls | None) -> AsyncIterator[int]:
    """A proxy, by TLS or not, until the block ends; gives its port."""

    async def pump(source: trio.abc.Stream, sink: trio.abc.Stream, scope: trio.CancelScope) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            while data := await source.receive_some():
                await sink.send_all(data)
        scope.cancel()

    async def link(stream: trio.abc.Stream) -> None:
        if tls is not None:
            stream = trio.SSLStream(stream, tls.server, server_side=True, https_compatible=True)
        server: trio.abc.Stream | None = None
        try:
            server = await trio.open_tcp_stream(*await tunnel(stream))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump, stream, server, nursery.cancel_scope)
                nursery.start_soon(pump, server, stream, nursery.cancel_scope)
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)
            if server is not None:
                await trio.aclose_forcefully(server)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(functools.partial(trio.serve_listeners, link, [listener]))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def everywhere(tls: Tls | None, tunnel: Tunnel | None, unix_path: Path | None = None) -> list[str]:
    """Connect, exchange a message and close; returns how far it came at each point."""
    results = []

    async def scenario(canceller: Canceller) -> None:
        result = "dialling"
        async with trio.open_nursery() as nursery, contextlib.AsyncExitStack() as stack:
            serve = functools.partial(
                hubws.serve,
                echo,
                authenticate=redirect,
                ssl_context=None if tls is None else tls.server,
            )
            if unix_path is None:
                serve = functools.partial(serve, "127.0.0.1", 0)
            else:
                serve = functools.partial(serve, unix_path=unix_path)
            server: hubws.Server = await nursery.start(serve)
            options: dict[str, Any] = {"unix_path": unix_path, "timeout": 10}
            if tunnel is not None:
                scheme = "socks5" if tunnel is by_socks else "https" if tls else "http"
                own = tls if tunnel is by_connect else None
                port = await stack.enter_async_context(proxy(tunnel, own))
                options["proxy"] = f"{scheme}://ada:secret@127.0.0.1:{port}"
            if tls is not None:
                options["tls"] = options["proxy_tls"] = TLS(context=tls.client)
            place = "localhost/" if unix_path else f"127.0.0.1:{server.port}/old"
            with canceller.block():
                async with hubws.connect(f"{'wss' if tls else 'ws'}://{place}", **options) as one:
                    result = "open"
                    await one.send("hello")
                    assert await one.receive() == "hello"
                    result = "closing"
                assert one.closure.normal
                result = "closed"
            results.append(result)

            def is_idle() -> bool:
                statistics = server.statistics()
                return statistics.connections == statistics.handshaking == 0

            await rest_until(is_idle, 0.001)
            assert is_idle()
            nursery.cancel_scope.cancel()
        if unix_path is not None:
            unix_path.unlink(missing_ok=True)

    stride = 7 if tls and tunnel else 1  # of some 500 points
    cancel_everywhere(scenario, cushion=0.001, jump=1, stride=stride)
    return results


@pytest.mark.parametrize("tunnel", [None, by_connect, by_socks])
def test_with_a_redirect(tls: Tls | None, tunnel: Tunnel | None) -> None:
    results = everywhere(tls, tunnel)
    assert results[0] == "dialling"
    assert results[-1] == "closed"
    assert {"dialling", "open", "closing", "closed"} == set(results)


def test_by_unix_socket(tls: Tls | None, tmp_path: Path) -> None:
    results = everywhere(tls, None, tmp_path / "server")
    assert results[0] == "dialling"
    assert results[-1] == "closed"
