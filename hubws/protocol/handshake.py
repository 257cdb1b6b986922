"""The opening handshake, both sides (RFC 6455 §4)."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Collection, Sequence
from hashlib import sha1
from typing import TypeAlias
from urllib.parse import urlsplit

from ..errors import HandshakeRefused, LocalProtocolError, UpgradeRefused
from .address import DEFAULT_PORTS, HOST, Address
from .deflate import NAME, Deflate, DeflateParameters
from .extensions import parse_extensions
from .http import HeaderPairs, Headers, Request, Response, is_token

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What is appended to the key before hashing (RFC 6455 §1.3)."""

KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
"""16 bytes in base64."""

VERSION = "13"
EXTENSIONS = "Sec-WebSocket-Extensions"

Origins: TypeAlias = str | Collection[str | None]
"""Which Origins may connect: "same" (that of the Host header, or none), "any", or a list of them,
in which None stands for a request without Origin."""


def accept_key(key: str) -> str:
    """The Sec-WebSocket-Accept that answers a Sec-WebSocket-Key (RFC 6455 §4.2.2)."""
    return b64encode(sha1(key.encode("ascii") + GUID, usedforsecurity=False).digest()).decode()


# -- server -----------------------------------------------------------------------------------


def is_upgrade(headers: Headers) -> bool:
    """Whether a request means to be an opening handshake, be it a good one or not."""
    return (
        "Sec-WebSocket-Key" in headers
        or "Sec-WebSocket-Version" in headers
        or _has_token(headers, "Upgrade", "websocket")
    )


def check_request(request: Request, headers: Headers) -> str:
    """Check an opening handshake by RFC 6455 §4.2.1; returns its key, or raises UpgradeRefused."""
    if request.method != "GET":
        raise _refused(
            405, f"an opening handshake is a GET, not a {request.method}", [("Allow", "GET")]
        )
    if request.version != "1.1":
        raise _refused(505, f"an opening handshake takes HTTP/1.1, not {request.version}")
    check_host(headers)
    if not _has_token(headers, "Upgrade", "websocket"):
        raise _refused(400, "header Upgrade must name websocket")
    if not _has_token(headers, "Connection", "upgrade"):
        raise _refused(400, "header Connection must name Upgrade")
    if "Transfer-Encoding" in headers or headers.get("Content-Length", "0") != "0":
        raise _refused(400, "an opening handshake has no body")
    if headers.get_all("Sec-WebSocket-Version") != [VERSION]:
        raise _refused(
            426, "header Sec-WebSocket-Version must be 13", [("Sec-WebSocket-Version", VERSION)]
        )
    keys = headers.get_all("Sec-WebSocket-Key")
    if len(keys) != 1 or not KEY.fullmatch(keys[0]):
        raise _refused(400, "header Sec-WebSocket-Key must be 16 bytes in base64, once")
    return keys[0]


def check_host(headers: Headers) -> None:
    """Exactly one Host that reads as one, or UpgradeRefused with 400 (RFC 9112 §3.2)."""
    hosts = headers.get_all("Host")
    if len(hosts) != 1 or not HOST.fullmatch(hosts[0]):
        raise _refused(400, "header Host must name one host")


def check_origin(headers: Headers, origins: Origins, *, is_secure: bool = False) -> None:
    """Refuse, with 403, an Origin that is not allowed (RFC 6455 §10.2).

    Scheme, host and port are compared exactly, a default port being the same as none.
    """
    values = headers.get_all("Origin")
    if origins == "any":
        return
    if origins == "same":
        allowed = not values or (
            len(values) == 1 and _same_host(values[0], headers, is_secure=is_secure)
        )
    elif not values:
        allowed = None in origins
    else:
        parsed = parse_origin(values[0])
        allowed = len(values) == 1 and any(
            origin is not None
            and (origin == values[0] or (parsed is not None and parse_origin(origin) == parsed))
            for origin in origins
        )
    if not allowed:
        raise _refused(403, f"Origin {', '.join(values)[:200] or '(none)'} may not connect")


def parse_origin(origin: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an Origin; None for what names no host, such as "null"."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if not parts.scheme or not parts.hostname or parts.path or parts.query or parts.username:
        return None
    return parts.scheme, parts.hostname, port or DEFAULT_PORTS.get(parts.scheme, 0)


def choose_subprotocol(headers: Headers, supported: Sequence[str]) -> str | None:
    """The first of the server's subprotocols that the client offers (RFC 6455 §4.2.2)."""
    offered = headers.tokens("Sec-WebSocket-Protocol")
    if not offered:
        return None
    if not all(map(is_token, offered)):
        raise _refused(400, "header Sec-WebSocket-Protocol must be a list of tokens")
    return next((name for name in supported if name in offered), None)


def choose_compression(headers: Headers, deflate: Deflate | None) -> DeflateParameters | None:
    """What a server agrees on of the extensions that the client offers (RFC 6455 §9.1)."""
    lines = headers.get_all(EXTENSIONS)
    if not lines:
        return None
    try:
        offers = parse_extensions(lines)
    except ValueError as error:
        raise _refused(400, f"header {EXTENSIONS}: {error}") from None
    return None if deflate is None else deflate.accept(offers)


def build_acceptance(
    key: str,
    subprotocol: str | None,
    compression: DeflateParameters | None = None,
    more: bytes = b"",
) -> bytes:
    """The 101 that opens the connection (RFC 6455 §4.2.2); `more` are header lines, checked before."""
    chosen = "" if subprotocol is None else f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
    if compression is not None:
        chosen += f"{EXTENSIONS}: {compression.to_extension(is_offer=False)}\r\n"
    return (
        "HTTP/1.1 101 Switching Protocols\r\n"
        "Upgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(key)}\r\n{chosen}"
    ).encode("ascii") + b"%b\r\n" % more


def upgrade_required() -> Response:
    """What a plain HTTP request gets when nothing else answers it (RFC 9110 §15.5.22)."""
    return Response.refusal(
        426,
        "this server speaks WebSocket",
        [("Upgrade", "websocket"), ("Connection", "Upgrade")],
    )


def _refused(status: int, why: str, headers: HeaderPairs = ()) -> UpgradeRefused:
    return UpgradeRefused(Response.refusal(status, why, headers))


def _has_token(headers: Headers, name: str, token: str) -> bool:
    values = headers.get_all(name)
    if len(values) == 1 and values[0].lower() == token:  # nearly always
        return True
    return any(member.lower() == token for member in headers.tokens(name))


def _same_host(origin: str, headers: Headers, *, is_secure: bool) -> bool:
    parsed = parse_origin(origin)
    if parsed is None:
        return False
    scheme, host, port = parsed
    if scheme != "https" and (is_secure or scheme != "http"):
        return False
    match = HOST.fullmatch(headers.get("Host", "") or "")
    if match is None:
        return False
    name = match[1].strip("[]").lower()
    return name == host and int(match[2] or DEFAULT_PORTS[scheme]) == port


# -- client -----------------------------------------------------------------------------------


def build_request(
    address: Address,
    key: bytes,
    *,
    subprotocols: Sequence[str] = (),
    compression: Deflate | None = None,
    origin: str | None = None,
    headers: HeaderPairs = (),
) -> bytes:
    """The opening handshake of a client (RFC 6455 §4.1); `key` is 16 random bytes.

    Raises LocalProtocolError for a subprotocol that is no token or comes twice, and for headers that
    could not be sent.
    """
    if isinstance(subprotocols, str):
        raise TypeError(f"subprotocols is a sequence of names, not the text {subprotocols!r}")
    for name in subprotocols:
        if not is_token(name):
            raise LocalProtocolError(f"{name!r} is not a subprotocol: it must be a token")
    if len(set(subprotocols)) != len(subprotocols):
        raise LocalProtocolError(f"a subprotocol is offered twice in {list(subprotocols)}")
    lines = [
        ("Host", address.host_header),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", b64encode(key).decode()),
        ("Sec-WebSocket-Version", VERSION),
    ]
    if subprotocols:
        lines.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
    if compression is not None:
        lines.append((EXTENSIONS, str(compression.offer().to_extension(is_offer=True))))
    if origin is not None:
        lines.append(("Origin", origin))
    if address.authorization is not None:
        lines.append(("Authorization", address.authorization))
    own = {name.lower() for name, _ in lines}
    for name, value in Headers(headers):
        if name.lower() in own and name.lower() != "host":
            raise LocalProtocolError(
                "header Authorization and user information in the URL exclude each other"
                if name.lower() == "authorization"
                else f"header {name} is set by the handshake itself"
            )
        if name.lower() == "host":
            lines[0] = (name, value)
        else:
            lines.append((name, value))
    target = address.target.encode("ascii")
    return b"GET %b HTTP/1.1\r\n%b\r\n" % (target, Headers(lines).to_bytes())


def check_response(
    response: Response,
    key: bytes,
    subprotocols: Sequence[str],
    compression: Deflate | None = None,
) -> tuple[str | None, DeflateParameters | None]:
    """Check a server's answer by RFC 6455 §4.1; returns the subprotocol and the compression it chose.

    Raises HandshakeRefused when it is not a 101, or one that may not be believed.
    """

    def refuse(why: str) -> HandshakeRefused:
        return HandshakeRefused(why, response)

    headers = response.headers
    if response.status != 101:
        said = response.text[:200]
        raise refuse(f"the server answered {response.status}" + (f": {said}" if said else ""))
    if not _has_token(headers, "Upgrade", "websocket"):
        raise refuse("the server's 101 does not upgrade to websocket")
    if not _has_token(headers, "Connection", "upgrade"):
        raise refuse("the server's 101 has no Connection: Upgrade")
    expected = accept_key(b64encode(key).decode())
    if headers.get_all("Sec-WebSocket-Accept") != [expected]:
        raise refuse(
            f"the server's Sec-WebSocket-Accept is {headers.get('Sec-WebSocket-Accept')!r}, "
            f"not {expected!r}"
        )
    try:
        agreed = _check_extensions(headers, compression)
    except ValueError as error:
        raise refuse(f"the server's {EXTENSIONS} {headers.get(EXTENSIONS)!r}: {error}") from None
    chosen = headers.get_all("Sec-WebSocket-Protocol")
    if chosen and (len(chosen) > 1 or chosen[0] not in subprotocols):
        raise refuse(f"the server chose subprotocol {chosen}, offered were {list(subprotocols)}")
    return chosen[0] if chosen else None, agreed


def _check_extensions(headers: Headers, deflate: Deflate | None) -> DeflateParameters | None:
    """What a client agrees on of the extensions that the server uses; ValueError otherwise."""
    answers = parse_extensions(headers.get_all(EXTENSIONS))
    if not answers:
        return None
    if deflate is None or answers[0].name != NAME:
        raise ValueError(f"extension {answers[0].name} was not offered")
    if len(answers) > 1:
        raise ValueError("there is more than one extension")
    return deflate.check_answer(answers[0])
