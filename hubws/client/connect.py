"""Dialling: from a URL to a connection."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Unpack

import trio

from ..connection.callbacks import NO_CALLBACKS, Callbacks
from ..connection.connection import Connection
from ..connection.settings import Settings, SettingsArguments
from ..errors import HandshakeError, HandshakeTimeout
from ..protocol.handshake import Address, build_request, check_response
from ..protocol.http import HeaderPairs, Response, ResponseReader
from ..transport.abc import Transport
from ..transport.poller import current_poller
from ..transport.socket import SocketTransport
from ..transport.stream import StreamTransport, addresses_of
from ..transport.syscalls import HAS_EPOLL

READ = 16 * 1024
"""How much of the server's answer is read at once, in bytes."""


@contextlib.asynccontextmanager
async def connect(
    url: str,
    *,
    stream: trio.abc.Stream | None = None,
    ssl_context: ssl.SSLContext | None = None,
    headers: HeaderPairs = (),
    subprotocols: Sequence[str] = (),
    origin: str | None = None,
    callbacks: Callbacks = NO_CALLBACKS,
    timeout: float = 10,  # noqa: ASYNC109 - it covers several steps, and is an error of its own
    **settings: Unpack[SettingsArguments],
) -> AsyncIterator[Connection]:
    """Connect to a WebSocket server for as long as the block runs.

    Args:
        url: ws://host[:port]/path?query or wss://...
        stream: a stream to the server that is open already; the URL then only says what to ask for.
        ssl_context: for wss; by default the system's certificate authorities.
        headers: more headers for the request.
        subprotocols: the ones offered, the preferred first.
        origin: the Origin header.
        callbacks: functions to call as things happen; with `on_message`, messages go there.
        timeout: for everything up to the server's 101, in seconds.
        **settings: see `Settings`.

    The connection is closed with 1000 when the block ends, and ended at once when the block is left
    by an exception or cancelled. Raises LocalProtocolError for a URL or headers that can't be sent,
    OSError when there is no way to the server, HandshakeTimeout, HandshakeRefused when the server
    does not answer with a proper 101, and other HandshakeErrors.

    """
    address = Address.from_url(url)
    checked = Settings(**settings)
    key = os.urandom(16)
    request = build_request(
        address,
        key,
        subprotocols=subprotocols,
        compression=checked.compression,
        origin=origin,
        headers=headers,
    )
    with trio.move_on_after(timeout) as scope:
        opened = await _dial(address, stream, ssl_context)
        try:
            response, rest = await _shake_hands(opened, request)
            subprotocol, compression = check_response(
                response, key, subprotocols, checked.compression
            )
        except BaseException:
            await trio.aclose_forcefully(opened)
            raise
    if scope.cancelled_caught:
        raise HandshakeTimeout(f"no answer from {url} within {timeout:g} s")
    connection = Connection(
        _transport(opened),
        current_poller(),
        is_client=True,
        settings=checked,
        callbacks=callbacks,
        subprotocol=subprotocol,
        compression=compression,
        response=response,
    )
    connection.begin(rest)
    try:
        yield connection
    except BaseException:
        connection.abort()
        raise
    await connection.aclose()


async def _dial(
    address: Address, stream: trio.abc.Stream | None, ssl_context: ssl.SSLContext | None
) -> trio.abc.Stream:
    """Open the way to the server, with TLS if the URL says so."""
    if stream is None:
        stream = await trio.open_tcp_stream(address.host, address.port)
    if address.secure and not isinstance(stream, trio.SSLStream):
        context = ssl.create_default_context() if ssl_context is None else ssl_context
        stream = trio.SSLStream(
            stream, context, server_hostname=address.host, https_compatible=True
        )
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError as error:
            await trio.aclose_forcefully(stream)
            why = error.__cause__ or error
            raise HandshakeError(f"no TLS with {address.host}: {why}") from error
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
    return stream


async def _shake_hands(stream: trio.abc.Stream, request: bytes) -> tuple[Response, bytes]:
    """Send the request and read the answer; returns it and what came behind it."""
    reader = ResponseReader()
    try:
        await stream.send_all(request)
        while True:
            data = bytes(await stream.receive_some(READ))
            if not data:
                return reader.receive_eof(), b""
            response = reader.receive_data(data)
            if response is not None:
                return response, reader.rest
    except trio.BrokenResourceError as error:
        raise HandshakeError(f"the connection broke before the server answered: {error}") from error


def _transport(stream: trio.abc.Stream) -> Transport:
    """The fast way for plain sockets, the general one for the rest."""
    remote, local = addresses_of(stream)
    if isinstance(stream, trio.SocketStream) and HAS_EPOLL:
        return SocketTransport.from_stream(stream, current_poller(), remote)
    return StreamTransport(stream, remote, local)
