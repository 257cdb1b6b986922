"""Routes: which requests go to which backends, and what is changed about them on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias
from urllib.parse import unquote

import attrs

from ..protocol.http import Headers, Request, Response
from ..transport.abc import SocketAddress
from .backends import Backend, Balance
from .forwarding import Lines, check_target
from .inspecting import Inspection

EditRequest: TypeAlias = Callable[[Request, Lines], Lines]
EditResponse: TypeAlias = Callable[[Response, Lines], Lines]


def _path(_: object, attribute: attrs.Attribute[Any], value: str) -> None:
    if not value.startswith("/"):
        raise ValueError(f"{attribute.name} must begin with /, not be {value!r}")


def _host(value: str | None) -> str | None:
    return None if value is None else value.lower()


def _backends(value: Iterable[Backend]) -> Sequence[Backend]:
    return tuple(value)


def _balance(value: str) -> Balance:
    try:
        return Balance(value)
    except ValueError:
        names = ", ".join(balance.value for balance in Balance)
        raise ValueError(f"{value!r} is not a balance; it must be one of {names}") from None


@attrs.frozen(kw_only=True)
class Route:
    """Where requests for a path, or a host, go."""

    path: str = attrs.field(default="/", validator=_path)
    """Percent-decoded. One that ends with / stands for all paths that begin with it."""
    host: str | None = attrs.field(default=None, converter=_host)
    """Of the Host header, without port; None for all."""
    backends: Sequence[Backend] = attrs.field(converter=_backends)
    """Who may answer."""
    balance: Balance = attrs.field(default=Balance.ROUND_ROBIN, converter=_balance)
    """Who of them is asked first."""
    hash_key: Callable[[Request, SocketAddress], str | bytes] | None = None
    """For `hash`: given the request and the client's address, what must lead to the same backend."""
    rewrite: Callable[[str], str] | None = None
    """Given the path as it was sent, percent-encoded and without its query, returns the backend's."""
    edit_request: EditRequest | None = None
    """Given the client's request and the header lines for the backend, returns those to send. Those
    of the opening handshake itself are not among them."""
    edit_response: EditResponse | None = None
    """Given the backend's 101 or refusal and the header lines for the client, returns those to send."""
    inspect: Inspection | None = None
    """Decode messages, and have functions see them. None: bytes are moved as they are."""

    def __attrs_post_init__(self) -> None:
        if not self.backends:
            raise ValueError(f"the route of {self.path} has no backends")

    def fits(self, path: str, host: str) -> bool:
        """Whether it is for a percent-decoded path, and a host in lower case without its port."""
        if self.host is not None and self.host != host:
            return False
        return path.startswith(self.path) if self.path.endswith("/") else path == self.path

    def target(self, target: str) -> str:
        """The request target for the backend; what rewriting makes of it is checked, too."""
        if self.rewrite is None:
            return target
        path, mark, query = target.partition("?")
        rewritten = self.rewrite(path) + mark + query
        check_target(rewritten)
        return rewritten


def find(routes: Sequence[Route], target: str, headers: Headers) -> int | None:
    """The number of the first route that fits, None when there is none."""
    path = unquote(target.partition("?")[0])
    host = without_port(headers.get("Host", "") or "").lower()
    return next((n for n, route in enumerate(routes) if route.fits(path, host)), None)


def without_port(host: str) -> str:
    """A Host header's host."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
