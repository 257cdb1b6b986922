"""Peers that do as they are told."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import hubws
from hubws import Frame, Opcode
from hubws.testing import ScriptedPeer, open_server


async def echo(connection: hubws.Connection) -> None:
    async for message in connection:
        await connection.send(message)


async def test_client_against_a_server(autojump_clock) -> None:
    async with open_server(echo) as server:
        peer = await ScriptedPeer.dial(server, "/", {"X-Name": "Ada"})
        await peer.send(
            Frame.text("he", fin=False), Frame(opcode=Opcode.CONTINUATION, payload=b"llo")
        )
        assert str(await peer.receive()) == str(Frame.text("hello"))
        await peer.send(Frame(opcode=Opcode.PING, payload=b"p"))
        assert (await peer.receive()).opcode is Opcode.PONG
        await peer.send(b"\x81\x00")  # not masked, as it must be
        frame = await peer.receive()
        assert frame.close_code == 1002
        await peer.receive_end()


async def test_bytes_in_pieces(autojump_clock) -> None:
    async with open_server(echo) as server:
        peer = await ScriptedPeer.dial(server)
        for byte in Frame(opcode=Opcode.TEXT, payload=b"hi", mask_key=b"abcd").to_bytes():
            await peer.send(bytes([byte]))
        assert (await peer.receive()).payload == b"hi"


async def test_refused_upgrade() -> None:
    async with open_server(echo) as server:
        peer = ScriptedPeer(server.listener.dial(), is_client=True)
        response = await peer.upgrade("/", {"Origin": "http://elsewhere.invalid"})
        assert response.status == 403


async def test_server_against_a_client() -> None:
    near, far = trio.testing.memory_stream_pair()
    peer = ScriptedPeer(far, is_client=False)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def serve() -> None:
            request = await peer.accept("chat")
            assert request.target == "/room"
            await peer.send(Frame.text("hello"))
            assert (await peer.receive()).payload == b"back"
            await peer.send(Frame.close(4000, "enough"))
            assert (await peer.receive()).close_code == 4000
            await peer.stream.aclose()

        async with hubws.connect(
            "ws://server.invalid/room", stream=near, subprotocols=["chat"]
        ) as connection:
            assert await connection.receive() == "hello"
            await connection.send("back")
            await connection.wait_closed()
            assert (connection.close_code, connection.close_reason) == (4000, "enough")


async def test_the_end() -> None:
    near, far = trio.testing.memory_stream_pair()
    peer = ScriptedPeer(near, is_client=True)
    await far.send_all(Frame.text("late").to_bytes()[:3])
    await far.send_eof()
    with pytest.raises(AssertionError, match="within a frame"):
        await peer.receive_end()
    with pytest.raises(trio.EndOfChannel):
        await peer.receive()
    near, far = trio.testing.memory_stream_pair()
    peer = ScriptedPeer(near, is_client=True)
    await far.send_all(Frame.text("late").to_bytes())
    with pytest.raises(AssertionError, match="a frame came before the end"):
        await peer.receive_end()
