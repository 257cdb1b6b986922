"""The other end of a connection, played by the sans-I/O protocol of the package websockets."""

from __future__ import annotations

import socket
from collections.abc import Callable

import attrs
import trio
import trio.testing
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol, Side

from hubws.testing.plan import Fault, Kind, Plan
from hubws.testing.stream import FaultyStream
from hubws.transport.abc import Transport
from hubws.transport.poller import current_poller
from hubws.transport.socket import SocketTransport
from hubws.transport.stream import StreamTransport

PIECE = 64 * 1024


class Peer:
    """Decodes what comes, strictly, answers pings and closes as RFC 6455 says.

    Attributes:
        messages: what has come, whole messages.
        pings: payloads of the pings that came.
        ended: set once the stream has ended, in order or not.

    """

    def __init__(
        self, stream: trio.abc.Stream, *, is_client: bool, compressed: bool = False
    ) -> None:
        self.stream = stream
        side = Side.CLIENT if is_client else Side.SERVER
        self.protocol = Protocol(side, state=OPEN, max_size=None)
        if compressed:
            self.protocol.extensions = [PerMessageDeflate(False, False, 15, 12)]
        self.messages: list[str | bytes] = []
        self.pings: list[bytes] = []
        self.ended = trio.Event()
        self._fragments: list[Frame] = []

    @property
    def close_code(self) -> int | None:
        """That of the close frame that came, None without one."""
        return None if self.protocol.close_rcvd is None else self.protocol.close_rcvd.code

    async def read(self) -> None:
        """Take and answer everything that comes, until the end of the stream."""
        while not self.ended.is_set():
            await self._read_some()

    async def _read_some(self) -> None:
        try:
            data = await self.stream.receive_some(PIECE)
        except trio.BrokenResourceError:
            data = b""
        if data:
            self.receive_data(bytes(data))
            await self._flush()
        else:
            self.protocol.receive_eof()
            self.ended.set()

    def receive_data(self, data: bytes) -> None:
        """Take what has come; fails when anything of it is not as RFC 6455 wants it."""
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            assert isinstance(event, Frame)
            self._take(event)
        error = self.protocol.parser_exc  # it takes a close frame between fragments for an error
        assert error is None or str(error) == "incomplete fragmented message", error

    @property
    def is_torn(self) -> bool:
        """Whether the stream ended within a frame, or between the fragments of a message."""
        error = self.protocol.parser_exc
        is_within = error is not None and str(error) != "unexpected end of stream"
        return is_within or bool(self._fragments)

    def _take(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._fragments.append(frame)
            if frame.fin:
                payload = b"".join(bytes(fragment.data) for fragment in self._fragments)
                is_text = self._fragments[0].opcode is Opcode.TEXT
                self.messages.append(payload.decode() if is_text else payload)
                self._fragments = []
        elif frame.opcode is Opcode.PING:
            self.pings.append(bytes(frame.data))

    async def send(self, message: str | bytes, *, piece: int = PIECE) -> None:
        """Send a message, its bytes in pieces of that size."""
        if isinstance(message, str):
            self.protocol.send_text(message.encode())
        else:
            self.protocol.send_binary(message)
        await self._flush(piece)

    async def close(self, code: int) -> None:
        """Begin the closing handshake."""
        self.protocol.send_close(code)
        await self._flush()

    async def _flush(self, piece: int = PIECE) -> None:
        for data in self.protocol.data_to_send():
            try:
                if data:
                    for at in range(0, len(data), piece):
                        await self.stream.send_all(data[at : at + piece])
                else:  # a server ends the stream first
                    await self.end()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # there is nobody left to be told

    async def end(self) -> None:
        """Say that nothing more will come."""
        assert isinstance(self.stream, trio.abc.HalfCloseableStream)
        await self.stream.send_eof()


# -- what lies between them -----------------------------------------------------------------------


@attrs.frozen
class Ends:
    """A connection's way to its peer."""

    transport: Transport
    """The connection's end."""
    stream: trio.abc.HalfCloseableStream
    """The peer's end."""
    release: Callable[[], None] = lambda: None
    """Ends a stall on the way."""


def socket_ends() -> Ends:
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ends[1]))
    return Ends(SocketTransport(ends[0], current_poller(), None), stream)


def memory_ends() -> Ends:
    near, far = trio.testing.memory_stream_pair()
    return Ends(StreamTransport(near), far)


def lockstep_ends() -> Ends:
    near, far = trio.testing.lockstep_stream_pair()
    return Ends(StreamTransport(near), far)


def faulty_ends() -> Ends:
    """A stream that takes some bytes in pieces, then stalls, most likely within a frame."""
    near, far = trio.testing.memory_stream_pair()
    out = (Fault(0, Kind.SPLIT, length=40_000, size=4_000), Fault(10_000, Kind.STALL))
    into = (Fault(0, Kind.SPLIT, length=500, size=9), Fault(700, Kind.STALL))
    stream = FaultyStream(near, Plan(out, into))
    return Ends(StreamTransport(stream), far, stream.release)


ENDS: dict[str, Callable[[], Ends]] = {
    "socket": socket_ends,
    "memory": memory_ends,
    "lockstep": lockstep_ends,
    "faulty": faulty_ends,
}
