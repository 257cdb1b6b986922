"""An eye on what is logged: a peer that fails is no error of ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.conftest import tls_contexts  # noqa: F401 - a fixture


@pytest.fixture(autouse=True)
def no_logged_errors(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    yield
    if request.node.get_closest_marker("logs_errors") is None:
        assert [line for line in caplog.get_records("call") if line.levelname == "ERROR"] == []
