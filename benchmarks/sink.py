"""sink.py: a client that opens many connections and drains them, as it is told by lines of JSON on
standard input; it answers each with a line on standard output.

It reads only while it expects something: a server's burst, which fits into the sockets, shall not pay
for waking it up, now and then or each time, as chance will have it. What arrives is counted frame by
frame, whole messages only. Connections are opened in groups, one for each path; the first of a group
reads its messages too when `check` is set.
"""

import base64
import collections
import gc
import hashlib
import json
import select
import socket
import sys
import time
import zlib
from typing import Any

AT_ONCE = 100  # opening handshakes: stays below every backlog
PER_SOURCE = 2000  # connections from one address, far below its 28,000 ports
NO_PORT = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = base64.b64encode(bytes(range(16)))
ACCEPT = base64.b64encode(hashlib.sha1(KEY + GUID).digest())
FIN, RSV1, TEXT = 0x80, 0x40, 0x01
TIME_DIGITS = 20
SMALLEST_BUFFER = 4096  # bytes, of a connection that will not be read


class Wrong(Exception):
    """The server didn't do what it should; says what."""


class Group:
    """Connections that are counted together."""

    def __init__(self, offer: str, *, timed: bool, check: bool) -> None:
        self.offer = offer
        self.timed = timed
        self.check = check
        self.connections: list[Connection] = []
        self.forget()

    def forget(self) -> None:
        self.messages = self.compressed = self.ended = 0
        self.nanoseconds: list[int] = []


class Checker:
    """Reads the messages of one connection: JSON, numbered without a gap."""

    def __init__(self, *, takeover: bool) -> None:
        self._takeover = takeover
        self._inflater = zlib.decompressobj(-15)
        self._next = 0

    def __call__(self, payload: bytes, *, compressed: bool) -> None:
        if compressed:
            if not self._takeover:
                self._inflater = zlib.decompressobj(-15)
            payload = self._inflater.decompress(payload + b"\x00\x00\xff\xff")
        number = json.loads(payload)["number"]
        if number != self._next:
            raise Wrong(f"message {number} came instead of {self._next}")
        self._next += 1


class Connection:
    """One connection, from its opening handshake on."""

    __slots__ = ("checker", "group", "rest", "socket")

    def __init__(self, number: int, port: int, path: str, group: Group, *, reads: bool) -> None:
        self.group = group
        self.rest = b""
        takeover = "server_no_context_takeover" not in group.offer
        is_checked = group.check and not group.connections
        self.checker = Checker(takeover=takeover) if is_checked else None
        self.socket = socket.socket()
        self.socket.settimeout(20)
        if not reads:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALLEST_BUFFER)
        self.socket.setsockopt(socket.IPPROTO_IP, NO_PORT, 1)
        self.socket.bind((f"127.0.0.{1 + number // PER_SOURCE}", 0))
        self.socket.connect(("127.0.0.1", port))
        lines = [
            f"GET /{path} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {KEY.decode()}",
            "Sec-WebSocket-Version: 13",
        ]
        if group.offer:
            lines.append(f"Sec-WebSocket-Extensions: {group.offer}")
        self.socket.sendall("\r\n".join([*lines, "\r\n"]).encode())

    def read_response(self) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            got = self.socket.recv(4096)
            if not got:
                raise Wrong(f"the opening handshake ended after {data!r}")
            data += got
        head, _, self.rest = data.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(b":") for x in lines)
        }
        if not status.startswith(b"HTTP/1.1 101") or headers.get(b"sec-websocket-accept") != ACCEPT:
            raise Wrong(f"the opening handshake was answered with {head!r}")
        answer = headers.get(b"sec-websocket-extensions", b"").decode()
        if ("permessage-deflate" in answer) != bool(self.group.offer):
            raise Wrong(f"{self.group.offer!r} was answered with {answer!r}")
        name = "server_no_context_takeover"
        if (name in answer) != (name in self.group.offer):
            raise Wrong(f"{self.group.offer!r} was answered with {answer!r}")
        self.socket.setblocking(False)

    def read(self) -> bool:
        """Take what has come; False at the end."""
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            data = b""
        now = time.monotonic_ns()
        if not data:
            self.group.ended += 1
            return False
        if self.rest:
            data = self.rest + data
        group, at, end = self.group, 0, len(data)
        while end - at >= 2:
            head, length = 2, data[at + 1]
            if length == 126:
                head, length = 4, int.from_bytes(data[at + 2 : at + 4])
            elif length == 127:
                head, length = 10, int.from_bytes(data[at + 2 : at + 10])
            start = at + head
            if end < start + length:
                break
            first = data[at]
            if first & ~RSV1 != FIN | TEXT:
                raise Wrong(f"a frame came that begins with 0x{first:02x}")
            group.messages += 1
            if first & RSV1:
                group.compressed += 1
            if group.timed:
                group.nanoseconds.append(now - int(data[start : start + TIME_DIGITS]))
            if self.checker is not None:
                self.checker(data[start : start + length], compressed=bool(first & RSV1))
            at = start + length
        self.rest = data[at:]
        return True


class Sink:
    """All groups, and what reads them."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._groups: dict[str, Group] = {}
        self._read: dict[int, Connection] = {}
        self._opened = 0

    def open(
        self,
        port: int,
        path: str,
        count: int = 1,
        offer: str = "",
        *,
        timed: bool = False,
        check: bool = False,
        reads: bool = True,
    ) -> dict[str, Any]:
        """Open a group: what is offered, and whether its messages are timed, checked, and read."""
        group = self._groups[path] = Group(offer, timed=timed, check=check)
        while (left := count - len(group.connections)) > 0:
            some = []
            for _ in range(min(left, AT_ONCE)):
                some.append(Connection(self._opened, port, path, group, reads=reads))
                group.connections.append(some[-1])
                self._opened += 1
            for connection in some:
                connection.read_response()
                if reads:
                    self._read[connection.socket.fileno()] = connection
                    self._epoll.register(connection.socket, select.EPOLLIN)
        return {}

    def close(self, path: str) -> dict[str, Any]:
        """Close a group, without ceremony."""
        for connection in self._groups.pop(path).connections:
            self._read.pop(connection.socket.fileno(), None)
            connection.socket.close()
        return {}

    def expect(self, path: str, messages: int, seconds: float = 20) -> dict[str, Any]:
        """Read on until a group has that many messages, or the time is over; say what it has."""
        group = self._groups[path]
        deadline = time.monotonic() + seconds
        while group.messages < messages and time.monotonic() < deadline:
            for fd, _ in self._epoll.poll(0.1):
                if not self._read[fd].read():
                    self._read.pop(fd).socket.close()
        answer = {
            "messages": group.messages,
            "compressed": group.compressed,
            "ended": group.ended,
            # many are the same microsecond, so this is much shorter than a list
            "microseconds": sorted(
                collections.Counter(n // 1000 for n in group.nanoseconds).items()
            ),
        }
        group.forget()
        return answer

    def run(self) -> None:
        """Do what is told until standard input ends."""
        for line in sys.stdin:
            arguments = json.loads(line)
            print(json.dumps(getattr(self, arguments.pop("do"))(**arguments)), flush=True)


if __name__ == "__main__":
    gc.disable()  # its pauses would be taken for the server's
    try:
        Sink().run()
    except Wrong as error:
        sys.exit(f"{error}")
