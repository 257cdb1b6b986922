"""hubws/bench/reasons.py: errors in one line."""

from __future__ import annotations

import errno
import socket

import pytest

import hubws
from hubws.bench.reasons import in_one_line, leaves


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
        (caused(OSError("no proxy"), OSError(socket.EAI_NONAME, "Name or service not known")),
         "no proxy: Name or service not known"),
        (hubws.LocalProtocolError("not a URL"), "not a URL"),
    ],
)  # fmt: skip
def test_in_one_line(error: Exception, line: str):
    assert in_one_line(error) == line


def test_leaves():
    one, two = ValueError("one"), OSError("two")
    group = ExceptionGroup("", [ExceptionGroup("", [one]), two])
    assert list(leaves(group)) == [one, two]
