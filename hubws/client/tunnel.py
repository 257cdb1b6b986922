"""Through a proxy to a server: CONNECT (RFC 9110 §9.3.6) and SOCKS."""

from __future__ import annotations

import math
import socket

import trio

from ..errors import ProxyError
from ..protocol.address import Address, bracketed
from ..protocol.http import Headers, TunnelReader
from .exchange import StreamWithRest, exchange
from .proxies import Proxy
from .tls import TLS, start_tls


async def open_tcp(host: str, port: int) -> trio.SocketStream:
    """`trio.open_tcp_stream`, whose error names the host when it is the name that nobody knows."""
    try:
        return await trio.open_tcp_stream(host, port)
    except socket.gaierror as error:
        raise socket.gaierror(error.errno, f"{host}: {error.strerror}") from None


async def open_tunnel(proxy: Proxy, address: Address, tls: TLS) -> trio.abc.Stream:
    """Open a stream through a proxy.

    Args:
        proxy: the proxy, which alone gets to see its user and password.
        address: of the server, of which the proxy learns host and port.
        tls: for a proxy by https.

    Raises OSError when there is no way to the proxy, ProxyError when it opens none to the server.

    """
    if proxy.scheme.startswith("socks"):
        return await _open_by_socks(proxy, address)
    context = tls.make_context() if proxy.scheme == "https" else None
    stream: trio.abc.Stream
    try:
        stream = await open_tcp(proxy.host, proxy.port)
    except OSError as error:
        raise OSError(f"no way to the proxy {proxy}: {error}") from error
    if context is not None:
        name = tls.server_hostname or proxy.host
        stream = await start_tls(stream, context, name, f"the proxy {proxy}", ProxyError)
    try:
        return await _connect(proxy, address, stream)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def _connect(proxy: Proxy, address: Address, stream: trio.abc.Stream) -> trio.abc.Stream:
    server = f"{bracketed(address.host)}:{address.port}"
    lines = [("Host", server)]
    if proxy.authorization is not None:
        lines.append(("Proxy-Authorization", proxy.authorization))
    request = b"CONNECT %b HTTP/1.1\r\n%b\r\n" % (server.encode("ascii"), Headers(lines).to_bytes())
    response, rest = await exchange(stream, request, TunnelReader(f"the proxy {proxy}"))
    if not 200 <= response.status < 300:
        raise ProxyError(
            f"the proxy {proxy} answered {response.status} for {server}: {response.text[:200]}",
            response,
        )
    return StreamWithRest(stream, rest) if rest else stream


async def _open_by_socks(proxy: Proxy, address: Address) -> trio.abc.Stream:
    try:
        import python_socks  # noqa: PLC0415 - an extra, needed only here
        from python_socks.async_.trio.v2 import Proxy as SocksProxy  # noqa: PLC0415
    except ImportError:
        raise ImportError(
            f"the proxy {proxy} needs python-socks: pip install 'hubws[socks]'"
        ) from None
    socks = SocksProxy(
        python_socks.ProxyType.SOCKS5
        if proxy.scheme.startswith("socks5")
        else python_socks.ProxyType.SOCKS4,
        proxy.host,
        proxy.port,
        proxy.user,
        proxy.password,
        rdns=proxy.scheme in ("socks4a", "socks5h"),
    )
    try:
        opened = await socks.connect(address.host, address.port, timeout=math.inf)
    except python_socks.ProxyConnectionError as error:
        raise OSError(f"no way to the proxy {proxy}: {error.__cause__}") from error
    except (python_socks.ProxyError, trio.BrokenResourceError, ValueError) as error:
        server = f"{bracketed(address.host)}:{address.port}"
        raise ProxyError(f"the proxy {proxy} opened no way to {server}: {error}") from error
    return opened.trio_stream
