"""Requests and their answers over a connection, both ways, beside its other messages."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypedDict
from weakref import WeakValueDictionary

import attrs
import trio

from ..errors import ConnectionClosed, RequestFailed
from .connection import Connection
from .exchange import Answer, Call, Decode, Encode, Failure, RequestId, decode_json, encode_json

logger = logging.getLogger("hubws")

Serve: TypeAlias = Callable[[Any], Awaitable[Any]]
"""Called with the body of a request; returns that of the answer, or raises `RequestFailed`."""

Settle: TypeAlias = Callable[[Connection, Answer | Failure | None], None]
"""Called once with what became of a request; None when the connection has ended."""


@attrs.frozen
class RequestStatistics:
    """Figures of the requests on one connection."""

    in_flight: int
    """Sent, neither answered nor given up; `serving` those of the peer."""
    sent: int
    """Requests of this side."""
    answered: int
    """Also those that were answered by a failure."""
    timed_out: int
    """Those without an answer in time."""
    unknown: int
    """Answers that nobody waits for: late ones, and those to nothing that was asked."""
    serving: int
    served: int
    """Requests of the peer that were answered, also by a failure."""
    refused: int
    """Requests of the peer for which there was no room, or nobody to serve them."""


class RequestArguments(TypedDict, total=False):
    """What can be set for `Requests`, as keyword arguments."""

    timeout: float
    max_in_flight: int
    max_serving: int
    encode: Encode
    decode: Decode


class Requests:
    """Sends requests over a connection, and serves those of the peer.

    `open_requests` makes one that reads its connection by itself. One that is made directly must be
    given every message that comes, which suits callbacks and reading loops of one's own:

        requests = hubws.Requests(connection)
        async for message in connection:  # while other tasks await requests.request(...)
            if not requests.take(message):
                ...  # neither a request nor an answer

    Args:
        connection: with the policy `block`, for a request that is dropped is never answered.
        serve: async, called with the body of each request of the peer; what it returns is the
            answer's. What it raises as `RequestFailed` the peer is told; any other exception is
            logged, and the peer told "internal error". Without it requests are refused.
        nursery: where `serve` is run, one task for each request.
        timeout: seconds for the answer, unless `request` says otherwise.
        max_in_flight: requests that wait for answers; further ones wait before they are sent.
        max_serving: requests of the peer that are served; further ones are refused.
        encode: makes a message of a `Call`, an `Answer` or a `Failure`; by default JSON.
        decode: the other way; None for a message that is none of them.

    Raises ValueError for numbers that make no sense, or when the connection has its Requests already,
    TypeError for `serve` without a nursery.

    """

    def __init__(
        self,
        connection: Connection,
        serve: Serve | None = None,
        nursery: trio.Nursery | None = None,
        *,
        timeout: float = 30.0,
        max_in_flight: int = 64,
        max_serving: int = 64,
        encode: Encode = encode_json,
        decode: Decode = decode_json,
    ) -> None:
        _check_timeout(timeout)
        for name, value in [("max_in_flight", max_in_flight), ("max_serving", max_serving)]:
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be a whole number from 1, not {value!r}")
        if serve is not None and nursery is None:
            raise TypeError("to serve requests takes a nursery")
        if connection.id in _by_connection:
            raise ValueError(f"{connection!r} has its Requests already")
        self.connection = connection
        self._serve = serve
        self._nursery = nursery
        self._timeout = timeout
        self._max_serving = max_serving
        self._encode = encode
        self._decode = decode
        self._room = trio.Semaphore(max_in_flight, max_value=max_in_flight)
        self._pending: dict[RequestId, Settle] = {}
        self._closed = False
        self._sent = self._answered = self._timed_out = self._unknown = 0
        self._serving = self._served = self._refused = 0
        _by_connection[connection.id] = self
        connection.add_end_callback(self._on_end)

    # -- asking --------------------------------------------------------------------------------

    async def request(self, body: Any, *, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        """Send a request and wait for its answer; returns the answer's body.

        `timeout` is in seconds, for all of it. Raises trio.TooSlowError after that, RequestFailed when
        the peer says so, ConnectionClosed when the connection ends instead, trio.ClosedResourceError
        when this is closed, and what `encode` raises. Who is cancelled, or too slow, is forgotten: an
        answer that comes then is counted as unknown.
        """
        if timeout is not None:
            _check_timeout(timeout)
        try:
            with trio.fail_after(self._timeout if timeout is None else timeout):
                async with self._room:
                    return await self._exchange(body)
        except trio.TooSlowError:
            self._timed_out += 1
            raise

    async def _exchange(self, body: Any) -> Any:
        request_id = next_id()
        message = self._encode(Call(request_id, body))
        waiter = _Waiter()
        self.expect(request_id, waiter.settle)
        try:
            await self.connection.send(message)
            self._sent += 1
            await waiter.settled.wait()
        finally:
            self.forget(request_id)
        if isinstance(waiter.outcome, Answer):
            return waiter.outcome.body
        if isinstance(waiter.outcome, Failure):
            raise RequestFailed(waiter.outcome.error)
        raise self._gone()

    def _gone(self) -> Exception:
        if (closure := self.connection.closure) is not None:
            return ConnectionClosed(closure)
        return trio.ClosedResourceError("requests are not sent any more")

    def expect(self, request_id: RequestId, settle: Settle) -> None:
        """Call a function with the answer to that id, which must be new (see `next_id`)."""
        if self._closed:
            raise self._gone()
        self._pending[request_id] = settle

    def forget(self, request_id: RequestId) -> None:
        """Expect that answer no more."""
        self._pending.pop(request_id, None)

    # -- what comes ----------------------------------------------------------------------------

    def take(self, message: str | bytes) -> bool:
        """Handle a message if it is a request or an answer; False for the application's own."""
        exchange = self._decode(message)
        if exchange is None:
            return False
        if isinstance(exchange, Call):
            self._on_call(exchange)
        elif (settle := self._pending.pop(exchange.id, None)) is None:
            self._unknown += 1
        else:
            self._answered += 1
            settle(self.connection, exchange)
        return True

    def _on_call(self, call: Call) -> None:
        if self._serve is None or self._closed:
            self._refuse(call, "requests are not served here")
        elif self._serving >= self._max_serving:
            self._refuse(call, "too many requests at once")
        else:
            assert self._nursery is not None
            self._serving += 1
            self._nursery.start_soon(self._answer, call)

    def _refuse(self, call: Call, reason: str) -> None:
        self._refused += 1
        try:
            self.connection.send_nowait(self._encode(Failure(call.id, reason)))
        except (ConnectionClosed, trio.WouldBlock):  # then it times out at the peer
            pass

    async def _answer(self, call: Call) -> None:
        try:
            await self.connection.send(await self._message_for(call))
            self._served += 1
        except ConnectionClosed:
            pass
        except Exception as error:  # noqa: BLE001 - logged there
            self.connection.fail_for(error)
        finally:
            self._serving -= 1

    async def _message_for(self, call: Call) -> str | bytes:
        assert self._serve is not None
        try:
            return self._encode(Answer(call.id, await self._serve(call.body)))
        except RequestFailed as failed:
            error = str(failed)
        except ConnectionClosed:
            raise
        except Exception:
            fields = {"connection": self.connection.id, "remote": self.connection.remote}
            logger.exception(
                "connection %d: serving a request failed", self.connection.id, extra=fields
            )
            error = "internal error"
        return self._encode(Failure(call.id, error))

    # -- the end -------------------------------------------------------------------------------

    def statistics(self) -> RequestStatistics:
        """Figures at this moment."""
        return RequestStatistics(
            in_flight=len(self._pending),
            sent=self._sent,
            answered=self._answered,
            timed_out=self._timed_out,
            unknown=self._unknown,
            serving=self._serving,
            served=self._served,
            refused=self._refused,
        )

    def close(self) -> None:
        """Neither send nor serve requests any more; the connection stays open. Can be called again."""
        self.connection.remove_end_callback(self._on_end)
        self._on_end(self.connection)

    def _on_end(self, connection: Connection) -> None:
        self._closed = True
        if _by_connection.get(connection.id) is self:
            del _by_connection[connection.id]
        pending, self._pending = self._pending, {}
        for settle in pending.values():
            settle(connection, None)


class _Waiter:
    """Who waits for one answer."""

    __slots__ = ("outcome", "settled")

    def __init__(self) -> None:
        self.settled = trio.Event()
        self.outcome: Answer | Failure | None = None

    def settle(self, _connection: Connection, outcome: Answer | Failure | None) -> None:
        self.outcome = outcome
        self.settled.set()


_ids = itertools.count(1)
_by_connection: WeakValueDictionary[int, Requests] = WeakValueDictionary()


def next_id() -> int:
    """An id that no other request of this process has."""
    return next(_ids)


def requests_of(connection: Connection) -> Requests | None:
    """The `Requests` of a connection, None when it has none."""
    return _by_connection.get(connection.id)


def _check_timeout(timeout: float) -> None:
    if not 0 <= timeout <= math.inf:
        raise ValueError(f"timeout must be 0 seconds or more, not {timeout!r}")
