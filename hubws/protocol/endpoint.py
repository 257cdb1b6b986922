"""One side of a WebSocket connection without its I/O: bytes in, events out, frames to send.

An endpoint judges everything that the peer sends and makes everything that is sent back; it moves
no bytes and knows no clock. Compression stands between frames and messages: see `deflate.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs

from ..errors import LocalProtocolError, RemoteProtocolError
from .codec import decode, encode_frame, encode_message, mask
from .deflate import Deflater, Inflater
from .frames import (
    FIN,
    RSV1,
    CloseCode,
    Frame,
    Header,
    Opcode,
    Payload,
    build_close,
    check_control,
    check_control_payload,
    check_length,
    check_masked,
    check_opcode,
    check_reserved_bits,
    check_sequence,
    encode_text,
    is_plain_ping_or_pong,
    parse_close,
    parse_header,
    surrogate_error,
)
from .messages import SLICE, CompressedMessage, PartialMessage, Piece
from .state import TRANSITIONS, Change, Close, State


@attrs.frozen
class Ping:
    """A ping arrived; a pong with the same payload is due (RFC 6455 §5.5.2)."""

    payload: bytes


@attrs.frozen
class Pong:
    """A pong arrived, asked for or not (RFC 6455 §5.5.3)."""

    payload: bytes


@attrs.frozen
class Violation:
    """The peer broke the protocol; nothing more will come out of this endpoint."""

    error: RemoteProtocolError


Event: TypeAlias = str | bytes | Piece | Ping | Pong | Close | Frame | Violation
"""What happened: a text message is a str and a binary message is bytes, for they are most of it."""

PING = FIN | Opcode.PING
PONG = FIN | Opcode.PONG
CLOSE = FIN | Opcode.CLOSE


MESSAGE_BEGINS = (Opcode.TEXT, Opcode.BINARY)

BITE = 1024
"""How much of a compressed message that comes in pieces is inflated at once, in bytes: it may grow a
thousandfold."""


class Endpoint:
    """One side of a connection whose opening handshake is done.

    Args:
        is_client: a client masks what it sends, a server does not (RFC 6455 §5.1).
        max_message_size: of a whole message, in bytes.
        max_stream_size: of a message in pieces, in bytes. With one, a message that doesn't arrive at
            once, or is too large to be brought whole, is brought as `Piece`s.
        next_mask_key: gives 4 unpredictable bytes for each frame of a client (RFC 6455 §10.3).
        report_frames: put every frame, as a `Frame`, among the events before what it brings about.
        deflater: compresses what `encode_compressed` and `encode_fragment` are given.
        inflater: without one no compressed message is accepted.

    Attributes:
        state: see `state.py`.
        is_over: whether nothing more will come out of `receive_data`.
        only_messages: whether the last events were nothing but messages, so that a caller in a
            hurry need not look at each.
        has_rest: whether it kept some of what it was given, since a piece of a compressed message is
            as large as one should be. It goes on with the next `receive_data`, which may bring
            nothing new.

    """

    __slots__ = (
        "_deflater",
        "_expect_masked",
        "_expects_messages",
        "_frame",
        "_frame_done",
        "_frame_payload",
        "_inflater",
        "_limit",
        "_message",
        "_next_mask_key",
        "_report_frames",
        "_stream_limit",
        "_tail",
        "close_received",
        "close_sent",
        "has_rest",
        "is_over",
        "only_messages",
        "state",
    )

    def __init__(
        self,
        *,
        is_client: bool,
        max_message_size: int,
        max_stream_size: int | None = None,
        next_mask_key: Callable[[], bytes] | None = None,
        report_frames: bool = False,
        deflater: Deflater | None = None,
        inflater: Inflater | None = None,
    ) -> None:
        if is_client and next_mask_key is None:
            raise ValueError("a client needs next_mask_key: it masks every frame")
        self._next_mask_key = next_mask_key if is_client else None
        self._expect_masked = not is_client
        self._limit = max_message_size
        self._stream_limit = max_stream_size
        self._report_frames = report_frames
        self._deflater = deflater
        self._inflater = inflater
        self._tail = b""  # a frame's header, or a control frame, that is not all here yet
        self._message: PartialMessage | None = None
        self._frame: Header | None = None  # the data frame whose payload is arriving
        self._frame_done = 0  # how much of it has arrived
        self._frame_payload: bytearray | None = None  # that, as it came, when frames are reported
        self.is_over = False
        # nothing is under way, so that what comes is most likely whole messages
        self._expects_messages = not report_frames
        self.only_messages = True
        self.has_rest = False
        self.state = State.OPEN
        self.close_sent: Close | None = None
        self.close_received: Close | None = None

    # -- what arrives --------------------------------------------------------------------------

    def receive_data(self, buffer: Payload, end: int) -> list[Event]:
        """Take buffer[:end] and return what it brings, in the order of the wire.

        After a close frame or a violation, whatever follows is ignored.
        """
        events: list[Event] = []
        start = 0
        self.only_messages = True
        if self._expects_messages:
            # mypy sees list[str | bytes]; a list of messages is a list of events
            events, start = decode(buffer, 0, end, self._expect_masked, self._limit)  # type: ignore[assignment]
            if start == end:
                return events
        elif self._tail:
            buffer = self._tail + bytes(buffer[:end])
            end = len(buffer)
            self._tail = b""
        try:
            self._receive_frames(events, buffer, start, end)
        except RemoteProtocolError as error:
            self.ignore()
            self.only_messages = False
            events.append(Violation(error))
        self._expects_messages = not (
            self._tail or self._message or self.is_over or self._report_frames
        )
        return events

    @property
    def is_client(self) -> bool:
        """Whether this side masks."""
        return self._next_mask_key is not None

    def ignore(self) -> None:
        """Ignore whatever comes from now on."""
        self.is_over = True
        self._expects_messages = self.has_rest = False
        self._message = self._frame = None
        self._tail = b""

    def receive_eof(self) -> None:
        """The byte stream has ended."""
        self.ignore()
        self._change(Change.STREAM_ENDED)

    def _receive_frames(self, events: list[Event], buffer: Payload, start: int, end: int) -> None:
        """Go frame by frame through what `decode` left."""
        self.has_rest = False
        while start < end and not self.is_over:
            if self._frame is not None:
                start = self._receive_payload(events, buffer, start, end)
                if self._is_piece_full and start < end:
                    self._tail = bytes(buffer[start:end])
                    self.has_rest = True
                    break
                continue
            header = parse_header(buffer, start, end)
            if header is None:
                self._tail = bytes(buffer[start:end])
                return
            if not is_plain_ping_or_pong(header, masked=self._expect_masked):
                self._check_header(header)
            if header.is_control:
                stop = start + header.size + header.length
                if stop > end:
                    self._tail = bytes(buffer[start:end])
                    return
                self._bring_piece(events)
                self._receive_control(events, header, buffer, start + header.size)
                start = stop
            else:
                self._begin_frame(header)
                start = self._receive_payload(events, buffer, start + header.size, end)
            if self._message is None and start < end and not self.is_over:
                if self._report_frames:
                    continue
                messages, start = decode(buffer, start, end, self._expect_masked, self._limit)
                events += messages
        self._bring_piece(events)

    @property
    def _is_piece_full(self) -> bool:
        message = self._message
        return (
            self._stream_limit is not None and message is not None and len(message.payload) >= SLICE
        )

    def _bring_piece(self, events: list[Event]) -> None:
        """Bring what has come of a message, if it is to come in pieces."""
        if self._stream_limit is not None and self._message is not None:
            piece = self._message.take()
            if piece:
                self.only_messages = False
                events.append(Piece(piece, last=False))

    def _check_header(self, header: Header) -> None:
        # 'set only on the first fragment of a data message', RFC 7692 §6
        may_be_compressed = self._inflater is not None and header.opcode in MESSAGE_BEGINS
        check_reserved_bits(header, RSV1 if may_be_compressed else 0)
        check_opcode(header)
        check_masked(header, expected=self._expect_masked)
        check_control(header)
        check_length(header)
        check_sequence(header, in_message=self._message is not None)

    def _receive_control(
        self, events: list[Event], header: Header, buffer: Payload, start: int
    ) -> None:
        self.only_messages = False
        if self._report_frames:
            events.append(Frame.from_header(header, buffer, start))
        payload = mask(buffer, start, start + header.length, header.mask_key, 0)
        if header.first == PING:
            events.append(Ping(payload))
        elif header.first == PONG:
            events.append(Pong(payload))
        else:
            close = Close(*parse_close(payload))
            self.is_over = True
            self.close_received = close
            self._change(Change.CLOSE_RECEIVED)
            events.append(close)

    def _begin_frame(self, header: Header) -> None:
        if self._message is None:
            limit = self._limit if self._stream_limit is None else self._stream_limit
            if header.first & RSV1:
                assert self._inflater is not None
                self._message = CompressedMessage(header.opcode, limit, self._inflater)
            else:
                self._message = PartialMessage(header.opcode, limit)
        self._message.begin_frame(header.length)
        self._frame = header
        self._frame_done = 0
        if self._report_frames:
            self._frame_payload = bytearray()

    def _receive_payload(self, events: list[Event], buffer: Payload, start: int, end: int) -> int:
        """Take what is here of the payload of the frame under way; returns where it stops."""
        header, message = self._frame, self._message
        assert header is not None
        assert message is not None
        done = self._frame_done
        if self._stream_limit is not None and type(message) is CompressedMessage:
            end = min(end, start + BITE)
        stop = min(end, start + header.length - done)
        if stop > start:
            piece = mask(buffer, start, stop, header.mask_key, done)
            if self._frame_payload is not None:
                self._frame_payload += piece
            message.feed(piece)
            self._frame_done = done = done + stop - start
        if done == header.length:
            self._frame = None
            if self._frame_payload is not None:
                self.only_messages = False
                frame = Frame.from_header(header._replace(mask_key=None), self._frame_payload, 0)
                frame.mask_key = header.mask_key
                events.append(frame)
            if header.fin:
                self._message = None
                rest = message.finish()
                if message.is_begun or message.size > self._limit:
                    self.only_messages = False
                    events.append(Piece(rest, last=True))
                else:
                    events.append(rest)
        return stop

    # -- what is sent --------------------------------------------------------------------------

    def encode(self, message: str | Payload) -> bytes:
        """Frame a whole message; TypeError or LocalProtocolError when it can't be one."""
        try:
            if self._next_mask_key is None:
                return encode_message(message)
            return encode_message(message, self._next_mask_key())
        except UnicodeEncodeError as error:
            raise surrogate_error(error, "a text message") from None

    def encode_compressed(self, message: str | Payload) -> bytes:
        """Frame a whole message, compressed if that makes it smaller. Raises as `encode`.

        With context takeover, what it returns must be sent, and in order.
        """
        return self.encode_payload(*payload_of(message))

    def encode_payload(self, opcode: int, payload: bytes) -> bytes:
        """Do so with what `payload_of` made of a message."""
        compressed = None if self._deflater is None else self._deflater.compress(payload)
        if compressed is None:
            return encode_frame(FIN | opcode, payload, self._mask_key())
        return encode_frame(FIN | RSV1 | opcode, compressed, self._mask_key())

    def encode_fragment(
        self, payload: str | Payload, *, first: bool, last: bool, text: bool
    ) -> bytes:
        """Frame one fragment of a message (RFC 6455 §5.4), compressed if that was agreed on.

        `payload` is text or bytes-like; the text of one fragment need not end with a character of
        the message when it is given as bytes. `text` is the type of the whole message. Nothing but
        control frames may be sent between the fragments of one message.
        """
        first_byte = FIN if last else 0
        if first:
            first_byte |= Opcode.TEXT if text else Opcode.BINARY
        if self._deflater is not None:
            first_byte |= RSV1 if first else 0
            payload = self._deflater.compress_piece(payload_of(payload)[1], first=first, last=last)
        try:
            return encode_frame(first_byte, payload, self._mask_key())
        except UnicodeEncodeError as error:
            raise surrogate_error(error, "a text message") from None

    def encode_ping(self, payload: Payload) -> bytes:
        """Frame a ping; LocalProtocolError for over 125 bytes."""
        return encode_frame(PING, check_control_payload(payload, "ping"), self._mask_key())

    def encode_pong(self, payload: Payload) -> bytes:
        """Frame a pong; LocalProtocolError for over 125 bytes."""
        return encode_frame(PONG, check_control_payload(payload, "pong"), self._mask_key())

    def encode_crafted(self, frame: Frame) -> bytes:
        """A crafted frame as it stands, with a masking key where this side must mask."""
        if frame.mask_key is None and self._next_mask_key is not None:
            frame = attrs.evolve(frame, mask_key=self._next_mask_key())
        return frame.to_bytes()

    def encode_close(self, code: int | None = CloseCode.NORMAL, reason: str = "") -> bytes:
        """Frame this side's close, after which it sends nothing more (RFC 6455 §5.5.1)."""
        payload = build_close(code, reason)
        if self.close_sent is not None:
            raise LocalProtocolError("a close frame has been sent already")
        if self.state is State.CLOSED:
            raise LocalProtocolError("the stream has ended; there is nobody to close it with")
        self.close_sent = Close(CloseCode.NO_STATUS if code is None else code, reason)
        self._change(Change.CLOSE_SENT)
        return encode_frame(CLOSE, payload, self._mask_key())

    def _mask_key(self) -> bytes | None:
        return None if self._next_mask_key is None else self._next_mask_key()

    def _change(self, change: Change) -> None:
        self.state = TRANSITIONS[self.state, change]


def payload_of(message: str | Payload) -> tuple[Opcode, bytes]:
    """Opcode and payload of a message; TypeError or LocalProtocolError when it can't be one."""
    if isinstance(message, str):
        return Opcode.TEXT, encode_text(message, "a text message")
    if type(message) is bytes:
        return Opcode.BINARY, message
    try:
        return Opcode.BINARY, bytes(memoryview(message))
    except TypeError:
        raise TypeError(f"a message is str or bytes-like, not {message!r}") from None
