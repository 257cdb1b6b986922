"""One WebSocket connection: any task may send, any task may receive, nothing needs a lock.

What applications do with it is here; what it does by itself is in `engine.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import trio

from ..errors import ConnectionClosed, LocalProtocolError, RemoteProtocolError
from ..protocol.frames import (
    CloseCode,
    Frame,
    Payload,
    check_size,
    surrogate_error,
)
from ..protocol.messages import Piece
from ..protocol.state import State
from ..transport.abc import SocketAddress
from ..transport.tcp_info import TcpInfo
from .callbacks import PongCallback
from .engine import Engine
from .inbox import TURN, Inbox
from .queue import LATEST, QUEUED, Droppable, Put
from .rtt import NO_ROUND_TRIPS, PingInFlight, PingTracker, RoundTripTimes
from .statistics import ConnectionStatistics
from .streaming import MessageSender, MessageStream, Pieces, Progress


class Connection(Engine):
    """A WebSocket connection. `serve` and `connect` make them.

    Iterate over it for the messages, text as str and binary as bytes:

        async for message in connection:
            await connection.send(message)

    The iteration ends when the connection was closed in order (1000, 1001 or without a code), and
    raises `ConnectionClosed` when it was not. All methods are for tasks and callbacks of the trio run
    that it belongs to; from other threads use `trio.from_thread`.

    Attributes:
        id: a number that no other connection of this process has.
        is_client: whether this side opened the connection.
        outbox: what waits to be sent; for the hub, which gives frames to many.
        remote: the peer's address, as the socket module gives it; None for a memory stream.
        request: the opening handshake's request (server) or None.
        response: the opening handshake's response (client) or None.
        subprotocol: what was agreed on, or None.
        compression: the parameters of permessage-deflate that were agreed on, or None.
        settings: limits, times and policies.
        user: what `authenticate` of `serve` returned, None for anonymous and on a client.

    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<Connection {self.id} {self.state.value} {self.remote}>"

    # -- what it is ----------------------------------------------------------------------------

    @property
    def local(self) -> SocketAddress:
        """This side's address, None once the connection has ended and for a memory stream."""
        return self._transport.local

    @property
    def path(self) -> str:
        """The path of the request, percent-decoded; empty on a client."""
        return "" if self.request is None else self.request.path

    @property
    def attributes(self) -> dict[str, Any]:
        """A place for the application's own."""
        if self._attributes is None:
            self._attributes = {}
        return self._attributes

    @property
    def close_code(self) -> int | None:
        """The peer's close code, 1006 without one, None while the connection is open."""
        return None if (closure := self.closure) is None else closure.code

    @property
    def close_reason(self) -> str | None:
        """The peer's close reason, None while the connection is open."""
        return None if (closure := self.closure) is None else closure.reason

    @property
    def rtt(self) -> RoundTripTimes:
        """Statistics of the round-trip times measured so far."""
        return NO_ROUND_TRIPS if self._pings is None else self._pings.statistics()

    def tcp_info(self) -> TcpInfo | None:
        """The kernel's own estimate of the round-trip time, beside that of pings (`rtt`).

        None where it has none: not on Linux, no TCP below, or the connection has ended.
        """
        return self._transport.tcp_info()

    @property
    def queued_bytes(self) -> int:
        """Bytes that the socket has not taken yet; 0 most of the time."""
        outbox = self.outbox
        return outbox.queued_bytes if outbox.is_marked or outbox.is_busy else 0

    @property
    def is_paused(self) -> bool:
        """Whether the peer is held back: by messages that nobody takes, or by `rate_limit`."""
        return self._paused or (self._limiter is not None and self._limiter.is_holding)

    def traffic(self) -> tuple[int, int, int, int]:
        """Messages and bytes received, messages and bytes sent: `statistics` in a hurry."""
        outbox = self.outbox
        received = self._messages_received
        return received, self._received, outbox.messages_sent, outbox.bytes_sent

    def statistics(self) -> ConnectionStatistics:
        """Figures at this moment."""
        counters = self.outbox.counters
        return ConnectionStatistics(
            bytes_received=self._received,
            bytes_sent=self.outbox.bytes_sent,
            messages_received=self._messages_received,
            messages_sent=self.outbox.messages_sent,
            inbox_messages=0 if self._inbox is None else len(self._inbox),
            outbox_messages=self.outbox.queued_messages,
            outbox_bytes=self.outbox.queued_bytes,
            dropped=0 if counters is None else counters.dropped,
            conflated=0 if counters is None else counters.conflated,
            is_stalled=self.outbox.is_stalled,
            rate_dropped=0 if self._limiter is None else self._limiter.dropped,
        )

    # -- beginning -----------------------------------------------------------------------------

    def send_handshake(self, response: bytes) -> None:
        """Queue the response of the opening handshake ahead of everything else."""
        self.outbox.put_urgent(response)
        self.outbox.mark()

    # -- receiving -----------------------------------------------------------------------------

    def __aiter__(self) -> Connection:
        return self

    async def __anext__(self) -> str | bytes:
        inbox = self._inbox
        if inbox is None:
            inbox = self._open_inbox()
        if inbox.turns <= 0:
            inbox.turns = TURN
            await trio.lowlevel.checkpoint()
        try:
            while not inbox.batch and not inbox.refill():
                if inbox.stream is not None:
                    if (whole := await self._wait_for_rest(inbox, inbox.stream)) is not None:
                        return whole
                elif self._is_exhausted(inbox):
                    await inbox.yield_at_end()
                    self.raise_if_over()
                elif not inbox.has_arrived:
                    await inbox.wait()
        except ConnectionClosed as closed:
            if closed.closure.normal:
                raise StopAsyncIteration from None
            raise
        inbox.turns -= 1
        message = inbox.batch.pop()
        if self._paused and not inbox:
            self.read_on()
        return message

    async def receive(self) -> str | bytes:
        """Wait for the next message: text as str, binary as bytes.

        Raises ConnectionClosed once the connection has ended and all that came before was taken.
        Cancelling it loses no message. A checkpoint, which lets other tasks run at least once every
        64 messages.
        """
        if self._inbox is not None and self._inbox.batch:
            await trio.lowlevel.checkpoint_if_cancelled()
        try:
            return await self.__anext__()
        except StopAsyncIteration:
            raise ConnectionClosed(self.ended_as()) from None

    def _open_inbox(self) -> Inbox:
        if self._on_message is not None:
            raise RuntimeError("messages of this connection go to its on_message callback")
        if self._inbox is None:
            self._inbox = self._new_inbox()
        return self._inbox

    def _is_exhausted(self, inbox: Inbox) -> bool:
        """Whether nothing is there to be taken, nor will be; called when everything was taken."""
        if self._paused or self._violation is not None:
            self.look_for_more()
        return (self._ended or self._endpoint.is_over) and not inbox.has_arrived

    async def _wait_for_rest(self, inbox: Inbox, stream: MessageStream) -> str | bytes | None:
        """Wait until a message that comes in pieces is whole; None when another task took it."""
        await trio.lowlevel.checkpoint()
        while inbox.stream is stream:
            try:
                check_size(stream.received, self.settings.max_message_size)
            except RemoteProtocolError as error:
                self._violation = error
                self._judge()
                raise ConnectionClosed(self.ended_as()) from None
            if stream.is_complete:
                inbox.remove_stream()
                self.read_on()
                return stream.join()
            received = stream.received
            self.look_for_more()
            if stream.received == received and not stream.is_complete:
                self.raise_if_over()
                await stream.wait()
        return None

    @contextlib.asynccontextmanager
    async def receive_stream(self) -> AsyncIterator[MessageStream]:
        """Take the next message in pieces, as they arrive, without holding it whole (RFC 6455 §5.4).

            async with connection.receive_stream() as message:
                async for piece in message:
                    file.write(piece)

        For messages that are not whole at once the setting `max_stream_size` is needed; all others
        come as one piece. Entering waits for the message to begin, and raises ConnectionClosed when
        none comes; so does iterating when the connection ends before the message does. Leaving early
        drops the rest of it. Not for connections whose messages go to `on_message`.
        """
        inbox = self._open_inbox()
        await trio.lowlevel.checkpoint()
        stream = await self._next_stream(inbox)
        try:
            yield stream
        finally:
            stream.abandon()
            self.read_on()

    async def _next_stream(self, inbox: Inbox) -> MessageStream:
        while not inbox.batch and not inbox.refill():
            if (stream := inbox.stream) is not None:
                inbox.remove_stream()
                return stream
            if self._is_exhausted(inbox):
                self.raise_if_over()
            if not inbox.has_arrived:
                await inbox.wait()
        stream = MessageStream(self)
        stream.put(Piece(inbox.batch.pop(), last=True))
        return stream

    # -- sending -------------------------------------------------------------------------------

    def send_nowait(self, message: str | Payload) -> None:
        """Queue a message: str as text, bytes-like as binary. It goes out with this turn.

        Raises trio.WouldBlock when the outbox is full (policy `block`; the others drop a message or
        close the connection), ConnectionClosed once the connection is ending, TypeError for what is
        no message and LocalProtocolError for text with lone surrogates.
        """
        try:
            frame = self._encode(message)
        except UnicodeEncodeError as error:
            raise surrogate_error(error, "a text message") from None
        if not self.outbox.put(frame) and not self._put_full(frame):
            raise trio.WouldBlock(
                f"the outbox is full with {self.outbox.queued_messages} messages "
                f"of {self.outbox.queued_bytes} bytes in all"
            )

    async def send(self, message: str | Payload) -> None:
        """Send a message: str as text, bytes-like as binary (RFC 6455 §5.6).

        Waits while the outbox is full (policy `block`). When it returns, the message will be
        delivered before the connection is closed, or the connection ends abnormally and says so.
        When it raises, also because it was cancelled, nothing of the message was sent. A checkpoint,
        which lets other tasks run at least once every 64 messages. Raises as `send_nowait`, but for
        WouldBlock.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            frame = self._encode(message)
        except UnicodeEncodeError as error:
            raise surrogate_error(error, "a text message") from None
        outbox = self.outbox
        if outbox.has_waiting or not (outbox.put(frame) or self._put_full(frame)):
            await outbox.wait_put(frame)
            return
        self._turns -= 1
        if self._turns < 0:
            self._turns = TURN
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def send_stream(self, pieces: Pieces, *, on_progress: Progress | None = None) -> None:
        """Send one message in fragments, as its pieces come (RFC 6455 §5.4).

        Args:
            pieces: an iterable or async iterable of str, for a text message, or of bytes-like.
            on_progress: called with the number of bytes accepted so far, after each piece.

        Waits, as `send` under policy `block` does, so that at most `outbox_bytes` of the message are
        held. Messages that are sent meanwhile go after it; control frames go between its fragments.
        When it returns, the message will be delivered, as by `send`. When `pieces` raises, or this is
        cancelled, in the middle, the connection is closed with 1011: nothing else could tell the
        peer that the message is not whole. Raises ConnectionClosed, and TypeError for pieces that are
        no message's.
        """
        if self._sender is None:
            self._sender = MessageSender(self, self._endpoint, self.outbox)
        await self._sender.send(pieces, on_progress)

    def raise_if_closing(self) -> None:
        """ConnectionClosed when it is too late to send a message."""
        if self._ended or self._endpoint.state is not State.OPEN:
            raise ConnectionClosed(self.ended_as())

    def _put_full(self, frame: bytes) -> bool:
        """Find room for a frame, or apply the policy; False when it is up to the caller to wait.

        Raises ConnectionClosed when it is too late for any frame.
        """
        self.raise_if_closing()
        if isinstance(frame, Droppable):
            if self._offer(frame) is Put.DISCONNECTED:
                raise ConnectionClosed(self.ended_as())
            return True
        if self.outbox.is_busy:
            return False
        self.outbox.flush()  # a sender that doesn't let others run has filled it
        if self._ended:
            raise ConnectionClosed(self.ended_as())
        return self.outbox.put(frame)

    def offer(self, frame: Droppable, thrown_out: list[Droppable] | None = None) -> Put:
        """Queue a frame that was made for many connections, by its own policy. Never waits.

        For the hub. Returns QUEUED, DROPPED when it was left out, DISCONNECTED when the connection
        was closed for being too slow, CLOSED when it was ending already. What had to make room for it
        is added to `thrown_out`.
        """
        put = QUEUED
        if frame.policy is LATEST or not self.outbox.put(frame):
            put = self._offer(frame, thrown_out)
        return put

    def _offer(self, frame: Droppable, thrown_out: list[Droppable] | None = None) -> Put:
        """Queue a frame by its policy, after making what room there is."""
        if self._ended or self._endpoint.state is not State.OPEN:
            return Put.CLOSED
        if not self.outbox.is_busy and frame.policy is not LATEST:
            self.outbox.flush()
        put = self.outbox.put_droppable(frame, thrown_out)
        if put is Put.FULL:
            self.fail(CloseCode.TRY_AGAIN_LATER, "slow consumer", None, is_slow=True)
            return Put.DISCONNECTED
        return put

    def send_frame_nowait(self, frame: Frame) -> None:
        """Queue a crafted frame as it stands, in order with the messages (RFC 6455 §5.2).

        Nothing is checked, so that tests and tools can send what they must; a client's frame that
        has no masking key is given one. Raises as `send_nowait`.
        """
        encoded = self._endpoint.encode_crafted(frame)
        if not self.outbox.put(encoded) and not self._put_full(encoded):
            raise trio.WouldBlock("the outbox is full")

    # -- pings ---------------------------------------------------------------------------------

    async def ping(self, payload: Payload | None = None) -> float:
        """Ping the peer and wait for its pong (RFC 6455 §5.5.2); returns the round trip in seconds.

        `payload` is up to 125 bytes; by default 8 bytes of timestamp (big endian, ns) and 8 random
        ones. The time counts from when the ping reached the socket. Raises ConnectionClosed when the
        connection ends instead.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        ping = self._start_ping(payload)
        assert self._pings is not None
        rtt = await self._pings.wait(ping)
        if rtt is None:
            raise ConnectionClosed(self.ended_as())
        return rtt

    def ping_nowait(self, payload: Payload | None = None) -> bytes:
        """Ping the peer without waiting (RFC 6455 §5.5.2); returns the payload.

        The pong goes to the pong callbacks and into `rtt`. Raises trio.WouldBlock when 64 pings are
        awaited already, ConnectionClosed once the connection is ending.
        """
        return self._start_ping(payload).payload

    def _start_ping(self, payload: Payload | None) -> PingInFlight:
        if self._pings is None:
            self._pings = PingTracker()
        content = PingTracker.new_payload() if payload is None else payload
        frame = self._endpoint.encode_ping(content)
        if self._ended or self._endpoint.close_sent is not None:
            raise ConnectionClosed(self.ended_as())
        try:
            ping = self._pings.start(bytes(content), frame)
        except ValueError as error:
            raise LocalProtocolError(str(error)) from None
        self.outbox.tell_flushed = True
        self._put_urgent(frame)
        return ping

    def pong(self, payload: Payload = b"") -> None:
        """Send a pong that answers no ping, a heartbeat of up to 125 bytes (RFC 6455 §5.5.3)."""
        frame = self._endpoint.encode_pong(payload)
        if self._ended or self._endpoint.close_sent is not None:
            raise ConnectionClosed(self.ended_as())
        self._put_urgent(frame)

    def _put_urgent(self, frame: bytes) -> None:
        if not self.outbox.put_urgent(frame):
            raise trio.WouldBlock("too many control frames wait to be sent")
        self.outbox.mark()

    def add_pong_callback(self, callback: PongCallback) -> None:
        """Call a function at every pong, after those that were added before it."""
        self._pong_callbacks += (callback,)

    def remove_pong_callback(self, callback: PongCallback) -> None:
        """Call it no more. ValueError when it was not added."""
        callbacks = list(self._pong_callbacks)
        callbacks.remove(callback)
        self._pong_callbacks = tuple(callbacks)

    # -- ending --------------------------------------------------------------------------------

    async def aclose(self, code: int | None = CloseCode.NORMAL, reason: str = "") -> None:
        """Close in order: send what was accepted, then the close frame, and wait for the peer's.

        That is the closing handshake of RFC 6455 §7.1.2. `code` is 1000-1003, 1007-1014, 3000-4999 or
        None; `reason` has up to 123 bytes of UTF-8, else LocalProtocolError is raised. Without the
        peer's close frame the connection is ended after `close_timeout`; when this is cancelled, it is
        ended at once. Closing again only waits.
        """
        try:
            self.close_nowait(code, reason)
            await self.wait_closed()
        except trio.Cancelled:
            self.abort()
            raise

    def close_nowait(self, code: int | None = CloseCode.NORMAL, reason: str = "") -> None:
        """Begin to close, as `aclose` does, without waiting for the end (RFC 6455 §7.1.2)."""
        self._judge()
        if self._ended or self._endpoint.close_sent is not None:
            Frame.close(code, reason)  # raises where it may not be sent
            return
        self.outbox.finish(self._endpoint.encode_close(code, reason))
        self._after_close_frame()
        self.read_on()

    async def wait_closed(self) -> None:
        """Wait until the connection has ended."""
        if self._ended:
            await trio.lowlevel.checkpoint()
            return
        if self._ended_event is None:
            self._ended_event = trio.Event()
        await self._ended_event.wait()

    def abort(self) -> None:
        """End the connection at once, without a closing handshake."""
        self._end(None)

    def add_end_callback(self, callback: Callable[[Connection], object]) -> None:
        """Call a function, which must not raise, once the connection has ended."""
        if self._ended:
            callback(self)
        else:
            self._end_callbacks += (callback,)

    def remove_end_callback(self, callback: Callable[[Connection], object]) -> None:
        """Don't call it, if it was added."""
        self._end_callbacks = tuple(one for one in self._end_callbacks if one != callback)
