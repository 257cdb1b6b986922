"""Restarting without refusing anyone: inherited listeners, and those of a predecessor."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import hubws
from hubws import Frame
from hubws.server import listeners as module

SERVER = """
import os, sys, trio, hubws

path, port = sys.argv[1], int(sys.argv[2])

def greet(connection):
    connection.send_nowait(str(os.getpid()))

async def main():
    async with trio.open_nursery() as nursery:
        async with hubws.take_over(path) as listeners:
            came = "taken over" if listeners else "opened"
            if not listeners:
                listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
            if sys.argv[3:] == ["fail"]:
                sys.exit("I can't")
            async def serve(task_status):
                await hubws.serve(
                    hubws.Callbacks(on_open=greet), listeners=listeners, task_status=task_status
                )
            server = await nursery.start(serve)
        print(os.getpid(), server.port, came, flush=True)
        await server.hand_over(path)
        clean = await server.drain(10, spread=0.05, retry_after=0.5)
        print("clean" if clean else "unclean", server.statistics().accepted, flush=True)

trio.run(main)
"""


class Process:
    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._buffer = b""

    async def line(self) -> str:
        assert self.process.stdout is not None
        while b"\n" not in self._buffer:
            data = await self.process.stdout.receive_some()
            assert data, f"it ended: {self._buffer!r}"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()


Run = Callable[..., Awaitable[Process]]


@pytest.fixture
async def run() -> AsyncIterator[Run]:
    """Run a Python program; it is ended with the test."""
    processes: list[trio.Process] = []

    async def run(code: str, *arguments: object, **options: Any) -> Process:
        command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
        process = await trio.lowlevel.open_process(
            command + [str(argument) for argument in arguments], stdout=subprocess.PIPE, **options
        )
        processes.append(process)
        return Process(process)

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        await process.wait()
        await process.stdout.aclose()


class TestRestart:
    async def test_nobody_is_refused(self, run: Run, tmp_path: Path) -> None:
        """Clients come all the time, and three servers follow one another."""
        path = tmp_path / "handover"
        first = await run(SERVER, path, 0)
        pid, port, came = (await first.line()).split(maxsplit=2)
        assert came == "opened"
        by_pid: Counter[str] = Counter()
        pids, is_over = [pid], False

        async def keep_connecting() -> None:
            while not is_over:
                # any OSError, HandshakeError or ConnectionClosed here fails the test
                async with hubws.connect(f"ws://127.0.0.1:{port}/") as connection:
                    by_pid[str(await connection.receive())] += 1

        server = first
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(keep_connecting)
            for _ in range(2):
                before = by_pid.total()
                while by_pid.total() < before + 200:
                    await trio.sleep(0.01)
                successor = await run(SERVER, path, port)
                pid, same_port, came = (await successor.line()).split(maxsplit=2)
                assert (same_port, came) == (port, "taken over")
                pids.append(pid)
                said, accepted = (await server.line()).split()
                assert said == "clean"
                assert int(accepted) >= by_pid[pids[-2]] > 0
                assert await server.process.wait() == 0
                server = successor
            while by_pid[pids[-1]] < 200:
                await trio.sleep(0.01)
            is_over = True
        assert by_pid.keys() == set(pids)
        assert len(pids) == 3
        assert by_pid.total() >= 600

    async def test_successor_that_fails_changes_nothing(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "handover"
        server = await run(SERVER, path, 0)
        pid, port, _ = (await server.line()).split(maxsplit=2)
        failing = await run(SERVER, path, port, "fail", stderr=subprocess.DEVNULL)
        assert await failing.process.wait() == 1
        for _ in range(20):
            async with hubws.connect(f"ws://127.0.0.1:{port}/") as connection:
                assert await connection.receive() == pid
        successor = await run(SERVER, path, port)
        assert (await successor.line()).split()[0] != pid
        assert (await server.line()).split()[0] == "clean"

    async def test_killed_predecessor_leaves_a_path_that_can_be_used(
        self, run: Run, tmp_path: Path
    ) -> None:
        path = tmp_path / "handover"
        server = await run(SERVER, path, 0)
        await server.line()
        while not path.exists():
            await trio.sleep(0.01)
        server.process.send_signal(signal.SIGKILL)
        await server.process.wait()
        assert path.is_socket()
        another = await run(SERVER, path, 0)
        assert (await another.line()).endswith("opened")
        successor = await run(SERVER, path, 0)
        assert (await successor.line()).endswith("taken over")


@pytest.fixture
def handing_over(nursery: trio.Nursery, tmp_path: Path):
    """Let a server of this process wait for a successor."""

    async def handing_over(server: hubws.Server) -> tuple[Path, trio.Event]:
        path, done = tmp_path / "handover", trio.Event()

        async def run() -> None:
            await server.hand_over(path)
            done.set()

        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        return path, done

    return handing_over


class TestHandOver:
    async def test_only_this_user_may_take(self, start, handing_over) -> None:
        path, _ = await handing_over(await start())
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    async def test_connections_and_handshakes_under_way_are_kept(
        self, start, raw, hello, handing_over, nursery
    ) -> None:
        old = await start()
        client = await raw(old, upgraded=True)
        late = await raw(old)
        await late.send(hello()[:30])
        while not old.statistics().handshaking:
            await trio.lowlevel.checkpoint()
        path, done = await handing_over(old)
        async with hubws.take_over(path) as listeners:
            new = await start(listeners=listeners)
        await done.wait()
        assert not path.exists()
        assert new.port == old.port
        assert old.listeners == []
        await client.send(Frame.text("still here"))
        assert (await client.frame()).payload == b"still here"
        await raw(old, upgraded=True)
        assert (len(old.connections), len(new.connections)) == (1, 1)

        async with trio.open_nursery() as inner:

            async def leave(client) -> None:
                close = await client.frame()
                assert (close.close_code, close.payload[2:]) == (
                    1001,
                    b"going away; retry-after=2.0",
                )
                await client.send(Frame.close(1001))
                assert await client.at_end()

            async def come_late() -> None:
                await trio.testing.wait_all_tasks_blocked()
                assert late.buffer == b""
                await late.send(hello()[30:])
                assert (await late.head())[0] == 101
                await leave(late)

            inner.start_soon(leave, client)
            inner.start_soon(come_late)
            assert await old.drain(10, retry_after=2)
        assert old.statistics() == hubws.ServerStatistics(0, 0, 2)
        await raw(new, upgraded=True)

    async def test_unix_path_stays_with_the_successor(
        self, start, handing_over, tmp_path: Path, nursery
    ) -> None:
        ended = trio.Event()

        async def serve(task_status) -> None:
            await hubws.serve(
                hubws.Callbacks(), unix_path=tmp_path / "socket", task_status=task_status
            )
            ended.set()

        old = await nursery.start(serve)
        path, done = await handing_over(old)
        async with hubws.take_over(path) as listeners:
            new = await start(listeners=listeners)
        await done.wait()
        assert await old.drain(5)
        await ended.wait()
        stream = await trio.open_unix_socket(str(tmp_path / "socket"))
        async with hubws.connect("ws://localhost/", stream=stream) as connection:
            await connection.ping()
            assert len(new.connections) == 1

    async def test_tls_and_several_listeners(
        self, start, raw, server_tls, client_tls, handing_over
    ) -> None:
        (plain,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        tls = trio.SSLListener(plain, server_tls, https_compatible=True)
        old = await start(listeners=[tls], host="127.0.0.1", port=0, ssl_context=server_tls)
        path, done = await handing_over(old)
        async with hubws.take_over(path) as listeners:
            new = await start(listeners=listeners, ssl_context=server_tls)
        await done.wait()
        assert new.addresses == old.addresses
        for _, port in new.addresses:
            url = f"wss://localhost:{port}/"
            async with hubws.connect(url, ssl_context=client_tls) as connection:
                await connection.ping()
        assert await old.drain(5)

    async def test_tls_handshake_that_fails_does_not_hold_up_the_drain(
        self, start, raw, server_tls, handing_over, nursery
    ) -> None:
        server = await start(ssl_context=server_tls)
        silent = await raw(server)
        while not server.statistics().handshaking:
            await trio.lowlevel.checkpoint()
        path, done = await handing_over(server)
        async with hubws.take_over(path) as listeners:
            pass
        await done.wait()
        listeners[0].socket.close()
        with trio.fail_after(20):
            async with trio.open_nursery() as inner:
                inner.start_soon(partial(server.drain, 1000))
                await trio.testing.wait_all_tasks_blocked()
                silent.reset()

    async def test_leaving_the_block_by_an_exception_changes_nothing(
        self, start, raw, handing_over
    ) -> None:
        server = await start()
        path, done = await handing_over(server)
        with pytest.raises(LookupError):
            async with hubws.take_over(path) as listeners:
                raise LookupError
        assert listeners[0].socket.fileno() == -1
        await trio.testing.wait_all_tasks_blocked()
        assert not done.is_set()
        await raw(server, upgraded=True)
        async with hubws.take_over(path) as listeners:
            pass
        await done.wait()
        listeners[0].socket.close()

    async def test_nobody_hands_over(self, tmp_path: Path) -> None:
        async with hubws.take_over(tmp_path / "none") as listeners:
            assert listeners == []

    async def test_somebody_else_listens_there(self, start, tmp_path: Path, nursery) -> None:
        path = tmp_path / "socket"
        await start(unix_path=path, handshake_timeout=0.05)
        with pytest.raises(ValueError, match="no hubws server hands over listeners at"):
            async with hubws.take_over(path):
                raise AssertionError
        server = await start()
        with pytest.raises(OSError, match="in use"):
            await server.hand_over(path)
        assert path.is_socket()

    async def test_cancelled_it_leaves_the_server_alone(self, start, raw, tmp_path: Path) -> None:
        server = await start()
        path = tmp_path / "handover"
        with trio.move_on_after(0.01):
            await server.hand_over(path)
        assert not path.exists()
        await raw(server, upgraded=True)

    async def test_what_is_no_socket_can_t_be(self, start) -> None:
        class Endless(trio.abc.Listener[trio.abc.Stream]):
            async def accept(self) -> trio.abc.Stream:
                await trio.sleep_forever()
                raise AssertionError

            async def aclose(self) -> None:
                await trio.lowlevel.checkpoint()

        server = await start(listeners=[Endless()], host="127.0.0.1", port=0)
        with pytest.raises(TypeError, match="no socket and can't be handed over"):
            await server.hand_over("/nowhere")
        with pytest.raises(TypeError, match="no socket and can't be handed over"):
            server.detach_listeners()
        async with hubws.connect(f"ws://127.0.0.1:{server.port}/") as connection:
            await connection.ping()

    async def test_drained_it_has_nothing_to_hand_over(self, start, tmp_path: Path) -> None:
        server = await start()
        await server.drain(1)
        with pytest.raises(RuntimeError, match="does not accept any more"):
            await server.hand_over(tmp_path / "handover")


class TestDetach:
    async def test_clients_wait_in_the_queue_until_somebody_accepts(
        self, start, raw, hello
    ) -> None:
        old = await start()
        client = await raw(old, upgraded=True)
        listeners = old.detach_listeners()
        waiting = await raw(old)
        await waiting.send(hello())
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert waiting.buffer == b""
        assert old.statistics() == hubws.ServerStatistics(1, 0, 1)
        await client.send(Frame.text("still here"))
        assert (await client.frame()).payload == b"still here"
        new = await start(listeners=listeners)
        assert (await waiting.head())[0] == 101
        assert len(new.connections) == 1
        with pytest.raises(RuntimeError, match="does not accept any more"):
            old.detach_listeners()

    async def test_serve_goes_on_until_cancelled(self, nursery, raw) -> None:
        scope, ended = trio.CancelScope(), trio.Event()

        async def serve(task_status) -> None:
            with scope:
                await hubws.serve(hubws.Callbacks(), "127.0.0.1", 0, task_status=task_status)
            ended.set()

        server = await nursery.start(serve)
        client = await raw(server, upgraded=True)
        (listener,) = server.detach_listeners()
        await trio.testing.wait_all_tasks_blocked()
        assert not ended.is_set()
        scope.cancel()
        assert (await client.frame()).close_code == 1001
        await client.send(Frame.close(1001))
        await ended.wait()
        assert server.clean
        assert listener.socket.fileno() >= 0  # its new owner's to close
        await listener.aclose()


INHERITING = """
import os, sys

count = int(sys.argv[1])
for number in range(count):
    os.dup2(int(sys.argv[2 + number]), 3 + number)
os.environ["LISTEN_FDS"], os.environ["LISTEN_PID"] = str(count), str(os.getpid())
os.environ["LISTEN_FDNAMES"] = "web"

import trio, hubws

def greet(connection):
    connection.send_nowait("hello")

async def main():
    listeners = hubws.inherited_listeners()
    assert "LISTEN_FDS" not in os.environ and "LISTEN_FDNAMES" not in os.environ
    assert not any(os.get_inheritable(one.socket.fileno()) for one in listeners)
    assert hubws.inherited_listeners() == []
    print(len(listeners), flush=True)
    await hubws.serve(hubws.Callbacks(on_open=greet), listeners=listeners)

trio.run(main)
"""


class TestInherited:
    async def test_in_the_manner_of_systemd(self, run: Run) -> None:
        with (
            socket.create_server(("127.0.0.1", 0)) as one,
            socket.create_server(("127.0.0.1", 0)) as other,
        ):
            fds = (one.fileno(), other.fileno())
            server = await run(INHERITING, 2, *fds, pass_fds=fds)
            for listening in (one, other):  # in their queue already, before anybody accepts
                url = f"ws://127.0.0.1:{listening.getsockname()[1]}/"
                async with hubws.connect(url) as connection:
                    assert await connection.receive() == "hello"
            assert await server.line() == "2"

    async def test_nothing_inherited(self, monkeypatch) -> None:
        monkeypatch.delenv("LISTEN_FDS", raising=False)
        assert hubws.inherited_listeners() == []

    async def test_meant_for_another_process(self, monkeypatch) -> None:
        monkeypatch.setenv("LISTEN_FDS", "1")
        monkeypatch.setenv("LISTEN_PID", str(os.getppid()))
        assert hubws.inherited_listeners() == []
        assert os.environ["LISTEN_FDS"] == "1"

    @pytest.mark.parametrize(("count", "pid"), [("many", ""), ("1", "me"), ("", "1")])
    async def test_variables_that_are_no_numbers(self, monkeypatch, count, pid) -> None:
        monkeypatch.setenv("LISTEN_FDS", count)
        monkeypatch.setenv("LISTEN_PID", pid)
        with pytest.raises(ValueError, match="must be whole numbers"):
            hubws.inherited_listeners()

    @pytest.mark.parametrize("wrong", ["a file", "a socket that is connected", "nothing"])
    async def test_descriptors_that_are_something_else_are_left_alone(
        self, monkeypatch, tmp_path: Path, wrong
    ) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        pair = socket.socketpair()
        with listening, pair[0], pair[1], (tmp_path / "file").open("w") as file:
            # two descriptors in a row: a good one, and the wrong one
            first = 900
            os.dup2(listening.fileno(), first)
            if wrong != "nothing":
                os.dup2(file.fileno() if wrong == "a file" else pair[0].fileno(), first + 1)
            monkeypatch.setattr(module, "FIRST_INHERITED", first)
            monkeypatch.setenv("LISTEN_FDS", "2")
            monkeypatch.delenv("LISTEN_PID", raising=False)
            try:
                with pytest.raises(ValueError, match=f"descriptor {first + 1} is"):
                    hubws.inherited_listeners()
                assert os.environ["LISTEN_FDS"] == "2"
                assert stat.S_ISSOCK(os.fstat(first).st_mode)
            finally:
                os.close(first)
                if wrong != "nothing":
                    os.close(first + 1)
