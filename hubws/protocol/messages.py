"""Messages that come in several frames, or one frame in several reads, or compressed."""

from __future__ import annotations

from codecs import getincrementaldecoder

import attrs

from ..errors import RemoteProtocolError
from .deflate import Inflater
from .frames import CloseCode, Opcode, Payload, check_size

SLICE = 256 * 1024
"""How much is inflated at once, in bytes, so that a message is held once and not twice."""

_Utf8 = getincrementaldecoder("utf-8")


@attrs.frozen
class Piece:
    """Some of a message that is taken as it arrives, text as str; pieces have any size."""

    data: str | bytes
    last: bool


class PartialMessage:
    """A message of which some has arrived.

    It holds its payload in one buffer, whatever the number of pieces, and judges text as it comes:
    the first byte that can't be part of UTF-8 ends it (RFC 6455 §8.1), also within a frame.

    Args:
        opcode: of its first frame.
        limit: of the whole message, in bytes.

    """

    __slots__ = ("_frames_left", "_limit", "_taken", "_utf8", "payload")

    def __init__(self, opcode: int, limit: int) -> None:
        self.payload = bytearray()
        self._taken = 0
        self._limit = limit
        # a flood of fragments with next to nothing in them would cost the receiver far more than
        # the sender: one frame for 32 bytes is as small as anybody's
        self._frames_left = _most_frames(limit)
        self._utf8 = _Utf8() if opcode == Opcode.TEXT else None

    def begin_frame(self, length: int) -> None:
        """Refuse, with 1009, a frame that takes the message over its limit, or is one too many."""
        self._frames_left -= 1
        if self._frames_left < 0:
            raise RemoteProtocolError(
                f"the message has over {_most_frames(self._limit)} fragments",
                CloseCode.MESSAGE_TOO_BIG,
            )
        self._check_frame(length)

    def _check_frame(self, length: int) -> None:
        check_size(self.size + length, self._limit)

    @property
    def size(self) -> int:
        """How much has arrived, in bytes, taken or not."""
        return self._taken + len(self.payload)

    @property
    def is_begun(self) -> bool:
        """Whether some of it was taken."""
        return self._taken > 0

    def take(self) -> str | bytes:
        """What has arrived since it was last taken, of text up to the last whole character."""
        unfinished = b"" if self._utf8 is None else self._utf8.getstate()[0]
        end = len(self.payload) - len(unfinished)
        piece = bytes(self.payload[:end])
        del self.payload[:end]
        self._taken += end
        return piece if self._utf8 is None else piece.decode()

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
        """All that was not taken; RemoteProtocolError (1007) when text ends inside a character."""
        if self._utf8 is None:
            return bytes(self.payload)
        try:
            self._utf8.decode(b"", final=True)
        except UnicodeDecodeError:
            raise _not_utf8() from None
        return self.payload.decode()


class CompressedMessage(PartialMessage):
    """A compressed message, inflated as it comes, so that its limit holds for what comes out."""

    __slots__ = ("_inflater", "_room")

    def __init__(self, opcode: int, limit: int, inflater: Inflater) -> None:
        super().__init__(opcode, limit)
        self._inflater = inflater
        # what doesn't compress grows, with a small memory level by an eighth
        self._room = limit + limit // 4 + 1024

    def _check_frame(self, length: int) -> None:
        check_size(length, self._room)
        self._room -= length

    def feed(self, piece: Payload) -> None:
        """Add some bytes, unmasked but compressed; RemoteProtocolError for 1007 or 1009."""
        while True:
            most = min(self._limit - self.size + 1, SLICE)
            inflated, piece = self._inflater.inflate(piece, most)
            if inflated:
                check_size(self.size + len(inflated), self._limit)
                super().feed(inflated)
            if not piece and len(inflated) < most:
                return

    def finish(self) -> str | bytes:
        """All that was not taken, inflated to its end."""
        self.feed(self._inflater.tail())
        self._inflater.end_message()
        return super().finish()


def _most_frames(limit: int) -> int:
    return max(1024, limit // 32)


def _not_utf8() -> RemoteProtocolError:
    return RemoteProtocolError("a text message is not UTF-8", CloseCode.INVALID_DATA)
