"""A request is read, or refused with `UpgradeRefused`, the same however its bytes are cut.

So it is for every input, and what is held of it is bounded. A request that the server takes as an
opening handshake gets a 101 that a client believes; every refusal is a response that can be read.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from unittest.mock import patch

from fuzzing.feeding import check_ways, held
from hubws.errors import UpgradeRefused
from hubws.protocol import http
from hubws.protocol.address import Address
from hubws.protocol.deflate import Deflate
from hubws.protocol.handshake import (
    Origins,
    accept_key,
    build_acceptance,
    build_request,
    check_origin,
    check_request,
    check_response,
    choose_compression,
    choose_subprotocol,
    is_upgrade,
)
from hubws.protocol.http import Headers, Request, RequestReader, Response, ResponseReader

MAX_HEAD, MAX_HEADERS = 1500, 12  # within reach of a fuzzer
ORIGINS: tuple[Origins, ...] = ("same", "any", ["https://example.org", None], [])
SUBPROTOCOLS = ["chat", "superchat"]


def read(pieces: Sequence[bytes]) -> tuple[str, str, str, bytes, bytes] | bool:
    """What the reader makes of the pieces: a request; else whether it has refused it.

    A request can be too large and no HTTP at once, and either status will do.
    """
    reader = RequestReader()
    for number, piece in enumerate(pieces):
        try:
            request = reader.receive_data(piece)
        except UpgradeRefused as refused:
            check_refusal(refused)
            assert refused.response.status in (400, 431)
            return True
        if request is not None:
            behind = reader.rest + b"".join(pieces[number + 1 :])
            assert list(request.headers) == reader.lines
            return request.method, request.target, request.version, request.head, behind
        assert held(reader) <= 3 * MAX_HEAD  # the head, and the headers and the target out of it
    return False


def check(data: bytes) -> None:
    """The first byte says what the server wants; the others are what the client sends."""
    option, wire = (data[0], data[1:]) if data else (0, b"")
    with patch.multiple(http, MAX_HEAD=MAX_HEAD, MAX_HEADERS=MAX_HEADERS):
        outcome = check_ways(wire, read)
        if not isinstance(outcome, tuple):
            return
        method, target, version, head, behind = outcome
        assert wire.endswith(head + behind)
        request = Request(method, target, version, head)
        assert len(head) <= MAX_HEAD
        assert len(request.headers) <= MAX_HEADERS
        assert request.path + request.query is not None
        try:
            answer(request, request.headers, option)
        except UpgradeRefused as refused:
            check_refusal(refused)


def answer(request: Request, headers: Headers, option: int) -> None:
    """Do what the server does, and have a client look at it."""
    compression = Deflate() if option & 4 else None
    offered = headers.tokens("Sec-WebSocket-Protocol")
    key = check_request(request, headers)
    assert is_upgrade(headers)
    check_origin(headers, ORIGINS[option & 3])
    subprotocol = choose_subprotocol(headers, SUBPROTOCOLS)
    agreed = choose_compression(headers, compression)
    reader = ResponseReader()
    response = reader.receive_data(build_acceptance(key, subprotocol, agreed) + b"\x81\x00")
    assert response is not None
    assert reader.rest == b"\x81\x00"
    assert subprotocol is None or subprotocol in offered
    assert response.headers["Sec-WebSocket-Accept"] == accept_key(key)
    if b64encode(b64decode(key)).decode() != key:
        return  # its last character has bits set that it does not need; our client sends no such key
    # whatever was agreed on is less than what a client can offer
    chosen, compressed = check_response(response, b64decode(key), offered, Deflate())
    assert (chosen, compressed) == (subprotocol, agreed)


def check_refusal(refused: UpgradeRefused) -> None:
    """A refusal can be sent, and is read as what it was."""
    response = refused.response
    reader = ResponseReader()
    read = reader.receive_data(response.to_bytes()) or reader.receive_eof()
    assert read.status == response.status
    assert read.body == response.body[: http.MAX_BODY]
    assert isinstance(read, Response)


def seeds() -> list[bytes]:
    """What this client and browsers send, and requests that servers have stumbled over."""
    address = Address.from_url("ws://example.org/chat?room=1")
    own = build_request(
        address,
        bytes(16),
        subprotocols=["chat"],
        compression=Deflate(),
        origin="http://example.org",
    )
    browser = (
        b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\nConnection: keep-alive, Upgrade\r\n"
        b"Pragma: no-cache\r\nUpgrade: websocket\r\nOrigin: https://example.org\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    )
    requests = [
        own,
        browser,
        b"\r\n\r\n" + own + b"\x81\x80\0\0\0\0",
        own.replace(b"13", b"8"),
        own.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhello"),
        own.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        own.replace(b"Host: example.org", b"Host: a, b"),
        own.replace(b"chat", b"b" + b" " * 50 + b"x"),
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * MAX_HEADERS + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (MAX_HEADERS + 1) + b"\r\n",
        b"GET /" + b"x" * (MAX_HEAD + 1),
        b"GET / HTTP/1.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
    ]
    return [bytes([option]) + request for request in requests for option in (0, 5, 6)]
