"""Ready-made `authenticate` hooks for `serve`: HTTP basic authentication and bearer tokens.

Secrets are compared as digests and with `hmac.compare_digest`, so that the time that it takes tells
nothing about them (CVE-2021-33880), not even their length or whether a user exists.
"""

from __future__ import annotations

import hmac
import inspect
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any, TypeAlias

from ..protocol.http import Request, Response

Authenticate: TypeAlias = Callable[[Request], Any]
"""Given the opening handshake, returns a user, None for anonymous, or a `Response` that refuses; or
an awaitable of one of these. It may also raise UpgradeRefused."""

NOBODY = sha256(b"no user has this").digest()


def basic_auth(
    credentials: Mapping[str, str] | Callable[[str, str], Any], realm: str = "websocket"
) -> Authenticate:
    """Let in who knows a name and its password (RFC 7617); for `authenticate` of `serve`.

    `credentials` are passwords by name, and the user is the name; or a function, sync or async, that
    is called with name and password and returns the user, True for the name itself, or None or False
    to refuse. Everybody else gets 401. Passwords are sent in the clear: use TLS.
    """
    _check_source(credentials)
    refusal = _unauthorized(f'Basic realm="{_quoted(realm)}", charset="UTF-8"')
    check = credentials if callable(credentials) else _password_check(credentials)

    def authenticate(request: Request) -> Any:
        given = _parse_basic(_authorization(request, "basic"))
        if given is None:
            return refusal
        return _judge(check(*given), given[0], refusal)

    return authenticate


def bearer_auth(
    tokens: Mapping[str, Any] | Callable[[str], Any], realm: str = "websocket"
) -> Authenticate:
    """Let in who has a token (RFC 6750); for `authenticate` of `serve`.

    `tokens` are users by token; or a function, sync or async, that is called with the token and
    returns the user, True for the token itself, or None or False to refuse. Everybody else gets 401.
    """
    _check_source(tokens)
    challenge = f'Bearer realm="{_quoted(realm)}"'
    missing, wrong = _unauthorized(challenge), _unauthorized(f'{challenge}, error="invalid_token"')
    check = tokens if callable(tokens) else _token_check(tokens)

    def authenticate(request: Request) -> Any:
        token = _authorization(request, "bearer")
        if not token:
            return missing
        return _judge(check(token), token, wrong)

    return authenticate


def _check_source(source: object) -> None:
    if not callable(source) and not isinstance(source, Mapping):
        raise TypeError(f"credentials are a mapping or a function, not {type(source).__name__}")


def _quoted(realm: str) -> str:
    if not (realm.isascii() and realm.isprintable()):
        raise ValueError(f"a realm is printable ASCII, not {realm!r}")
    return realm.replace("\\", "\\\\").replace('"', '\\"')


def _unauthorized(challenge: str) -> Response:
    return Response.refusal(401, "who are you?", [("WWW-Authenticate", challenge)])


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()


def _password_check(passwords: Mapping[str, str]) -> Callable[[str, str], bool]:
    digests = {name: _digest(password) for name, password in passwords.items()}

    def check(name: str, password: str) -> bool:
        expected = digests.get(name)
        equal = hmac.compare_digest(_digest(password), expected or NOBODY)
        return equal and expected is not None

    return check


def _token_check(users: Mapping[str, Any]) -> Callable[[str], Any]:
    known = [(_digest(token), user) for token, user in users.items()]

    def check(token: str) -> Any:
        digest, found = _digest(token), None
        for expected, user in known:  # all of them, wherever the right one stands
            if hmac.compare_digest(digest, expected):
                found = user
        return found

    return check


def _authorization(request: Request, scheme: str) -> str:
    """The credentials of an Authorization header of that scheme, empty without exactly one."""
    values = request.headers.get_all("Authorization")
    if len(values) != 1:
        return ""
    name, _, credentials = values[0].partition(" ")
    return credentials.strip(" ") if name.lower() == scheme else ""


def _parse_basic(credentials: str) -> tuple[str, str] | None:
    try:
        name, colon, password = b64decode(credentials, validate=True).decode().partition(":")
    except ValueError:  # not base64, or not UTF-8
        return None
    return (name, password) if colon else None


def _judge(found: Any, name: str, refusal: Response) -> Any:
    """The user, or the refusal, or an awaitable of that."""
    if inspect.isawaitable(found):
        return _judge_later(found, name, refusal)
    if found is None or found is False:
        return refusal
    return name if found is True else found


async def _judge_later(found: Awaitable[Any], name: str, refusal: Response) -> Any:
    return _judge(await found, name, refusal)
