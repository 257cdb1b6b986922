"""What attackers use: bytes that break the rules, and both ends of a raw byte stream."""

from __future__ import annotations

import hashlib
import socket
import struct
from base64 import b64encode
from collections.abc import Awaitable, Callable

import trio

Outcome = int | str
"""How an attack ended: a close code, an HTTP status, a word, or the name of an exception."""

ENDED = "ended"
"""The stream ended without a close frame or a response."""
HELD_BACK = "held back"
"""The victim reads no more, so that TCP makes the attacker wait."""
SERVED = "served"
"""It was within the rules, and got what it is due."""

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

FIN, RSV1 = 0x80, 0x40
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def frame(
    first: int,
    payload: bytes = b"",
    *,
    declared: int | None = None,
    length_bytes: int | None = None,
    key: bytes | None = b"\0\0\0\0",
) -> bytes:
    """A frame by its first byte (FIN, RSV1-3, opcode), masked unless `key` is None.

    `declared` is the length that it says it has, `length_bytes` (0, 2 or 8) how it says so. A key of
    zeros leaves the payload as it is, which makes large payloads cheap for the attacker.
    """
    length = len(payload) if declared is None else declared
    if length_bytes is None:
        length_bytes = 0 if length < 126 else 2 if length < 65536 else 8
    mask_bit = 0 if key is None else 0x80
    if length_bytes == 0:
        head = bytes((first, mask_bit | length))
    else:
        marker = 126 if length_bytes == 2 else 127
        head = bytes((first, mask_bit | marker)) + length.to_bytes(length_bytes, "big")
    if key is not None and any(key):
        payload = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    return head + (key or b"") + payload


def close(code: int, reason: bytes = b"", *, key: bytes | None = b"\0\0\0\0") -> bytes:
    """A close frame with any code."""
    return frame(FIN | CLOSE, code.to_bytes(2, "big") + reason, key=key)


def request(*lines: str | bytes, first: str = "GET / HTTP/1.1", **changes: str | None) -> bytes:
    """An opening handshake with more lines; a change replaces a header, None leaves it out."""
    headers: dict[str, str | None] = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY.decode(),
        "Sec-WebSocket-Version": "13",
    }
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    own = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    parts = [first, *own, *lines, "", ""]
    return b"\r\n".join(
        part if isinstance(part, bytes) else part.encode("latin-1") for part in parts
    )


class Raw:
    """One end of a byte stream, for whoever keeps no rules.

    Attributes:
        frames: the frames that were read so far, first byte and payload.
        headers: of the HTTP request or response that was read.
        body: of the response.
        is_upgraded: whether frames come next.

    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.buffer = bytearray()
        self.frames: list[tuple[int, bytes]] = []
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_upgraded = False

    # -- sending -------------------------------------------------------------------------------

    async def send(self, data: bytes) -> None:
        """Send, whether the victim still listens or not."""
        try:
            await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def send_bytewise(self, data: bytes) -> None:
        """Send one byte a system call, without Nagle's algorithm to join them."""
        for at in range(len(data)):
            await self.send(data[at : at + 1])

    @staticmethod
    async def quietly(function: Callable[[], Awaitable[object]]) -> None:
        """Call a function until the victim goes away."""
        try:
            await function()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    # -- receiving -----------------------------------------------------------------------------

    async def more(self) -> bool:
        """Read some bytes; False at the end of the stream, in order or by a reset."""
        try:
            data = await self.stream.receive_some(65536)
        except trio.BrokenResourceError:
            return False
        self.buffer += data
        return bool(data)

    async def head(self) -> str:
        """Read the first line of a request or a response, and the headers behind it."""
        while b"\r\n\r\n" not in self.buffer:
            assert await self.more(), f"the stream ended after {bytes(self.buffer)!r}"
        head, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        self.buffer[:] = rest
        first, *lines = head.decode("latin-1").split("\r\n")
        for line in lines:
            name, value = line.split(": ", 1)
            assert name.lower() not in self.headers, f"{name} came twice"
            self.headers[name.lower()] = value
        return first

    async def status(self) -> int:
        """Read the head of a response; returns its status."""
        status = int((await self.head()).split()[1])
        self.is_upgraded = status == 101
        return status

    async def next_frame(self) -> tuple[int, bytes] | None:
        """Read a frame, None at the end of the stream. A server's frames are not masked."""
        while (read := self._parse()) is None:
            if not await self.more():
                return None
        self.frames.append(read)
        return read

    def _parse(self) -> tuple[int, bytes] | None:
        buffer = self.buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[:2]
        length, at = second & 0x7F, 2
        if length >= 126:
            at += 2 if length == 126 else 8
            length = int.from_bytes(buffer[2:at], "big")
        key = bytes(buffer[at : at + 4]) if second & 0x80 else b""
        at += len(key)
        if len(buffer) < at + length:
            return None
        payload = bytes(buffer[at : at + length])
        if any(key):
            payload = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
        del buffer[: at + length]
        return first, payload

    async def end(self) -> Outcome:
        """Read to the end of the stream: the HTTP status that was answered, or the close code."""
        if not self.is_upgraded:
            while b"\r\n\r\n" not in self.buffer:
                if not await self.more():
                    assert not self.buffer, f"half an answer: {bytes(self.buffer)!r}"
                    return ENDED
            status = await self.status()
            if status != 101:
                while await self.more():
                    pass
                self.body = bytes(self.buffer)
                length = int(self.headers["content-length"])
                assert len(self.body) == length, "one answer, and all of it"
            return status
        while (read := await self.next_frame()) is not None:
            first, payload = read
            if first == FIN | CLOSE:
                while await self.more():
                    pass
                assert not self.buffer, "nothing comes behind a close frame"
                return int.from_bytes(payload[:2], "big") if payload else 1005
        return ENDED

    async def until_close(self) -> None:
        """Read frames until there is a close frame, or the stream ends."""
        while (read := await self.next_frame()) is not None:
            if read[0] == FIN | CLOSE:
                return

    async def gone(self) -> Outcome:
        """Read to the end of the stream, whatever comes."""
        while await self.more():
            pass
        return ENDED

    async def upgrade(self, *lines: str) -> None:
        """Do the opening handshake, with more lines."""
        await self.send(request(*lines))
        assert await self.status() == 101

    async def echo(self, text: bytes = b"are you there?") -> None:
        """Send a message, which must come back."""
        await self.send(frame(FIN | TEXT, text))
        assert await self.next_frame() == (FIN | TEXT, text)

    # -- ending --------------------------------------------------------------------------------

    def reset(self) -> None:
        """Vanish with a RST."""
        assert isinstance(self.stream, trio.SocketStream)
        linger = struct.pack("ii", 1, 0)
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.stream.socket.close()

    # -- a server's side -----------------------------------------------------------------------

    def acceptance(self, *lines: str | bytes, **changes: str | None) -> bytes:
        """The 101 that answers the request whose head was read, with changes as in `request`."""
        key = self.headers["sec-websocket-key"].encode()
        headers: dict[str, str | None] = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": b64encode(hashlib.sha1(key + GUID).digest()).decode(),
        }
        headers |= {name.replace("_", "-"): value for name, value in changes.items()}
        own = [f"{name}: {value}" for name, value in headers.items() if value is not None]
        parts = ["HTTP/1.1 101 Switching Protocols", *own, *lines, "", ""]
        return b"\r\n".join(
            part if isinstance(part, bytes) else part.encode("latin-1") for part in parts
        )

    async def accept(self, *lines: str | bytes, **changes: str | None) -> None:
        """Answer an opening handshake."""
        await self.head()
        await self.send(self.acceptance(*lines, **changes))
        self.is_upgraded = True
