"""A conversation with one server, over one connection after another."""

from __future__ import annotations

import contextlib
from typing import Any

import trio

from ..bench.reasons import in_one_line
from ..client.backoff import Backoff
from ..client.reconnect import Connecting, Event, Lost, Opened, Waiting, reconnect
from ..client.retrying import worth_retrying
from ..connection.callbacks import Callbacks
from ..connection.connection import Connection
from ..errors import ConnectionClosed, HubwsError
from .dialect import Dialect
from .options import ClientOptions
from .output import Output, printable, size_in_words


class Conversation:
    """Connects, shows what comes, and connects again when the connection is lost.

    Args:
        url: of the server.
        backoff: when to try again.
        options: of all clients.
        output: where to show what comes, and what happens.
        dialect: what is sent and shown.
        is_interactive: whether somebody is there who may start it again.

    Attributes:
        failure: what ended it, unless it was closed in order.
        was_open: whether there ever was a connection.

    """

    def __init__(
        self,
        url: str,
        backoff: Backoff,
        options: ClientOptions,
        output: Output,
        dialect: Dialect,
        *,
        is_interactive: bool,
    ) -> None:
        self._url = url
        self._dialect = dialect
        self._backoff = backoff
        self._arguments: dict[str, Any] = options.arguments()
        self._close_timeout = options.close_timeout or float("inf")
        self._output = output
        self._is_interactive = is_interactive
        self.failure: Exception | None = None
        self.was_open = False
        self._connection: Connection | None = None
        self._changed = trio.Event()  # another connection, or a message
        self._is_wanted = True
        self._efforts = trio.CancelScope()  # to have a connection
        self._start: trio.Event | None = None  # waited for, when there are no such efforts
        self._pings: set[bytes] = set()
        self._sent = self._received = 0
        self._bytes_sent = self._bytes_received = 0

    # -- the connection ------------------------------------------------------------------------

    async def run(self, scope: trio.CancelScope) -> None:
        """Converse until there is nothing more to connect to; cancels the scope then."""
        while True:
            try:
                with trio.CancelScope() as self._efforts:
                    await self._converse()
            except (OSError, HubwsError) as error:
                if self._is_wanted or not (
                    isinstance(error, ConnectionClosed) and error.closure.clean
                ):
                    self.failure = error
            self._use(None)
            if not self._is_interactive or (self.failure is not None and not self.was_open):
                scope.cancel()
                return
            self._start = trio.Event()
            await self._start.wait()
            self._start = self.failure = None
            self._is_wanted = True

    async def _converse(self) -> None:
        async with reconnect(
            self._url,
            backoff=self._backoff,
            on_event=self._on_event,
            worth_retrying=self._is_worth_retrying,
            callbacks=Callbacks(on_ping=self._on_ping, on_pong=self._on_pong),
            **self._arguments,
        ) as connections:
            async for connection in connections:
                self._use(connection)
                with contextlib.suppress(ConnectionClosed):  # what has come is shown all the same
                    for message in self._dialect.greeting():
                        connection.send_nowait(message)
                try:
                    async for message in connection:
                        await self._show(message)
                except ConnectionClosed:  # told by Lost
                    pass

    def _use(self, connection: Connection | None) -> None:
        self._connection = connection
        self._pings.clear()
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _is_worth_retrying(self, error: Exception) -> bool:
        """Not what the user closed, nor a server that was not there in the first place."""
        return self._is_wanted and self.was_open and worth_retrying(error)

    async def finish(self) -> None:
        """Close in order, and show what still comes."""
        self._is_wanted = False
        with trio.move_on_after(self._close_timeout):
            if self._connection is not None:
                await self._connection.aclose()
            while self._connection is not None:
                await self._changed.wait()

    # -- what the user does --------------------------------------------------------------------

    async def send(self, message: str | bytes) -> None:
        """Send over the connection. ValueError when there is none."""
        await self._open_connection().send(message)
        self._sent += 1

    async def send_sometime(self, message: str | bytes) -> None:
        """Send over this connection or the next."""
        while True:
            connection = self._connection
            if connection is not None:
                try:
                    await self.send(message)
                except ConnectionClosed:
                    pass
                else:
                    return
            while self._connection is connection:
                await self._changed.wait()

    async def wait_quiet(self, seconds: float) -> None:
        """Wait until so much time has gone by without a message."""
        is_quiet = False
        while not is_quiet:
            with trio.move_on_after(seconds) as scope:
                await self._changed.wait()
            is_quiet = scope.cancelled_caught

    def ping(self, payload: bytes | None) -> None:
        """Ping, and show the pong."""
        self._pings.add(self._open_connection().ping_nowait(payload))

    def close(self, code: int, reason: str) -> None:
        """Close the connection, and make no other."""
        self._open_connection().close_nowait(code, reason)
        self._is_wanted = False

    def stop(self) -> None:
        """Close the connection with 1000, or give up dialling."""
        if self._connection is not None:
            self.close(1000, "")
        elif self._start is not None:
            raise ValueError("there is no connection")
        else:
            self._is_wanted = False
            self._efforts.cancel()
            self._output.note("stopped")

    def start(self) -> None:
        """Connect again, after it was closed."""
        if self._start is None:
            raise ValueError("it is connected, or connecting; /stop ends that")
        self._start.set()

    def _open_connection(self) -> Connection:
        if self._connection is None:
            hint = "" if self._start is None else "; /start opens one"
            raise ValueError(f"there is no connection{hint}")
        return self._connection

    # -- what is shown -------------------------------------------------------------------------

    async def _show(self, message: str | bytes) -> None:
        self._received += 1
        self._dialect.show(message, self._output, is_interactive=self._is_interactive)
        self._wake()
        await self._output.flush()

    def _on_event(self, event: Event) -> None:
        note, record = self._output.note, self._output.record
        if isinstance(event, Connecting):
            note(f"connecting to {self._url}" + _times(event.attempt))
        elif isinstance(event, Opened):
            self.was_open = True
            self._tell_opened(event.connection)
        elif isinstance(event, Waiting):
            note(f"trying again in {event.seconds:.1f} s")
            record(event="waiting", seconds=event.seconds)
        elif isinstance(event, Lost):
            self._tell_lost(event.error)

    def _tell_opened(self, connection: Connection) -> None:
        response = connection.response
        assert response is not None
        headers = list(response.headers)
        note = self._output.note
        note(f"connected: {response.status}", style="green")
        for name, value in headers:
            note(printable(f"  {name}: {value}"))
        if connection.subprotocol is not None:
            note(f"subprotocol {connection.subprotocol}")
        if connection.compression is not None:
            note("messages are compressed")
        self._output.record(
            event="open", headers=headers, subprotocol=connection.subprotocol,
            compression=connection.compression is not None,
        )  # fmt: skip

    def _tell_lost(self, error: Exception) -> None:
        if isinstance(error, ConnectionClosed) and self._connection is not None:
            figures = self._connection.statistics()
            self._bytes_sent += figures.bytes_sent
            self._bytes_received += figures.bytes_received
            self._use(None)
            self._output.note(printable(f"closed: {error}"), style="yellow")
            self._output.record(event="close", code=error.code, reason=error.reason)
        elif self.was_open:  # else it is the error that the command ends with
            self._output.note(printable(in_one_line(error)), style="yellow")

    def _on_ping(self, _connection: Connection, payload: bytes) -> None:
        self._output.note(f"ping of {len(payload)} bytes")

    def _on_pong(self, _connection: Connection, payload: bytes, rtt: float | None) -> None:
        if payload in self._pings and rtt is not None:
            self._pings.discard(payload)
            self._output.note(f"pong after {rtt * 1000:.3f} ms", style="green")

    def sum_up(self) -> None:
        """Say how much there was in all."""
        if self.was_open:
            self._output.note(
                f"{self._sent} messages sent, {self._received} received; on the wire "
                f"{size_in_words(self._bytes_sent)} and {size_in_words(self._bytes_received)}"
            )
            self._output.record(
                event="summary", sent=self._sent, received=self._received,
                bytes_sent=self._bytes_sent, bytes_received=self._bytes_received,
            )  # fmt: skip


def _times(attempt: int) -> str:
    return "" if attempt == 1 else f" (attempt {attempt})"
