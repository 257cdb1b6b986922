"""The opening handshake inside a program that has its own HTTP server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Unpack

import trio

from ..connection.callbacks import NO_CALLBACKS, Callbacks
from ..connection.connection import Connection
from ..connection.settings import Settings, SettingsArguments
from ..errors import HandshakeError, HandshakeTimeout, UpgradeRefused
from ..protocol.handshake import (
    Origins,
    build_acceptance,
    check_origin,
    check_request,
    choose_compression,
    choose_subprotocol,
)
from ..protocol.http import HeaderPairs, Headers, Request, RequestReader
from ..server.accept import Service
from ..transport.choice import transport_of
from ..transport.poller import current_poller
from .owning import owned

CHUNK = 4096
"""How much of a request is read at once, in bytes."""


@contextlib.asynccontextmanager
async def accept(
    stream: trio.abc.Stream,
    request_head: bytes = b"",
    *,
    subprotocols: Sequence[str] = (),
    origins: Origins = "same",
    headers: HeaderPairs = (),
    callbacks: Callbacks = NO_CALLBACKS,
    user: Any = None,
    timeout: float = 10,  # noqa: ASYNC109 - it covers several steps, and is an error of its own
    **settings: Unpack[SettingsArguments],
) -> AsyncIterator[Connection]:
    """Accept a client's opening handshake on a stream of yours (RFC 6455 §4.2).

        async with hubws.embedding.accept(stream, head) as connection:
            async for message in connection:
                await connection.send(message)

    Args:
        stream: any stream to the client. It is the connection's from then on.
        request_head: what you have read of it: the request or its beginning, and perhaps what came
            behind it. What is missing is read.
        subprotocols, origins, headers: as for `serve`.
        callbacks: functions to call as things happen; with `on_message`, messages go there.
        user: what `connection.user` is to be.
        timeout: until the request is here, in seconds.
        **settings: see `Settings`.

    The connection is closed with 1000 when the block ends, with 1011 when it raises, and ended at
    once when it is cancelled. A ConnectionClosed that leaves the block goes no further.

    Raises UpgradeRefused when the request is no proper opening handshake, after sending its
    `response`; HandshakeTimeout; HandshakeError when the client hangs up first. Then the stream is
    still yours, to be closed.

    """
    service = Service(
        handler=None,
        callbacks=callbacks,
        settings=Settings(**settings),
        subprotocols=subprotocols,
        origins=origins,
        is_secure=isinstance(stream, trio.SSLStream),
        headers=Headers(headers).to_bytes(),
        handshake_timeout=timeout,
    )
    reader = RequestReader()
    with trio.move_on_after(timeout) as scope:
        try:
            request = await _read_request(stream, reader, request_head)
            connection = _open(stream, service, request, reader, user)
        except UpgradeRefused as refused:
            with contextlib.suppress(trio.BrokenResourceError):  # it does not wait for its answer
                await stream.send_all(refused.response.to_bytes())
            raise
    if scope.cancelled_caught:
        raise HandshakeTimeout(f"no opening handshake came within {timeout:g} s")
    connection.begin(reader.rest)
    async with owned(connection):
        yield connection


async def _read_request(stream: trio.abc.Stream, reader: RequestReader, data: bytes) -> Request:
    request = reader.receive_data(bytes(data))
    while request is None:
        try:
            more = await stream.receive_some(CHUNK)
        except trio.BrokenResourceError as error:
            raise HandshakeError("the client went away in its opening handshake") from error
        if not more:
            raise HandshakeError("the client hung up in its opening handshake")
        request = reader.receive_data(bytes(more))
    return request


def _open(
    stream: trio.abc.Stream, service: Service, request: Request, reader: RequestReader, user: Any
) -> Connection:
    headers, settings = reader.headers, service.settings
    key = check_request(request, headers)
    check_origin(headers, service.origins, is_secure=service.is_secure)
    subprotocol = choose_subprotocol(headers, service.subprotocols)
    compression = choose_compression(headers, settings.compression)
    connection = Connection(
        transport_of(stream),
        current_poller(),
        is_client=False,
        settings=settings,
        callbacks=service.callbacks,
        subprotocol=subprotocol,
        compression=compression,
        request=request,
        user=user,
    )
    connection.send_handshake(build_acceptance(key, subprotocol, compression, service.headers))
    return connection
