"""A WebSocket that somebody else serves, which gives and takes whole messages, as a byte stream.

Below a `Connection` is a stream of frames. Where another library owns that stream, a `Bridge` stands
in its place: an endpoint of the other side takes the connection's frames apart, gives their messages
to the library, and puts those that the library brings into frames. So a connection is the same
everywhere, with its queues, policies, callbacks and times, but for what the library can't do.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import attrs
import trio

from ..connection.callbacks import Callbacks
from ..connection.connection import Connection
from ..connection.mask_keys import next_mask_key
from ..connection.settings import Settings
from ..errors import LocalProtocolError
from ..protocol.endpoint import Endpoint, Ping, Pong
from ..protocol.frames import CloseCode, Payload
from ..protocol.http import Request
from ..protocol.state import Close
from ..transport.abc import SocketAddress
from ..transport.poller import current_poller
from ..transport.stream import StreamTransport
from .echo import Echo

T = TypeVar("T")

NO_PING = (
    "this WebSocket is a server's that lets nobody ping; with an Echo there are messages for it"
)


@attrs.frozen
class Capabilities:
    """What a connection can do that depends on who owns its stream."""

    ping: bool = True
    """Measure round-trip times, by pings or an `Echo`. Without it `ping` raises LocalProtocolError."""
    pong: bool = True
    """Send pongs that nobody asked for."""
    buffer_size: bool = True
    """Know how much waits: when `send` has returned and the outbox is empty, the socket has it."""
    abort: bool = True
    """End the stream at once. Without it the connection ends at once, but what is being sent stays with
    the server until the peer takes it or the server gives up."""
    close_code: bool = True
    """Know how the peer closes. Without it 1006 may be said of peers that closed in order."""


class Ended(Exception):
    """Raised by `Port.receive`: no more messages will come.

    Attributes: `code` and `reason` of the peer's close frame; 1005 for one without a code, 1006 when
    there was none.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Port(Protocol):
    """A WebSocket of another library. All of it can be cancelled."""

    is_client: bool
    capabilities: Capabilities

    async def receive(self) -> str | bytes:
        """Wait for the next message; raises `Ended`."""

    async def send(self, message: str | bytes) -> None:
        """Send a message."""

    async def ping(self, payload: bytes) -> None:
        """Ping the peer and wait for its pong."""

    async def pong(self, payload: bytes) -> None:
        """Send a pong that answers no ping."""

    async def close(self, code: int | None, reason: str) -> None:
        """Send a close frame, and let `receive` say how the peer answers it."""

    async def abort(self) -> None:
        """End it at once, as far as that can be done."""


class Bridge(trio.abc.Stream):
    """The stream that a connection believes in.

    Args:
        port: the WebSocket.
        echo: how to measure round-trip times over one that can't ping.

    """

    def __init__(self, port: Port, echo: Echo | None) -> None:
        self._port = port
        self._echo = echo
        self._peer = Endpoint(
            is_client=not port.is_client,
            max_message_size=sys.maxsize,
            next_mask_key=next_mask_key,
        )
        self._under_way: set[trio.CancelScope] = set()
        self._is_closed = self._is_over = False
        self.deliver: Callable[[bytes], object] = lambda _: None
        """Takes a frame that comes beside those of `receive_some`."""

    async def _unless_closed(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Have the port do something, until this is closed."""
        if self._is_closed:
            raise trio.ClosedResourceError("the connection has ended")
        with trio.CancelScope() as scope:
            self._under_way.add(scope)
            try:
                return await function(*args)
            except Ended:
                raise
            except Exception as error:
                raise trio.BrokenResourceError("the other library's WebSocket failed") from error
            finally:
                self._under_way.discard(scope)
        raise trio.ClosedResourceError("the connection has ended")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The frame of the next message; at the end a close frame, then nothing."""
        if self._is_over:
            await trio.lowlevel.checkpoint()
            return b""
        try:
            message = await self._unless_closed(self._port.receive)
        except Ended as ended:
            self._is_over = True
            if ended.code == CloseCode.ABNORMAL:
                return b""
            code = None if ended.code == CloseCode.NO_STATUS else ended.code
            return self._peer.encode_close(code, ended.reason)
        if self._echo is not None and (payload := self._echo.answered(message)) is not None:
            return self._peer.encode_pong(payload)
        return self._peer.encode(message)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Give the messages in these frames to the port."""
        for event in self._peer.receive_data(data, len(data)):
            if isinstance(event, str | bytes):
                await self._give(self._port.send, event)
            elif isinstance(event, Ping) and self._echo is not None:
                await self._give(self._port.send, self._echo.question(event.payload))
            elif isinstance(event, Ping):
                trio.lowlevel.spawn_system_task(self._ping, event.payload, name="hubws ping")
            elif isinstance(event, Pong):
                await self._give(self._port.pong, event.payload)
            elif isinstance(event, Close):
                code = None if event.code == CloseCode.NO_STATUS else event.code
                await self._give(self._port.close, code, event.reason)

    async def _give(self, function: Callable[..., Awaitable[None]], *args: Any) -> None:
        if self._port.capabilities.abort:
            await self._unless_closed(function, *args)
        else:
            await self._unless_closed(_while_wanted, function, *args)

    async def _ping(self, payload: bytes) -> None:
        try:
            await self._unless_closed(self._port.ping, payload)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # receiving will tell
        self.deliver(self._peer.encode_pong(payload))

    async def wait_send_all_might_not_block(self) -> None:
        """Nobody knows."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """End at once what is under way, and the WebSocket."""
        self._is_closed = True
        for scope in list(self._under_way):
            scope.cancel()
        await self._port.abort()


async def _while_wanted(function: Callable[..., Awaitable[None]], *args: Any) -> None:
    """Wait for something that may not take note when it is cancelled; then it is left to itself."""
    failures: list[Exception] = []
    is_done = trio.Event()

    async def run() -> None:
        with scope:
            try:
                await function(*args)
            except Exception as error:  # noqa: BLE001 - raised below
                failures.append(error)
        is_done.set()

    scope = trio.CancelScope()
    trio.lowlevel.spawn_system_task(run, name="hubws embedded")
    try:
        await is_done.wait()
    finally:
        scope.cancel()
    for error in failures:
        raise error


class EmbeddedConnection(Connection):
    """A connection over a WebSocket of another library.

    Attributes: `capabilities`, what that library can do; all else as `Connection`.
    """

    __slots__ = ("capabilities",)

    capabilities: Capabilities

    async def ping(self, payload: Payload | None = None) -> float:
        """As of any connection. LocalProtocolError where the library can't."""
        if not self.capabilities.ping:
            raise LocalProtocolError(NO_PING)
        return await super().ping(payload)

    def ping_nowait(self, payload: Payload | None = None) -> bytes:
        """As of any connection. trio.WouldBlock where the library can't: hubs pass over it then."""
        if not self.capabilities.ping:
            raise trio.WouldBlock(NO_PING)
        return super().ping_nowait(payload)

    def pong(self, payload: Payload = b"") -> None:
        """As of any connection. LocalProtocolError where the library can't."""
        if not self.capabilities.pong:
            raise LocalProtocolError(NO_PING)
        super().pong(payload)


def open_bridge(
    port: Port,
    settings: Settings,
    callbacks: Callbacks,
    *,
    echo: Echo | None = None,
    remote: SocketAddress = None,
    local: SocketAddress = None,
    subprotocol: str | None = None,
    request: Request | None = None,
    user: Any = None,
) -> EmbeddedConnection:
    """A connection over a port, begun. The port is used up by it."""
    capabilities = port.capabilities
    if echo is not None:
        capabilities = attrs.evolve(capabilities, ping=True)
    if not capabilities.ping:
        settings = attrs.evolve(settings, keepalive_interval=None)
    bridge = Bridge(port, echo)
    transport = StreamTransport(bridge, remote, local)
    connection = EmbeddedConnection(
        transport,
        current_poller(),
        is_client=port.is_client,
        settings=attrs.evolve(settings, compression=None),
        callbacks=callbacks,
        subprotocol=subprotocol,
        request=request,
        user=user,
    )
    connection.capabilities = capabilities

    def deliver(frame: bytes) -> None:
        if transport.receiver is not None:
            transport.receiver.on_bytes(frame, len(frame))

    bridge.deliver = deliver
    connection.begin()
    return connection
