"""One line for each connection, when it ends, and for each client that got none."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import trio

from ..connection.connection import Connection
from ..protocol.http import Request
from ..transport.abc import SocketAddress
from .observer import Observer

if TYPE_CHECKING:
    from .offer import Tunnel


class AccessLog(Observer):
    """Writes an access log at INFO, to the logger "hubws.access" unless another is given.

    ```
    127.0.0.1:50312 "GET /chat HTTP/1.1" 101 7.251s in=12/480B out=13/520B closed=1000
    127.0.0.1:50313 "GET /chat HTTP/1.1" 403
    ```

    Messages and bytes on the wire, each way. Every figure is an attribute of the log record, too, for
    formatters that write JSON: `connection`, `remote`, `user`, `request`, `status`, `seconds`,
    `messages_received`, `bytes_received`, `messages_sent`, `bytes_sent`, `close_code`. What a client
    chose is written in ASCII, with escapes, so that it can't forge a line.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger or logging.getLogger("hubws.access")
        self._opened: dict[Connection | Tunnel, float] = {}

    def on_opened(self, connection: Connection | Tunnel) -> None:
        """Take note of the time."""
        self._opened[connection] = trio.current_time()

    def on_ended(self, connection: Connection | Tunnel) -> None:
        """Write the connection's line."""
        seconds = trio.current_time() - self._opened.pop(connection)
        closure = connection.closure
        fields: dict[str, Any] = {
            "remote": address_text(connection.remote),
            "user": connection.user,
            "status": 101,
            "seconds": seconds,
            "close_code": None if closure is None else int(closure.code),
        }
        words = f"{seconds:.3f}s"
        if isinstance(connection, Connection):
            statistics = connection.statistics()
            fields |= {
                "connection": connection.id,
                "messages_received": statistics.messages_received,
                "bytes_received": statistics.bytes_received,
                "messages_sent": statistics.messages_sent,
                "bytes_sent": statistics.bytes_sent,
            }
            words += (
                f" in={statistics.messages_received}/{statistics.bytes_received}B"
                f" out={statistics.messages_sent}/{statistics.bytes_sent}B"
            )
        if closure is not None:
            words += f" closed={int(closure.code)}"
        self._write(connection.request, fields, words)

    def on_response(self, request: Request | None, remote: SocketAddress, status: int) -> None:
        """Write the line of who was refused, or asked for something else."""
        self._write(request, {"remote": address_text(remote), "status": status})

    def on_lost(self, remote: SocketAddress, why: str) -> None:
        """Write the line of who went, or was cut off, without an answer."""
        self._write(None, {"remote": address_text(remote), "status": None}, why)

    def _write(self, request: Request | None, fields: dict[str, Any], words: str = "") -> None:
        fields["request"] = asked = "-" if request is None else request_text(request)
        status = "-" if fields["status"] is None else fields["status"]
        line = f'{fields["remote"]} "{asked}" {status} {words}'.rstrip()
        self._logger.info("%s", line, extra=fields)


def address_text(address: SocketAddress) -> str:
    """An address as one writes it: "127.0.0.1:80", "[::1]:80", or "unix"."""
    if not isinstance(address, tuple):
        return "unix"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def request_text(request: Request) -> str:
    """The first line of a request, in ASCII, with escapes for quotes and what can't be printed."""
    line = f"{request.method} {request.target} HTTP/{request.version}"
    return line.encode("unicode_escape").decode("ascii").replace('"', '\\"')
