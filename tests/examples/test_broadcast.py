"""The chat server and its terminal client, as processes."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

import hubws

from .program import Program, run, run_server

CLIENT = "broadcast/client.py"


@pytest.fixture
async def server() -> AsyncIterator[tuple[Program, str]]:
    async with run_server("broadcast/server.py") as running:
        yield running


async def receive(connection: hubws.Connection, *, announcements: bool = False) -> dict[str, Any]:
    """The next event, the server's announcements left out unless they are asked for."""
    with trio.fail_after(30):
        while True:
            event: dict[str, Any] = json.loads(await connection.receive())
            if announcements == (event.get("user") == "server"):
                return event


async def get(host: str, request: str) -> tuple[str, str, bytes]:
    """Send a plain HTTP request; returns status line, header lines and body."""
    name, _, port = host.rpartition(":")
    with trio.fail_after(30):
        async with await trio.open_tcp_stream(name, int(port)) as stream:
            await stream.send_all(f"{request} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            answer = b"".join([part async for part in stream])
    head, _, body = answer.partition(b"\r\n\r\n")
    status, _, headers = head.decode().partition("\r\n")
    return status, headers, body


class TestEvents:
    async def test_what_one_says_everybody_in_the_room_sees(
        self, server: tuple[Program, str]
    ) -> None:
        url = f"ws://{server[1]}/lobby"
        async with hubws.connect(url) as ada, hubws.connect(f"ws://{server[1]}/") as mo:
            await mo.send(json.dumps({"event": "SAY", "message": "here"}))
            assert (await receive(mo))["message"] == "here"  # so Mo is in the room by now
            assert (await receive(ada))["message"] == "here"
            await ada.send(json.dumps({"event": "SET_NAME", "new_name": "Ada"}))
            await ada.send(json.dumps({"event": "SAY", "message": "hi, Mo"}))
            expected = {"event": "CHAT_MSG", "user": "Ada", "message": "hi, Mo"}
            for person in (ada, mo):
                assert expected.items() <= (await receive(person)).items()
            await ada.send(json.dumps({"event": "LEAVE"}))
            with pytest.raises(hubws.ConnectionClosed) as closed:
                await receive(ada)
        assert closed.value.closure.normal

    async def test_the_server_announces_to_every_room(self, server: tuple[Program, str]) -> None:
        async with (
            hubws.connect(f"ws://{server[1]}/one") as ada,
            hubws.connect(f"ws://{server[1]}/two") as mo,
        ):
            expected = {"event": "CHAT_MSG", "user": "server", "message": "hello, this is server"}
            for person in (ada, mo):
                assert expected.items() <= (await receive(person, announcements=True)).items()

    async def test_a_message_beyond_the_limit_closes_with_1009(
        self, server: tuple[Program, str]
    ) -> None:
        async with hubws.connect(f"ws://{server[1]}/") as connection:
            await connection.send("x" * 20_000)
            with pytest.raises(hubws.ConnectionClosed) as closed:
                await receive(connection)
        assert closed.value.code == hubws.CloseCode.MESSAGE_TOO_BIG


class TestHttp:
    async def test_health(self, server: tuple[Program, str]) -> None:
        status, headers, body = await get(server[1], "GET /health")
        assert status == "HTTP/1.1 200 OK"
        assert "Content-Type: text/plain" in headers
        assert body == b"ok\n"

    async def test_page(self, server: tuple[Program, str]) -> None:
        status, headers, body = await get(server[1], "GET /")
        assert status == "HTTP/1.1 200 OK"
        assert "Content-Type: text/html; charset=utf-8" in headers
        assert b"<title>hubws chat</title>" in body
        status, headers, _ = await get(server[1], "GET /chat.js")
        assert status == "HTTP/1.1 200 OK"
        assert "Content-Type: text/javascript; charset=utf-8" in headers

    async def test_what_is_not_there(self, server: tuple[Program, str]) -> None:
        status, _, body = await get(server[1], "GET /nothing")
        assert status == "HTTP/1.1 404 Not Found"
        assert body == b"there is only / and /health\n"

    async def test_a_page_of_another_origin_may_not_connect(
        self, server: tuple[Program, str]
    ) -> None:
        with pytest.raises(hubws.HandshakeRefused) as refused:
            async with hubws.connect(f"ws://{server[1]}/", origin="http://elsewhere.example"):
                pass
        assert refused.value.response.status == 403


class TestEnding:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    async def test_a_signal_closes_everybody_with_1001_and_ends_with_status_0(
        self, number: signal.Signals
    ) -> None:
        async with (
            run_server("broadcast/server.py") as (server, host),
            hubws.connect(f"ws://{host}/one") as ada,
            hubws.connect(f"ws://{host}/two") as mo,
        ):
            for person in (ada, mo):
                await person.send("?")
                await receive(person)
            server.process.send_signal(number)
            for person in (ada, mo):
                with pytest.raises(hubws.ConnectionClosed) as closed:
                    await receive(person)
                assert closed.value.code == hubws.CloseCode.GOING_AWAY
            assert await server.wait() == 0
            assert server.errors == b""


class TestTerminalClient:
    async def test_two_talk_to_each_other(self, server: tuple[Program, str]) -> None:
        url = f"ws://{server[1]}/lobby"
        async with run(CLIENT, url, "--name", "Ada") as ada, run(CLIENT, url, "--name", "Mo") as mo:
            await ada.type("hello?")
            await ada.wait_for("Ada: hello?")
            await mo.type("hi, Ada")
            for person in (ada, mo):
                await person.wait_for("Mo: hi, Ada")
            await ada.type("and goodbye")
            for person in (ada, mo):
                await person.wait_for("Ada: and goodbye")
            await ada.end_input()
            assert await ada.wait() == 0
            await mo.type("alone now")
            await mo.wait_for("Mo: alone now")

    async def test_lines_in_lines_out_to_the_last(self, server: tuple[Program, str]) -> None:
        async with run(CLIENT, f"ws://{server[1]}/pipe", "--name", "Ada") as ada:
            await ada.type(*(f"line {n}" for n in range(100)))
            await ada.end_input()
            assert await ada.wait() == 0
            await ada.wait_for("Ada: line 99")
            said = [line for line in ada.lines if not line.startswith("server: ")]
            assert [f"Ada: line {n}" for n in range(100)] == said

    async def test_an_announcement_arrives(self, server: tuple[Program, str]) -> None:
        async with run(CLIENT, f"ws://{server[1]}/") as ada:
            await ada.wait_for("server: hello, this is server")

    async def test_what_others_write_does_not_steer_the_terminal(
        self, server: tuple[Program, str]
    ) -> None:
        url = f"ws://{server[1]}/lobby"
        async with run(CLIENT, url, "--name", "Ada") as ada, hubws.connect(url) as mo:
            await ada.type("here")
            await ada.wait_for("Ada: here")
            await mo.send(json.dumps({"event": "SAY", "message": "\x1b[2Jone\ntwo"}))
            await ada.wait_for(lambda line: line.endswith(": [2Jonetwo"))

    async def test_what_was_said_before_is_shown(self, server: tuple[Program, str]) -> None:
        url = f"ws://{server[1]}/before"
        async with run(CLIENT, url, "--name", "Ada") as ada:
            await ada.type("first")
            await ada.wait_for("Ada: first")
        async with run(CLIENT, url, "--name", "Mo") as mo:
            await mo.wait_for("Ada: first")

    async def test_an_error_is_shown(self, server: tuple[Program, str]) -> None:
        async with run(CLIENT, f"ws://{server[1]}/", "--name", "server") as ada:
            await ada.wait_for("error: a name has 1 to 32 visible characters and is not 'server'")

    async def test_ctrl_c_closes_in_order_though_the_input_is_open(
        self, server: tuple[Program, str]
    ) -> None:
        async with run(CLIENT, f"ws://{server[1]}/") as ada:
            await ada.type("here")
            await ada.wait_for(lambda line: line.endswith(": here"))
            ada.process.send_signal(signal.SIGINT)
            assert await ada.wait() == 0
            await ada.read_to_end()
        expected = "left: the peer closed with 1000 (normal); this side closed with 1000 (normal)\n"
        assert expected == ada.errors.decode()

    async def test_it_ends_when_the_server_does(self, server: tuple[Program, str]) -> None:
        async with run(CLIENT, f"ws://{server[1]}/") as ada:
            await ada.type("here")
            await ada.wait_for(lambda line: line.endswith(": here"))
            server[0].process.send_signal(signal.SIGTERM)
            assert await ada.wait() == 0
            await ada.read_to_end()
        assert "the peer closed with 1001 (going away)" in ada.errors.decode()

    async def test_no_server(self, server: tuple[Program, str]) -> None:
        server[0].process.send_signal(signal.SIGTERM)
        await server[0].wait()
        async with run(CLIENT, f"ws://{server[1]}/") as ada:
            assert await ada.wait() == 1
            await ada.read_to_end()
        assert f"ws://{server[1]}/: all attempts to connect" in ada.errors.decode()
        assert "Traceback" not in ada.errors.decode()
