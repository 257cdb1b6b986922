"""Which header lines a proxy passes on, and which it adds: pure functions (RFC 9110 §7.6, RFC 7239)."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import TypeAlias

import attrs

from ..errors import LocalProtocolError, UpgradeRefused
from ..protocol.http import Headers, Response
from ..transport.abc import SocketAddress

Lines: TypeAlias = list[tuple[str, str]]

HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
    "trailer", "transfer-encoding", "upgrade", "http2-settings", "content-length",
}  # fmt: skip
"""Concern one connection, or its framing, and are never passed on (RFC 9110 §7.6.1)."""

EXTENSIONS = "sec-websocket-extensions"
SUBPROTOCOL = "sec-websocket-protocol"

OWN_OF_REQUESTS = frozenset(("host", "sec-websocket-key", "sec-websocket-version"))
OWN_OF_ANSWERS = frozenset(("sec-websocket-accept", SUBPROTOCOL))
"""Each side of a proxy has its own."""

_TARGET = re.compile(r"/[!-\"$-~]*")
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@attrs.frozen
class Client:
    """What a proxy tells a backend about who connected to it."""

    remote: SocketAddress
    host: str
    """The request's Host."""
    is_secure: bool
    """Whether it came over TLS."""
    is_trusted: bool = False
    """Whether it is a proxy whose own word on this is passed on, too."""

    @property
    def address(self) -> str:
        """The IP address, empty for what has none."""
        if not isinstance(self.remote, tuple):
            return ""
        address = ip_address(str(self.remote[0]).partition("%")[0])
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return str(address)

    @property
    def scheme(self) -> str:
        """As X-Forwarded-Proto has it."""
        return "https" if self.is_secure else "http"

    @property
    def element(self) -> str:
        """What stands for it in the header Forwarded (RFC 7239 §4)."""
        address = self.address or "unknown"
        node = f'"[{address}]"' if ":" in address else address
        host = self.host if _TOKEN.fullmatch(self.host) else f'"{self.host}"'
        return f"for={node};host={host};proto={self.scheme}"


def check_target(target: str) -> None:
    """Refuse, with 400, a request target that backend and proxy might read differently.

    It must be a path, never a URL, whose host would be the client's choice; of printable ASCII; and
    without dot segments, however they are written, by which it could leave the route's path.
    """
    if not _TARGET.fullmatch(target):
        raise _refused("the request target must be a path of printable ASCII")
    path = _PERCENT.sub(lambda digits: chr(int(digits[1], 16)), target.partition("?")[0])
    if not {".", ".."}.isdisjoint(re.split(r"[/\\]", path)) or "\0" in path:
        raise _refused("the request target must not have dot segments")


def forwarded_request(headers: Headers, client: Client) -> Lines:
    """The lines of a client's request that go to the backend, and what is added to them.

    Not the WebSocket ones that are each side's own. Refuses, with 400, values with control characters.
    """
    dropped = _one_hop(headers) | OWN_OF_REQUESTS
    lines = [("Host", client.host)]
    said: dict[str, list[str]] = {"x-forwarded-for": [], "forwarded": []}
    kept = set()
    for name, value in headers:
        lower = name.lower()
        if lower in dropped:
            continue
        # some backends take underscores for dashes, and would believe the wrong one
        plain = lower.replace("_", "-")
        if plain.startswith("x-forwarded-") or plain in ("forwarded", "x-real-ip"):
            if not client.is_trusted or plain != lower:
                continue
            kept.add(lower)
            if lower in said:
                said[lower].append(value)
                continue
        lines.append((name, value))
    if addresses := [*said["x-forwarded-for"], *filter(None, [client.address])]:
        lines.append(("X-Forwarded-For", ", ".join(addresses)))
    if "x-forwarded-proto" not in kept:
        lines.append(("X-Forwarded-Proto", client.scheme))
    if "x-forwarded-host" not in kept:
        lines.append(("X-Forwarded-Host", client.host))
    lines.append(("Forwarded", ", ".join([*said["forwarded"], client.element])))
    try:
        Headers(lines).to_bytes()
    except LocalProtocolError as error:
        raise _refused(str(error)) from None
    return lines


def without(lines: Lines, *names: str) -> Lines:
    """All lines but those of these names, which are given in lower case."""
    return [line for line in lines if line[0].lower() not in names]


def accepting_lines(headers: Headers) -> Lines:
    """The lines of a backend's 101 that go to the client behind the proxy's own."""
    dropped = _one_hop(headers) | OWN_OF_ANSWERS
    return [line for line in headers if line[0].lower() not in dropped]


def refusing_response(response: Response) -> Response:
    """A backend's refusal as the client gets it: the same status, body and headers, but for one hop."""
    dropped = _one_hop(response.headers)
    lines = [line for line in response.headers if line[0].lower() not in dropped]
    if response.status == 426:  # which must say what to upgrade to (RFC 9110 §15.5.22)
        lines += [("Upgrade", "websocket"), ("Connection", "Upgrade")]
    return Response(response.status, response.body, lines)


def _one_hop(headers: Headers) -> set[str]:
    """Names in lower case of what stays here: hop-by-hop, and what Connection names."""
    return HOP_BY_HOP | {name.lower() for name in headers.tokens("Connection")}


def _refused(why: str) -> UpgradeRefused:
    return UpgradeRefused(Response.refusal(400, why))
