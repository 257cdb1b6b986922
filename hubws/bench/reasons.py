"""What went wrong, in words for people: for the figures of a load test, and the command line."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group, or the one that is none."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from leaves(one)
    else:
        yield error


def in_one_line(error: BaseException) -> str:
    """What went wrong, without numbers and line breaks."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'verify_message', '') or error.reason or error}"
    if isinstance(error, OSError) and error.errno is not None:
        is_system = error.errno > 0 and not isinstance(error, socket.gaierror)
        reason = os.strerror(error.errno) if is_system else str(error.strerror)
        return f"{error.filename}: {reason}" if error.filename else reason
    cause = error.__cause__
    if isinstance(error, OSError) and isinstance(cause, OSError | BaseExceptionGroup):
        reason = in_one_line(next(leaves(cause)))
        return str(error) if reason in str(error) else f"{error}: {reason}"
    return " ".join(str(error).split())
