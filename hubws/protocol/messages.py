"""Messages that come in several frames, or one frame in several reads."""

from __future__ import annotations

from codecs import getincrementaldecoder

from ..errors import RemoteProtocolError
from .frames import CloseCode, Opcode, Payload, check_size

_Utf8 = getincrementaldecoder("utf-8")


class PartialMessage:
    """A message of which some has arrived.

    It holds its payload in one buffer, whatever the number of pieces, and judges text as it comes:
    the first byte that can't be part of UTF-8 ends it (RFC 6455 §8.1), also within a frame.
    """

    __slots__ = ("_utf8", "payload")

    def __init__(self, opcode: int) -> None:
        self.payload = bytearray()
        self._utf8 = _Utf8() if opcode == Opcode.TEXT else None

    def check_room(self, more: int, limit: int) -> None:
        """Refuse, with 1009, a frame whose declared length takes the message over the limit."""
        check_size(len(self.payload) + more, limit)

    def feed(self, piece: Payload) -> None:
        """Add some bytes, unmasked; RemoteProtocolError (1007) when they are not UTF-8."""
        if self._utf8 is not None:
            try:
                self._utf8.decode(piece)
            except UnicodeDecodeError:
                raise _not_utf8() from None
            # Python's decoder waits for the third byte before it refuses a surrogate
            rest = self._utf8.getstate()[0]
            if len(rest) == 2 and rest[0] == 0xED and rest[1] >= 0xA0:
                raise _not_utf8()
        self.payload += piece

    def finish(self) -> str | bytes:
        """The whole message; RemoteProtocolError (1007) when text ends inside a character."""
        if self._utf8 is None:
            return bytes(self.payload)
        try:
            self._utf8.decode(b"", final=True)
        except UnicodeDecodeError:
            raise _not_utf8() from None
        return self.payload.decode()


def _not_utf8() -> RemoteProtocolError:
    return RemoteProtocolError("a text message is not UTF-8", CloseCode.INVALID_DATA)
