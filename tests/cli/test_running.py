"""hubws/cli/running.py: errors in one line. Signals are tested with the commands."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Iterator

import pytest

import hubws
from hubws.cli.options import ClientOptions
from hubws.cli.running import Run, Status, in_one_line, leaves, run


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """`run` is for a process of its own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


REFUSED = OSError(errno.ECONNREFUSED, "Error connecting to ('127.0.0.1', 1): Connection refused")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x.pem"),
         "x.pem: No such file or directory"),
        (REFUSED, "Connection refused"),
        (caused(OSError("all attempts failed"), ExceptionGroup("", [REFUSED])),
         "all attempts failed: Connection refused"),
        (caused(OSError("no way: Connection refused"), REFUSED), "no way: Connection refused"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
         "Name or service not known"),
        (hubws.LocalProtocolError("not a URL"), "not a URL"),
    ],
)  # fmt: skip
def test_in_one_line(error: Exception, line: str):
    assert in_one_line(error) == line


def test_leaves():
    one, two = ValueError("one"), OSError("two")
    group = ExceptionGroup("", [ExceptionGroup("", [one]), two])
    assert list(leaves(group)) == [one, two]


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
