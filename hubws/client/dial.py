"""The way to a server: a stream of bytes, on which the opening handshake can begin."""

from __future__ import annotations

import os

import attrs
import trio

from ..errors import HandshakeRefused
from ..protocol.address import Address
from ..protocol.http import Response
from .proxies import Proxy, proxy_from_environment
from .tls import TLS, start_tls
from .tunnel import open_tcp, open_tunnel


def _as_proxy(proxy: str | Proxy | bool | None) -> Proxy | bool:  # noqa: FBT001 - what it may be
    return Proxy.from_url(proxy) if isinstance(proxy, str) else proxy or False


@attrs.frozen(kw_only=True)
class Way:
    """How to get to servers: by TCP, through a proxy, by a Unix socket or a ready stream; then by TLS.

    Args:
        stream: a stream that is open already.
        unix_path: of the server's Unix socket.
        proxy: a proxy, or its URL; True for that of the environment.
        tls: for servers by wss.
        proxy_tls: for proxies by https.

    """

    stream: trio.abc.Stream | None = None
    unix_path: str | os.PathLike[str] | None = None
    proxy: Proxy | bool = attrs.field(default=True, converter=_as_proxy)
    tls: TLS = attrs.field(factory=TLS)
    proxy_tls: TLS = attrs.field(factory=TLS)

    def __attrs_post_init__(self) -> None:
        ways = {
            "stream": self.stream is not None,
            "unix_path": self.unix_path is not None,
            "proxy": isinstance(self.proxy, Proxy),
        }
        if sum(ways.values()) > 1:
            names = " and ".join(name for name, is_given in ways.items() if is_given)
            raise ValueError(f"{names} are ways to the server, of which there can be only one")

    async def open(self, address: Address) -> trio.abc.Stream:
        """Open a stream to a server, with TLS if its URL says so.

        Raises OSError when there is no way, ProxyError, and HandshakeError for TLS that fails.
        """
        if not address.secure or isinstance(self.stream, trio.SSLStream):
            return await self._reach(address)
        context = self.tls.make_context()
        name = self.tls.server_hostname or address.host.removesuffix(".")
        return await start_tls(await self._reach(address), context, name, address.host)

    async def _reach(self, address: Address) -> trio.abc.Stream:
        if self.stream is not None:
            return self.stream
        if self.unix_path is not None:
            try:
                return await trio.open_unix_socket(self.unix_path)
            except OSError as error:
                path = os.fspath(self.unix_path)
                raise OSError(f"no way to the Unix socket {path!r}: {error}") from error
        proxy = proxy_from_environment(address) if self.proxy is True else self.proxy
        if isinstance(proxy, Proxy):
            return await open_tunnel(proxy, address, self.proxy_tls)
        return await open_tcp(address.host, address.port)

    def check_redirect(self, target: str, response: Response) -> None:
        """HandshakeRefused when this way leads to one server only."""
        if self.stream is not None or self.unix_path is not None:
            name = "a ready stream" if self.stream is not None else "a Unix socket"
            raise HandshakeRefused(
                f"the server answered {response.status}; {name} does not lead to {target}", response
            )

    def elsewhere(self, target: str, response: Response) -> Way:
        """The way to another server, without what shows who the client is."""
        tls = self.tls.elsewhere()
        if tls is None:
            raise HandshakeRefused(
                f"the server answered {response.status}; your TLS context is not used for {target}, "
                "since it may have a client's certificate: connect there, or take hubws.TLS",
                response,
            )
        return attrs.evolve(self, tls=tls)
