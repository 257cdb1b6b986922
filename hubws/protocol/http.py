"""What of HTTP/1.1 an opening handshake needs: requests, responses, their headers, reading heads.

The parsing is llhttp's (package httptools: 2.7 microseconds a request where h11 takes 37); the
limits and what is made of it are here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import TypeAlias
from urllib.parse import unquote

import attrs
import httptools

from ..errors import HandshakeError, LocalProtocolError, ProxyError, UpgradeRefused

MAX_HEAD = 32 * 1024
"""The longest head of a request or response, in bytes."""

MAX_HEADERS = 128
"""The most header lines in a head."""

MAX_BODY = 4096
"""How much of a refusal's body a client keeps, in bytes."""

SECRET = frozenset({"authorization", "cookie", "proxy-authorization"})
"""Headers whose values no error may repeat."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

HeaderPairs: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]


class Headers:
    """Header lines in their order; names are compared without regard to case (RFC 9110 §5)."""

    __slots__ = ("_index", "_lines")

    def __init__(self, lines: HeaderPairs = ()) -> None:
        self._lines = list(lines.items() if isinstance(lines, Mapping) else lines)
        self._index: dict[str, list[str]] | None = None  # by name in lower case

    def get_all(self, name: str) -> list[str]:
        """All values under that name, in their order."""
        if self._index is None:
            self._index = {}
            for key, value in self._lines:
                self._index.setdefault(key.lower(), []).append(value)
        return self._index.get(name.lower(), [])

    def get(self, name: str, default: str | None = None) -> str | None:
        """The values under that name joined by commas, as RFC 9110 §5.2 reads them."""
        return ", ".join(values) if (values := self.get_all(name)) else default

    def tokens(self, name: str) -> list[str]:
        """The comma-separated members of all lines under that name, without empty ones."""
        values = self.get_all(name)
        if not values:
            return []
        return [
            member for value in values for part in value.split(",") if (member := part.strip(" \t"))
        ]

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_all(name))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._lines == other._lines

    def __hash__(self) -> int:
        return hash(tuple(self._lines))

    def __repr__(self) -> str:
        return f"Headers({self._lines!r})"

    def to_bytes(self) -> bytes:
        """The lines as they go on the wire.

        Raises LocalProtocolError for a name that is no token and a value with a control character,
        such as the CR and LF that would start another header.
        """
        for name, value in self._lines:
            if not _TOKEN.fullmatch(name):
                raise LocalProtocolError(f"{name!r} is not a header name (RFC 9110 §5.1)")
            if not _VALUE.fullmatch(value):
                shown = "" if name.lower() in SECRET else f" {value!r}"
                raise LocalProtocolError(
                    f"the value{shown} of header {name} has characters that no header may have"
                )
        return "".join(f"{name}: {value}\r\n" for name, value in self._lines).encode("latin-1")


def is_token(text: str) -> bool:
    """Whether a text is a token (RFC 9110 §5.6.2), as subprotocols must be."""
    return _TOKEN.fullmatch(text) is not None


class Request:
    """The head of an HTTP request. It keeps the bytes and reads the headers when they are asked for.

    Attributes: `method`; `target`, path and query as they were sent; `version`, such as "1.1";
    `head`, all of it as it came.
    """

    __slots__ = ("head", "method", "target", "version")

    def __init__(self, method: str, target: str, version: str, head: bytes) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.head = head

    @property
    def path(self) -> str:
        """The target without its query, percent-decoded."""
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> str:
        """What follows the question mark in the target, as it was sent."""
        return self.target.partition("?")[2]

    @property
    def headers(self) -> Headers:
        """The header lines; parsed at each call, so keep them if you look twice."""
        reader = _HeaderReader()
        parser = httptools.HttpRequestParser(reader)
        try:
            parser.feed_data(self.head)
        except httptools.HttpParserUpgrade:
            pass
        return reader.headers

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target}>"


def _as_body(body: str | bytes) -> bytes:
    return body.encode() if isinstance(body, str) else body


def _as_headers(lines: HeaderPairs | Headers) -> Headers:
    return lines if isinstance(lines, Headers) else Headers(lines)


@attrs.frozen
class Response:
    """An HTTP response (RFC 9110): its status, body (text becomes UTF-8) and headers.

    Content-Length and Connection are this side's business and set when it is sent.
    """

    status: int
    body: bytes = attrs.field(default=b"", converter=_as_body)
    headers: Headers = attrs.field(factory=Headers, converter=_as_headers)

    @classmethod
    def refusal(cls, status: int, why: str, headers: HeaderPairs = ()) -> Response:
        """An error as one line of plain text."""
        lines = [("Content-Type", "text/plain; charset=utf-8"), *Headers(headers)]
        return cls(status, why + "\n", lines)

    @property
    def text(self) -> str:
        """The body as text, for messages."""
        return self.body.decode(errors="replace").strip()

    def to_bytes(self, *, with_body: bool = True) -> bytes:
        """The response as it goes on the wire; LocalProtocolError for headers that may not."""
        own = ("content-length", "connection")
        lines = [line for line in self.headers if line[0].lower() not in own]
        options = [name for name in self.headers.tokens("Connection") if name.lower() == "upgrade"]
        lines += [
            ("Content-Length", str(len(self.body))),
            ("Connection", ", ".join([*options, "close"])),
        ]
        return b"HTTP/1.1 %d %s\r\n%b\r\n%b" % (
            self.status,
            phrase(self.status).encode(),
            Headers(lines).to_bytes(),
            self.body if with_body else b"",
        )


def phrase(status: int) -> str:
    """The words of a status, empty for one that has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


class _HeaderReader:
    """Collects what llhttp reports; its method names are httptools'."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        # llhttp leaves the whitespace behind a value, which is no part of it (RFC 9110 §5.5)
        self.lines.append((name.decode("latin-1"), value.decode("latin-1").rstrip(" \t")))

    @property
    def headers(self) -> Headers:
        return Headers(self.lines)


class RequestReader(_HeaderReader):
    """Reads the head of one request from bytes as they arrive."""

    def __init__(self) -> None:
        super().__init__()
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._complete = False
        self._received = bytearray()
        self.rest = b""
        """What came behind the head."""

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_headers_complete(self) -> None:
        self._complete = True

    def receive_data(self, data: bytes) -> Request | None:
        """Take some bytes; the request once its head is complete.

        Raises UpgradeRefused with 400 for what is not HTTP and 431 for a head that is too large.
        """
        before = len(self._received)
        if not before:
            data = data.lstrip(b"\r\n")  # empty lines before a request are ignored (RFC 9112 §2.2)
        self._received += data[: MAX_HEAD - before]
        end = self._received.find(b"\r\n\r\n", max(0, before - 3)) + 4
        # the parser gets the head only: what is behind it may be another protocol
        used = (end if end > 3 else len(self._received)) - before
        try:
            self._parser.feed_data(data[:used])
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError as error:
            raise UpgradeRefused(Response.refusal(400, f"not an HTTP request: {error}")) from None
        if len(self.lines) > MAX_HEADERS:
            raise UpgradeRefused(Response.refusal(431, f"over {MAX_HEADERS} header lines"))
        if not self._complete:
            if end > 3:  # such as the preface of HTTP/2, which llhttp wants to hand over
                raise UpgradeRefused(Response.refusal(400, "not an HTTP/1 request"))
            if len(self._received) == MAX_HEAD:
                raise UpgradeRefused(Response.refusal(431, f"the head has over {MAX_HEAD} bytes"))
            return None
        version = self._parser.get_http_version()
        if end <= 3 or version == "0.9":  # whose head is one line, and whatever follows anything
            raise UpgradeRefused(Response.refusal(400, "not an HTTP/1 request"))
        self.rest = data[used:]
        return Request(  # interned, for every open connection keeps its request
            sys.intern(self._parser.get_method().decode("latin-1")),
            self._target.decode("latin-1"),
            sys.intern(version),
            bytes(self._received[:end]),
        )


class ResponseReader(_HeaderReader):
    """Reads a response from bytes as they arrive: a 101's head, or a refusal and its body.

    Args:
        sender: who answers.
        error: what to raise when it answers badly.

    """

    def __init__(
        self, sender: str = "the server", error: type[HandshakeError] = HandshakeError
    ) -> None:
        super().__init__()
        self.sender = sender
        self.error = error
        self._parser = httptools.HttpResponseParser(self)
        self._status = 0
        self._size = 0
        self._head_complete = False
        self._complete = False
        self._body = b""
        self.rest = b""
        """What came behind a 101."""

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_complete:  # else it is a trailer, or of another response
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._head_complete:
            return
        self._status = self._parser.get_status_code()
        if self._status < 200 and self._status != 101:
            self.lines.clear()  # an interim response; the answer follows (RFC 9110 §15.2)
        else:
            self._head_complete = True

    def on_body(self, body: bytes) -> None:
        if not self._complete:
            self._body += body[: MAX_BODY - len(self._body)]

    def on_message_complete(self) -> None:
        self._complete = self._head_complete

    def receive_data(self, data: bytes) -> Response | None:
        """Take some bytes; the response once it is all here, or enough of a refusal's body is.

        Raises `error` for what is not HTTP or has too large a head.
        """
        room = MAX_HEAD - self._size
        if self._head_complete or len(data) <= room:
            return self._receive(data)
        response = self._receive(data[:room])
        if not self._head_complete:
            raise self.error(f"the head of {self.sender}'s answer has over {MAX_HEAD} bytes")
        if response is None:
            return self._receive(data[room:])
        self.rest += data[room:]
        return response

    def _receive(self, data: bytes) -> Response | None:
        used = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            used = upgrade.args[0]
        except httptools.HttpParserError as error:
            if not self._head_complete:
                raise self.error(f"{self.sender}'s answer is not HTTP: {error}") from None
            self._complete = True  # there is no reading on in a broken body
        self._size += used
        if not self._head_complete:
            return None
        if len(self.lines) > MAX_HEADERS:
            raise self.error(f"{self.sender}'s answer has over {MAX_HEADERS} header lines")
        if not self._complete and len(self._body) < MAX_BODY:
            return None
        self.rest = data[used:]
        return self.response

    def receive_eof(self) -> Response:
        """The stream has ended: what there is of a refusal, else `error`."""
        if not self._head_complete:
            raise self.error(f"{self.sender} closed the connection before it answered")
        return self.response

    @property
    def response(self) -> Response:
        return Response(self._status, self._body, self.headers)


class TunnelReader(ResponseReader):
    """Reads a proxy's answer to CONNECT: a 2xx ends with its head, then the tunnel begins.

    What it says of a body is ignored (RFC 9110 §9.3.6).
    """

    def __init__(self, sender: str = "the proxy", error: type[HandshakeError] = ProxyError) -> None:
        super().__init__(sender, error)
        self._before = b""  # in which the end of a head may have begun

    def receive_data(self, data: bytes) -> Response | None:
        """As `ResponseReader.receive_data`; `rest` is what came through the tunnel already."""
        while data and not self._head_complete:
            seen = self._before + data
            end = seen.find(b"\r\n\r\n")
            if end < 0:
                self._before = seen[-3:]
                break
            used = end + 4 - len(self._before)
            response = super().receive_data(data[:used])
            data, self._before = data[used:], b""
            if self._head_complete and 200 <= self._status < 300:
                self.rest = data
                return self.response
            if response is not None:
                return response
        return super().receive_data(data) if data else None
