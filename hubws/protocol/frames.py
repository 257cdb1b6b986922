"""Frames: opcodes, close codes, the rules that every frame must keep, and crafting frames by hand.

Each `check_*` is one rule of RFC 6455 as a pure function: it raises `RemoteProtocolError` with the
close code that the rule's breach calls for, or returns. The endpoint applies them to what arrives.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, TypeAlias

import attrs

from ..errors import LocalProtocolError, RemoteProtocolError
from .codec import encode_frame, mask

Payload: TypeAlias = bytes | bytearray | memoryview

MAX_CONTROL_PAYLOAD = 125
"""The longest payload of a control frame, in bytes (RFC 6455 §5.5)."""

MAX_REASON = MAX_CONTROL_PAYLOAD - 2
"""The longest close reason, in bytes of UTF-8."""


class Opcode(IntEnum):
    """What a frame is (RFC 6455 §11.8)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """Why a connection ends (RFC 6455 §7.4.1 and the IANA registry)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    """A close frame without a code; never on the wire."""
    ABNORMAL = 1006
    """The connection ended without a close frame; never on the wire."""
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015
    """TLS failed; never on the wire."""


OPCODES = frozenset(Opcode)
RESERVED_BITS = 0x70
_PING_OR_PONG = (0x89, 0x8A)
FIN = 0x80
RSV1 = 0x40
"""Of a message's first frame: the message is compressed (RFC 7692 §6)."""


def is_close_code(code: int) -> bool:
    """Whether a close frame may carry this code (RFC 6455 §7.4)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


class Header(NamedTuple):
    """The part of a frame before its payload."""

    first: int
    """FIN, RSV1-3 and opcode."""
    mask_key: bytes | None
    length: int
    """Of the payload, in bytes."""
    minimal: bool
    """Whether the length is written in the fewest bytes."""
    size: int
    """Of this header, in bytes."""

    @property
    def fin(self) -> bool:
        """Whether the frame is the last of its message."""
        return bool(self.first & FIN)

    @property
    def opcode(self) -> int:
        """The opcode, which may be a reserved one."""
        return self.first & 0x0F

    @property
    def is_control(self) -> bool:
        """Whether it is a close, ping or pong, or a control frame yet to be defined."""
        return bool(self.first & 0x08)


def parse_header(buffer: Payload, start: int, end: int) -> Header | None:
    """Read the header that begins at buffer[start], None when it is not all there (RFC 6455 §5.2)."""
    if end - start < 2:
        return None
    first, second = buffer[start], buffer[start + 1]
    length = second & 0x7F
    at, minimal = start + 2, True
    if length >= 126:
        at += 2 if length == 126 else 8
        if at > end:
            return None
        least = 126 if length == 126 else 65536
        length = int.from_bytes(buffer[start + 2 : at], "big")
        minimal = length >= least
    mask_key = None
    if second & 0x80:
        if at + 4 > end:
            return None
        mask_key = bytes(buffer[at : at + 4])
        at += 4
    return Header(first, mask_key, length, minimal, at - start)


def is_plain_ping_or_pong(header: Header, *, masked: bool) -> bool:
    """Whether a header is that of a ping or pong that no `check_*` function would object to.

    One test for the six of them, which take 1.4 microseconds: pings are most of an idle server's work.
    """
    return (
        header.first in _PING_OR_PONG
        and header.length < 126
        and header.minimal
        and (header.mask_key is not None) is masked
    )


def check_reserved_bits(header: Header, allowed: int = 0) -> None:
    """'MUST be 0 unless an extension is negotiated that defines meanings for non-zero values' §5.2."""
    if header.first & RESERVED_BITS & ~allowed:
        raise RemoteProtocolError(
            f"reserved bits {header.first >> 4 & 7:03b} are set, but no extension defines them"
        )


def check_opcode(header: Header) -> None:
    """'If an unknown opcode is received, the receiving endpoint MUST Fail' the connection, §5.2."""
    if header.opcode not in OPCODES:
        raise RemoteProtocolError(f"opcode {header.opcode:#x} is reserved")


def check_length(header: Header) -> None:
    """'The minimal number of bytes MUST be used to encode the length', most significant bit 0, §5.2."""
    if not header.minimal:
        raise RemoteProtocolError(f"the length {header.length} is not in the fewest bytes")
    if header.length >> 63:
        raise RemoteProtocolError("the most significant bit of the length is set")


def check_masked(header: Header, *, expected: bool) -> None:
    """A client masks all frames, a server none; the other side closes when it sees otherwise, §5.1."""
    if (header.mask_key is not None) is not expected:
        raise RemoteProtocolError(
            "a frame from a client is not masked" if expected else "a frame from a server is masked"
        )


def check_control(header: Header) -> None:
    """Control frames 'MUST have a payload length of 125 bytes or less', not fragmented, §5.5."""
    if header.is_control:
        if header.length > MAX_CONTROL_PAYLOAD:
            raise RemoteProtocolError(
                f"a control frame has {header.length} bytes of payload; at most 125 are allowed"
            )
        if not header.fin:
            raise RemoteProtocolError("a control frame is fragmented")


def check_sequence(header: Header, *, in_message: bool) -> None:
    """Fragments of one message are not mixed with those of another (RFC 6455 §5.4)."""
    if header.is_control:
        return
    if in_message and header.opcode != Opcode.CONTINUATION:
        raise RemoteProtocolError("a new message begins before the last fragment of another")
    if not in_message and header.opcode == Opcode.CONTINUATION:
        raise RemoteProtocolError("a continuation frame comes without a message to continue")


def check_size(size: int, limit: int) -> None:
    """A message 'too big for it to process' is refused with 1009 (RFC 6455 §7.4.1)."""
    if size > limit:
        raise RemoteProtocolError(
            f"the message has at least {size} bytes; at most {limit} are accepted",
            CloseCode.MESSAGE_TOO_BIG,
        )


def parse_close(payload: Payload) -> tuple[int, str]:
    """Code and reason of a close frame; 1005 when it carries none (RFC 6455 §5.5.1, §7.1.5)."""
    if not payload:
        return CloseCode.NO_STATUS, ""
    if len(payload) == 1:
        raise RemoteProtocolError("a close frame has one byte of payload; a code takes two")
    code = int.from_bytes(payload[:2], "big")
    if not is_close_code(code):
        raise RemoteProtocolError(f"close code {code} may not be sent")
    try:
        return code, str(payload[2:], "utf-8")
    except UnicodeDecodeError:
        raise RemoteProtocolError("a close reason is not UTF-8", CloseCode.INVALID_DATA) from None


def build_close(code: int | None, reason: str = "") -> bytes:
    """The payload of a close frame; empty without a code.

    Raises LocalProtocolError for a code that may not be sent, a reason without a code, one of more
    than 123 bytes in UTF-8, or one with lone surrogates.
    """
    if code is None:
        if reason:
            raise LocalProtocolError(f"the close reason {reason!r} needs a close code")
        return b""
    if not is_close_code(code):
        raise LocalProtocolError(
            f"close code {code!r} may not be sent; use 1000-1003, 1007-1014 or 3000-4999"
        )
    content = encode_text(reason, "a close reason")
    if len(content) > MAX_REASON:
        raise LocalProtocolError(
            f"a close reason has at most {MAX_REASON} bytes of UTF-8, not {len(content)}"
        )
    return int(code).to_bytes(2, "big") + content


def encode_text(text: str, what: str) -> bytes:
    """UTF-8 of a text, or LocalProtocolError where it has lone surrogates."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise surrogate_error(error, what) from None


def surrogate_error(error: UnicodeEncodeError, what: str) -> LocalProtocolError:
    """Say where in a text the lone surrogate stands."""
    return LocalProtocolError(
        f"{what} must be text that UTF-8 can encode; "
        f"there is a lone surrogate U+{ord(error.object[error.start]):04X} at index {error.start}",
        CloseCode.INVALID_DATA,
    )


def check_control_payload(payload: Payload, what: str) -> bytes:
    """The payload of a ping or pong to send; LocalProtocolError when it is over 125 bytes."""
    try:
        content = bytes(memoryview(payload))
    except TypeError:
        raise TypeError(f"the payload of a {what} is bytes-like, not {payload!r}") from None
    if len(content) > MAX_CONTROL_PAYLOAD:
        raise LocalProtocolError(
            f"the payload of a {what} has at most {MAX_CONTROL_PAYLOAD} bytes, not {len(content)}"
        )
    return content


def _as_mask_key(value: bytes | None) -> bytes | None:
    if value is not None and not (type(value) is bytes and len(value) == 4):
        raise LocalProtocolError(f"a masking key is 4 bytes or None, not {value!r}")
    return value


def _as_payload(value: Payload) -> bytes:
    try:
        return bytes(memoryview(value))
    except TypeError:
        raise TypeError(f"the payload of a frame is bytes-like, not {value!r}") from None


def _as_opcode(value: int) -> int:
    if not 0 <= value <= 15:
        raise LocalProtocolError(f"an opcode is 0 to 15, not {value}")
    return Opcode(value) if value in OPCODES else value


@attrs.define(kw_only=True)
class Frame:
    """One frame, to read, to craft and to print (RFC 6455 §5.2).

    Every field can be set to what the wire can carry, also to what the protocol forbids: it is meant
    for tests, for tools and for extensions of the application's own. `payload` is unmasked.
    """

    opcode: int = attrs.field(converter=_as_opcode, on_setattr=attrs.setters.convert)
    payload: bytes = attrs.field(
        default=b"", converter=_as_payload, on_setattr=attrs.setters.convert
    )
    fin: bool = True
    rsv1: bool = False
    rsv2: bool = False
    rsv3: bool = False
    mask_key: bytes | None = attrs.field(
        default=None, converter=_as_mask_key, on_setattr=attrs.setters.convert
    )

    @classmethod
    def text(cls, text: str, *, fin: bool = True) -> Frame:
        """A text frame; LocalProtocolError for lone surrogates."""
        return cls(opcode=Opcode.TEXT, payload=encode_text(text, "a text frame"), fin=fin)

    @classmethod
    def close(cls, code: int | None = CloseCode.NORMAL, reason: str = "") -> Frame:
        """A close frame; LocalProtocolError for a code or a reason that may not be sent."""
        return cls(opcode=Opcode.CLOSE, payload=build_close(code, reason))

    @classmethod
    def from_bytes(cls, data: Payload) -> tuple[Frame, int] | None:
        """Read the frame at the beginning of data, whatever it says.

        Returns the frame and its size in bytes, or None when it is not all there.
        """
        header = parse_header(data, 0, len(data))
        if header is None or len(data) < header.size + header.length:
            return None
        return cls.from_header(header, data, header.size), header.size + header.length

    @classmethod
    def from_header(cls, header: Header, data: Payload, start: int) -> Frame:
        """Make the frame of a header and the payload that begins at data[start]."""
        return cls(
            opcode=header.opcode,
            payload=mask(data, start, start + header.length, header.mask_key, 0),
            fin=header.fin,
            rsv1=bool(header.first & 0x40),
            rsv2=bool(header.first & 0x20),
            rsv3=bool(header.first & 0x10),
            mask_key=header.mask_key,
        )

    def to_bytes(self) -> bytes:
        """The frame as it goes on the wire, masked when it has a masking key."""
        first = self.fin << 7 | self.rsv1 << 6 | self.rsv2 << 5 | self.rsv3 << 4 | self.opcode
        return encode_frame(first, self.payload, self.mask_key)

    @property
    def is_control(self) -> bool:
        """Whether the opcode is that of a control frame."""
        return bool(self.opcode & 0x08)

    @property
    def close_code(self) -> int | None:
        """The code of a close frame, as it stands; None when it carries none."""
        if self.opcode != Opcode.CLOSE or len(self.payload) < 2:
            return None
        return int.from_bytes(self.payload[:2], "big")

    @close_code.setter
    def close_code(self, code: int) -> None:
        if not 0 <= code <= 0xFFFF:
            raise LocalProtocolError(f"a close code has two bytes; {code} does not fit")
        self.payload = code.to_bytes(2, "big") + self.payload[2:]

    @property
    def close_reason(self) -> str:
        """The reason of a close frame; what is not UTF-8 shows as U+FFFD."""
        return self.payload[2:].decode(errors="replace") if self.opcode == Opcode.CLOSE else ""

    @close_reason.setter
    def close_reason(self, reason: str) -> None:
        code = self.payload[:2] if len(self.payload) > 1 else CloseCode.NORMAL.to_bytes(2, "big")
        self.payload = code + encode_text(reason, "a close reason")

    def __str__(self) -> str:
        words = [
            self.opcode.name if isinstance(self.opcode, Opcode) else f"opcode {self.opcode:#x}"
        ]
        words += [bit.upper() for bit in ("fin", "rsv1", "rsv2", "rsv3") if getattr(self, bit)]
        if self.mask_key is not None:
            words.append(f"mask {self.mask_key.hex()}")
        words.append(f"{len(self.payload)} bytes")
        if self.opcode == Opcode.CLOSE and self.close_code is not None:
            words.append(f"{self.close_code} {self.close_reason!r}")
        elif self.opcode == Opcode.TEXT:
            words.append(repr(self.payload[:64].decode(errors="replace")))
        elif self.payload:
            words.append(self.payload[:32].hex(" "))
        return f"<{' '.join(words)}>"
