"""What a connection does by itself: it takes what arrives, answers what must be answered, and ends.

Bytes come in through `on_bytes`, called by the transport; what they bring goes to callbacks, or into
the inbox. What waits in the outbox is sent once a scheduler turn, straight to the socket; only when
the socket would block does a writer task take over, which then finishes what has begun, whoever is
cancelled meanwhile. Every way to the end goes through `_end`, once.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import trio

from ..errors import ConnectionClosed, RemoteProtocolError
from ..protocol.codec import encode_message
from ..protocol.deflate import DeflateParameters, Deflater, Inflater
from ..protocol.endpoint import Endpoint, Event, Ping, Pong, Violation
from ..protocol.frames import (
    MAX_REASON,
    CloseCode,
    Frame,
    Payload,
)
from ..protocol.messages import Piece
from ..protocol.state import Close, Closure, State
from ..transport.abc import SocketAddress, Transport
from ..transport.poller import Poller
from ..transport.timers import Timer
from .callbacks import NO_CALLBACKS, Callbacks, PongCallback
from .inbox import Inbox
from .keepalive import Keepalive
from .limiter import LimitedEndpoint, Limiter
from .mask_keys import next_mask_key
from .outbox import AdaptingOutbox, Outbox, unframed
from .queue import BLOCK, LATEST, droppable
from .rtt import PingTracker
from .settings import Settings
from .streaming import MessageSender, MessageStream

if TYPE_CHECKING:
    from ..protocol.http import Request, Response
    from .connection import Connection

logger = logging.getLogger("hubws")

LINGER = 1.0
"""How long a connection that failed still reads, so that the peer gets to see why, in seconds."""

SHORT_LINGER = 0.25
"""The same for a stream that can't say that nothing more will come, so that the peer waits too."""

PONGS = 64
"""The most answers to pings that wait to be sent; beyond them only the newest is kept."""

_ids = itertools.count(1)


class Engine:
    """The inner half of a `Connection`: for what it is and what it offers, see there."""

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
        "_look_timer",
        "_messages_received",
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
        self._on_message: Callable[..., object] | None = callbacks.on_message
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
            self._limiter = Limiter(self._connection, self._endpoint, transport, poller.timers)
        self._prepare_to_send(deflater, transport)
        self._inbox: Inbox | None = None
        self._sender: MessageSender | None = None  # of messages in fragments
        self._stream: MessageStream | None = None  # which takes a message in pieces
        self._pings: PingTracker | None = None
        self._keepalive: Keepalive | None = None
        self._close_timer: Timer | None = None
        self._look_timer: Timer | None = None  # for who receives after closing
        self._end_callbacks: tuple[Callable[..., object], ...] = ()
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
        self._received = 0  # bytes
        self._messages_received = 0
        self._turns = 0
        self._last_pong = b""

    def _prepare_to_send(self, deflater: Deflater | None, transport: Transport) -> None:
        """Choose how messages are encoded, and the outbox that goes with it."""
        settings, endpoint = self.settings, self._endpoint
        may_drop = settings.policy is not BLOCK
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

    @property
    def state(self) -> State:
        """Where it is in its life (RFC 6455 §4.1, §7.1)."""
        return self._endpoint.state

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

    def ended_as(self) -> Closure:
        """The closure of a connection that is not open."""
        closure = self.closure
        assert closure is not None
        return closure

    def begin(self, rest: bytes = b"") -> None:
        """Begin: the opening handshake is done, `rest` is what came behind it.

        For those who make connections; applications have no need of it.
        """
        settings = self.settings
        if settings.keepalive_interval < math.inf:
            self._keepalive = Keepalive(
                self._connection,
                self._poller.timers,
                settings.keepalive_interval,
                settings.keepalive_timeout,
            )
        if self._limiter is not None:
            self._limiter.start()
        self._transport.receiver = self
        self._call(self._callbacks.on_open)
        if not self._ended:
            self._transport.start()
            if rest:
                self.on_bytes(rest, len(rest))

    @property
    def _connection(self) -> Connection:
        """This one, as applications know it."""
        return cast("Connection", self)

    # -- what arrives -------------------------------------------------------------------------------

    def on_bytes(self, buffer: Payload, end: int) -> None:
        """Take what the transport has read (see `transport.abc.Receiver`)."""
        self._received += end
        endpoint = self._endpoint
        events = endpoint.receive_data(buffer, end)
        if not endpoint.only_messages:
            self._handle(events, end)
            self._take_rest()
            return
        self._messages_received += len(events)
        if (on_message := self._on_message) is not None:
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

    def _take_rest(self) -> None:
        """Go on with what the endpoint kept, unless somebody should take the piece before it first."""
        endpoint = self._endpoint
        while endpoint.has_rest:
            if self._stream is not None and len(self._stream):
                if not self._paused:
                    self._hold_back()
                return
            self._handle(endpoint.receive_data(b"", 0), 0)

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

    def _handle(self, events: list[Event], size: int) -> None:
        """Go through events among which are others than messages."""
        self._dispatching = events
        skip = False  # the application handled the frame that brought the next event
        messages: list[Any] = []
        violation: RemoteProtocolError | None = None
        event: Any
        for event in events:
            kind = type(event)
            if kind is str or kind is bytes:
                self._messages_received += 1
                if self._on_message is None and not skip:
                    messages.append(event)
                elif not skip:
                    self._call(self._on_message, event)
                skip = False
            elif kind is Frame:
                skip = bool(self._call(self._callbacks.on_frame, event))
            elif kind is Close:
                self._on_close_frame()
            elif kind is Violation:
                violation = event.error
            elif kind is Piece:
                if messages:  # in the order of the wire
                    self._put(messages, size)
                    messages = []
                self._put_piece(event)
            elif skip:
                skip = False
            elif kind is Ping:
                self._call(self._callbacks.on_ping, event.payload)
                self._answer_ping(event.payload)
            elif kind is Pong:
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

    def on_end(self, error: Exception | None) -> None:
        """Take note that the stream has ended (see `transport.abc.Receiver`)."""
        self._end(error)

    # -- messages that wait -------------------------------------------------------------------------

    def _new_inbox(self) -> Inbox:
        return Inbox(self.settings.inbox_messages, self.settings.inbox_bytes)

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
        self._messages_received += piece.last
        self._poller.has_woken = True
        stream = self._stream
        if stream is None:
            stream = self._stream = MessageStream(self._connection)
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

    def read_on(self) -> None:
        """Read again even if nobody takes messages: the peer's close frame is behind them."""
        if self._paused:
            self._paused = False
            self._take_rest()
            if self._paused:
                return
            if self._limiter is None or not self._limiter.is_holding:
                self._transport.resume()

    def look_for_more(self) -> None:
        """Read on, for all that has come was taken. What that brings may be there at once."""
        self._judge()
        self.read_on()

    def raise_if_over(self) -> None:
        """ConnectionClosed when nothing more will be received."""
        if self._ended or self._endpoint.is_over:
            raise ConnectionClosed(self.ended_as())

    @property
    def _untaken(self) -> int:
        """How much waits to be taken, be it messages or pieces of one."""
        return len(self._inbox or ()) + len(self._stream or ())

    def _wait_for_receiver(self) -> None:
        """Look, in a while, whether somebody still takes messages although this side has closed."""
        look = partial(self._look_for_receiver, self._progress, self._untaken)
        self._cancel_look()
        self._look_timer = self._poller.timers.call_later(LINGER, look)

    def _cancel_look(self) -> None:
        if self._look_timer is not None:
            self._look_timer.cancel()

    @property
    def _progress(self) -> tuple[int, int]:
        """What changes when something is taken and more is read for it, or inflated."""
        return self._received, 0 if self._stream is None else self._stream.received

    def _look_for_receiver(self, progress: tuple[int, int], waiting: int) -> None:
        """If nobody took anything, drop what comes before the peer's close frame."""
        if self._ended or not self._paused or self._progress != progress:
            return
        if self._untaken < waiting:
            self._wait_for_receiver()
        else:
            self._is_deserted = True
            self.read_on()

    def _wake_receivers(self) -> None:
        """Have everybody who waits for messages look again: there may be none to come."""
        if self._inbox is not None:
            self._inbox.wake_all()
        if self._stream is not None:
            self._stream.wake()

    # -- functions of the application ---------------------------------------------------------------

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
        self._log(logging.ERROR, "handler failed", error)
        if self._error is None:
            self._error = error
        self._report(error)
        self.fail(CloseCode.INTERNAL_ERROR, "internal error", error)

    def _report(self, error: Exception) -> None:
        if self._callbacks.on_error is not None:
            try:
                self._callbacks.on_error(self._connection, error)
            except Exception as another:  # noqa: BLE001 - logged there
                self._log(logging.ERROR, "on_error failed", another)

    def _log(self, level: int, what: str, error: Exception | None = None) -> None:
        fields = {"connection": self.id, "remote": self.remote}
        words = "connection %d from %s: %s"
        logger.log(level, words, self.id, self.remote, what, exc_info=error, extra=fields)

    # -- what is sent -------------------------------------------------------------------------------

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

    # -- ending -------------------------------------------------------------------------------------

    def _judge(self) -> None:
        """Fail for what the peer did, if it did."""
        error, self._violation = self._violation, None
        if error is not None:
            self._log(logging.DEBUG, str(error))
            self._report(error)
            self.fail(error.code, str(error), error)

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

    def _send_close(self, code: int | None, reason: str = "", *, is_slow: bool = False) -> None:
        """Queue this side's close frame: behind the data, or instead of it when the peer is slow."""
        if is_slow or self.outbox.is_stalled:
            self._undelivered += self.outbox.discard()
            self.outbox.put_urgent(self._endpoint.encode_close(code, reason))
        else:
            self.outbox.finish(self._endpoint.encode_close(code, reason))
        self._after_close_frame()

    def _hang_up_when_flushed(self) -> None:
        self._hang_up = self.outbox.tell_flushed = True
        self.outbox.mark()

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
        self._cancel_look()
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


def _shorten(reason: str) -> str:
    """As much of a reason as fits into a close frame."""
    return reason.encode(errors="replace")[:MAX_REASON].decode(errors="ignore")
