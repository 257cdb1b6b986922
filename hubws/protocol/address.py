"""Where a WebSocket URL leads (RFC 6455 §3), and what of a URL may be shown."""

from __future__ import annotations

import re
from base64 import b64encode
from urllib.parse import unquote, urlsplit

import attrs

from ..errors import LocalProtocolError

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+,;=-]+)(?::(\d{1,5}))?")
"""The value of a Host header: a name or an IP address, and perhaps a port."""

_USER_INFO = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*")
_BEFORE_HOST = re.compile(r"^(\w+://)?.*@", re.DOTALL)  # all of it, when it is no URL


@attrs.frozen
class Address:
    """Where a ws or wss URL leads (RFC 6455 §3)."""

    secure: bool
    host: str
    port: int
    target: str
    """Path and query, as the request line has them."""
    authorization: str | None = attrs.field(default=None, repr=False)
    """What the URL's user information comes to as a value of Authorization."""

    @classmethod
    def from_url(cls, url: str) -> Address:
        """Read a URL; LocalProtocolError, without what may be secret, when it is no WebSocket URL."""
        shown = repr(without_secrets(url))
        if any(char in "\t\r\n" for char in url):  # urlsplit would leave them out, and say nothing
            raise LocalProtocolError(f"tabs and line breaks in {shown} must be percent-encoded")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:  # whose text may have the password
            why = "" if "@" in url else f": {error}"
            raise LocalProtocolError(f"{shown} is not a URL{why}") from None
        if parts.scheme not in ("ws", "wss"):
            raise LocalProtocolError(f"{shown} must begin with ws:// or wss://")
        if not parts.hostname:
            raise LocalProtocolError(f"{shown} names no host")
        if not parts.hostname.isascii() or any(char <= " " for char in parts.hostname):
            raise LocalProtocolError(f"the host {parts.hostname!r} must be ASCII, such as xn--...")
        if parts.fragment or "#" in url:
            raise LocalProtocolError(f"{shown} has a fragment, which a WebSocket URL may not have")
        target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        if not target.isascii() or any(char <= " " or char == "\x7f" for char in target):
            shown = repr(without_secrets(target))
            raise LocalProtocolError(f"the path {shown} must be percent-encoded")
        try:
            credentials = parse_user_info(parts.netloc)
        except ValueError as error:
            raise LocalProtocolError(f"{shown}: {error}") from None
        secure = parts.scheme == "wss"
        address = cls(
            secure,
            parts.hostname,
            DEFAULT_PORTS[parts.scheme] if port is None else port,
            target,
            None if credentials is None else basic(*credentials),
        )
        if not HOST.fullmatch(address.host_header) or not _has_labels(parts.hostname):
            raise LocalProtocolError(f"the host {parts.hostname!r} is not a name or an IP address")
        return address

    @property
    def host_header(self) -> str:
        """The value of Host: without the port when it is the scheme's own."""
        host = bracketed(self.host)
        default = DEFAULT_PORTS["wss" if self.secure else "ws"]
        return host if self.port == default else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port, in which nothing is secret: what credentials are given to."""
        return f"{'wss' if self.secure else 'ws'}://{self.host_header}"


def bracketed(host: str) -> str:
    """A host as it stands before a port: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


def parse_user_info(netloc: str) -> tuple[str, str] | None:
    """User and password of what stands between // and path in a URL, percent-decoded.

    None when there are none; ValueError, which does not repeat them, when they can't be used.
    """
    info = netloc.rpartition("@")[0]
    if not info:
        return None
    if not _USER_INFO.fullmatch(info):
        raise ValueError("user and password must be percent-encoded")
    name, _, password = info.partition(":")
    try:
        user = unquote(name, errors="strict")
        password = unquote(password, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("user and password must be UTF-8") from None
    if ":" in user or any(char < " " or char == "\x7f" for char in user + password):
        raise ValueError("user and password may have no control characters, the user no colon")
    return user, password


def basic(user: str, password: str) -> str:
    """The value of Authorization or Proxy-Authorization for basic authentication (RFC 7617)."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def without_secrets(url: str) -> str:
    """A URL, good or not, as it may be shown: without user, password and query."""
    return _BEFORE_HOST.sub(r"\1***@", url).partition("?")[0]


def _has_labels(host: str) -> bool:
    """Whether a host's labels have the length that DNS allows (RFC 1035 §2.3.4)."""
    return all(0 < len(label) <= 63 for label in host.removesuffix(".").split("."))
