"""The system calls of the plain socket path in pure Python, the specification of `_native.c`.

Descriptors are non-blocking; nothing here waits.
"""

import errno
import os
import select

_PARTS = 1024
"""The most parts that one vector write takes (IOV_MAX on Linux)."""


def receive_into(fd: int, buffer: bytearray, /) -> int:
    """Read what has arrived: bytes read, 0 at the end of the stream, -1 when it would block."""
    try:
        return os.readv(fd, [buffer])
    except BlockingIOError:
        return -1


def send(fd: int, parts: list[bytes], /) -> int:
    """Write the parts in order: bytes taken, fewer than all of them when it would block."""
    total = 0
    for at in range(0, len(parts), _PARTS):
        some = parts[at : at + _PARTS]
        try:
            taken = os.writev(fd, some)
        except BlockingIOError:
            return total
        total += taken
        if taken < sum(map(len, some)):
            return total
    return total


def send_many(fds: list[int], parts: list[list[bytes]], /) -> list[int]:
    """Write to many sockets: for each, the bytes taken as by `send`, or -errno; 0 for a negative fd."""
    if len(fds) != len(parts):
        raise TypeError(f"{len(parts)} lists of parts were given for {len(fds)} descriptors")
    return [
        _send_or_errno(fd, some) if some and fd >= 0 else 0
        for fd, some in zip(fds, parts, strict=True)
    ]


def _send_or_errno(fd: int, parts: list[bytes]) -> int:
    try:
        return send(fd, parts)
    except OSError as error:
        return -(error.errno or errno.EIO)


def ready(epoll: select.epoll, /) -> list[int]:
    """Descriptors that can be read now, without waiting."""
    return [fd for fd, _ in epoll.poll(0)]
