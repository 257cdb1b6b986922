"""What becomes of a connection when its handler, its peer or its network ends it."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import hubws
from hubws import Frame, Opcode


async def settled() -> None:
    """Let everything that is under way between two sockets of this process arrive."""
    for _ in range(3):
        await trio.testing.wait_all_tasks_blocked(0.001)


@pytest.fixture(params=["socket", "tls"])
def over(request, start, raw, server_tls, client_tls):
    """Start a server and connect to it, over plain sockets and over TLS."""

    async def over(handler, **options):
        tls = request.param == "tls"
        server = await start(handler, ssl_context=server_tls if tls else None, **options)
        return server, await raw(server, client_tls if tls else None)

    return over


class TestHandlerEnds:
    async def test_returning_closes_with_1000(self, over) -> None:
        async def handler(connection: hubws.Connection) -> None:
            await connection.send("bye")

        _, client = await over(handler)
        await client.upgrade()
        assert (await client.frame()).payload == b"bye"
        assert (await client.frame()).close_code == 1000
        await client.send(Frame.close())
        assert await client.at_end()

    async def test_raising_closes_with_1011_and_is_logged_once(self, over, complaints) -> None:
        async def handler(connection: hubws.Connection) -> None:
            if await connection.receive() == "break":
                raise LookupError("deep inside")
            await connection.send("fine")
            await trio.sleep_forever()

        _, client = await over(handler)
        await client.upgrade()
        await client.send(Frame.text("break"))
        close = await client.frame()
        assert (close.close_code, close.close_reason) == (1011, "internal error")
        await client.stream.aclose()
        (record,) = complaints()
        assert "deep inside" in str(record.exc_info[1])
        assert record.exc_info[2] is not None

    async def test_others_and_the_server_go_on(self, start, raw, complaints) -> None:
        async def handler(connection: hubws.Connection) -> None:
            async for message in connection:
                if message == "break":
                    raise LookupError
                await connection.send(message)

        server = await start(handler)
        other = await raw(server, upgraded=True)
        broken = await raw(server, upgraded=True)
        await broken.send(Frame.text("break"))
        assert (await broken.frame()).close_code == 1011
        assert len(complaints()) == 1
        for client in (other, await raw(server, upgraded=True)):
            await client.send(Frame.text("here"))
            assert (await client.frame()).payload == b"here"

    @pytest.mark.parametrize("in_nursery", [False, True])
    async def test_connection_closed_that_escapes_is_silent(
        self, start, raw, nursery, in_nursery
    ) -> None:
        ended = trio.Event()

        async def receive_all(connection: hubws.Connection) -> None:
            try:
                while True:
                    await connection.receive()
            finally:
                ended.set()

        async def handler(connection: hubws.Connection) -> None:
            if in_nursery:
                async with trio.open_nursery() as children:
                    children.start_soon(receive_all, connection)
            else:
                await receive_all(connection)

        server = await start(handler)
        client = await raw(server, upgraded=True)
        await client.send(Frame.close(4001, "enough"))
        close = await client.frame()
        assert close.close_code == 4001  # and not 1011; nothing is logged, see conftest.py
        await ended.wait()
        await client.at_end()

    async def test_group_with_another_error_is_logged(self, start, raw, complaints) -> None:
        async def handler(connection: hubws.Connection) -> None:
            async with trio.open_nursery() as children:
                children.start_soon(connection.receive)
                await trio.lowlevel.checkpoint()
                raise LookupError

        client = await raw(await start(handler), upgraded=True)
        assert (await client.frame()).close_code == 1011
        assert isinstance(complaints()[0].exc_info[1], ExceptionGroup)

    async def test_sync_function_as_handler(self, start, raw, complaints) -> None:
        client = await raw(await start(lambda connection: None), upgraded=True)
        assert (await client.frame()).close_code == 1011
        assert isinstance(complaints()[0].exc_info[1], TypeError)

    async def test_handler_that_closed_already(self, start, raw) -> None:
        async def handler(connection: hubws.Connection) -> None:
            await connection.aclose(4000, "mine")

        client = await raw(await start(handler), upgraded=True)
        assert (await client.frame()).close_reason == "mine"
        await client.send(Frame.close(4000))
        assert await client.at_end()


class TestPipelining:
    async def test_frames_behind_the_handshake(self, over) -> None:
        async def handler(connection: hubws.Connection) -> None:
            async for message in connection:
                await connection.send(f"got {message!s}")

        _, client = await over(handler)
        frames = [Frame(opcode=Opcode.TEXT, payload=b"%d" % i, mask_key=b"abcd") for i in range(9)]
        await client.send(client.hello() + b"".join(frame.to_bytes() for frame in frames))
        assert (await client.head())[0] == 101
        assert [(await client.frame()).payload for _ in frames] == [b"got %d" % i for i in range(9)]

    async def test_close_behind_the_handshake(self, over) -> None:
        messages = []

        async def handler(connection: hubws.Connection) -> None:
            messages.extend([message async for message in connection])

        _, client = await over(handler)
        text = Frame(opcode=Opcode.TEXT, payload=b"hi", mask_key=b"abcd").to_bytes()
        close = Frame.close(1000)
        close.mask_key = b"efgh"
        await client.send(client.hello() + text + close.to_bytes())
        assert (await client.head())[0] == 101
        assert (await client.frame()).close_code == 1000
        assert await client.at_end()
        await settled()
        assert messages == ["hi"]

    async def test_frame_split_around_the_end_of_the_handshake(self, over) -> None:
        _, client = await over(_echo)
        frame = Frame(opcode=Opcode.TEXT, payload=b"in two", mask_key=b"abcd").to_bytes()
        await client.send(client.hello() + frame[:5])
        await client.head()
        await client.send(frame[5:])
        assert (await client.frame()).payload == b"in two"


async def _echo(connection: hubws.Connection) -> None:
    async for message in connection:
        await connection.send(message)


class TestPeerVanishes:
    @pytest.mark.parametrize("way", ["reset", "end"])
    async def test_handler_hears_of_it(self, start, raw, way) -> None:
        caught = []

        async def handler(connection: hubws.Connection) -> None:
            try:
                await connection.receive()
            except hubws.ConnectionClosed as closed:
                caught.append(closed)
                raise

        server = await start(handler)
        client = await raw(server, upgraded=True)
        if way == "reset":
            client.reset()
        else:
            await client.stream.aclose()
        await settled()
        (closed,) = caught
        assert closed.code == 1006
        assert not closed.closure.clean
        assert isinstance(closed.closure.error, OSError if way == "reset" else type(None))
        assert server.statistics().connections == 0
        await raw(server, upgraded=True)

    async def test_over_tls_without_close_notify(self, start, raw, server_tls, client_tls) -> None:
        caught = []

        async def handler(connection: hubws.Connection) -> None:
            with pytest.raises(hubws.ConnectionClosed) as closed:
                await connection.receive()
            caught.append(closed.value.code)

        server = await start(handler, ssl_context=server_tls)
        client = await raw(server, client_tls, upgraded=True)
        await client.stream.transport_stream.aclose()
        await settled()
        assert caught == [1006]

    async def test_in_the_middle_of_a_message(self, start, raw) -> None:
        codes = []

        async def handler(connection: hubws.Connection) -> None:
            try:
                await connection.receive()
            finally:
                codes.append(connection.close_code)

        server = await start(handler)
        client = await raw(server, upgraded=True)
        await client.send(b"\x81\xfe\x10\x00abcd only the beginning")
        await client.stream.aclose()
        await settled()
        assert codes == [1006]

    async def test_while_the_handler_sends(self, start, raw) -> None:
        ended = trio.Event()

        async def handler(connection: hubws.Connection) -> None:
            try:
                while True:
                    await connection.send(bytes(100_000))
            finally:
                ended.set()

        server = await start(handler)
        client = await raw(server, upgraded=True)
        await trio.testing.wait_all_tasks_blocked()
        client.reset()
        await ended.wait()
        assert len(server.connections) == 0

    async def test_hub_drops_it(self, start, raw) -> None:
        async with hubws.open_hub() as hub:

            async def handler(connection: hubws.Connection) -> None:
                async with hub.member(connection, "lobby"):
                    async for message in connection:
                        hub.broadcast(message, topic="lobby")

            server = await start(handler)
            one, other = await raw(server, upgraded=True), await raw(server, upgraded=True)
            await settled()
            one.reset()
            await settled()
            await other.send(Frame.text("alone"))
            assert (await other.frame()).payload == b"alone"
            await other.stream.aclose()
            await settled()
