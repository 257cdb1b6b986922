"""Certificates, and an eye on what is logged."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import attrs
import pytest
import trustme


@attrs.frozen
class Tls:
    """The contexts of both sides."""

    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="session")
def tls_contexts() -> Tls:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return Tls(server, client)


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest, tls_contexts: Tls) -> Tls | None:
    """Without TLS, and with it."""
    return None if request.param == "plain" else tls_contexts


@pytest.fixture(autouse=True)
def no_logged_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A fault is no error of the library."""
    yield
    records = caplog.get_records("call")
    assert [record for record in records if record.levelname == "ERROR"] == []
