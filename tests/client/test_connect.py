"""A connection that opens: what is sent for it, what it knows, and how its block ends."""

from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing

import hubws
from hubws import Frame, Opcode


class Peers:
    """The usual script: accept, then do what a test says, then close in order."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        self.peers = []
        self.closes = []

    async def __call__(self, peer) -> None:
        self.peers.append(peer)
        await peer.accept(*self.lines)
        while (frame := await peer.frame()).opcode != Opcode.CLOSE:
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
                await peer.send(Frame(opcode=frame.opcode, payload=frame.payload))
        self.closes.append(frame.close_code)
        await peer.send(Frame.close(frame.close_code))


def port_of(address: object) -> int:
    assert isinstance(address, tuple)
    return int(address[1])


class TestRequest:
    async def test_what_is_sent(self, serve_script) -> None:
        script = Peers()
        url = await serve_script(script)
        async with hubws.connect(url + "path?a=b") as connection:
            await connection.send("héllo")
            assert await connection.receive() == "héllo"
        (peer,) = script.peers
        assert peer.request_line == "GET /path?a=b HTTP/1.1"
        key = peer.headers.pop("sec-websocket-key")
        assert len(key) == 24
        assert peer.headers == {
            "host": url[5:-1],
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec-websocket-version": "13",
        }

    async def test_headers_and_origin(self, serve_script) -> None:
        script = Peers()
        url = await serve_script(script)
        headers = [("Authorization", "Bearer x"), ("Host", "other.example")]
        async with hubws.connect(url, headers=headers, origin="https://a.example"):
            pass
        got = script.peers[0].headers
        assert (got["authorization"], got["host"]) == ("Bearer x", "other.example")
        assert got["origin"] == "https://a.example"

    async def test_user_of_the_url(self, serve_script) -> None:
        script = Peers()
        url = (await serve_script(script)).replace("//", "//Aladdin:open%20sesame@")
        async with hubws.connect(url):
            pass
        got = script.peers[0].headers
        assert got["authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="  # RFC 7617 §2
        assert got["host"] == url.rpartition("@")[2][:-1]

    async def test_a_key_of_its_own_each_time(self, serve_script) -> None:
        script = Peers()
        url = await serve_script(script)
        for _ in range(3):
            async with hubws.connect(url):
                pass
        assert len({peer.headers["sec-websocket-key"] for peer in script.peers}) == 3

    @pytest.mark.parametrize("chosen", [None, "chat", "superchat"])
    async def test_subprotocols(self, serve_script, chosen) -> None:
        script = Peers(*([] if chosen is None else [f"Sec-WebSocket-Protocol: {chosen}"]))
        url = await serve_script(script)
        async with hubws.connect(url, subprotocols=["superchat", "chat"]) as connection:
            assert connection.subprotocol == chosen
        assert script.peers[0].headers["sec-websocket-protocol"] == "superchat, chat"

    async def test_response_is_kept(self, serve_script) -> None:
        script = Peers("Set-Cookie: a=b", "Set-Cookie: c=d", "Server: scripted")
        async with hubws.connect(await serve_script(script)) as connection:
            assert connection.response.status == 101
            assert connection.response.headers["server"] == "scripted"
            assert connection.response.headers.get_all("Set-Cookie") == ["a=b", "c=d"]
            assert connection.is_client
            assert connection.request is None

    async def test_addresses(self, serve_script) -> None:
        url = await serve_script(Peers())
        async with hubws.connect(url) as connection:
            assert port_of(connection.remote) == int(url[:-1].rpartition(":")[2])
            assert port_of(connection.local) > 0


class TestWays:
    async def test_tls(self, serve_script, server_tls, client_tls) -> None:
        url = await serve_script(Peers(), server_tls)
        async with hubws.connect(url, ssl_context=client_tls) as connection:
            await connection.send(bytes(100_000))
            assert await connection.receive() == bytes(100_000)
            assert port_of(connection.remote) == int(url[:-1].rpartition(":")[2])

    async def test_ready_socket_stream(self, serve_script) -> None:
        script = Peers()
        url = await serve_script(script)
        stream = await trio.open_tcp_stream("127.0.0.1", int(url[:-1].rpartition(":")[2]))
        async with hubws.connect("ws://other.example/x", stream=stream) as connection:
            await connection.send("through it")
            assert await connection.receive() == "through it"
        assert script.peers[0].headers["host"] == "other.example"

    async def test_ready_memory_stream(self, nursery, as_peer) -> None:
        ours, theirs = trio.testing.memory_stream_pair()

        async def run() -> None:
            async with theirs:
                await Peers()(as_peer(theirs))

        nursery.start_soon(run)
        async with hubws.connect("ws://memory/", stream=ours) as connection:
            await connection.send("through memory")
            assert await connection.receive() == "through memory"
            assert connection.remote is None

    async def test_tls_over_a_ready_stream(self, serve_script, server_tls, client_tls) -> None:
        url = await serve_script(Peers(), server_tls)
        stream = await trio.open_tcp_stream("127.0.0.1", int(url[:-1].rpartition(":")[2]))
        async with hubws.connect(
            "wss://localhost/", stream=stream, ssl_context=client_tls
        ) as connection:
            await connection.send("secret")
            assert await connection.receive() == "secret"


class TestBytesBehindThe101:
    async def test_are_delivered(self, serve_script) -> None:
        async def script(peer) -> None:
            await peer.request()
            frames = [Frame.text("one").to_bytes(), Frame.text("two").to_bytes()]
            await peer.send(peer.acceptance() + b"".join(frames) + b"\x81\x05th")
            await peer.send(b"ree")
            await peer.frame()
            await peer.send(Frame.close())

        async with hubws.connect(await serve_script(script)) as connection:
            assert [await connection.receive() for _ in range(3)] == ["one", "two", "three"]

    async def test_even_a_close(self, serve_script) -> None:
        async def script(peer) -> None:
            await peer.request()
            close = Frame.close(4000, "no room").to_bytes()
            await peer.send(peer.acceptance() + Frame.text("one").to_bytes() + close)
            assert (await peer.frame()).close_code == 4000

        async with hubws.connect(await serve_script(script)) as connection:
            assert await connection.receive() == "one"
            with pytest.raises(hubws.ConnectionClosed) as closed:
                await connection.receive()
            assert (closed.value.code, closed.value.reason) == (4000, "no room")

    async def test_and_a_reset(self, serve_script) -> None:
        async def script(peer) -> None:
            await peer.request()
            await peer.send(peer.acceptance())
            peer.reset()

        async with hubws.connect(await serve_script(script)) as connection:
            with pytest.raises(hubws.ConnectionClosed) as closed:
                await connection.receive()
            assert closed.value.code == 1006


class TestEndOfTheBlock:
    async def test_closes_1000(self, serve_script) -> None:
        script = Peers()
        async with hubws.connect(await serve_script(script)) as connection:
            pass
        assert script.closes == [1000]
        assert connection.closure.clean
        assert connection.state is hubws.State.CLOSED

    async def test_delivers_what_was_sent_first(self, serve_script) -> None:
        received = []

        async def script(peer) -> None:
            await peer.accept()
            while (frame := await peer.frame()).opcode != Opcode.CLOSE:
                received.append(len(frame.payload))
            await peer.send(Frame.close(1000))

        async with hubws.connect(await serve_script(script)) as connection:
            for _ in range(20):
                await connection.send(bytes(200_000))
        assert received == [200_000] * 20

    @pytest.mark.parametrize("error", [LookupError("mine"), StopAsyncIteration(), RuntimeError()])
    async def test_exceptions_arrive_as_they_are_and_abort(self, serve_script, error) -> None:
        async def script(peer) -> None:
            await peer.accept()
            assert await peer.at_end()  # without a close frame

        with pytest.raises(type(error)) as caught:
            async with hubws.connect(await serve_script(script)) as connection:
                raise error
        assert caught.value is error
        assert connection.state is hubws.State.CLOSED
        assert connection.close_code == 1006

    async def test_cancelled_in_the_block(self, serve_script) -> None:
        async def script(peer) -> None:
            await peer.accept()
            assert await peer.at_end()

        with trio.CancelScope() as scope:
            async with hubws.connect(await serve_script(script)) as connection:
                scope.cancel()
                await connection.receive()
        assert scope.cancelled_caught
        assert connection.state is hubws.State.CLOSED

    async def test_cancelled_while_it_closes(self, serve_script) -> None:
        async def script(peer) -> None:
            await peer.accept()
            assert (await peer.frame()).close_code == 1000
            scope.cancel()
            assert await peer.at_end()

        with trio.CancelScope() as scope:
            async with hubws.connect(await serve_script(script)) as connection:
                pass
        assert scope.cancelled_caught
        assert connection.state is hubws.State.CLOSED

    async def test_server_that_never_answers_the_close_frame(self, serve_script) -> None:
        async def script(peer) -> None:
            await peer.accept()
            await peer.frame()
            await peer.at_end()

        async with hubws.connect(await serve_script(script), close_timeout=0.05) as connection:
            pass
        assert connection.close_code == 1006
        assert not connection.closure.clean

    async def test_closed_already(self, serve_script) -> None:
        script = Peers()
        async with hubws.connect(await serve_script(script)) as connection:
            await connection.aclose(4000)
        assert script.closes == [4000]

    async def test_connection_lost(self, serve_script) -> None:
        async def script(peer) -> None:
            await peer.accept()

        async with hubws.connect(await serve_script(script)) as connection:
            with pytest.raises(hubws.ConnectionClosed) as closed:
                await connection.receive()
            assert closed.value.code == 1006


class TestMasking:
    async def test_every_frame_with_a_fresh_key(self, serve_script, both_codecs) -> None:
        frames = []

        async def script(peer) -> None:
            await peer.accept()
            await peer.send(Frame(opcode=Opcode.PING, payload=b"answer me"))
            while not frames or frames[-1].opcode != Opcode.CLOSE:
                frames.append(await peer.frame())
                if frames[-1].opcode == Opcode.PING:
                    await peer.send(Frame(opcode=Opcode.PONG, payload=frames[-1].payload))
            await peer.send(Frame.close())

        sent: list[str | bytes] = ["", "é" * 70, "x" * 70_000, b"", b"\0" * 200]
        async with hubws.connect(await serve_script(script)) as connection:
            await connection.ping(b"mine")
            for message in sent:
                await connection.send(message)
            connection.pong(b"unasked")
            connection.send_frame_nowait(Frame.text("crafted"))
        messages = [frame.payload for frame in frames if not frame.is_control]
        assert messages == [*(m.encode() if isinstance(m, str) else m for m in sent), b"crafted"]
        control = [(frame.opcode, frame.payload) for frame in frames if frame.is_control]
        assert sorted(control) == [
            (Opcode.CLOSE, b"\x03\xe8"),
            (Opcode.PING, b"mine"),
            (Opcode.PONG, b"answer me"),
            (Opcode.PONG, b"unasked"),
        ]
        keys = [frame.mask_key for frame in frames]
        assert None not in keys
        assert len(set(keys)) == len(keys)

    async def test_keys_are_not_a_counter(self, serve_script) -> None:
        keys = []

        async def script(peer) -> None:
            await peer.accept()
            frames = [await peer.frame() for _ in range(2001)]
            keys.extend(int.from_bytes(frame.mask_key, "big") for frame in frames)
            await peer.send(Frame.close())

        async with hubws.connect(await serve_script(script)) as connection:
            for _ in range(2000):
                await connection.send(b"")
        steps = {after - before for before, after in itertools.pairwise(keys)}
        assert len(steps) > 1990
        assert 0.4 < sum(key >> 31 for key in keys) / len(keys) < 0.6


class TestCallbacks:
    async def test_messages_go_to_them(self, serve_script) -> None:
        calls: list[str | bytes] = []
        callbacks = hubws.Callbacks(
            on_open=lambda connection: calls.append("open"),
            on_message=lambda connection, message: calls.append(message),
            on_close=lambda connection: calls.append("close"),
        )

        async def script(peer) -> None:
            await peer.request()
            await peer.send(peer.acceptance() + Frame.text("one").to_bytes())
            await peer.send(Frame.text("two"))
            await peer.send(Frame.close())
            await peer.frame()

        async with hubws.connect(await serve_script(script), callbacks=callbacks) as connection:
            await connection.wait_closed()
        assert calls == ["open", "one", "two", "close"]
