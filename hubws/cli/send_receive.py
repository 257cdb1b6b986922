"""`hubws send` and `hubws receive`: files to and from a `hubws transfer-server`."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote, urlsplit

import trio

from ..bench.reasons import in_one_line
from ..client.reconnect import Event, Lost, Waiting, reconnect
from ..client.retrying import worth_retrying
from ..connection.connection import Connection
from ..errors import ConnectionClosed
from .files import Source, TransferError, check_target
from .options import ClientOptions, RetryOptions
from .output import Output, printable, size_in_words
from .progress import ProgressLine
from .running import Run, Status, run
from .transfer import PROTOCOL, REFUSED, Report, content_of, hear, offer, say, store

SEND_EXAMPLES = """
hubws send disk.img ws://127.0.0.1:8008/  # kept there as disk.img
hubws send disk.img ws://127.0.0.1:8008/another-name.img
"""

RECEIVE_EXAMPLES = """
hubws receive ws://127.0.0.1:8008/disk.img disk.img
hubws receive ws://127.0.0.1:8008/disk.img /srv/images/disk.img --retries 10
"""

_NO_OPTIONS = ClientOptions()
_NO_RETRYING = RetryOptions()

Move: TypeAlias = Callable[[Connection], Awaitable[Report]]
"""Moves a file over a connection, from where the last one came to."""


def send(
    file: Path,
    url: str,
    /,
    *,
    retrying: RetryOptions = _NO_RETRYING,
    options: ClientOptions = _NO_OPTIONS,
) -> int:
    """Send a file to a transfer server.

    It is there under its name once it is whole, and its SHA-256 is right. A connection that was lost is
    made anew, and what the server has already is not sent again.

    Args:
        file: what to send.
        url: ws://... or wss://...; its path is the name there, by default that of the file.

    """
    _check(options)
    return run(partial(_send, file, url_at(url, file.name), retrying, options), options)


async def _send(
    file: Path, url: str, retrying: RetryOptions, options: ClientOptions, run: Run
) -> Status:
    with Source(file, follow=True) as source:
        line = ProgressLine(run.output, source.size)
        with line.shown():
            line.tell(f"reading {file.name}", source.size)
            content = await source.content(line.is_at)
            line.tell(f"sending {file.name}", source.size)

            async def move(connection: Connection) -> Report:
                return await offer(connection, source, content, line.is_at)

            moving = Moving(url, run.output)
            report = await moving.run(move, retrying, options)
    moving.sum_up(f"sent {file.name}", report)
    return Status.DONE


def receive(
    url: str,
    file: Path,
    /,
    *,
    retrying: RetryOptions = _NO_RETRYING,
    options: ClientOptions = _NO_OPTIONS,
) -> int:
    """Receive a file from a transfer server.

    It is there under its name once it is whole, and its SHA-256 is right. A connection that was lost is
    made anew, and what has come already does not come again, not even by another run.

    Args:
        url: ws://... or wss://...; its path is the name there.
        file: where to put it. A file that is there is replaced.

    """
    _check(options)
    return run(partial(_receive, url, file, retrying, options), options)


async def _receive(
    url: str, file: Path, retrying: RetryOptions, options: ClientOptions, run: Run
) -> Status:
    check_target(file)
    line = ProgressLine(run.output, 0)

    async def move(connection: Connection) -> Report:
        await say(connection, receive=True)
        content = content_of(await hear(connection))
        line.tell(f"receiving {file.name}", content.size)
        return await store(connection, file, content, line.is_at)

    with line.shown():
        moving = Moving(url, run.output)
        report = await moving.run(move, retrying, options)
    moving.sum_up(f"received {file.name}", report)
    return Status.DONE


def url_at(url: str, name: str) -> str:
    """Where a file of that name goes, unless the URL names another."""
    where = urlsplit(url)
    if where.path and not where.path.endswith("/"):
        return url
    return where._replace(path=(where.path or "/") + quote(os.fsencode(name))).geturl()


def _check(options: ClientOptions) -> None:
    if options.subprotocol:
        raise ValueError(f"--subprotocol is not for transfers, which speak {PROTOCOL}")


class Moving:
    """A file that is moved over one connection after another."""

    def __init__(self, url: str, output: Output) -> None:
        self._url = url
        self._output = output
        self._began_at = trio.current_time()
        self._connections = 0

    async def run(self, move: Move, retrying: RetryOptions, options: ClientOptions) -> Report:
        """Move it. TransferError when that can't be done, else the network's last error."""
        async with reconnect(
            self._url,
            backoff=retrying.backoff(),
            on_event=self._on_event,
            worth_retrying=self._is_worth_retrying,
            **options.arguments() | {"subprotocols": [PROTOCOL], "max_stream_size": sys.maxsize},
        ) as connections:
            async for connection in connections:
                self._connections += 1
                if connection.subprotocol != PROTOCOL:
                    raise TransferError(f"{self._url} does not speak {PROTOCOL}")
                try:
                    return await move(connection)
                except ConnectionClosed as closed:
                    if closed.code == REFUSED:
                        raise TransferError(closed.reason) from None
        raise TransferError("the server closed before the file was whole")

    def _is_worth_retrying(self, error: Exception) -> bool:
        """Not a server that was not there in the first place."""
        return self._connections > 0 and worth_retrying(error)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Lost) and self._connections:
            self._output.note(printable(in_one_line(event.error)), style="yellow")
        elif isinstance(event, Waiting):
            self._output.note(f"trying again in {event.seconds:.1f} s")
            self._output.record(event="waiting", seconds=event.seconds)

    def sum_up(self, what: str, report: Report) -> None:
        """Say what was moved."""
        seconds = trio.current_time() - self._began_at
        content = report.content
        self._output.say(
            f"{printable(what)}: {size_in_words(content.size)} in {seconds:.1f} s, "
            f"SHA-256 {content.sha256}"
        )
        self._output.record(
            event="summary",
            size=content.size,
            sha256=content.sha256,
            seconds=seconds,
            connections=self._connections,
            offset=report.offset,
        )
