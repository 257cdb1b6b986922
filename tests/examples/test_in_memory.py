"""The examples without processes and sockets: over memory, on a clock that jumps, through faults."""

from __future__ import annotations

import importlib.util
import json
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trio
import trio.testing

import hubws
from hubws import Frame, Opcode
from hubws.pages import Chat
from hubws.testing import Fault, Kind, Plan, ScriptedPeer, open_server

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str) -> ModuleType:
    """An example's module; they are programs, and in no package."""
    spec = importlib.util.spec_from_file_location(name.replace("/", "_"), EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


broadcast = load("broadcast/server")
rtt = load("rtt/server")


def said(user: str, message: str) -> dict[str, str]:
    return {"event": "CHAT_MSG", "user": user, "message": message}


async def hear(connection: hubws.Connection) -> dict[str, Any]:
    """The next event, without what differs from run to run."""
    event: dict[str, Any] = json.loads(await connection.receive())
    return {name: event[name] for name in ("event", "user", "message") if name in event}


def say(message: str) -> str:
    return json.dumps({"event": "SAY", "message": message})


class TestBroadcast:
    async def test_announcements_come_every_three_seconds(self, autojump_clock) -> None:
        async with (
            hubws.open_hub() as hub,
            open_server(Chat(hub).talk) as server,
            server.connect("/one") as ada,
            server.connect("/two") as mo,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(broadcast.announce, hub)
            began = trio.current_time()
            for number in range(1, 4):
                for person in (ada, mo):
                    assert await hear(person) == said("server", "hello, this is server")
                assert trio.current_time() == pytest.approx(began + 3 * number)
            nursery.cancel_scope.cancel()

    async def test_one_whose_line_breaks_in_a_word_harms_nobody(self, autojump_clock) -> None:
        async with (
            hubws.open_hub() as hub,
            open_server(Chat(hub).talk) as server,
            server.connect("/lobby") as ada,
        ):
            await ada.send(say("here"))
            assert (await hear(ada))["message"] == "here"
            peer = await ScriptedPeer.dial(server, "/lobby")
            await peer.send(Frame.text(say("I am")).to_bytes()[:9])
            await trio.aclose_forcefully(peer.stream)
            async with server.connect("/lobby") as mo:
                await mo.send(say("still here"))
                assert (await hear(mo))["message"] == "still here"
                assert (await hear(ada))["message"] == "still here"

    async def test_plain_requests(self) -> None:
        async with hubws.open_hub() as hub:
            chat = Chat(hub)
            answer = partial(broadcast.answer, chat)
            for path, status, part in (
                ("/health", 200, "ok\n"),
                ("/", 200, "<html"),
                ("/none", 404, "there is only / and /health"),
            ):
                head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
                response = answer(hubws.Request("GET", path, "1.1", head))
                assert response.status == status
                assert part in response.body.decode()


class TestRtt:
    async def test_prints_how_long_a_client_took_to_answer(self, autojump_clock, capsys) -> None:
        async with (
            hubws.open_hub(on_pong=rtt.show) as hub,
            hubws.open_monitor(hub, interval=2),
            open_server(partial(rtt.stay, hub), keepalive_interval=None) as server,
        ):
            peer = await ScriptedPeer.dial(server)
            for seconds in (0.25, 1.5):
                ping = await peer.receive()
                assert ping.opcode is Opcode.PING
                await trio.sleep(seconds)
                await peer.send(Frame(opcode=Opcode.PONG, payload=ping.payload))
            await peer.send(Frame(opcode=Opcode.PONG, payload=b"that nobody asked for"))
            await peer.send(Frame.close(1000))
            assert (await peer.receive()).close_code == 1000
            await peer.receive_end()
        joined, *measured, left = capsys.readouterr().out.splitlines()
        client = joined.removesuffix(" joined")
        assert measured == [f"{client}: 250.000 ms", f"{client}: 1500.000 ms"]
        assert left.startswith(f"{client} left: the peer closed with 1000 (normal)")

    async def test_line_that_breaks(self, autojump_clock, capsys) -> None:
        async with hubws.open_hub() as hub, open_server(partial(rtt.stay, hub)) as server:
            plan = Plan(to_server=(Fault(400, Kind.RESET),))
            async with server.connect(plan=plan) as connection:
                await connection.send(bytes(1000))
                await connection.wait_closed()
            await trio.testing.wait_all_tasks_blocked()
            assert list(hub.connections) == []
        assert "no close frame came" in capsys.readouterr().out.splitlines()[-1]
