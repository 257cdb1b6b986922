"""Who may look at a page, and that its feed is for them, too.

Browsers can't send an Authorization header with a WebSocket. So whoever was let in to the page gets a
cookie, by which its feed lets them in: until when, and an HMAC of that, with a key of this process.
"""

from __future__ import annotations

import hmac
import inspect
import secrets
import time
from typing import Any

import attrs

from ..protocol.http import Request, Response
from ..server.authentication import Authenticate

LIFETIME = 12 * 3600
"""How long a cookie is good for, in seconds."""


class Guard:
    """Asks `authenticate`, and gives and takes cookies.

    Args:
        authenticate: as for `serve`, but not async; None lets everybody in.
        name: of the cookie.
        path: of the page.

    """

    def __init__(self, authenticate: Authenticate | None, name: str, path: str) -> None:
        self._authenticate = authenticate
        self._name = name
        self._path = path
        self._key = secrets.token_bytes(32)

    def admit(self, request: Request) -> Any:
        """What `authenticate` says of a request; None for one with a cookie of ours."""
        if self._authenticate is None or self._has_cookie(request):
            return None
        said = self._authenticate(request)
        if inspect.isawaitable(said):
            if inspect.iscoroutine(said):
                said.close()
            raise TypeError("authenticate of a page must not be async")
        return said

    def show(self, request: Request, response: Response, *, is_secure: bool) -> Response:
        """The response, with a cookie if there is none yet, for who is let in; else the refusal."""
        if self._authenticate is None or self._has_cookie(request):
            return response
        said = self.admit(request)
        if isinstance(said, Response):
            return said
        cookie = (
            f"{self._name}={self._sign(int(time.time()) + LIFETIME)}; Path={self._path}; "
            f"Max-Age={LIFETIME}; HttpOnly; SameSite=Strict{'; Secure' if is_secure else ''}"
        )
        return attrs.evolve(response, headers=[*response.headers, ("Set-Cookie", cookie)])

    def _sign(self, until: int) -> str:
        return f"{until}.{hmac.digest(self._key, str(until).encode(), 'sha256').hex()}"

    def _has_cookie(self, request: Request) -> bool:
        for header in request.headers.get_all("Cookie"):
            for pair in header.split(";"):
                name, _, value = pair.strip().partition("=")
                until = value.partition(".")[0]
                if (
                    name == self._name
                    and until.isascii()
                    and until.isdecimal()
                    and len(until) <= 12
                    and hmac.compare_digest(value.encode(), self._sign(int(until)).encode())
                    and time.time() < int(until)
                ):
                    return True
        return False
