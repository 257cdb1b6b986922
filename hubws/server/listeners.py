"""Where a server listens: sockets of its own, inherited ones, and those of a predecessor.

A restart refuses nobody when the listening socket outlives the process. Either somebody else owns it
and starts the server with it (`inherited_listeners`, as systemd does), or the old server hands it to
the new one over a Unix socket:

    successor                                    predecessor
    connects                                     accepts
                      <- listening sockets --
    serves on them                               serves on
                      -- READY ->
                                                 stops accepting
                      <- end of stream --        drains

Until READY is there the predecessor goes on as if nothing had happened.
"""

from __future__ import annotations

import array
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

logger = logging.getLogger("hubws")

FIRST_INHERITED = 3
"""The first descriptor that systemd hands over (sd_listen_fds(3))."""

HELLO = b"hubws listeners 1\n"
READY = b"ready\n"
MAX_LISTENERS = 64
MAX_PORT = 65535


def check_port(port: int) -> None:
    """ValueError for a port that there can't be, of which the system takes the last 16 bits."""
    if not 0 <= port <= MAX_PORT:
        raise ValueError(f"port must be 0 to {MAX_PORT}, not {port!r}")


def inherited_listeners() -> list[trio.SocketListener]:
    """The listening sockets that this process was started with, in the manner of systemd.

    `LISTEN_FDS` says how many there are, from descriptor 3 on, and `LISTEN_PID` for which process.
    Both are taken out of the environment, so that children don't take them for theirs. Empty when
    there are none, or when they are another process's. Raises ValueError when the variables or what
    they point to make no sense; nothing is taken then.
    """
    count_text, pid_text = os.environ.get("LISTEN_FDS"), os.environ.get("LISTEN_PID")
    if count_text is None:
        return []
    try:
        count = int(count_text)
        is_ours = pid_text is None or int(pid_text) == os.getpid()
    except ValueError:
        raise ValueError(
            f"LISTEN_FDS {count_text!r} and LISTEN_PID {pid_text!r} must be whole numbers"
        ) from None
    if not is_ours:
        return []
    listeners = adopt(range(FIRST_INHERITED, FIRST_INHERITED + count))
    for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    return listeners


def adopt(fds: Iterable[int]) -> list[trio.SocketListener]:
    """Listeners of descriptors; ValueError, with all left as they were, if one can't be one."""
    sockets: list[socket.socket] = []
    try:
        for fd in fds:
            try:
                sockets.append(socket.socket(fileno=fd))
            except OSError as error:
                raise ValueError(f"descriptor {fd} is no socket: {error}") from None
            _check_listening(sockets[-1])
    except ValueError:
        for sock in sockets:
            sock.detach()
        raise
    for sock in sockets:
        sock.set_inheritable(False)
    return [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in sockets]


def _check_listening(sock: socket.socket) -> None:
    try:
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return
    except OSError:  # of a kind that can't listen
        pass
    raise ValueError(f"descriptor {sock.fileno()} is a socket that does not listen")


def socket_of(listener: trio.abc.Listener[Any]) -> trio.socket.SocketType | None:
    """The listening socket of a listener, None when it has none."""
    if isinstance(listener, trio.SSLListener):
        listener = listener.transport_listener
    return listener.socket if isinstance(listener, trio.SocketListener) else None


def open_unix_listener(path: str | os.PathLike[str], backlog: int) -> trio.SocketListener:
    """Listen on a Unix socket that is made at that path."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(os.fspath(path))
        sock.listen(backlog)
        return trio.SocketListener(trio.socket.from_stdlib_socket(sock))
    except BaseException:
        sock.close()
        raise


async def remove(path: str | os.PathLike[str]) -> None:
    """Remove a file, if it is there, whoever cancels."""
    with trio.CancelScope(shield=True):
        try:
            await trio.Path(path).unlink()
        except OSError:
            pass


# -- from process to process ------------------------------------------------------------------


async def hand_over(
    path: str | os.PathLike[str],
    sockets: Sequence[trio.socket.SocketType],
    let_go: Callable[[], object],
) -> None:
    """Offer sockets at a Unix socket until a successor has taken them and says that it serves.

    Then `let_go` is called, after which the successor is told that it is alone. The path is this
    user's only and is free again afterwards.
    """
    listener = _open_private_listener(path)
    try:
        while True:
            async with await listener.accept() as stream:
                try:
                    await _send(stream.socket, sockets)
                    if await _receive_line(stream) == READY:
                        let_go()
                        os.unlink(path)  # noqa: PTH108 - the successor may bind it at once
                        return
                except OSError as error:
                    logger.info("a successor was lost: %s", error)
                except trio.BrokenResourceError as error:
                    logger.info("a successor was lost: %s", error.__cause__ or error)
                else:
                    logger.info("a successor went before it was ready")
    except BaseException:
        await remove(path)
        raise
    finally:
        listener.socket.close()


@asynccontextmanager
async def take_over(path: str | os.PathLike[str]) -> AsyncIterator[list[trio.SocketListener]]:
    """Take the listening sockets of the server that hands them over at that path.

    Serve on them within the block. Leaving it tells the other server to accept no more, and waits
    until it does; leaving it by an exception tells nothing, and the other server goes on. Yields an
    empty list where nobody hands over. Raises ValueError for what is not hubws at the other end.
    """
    sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with sock:
        try:
            await sock.connect(os.fspath(path))
        except (FileNotFoundError, ConnectionRefusedError):
            listeners: list[trio.SocketListener] = []
        else:
            listeners = await _receive(sock, path)
        try:
            yield listeners
        except BaseException:
            for listener in listeners:
                listener.socket.close()
            raise
        if listeners:
            try:
                await sock.send(READY)
                while await sock.recv(64):
                    pass
            except OSError:  # it has gone, and accepts no more
                pass


def _open_private_listener(path: str | os.PathLike[str]) -> trio.SocketListener:
    """Listen at a path that this user alone may connect to, over a socket that nobody serves."""
    mask = os.umask(0o177)
    try:
        try:
            return open_unix_listener(path, 1)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_stale(path):
                raise
        os.unlink(path)  # noqa: PTH108 - as short as the mask must be
        return open_unix_listener(path, 1)
    finally:
        os.umask(mask)


def _is_stale(path: str | os.PathLike[str]) -> bool:
    """Whether there is a socket whose process has gone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(os.fspath(path)) == errno.ECONNREFUSED


async def _send(sock: trio.socket.SocketType, sockets: Sequence[trio.socket.SocketType]) -> None:
    fds = array.array("i", [one.fileno() for one in sockets])
    await sock.sendmsg([HELLO], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])


async def _receive_line(stream: trio.SocketStream) -> bytes:
    received = b""
    while not received.endswith(b"\n"):
        data = await stream.receive_some(64)
        if not data:
            break
        received += data
    return received


async def _receive(
    sock: trio.socket.SocketType, path: str | os.PathLike[str]
) -> list[trio.SocketListener]:
    fds = array.array("i")
    space = socket.CMSG_SPACE(MAX_LISTENERS * fds.itemsize)
    said, ancillary, _, _ = await sock.recvmsg(len(HELLO), space)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    try:
        listeners = adopt(fds if said == HELLO else ())
    except ValueError:
        for fd in fds:
            os.close(fd)
        raise
    if not listeners:
        for fd in fds:
            os.close(fd)
        raise ValueError(f"no hubws server hands over listeners at {os.fspath(path)}")
    return listeners
