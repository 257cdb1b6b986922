"""What is worth another attempt, and how long the server wants it to wait."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from email.utils import format_datetime

import pytest
import trio

import hubws
from hubws import Close, Closure, ConnectionClosed, HandshakeRefused, HandshakeTimeout, Response
from hubws.client.retrying import retry_after, worth_retrying


@pytest.fixture(autouse=True)
def _safety_net() -> None:
    """Nothing here waits, so nothing can hang."""


def closed(received: int | None = None, sent: int | None = None, reason: str = "") -> Exception:
    return ConnectionClosed(
        Closure(
            received=None if received is None else Close(received, reason),
            sent=None if sent is None else Close(sent),
        )
    )


def refused(status: int, *headers: tuple[str, str]) -> HandshakeRefused:
    return HandshakeRefused("no", Response.refusal(status, "no", headers))


def certificate_error() -> Exception:
    """As `connect` raises it."""
    verification = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed")
    verification.reason = "CERTIFICATE_VERIFY_FAILED"
    broken = trio.BrokenResourceError()
    broken.__cause__ = verification
    error = hubws.HandshakeError("no TLS with localhost")
    error.__cause__ = broken
    return error


class TestWorthRetrying:
    @pytest.mark.parametrize("code", [1001, 1006, 1011, 1012, 1013, 1014])
    def test_servers_that_will_be_back(self, code: int) -> None:
        assert worth_retrying(closed(code, code if code != 1006 else None))

    @pytest.mark.parametrize(
        "code", [1000, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 3000, 4000, 4999]
    )
    def test_other_close_codes(self, code: int) -> None:
        assert not worth_retrying(closed(code, code))

    def test_no_close_frame(self) -> None:
        assert worth_retrying(closed())

    def test_what_this_side_meant_counts_too(self) -> None:
        assert worth_retrying(closed(sent=1011))  # no pong
        assert worth_retrying(closed(sent=1001))  # idle
        assert not worth_retrying(closed(sent=1000))
        assert not worth_retrying(closed(sent=1002))
        assert not worth_retrying(closed(received=1001, sent=1000))

    @pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
    def test_refusals_for_now(self, status: int) -> None:
        assert worth_retrying(refused(status))

    @pytest.mark.parametrize("status", [101, 200, 301, 400, 401, 403, 404, 407, 410, 426, 600])
    def test_refusals_for_good(self, status: int) -> None:
        assert not worth_retrying(refused(status))

    @pytest.mark.parametrize(
        "error",
        [
            ConnectionRefusedError(111, "Connection refused"),
            socket.gaierror(-3, "Temporary failure in name resolution"),
            HandshakeTimeout("no answer within 10 s"),
            hubws.HandshakeError("the server closed the connection before it answered"),
            ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
        ],
    )
    def test_networks(self, error: Exception) -> None:
        assert worth_retrying(error)

    def test_certificates(self) -> None:
        error = certificate_error()
        assert not worth_retrying(error)
        assert error.__cause__ is not None
        assert not worth_retrying(error.__cause__.__cause__)  # type: ignore[arg-type]

    @pytest.mark.parametrize("reason", ["TLSV1_ALERT_UNKNOWN_CA", "SSLV3_ALERT_BAD_CERTIFICATE"])
    def test_own_certificate_refused(self, reason: str) -> None:
        error = ssl.SSLError(1, reason)
        error.reason = reason
        assert not worth_retrying(error)

    @pytest.mark.parametrize(
        "error", [hubws.LocalProtocolError("no such scheme"), TypeError(), ZeroDivisionError()]
    )
    def test_mistakes_of_the_application(self, error: Exception) -> None:
        assert not worth_retrying(error)


class TestRetryAfter:
    def test_none(self) -> None:
        assert retry_after(OSError()) == 0
        assert retry_after(closed()) == 0
        assert retry_after(refused(503)) == 0

    @pytest.mark.parametrize(("value", "seconds"), [("0", 0), ("7", 7), ("120", 120)])
    def test_seconds(self, value: str, seconds: float) -> None:
        assert retry_after(refused(503, ("Retry-After", value))) == seconds
        assert retry_after(refused(429, ("retry-after", value))) == seconds

    @pytest.mark.parametrize(
        "value", ["", "soon", "-1", "1.5", "1e9", "9" * 10, "Sat, 99 Nov 2026 14:00:00 GMT", "٣"]
    )
    def test_nonsense(self, value: str) -> None:
        headers = [("Retry-After", value)]
        error = HandshakeRefused("no", Response(503, headers=hubws.Headers(headers)))
        assert retry_after(error) == 0

    def test_date_by_the_servers_clock(self) -> None:
        error = refused(
            503,
            ("Date", "Fri, 01 Jan 2010 00:00:00 GMT"),
            ("Retry-After", "Fri, 01 Jan 2010 00:01:30 GMT"),
        )
        assert retry_after(error) == 90

    def test_date_by_the_own_clock(self) -> None:
        at = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
        error = refused(503, ("Retry-After", format_datetime(at, usegmt=True)))
        assert 3500 < retry_after(error) <= 3600

    def test_date_that_is_past(self) -> None:
        assert retry_after(refused(503, ("Retry-After", "Fri, 01 Jan 2010 00:01:30 GMT"))) == 0

    def test_close_reason(self) -> None:
        assert retry_after(closed(1001, 1001, "going away; retry-after=2.5")) == 2.5
        assert retry_after(closed(1001, 1001, "going away")) == 0
