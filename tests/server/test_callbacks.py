"""The callback style: what is called, in which order, and what a raising function does."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import hubws
from hubws import Callbacks, Frame, Opcode

NAMES = ["on_open", "on_message", "on_ping", "on_pong", "on_close", "on_error"]


@pytest.fixture
def calls() -> list[tuple[object, ...]]:
    return []


@pytest.fixture
def recording(calls):
    """Callbacks that write down what they are called with; some can be exchanged."""

    def recording(**functions) -> Callbacks:
        def note(name):
            def called(connection, *arguments):
                calls.append((name, *arguments))

            return called

        return Callbacks(**{name: note(name) for name in NAMES} | functions)

    return recording


async def talk(client, *frames: Frame) -> list[Frame]:
    """Send frames and a close frame in one piece; returns all that the server sends."""
    data = b""
    for frame in [*frames, Frame.close(1000, "done")]:
        frame.mask_key = b"abcd"
        data += frame.to_bytes()
    await client.send(data)
    answers = []
    while not answers or answers[-1].opcode != Opcode.CLOSE:
        answers.append(await client.frame())
    assert await client.at_end()
    return answers


class TestOrder:
    async def test_order_of_the_wire(self, start, raw, recording, calls) -> None:
        client = await raw(await start(recording()), upgraded=True)
        answers = await talk(
            client,
            Frame.text("one"),
            Frame(opcode=Opcode.PING, payload=b"p"),
            Frame(opcode=Opcode.BINARY, payload=b"two"),
            Frame(opcode=Opcode.PONG, payload=b"unasked"),
            Frame(opcode=Opcode.TEXT, payload=b"thr", fin=False),
            Frame(opcode=Opcode.CONTINUATION, payload=b"ee"),
        )
        assert calls == [
            ("on_open",),
            ("on_message", "one"),
            ("on_ping", b"p"),
            ("on_message", b"two"),
            ("on_pong", b"unasked", None),
            ("on_message", "three"),
            ("on_close",),
        ]
        assert [frame.opcode for frame in answers] == [Opcode.PONG, Opcode.CLOSE]

    async def test_on_ping_is_called_before_its_pong_goes(self, start, raw) -> None:
        def on_ping(connection: hubws.Connection, payload: bytes) -> None:
            connection.pong(b"before")

        client = await raw(await start(Callbacks(on_ping=on_ping)), upgraded=True)
        pong, answer, _ = await talk(client, Frame(opcode=Opcode.PING, payload=b"ping"))
        assert [pong.payload, answer.payload] == [b"before", b"ping"]

    async def test_on_pong_knows_the_round_trip(self, start, raw, recording, calls) -> None:
        server = await start(recording(on_open=lambda connection: connection.ping_nowait(b"mine")))
        client = await raw(server, upgraded=True)
        ping = await client.frame()
        assert (ping.opcode, ping.payload) == (Opcode.PING, b"mine")
        await talk(client, Frame(opcode=Opcode.PONG, payload=b"mine"))
        name, payload, rtt = calls[0]
        assert (name, payload) == ("on_pong", b"mine")
        assert rtt > 0

    async def test_answers_keep_their_order(self, start, raw) -> None:
        callbacks = Callbacks(
            on_open=lambda connection: connection.send_nowait("welcome"),
            on_message=lambda connection, message: connection.send_nowait(message),
        )
        client = await raw(await start(callbacks), upgraded=True)
        answers = await talk(client, *(Frame.text(str(i)) for i in range(100)))
        expected = [b"welcome", *(b"%d" % i for i in range(100))]
        assert [frame.payload for frame in answers[:-1]] == expected

    async def test_beside_a_handler(self, start, raw, recording, calls) -> None:
        async def handler(connection: hubws.Connection) -> None:
            calls.append(("handler",))
            assert await connection.receive() == "to the handler"

        server = await start(handler, callbacks=recording(on_message=None))
        client = await raw(server, upgraded=True)
        await client.send(Frame.text("to the handler"))
        assert (await client.frame()).close_code == 1000
        await client.send(Frame.close(1000))
        assert await client.at_end()
        assert calls == [("on_open",), ("handler",), ("on_close",)]

    async def test_on_close_is_last_and_knows_how(self, start, raw) -> None:
        closures = []
        callbacks = Callbacks(on_close=lambda connection: closures.append(connection.closure))
        client = await raw(await start(callbacks), upgraded=True)
        await talk(client)
        (closure,) = closures
        assert (closure.code, closure.reason, closure.clean) == (1000, "done", True)


class TestFrames:
    async def test_every_frame_is_seen(self, start, raw, recording, calls) -> None:
        frames = []

        def on_frame(connection: hubws.Connection, frame: Frame) -> None:
            frames.append((frame.opcode, frame.fin, frame.payload))

        client = await raw(await start(recording(on_frame=on_frame)), upgraded=True)
        await talk(
            client,
            Frame(opcode=Opcode.TEXT, payload=b"a", fin=False),
            Frame(opcode=Opcode.PING, payload=b"p"),
            Frame(opcode=Opcode.CONTINUATION, payload=b"b"),
        )
        assert frames == [
            (Opcode.TEXT, False, b"a"),
            (Opcode.PING, True, b"p"),
            (Opcode.CONTINUATION, True, b"b"),
            (Opcode.CLOSE, True, b"\x03\xe8done"),
        ]
        assert calls == [("on_open",), ("on_ping", b"p"), ("on_message", "ab"), ("on_close",)]

    async def test_handled_frames_go_no_further(self, start, raw, recording, calls) -> None:
        callbacks = recording(on_frame=lambda connection, frame: frame.payload != b"pass")
        client = await raw(await start(callbacks), upgraded=True)
        answers = await talk(
            client,
            Frame.text("stop"),
            Frame.text("pass"),
            Frame(opcode=Opcode.PING, payload=b"stop"),
            Frame(opcode=Opcode.PING, payload=b"pass"),
            Frame(opcode=Opcode.PONG, payload=b"stop"),
        )
        assert calls == [
            ("on_open",),
            ("on_message", "pass"),
            ("on_ping", b"pass"),
            ("on_close",),
        ]
        assert [frame.payload for frame in answers[:-1]] == [b"pass"]
        assert answers[-1].close_code == 1000  # a close frame begins the closing handshake anyway


class TestErrors:
    @pytest.mark.parametrize("name", ["on_open", "on_message", "on_ping", "on_pong", "on_frame"])
    async def test_raising_closes_with_1011(
        self, start, raw, recording, calls, complaints, name
    ) -> None:
        def broken(connection: hubws.Connection, *arguments: object) -> None:
            raise LookupError(name)

        server = await start(recording(**{name: broken}))
        client = await raw(server, upgraded=True)
        for frame in (
            Frame(opcode=Opcode.PING),
            Frame(opcode=Opcode.PONG),
            Frame.text("one"),
            Frame.text("two"),
        ):
            try:
                await client.send(frame)
            except trio.BrokenResourceError:
                break
        while (frame := await client.frame()).opcode != Opcode.CLOSE:
            pass
        assert frame.close_code == 1011
        await client.stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.001)
        (record,) = complaints()
        assert str(record.exc_info[1]) == name
        errors = [arguments for called, *arguments in calls if called == "on_error"]
        assert [str(error) for (error,) in errors] == [name]
        assert calls[-1] == ("on_close",)
        assert len(server.connections) == 0
        await raw(server)

    async def test_nothing_is_called_behind_it(self, start, raw, recording, calls, complaints):
        def on_message(connection: hubws.Connection, message: str | bytes) -> None:
            calls.append(("on_message", message))
            raise LookupError

        client = await raw(await start(recording(on_message=on_message)), upgraded=True)
        await talk(client, Frame.text("one"), Frame.text("two"), Frame(opcode=Opcode.PING))
        names = [name for name, *_ in calls]
        assert names == ["on_open", "on_message", "on_error", "on_close"]
        assert len(complaints()) == 1

    async def test_connection_closed_is_no_error(self, start, raw, recording, calls) -> None:
        def on_message(connection: hubws.Connection, message: str | bytes) -> None:
            connection.close_nowait(4000)
            connection.send_nowait("too late")

        client = await raw(await start(recording(on_message=on_message)), upgraded=True)
        await client.send(Frame.text("close, please"))
        assert (await client.frame()).close_code == 4000
        await client.send(Frame.close(4000))
        assert await client.at_end()
        assert calls == [("on_open",), ("on_close",)]

    async def test_connection_closed_of_another_loses_nothing(self, start, raw) -> None:
        received = []
        gone = []

        def on_message(connection: hubws.Connection, message: str | bytes) -> None:
            received.append(message)
            gone[0].send_nowait(message)

        server = await start(Callbacks(on_open=gone.append, on_message=on_message))
        await (await raw(server, upgraded=True)).stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.001)
        client = await raw(server, upgraded=True)
        one, two, close = Frame.text("one"), Frame.text("two"), Frame.close()
        one.mask_key = two.mask_key = close.mask_key = b"abcd"
        await client.send(one.to_bytes() + two.to_bytes() + close.to_bytes())
        await trio.testing.wait_all_tasks_blocked(0.001)
        await client.stream.aclose()
        assert received == ["one", "two"]

    @pytest.mark.parametrize("name", ["on_close", "on_error"])
    async def test_raising_at_the_end(self, start, raw, recording, complaints, name) -> None:
        def broken(connection: hubws.Connection, *arguments: object) -> None:
            raise LookupError(name)

        server = await start(recording(**{name: broken}))
        client = await raw(server, upgraded=True)
        await client.send(b"\xff\x80abcd")  # reserved bits
        assert (await client.frame()).close_code == 1002
        await client.stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.001)
        assert len(complaints()) == 1
        assert len(server.connections) == 0

    async def test_on_error_gets_what_the_peer_broke(self, start, raw, recording, calls) -> None:
        client = await raw(await start(recording()), upgraded=True)
        await client.send(b"\x83\x80abcd")
        assert (await client.frame()).close_code == 1002
        await client.stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.001)
        assert [name for name, *_ in calls] == ["on_open", "on_error", "on_close"]
        assert isinstance(calls[1][1], hubws.RemoteProtocolError)
