"""hubws/cli/connect.py and conversation.py: lines in, lines out; and a session at a terminal."""

from __future__ import annotations

import base64
import json
import signal
import socket
import subprocess
import termios
from pathlib import Path

import trio
import trio.testing

import hubws
from tests.cli.command import COMMAND, ENVIRONMENT, ended, interrupt, run, run_unread, start
from tests.cli.conftest import Ends, Serve, echo
from tests.cli.terminal import open_terminal


class TestPipe:
    async def test_lines_in_lines_out(self, serve: Serve, ends: Ends):
        url = await serve(echo, callbacks=ends.callbacks, headers={"X-Name": "echo"})
        async with start("connect", url, "--linger", "0") as program:
            await program.type("one", "twö", "", "/four")
            await program.wait_for("/four")
            await program.end_input()
            end = await ended(program)
        assert end.status == 0
        assert end.lines == ["one", "twö", "", "/four"]
        assert end.errors[:2] == [f"connecting to {url}", "connected: 101"]
        assert "  X-Name: echo" in end.errors
        assert end.errors[-2].startswith("closed: the peer closed with 1000 (normal)")
        assert end.errors[-1].startswith("4 messages sent, 4 received; on the wire ")
        assert await ends.next_code() == 1000

    async def test_for_programs_and_from_a_file(self, serve: Serve, tmp_path: Path):
        (tmp_path / "lines").write_bytes(b"\x00\xff\nlast")
        url = await serve(echo, subprotocols=["chat"], compression=True)
        with (tmp_path / "lines").open("rb") as file:
            end = await run(
                "connect", url, "--json", "--binary", "--subprotocol", "chat", "--compression",
                "--linger", "0.5", stdin=file.fileno(),
            )  # fmt: skip
        assert (end.status, end.errors) == (0, [])
        opened, *messages, closed, summary = map(json.loads, end.lines)
        assert (opened["event"], opened["subprotocol"]) == ("open", "chat")
        assert opened["compression"] is True
        assert ["Sec-WebSocket-Protocol", "chat"] in opened["headers"]
        assert [base64.b64decode(message["base64"]) for message in messages] == [
            b"\x00\xff", b"last",
        ]  # fmt: skip
        assert closed == {"event": "close", "code": 1000, "reason": ""}
        assert (summary["sent"], summary["received"]) == (2, 2)

    async def test_a_lost_connection_is_made_anew(self, serve: Serve, ends: Ends):
        async def restart_once(connection: hubws.Connection) -> None:
            async for message in connection:
                await connection.send(message)
                if message == "one":
                    await connection.aclose(1012, "back in a moment")

        url = await serve(restart_once, callbacks=ends.callbacks)
        async with start("connect", url, "--max-wait", "0.01") as program:
            await program.type("one")
            await program.wait_for("one")
            assert await ends.next_code() == 1012
            await program.type("two")
            await program.wait_for("two")
            end = await interrupt(program)
        assert end.status == 0
        assert any("back in a moment" in line for line in end.errors)
        assert await ends.next_code() == 1000

    async def test_a_server_that_fails_ends_it_without_reconnecting(self, serve: Serve):
        async def fail(connection: hubws.Connection) -> None:
            await connection.aclose(1011, "it broke")

        async with start("connect", await serve(fail), "-q", "--no-reconnect") as program:
            end = await ended(program)
        assert end.status == 1
        assert len(end.errors) == 1
        assert "1011 (internal error): it broke" in end.errors[0]

    async def test_a_server_that_is_not_there_is_not_tried_again(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            async with start("connect", f"ws://127.0.0.1:{port}/", "-q") as program:
                end = await ended(program)
        assert end.status == 1
        assert end.errors == [
            f"hubws: all attempts to connect to 127.0.0.1:{port} failed: Connection refused"
        ]

    async def test_a_line_that_is_no_text(self, serve: Serve, ends: Ends):
        received: list[str | bytes] = []

        async def store(connection: hubws.Connection) -> None:
            received.extend([message async for message in connection])

        url = await serve(store, callbacks=ends.callbacks)
        end = await run("connect", url, "-q", stdin=b"one\n\xff\n")
        assert (end.status, end.lines) == (2, [])
        assert end.errors == ["hubws: line 2 is not UTF-8; --binary sends it as it is"]
        assert await ends.next_code() == 1000
        assert received == ["one"]

    async def test_when_nobody_reads_the_output(self, serve: Serve):
        async def push(connection: hubws.Connection) -> None:
            await connection.send("hello")
            await connection.wait_closed()

        url = await serve(push)
        assert await run_unread("connect", url, "-q") == (128 + signal.SIGPIPE, b"")

    async def test_control_c_while_the_output_is_not_read(self, serve: Serve):
        held_back = trio.Event()

        async def push(connection: hubws.Connection) -> None:
            await connection.send("x" * 500_000)  # a pipe takes 65,536
            await connection.ping()
            held_back.set()
            await connection.wait_closed()

        url = await serve(push)
        process = await trio.lowlevel.open_process(
            [*COMMAND, "connect", url, "-q", "--close-timeout", "0.1"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        async with process.stdin, process.stdout:
            with trio.fail_after(30):
                await held_back.wait()
                process.send_signal(signal.SIGINT)
                assert await process.wait() == 0


async def echo_until_restart(connection: hubws.Connection) -> None:
    async for message in connection:
        if message == "restart":
            await connection.aclose(1012, "back soon; retry-after=60")
        else:
            await connection.send(message)


async def test_at_a_terminal(serve: Serve, ends: Ends):
    url = await serve(echo_until_restart, callbacks=ends.callbacks)
    async with open_terminal("connect", url) as terminal:
        before = termios.tcgetattr(terminal.slave)
        await terminal.wait_for(r"(?s)connected: 101.*Sec-WebSocket-Accept: .*\n(\x1b\[0m)?> $")
        assert termios.tcgetattr(terminal.slave) != before
        await terminal.type("helo\x1b[Dl\x1b[C, Wörld\r")
        await terminal.wait_for("< hello, Wörld\x1b")
        await terminal.type("\r")  # sends nothing
        await terminal.type("second\r\x1b[A\x1b[A\r")  # the first again, from the history
        await terminal.wait_for("< second\x1b")
        await terminal.wait_for("< hello, Wörld\x1b")
        await terminal.type("//start\r")
        await terminal.wait_for("< /start\x1b")
        await terminal.type("\\x1b is \x1b[31mno colour\r")  # the escape sequence is no key
        await terminal.wait_for(r"< \\x1b is no colour\x1b")
        await terminal.type("/binary 00ff\r")
        await terminal.wait_for("< 2 bytes: 00 ff\x1b")
        await terminal.type("/ping\r")
        await terminal.wait_for(r"pong after \d+\.\d{3} ms")
        await terminal.type("/binary x\r/close x\r/close 1006\r/start\r/nothing\r")
        await terminal.wait_for("/binary needs bytes such as 00 ff, not 'x'")
        await terminal.wait_for("a close code is a number such as 1000 or 4000, not 'x'")
        await terminal.wait_for("1006")
        await terminal.wait_for("it is connected, or connecting")
        await terminal.wait_for("there is no /nothing; /help says what there is")
        await terminal.type("/help\r")
        await terminal.wait_for("/quit, or Ctrl-D")

        await terminal.type("/close 4000 enough\r")
        await terminal.wait_for(r"closed: .*4000 \(application\): enough")
        assert await ends.next_code() == 4000
        await terminal.type("lost\r")
        await terminal.wait_for("there is no connection; /start opens one")
        await terminal.type("/start\r")
        await terminal.wait_for("connected: 101")
        await terminal.type("restart\r")
        await terminal.wait_for(r"trying again in 60\.\d s")
        assert await ends.next_code() == 1012
        await terminal.type("/start\r/stop\r")
        await terminal.wait_for("it is connected, or connecting; /stop ends that")
        await terminal.wait_for("stopped")
        await terminal.type("/stop\r/start\r")
        await terminal.wait_for("there is no connection\x1b")
        await terminal.wait_for("connected: 101")
        await terminal.type("/stop\r")
        await terminal.wait_for(r"closed: .*1000 \(normal\)")
        assert await ends.next_code() == 1000
        await terminal.type("/start\r")
        await terminal.wait_for(r"(?s)connected: 101.*Sec-WebSocket-Accept: .*\n(\x1b\[0m)?> $")

        await terminal.type("a line that is longer than a narrow terminal")
        await terminal.wait_for("> a line that is longer than a narrow terminal")
        termios.tcsetattr(terminal.slave, termios.TCSANOW, before)  # as a shell does at Ctrl-Z
        terminal.process.send_signal(signal.SIGCONT)
        await terminal.wait_for("\r\x1b\\[K> a line")
        assert termios.tcgetattr(terminal.slave) != before
        terminal.resize(20)
        await terminal.wait_for(r"\r\x1b\[K> [^\r]{1,17}terminal|\r\x1b\[K> a narrow terminal")
        await terminal.type("\x03")
        await terminal.wait_for(r"7 messages sent, 6 received; on the wire \d+ B and \d+ B")
        assert await terminal.wait() == 0
        assert termios.tcgetattr(terminal.slave) == before
    assert await ends.next_code() == 1000


async def test_what_a_peer_sends_does_not_move_the_terminal(serve: Serve):
    async def attack(connection: hubws.Connection) -> None:
        await connection.send("\x1b[2Jgone\x07")
        await connection.wait_closed()

    url = await serve(attack)
    async with open_terminal("connect", url, no_color=True) as terminal:
        await terminal.wait_for(r"< \\x1b\[2Jgone\\x07")
        assert "\x1b[3" not in terminal.shown
        await terminal.type("\x04")  # Ctrl-D leaves
        await terminal.wait_for("0 messages sent, 1 received")
        assert await terminal.wait() == 0
