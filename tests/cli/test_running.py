"""hubws/cli/running.py: errors in one line. Signals are tested with the commands."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import pytest

import hubws
from hubws.bench.reasons import leaves
from hubws.cli.options import ClientOptions
from hubws.cli.running import LogLine, Run, Status, run


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """`run` is for a process of its own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OSError("it failed"), Status.FAILED),
        (hubws.ProxyError("it failed"), Status.FAILED),
        (ImportError("it failed"), Status.FAILED),
        (hubws.LocalProtocolError("it failed"), Status.USAGE),
        (ExceptionGroup("", [ValueError("it failed"), OSError("and this")]), Status.USAGE),
    ],
)
def test_what_others_did_wrong_is_told(
    error: Exception, status: Status, capfd: pytest.CaptureFixture[str]
):
    async def fail(_run: Run) -> Status:
        raise error

    assert run(fail, ClientOptions()) == status
    assert capfd.readouterr().err == "hubws: it failed\n"


def test_at_debug_with_its_traceback(capfd: pytest.CaptureFixture[str]):
    async def fail(_run: Run) -> Status:
        raise OSError("it failed")

    assert run(fail, ClientOptions(log_level="debug")) == Status.FAILED
    told = capfd.readouterr().err
    assert "Traceback" in told
    assert told.endswith("\nhubws: it failed\n")


def test_our_own_mistakes_are_raised():
    async def fail(_run: Run) -> Status:
        raise KeyError("a bug")

    with pytest.raises(ExceptionGroup) as raised:
        run(fail, ClientOptions())
    assert [type(one) for one in leaves(raised.value)] == [KeyError]


def test_a_log_line_is_one_line_of_printable_characters():
    try:
        raise ValueError("\x9b2J")
    except ValueError:
        failed = sys.exc_info()
    path = "/\x1b[2J\nFAKE"
    record = logging.LogRecord("hubws", logging.INFO, "", 0, "opened %s", (path,), failed)
    first, *traceback = LogLine("worker 1: ").format(record).split("\n")
    assert first.endswith(r" INFO worker 1: opened /\x1b[2J\nFAKE")
    assert traceback[0] == "Traceback (most recent call last):"
    assert traceback[-1] == r"ValueError: \x9b2J"
