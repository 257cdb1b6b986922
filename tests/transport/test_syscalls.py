"""Both twins of the system calls, over real sockets."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="epoll is Linux's")

LARGE = 3 * 1024 * 1024


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        there.setblocking(False)
        yield here, there


def drain(syscalls: ModuleType, fd: int) -> bytes:
    """All that has arrived."""
    buffer, received = bytearray(65536), bytearray()
    while (size := syscalls.receive_into(fd, buffer)) > 0:
        received += buffer[:size]
    return bytes(received)


def pass_through(
    syscalls: ModuleType, here: socket.socket, there: socket.socket, parts: list[bytes]
) -> bytes:
    """Send some parts while the other side reads, and return what it reads."""
    received = b""
    while parts:
        taken = syscalls.send(here.fileno(), parts)
        received += drain(syscalls, there.fileno())
        while parts and taken >= len(parts[0]):
            taken -= len(parts.pop(0))
        if parts:
            parts[0] = parts[0][taken:]
    return received


Pair = tuple[socket.socket, socket.socket]


class TestReceiveInto:
    def test_what_has_arrived(self, syscalls: ModuleType, pair: Pair) -> None:
        here, there = pair
        buffer = bytearray(b"........")
        there.send(b"abc")
        assert syscalls.receive_into(here.fileno(), buffer) == 3
        assert buffer == b"abc....."

    def test_more_than_fits(self, syscalls: ModuleType, pair: Pair) -> None:
        here, there = pair
        buffer = bytearray(4)
        there.send(b"abcdefg")
        sizes = [syscalls.receive_into(here.fileno(), buffer) for _ in range(3)]
        assert sizes == [4, 3, -1]
        assert buffer == b"efgd"

    def test_nothing_yet(self, syscalls: ModuleType, pair: Pair) -> None:
        assert syscalls.receive_into(pair[0].fileno(), bytearray(8)) == -1

    def test_end_of_the_stream(self, syscalls: ModuleType, pair: Pair) -> None:
        here, there = pair
        there.send(b"last")
        there.close()
        sizes = [syscalls.receive_into(here.fileno(), bytearray(8)) for _ in range(3)]
        assert sizes == [4, 0, 0]

    def test_reset(self, syscalls: ModuleType) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            here = socket.create_connection(listener.getsockname())
            there, _ = listener.accept()
        with here:
            here.send(b"unread")  # closing with something unread resets the connection
            select.select([there], [], [], 5)
            there.close()
            here.setblocking(False)
            select.select([here], [], [], 5)
            with pytest.raises(ConnectionResetError) as caught:
                syscalls.receive_into(here.fileno(), bytearray(8))
        assert caught.value.errno == errno.ECONNRESET

    @pytest.mark.parametrize("closed", [True, False])
    def test_bad_descriptor(self, syscalls: ModuleType, pair: Pair, closed: bool) -> None:
        fd = pair[0].fileno() if closed else -1
        pair[0].close()
        with pytest.raises(OSError, match="Bad file descriptor") as caught:
            syscalls.receive_into(fd, bytearray(8))
        assert caught.value.errno == errno.EBADF

    @pytest.mark.parametrize("buffer", [b"read-only", "text", None, 5, [1]])
    def test_wrong_buffer(self, syscalls: ModuleType, pair: Pair, buffer: Any) -> None:
        pair[1].send(b"abc")
        with pytest.raises((TypeError, BufferError)):
            syscalls.receive_into(pair[0].fileno(), buffer)

    def test_the_buffer_is_free_afterwards(self, syscalls: ModuleType, pair: Pair) -> None:
        buffer = bytearray(8)
        syscalls.receive_into(pair[0].fileno(), buffer)
        with pytest.raises(OSError, match="Bad file descriptor"):
            syscalls.receive_into(-1, buffer)
        buffer += b"more"  # a BufferError if a view were left


class TestSend:
    @pytest.mark.parametrize(
        "parts",
        [
            [],
            [b""],
            [b"", b"", b""],
            [b"one"],
            [b"one", b"", b"two", b"three"],
            [b"x" * 2048, b"y" * 2049, b"z", b"x" * 10_000],
            [bytes([n % 256]) for n in range(5000)],
            [bytes([n % 256]) * 40 for n in range(5000)],
            [bytes([n % 256]) * (n % 5 * 1000) for n in range(600)],
            [bytes(LARGE), b"tail"],
            [b"head", os.urandom(LARGE), b"", os.urandom(LARGE)],
        ],
        ids=range(11),
    )
    def test_parts_in_order(self, syscalls: ModuleType, pair: Pair, parts: list[bytes]) -> None:
        data = b"".join(parts)
        assert pass_through(syscalls, *pair, parts) == data

    def test_counts_what_was_taken(self, syscalls: ModuleType, pair: Pair) -> None:
        here, there = pair
        assert syscalls.send(here.fileno(), []) == 0
        assert syscalls.send(here.fileno(), [b""]) == 0
        assert syscalls.send(here.fileno(), [b"abc", b"", b"de"]) == 5
        assert drain(syscalls, there.fileno()) == b"abcde"

    def test_the_list_stays_as_it_is(self, syscalls: ModuleType, pair: Pair) -> None:
        parts = [b"abc", b"de"]
        syscalls.send(pair[0].fileno(), parts)
        assert parts == [b"abc", b"de"]

    @pytest.mark.parametrize("size", [1, 100, 5000, LARGE])
    def test_a_full_buffer(self, syscalls: ModuleType, pair: Pair, size: int) -> None:
        here, there = pair
        taken = 0
        while some := syscalls.send(here.fileno(), [b"x" * size] * 50):
            taken += some
        assert syscalls.send(here.fileno(), [b"x"] * 5000) in range(5000)
        while syscalls.send(here.fileno(), [b"x"]):
            taken += 1
        assert len(drain(syscalls, there.fileno())) >= taken > 0

    def test_the_other_side_has_gone(self, syscalls: ModuleType, pair: Pair) -> None:
        here, there = pair
        there.close()
        with pytest.raises(BrokenPipeError) as caught:
            syscalls.send(here.fileno(), [b"abc"])
        assert caught.value.errno == errno.EPIPE

    @pytest.mark.parametrize("parts", [[b"x"], [b"x"] * 5000])
    def test_bad_descriptor(self, syscalls: ModuleType, parts: list[bytes]) -> None:
        with pytest.raises(OSError, match="Bad file descriptor") as caught:
            syscalls.send(-1, parts)
        assert caught.value.errno == errno.EBADF

    @pytest.mark.parametrize("parts", [["text"], [None], [5], [b"ok", "text"], None, 5])
    def test_wrong_parts(self, syscalls: ModuleType, pair: Pair, parts: Any) -> None:
        with pytest.raises(TypeError):
            syscalls.send(pair[0].fileno(), parts)


class TestSendMany:
    def test_answers_for_each(self, syscalls: ModuleType, pair: Pair) -> None:
        here, there = pair
        gone, other = socket.socketpair()
        other.close()
        full, unread = socket.socketpair()
        with gone, full, unread:
            full.setblocking(False)
            while True:
                try:
                    full.send(bytes(65536))
                except BlockingIOError:
                    break
            fds = [here.fileno(), gone.fileno(), full.fileno(), -1, there.fileno(), here.fileno()]
            parts = [[b"ab", b"c"], [b"x"], [b"y"], [b"z"], [b"back"], []]
            assert syscalls.send_many(fds, parts) == [3, -errno.EPIPE, 0, 0, 4, 0]
        assert drain(syscalls, there.fileno()) == b"abc"
        assert drain(syscalls, here.fileno()) == b"back"

    def test_of_nothing(self, syscalls: ModuleType) -> None:
        assert syscalls.send_many([], []) == []

    def test_code_of_a_descriptor_is_not_run(self) -> None:
        native = pytest.importorskip("hubws.transport._native")
        parts: list[list[bytes]] = [[b"a"], [b"b"]]

        class Sly:
            def __index__(self) -> int:
                parts.clear()
                return 1

        with pytest.raises(TypeError):
            native.send_many([Sly(), Sly()], parts)

    @pytest.mark.parametrize(
        ("fds", "parts"), [([1], []), ([], [[b""]]), (None, None), (["x"], [[b"a"]])]
    )
    def test_wrong_arguments(self, syscalls: ModuleType, fds: Any, parts: Any) -> None:
        with pytest.raises(TypeError):
            syscalls.send_many(fds, parts)

    def test_many_sockets(self, syscalls: ModuleType) -> None:
        pairs = [socket.socketpair() for _ in range(20)]
        fds = [here.fileno() for here, _ in pairs]
        parts = [[b"%d:" % n, b"", b"x" * n] for n in range(20)]
        assert syscalls.send_many(fds, parts) == [len(b"".join(some)) for some in parts]
        assert [there.recv(100) for _, there in pairs] == [b"".join(some) for some in parts]
        for one in (sock for both in pairs for sock in both):
            one.close()

    def test_more_than_fits(self, syscalls: ModuleType, pair: Pair) -> None:
        here, there = pair
        (taken,) = syscalls.send_many([here.fileno()], [[b"x" * 1000] * 5000])
        assert 0 < taken < 5_000_000
        assert len(drain(syscalls, there.fileno())) == taken

    @pytest.mark.parametrize("parts", [["text"], [None], 5])
    def test_wrong_parts(self, syscalls: ModuleType, pair: Pair, parts: Any) -> None:
        with pytest.raises(TypeError):
            syscalls.send_many([pair[0].fileno()], [parts])


class TestReady:
    def test_readable_descriptors(self, syscalls: ModuleType) -> None:
        with select.epoll() as epoll:
            pairs = [socket.socketpair() for _ in range(20)]
            for here, _ in pairs:
                epoll.register(here, select.EPOLLIN)
            assert syscalls.ready(epoll) == []
            for _, there in pairs[::2]:
                there.send(b"x")
            assert set(syscalls.ready(epoll)) == {here.fileno() for here, _ in pairs[::2]}
            for one in (sock for both in pairs for sock in both):
                one.close()

    def test_a_peer_that_has_gone(self, syscalls: ModuleType, pair: Pair) -> None:
        with select.epoll() as epoll:
            epoll.register(pair[0], select.EPOLLIN)
            pair[1].close()
            assert syscalls.ready(epoll) == [pair[0].fileno()]

    def test_closed(self, syscalls: ModuleType) -> None:
        epoll = select.epoll()
        epoll.close()
        with pytest.raises((ValueError, OSError)):
            syscalls.ready(epoll)


class TestHostileArguments:
    """Whatever is passed, the C functions raise; they do not crash, and they do not guess."""

    @pytest.mark.parametrize("fd", [2**31, 2**32, 2**63, -(2**63) - 1, 1.5, "1", None])
    def test_descriptors(self, syscalls: ModuleType, fd: Any) -> None:
        with pytest.raises((TypeError, ValueError, OverflowError, OSError)):
            syscalls.receive_into(fd, bytearray(1))
        with pytest.raises((TypeError, ValueError, OverflowError, OSError)):
            syscalls.send(fd, [b"x"])

    def test_a_descriptor_is_not_cut_to_32_bits(self, syscalls: ModuleType, pair: Pair) -> None:
        with pytest.raises((OverflowError, OSError)):
            syscalls.send(2**32 + pair[0].fileno(), [b"x"])
        with pytest.raises((OverflowError, OSError)):
            syscalls.receive_into(2**32 + pair[0].fileno(), bytearray(1))

    @pytest.mark.parametrize("name", ["receive_into", "send", "send_many", "ready"])
    def test_argument_count(self, syscalls: ModuleType, name: str) -> None:
        wrong: list[tuple[object, ...]] = [(), (1, bytearray(), 1), (1, [], 1, 1)]
        for bad in wrong:
            with pytest.raises(TypeError):
                getattr(syscalls, name)(*bad)

    @pytest.mark.parametrize("epoll", ["epoll", None, 1.5, -1, 2**40, object()])
    def test_no_epoll(self, syscalls: ModuleType, epoll: Any) -> None:
        with pytest.raises((TypeError, ValueError, OverflowError, AttributeError)):
            syscalls.ready(epoll)
