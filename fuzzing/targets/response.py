"""A response is read, or refused with `HandshakeError`, the same however its bytes are cut.

So it is for every input, and what is held of it is bounded. What `check_response` believes has the
Sec-WebSocket-Accept of the key, and a subprotocol that was offered or none.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from unittest.mock import patch

from fuzzing.feeding import check_ways, held
from hubws.errors import HandshakeError, HandshakeRefused
from hubws.protocol import http
from hubws.protocol.deflate import Deflate, DeflateParameters
from hubws.protocol.handshake import accept_key, build_acceptance, check_response
from hubws.protocol.http import Response, ResponseReader

MAX_HEAD, MAX_HEADERS, MAX_BODY = 1500, 12, 60  # within reach of a fuzzer
KEY = bytes(16)
SUBPROTOCOLS = ["chat", "superchat"]


def read(pieces: Sequence[bytes], option: int) -> tuple[Response | None, object, bytes]:
    """The response, what the client makes of it, and what comes behind it if that is anything."""
    reader = ResponseReader()
    for number, piece in enumerate(pieces):
        try:
            response = reader.receive_data(piece)
        except HandshakeError:
            return None, None, b""
        assert held(reader) <= 2 * MAX_HEAD + MAX_BODY + len(piece)
        if response is not None:
            behind = reader.rest + b"".join(pieces[number + 1 :])
            break
    else:
        try:
            response, behind = reader.receive_eof(), b""
        except HandshakeError:
            return None, None, b""
    agreed = believe(response, option)
    return response, agreed, b"" if agreed is None else behind


def believe(response: Response, option: int) -> tuple[str | None, DeflateParameters | None] | None:
    """What a client takes the response for, None when it refuses it."""
    offered = SUBPROTOCOLS if option & 1 else []
    compression = Deflate() if option & 2 else None
    try:
        subprotocol, agreed = check_response(response, KEY, offered, compression)
    except HandshakeRefused as refused:
        assert refused.response is response
        return None
    assert response.status == 101
    assert response.headers["Sec-WebSocket-Accept"] == accept_key(b64encode(KEY).decode())
    assert subprotocol is None or subprotocol in offered
    assert agreed is None or compression is not None
    return subprotocol, agreed


def check(data: bytes) -> None:
    """The first byte says what the client has offered; the others are what the server sends."""
    option, wire = (data[0], data[1:]) if data else (0, b"")
    with patch.multiple(http, MAX_HEAD=MAX_HEAD, MAX_HEADERS=MAX_HEADERS, MAX_BODY=MAX_BODY):
        response, _, behind = check_ways(wire, lambda pieces: read(pieces, option))
    assert response is None or len(response.body) <= MAX_BODY
    assert wire.endswith(behind)


def seeds() -> list[bytes]:
    """What servers answer, good and bad."""
    key = b64encode(KEY).decode()
    good = build_acceptance(key, "chat", DeflateParameters(server_max_window_bits=10))
    plain = build_acceptance(key, None)
    answers = [
        good,
        plain + b"\x81\x05Hello",
        plain.replace(b"Upgrade: websocket\r\n", b""),
        plain.replace(b"Connection: Upgrade", b"connection: keep-alive, UPGRADE"),
        plain.replace(b"101", b"200"),
        b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" + plain,
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + plain,
        Response(403, "no", [("X-Why", "because")]).to_bytes(),
        Response(426, "x" * 100, [("Upgrade", "websocket")]).to_bytes(),
        b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
        b"HTTP/1.0 404 Not Found\r\n\r\nuntil the end",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 S\r\n" + b"a: b\r\n" * (MAX_HEADERS + 1) + b"\r\n",
        b"HTTP/1.1 101 S\r\na: " + b"x" * MAX_HEAD,
        b"HTTP/1.1 101 S\r\na: \xe9\x80\xff\r\n\r\n",
        b"HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
    ]
    return [bytes([option]) + answer for answer in answers for option in range(4)]
