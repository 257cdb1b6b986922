"""One connection after another: whenever one is lost, the next, after a while."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self, TypeAlias

import attrs
import trio

from ..connection.connection import Connection
from ..errors import ConnectionClosed
from .backoff import Backoff
from .connect import connect
from .retrying import retry_after, worth_retrying

logger = logging.getLogger("hubws")


@attrs.frozen
class Connecting:
    """An attempt to connect begins."""

    attempt: int
    """1 for the first, and for the first after a connection that was stable."""


@attrs.frozen
class Opened:
    """A connection is open."""

    connection: Connection


@attrs.frozen
class Lost:
    """A connection has ended, or could not be made."""

    error: Exception
    """Why: a ConnectionClosed, with its `closure`, or what `connect` raised."""


@attrs.frozen
class Waiting:
    """The next attempt comes after a while."""

    seconds: float
    """That many seconds from now."""


Event: TypeAlias = Connecting | Opened | Lost | Waiting

WorthRetrying: TypeAlias = Callable[[Exception], bool]


def reconnect(
    url: str,
    *,
    backoff: Backoff = Backoff(),  # noqa: B008 - it is frozen
    on_event: Callable[[Event], object] | None = None,
    worth_retrying: WorthRetrying = worth_retrying,
    draw: Callable[[], float] = random.random,
    **arguments: Any,
) -> Connections:
    """Connect, and connect again whenever the connection is lost.

        async for connection in hubws.reconnect(url):
            try:
                await connection.send("hello")
                async for message in connection:
                    print(message)
            except hubws.ConnectionClosed:
                continue

    Going on to the next connection closes the one before. The iteration ends when the server closed
    in order and is not worth coming back to (1000), and raises what can't be mended by trying again,
    or was tried for too often.

    `break`, and whatever else leaves the loop, begins to close the connection with 1000. To wait for
    that, and to end it at once when an exception or cancellation leaves the loop, as `connect` does:

        async with hubws.reconnect(url) as connections:
            async for connection in connections:
                ...

    Args:
        url: as for `connect`.
        backoff: how long to wait before each attempt, and when to give up.
        on_event: called with each `Connecting`, `Opened`, `Lost` and `Waiting` as it happens; what it
            raises comes out of the iteration.
        worth_retrying: says of an exception whether to try again after it.
        draw: gives a number from 0 to 1 for each wait.
        **arguments: everything else goes to `connect`, at every attempt.

    Raises TypeError for `stream`, which serves one connection only.

    """
    return Connections(url, backoff, on_event, worth_retrying, draw, arguments)


@attrs.define
class _Link:
    """A connection in its context, which `connect` made."""

    context: AbstractAsyncContextManager[Connection]
    connection: Connection
    opened_at: float
    ended_at: float | None = None

    def end(self, _connection: Connection) -> None:
        """Take note that the connection has ended."""
        self.ended_at = trio.current_time()


class Connections:
    """An asynchronous iterator over connections, for one task at a time. See `reconnect`.

    It is cancelled without loss: who iterates on waits for what is left of the wait.
    """

    # A class and not an async generator: what a generator does when its consumer leaves is done
    # whenever, in no task. Nothing here is open between two calls but `connect`, in whose body no
    # cancel scope is.

    def __init__(
        self,
        url: str,
        backoff: Backoff,
        on_event: Callable[[Event], object] | None,
        worth_retrying: WorthRetrying,
        draw: Callable[[], float],
        arguments: dict[str, Any],
    ) -> None:
        self._link: _Link | None = None
        if arguments.get("stream") is not None:
            raise TypeError("a stream serves one connection; use connect, or leave it to reconnect")
        self._url = url
        self._backoff = backoff
        self._on_event = on_event
        self._worth_retrying = worth_retrying
        self._draw = draw
        self._arguments = arguments
        self._failures = 0  # in a row
        self._due = -float("inf")  # the next attempt
        self._is_over = False
        self._token: trio.lowlevel.TrioToken | None = None

    def __aiter__(self) -> Connections:
        return self

    async def __anext__(self) -> Connection:
        if self._link is not None:
            await self._leave(self._link)
        while not self._is_over:
            await trio.sleep_until(self._due)
            self._tell(Connecting(self._failures + 1))
            context = connect(self._url, **self._arguments)
            try:
                connection = await context.__aenter__()
            except Exception as error:  # noqa: BLE001 - raised there, unless worth retrying
                self._lose(error, is_worth_retrying=self._worth_retrying(error))
                continue
            self._token = trio.lowlevel.current_trio_token()
            self._link = link = _Link(context, connection, trio.current_time())
            connection.add_end_callback(link.end)
            self._tell(Opened(connection))
            return connection
        await trio.lowlevel.checkpoint()
        raise StopAsyncIteration

    async def _leave(self, link: _Link) -> None:
        """Close the last connection, and see what its end means."""
        self._link = None
        was_open = link.connection.closure is None  # the application asks for another one
        await link.context.__aexit__(None, None, None)
        closure = link.connection.closure
        assert closure is not None
        ended_at = trio.current_time() if link.ended_at is None else link.ended_at
        if ended_at - link.opened_at >= self._backoff.stable_after:
            self._failures = 0
        error = ConnectionClosed(closure)
        is_worth_retrying = was_open or self._worth_retrying(error)
        if closure.normal and not is_worth_retrying:
            self._is_over = True
            self._tell(Lost(error))
        else:
            self._lose(error, is_worth_retrying=is_worth_retrying)

    def _lose(self, error: Exception, *, is_worth_retrying: bool) -> None:
        """Take note of a failure: raise it, or say when to try again."""
        self._tell(Lost(error))
        self._failures += 1
        retries = self._backoff.retries
        if not is_worth_retrying or (retries is not None and self._failures > retries):
            self._is_over = True
            raise error
        seconds = self._backoff.delay(self._failures, self._draw(), retry_after(error))
        self._due = trio.current_time() + seconds
        self._tell(Waiting(seconds))

    def _tell(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)

    # -- the end -------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close the connection, in order, and make no more."""
        await self.__aexit__(None, None, None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over = True
        link, self._link = self._link, None
        if link is not None:
            await link.context.__aexit__(exc_type, exc, traceback)

    def __del__(self) -> None:
        """Close what the loop was left with: a task of the run does it, wherever this is called."""
        if self._link is not None and self._token is not None:
            try:
                self._token.run_sync_soon(
                    trio.lowlevel.spawn_system_task, _close, self._link.context
                )
            except trio.RunFinishedError:  # and the connection with it
                pass


async def _close(context: AbstractAsyncContextManager[Connection]) -> None:
    try:
        await context.__aexit__(None, None, None)
    except Exception:
        logger.exception("closing a connection failed")
