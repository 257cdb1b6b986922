"""The opening handshake with a backend: dial it, ask it for what the client asks, read its answer."""

from __future__ import annotations

from base64 import b64encode

import attrs
import trio

from ..client.dial import Way
from ..client.exchange import exchange
from ..errors import HandshakeError, LocalProtocolError
from ..protocol.handshake import VERSION
from ..protocol.http import Headers, Response, ResponseReader
from .backends import Backend
from .forwarding import Lines

MAX_REFUSAL = 1024 * 1024
"""The longest body of a backend's refusal that is passed on, in bytes."""


async def dial(backend: Backend) -> trio.abc.Stream:
    """Open a byte stream to a backend. OSError or HandshakeError when it can't be reached."""
    way = Way(unix_path=backend.unix_path, proxy=False, tls=backend.tls)
    return await way.open(backend.address)


def request_head(target: str, key: bytes, lines: Lines) -> bytes:
    """An opening handshake; `key` is 16 random bytes. LocalProtocolError for what can't be sent."""
    own = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", b64encode(key).decode()),
        ("Sec-WebSocket-Version", VERSION),
    ]
    return plain_head(target, [*lines, *own])


def plain_head(target: str, lines: Lines) -> bytes:
    """A GET. LocalProtocolError for what can't be sent."""
    return b"GET %b HTTP/1.1\r\n%b\r\n" % (target.encode("ascii"), Headers(lines).to_bytes())


async def ask(stream: trio.abc.Stream, head: bytes) -> tuple[Response, bytes]:
    """Send a request and read the whole answer; returns it and what came behind it.

    Raises HandshakeError when there is none, or it is none that could be passed on.
    """
    response, rest = await exchange(stream, head, WholeReader("the backend"))
    try:
        response.headers.to_bytes()
    except LocalProtocolError as error:
        raise HandshakeError(f"the backend's answer can't be passed on: {error}") from None
    return response, rest


class WholeReader(ResponseReader):
    """Reads a response with all of its body, where a client is content with the beginning."""

    body = b""

    def on_body(self, body: bytes) -> None:
        self.body += body

    def receive_data(self, data: bytes) -> Response | None:
        response = super().receive_data(data)
        if len(self.body) > MAX_REFUSAL:
            raise HandshakeError(f"the backend's refusal has over {MAX_REFUSAL} bytes")
        return response

    @property
    def response(self) -> Response:
        return attrs.evolve(super().response, body=self.body)
