"""hubws/cli/servers.py: servers as processes, with clients in the tests' own."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import cast

import pytest
import trio
import trio.testing
import trustme

import hubws
from hubws.cli.servers import _push
from tests.cli.command import interrupt, run, start
from tests.examples.program import Program


async def url_of(program: Program) -> str:
    line = await program.wait_for(lambda line: line.startswith("listening at "))
    return line.removeprefix("listening at ")


async def test_echo_server_closes_with_1001_when_it_is_told_to_stop():
    async with start(
        "echo-server", "--port", "0", "--compression", "-H", "X-Name: echo"
    ) as program:
        url = await url_of(program)
        async with hubws.connect(url, compression=True, proxy=None) as connection:
            assert connection.compression is not None
            assert connection.response is not None
            assert connection.response.headers["X-Name"] == "echo"
            await connection.send("text")
            await connection.send(b"bytes")
            assert [await connection.receive(), await connection.receive()] == ["text", b"bytes"]
            end = await interrupt(program, signal.SIGTERM)
            await connection.wait_closed()
        assert connection.close_code == 1001
    assert end.status == 0
    assert end.lines == [f"listening at {url}"]
    assert len(end.errors) == 1
    assert end.errors[0].startswith("1 connections, ")


async def test_push_server_sends_as_fast_as_clients_read(authority: trustme.CA, tmp_path: Path):
    files = tmp_path / "chain.pem", tmp_path / "key.pem"
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(files[0])
    issued.private_key_pem.write_to_path(files[1])
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ["--certificate", str(files[0]), "--key", str(files[1])]
    async with start("push-server", "--port", "0", "--send-msg", "yo", *tls) as program:
        url = await url_of(program)
        assert url.startswith("wss://")
        trusting = hubws.TLS(ca_file=tmp_path / "ca.pem")
        async with hubws.connect(url, tls=trusting, proxy=None) as connection:
            for _ in range(5000):
                assert await connection.receive() == "yo"
        end = await interrupt(program)
    assert end.status == 0


async def test_clients_write_no_escape_sequences_and_no_lines_of_their_own_into_the_log():
    async with start("echo-server", "--port", "0", "--log-level", "info") as program:
        url = await url_of(program)
        async with hubws.connect(f"{url}%1b%5b2J%0aFAKE%c2%9b", proxy=None):
            pass
        end = await interrupt(program)
    assert end.errors[0].endswith(r" INFO client 1 opened /\x1b[2J\nFAKE\x9b")


class Times:
    """A connection that notes when it was sent something, and is slow at first."""

    def __init__(self) -> None:
        self.sent: list[float] = []

    async def send(self, message: str) -> None:
        self.sent.append(trio.current_time())
        if len(self.sent) == 1:
            await trio.sleep(60)


@pytest.mark.parametrize("rate", [0.5, 10.0, 700.0])
async def test_push_server_keeps_its_rate(rate: float, autojump_clock: trio.testing.MockClock):
    times = Times()
    began_at = trio.current_time()
    with trio.move_on_after(60 + 10):
        await _push("hello", rate, cast("hubws.Connection", times))
    assert times.sent[0] == began_at
    after = [time for time in times.sent if time > began_at + 60]
    assert rate * 10 - 2 <= len(after) <= rate * 10 + max(2, rate * 0.02)


async def test_push_server_at_a_rate_over_a_unix_socket(tmp_path: Path):
    path = tmp_path / "push"
    arguments = ["--rate", "200", "--binary", "--unix-path", str(path), "--json"]
    async with start("push-server", *arguments) as program:
        listening = json.loads(await program.wait_for(lambda line: "listening" in line))
        assert listening == {"event": "listening", "url": f"ws+unix:{path}"}
        async with hubws.connect("ws://x/", unix_path=path) as connection:
            for _ in range(21):
                assert await connection.receive() == b"hello"
        end = await interrupt(program)
    assert end.status == 0
    assert not path.exists()
    summary = json.loads(end.lines[-1])
    assert (summary["connections"], summary["clean"]) == (1, True)
    assert summary["bytes_sent"] > 21 * 7
    assert end.errors == []


async def test_broadcast_server_relays_to_the_others_and_a_second_signal_ends_it_at_once():
    async with start("broadcast-server", "--port", "0") as program:
        url = await url_of(program)
        async with hubws.connect(url, proxy=None) as ada, hubws.connect(url, proxy=None) as mo:
            await ada.ping()
            await mo.ping()
            await ada.send("from Ada")
            await mo.send(b"from Mo")
            assert await mo.receive() == "from Ada"
            assert await ada.receive() == b"from Mo"
        host, port = url.split("/")[2].split(":")
        stubborn = await trio.open_tcp_stream(host, int(port))  # it will answer no close frame
        async with stubborn:
            await stubborn.send_all(
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            assert (await stubborn.receive_some()).startswith(b"HTTP/1.1 101 ")
            program.process.send_signal(signal.SIGINT)
            assert (await stubborn.receive_some())[:4] == b"\x88\x02\x03\xe9"  # 1001
            end = await interrupt(program)
    assert end.status == -signal.SIGINT


async def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        end = await run("echo-server", "--port", str(port))
    assert (end.status, end.lines) == (1, [])
    assert end.errors == [f"hubws: can't listen at 127.0.0.1:{port}: Address already in use"]
