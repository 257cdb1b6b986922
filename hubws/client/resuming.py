"""A client that outlives its connections: what is sent and received goes on over the next one."""

from __future__ import annotations

import contextlib
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import attrs
import trio

from ..connection.background import open_background
from ..connection.connection import Connection
from ..errors import ConnectionClosed
from ..protocol.frames import Payload
from ..protocol.state import Closure, State
from .backoff import Backoff
from .offline import Offline, OfflineQueue
from .reconnect import Event, WorthRetrying, reconnect
from .retrying import worth_retrying

BACKLOG = 16
"""How many connections may have ended with messages that nobody has taken yet."""


class Resumption(Protocol):
    """What makes a new connection go on where the last one ended; `TopicPositions` is one.

    One of an application's own may log in, ask for what was missed, and take out what was received
    twice.
    """

    async def open(self, connection: Connection) -> None:
        """Send what comes first on a new connection: called on each, before messages that wait go.

        What it raises, but for ConnectionClosed, ends the client.
        """

    def take(self, connection: Connection, message: str | bytes) -> Any:
        """What the application gets of a message, None for nothing; called in order.

        `connection` is the one that it came by, which may have ended. What it raises, the
        application's `receive` does.
        """


@attrs.frozen
class ClientStatistics:
    """Figures of a client since it was opened."""

    opened: int
    """Connections."""
    waiting: int
    """Messages that wait for a connection."""
    waiting_bytes: int
    """What they will be on the wire, uncompressed."""
    dropped: int
    """Messages that were dropped while they waited."""
    conflated: int
    """The same, because `latest` keeps only the newest."""
    undelivered: int
    """Messages that connections had accepted, and that had not left when they were lost."""


class Client:
    """Sends and receives over one connection after another. See `open_client`.

    Any task may send and any task may receive, at any time.
    """

    def __init__(
        self,
        url: str,
        resume: Resumption | None,
        offline: Offline | None,
        on_event: Callable[[Event], object] | None,
        arguments: dict[str, Any],
    ) -> None:
        self._connections = reconnect(url, on_event=on_event, **arguments)
        self._resume = resume
        self._queue = None if offline is None else OfflineQueue(offline)
        self._connection: Connection | None = None  # the newest, while it is open
        self._ready: Connection | None = None  # the same, once those that waited have gone
        self._unread: deque[Connection] = deque()  # the newest is the last
        self._changes = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()
        self._is_closing = False
        self._error: Exception | None = None
        self._opened = self._undelivered = 0

    @property
    def state(self) -> State:
        """OPEN, CONNECTING while there is no connection, or CLOSED: there won't be another."""
        if self._error is not None:
            return State.CLOSED
        if self._is_closing:
            return State.CLOSING
        return State.CONNECTING if self._connection is None else State.OPEN

    @property
    def connection(self) -> Connection | None:
        """The open connection, None while there is none."""
        return self._connection

    def statistics(self) -> ClientStatistics:
        """Figures at this moment."""
        queue = self._queue
        counters = None if queue is None else queue.counters
        return ClientStatistics(
            opened=self._opened,
            waiting=0 if queue is None else len(queue),
            waiting_bytes=0 if queue is None else queue.queued_bytes,
            dropped=0 if counters is None else counters.dropped,
            conflated=0 if counters is None else counters.conflated,
            undelivered=self._undelivered,
        )

    # -- connections ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, again and again; for `open_client`."""
        error: Exception = trio.ClosedResourceError("the client is closed")
        closure = Closure()
        try:
            with self._scope:
                async with self._connections as connections:
                    async for connection in connections:
                        closure = await self._use(connection)
                        if self._is_closing:
                            break
                        while len(self._unread) >= BACKLOG:
                            await self._changes.park()
                    else:
                        error = ConnectionClosed(closure)
        except Exception as failure:  # noqa: BLE001 - raised by send and receive
            error = failure
        finally:
            self._end(error)

    async def _use(self, connection: Connection) -> Closure:
        """Have messages go over a connection until it ends."""
        self._connection = connection
        self._opened += 1
        self._unread.append(connection)
        self._changes.unpark_all()
        try:
            with contextlib.suppress(ConnectionClosed):
                if self._resume is not None:
                    await self._resume.open(connection)
                await self._send_waiting(connection)
                self._ready = connection
                self._changes.unpark_all()
            await connection.wait_closed()
        except BaseException:
            connection.abort()
            raise
        finally:
            closure = self._forget(connection)
        return closure

    async def _send_waiting(self, connection: Connection) -> None:
        while queue := self._queue:
            frame = queue.pop()
            try:
                await connection.send(frame.source)
            except BaseException:
                queue.put_back(frame)
                raise

    def _forget(self, connection: Connection) -> Closure:
        """Take note that a connection has ended; returns how."""
        closure = connection.closure
        assert closure is not None
        self._connection = self._ready = None
        self._undelivered += closure.undelivered
        if not connection.statistics().inbox_messages:
            self._drained(connection)
        self._changes.unpark_all()
        return closure

    def _drained(self, connection: Connection) -> None:
        with contextlib.suppress(ValueError):
            self._unread.remove(connection)
            self._changes.unpark_all()

    def _end(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
        if self._queue is not None:
            self._queue.fail_waiting(lambda: error)
        self._scope.cancel()
        self._changes.unpark_all()

    # -- sending -------------------------------------------------------------------------------

    async def send(self, message: str | Payload) -> None:
        """Send a message, or have it wait for a connection; str as text, bytes-like as binary.

        What was sent over a connection that is then lost may be lost with it, as on any network:
        `Lost` tells how many messages had not left, in `error.closure.undelivered`.

        When it raises, also because it was cancelled, nothing of the message was sent or will be.
        Raises, once there won't be another connection, what ended the client: ConnectionClosed, or what
        `connect` raised, OverflowError where the policy is `disconnect`, trio.ClosedResourceError after
        `aclose`; and as `Connection.send`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            self._check()
            if (connection := self._ready) is not None:
                try:
                    await connection.send(message)
                    return
                except ConnectionClosed:
                    self._stop_sending(connection)
            elif self._queue is None:
                await self._changes.park()
            elif self._offer(self._queue, message):
                await trio.lowlevel.cancel_shielded_checkpoint()
                return
            else:
                await self._queue.wait_offer(message)
                return

    def send_nowait(self, message: str | Payload) -> None:
        """Send a message, or have it wait for a connection, without waiting for room.

        Raises trio.WouldBlock when there is none, and as `send`.
        """
        self._check()
        if (connection := self._ready) is not None:
            try:
                connection.send_nowait(message)
                return
            except ConnectionClosed:
                self._stop_sending(connection)
        if self._queue is None:
            raise trio.WouldBlock("there is no connection")
        if not self._offer(self._queue, message):
            raise trio.WouldBlock(self._queue.fullness)

    def _stop_sending(self, connection: Connection) -> None:
        """Take note that a connection takes nothing more, though it may not have ended yet."""
        if self._ready is connection:
            self._ready = None

    def _offer(self, queue: OfflineQueue, message: str | Payload) -> bool:
        try:
            return queue.offer(message)
        except OverflowError as error:
            self._end(error)
            raise

    def _check(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)
        if self._is_closing:
            raise trio.ClosedResourceError("the client is closed")

    # -- receiving -----------------------------------------------------------------------------

    def __aiter__(self) -> Client:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except ConnectionClosed as closed:
            if closed is self._error and closed.closure.normal:
                raise StopAsyncIteration from None
            raise
        except trio.ClosedResourceError:
            raise StopAsyncIteration from None

    async def receive(self) -> Any:
        """Wait for the next message: text as str, binary as bytes, or what `resume` makes of it.

        What came by one connection is given before what came by the next. Raises as `send` once
        everything was taken and there won't be another connection, and what `resume` raises; then one
        may go on. Cancelling it loses no message.
        """
        while True:
            if not self._unread:
                await trio.lowlevel.checkpoint_if_cancelled()
                if self._error is not None:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                    raise self._error.with_traceback(None)
                await self._changes.park()
                continue
            connection = self._unread[0]
            try:
                message = await connection.receive()
            except ConnectionClosed:
                self._drained(connection)
                continue
            item = message if self._resume is None else self._resume.take(connection, message)
            if item is not None:
                return item

    # -- the end -------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Send what waits, if there is a connection, then close it in order; make no more.

        What waits while there is none stays behind: see `statistics().waiting`.
        """
        self._is_closing = True
        while self._connection is not None and self._ready is None:
            await self._changes.park()
        if self._connection is not None:
            await self._connection.aclose()
        self._scope.cancel()
        while self._error is None:
            await self._changes.park()
        await trio.lowlevel.checkpoint()


@contextlib.asynccontextmanager
async def open_client(
    url: str,
    *,
    resume: Resumption | None = None,
    offline: Offline | None = Offline(),  # noqa: B008 - it is frozen
    backoff: Backoff = Backoff(),  # noqa: B008 - it is frozen
    on_event: Callable[[Event], object] | None = None,
    worth_retrying: WorthRetrying = worth_retrying,
    draw: Callable[[], float] = random.random,
    **arguments: Any,
) -> AsyncIterator[Client]:
    """Keep a connection to a WebSocket server for as long as the block runs, whatever it takes.

        async with hubws.open_client(url) as client:
            await client.send("hello")
            async for message in client:
                print(message)

    Whenever the connection is lost it is made anew, as `reconnect` does. The iteration ends when the
    server closed in order, for good; it raises what can't be mended by trying again.

    Args:
        url: as for `connect`.
        resume: makes each connection go on where the last one ended.
        offline: how many messages wait while there is no connection; None: `send` waits for one.
        backoff, on_event, worth_retrying, draw: as for `reconnect`.
        **arguments: everything else goes to `connect`, at every attempt.

    When the block ends, what waits is sent if there is a connection, which is closed with 1000. When
    it is left by an exception or cancelled, the connection is ended at once.

    An application that never receives still has to take what comes: after 16 connections with
    messages that nobody took there is no other. Give it `callbacks` with an `on_message`.

    """
    choices = {"backoff": backoff, "worth_retrying": worth_retrying, "draw": draw}
    client = Client(url, resume, offline, on_event, choices | arguments)
    async with open_background() as nursery:
        nursery.start_soon(client.run)
        yield client
        await client.aclose()
