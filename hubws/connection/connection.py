"""One WebSocket connection: any task may send, any task may receive, nothing needs a lock.

Bytes come in through `on_bytes`, called by the transport; what they bring goes to callbacks, or into
the inbox for `receive`. What is sent goes into the outbox and from there, once a scheduler turn,
straight to the socket; only when the socket would block does a writer task take over, which then
finishes what has begun, whoever is cancelled meanwhile.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from ..errors import ConnectionClosed, LocalProtocolError, RemoteProtocolError
from ..protocol.codec import encode_message
from ..protocol.deflate import DeflateParameters, Deflater, Inflater
from ..protocol.endpoint import Endpoint, Event, Ping, Pong, Violation
from ..protocol.frames import (
    MAX_REASON,
    CloseCode,
    Frame,
    Payload,
    check_size,
    surrogate_error,
)
from ..protocol.messages import Piece
from ..protocol.state import Close, Closure, State
from ..transport.abc import SocketAddress, Transport
from ..transport.poller import Poller
from ..transport.tcp_info import TcpInfo
from ..transport.timers import Timer
from .callbacks import NO_CALLBACKS, Callbacks, PongCallback
from .inbox import TURN, Inbox
from .keepalive import Keepalive
from .limiter import LimitedEndpoint, Limiter
from .mask_keys import next_mask_key
from .outbox import AdaptingOutbox, Outbox, unframed
from .queue import LATEST, QUEUED, Droppable, Policy, Put, droppable
from .rtt import NO_ROUND_TRIPS, PingInFlight, PingTracker, RoundTripTimes
from .settings import Settings
from .statistics import ConnectionStatistics
from .streaming import MessageSender, MessageStream, Pieces, Progress

if TYPE_CHECKING:
    from ..protocol.http import Request, Response

logger = logging.getLogger("hubws")

LINGER = 1.0
"""How long a connection that failed still reads, so that the peer gets to see why, in seconds."""

SHORT_LINGER = 0.25
"""The same for a stream that can't say that nothing more will come, so that the peer waits too."""

PONGS = 64
"""The most answers to pings that wait to be sent; beyond them only the newest is kept."""

_ids = itertools.count(1)


class Connection:
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

    __slots__ = (
        "__weakref__",
        "_attributes",
        "_callbacks",
        "_close_timer",
        "_dispatching",
        "_encode",
        "_end_callbacks",
        "_ended",
        "_ended_event",
        "_endpoint",
        "_error",
        "_hang_up",
        "_inbox",
        "_is_deserted",
        "_keepalive",
        "_last_pong",
        "_limiter",
        "_on_message",
        "_paused",
        "_pings",
        "_poller",
        "_pong_callbacks",
        "_received",
        "_sender",
        "_stream",
        "_transport",
        "_turns",
        "_undelivered",
        "_unreceived",
        "_violation",
        "compression",
        "id",
        "is_client",
        "outbox",
        "remote",
        "request",
        "response",
        "settings",
        "subprotocol",
        "user",
    )  # fmt: skip

    def __init__(
        self,
        transport: Transport,
        poller: Poller,
        *,
        is_client: bool,
        settings: Settings,
        callbacks: Callbacks = NO_CALLBACKS,
        subprotocol: str | None = None,
        compression: DeflateParameters | None = None,
        request: Request | None = None,
        response: Response | None = None,
        user: Any = None,
    ) -> None:
        self.id = next(_ids)
        self.remote: SocketAddress = transport.remote
        self.request = request
        self.response = response
        self.subprotocol = subprotocol
        self.compression = compression
        self.user = user
        self.settings = settings
        self.is_client = is_client
        self._transport = transport
        self._poller = poller
        self._callbacks = callbacks
        self._on_message = callbacks.on_message
        self._pong_callbacks: tuple[PongCallback, ...] = (
            () if callbacks.on_pong is None else (callbacks.on_pong,)
        )
        deflater: Deflater | None = None
        inflater: Inflater | None = None
        if settings.compression is not None and compression is not None:
            deflater, inflater = settings.compression.build(compression, is_client=is_client)
        make_endpoint = LimitedEndpoint if settings.has_limits else Endpoint
        self._endpoint = make_endpoint(
            is_client=is_client,
            max_message_size=settings.max_message_size,
            max_stream_size=None if callbacks.on_message else settings.max_stream_size,
            next_mask_key=next_mask_key if is_client else None,
            report_frames=callbacks.on_frame is not None,
            deflater=deflater,
            inflater=inflater,
        )
        self._limiter: Limiter | None = None
        if isinstance(self._endpoint, LimitedEndpoint):
            self._limiter = Limiter(self, self._endpoint, transport, poller.timers)
        self._prepare_to_send(deflater, transport)
        self._inbox: Inbox | None = None
        self._sender: MessageSender | None = None  # of messages in fragments
        self._stream: MessageStream | None = None  # which takes a message in pieces
        self._pings: PingTracker | None = None
        self._keepalive: Keepalive | None = None
        self._close_timer: Timer | None = None
        self._end_callbacks: tuple[Callable[[Connection], object], ...] = ()
        self._ended_event: trio.Event | None = None
        self._attributes: dict[str, Any] | None = None
        self._dispatching: list[Any] | None = None  # messages on their way to on_message
        self._paused = False
        self._is_deserted = False  # closing, and nobody receives
        self._hang_up = False  # the stream ends once the outbox is empty
        self._ended = False
        self._error: Exception | None = None
        self._violation: RemoteProtocolError | None = None  # not judged yet
        self._undelivered = 0
        self._unreceived = 0
        self._received = 0
        self._turns = 0
        self._last_pong = b""

    def _prepare_to_send(self, deflater: Deflater | None, transport: Transport) -> None:
        """Choose how messages are encoded, and the outbox that goes with it."""
        settings, endpoint = self.settings, self._endpoint
        may_drop = settings.policy is not Policy.BLOCK
        if deflater is not None and may_drop:
            deflater.takeover = False  # those behind a dropped message must not miss it
        self._encode: Callable[[str | Payload], bytes] = encode_message
        if deflater is not None:
            self._encode = unframed if deflater.takeover else endpoint.encode_compressed
        elif self.is_client:
            self._encode = endpoint.encode
        if may_drop:
            self._encode = droppable(self._encode, settings.policy)
        self.outbox: Outbox
        if deflater is None and not self.is_client and settings.policy is not LATEST:
            self.outbox = Outbox(transport, self._poller, self, settings)
        else:
            self.outbox = AdaptingOutbox(
                transport, self._poller, self, settings, endpoint, deflater
            )

    def __repr__(self) -> str:
        return f"<Connection {self.id} {self.state.value} {self.remote}>"

    # -- what it is ----------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Where it is in its life (RFC 6455 §4.1, §7.1)."""
        return self._endpoint.state

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
    def closure(self) -> Closure | None:
        """How the connection ended, None while it is open."""
        endpoint = self._endpoint
        if endpoint.state is State.OPEN and self._error is None:
            return None
        return Closure(
            received=endpoint.close_received,
            sent=endpoint.close_sent,
            error=self._error,
            undelivered=self._undelivered,
            unreceived=self._unreceived,
        )

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

    def statistics(self) -> ConnectionStatistics:
        """Figures at this moment."""
        counters = self.outbox.counters
        return ConnectionStatistics(
            bytes_received=self._received,
            bytes_sent=self.outbox.bytes_sent,
            inbox_messages=0 if self._inbox is None else len(self._inbox),
            outbox_messages=self.outbox.queued_messages,
            outbox_bytes=self.outbox.queued_bytes,
            dropped=0 if counters is None else counters.dropped,
            conflated=0 if counters is None else counters.conflated,
            is_stalled=self.outbox.is_stalled,
            rate_dropped=0 if self._limiter is None else self._limiter.dropped,
        )

    # -- beginning -----------------------------------------------------------------------------

    def begin(self, rest: bytes = b"") -> None:
        """Begin: the opening handshake is done, `rest` is what came behind it.

        For those who make connections; applications have no need of it.
        """
        settings = self.settings
        if settings.keepalive_interval < math.inf:
            self._keepalive = Keepalive(
                self, self._poller.timers, settings.keepalive_interval, settings.keepalive_timeout
            )
        if self._limiter is not None:
            self._limiter.start()
        self._transport.receiver = self
        self._call(self._callbacks.on_open)
        if not self._ended:
            self._transport.start()
            if rest:
                self.on_bytes(rest, len(rest))

    def send_handshake(self, response: bytes) -> None:
        """Queue the response of the opening handshake ahead of everything else."""
        self.outbox.put_urgent(response)
        self.outbox.mark()

    # -- what arrives --------------------------------------------------------------------------

    def on_bytes(self, buffer: Payload, end: int) -> None:
        """Take what the transport has read (see `transport.abc.Receiver`)."""
        self._received += end
        endpoint = self._endpoint
        events = endpoint.receive_data(buffer, end)
        if not endpoint.only_messages:
            self._handle(events, end)
        elif (on_message := self._on_message) is not None:
            self._dispatching = events
            left: Iterator[Any] = iter(events)
            try:
                for message in left:
                    on_message(self, message)
            except Exception as error:  # noqa: BLE001 - logged there
                self._deliver_rest(left, error)
            self._dispatching = None
        elif events:
            self._put(events, end)

    def _deliver_rest(self, left: Iterator[Any], error: Exception) -> None:
        """Go on after on_message raised, if it was a ConnectionClosed, which is no error."""
        assert self._on_message is not None
        while isinstance(error, ConnectionClosed):
            try:
                for message in left:
                    self._on_message(self, message)
                return
            except Exception as another:  # noqa: BLE001 - logged below
                error = another
        self._callback_failed(error)

    def on_end(self, error: Exception | None) -> None:
        """Take note that the stream has ended (see `transport.abc.Receiver`)."""
        self._end(error)

    def _put(self, messages: list[Any], size: int) -> None:
        if self._inbox is None:
            self._inbox = self._new_inbox()
        self._poller.has_woken = True
        if self._unreceived or (self._is_deserted and self._inbox.is_full):
            self._unreceived += len(messages)
        elif self._inbox.put(messages, size):
            self._hold_back()

    def _put_piece(self, piece: Piece) -> None:
        """Take some of a message that comes in pieces."""
        self._poller.has_woken = True
        stream = self._stream
        if stream is None:
            stream = self._stream = MessageStream(self)
            if self._inbox is None:
                self._inbox = self._new_inbox()
            stream.put(piece)
            self._inbox.put_stream(stream)
        elif stream.is_abandoned:
            self._unreceived += piece.last and self._is_deserted
        elif self._is_deserted and len(stream):
            stream.abandon()
        else:
            stream.put(piece)
            if stream.size > self.settings.inbox_bytes:
                self._hold_back()
        if piece.last:
            self._stream = None

    def _hold_back(self) -> None:
        """Read nothing until somebody takes what there is."""
        self._paused = True
        self._transport.pause()
        self.note_held_back()
        if self._endpoint.close_sent is not None:
            self._wait_for_receiver()

    def note_held_back(self) -> None:
        """Take note that a pong may be late because this side did not read."""
        if self._keepalive is not None:
            self._keepalive.was_held_back = True

    @property
    def _untaken(self) -> int:
        """How much waits to be taken, be it messages or pieces of one."""
        return len(self._inbox or ()) + len(self._stream or ())

    def _wait_for_receiver(self) -> None:
        """Look, in a while, whether somebody still takes messages although this side has closed."""
        look = partial(self._look_for_receiver, self._received, self._untaken)
        self._poller.timers.call_later(LINGER, look)

    def _look_for_receiver(self, received: int, waiting: int) -> None:
        """If nobody took anything, drop what comes before the peer's close frame."""
        if self._ended or not self._paused or self._received != received:
            return
        if self._untaken < waiting:
            self._wait_for_receiver()
        else:
            self._is_deserted = True
            self.read_on()

    def _handle(self, events: list[Event], size: int) -> None:
        """Go through events among which are others than messages."""
        self._dispatching = events
        skip = False  # the application handled the frame that brought the next event
        messages: list[Any] = []
        violation: RemoteProtocolError | None = None
        for event in events:
            if isinstance(event, str | bytes):
                if self._on_message is None and not skip:
                    messages.append(event)
                elif not skip:
                    self._call(self._on_message, event)
                skip = False
            elif isinstance(event, Frame):
                skip = bool(self._call(self._callbacks.on_frame, event))
            elif isinstance(event, Close):
                self._on_close_frame()
            elif isinstance(event, Violation):
                violation = event.error
            elif isinstance(event, Piece):
                if messages:  # in the order of the wire
                    self._put(messages, size)
                    messages = []
                self._put_piece(event)
            elif skip:
                skip = False
            elif isinstance(event, Ping):
                self._call(self._callbacks.on_ping, event.payload)
                self._answer_ping(event.payload)
            elif isinstance(event, Pong):
                self._on_pong(event.payload)
        self._dispatching = None
        if messages:
            self._put(messages, size)
        if violation is not None:
            self._violation = violation
            if self._inbox:  # what came before it is received, and may be answered, before it
                self._set_close_timer(LINGER)
            else:
                self._judge()
        if self._endpoint.is_over:
            self._wake_receivers()

    def _wake_receivers(self) -> None:
        """Have everybody who waits for messages look again: there may be none to come."""
        if self._inbox is not None:
            self._inbox.wake_all()
        if self._stream is not None:
            self._stream.wake()

    def _call(self, callback: Callable[..., object] | None, *args: object) -> object:
        if callback is None:
            return None
        try:
            return callback(self, *args)
        except ConnectionClosed:
            return None
        except Exception as error:  # noqa: BLE001 - logged there
            self._callback_failed(error)
            return None

    def _callback_failed(self, error: Exception) -> None:
        """A function of the application raised: that ends its connection, and no other."""
        if self._dispatching is not None:
            self._dispatching.clear()
        self.fail_for(error)

    def fail_for(self, error: Exception) -> None:
        """Close with 1011 because the application's own code raised; logged once."""
        logger.error("connection %d from %s: handler failed", self.id, self.remote, exc_info=error)
        if self._error is None:
            self._error = error
        self._report(error)
        self.fail(CloseCode.INTERNAL_ERROR, "internal error", error)

    def _report(self, error: Exception) -> None:
        if self._callbacks.on_error is not None:
            try:
                self._callbacks.on_error(self, error)
            except Exception:
                logger.exception("connection %d: on_error failed", self.id)

    def _answer_ping(self, payload: bytes) -> None:
        if self._endpoint.close_sent is not None:
            return
        pong = self._endpoint.encode_pong(payload)
        # A peer that doesn't read its pongs gets the newest of the later ones (RFC 6455 §5.5.3).
        full = self.outbox.urgent_frames >= PONGS
        if not (full and self.outbox.replace_urgent(self._last_pong, pong)):
            if not self.outbox.put_urgent(pong):
                self.outbox.replace_urgent(self._last_pong, pong)
            self.outbox.mark()
        self._last_pong = pong

    def _on_pong(self, payload: bytes) -> None:
        rtt = None
        if self._pings is not None:
            if self._pings.has_unsent:
                self._pings.assume_sent(self.outbox.urgent)
            rtt = self._pings.answer(payload)
        if self._keepalive is not None:
            self._keepalive.on_pong(payload)
        for callback in self._pong_callbacks:
            self._call(callback, payload, rtt)

    def _on_close_frame(self) -> None:
        """The peer closes: answer, unless this is the answer (RFC 6455 §5.5.1)."""
        close = self._endpoint.close_received
        assert close is not None
        if self._endpoint.close_sent is None:
            self._send_close(None if close.code == CloseCode.NO_STATUS else close.code)
        if not self.is_client:
            self._hang_up_when_flushed()

    def _judge(self) -> None:
        """Fail for what the peer did, if it did."""
        error, self._violation = self._violation, None
        if error is not None:
            logger.debug("connection %d from %s: %s", self.id, self.remote, error)
            self._report(error)
            self.fail(error.code, str(error), error)

    # -- receiving -----------------------------------------------------------------------------

    def __aiter__(self) -> Connection:
        return self

    async def __anext__(self) -> str | bytes:
        inbox = self._inbox
        if inbox is not None and inbox.batch and inbox.turns > 0:
            inbox.turns -= 1
            message = inbox.batch.pop()
            if self._paused and not inbox:
                self.read_on()
            return message
        try:
            return await self.receive()
        except ConnectionClosed as closed:
            if closed.closure.normal:
                raise StopAsyncIteration from None
            raise

    async def receive(self) -> str | bytes:
        """Wait for the next message: text as str, binary as bytes.

        Raises ConnectionClosed once the connection has ended and all that came before was taken.
        Cancelling it loses no message. A checkpoint, which lets other tasks run at least once every
        64 messages.
        """
        if self._on_message is not None:
            raise RuntimeError("messages of this connection go to its on_message callback")
        inbox = self._inbox
        if inbox is None:
            inbox = self._inbox = self._new_inbox()
        if inbox.batch:
            await trio.lowlevel.checkpoint_if_cancelled()
            if inbox.turns <= 0:
                inbox.turns = TURN
                await trio.lowlevel.checkpoint()
        while not inbox.batch and not inbox.refill():
            if inbox.stream is None:
                await self._wait_for_message(inbox)
            elif (whole := await self._wait_for_rest(inbox, inbox.stream)) is not None:
                return whole
        inbox.turns -= 1
        message = inbox.batch.pop()
        if self._paused and not inbox:
            self.read_on()
        return message

    async def _wait_for_message(self, inbox: Inbox) -> None:
        """Wait until there may be a message, or part of one; ConnectionClosed when none will come."""
        try:
            self.look_for_more()
        except ConnectionClosed:
            await trio.lowlevel.checkpoint()
            raise
        await inbox.wait()

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
            self.look_for_more()
            await stream.wait()
        return None

    @contextlib.asynccontextmanager
    async def receive_stream(self) -> AsyncIterator[MessageStream]:
        """Take the next message in pieces, as they arrive, without holding it whole.

            async with connection.receive_stream() as message:
                async for piece in message:
                    file.write(piece)

        For messages that are not whole at once the setting `max_stream_size` is needed; all others
        come as one piece. Entering waits for the message to begin, and raises ConnectionClosed when
        none comes; so does iterating when the connection ends before the message does. Leaving early
        drops the rest of it. Not for connections whose messages go to `on_message`.
        """
        if self._on_message is not None:
            raise RuntimeError("messages of this connection go to its on_message callback")
        await trio.lowlevel.checkpoint()
        stream = await self._next_stream()
        try:
            yield stream
        finally:
            stream.abandon()
            self.read_on()

    async def _next_stream(self) -> MessageStream:
        if self._inbox is None:
            self._inbox = self._new_inbox()
        inbox = self._inbox
        while not inbox.batch and not inbox.refill():
            if (stream := inbox.stream) is not None:
                inbox.remove_stream()
                return stream
            await self._wait_for_message(inbox)
        stream = MessageStream(self)
        stream.put(Piece(inbox.batch.pop(), last=True))
        return stream

    def look_for_more(self) -> None:
        """Read on, for all that has come was taken; ConnectionClosed when nothing will follow."""
        self._judge()
        self.read_on()
        if self._ended or self._endpoint.is_over:
            raise ConnectionClosed(self.ended_as())

    def ended_as(self) -> Closure:
        """The closure of a connection that is not open."""
        closure = self.closure
        assert closure is not None
        return closure

    def _new_inbox(self) -> Inbox:
        return Inbox(self.settings.inbox_messages, self.settings.inbox_bytes)

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
        """Send a message: str as text, bytes-like as binary.

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
        """Queue a crafted frame as it stands, in order with the messages.

        Nothing is checked, so that tests and tools can send what they must; a client's frame that
        has no masking key is given one. Raises as `send_nowait`.
        """
        encoded = self._endpoint.encode_crafted(frame)
        if not self.outbox.put(encoded) and not self._put_full(encoded):
            raise trio.WouldBlock("the outbox is full")

    # -- pings ---------------------------------------------------------------------------------

    async def ping(self, payload: Payload | None = None) -> float:
        """Ping the peer and wait for its pong; returns the round-trip time in seconds.

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
        """Ping the peer without waiting; returns the payload.

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

    def on_flushed(self) -> None:
        """Take note that some of what waited has gone (see `outbox.Owner`)."""
        unsent = False
        if self._pings is not None:
            self._pings.stamp(self.outbox.urgent)
            unsent = self._pings.has_unsent
        if not self._hang_up:
            self.outbox.tell_flushed = unsent
        elif self.outbox.is_empty:
            if self._endpoint.close_received is not None:
                self._end(None)
            elif not self._transport.end_output():
                self._set_close_timer(SHORT_LINGER)

    def on_broken(self, error: Exception) -> None:
        """Take note that nothing can be sent any more (see `outbox.Owner`)."""
        self._end(error)

    # -- ending --------------------------------------------------------------------------------

    async def aclose(self, code: int | None = CloseCode.NORMAL, reason: str = "") -> None:
        """Close in order: send what was accepted, then the close frame, and wait for the peer's.

        `code` is 1000-1003, 1007-1014, 3000-4999 or None; `reason` has up to 123 bytes of UTF-8.
        Without the peer's close frame the connection is ended after `close_timeout`; when this is
        cancelled, it is ended at once. Closing again only waits.
        """
        try:
            self.close_nowait(code, reason)
            await self.wait_closed()
        except trio.Cancelled:
            self.abort()
            raise

    def close_nowait(self, code: int | None = CloseCode.NORMAL, reason: str = "") -> None:
        """Begin to close, as `aclose` does, without waiting for the end."""
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

    def fail(
        self, code: int, reason: str, error: Exception | None, *, is_slow: bool = False
    ) -> None:
        """End the connection because something is wrong: say why if the peer listens, then hang up.

        Nothing more is received; data that was queued is not waited for if the peer is slow.
        """
        if self._ended:
            return
        if self._error is None:
            self._error = error
        self._violation = None
        self._endpoint.ignore()
        if self.outbox.is_busy and isinstance(error, TimeoutError):
            self._end(error)
            return
        if self.outbox.is_streaming:  # it will not be finished, and nothing else may go before
            self._undelivered += self.outbox.tear_stream()
        if self._endpoint.close_sent is None:
            self._send_close(code, _shorten(reason), is_slow=is_slow)
        self._hang_up_when_flushed()
        self._set_close_timer(LINGER)
        self._wake_receivers()
        self.read_on()

    def _hang_up_when_flushed(self) -> None:
        self._hang_up = self.outbox.tell_flushed = True
        self.outbox.mark()

    def _send_close(self, code: int | None, reason: str = "", *, is_slow: bool = False) -> None:
        """Queue this side's close frame: behind the data, or instead of it when the peer is slow."""
        if is_slow or self.outbox.is_stalled:
            self._undelivered += self.outbox.discard()
            self.outbox.put_urgent(self._endpoint.encode_close(code, reason))
        else:
            self.outbox.finish(self._endpoint.encode_close(code, reason))
        self._after_close_frame()

    def read_on(self) -> None:
        """Read again even if nobody takes messages: the peer's close frame is behind them."""
        if self._paused:
            self._paused = False
            if self._limiter is None or not self._limiter.is_holding:
                self._transport.resume()

    def _after_close_frame(self) -> None:
        self.outbox.fail_waiting(lambda: ConnectionClosed(self.ended_as()))
        if self._keepalive is not None:
            self._keepalive.stop()
        if self._limiter is not None:
            self._limiter.stop()
        self._set_close_timer(self.settings.close_timeout)
        self.outbox.mark()

    def _set_close_timer(self, seconds: float) -> None:
        if self._close_timer is not None:
            self._close_timer.cancel()
        if seconds < math.inf:
            self._close_timer = self._poller.timers.call_later(seconds, self._close_expired)

    def _close_expired(self) -> None:
        if self._violation is not None:
            self._judge()
        else:
            self._end(None)

    def _end(self, error: Exception | None) -> None:
        """The stream has ended, or is ended now. The one way out, taken once."""
        if self._ended:
            return
        self._ended = True
        endpoint = self._endpoint
        error = error or self._violation
        self._violation = None
        if error is not None and self._error is None and endpoint.close_received is None:
            self._error = error
            self._report(error)
        if self._dispatching is not None:
            self._dispatching.clear()
        self._undelivered += self.outbox.discard_all()
        endpoint.receive_eof()
        self._transport.close()
        if self._keepalive is not None:
            self._keepalive.stop()
            self._keepalive = None
        if self._limiter is not None:
            self._limiter.end()
        if self._close_timer is not None:
            self._close_timer.cancel()
        self.outbox.stop()
        self.outbox.fail_waiting(lambda: ConnectionClosed(self.ended_as()))
        if self._pings is not None:
            self._pings.end()
        self._wake_receivers()
        if self._ended_event is not None:
            self._ended_event.set()
        callbacks, self._end_callbacks = self._end_callbacks, ()
        for callback in callbacks:
            callback(self)
        self._call(self._callbacks.on_close)

    def add_end_callback(self, callback: Callable[[Connection], object]) -> None:
        """Call a function, which must not raise, once the connection has ended."""
        if self._ended:
            callback(self)
        else:
            self._end_callbacks += (callback,)

    def remove_end_callback(self, callback: Callable[[Connection], object]) -> None:
        """Don't call it, if it was added."""
        self._end_callbacks = tuple(one for one in self._end_callbacks if one != callback)


def _shorten(reason: str) -> str:
    """As much of a reason as fits into a close frame."""
    return reason.encode(errors="replace")[:MAX_REASON].decode(errors="ignore")
