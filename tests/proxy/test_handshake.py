"""What a backend is asked, in bytes, and how its answer is read."""

from __future__ import annotations

import pytest

from hubws.errors import HandshakeError, LocalProtocolError
from hubws.proxy.handshake import MAX_REFUSAL, WholeReader, plain_head, request_head


def test_request():
    assert request_head("/a?b", bytes(16), [("Host", "a"), ("Cookie", "\xe9")]) == (
        b"GET /a?b HTTP/1.1\r\nHost: a\r\nCookie: \xe9\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )


@pytest.mark.parametrize("line", [("A", "b\r\nC: d"), ("A\r\nB", "c"), ("A", "\0")])
def test_lines_that_would_be_others(line: tuple[str, str]):
    with pytest.raises(LocalProtocolError):
        plain_head("/", [line])


def test_an_answer_is_read_whole():
    reader = WholeReader("the backend")
    body = bytes(100_000)
    assert reader.receive_data(b"HTTP/1.1 403 No\r\nContent-Length: 100000\r\n\r\n") is None
    assert reader.receive_data(body[:50_000]) is None
    response = reader.receive_data(body[50_000:])
    assert response is not None
    assert (response.status, response.body) == (403, body)


def test_but_not_without_end():
    reader = WholeReader("the backend")
    reader.receive_data(b"HTTP/1.1 403 No\r\n\r\n" + bytes(MAX_REFUSAL))
    with pytest.raises(HandshakeError, match="over 1048576 bytes"):
        reader.receive_data(b"x")


def test_behind_a_101():
    reader = WholeReader("the backend")
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    response = reader.receive_data(head + b"\x81\x00")
    assert response is not None
    assert (response.status, response.body, reader.rest) == (101, b"", b"\x81\x00")
