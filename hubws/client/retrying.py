"""Which failures another attempt to connect may mend, and how long the server says to wait for it."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import ConnectionClosed, HandshakeError
from ..protocol.frames import CloseCode
from ..protocol.http import Headers, Response

if TYPE_CHECKING:
    import datetime as dt

CLOSE_CODES = frozenset(
    {
        CloseCode.GOING_AWAY,
        CloseCode.ABNORMAL,
        CloseCode.INTERNAL_ERROR,
        CloseCode.SERVICE_RESTART,
        CloseCode.TRY_AGAIN_LATER,
        CloseCode.BAD_GATEWAY,
    }
)
"""What a server that will be back closes with; the others would come again, or mean an end."""

STATUSES = frozenset({408, 425, 429})
"""Beside 5xx: Request Timeout, Too Early, Too Many Requests."""

SECONDS = re.compile(r"[0-9]{1,9}")


def worth_retrying(error: Exception) -> bool:
    """Whether to connect again after that error; the default rule of `reconnect`.

    Yes after a network that failed (OSError, TLS included), an opening handshake that took too long or
    broke off, a refusal with 408, 425, 429 or 5xx, and a connection that ended without a close frame or
    with 1001, 1011, 1012, 1013 or 1014. No after other close codes, by whichever side, other refusals,
    certificates that are not accepted, and errors of the application.
    """
    if any(map(_is_about_certificates, _causes(error))):
        return False
    if isinstance(error, ConnectionClosed):
        closes = [close for close in (error.closure.received, error.closure.sent) if close]
        return all(close.code in CLOSE_CODES for close in closes)
    if (response := _refusal(error)) is not None:
        return response.status in STATUSES or 500 <= response.status <= 599
    return isinstance(error, OSError | HandshakeError)


def _refusal(error: Exception) -> Response | None:
    """What a server, or a proxy before it, answered in the place of a 101."""
    response = getattr(error, "response", None)
    return response if isinstance(error, HandshakeError) else None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _is_about_certificates(error: BaseException) -> bool:
    """Whether a certificate was not accepted: the server's here, or this client's there."""
    reason = getattr(error, "reason", None) or ""
    return isinstance(error, ssl.SSLError) and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason)


def retry_after(error: Exception) -> float:
    """How long the server asks to wait, in seconds; 0 when it doesn't say.

    It says so in Retry-After of a refusal (RFC 9110 §10.2.3) or, as hubws does when it drains, in a
    close reason (see `Closure.retry_after`).
    """
    if isinstance(error, ConnectionClosed):
        return error.closure.retry_after or 0.0
    if (response := _refusal(error)) is not None:
        return _retry_after(response.headers)
    return 0.0


def _retry_after(headers: Headers) -> float:
    value = headers.get("Retry-After", "")
    assert value is not None
    if SECONDS.fullmatch(value):
        return float(value)
    at = _date(value)
    if at is None:
        return 0.0
    now = _date(headers.get("Date"))  # clocks may differ
    return max(0.0, at.timestamp() - (time.time() if now is None else now.timestamp()))


def _date(value: str | None) -> dt.datetime | None:
    """A date as HTTP writes it (RFC 9110 §5.6.7), None for anything else."""
    from datetime import UTC  # noqa: PLC0415 - 0.6 MB that most programs never need
    from email.utils import parsedate_to_datetime  # noqa: PLC0415

    try:
        date = parsedate_to_datetime(value or "")
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
