"""Which proxy leads to a server: one that is named, or that of the environment, or none."""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

import attrs

from ..protocol.address import Address, basic, bracketed, parse_user_info, without_secrets

_PORTS = {
    "http": 80,
    "https": 443,
    "socks4": 1080,
    "socks4a": 1080,
    "socks5": 1080,
    "socks5h": 1080,
}


@attrs.frozen
class Proxy:
    """A proxy, as its URL says.

    By http and https it is asked for a tunnel (CONNECT). By socks4 and socks5 this side looks up the
    server's address, by socks4a and socks5h the proxy does.
    """

    scheme: str
    host: str
    port: int
    user: str | None = attrs.field(default=None, repr=False)
    password: str | None = attrs.field(default=None, repr=False)

    @classmethod
    def from_url(cls, url: str) -> Proxy:
        """Read a URL; ValueError, without what may be secret, when it is no proxy's."""
        shown = repr(without_secrets(url))
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError(f"{shown} is not a URL") from None
        if parts.scheme not in _PORTS:
            raise ValueError(f"the proxy {shown} must begin with {', '.join(_PORTS)} and ://")
        if not parts.hostname:
            raise ValueError(f"the proxy {shown} names no host")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError(f"the proxy {shown} must end behind its host and port")
        try:
            user, password = parse_user_info(parts.netloc) or (None, None)
            if user is not None and parts.scheme.startswith("socks"):
                _check_socks(parts.scheme, user, password or "")
        except ValueError as error:
            raise ValueError(f"the proxy {shown}: {error}") from None
        return cls(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], user, password)

    @property
    def authorization(self) -> str | None:
        """The value of Proxy-Authorization, None for none."""
        return None if self.user is None else basic(self.user, self.password or "")

    def __str__(self) -> str:
        return f"{self.scheme}://{bracketed(self.host)}:{self.port}"


def _check_socks(scheme: str, user: str, password: str) -> None:
    if scheme.startswith("socks4"):
        if password:
            raise ValueError("SOCKS4 takes a user without a password")
    elif not all(0 < len(text) < 256 for text in (user, password)):
        raise ValueError("SOCKS5 takes user and password of 1 to 255 characters (RFC 1929)")
    if not (user + password).isascii():
        raise ValueError("SOCKS takes user and password in ASCII")


def proxy_from_environment(address: Address) -> Proxy | None:
    """The proxy that the environment has for an address; None for none.

    The first of `ws_proxy` (for wss `wss_proxy`), `socks_proxy`, `https_proxy`, `http_proxy` (for ws
    only) and `all_proxy` that is set (RFC 6455 §4.1 has this order), unless `no_proxy` or
    `is_exempt` excludes the address.
    """
    if is_exempt(address.host, address.port, _variable("no")):
        return None
    names = ["wss", "socks", "https"] if address.secure else ["ws", "socks", "https", "http"]
    for name in [*names, "all"]:
        url = _variable(name)
        if url and "://" not in url:
            url = f"{'socks5h' if name == 'socks' else 'http'}://{url}"
        if url:
            try:
                return Proxy.from_url(url)
            except ValueError as error:
                raise ValueError(f"{name}_proxy in the environment: {error}") from None
    return None


def _variable(name: str) -> str:
    """One of the variables, which are written in lower case or, if there is no such, in upper case.

    HTTP_PROXY is a request's header where there is REQUEST_METHOD (CVE-2016-5385).
    """
    upper = "" if name == "http" and "REQUEST_METHOD" in os.environ else f"{name.upper()}_PROXY"
    return os.environ.get(f"{name}_proxy", os.environ.get(upper, "")).strip()


def is_exempt(host: str, port: int, no_proxy: str) -> bool:
    """Whether a host is reached without a proxy: this machine itself, and what `no_proxy` lists.

    Its entries, between commas or spaces, are names (with all names below them, whether they begin
    with a dot, with `*.` or neither), addresses, networks such as 10.0.0.0/8, each perhaps with a
    port behind a colon, and `*` for everything.
    """
    host = host.removesuffix(".").lower()
    ip = _as_ip(host)
    if (host == "localhost" or host.endswith(".localhost")) if ip is None else ip.is_loopback:
        return True
    for entry in re.split(r"[,\s]+", no_proxy.lower()):
        name, _, wanted = entry.rpartition(":")
        if not wanted.isdecimal() or (":" in name and not name.endswith("]")):
            name, wanted = entry, ""  # without a port, perhaps an IPv6 address
        if wanted and int(wanted) != port:
            continue
        if name == "*" or (name and _names(name.strip("[]"), host, ip)):
            return True
    return False


def _names(name: str, host: str, ip: IPv4Address | IPv6Address | None) -> bool:
    if ip is None:
        name = name.removeprefix("*").strip(".")
        return host == name or host.endswith(f".{name}")
    try:
        return ip in ip_network(name, strict=False)
    except ValueError:  # a name, or nothing that makes sense
        return False


def _as_ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
