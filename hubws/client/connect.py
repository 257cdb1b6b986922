"""Dialling: from a URL to a connection."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Literal, Unpack

import attrs
import trio

from ..connection.callbacks import NO_CALLBACKS, Callbacks
from ..connection.connection import Connection
from ..connection.settings import Settings, SettingsArguments
from ..errors import HandshakeRefused, HandshakeTimeout
from ..protocol.address import Address
from ..protocol.deflate import Deflate, DeflateParameters
from ..protocol.handshake import build_request, check_response
from ..protocol.http import HeaderPairs, Headers, Response, ResponseReader
from ..transport.choice import transport_of
from ..transport.poller import current_poller
from .dial import Way
from .exchange import exchange
from .redirects import Destination
from .tls import TLS

MAX_REDIRECTS = 10
"""How many redirects are followed when nothing else is said."""


@contextlib.asynccontextmanager
async def connect(
    url: str,
    *,
    stream: trio.abc.Stream | None = None,
    unix_path: str | os.PathLike[str] | None = None,
    proxy: str | Literal[True] | None = True,
    tls: TLS | None = None,
    ssl_context: ssl.SSLContext | None = None,
    proxy_tls: TLS | None = None,
    headers: HeaderPairs = (),
    subprotocols: Sequence[str] = (),
    origin: str | None = None,
    max_redirects: int = MAX_REDIRECTS,
    callbacks: Callbacks = NO_CALLBACKS,
    timeout: float = 10,  # noqa: ASYNC109 - it covers several steps, and is an error of its own
    **settings: Unpack[SettingsArguments],
) -> AsyncIterator[Connection]:
    """Connect to a WebSocket server for as long as the block runs (RFC 6455 §4.1).

    Args:
        url: ws://host[:port]/path?query or wss://...; user:password@ before the host is sent as basic
            authentication.
        stream: a stream to the server that is open already; the URL then only says what to ask for.
        unix_path: of the server's Unix socket; the URL then only says what to ask for.
        proxy: the URL of a proxy, by http, https (both with CONNECT), socks4, socks4a, socks5 or
            socks5h, with user:password@ if it wants them; True: that of the environment (see
            `docs/semantics.md`), None: none. SOCKS needs hubws[socks].
        tls: for wss: whom to trust, and who to be; by default the system's authorities, and nobody.
        ssl_context: for wss, a TLS context of your own instead.
        proxy_tls: for a proxy by https.
        headers: more headers for the request.
        subprotocols: the ones offered, the preferred first.
        origin: the Origin header.
        max_redirects: how many redirects to follow; credentials go to no other scheme, host or port.
        callbacks: functions to call as things happen; with `on_message`, messages go there.
        timeout: for everything up to the server's 101, in seconds.
        **settings: see `Settings`.

    The connection is closed with 1000 when the block ends, and ended at once when the block is left
    by an exception or cancelled. Raises LocalProtocolError for a URL or headers that can't be sent,
    TypeError or ValueError for options that make no sense, OSError when there is no way to the server
    or proxy, ProxyError, HandshakeTimeout, HandshakeRefused when the server does not answer with a
    proper 101, and other HandshakeErrors.

    """
    if tls is not None and ssl_context is not None:
        raise ValueError("tls and ssl_context exclude each other")
    way = Way(
        stream=stream,
        unix_path=unix_path,
        proxy=proxy,
        tls=tls or TLS(context=ssl_context),
        proxy_tls=proxy_tls or TLS(),
    )
    if max_redirects < 0:
        raise ValueError(f"max_redirects must be 0 or more, not {max_redirects}")
    checked = Settings(**settings)
    offer = _Offer(subprotocols, checked.compression)
    destination = Destination(Address.from_url(url), way, origin, Headers(headers))
    opened = await _open(destination, offer, max_redirects, timeout)
    connection = Connection(
        transport_of(opened.stream),
        current_poller(),
        is_client=True,
        settings=checked,
        callbacks=callbacks,
        subprotocol=opened.subprotocol,
        compression=opened.compression,
        response=opened.response,
    )
    connection.begin(opened.rest)
    try:
        yield connection
    except BaseException:
        connection.abort()
        raise
    await connection.aclose()


@attrs.frozen
class _Offer:
    """What of WebSocket a client offers to whatever server it comes to."""

    subprotocols: Sequence[str]
    compression: Deflate | None


@attrs.frozen
class _Opened:
    """What an opening handshake came to."""

    stream: trio.abc.Stream
    rest: bytes
    """What came behind the 101."""
    response: Response
    subprotocol: str | None
    compression: DeflateParameters | None


async def _open(
    destination: Destination, offer: _Offer, max_redirects: int, seconds: float
) -> _Opened:
    """Dial and shake hands, again for each redirect, within so many seconds in all."""
    with trio.move_on_after(seconds):
        for _ in range(max_redirects + 1):
            key = os.urandom(16)
            request = build_request(
                destination.address,
                key,
                subprotocols=offer.subprotocols,
                compression=offer.compression,
                origin=destination.origin,
                headers=destination.headers,
            )
            stream = await destination.way.open(destination.address)
            try:
                response, rest = await exchange(stream, request, ResponseReader())
                target = destination.redirected(response)
                if target is None:
                    agreed = check_response(response, key, offer.subprotocols, offer.compression)
                    return _Opened(stream, rest, response, *agreed)
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
            await trio.aclose_forcefully(stream)
            destination = target
        raise HandshakeRefused(
            f"more than {max_redirects} redirects, the last by {response.status} to "
            f"{destination.shown}",
            response,
        )
    raise HandshakeTimeout(f"no answer from {destination.address.origin} within {seconds:g} s")
