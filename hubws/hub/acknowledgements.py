"""A broadcast that says who has acknowledged it: one request to many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import trio

from ..connection.connection import Connection
from ..connection.exchange import Answer, Call, Encode, Failure, encode_json
from ..connection.requests import next_id, requests_of
from ..protocol.state import State
from .delivery import Delivery
from .hub import Hub


@attrs.frozen
class Acknowledgements:
    """What became of a broadcast at each of those to whom it went; everyone is in one of the four."""

    delivery: Delivery
    """What the broadcast came to."""
    acknowledged: dict[Connection, Any]
    """Who has answered, in that order, and what."""
    failed: dict[Connection, str]
    """Who has answered that it could not, and why."""
    missing: tuple[Connection, ...]
    """Who is still connected and has not answered; also who has no `Requests`."""
    left: tuple[Connection, ...]
    """Whose connection ended before it had answered, or was closed for being too slow."""


class _Ballot:
    """Who has answered one broadcast, and who has yet to."""

    def __init__(self, request_id: int, where: Callable[[Connection], bool] | None) -> None:
        self.request_id = request_id
        self._where = where
        self.waiting: dict[Connection, None] = {}
        self.missing: list[Connection] = []
        self.acknowledged: dict[Connection, Any] = {}
        self.failed: dict[Connection, str] = {}
        self.left: list[Connection] = []
        self.complete = trio.Event()

    def add(self, connection: Connection) -> bool:
        """Expect the answer of a connection, if the message is for it."""
        if self._where is not None and not self._where(connection):
            return False
        if connection.state is not State.OPEN:
            return False
        requests = requests_of(connection)
        if requests is None:
            self.missing.append(connection)
        else:
            requests.expect(self.request_id, self._settle)
            self.waiting[connection] = None
        return True

    def _settle(self, connection: Connection, outcome: Answer | Failure | None) -> None:
        del self.waiting[connection]
        if isinstance(outcome, Answer):
            self.acknowledged[connection] = outcome.body
        elif isinstance(outcome, Failure):
            self.failed[connection] = outcome.error
        elif connection.closure is None:
            self.missing.append(connection)  # its Requests were closed
        else:
            self.left.append(connection)
        if not self.waiting:
            self.complete.set()

    def end(self) -> None:
        """Expect no more answers."""
        for connection in self.waiting:
            requests = requests_of(connection)
            assert requests is not None  # else it would have been settled
            requests.forget(self.request_id)
        self.missing.extend(self.waiting)


async def broadcast_with_acknowledgements(
    hub: Hub,
    body: Any,
    *,
    timeout: float = 10.0,  # noqa: ASYNC109 - its end is a result, no error
    encode: Encode = encode_json,
    where: Callable[[Connection], bool] | None = None,
    **options: Any,
) -> Acknowledgements:
    """Send a request to members of a hub and wait until all have answered, or for `timeout` seconds.

    Each must have `Requests`, which take its answer; on its side, what serves requests acknowledges
    by returning. `options` and `where` are those of `Hub.broadcast` and say to whom it goes; it is
    encoded once. With a backplane it stays in this hub. Cancelling it forgets who was to answer. Raises
    as `Hub.broadcast` does, and as `encode`; then nothing was sent.
    """
    if not timeout >= 0:
        raise ValueError(f"timeout must be 0 seconds or more, not {timeout!r}")
    ballot = _Ballot(next_id(), where)
    message = encode(Call(ballot.request_id, body))
    await trio.lowlevel.checkpoint_if_cancelled()
    try:
        delivery = hub.broadcast(message, where=ballot.add, **options)
        with trio.move_on_after(timeout if ballot.waiting else 0):
            await ballot.complete.wait()
    finally:
        ballot.end()
    return Acknowledgements(
        delivery, ballot.acknowledged, ballot.failed, tuple(ballot.missing), tuple(ballot.left)
    )
