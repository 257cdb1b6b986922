"""permessage-deflate: messages compressed one by one (RFC 7692).

What an application chooses is `Deflate`; what the two sides say in the opening handshake, and agree
on, is `DeflateParameters`; then a `Deflater` compresses what this side sends and an `Inflater` what
it receives. The work is zlib-ng's when that is installed (extra `speed`), else zlib's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from ..errors import RemoteProtocolError
from .extensions import Extension
from .frames import CloseCode, Payload

try:
    from zlib_ng import zlib_ng as zlib
except ImportError:
    import zlib  # type: ignore[no-redef]

NAME = "permessage-deflate"

TAIL = b"\x00\x00\xff\xff"
"""What a flush ends with; not sent, and put back by the receiver (RFC 7692 §7.2.1, §7.2.2)."""

WINDOW_BITS = 12
"""The window of a compressor when nothing smaller is agreed on. With `memory_level` 5 both directions
of a connection take 51 KB instead of 111, and zlib makes a compressor in 2 instead of 26
microseconds; a chat message of 300 bytes comes out a tenth larger."""

MAX_FINAL_BLOCKS = 16
"""The most blocks in a message that say they are the last; one is what some senders end with."""

_FLAGS = ("server_no_context_takeover", "client_no_context_takeover")
_BITS = ("server_max_window_bits", "client_max_window_bits")
_VALUES = {str(bits): bits for bits in range(8, 16)}  # 'without leading zeroes', §7.1.2


@attrs.frozen(kw_only=True)
class DeflateParameters:
    """The parameters of the extension (RFC 7692 §7.1), as offered or as agreed on."""

    server_no_context_takeover: bool = False
    """The server compresses each message by itself."""
    client_no_context_takeover: bool = False
    """The client does."""
    server_max_window_bits: int | None = None
    """The server's window has at most 2 to that power bytes; None: not said, which means 15."""
    client_max_window_bits: int | None = None
    """The client's; in an offer without a value, which lets the server choose, it is 15."""

    @classmethod
    def read(cls, extension: Extension, *, is_offer: bool) -> DeflateParameters:
        """Read what the peer says; ValueError where the RFC does not allow it (§7.1)."""
        read: dict[str, Any] = {}
        for name, value in extension.parameters:
            if name in read:
                raise ValueError(f"{name} comes twice")
            if name in _FLAGS:
                if value is not None:
                    raise ValueError(f"{name} has no value, not {value!r}")
                read[name] = True
            elif name in _BITS:
                may_be_bare = is_offer and name == "client_max_window_bits"
                bits = "15" if value is None and may_be_bare else value
                if bits not in _VALUES:
                    raise ValueError(f"{name} must be 8 to 15, not {value!r}")
                read[name] = _VALUES[bits]
            else:
                raise ValueError(f"{name} is not a parameter of {NAME}")
        return cls(**read)

    def to_extension(self, *, is_offer: bool) -> Extension:
        """What stands in the header."""
        parameters: list[tuple[str, str | None]] = [
            (name, None) for name in _FLAGS if getattr(self, name)
        ]
        for name in _BITS:
            bits = getattr(self, name)
            if bits is not None:
                bare = is_offer and bits == 15 and name == "client_max_window_bits"
                parameters.append((name, None if bare else str(bits)))
        return Extension(NAME, tuple(parameters))


def _in_range(low: int, high: int) -> Any:
    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value is not None and not (type(value) is int and low <= value <= high):
            raise ValueError(f"{attribute.name} must be {low} to {high}, not {value!r}")

    return check


@attrs.frozen(kw_only=True)
class Deflate:
    """How messages are compressed; what `serve` and `connect` take as `compression`.

    The first four are the parameters of RFC 7692 §7.1: what this side does, and asks of its peer. What
    would grow is sent as it is, unless that cost the context of the messages after it.
    """

    server_no_context_takeover: bool = False
    """Whether the server compresses each message by itself: larger, but it keeps no memory."""
    client_no_context_takeover: bool = False
    """Whether the client does."""
    server_max_window_bits: int | None = attrs.field(default=None, validator=_in_range(8, 15))
    """The server's window has 2 to that power bytes. None: on a server 12; a client asks nothing."""
    client_max_window_bits: int | None = attrs.field(default=None, validator=_in_range(8, 15))
    """The client's; None: 12, which a server asks of a client that lets it."""
    compress: bool = True
    """Whether messages are sent compressed; received ones may be in any case."""
    level: int = attrs.field(default=1, validator=_in_range(0, 9))
    """From 1, fastest, to 9, smallest."""
    memory_level: int = attrs.field(default=5, validator=_in_range(1, 9))
    """A compressor takes 2**(memory level + 9) bytes, and 4 times its window."""
    min_size: int = attrs.field(default=64, validator=_in_range(0, 2**31))
    """Shorter messages are sent as they are, in bytes."""

    def accept(self, offers: Iterable[Extension]) -> DeflateParameters | None:
        """The server's answer to what a client offers: the first offer that the RFC allows.

        A parameter is answered only where that is due, or allowed and wanted; the window of the
        server only when the client named it, for some clients take it ill otherwise.
        """
        for offer in offers:
            if offer.name != NAME:
                continue
            try:
                offered = DeflateParameters.read(offer, is_offer=True)
            except ValueError:
                continue  # 'MUST decline', §7.1; another offer may do
            return DeflateParameters(
                server_no_context_takeover=(
                    self.server_no_context_takeover or offered.server_no_context_takeover
                ),
                client_no_context_takeover=(
                    self.client_no_context_takeover or offered.client_no_context_takeover
                ),
                server_max_window_bits=_least(
                    offered.server_max_window_bits, self.server_max_window_bits
                ),
                client_max_window_bits=_least(
                    offered.client_max_window_bits, self.client_max_window_bits
                ),
            )
        return None

    def offer(self) -> DeflateParameters:
        """What a client offers."""
        return DeflateParameters(
            server_no_context_takeover=self.server_no_context_takeover,
            client_no_context_takeover=self.client_no_context_takeover,
            server_max_window_bits=self.server_max_window_bits,
            client_max_window_bits=self.client_max_window_bits or 15,
        )

    def check_answer(self, answer: Extension) -> DeflateParameters:
        """What was agreed on by a server's answer; ValueError when it does not fit the offer."""
        offered = self.offer()
        agreed = DeflateParameters.read(answer, is_offer=False)
        if offered.server_no_context_takeover and not agreed.server_no_context_takeover:
            raise ValueError("server_no_context_takeover was asked for and is not in the answer")
        for name in _BITS:
            asked, got = getattr(offered, name), getattr(agreed, name)
            if got is None:
                if name == "server_max_window_bits" and asked is not None:
                    raise ValueError(f"{name}={asked} was asked for and is not in the answer")
            elif asked is not None and got > asked:
                raise ValueError(f"{name} is {got}, but {asked} was offered")
        return agreed

    def build(
        self, agreed: DeflateParameters, *, is_client: bool
    ) -> tuple[Deflater | None, Inflater]:
        """The two ends of what was agreed on: for what this side sends and for what it receives."""
        own, peers = ("client", "server") if is_client else ("server", "client")

        def of(parameters: object, side: str, name: str) -> Any:
            return getattr(parameters, f"{side}_{name}")

        bits = min(
            of(agreed, own, "max_window_bits") or 15,
            of(self, own, "max_window_bits") or WINDOW_BITS,
        )
        deflater = Deflater(
            bits=bits,
            takeover=not (
                of(agreed, own, "no_context_takeover") or of(self, own, "no_context_takeover")
            ),
            settings=self,
        )
        inflater = Inflater(
            bits=of(agreed, peers, "max_window_bits") or 15,
            takeover=not of(agreed, peers, "no_context_takeover"),
        )
        return deflater if self.compress else None, inflater


def _least(offered: int | None, wanted: int | None) -> int | None:
    return None if offered is None else min(offered, wanted or WINDOW_BITS)


class Deflater:
    """Compresses the messages of one side.

    Attributes:
        takeover: whether a message may refer to those before it, so that all must arrive, in order.
        min_size: see `Deflate`.

    """

    __slots__ = (
        "_bits",
        "_level",
        "_memory_level",
        "_of_fragments",
        "_state",
        "min_size",
        "takeover",
    )

    def __init__(self, *, bits: int, takeover: bool, settings: Deflate) -> None:
        # zlib can't do 8 bits, but with 9 it never looks back further than 250 bytes
        self._bits = max(bits, 9)
        self._level = settings.level
        self._memory_level = settings.memory_level
        self._state: Any = None  # made when it is needed
        self._of_fragments: Any = None  # the state while a message is compressed in fragments
        self.min_size = settings.min_size
        self.takeover = takeover

    def compress(self, payload: Payload) -> bytes | None:
        """Compress a whole message; None when it is better sent as it is, for it would grow.

        With context takeover it may grow, by an eighth at most, rather than have its window
        forgotten: the receiver's knows only of what was compressed. What is larger than the window
        would leave nothing else in it anyway.
        """
        if len(payload) < self.min_size:
            return None
        state, self._state = self._state or self._new(), None
        data: bytes = state.compress(payload) + state.flush(zlib.Z_SYNC_FLUSH)
        grows = len(data) - len(TAIL) >= len(payload)
        if grows and not (self.takeover and 0 < len(payload) <= 1 << self._bits):
            return None
        if self.takeover:
            self._state = state
        return data[: -len(TAIL)]

    def compress_alone(self, payload: Payload) -> bytes | None:
        """As `compress`, but with no regard to other messages, for one that goes to many."""
        if len(payload) < self.min_size:
            return None
        state = self._new()
        data: bytes = state.compress(payload) + state.flush(zlib.Z_SYNC_FLUSH)
        return None if len(data) - len(TAIL) >= len(payload) else data[: -len(TAIL)]

    def forget(self) -> None:
        """Have the next message refer to none before it."""
        self._state = None

    @property
    def form(self) -> tuple[int, ...]:
        """What `compress_alone` depends on: the same form makes the same of a message."""
        return self._bits, self._level, self._memory_level, self.min_size

    def compress_piece(self, piece: Payload, *, first: bool, last: bool) -> bytes:
        """Compress a fragment of a message; those of one message follow each other.

        With takeover no whole message may be compressed between them.
        """
        if first:
            self._of_fragments, self._state = self._state or self._new(), None
        state = self._of_fragments
        data: bytes = state.compress(piece) + state.flush(zlib.Z_SYNC_FLUSH)
        if not last:
            return data
        self._of_fragments = None
        if self.takeover:
            self._state = state
        # there is nothing to flush when the last fragment is empty: an empty block, §7.2.3.6
        return data[: -len(TAIL)] or b"\x00"

    def _new(self) -> Any:
        return zlib.compressobj(self._level, zlib.DEFLATED, -self._bits, self._memory_level)


class Inflater:
    """Inflates the messages of one side."""

    __slots__ = ("_bits", "_final_blocks", "_is_fed", "_state", "_takeover")

    def __init__(self, *, bits: int, takeover: bool) -> None:
        self._bits = bits
        self._takeover = takeover
        self._state: Any = None  # made when it is needed
        self._final_blocks = 0
        self._is_fed = False  # whether anything of the message under way has come

    def inflate(self, data: Payload, most: int) -> tuple[bytes, Payload]:
        """Inflate some of a message, to at most so many bytes; returns them, and what is left.

        There may be more to come until both are empty. RemoteProtocolError (1007) for what is not
        deflate.
        """
        if self._state is None:
            if not data:
                return b"", b""
            self._state = zlib.decompressobj(-self._bits)
        if data:
            self._is_fed = True
        state = self._state
        try:
            inflated: bytes = state.decompress(data, most)
        except zlib.error as error:  # type: ignore[misc] # zlib-ng's has no stub
            raise _invalid(str(error)) from None
        if not state.eof:
            return inflated, state.unconsumed_tail
        # the block said it was the last: what follows begins anew, §7.2.3.4
        self._final_blocks += 1
        if self._final_blocks > MAX_FINAL_BLOCKS:
            raise _invalid(f"it has over {MAX_FINAL_BLOCKS} final blocks")
        self._state = None
        return inflated, state.unused_data

    def tail(self) -> bytes:
        """What is to be inflated behind the last fragment."""
        if not self._is_fed:
            raise _invalid("it has no bytes")
        return b"" if self._state is None else TAIL

    def end_message(self) -> None:
        """Forget the message, unless the next may refer to it."""
        self._is_fed = False
        self._final_blocks = 0
        if not self._takeover:
            self._state = None


def _invalid(why: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"a compressed message is not valid: {why}", CloseCode.INVALID_DATA)
