"""hubws/cli/chat_server.py and dashboard.py: a chat with its page, as a process."""

from __future__ import annotations

import json
import signal
import socket

import pytest
import trio

import hubws
from tests.cli.command import interrupt, run, start
from tests.examples.program import Program
from tests.pages.serving import get


async def host_of(program: Program) -> str:
    """Where it listens, as host:port."""
    line = await program.wait_for(lambda line: line.startswith("listening at ws://"))
    return line.split("/")[2]


async def receive_until(connection: hubws.Connection, event: str) -> dict[str, object]:
    with trio.fail_after(30):
        while True:
            message: dict[str, object] = json.loads(await connection.receive())
            if message.get("event") == event:
                return message


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_people_talk_and_a_signal_ends_it_in_order(number: signal.Signals):
    async with start("chat-server", "--port", "0", "--history", "1") as program:
        host = await host_of(program)
        assert program.lines == [f"page at http://{host}/", f"listening at ws://{host}/"]
        page = await get(host, "/")
        assert b"<title>hubws chat</title>" in page.body
        assert "Content-Security-Policy" in page.headers
        async with hubws.connect(f"ws://{host}/trio", proxy=None) as ada:
            for text in ("one", "two"):
                await ada.send(json.dumps({"event": "SAY", "message": text}))
            await receive_until(ada, "CHAT_MSG")
            await receive_until(ada, "CHAT_MSG")
            async with hubws.connect(f"ws://{host}/trio?since=", proxy=None) as mo:
                assert (await receive_until(mo, "CHAT_MSG"))["message"] == "two"
                end = await interrupt(program, number)
                await mo.wait_closed()
                assert mo.close_code == 1001
    assert end.status == 0
    assert end.errors == ["2 connections, 2 messages"]


async def test_a_dashboard_with_a_password():
    options = ["--dashboard", "/admin/", "--dashboard-password", "open sesame", "--json"]
    async with start("chat-server", "--port", "0", *options) as program:
        line = await program.wait_for(lambda line: "listening" in line)
        host = json.loads(line)["url"].split("/")[2]
        pages = [json.loads(line)["url"] for line in program.lines if '"page"' in line]
        assert pages == [f"http://{host}/", f"http://{host}/admin/"]
        assert (await get(host, "/admin/")).status == 401
        check = ("Authorization: Basic YWRtaW46b3BlbiBzZXNhbWU=",)  # admin:open sesame
        assert b"<title>Dashboard" in (await get(host, "/admin/", *check)).body
        with pytest.raises(hubws.HandshakeRefused):
            async with hubws.connect(f"ws://{host}/admin/feed", proxy=None):
                pass
        url = f"ws://admin:open%20sesame@{host}/admin/feed"
        async with hubws.connect(url, proxy=None) as viewer:
            assert "points" in json.loads(await viewer.receive())
        end = await interrupt(program)
    assert end.status == 0
    assert json.loads(end.lines[-1])["clean"]


async def test_without_being_asked_for_there_is_no_dashboard():
    async with start("chat-server", "--port", "0") as program:
        host = await host_of(program)
        assert (await get(host, "/dashboard/")).status == 426
        await interrupt(program)


async def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        end = await run("chat-server", "--port", str(port))
    assert (end.status, end.lines) == (1, [])
    assert end.errors == [f"hubws: can't listen at 127.0.0.1:{port}: Address already in use"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--history", "0"], "--history must be 1 message or more, not 0"),
        (["--dashboard", "/a/"], "--dashboard needs --dashboard-password"),
        (["--dashboard", "a", "--dashboard-password", "x"], "begins and ends with one slash"),
        (["--dashboard", "/", "--dashboard-password", "x"], "has its own page"),
    ],
)
async def test_bad_arguments(arguments: list[str], error: str):
    end = await run("chat-server", "--port", "0", *arguments)
    assert (end.status, end.lines) == (2, [])
    assert len(end.errors) == 1
    assert error in end.errors[0]
