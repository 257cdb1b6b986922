"""Any `trio.abc.Stream`: TLS, memory pipes, and plain sockets where there is no epoll."""

from __future__ import annotations

import trio

from .abc import Receiver, SocketAddress, Source
from .tcp_info import TcpInfo, read_tcp_info

CHUNK = 64 * 1024
"""How much is read or written at once, in bytes."""

GOODBYE = 1.0
"""How long a stream may take to close in its own way (TLS says close_notify), in seconds."""


def bottom_of(stream: trio.abc.Stream) -> trio.abc.Stream:
    """What is below a stream, and whatever is below that: all the way down."""
    while (below := getattr(stream, "transport_stream", None)) is not None:
        stream = below
    return stream


def addresses_of(stream: trio.abc.Stream) -> tuple[SocketAddress, SocketAddress]:
    """Remote and local address of a stream; None for both where it has none, or no more."""
    stream = bottom_of(stream)
    if isinstance(stream, trio.SocketStream):
        try:
            return stream.socket.getpeername(), stream.socket.getsockname()
        except OSError:  # the peer has gone already
            pass
    return None, None


class StreamTransport:
    """A stream read by a task of its own, which ends when the stream does or is closed."""

    fd = -1

    __slots__ = (
        "_closed",
        "_reading",
        "_resumed",
        "_scope",
        "_stream",
        "local",
        "receiver",
        "remote",
    )

    def __init__(
        self, stream: trio.abc.Stream, remote: SocketAddress = None, local: SocketAddress = None
    ) -> None:
        self._stream = stream
        self._scope = trio.CancelScope()
        self._closed = False
        self._reading = False  # whether the task is there to close the stream
        self._resumed: trio.Event | None = None  # while paused
        self.receiver: Receiver | None = None
        self.remote = remote
        self.local = local

    def tcp_info(self) -> TcpInfo | None:
        """What the kernel says of the connection below, None where there is none, or no more."""
        stream = bottom_of(self._stream)
        if self._closed or not isinstance(stream, trio.SocketStream):
            return None
        return read_tcp_info(stream.socket)

    def start(self) -> None:
        """Begin to read; does nothing when it has begun."""
        if self._reading:
            return
        self._reading = True
        trio.lowlevel.spawn_system_task(self._read, name="hubws reader")

    async def _read(self) -> None:
        error: Exception | None = None
        try:
            with self._scope:
                while True:
                    if self._resumed is not None:
                        await self._resumed.wait()
                    data = await self._stream.receive_some(CHUNK)
                    if not data:
                        break
                    if self.receiver is not None:
                        self.receiver.on_bytes(data, len(data))
        except Exception as broken:  # noqa: BLE001 - handed on
            error = broken
        self._reading = False
        if self._closed:
            await self._say_goodbye()
        elif self.receiver is not None:
            self.receiver.on_end(error)

    def pause(self) -> None:
        """Stop reading after what is under way."""
        if self._resumed is None:
            self._resumed = trio.Event()

    def resume(self) -> None:
        """Go on reading."""
        if self._resumed is not None:
            self._resumed.set()
            self._resumed = None

    def send_nowait(self, parts: list[bytes]) -> int:
        """Nothing: a stream can only be written by waiting."""
        return 0

    async def write(self, source: Source) -> None:
        """Write a chunk; OSError when the stream is broken."""
        try:
            await self._stream.send_all(source.take(CHUNK))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise OSError("the stream is broken") from error
        source.gone()

    def end_output(self) -> bool:
        """Say that nothing more will come, if the stream can; TLS can't without closing."""
        if self._closed or not isinstance(self._stream, trio.abc.HalfCloseableStream):
            return False
        trio.lowlevel.spawn_system_task(self._end_output, name="hubws end of output")
        return True

    async def _end_output(self) -> None:
        try:
            await self._stream.send_eof()  # type: ignore[attr-defined] # it was looked at
        except Exception:  # noqa: BLE001 - reading will tell
            pass

    def close(self) -> None:
        """Have the stream closed: in its own way, if that is quick."""
        if not self._closed:
            self._closed = True
            self.receiver = None
            if self._reading:
                self._scope.cancel()
            else:
                trio.lowlevel.spawn_system_task(self._say_goodbye, name="hubws goodbye")

    async def _say_goodbye(self) -> None:
        try:
            with trio.move_on_after(GOODBYE):
                await self._stream.aclose()
        except Exception:  # noqa: BLE001 - it is closed below, whatever it says
            pass
        await trio.aclose_forcefully(self._stream)
