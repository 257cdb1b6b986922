"""Messages that are sent and received bit by bit, without being held whole (RFC 6455 §5.4)."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Self, TypeAlias

import trio

from ..errors import ConnectionClosed
from ..protocol.endpoint import Endpoint, payload_of
from ..protocol.frames import CloseCode, Opcode, Payload
from ..protocol.messages import Piece
from .outbox import Outbox
from .queue import STREAM, Fragment

if TYPE_CHECKING:
    from .connection import Connection

FRAGMENT = 256 * 1024
"""The largest payload of a fragment, in bytes: control frames pass between fragments."""

Pieces: TypeAlias = AsyncIterable[str | Payload] | Iterable[str | Payload]
"""What a message consists of: all of it text, or all of it bytes."""

Progress: TypeAlias = Callable[[int], object]
"""Told how many bytes of a message have been accepted for sending."""


class MessageSender:
    """Sends those messages of one connection that go in fragments, one at a time."""

    __slots__ = ("_connection", "_endpoint", "_lock", "_outbox")

    def __init__(self, connection: Connection, endpoint: Endpoint, outbox: Outbox) -> None:
        self._connection = connection
        self._endpoint = endpoint
        self._outbox = outbox
        self._lock = trio.Lock()

    async def send(self, pieces: Pieces, on_progress: Progress | None) -> None:
        """See `Connection.send_stream`."""
        if isinstance(pieces, str | bytes | bytearray | memoryview):
            raise TypeError(
                "send_stream iterates over the pieces of a message; send takes it whole"
            )
        async with self._lock, _Iterator(pieces) as iterator:
            opcode: Opcode | None = None  # of the message, once some of it may have been sent
            accepted = 0
            try:
                async for piece in iterator:
                    kind, payload = payload_of(piece)
                    is_first = opcode is None
                    if is_first:
                        await self._begin()
                        opcode = kind
                    elif kind is not opcode:
                        raise TypeError("pieces are all text, or all bytes")  # noqa: TRY301 - torn
                    await self._put(payload, kind, is_first=is_first)
                    accepted += len(payload)
                    if on_progress is not None:
                        on_progress(accepted)
                if opcode is None:
                    await self._connection.send(b"")
                    return
                self._raise_if_given_up()
            except BaseException as error:
                if opcode is not None and self._outbox.is_streaming:
                    cause = error if isinstance(error, Exception) else None
                    self._connection.fail(
                        CloseCode.INTERNAL_ERROR, "a message was not finished", cause
                    )
                raise
            self._outbox.end_stream(self._encode(b"", opcode, is_last=True))

    async def _begin(self) -> None:
        """Wait until this message may go; cancelled before that, nothing of it was sent."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._connection.raise_if_closing()
        if self._outbox.has_waiting or not self._outbox.begin_stream():
            await self._outbox.wait_put(STREAM)

    async def _put(self, payload: bytes, opcode: Opcode, *, is_first: bool) -> None:
        for start in range(0, len(payload) or is_first, FRAGMENT):
            self._raise_if_given_up()
            piece = payload[start : start + FRAGMENT]
            fragment = Fragment(self._encode(piece, opcode, is_first=is_first and not start))
            if self._outbox.put_fragment(fragment):
                await trio.lowlevel.checkpoint()
            else:
                await self._outbox.wait_put(fragment)

    def _raise_if_given_up(self) -> None:
        if not self._outbox.is_streaming:
            closure = self._connection.closure
            assert closure is not None
            raise ConnectionClosed(closure)

    def _encode(
        self, payload: bytes, opcode: Opcode, *, is_first: bool = False, is_last: bool = False
    ) -> bytes:
        return self._endpoint.encode_fragment(
            payload, first=is_first, last=is_last, text=opcode is Opcode.TEXT
        )


class _Iterator:
    """An iterator over pieces of either kind; a generator is closed when it is left early."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces

    async def __aenter__(self) -> AsyncIterator[str | Payload]:
        if isinstance(self._pieces, AsyncIterable):
            return aiter(self._pieces)
        self._iterator = iter(self._pieces)
        return self

    async def __aexit__(self, *_: object) -> None:
        if isinstance(self._pieces, AsyncGenerator):
            await self._pieces.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | Payload:
        for piece in self._iterator:
            return piece
        raise StopAsyncIteration


class MessageStream:
    """A message that is taken in pieces as they arrive. `Connection.receive_stream` gives it.

    Iterate over it for its pieces: str of a text message, bytes of a binary one. For one task.

    Attributes:
        received: bytes that have arrived of it so far, of text in UTF-8.
        is_complete: whether all of it has arrived.
        is_abandoned: whether nobody wants the rest of it.
        size: of the pieces that wait to be taken.

    """

    __slots__ = (
        "_connection",
        "_pieces",
        "_waiting",
        "is_abandoned",
        "is_complete",
        "received",
        "size",
    )

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pieces: deque[str | bytes] = deque()
        self._waiting: trio.Event | None = None
        self.is_abandoned = False
        self.is_complete = False
        self.received = 0
        self.size = 0

    def __len__(self) -> int:
        return len(self._pieces)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        await trio.lowlevel.checkpoint()
        while not self._pieces:
            if self.is_complete:
                raise StopAsyncIteration
            self._connection.look_for_more()
            if not self._pieces and not self.is_complete:
                self._connection.raise_if_over()
                await self.wait()
        piece = self._pieces.popleft()
        self.size -= len(piece)
        return piece

    # -- for the connection --------------------------------------------------------------------

    def put(self, piece: Piece) -> None:
        """Add a piece."""
        data = piece.data
        if data or not self.received:  # an empty message has one piece
            self._pieces.append(data)
            self.size += len(data)
            self.received += len(data) if isinstance(data, bytes) else len(data.encode())
        self.is_complete = piece.last
        self.wake()

    def join(self) -> str | bytes:
        """All of it."""
        first = self._pieces[0]
        return first[:0].join(self._pieces)  # type: ignore[arg-type] # they are all alike

    def abandon(self) -> None:
        """Drop what has come of it and what still comes."""
        self.is_abandoned = True
        self._pieces.clear()

    def wake(self) -> None:
        """Have those who wait look again."""
        if self._waiting is not None:
            self._waiting.set()
            self._waiting = None

    async def wait(self) -> None:
        """Wait until there may be another piece, or none will come."""
        if self._waiting is None:
            self._waiting = trio.Event()
        await self._waiting.wait()
