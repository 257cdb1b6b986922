"""Messages that are sent and received in pieces, among others that are not."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from hubws import (
    Callbacks,
    Connection,
    ConnectionClosed,
    Deflate,
    DeflateParameters,
    Policy,
    RateLimit,
    Settings,
    open_hub,
)
from tests.connection.pairs import Pairs

MB = 1024 * 1024
TAKEOVER = DeflateParameters()
ALONE = DeflateParameters(server_no_context_takeover=True, client_no_context_takeover=True)
EAGER = Deflate(min_size=0)

agreements = pytest.mark.parametrize(
    "agreed", [None, TAKEOVER, ALONE], ids=["plain", "takeover", "alone"]
)


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


async def pieces(*given: str | bytes) -> AsyncIterator[str | bytes]:
    for piece in given:
        await trio.lowlevel.checkpoint()
        yield piece


async def give(channel: trio.MemorySendChannel[Any], piece: object) -> None:
    """Hand a piece to who sends them, and wait until it has been sent."""
    await channel.send(piece)
    await trio.testing.wait_all_tasks_blocked()


async def take_stream(connection: Connection) -> list[Any]:
    with trio.fail_after(20):
        async with connection.receive_stream() as message:
            return [piece async for piece in message]


class TestSending:
    @agreements
    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (["a", "", "bc"], "abc"),
            ([b"a", b"", bytearray(b"b"), memoryview(b"c")], b"abc"),
            ([""], ""),
            ([b""], b""),
            ([], b""),
            (["é" * 200_000], "é" * 200_000),
            ([noise(600_000), noise(3)], noise(600_000) + noise(3)),
        ],
    )
    async def test_is_one_message(self, make_pair: Pairs, given, message, agreed) -> None:
        client, server = make_pair(agreed=agreed, compression=EAGER)
        for sender, receiver in [(client, server), (server, client)]:
            for source in (given, pieces(*given)):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(sender.send_stream, source)
                    assert await receiver.receive() == message
            await sender.send("whole")
            assert await receiver.receive() == "whole"

    async def test_each_piece_goes_at_once(self, make_pair: Pairs) -> None:
        client, server = make_pair(max_stream_size=MB)
        to_client, source = trio.open_memory_channel[str](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_stream, source)
            await give(to_client, "one")
            async with server.receive_stream() as message:
                assert await anext(message) == "one"
                await give(to_client, "two")
                assert await anext(message) == "two"
                await to_client.aclose()
                assert [piece async for piece in message] == []
                assert message.received == 6

    async def test_progress(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        told: list[int] = []
        await client.send_stream(["é", "", "b"], on_progress=told.append)
        assert told == [2, 2, 3]
        assert await server.receive() == "éb"

    @agreements
    async def test_others_go_behind_and_pings_between(self, make_pair: Pairs, agreed) -> None:
        """RFC 6455 §5.4: only control frames may come between the fragments of a message."""
        client, server = make_pair(agreed=agreed, compression=EAGER)
        to_client, source = trio.open_memory_channel[str](0)
        client.send_nowait("before " * 50)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_stream, source)
            await give(to_client, "piece " * 50)
            client.send_nowait("behind " * 50)
            await client.send("before piece behind " * 20)
            assert await client.ping() > 0
            assert await server.ping() > 0
            await give(to_client, "another piece " * 50)
            await to_client.aclose()
        await client.send("before piece another behind " * 20)
        assert [await server.receive() for _ in range(5)] == [
            "before " * 50,
            "piece " * 50 + "another piece " * 50,
            "behind " * 50,
            "before piece behind " * 20,
            "before piece another behind " * 20,
        ]

    async def test_a_hub_goes_on_meanwhile(self, make_pair: Pairs) -> None:
        """What is broadcast to a member that sends a message in fragments waits by its policy."""
        client, server = make_pair(agreed=TAKEOVER, compression=EAGER, outbox_messages=3)
        to_server, source = trio.open_memory_channel[str](0)
        async with open_hub(policy="drop_oldest") as hub, trio.open_nursery() as nursery:
            hub.register(server)
            nursery.start_soon(server.send_stream, source)
            await give(to_server, "piece " * 50)
            for number in range(5):
                hub.broadcast(f"piece {number} " * 50)
            await to_server.aclose()
            assert await client.receive() == "piece " * 50
            for number in (2, 3, 4):
                assert await client.receive() == f"piece {number} " * 50
            await server.send("piece 4 " * 50)
            assert await client.receive() == "piece 4 " * 50

    async def test_one_after_the_other(self, make_pair: Pairs) -> None:
        client, server = make_pair(outbox_bytes=1000, inbox_bytes=1000)
        messages = [noise(size) for size in (3000, 1, 200_000, 0, 1000)]
        async with trio.open_nursery() as nursery:
            for message in messages:
                cut = [message[at : at + 999] for at in range(0, len(message), 999)]
                nursery.start_soon(client.send_stream, pieces(*cut))
                nursery.start_soon(client.send, message)
            received = [await server.receive() for _ in range(10)]
        assert sorted(received) == sorted(messages * 2)

    async def test_is_held_back(self, make_socket_pair: Pairs) -> None:
        """No more is held than the outbox may, whatever is to be sent."""
        client, server = make_socket_pair(
            outbox_bytes=100_000, start_server=False, max_message_size=10 * MB
        )
        accepted: list[int] = []
        async with trio.open_nursery() as nursery:
            many = pieces(*[bytes(10_000)] * 200)
            nursery.start_soon(lambda: client.send_stream(many, on_progress=accepted.append))
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert client.outbox.queued_bytes <= 110_100
            assert 0 < accepted[-1] < 500_000
            client.send_nowait("behind")
            server.begin()
            assert await server.receive() == bytes(2_000_000)
            assert await server.receive() == "behind"
        assert accepted[-1] == 2_000_000

    async def test_senders_in_line_are_no_obstacle(self, make_socket_pair: Pairs) -> None:
        client, server = make_socket_pair(outbox_messages=1, outbox_bytes=1000, start_server=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_stream, pieces(*[bytes(10_000)] * 10))
            await trio.testing.wait_all_tasks_blocked(0.01)
            for number in range(5):
                nursery.start_soon(client.send, str(number) * 2000)
            await trio.testing.wait_all_tasks_blocked(0.01)
            server.begin()
            assert await server.receive() == bytes(100_000)
            assert {(await server.receive())[0] for _ in range(5)} == set("01234")

    @pytest.mark.parametrize("whole", ["text", b"bytes", bytearray(b"x"), memoryview(b"x")])
    async def test_no_pieces(self, make_memory_pair: Pairs, whole) -> None:
        client, _ = make_memory_pair()
        with pytest.raises(TypeError, match="send takes it whole"):
            await client.send_stream(whole)
        await client.send("still open")

    async def test_pieces_of_two_kinds(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        with pytest.raises(TypeError, match="all text, or all bytes"):
            await client.send_stream(["text", b"bytes"])
        with pytest.raises(ConnectionClosed, match=r"1011 .*: a message was not finished"):
            await server.receive()
        assert client.closure.undelivered == 1

    @pytest.mark.parametrize("first", [5, None])
    async def test_no_piece_at_all(self, make_pair: Pairs, first) -> None:
        client, server = make_pair()
        with pytest.raises(TypeError, match="a message is str or bytes-like"):
            await client.send_stream([first])
        await client.send("still open")
        assert await server.receive() == "still open"


class TestGivingUp:
    """A message that began to go must be finished; nothing else could tell that it is not whole."""

    async def test_before_it_begins(self, make_pair: Pairs) -> None:
        client, server = make_pair()

        async def raise_at_once() -> AsyncIterator[str]:
            raise KeyError
            yield ""

        with pytest.raises(KeyError):
            await client.send_stream(raise_at_once())
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.send_stream(["text"])
        await client.send("still open")
        assert await server.receive() == "still open"

    @agreements
    async def test_cancelled_in_line(self, make_socket_pair: Pairs, agreed) -> None:
        client, server = make_socket_pair(
            outbox_messages=1, start_server=False, agreed=agreed, compression=EAGER
        )
        client.send_nowait(noise(300_000))
        await trio.testing.wait_all_tasks_blocked()
        client.send_nowait(noise(100))
        with trio.move_on_after(0.01) as scope:
            await client.send_stream(["word " * 100])
        assert scope.cancelled_caught
        server.begin()
        assert [await server.receive() for _ in range(2)] == [noise(300_000), noise(100)]
        await client.send_stream(["word " * 100])
        await client.send("word " * 100)
        assert [await server.receive() for _ in range(2)] == ["word " * 100] * 2

    async def test_in_the_middle(self, make_pair: Pairs) -> None:
        client, server = make_pair()

        async def raise_later() -> AsyncIterator[str]:
            yield "one"
            client.send_nowait("behind")
            raise KeyError("no more")

        with pytest.raises(KeyError):
            await client.send_stream(raise_later())
        with pytest.raises(ConnectionClosed) as caught:
            await server.receive()
        assert (caught.value.code, caught.value.reason) == (1011, "a message was not finished")
        assert client.closure.undelivered == 2
        with pytest.raises(ConnectionClosed):
            await client.send_stream(["x"])

    async def test_cancelled_in_the_middle(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        with trio.CancelScope() as scope:
            await client.send_stream(["one", "two"], on_progress=lambda _: scope.cancel())
        with pytest.raises(ConnectionClosed, match="1011"):
            await server.receive()
        assert client.closure.undelivered == 1

    async def test_this_side_closes_meanwhile(self, make_pair: Pairs) -> None:
        """A message that has begun is finished before the close frame goes."""
        client, server = make_pair()
        to_client, source = trio.open_memory_channel[str](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_stream, source)
            await give(to_client, "one")
            client.send_nowait("behind")
            client.close_nowait()
            with pytest.raises(ConnectionClosed):
                await client.send("too late")
            await give(to_client, "two")
            await to_client.aclose()
        assert [message async for message in server] == ["onetwo", "behind"]
        await client.wait_closed()
        assert client.closure.clean

    async def test_then_it_is_torn(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        to_client, source = trio.open_memory_channel[Any](0)
        with pytest.RaisesGroup(TypeError):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send_stream, source)
                await give(to_client, "one")
                client.close_nowait(4000)
                await to_client.send(5)
        with pytest.raises(ConnectionClosed) as caught:
            await server.receive()
        assert caught.value.code == 4000
        await client.wait_closed()
        assert not client.closure.clean

    @pytest.mark.parametrize("by", ["peer", "abort"])
    async def test_the_connection_ends(self, make_pair: Pairs, by) -> None:
        client, server = make_pair(outbox_bytes=1000)
        started = trio.Event()
        with pytest.RaisesGroup(ConnectionClosed):
            async with trio.open_nursery() as nursery:
                endless = pieces(*[bytes(10_000)] * 1000)
                nursery.start_soon(
                    lambda: client.send_stream(endless, on_progress=lambda _: started.set())
                )
                await started.wait()
                (server if by == "peer" else client).abort()
        assert client.closure.undelivered == 1


class TestReceiving:
    @agreements
    async def test_as_it_arrives(self, make_pair: Pairs, agreed) -> None:
        client, server = make_pair(agreed=agreed, compression=EAGER, max_stream_size=MB)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, noise(1_000_000))
            received = await take_stream(server)
            assert b"".join(received) == noise(1_000_000)
            assert len(received) > 3
            nursery.start_soon(client.send, "é€😀" * 30_000)
            assert "".join(await take_stream(server)) == "é€😀" * 30_000
        await client.send("whole")
        assert await server.receive() == "whole"

    @pytest.mark.parametrize("limit", [None, MB])
    async def test_whole_ones(self, make_pair: Pairs, limit) -> None:
        """Those that have arrived already, short ones, empty ones."""
        client, server = make_pair(max_stream_size=limit)
        for message in ("one", b"two", "three"):
            await client.send(message)
        assert await server.receive() == "one"
        assert await take_stream(server) == [b"two"]
        assert await take_stream(server) == ["three"]
        for empty in ("", b""):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send, empty)
                assert await take_stream(server) == [empty]
                nursery.start_soon(client.send_stream, [empty, empty])
                assert await take_stream(server) == [empty]

    async def test_without_the_setting(self, make_pair: Pairs) -> None:
        client, server = make_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_stream, [bytes(300_000)] * 2)
            assert await take_stream(server) == [bytes(600_000)]

    async def test_is_not_held_whole(self, make_socket_pair: Pairs) -> None:
        client, server = make_socket_pair(
            inbox_bytes=50_000, max_message_size=1000, max_stream_size=5_000_000
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_stream, [bytes(100_000)] * 50)
            most = total = 0
            async with server.receive_stream() as message:
                async for piece in message:
                    total += len(piece)
                    await trio.testing.wait_all_tasks_blocked()
                    most = max(most, message.size)
                assert message.received == total == 5_000_000
            assert most <= 50_000 + 256 * 1024
        await client.send(bytes(1000))
        assert await server.receive() == bytes(1000)

    @agreements
    async def test_limit_of_a_stream(self, make_pair: Pairs, agreed) -> None:
        client, server = make_pair(
            agreed=agreed, compression=EAGER, max_message_size=1000, max_stream_size=150_000
        )
        await client.send_stream([bytes(150_000)])
        assert b"".join(await take_stream(server)) == bytes(150_000)

        async def send() -> None:
            with contextlib.suppress(ConnectionClosed):
                await client.send_stream([bytes(149_990), bytes(10), b"1"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            with pytest.raises(ConnectionClosed) as caught:
                await take_stream(server)
        assert caught.value.closure.sent.code == 1009

    @agreements
    @pytest.mark.parametrize("size", [1001, 100_000])
    async def test_limit_of_a_message(self, make_pair: Pairs, agreed, size) -> None:
        """Who takes messages whole is not given a larger one because of the setting."""
        client, server = make_pair(
            agreed=agreed, compression=EAGER, max_message_size=1000, max_stream_size=150_000
        )
        await client.send_stream([bytes(1000)])
        assert await server.receive() == bytes(1000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, bytes(size))
            with pytest.raises(ConnectionClosed) as caught:
                await server.receive()
            assert caught.value.closure.sent.code == 1009
            assert "at most 1000 are accepted" in str(caught.value)

    @pytest.mark.parametrize("how", ["taken", "left early", "closed"])
    async def test_bomb(self, make_pair: Pairs, how) -> None:
        """A read that inflates a thousandfold is held in small pieces only, and ends well."""
        client, server = make_pair(
            agreed=ALONE, compression=EAGER, max_stream_size=10**9, inbox_bytes=100_000
        )
        size = 100_000_000
        client.send_nowait(bytes(size))
        client.send_nowait("behind")
        total = most = 0
        async with server.receive_stream() as message:
            async for piece in message:
                total += len(piece)
                await trio.testing.wait_all_tasks_blocked()
                most = max(most, message.size)
                if how == "left early":
                    break
                if how == "closed" and total == len(piece):
                    server.close_nowait()
        assert most < 2_000_000
        if how != "left early":
            assert total == size
        if how == "closed":  # then the client need not send what is behind
            await server.wait_closed()
            assert server.close_code == 1000
        else:
            assert await server.receive() == "behind"

    async def test_messages_before_and_behind(self, make_pair: Pairs) -> None:
        """Whole messages and those that come in pieces keep their order."""
        client, server = make_pair(max_stream_size=MB, inbox_bytes=1000)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send_all() -> None:
                for number in range(5):
                    await client.send(f"before {number}")
                    await client.send_stream([str(number) * 30_000] * 10)
                    await client.send(f"behind {number}")

            await trio.testing.wait_all_tasks_blocked(0.01)
            for number in range(5):
                assert await server.receive() == f"before {number}"
                if number % 2:
                    assert await server.receive() == str(number) * 300_000
                else:
                    assert "".join(await take_stream(server)) == str(number) * 300_000
                assert await server.receive() == f"behind {number}"

    async def test_left_early(self, make_pair: Pairs) -> None:
        client, server = make_pair(inbox_bytes=1000, max_stream_size=10 * MB)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_stream, [bytes(10_000)] * 100)
            async with server.receive_stream() as message:
                assert isinstance(await anext(message), bytes)
            await client.send_stream(["next"])
            assert await take_stream(server) == ["next"]
        await client.send("whole")
        assert await server.receive() == "whole"

    @pytest.mark.parametrize("take", [take_stream, Connection.receive])
    async def test_cancelled(self, make_pair: Pairs, take) -> None:
        """Whoever waits for a message, or the rest of one, loses nothing."""
        client, server = make_pair(max_stream_size=MB)
        to_client, source = trio.open_memory_channel[str](0)
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(0.01) as scope:
                await take(server)
            assert scope.cancelled_caught
            nursery.start_soon(client.send_stream, source)
            await give(to_client, "one")
            if take is Connection.receive:
                with trio.move_on_after(0.01) as scope:
                    await take(server)
                assert scope.cancelled_caught
            await give(to_client, "two")
            await to_client.aclose()
            assert await server.receive() == "onetwo"

    async def test_several_receivers(self, make_pair: Pairs) -> None:
        client, server = make_pair(max_stream_size=MB)
        received: list[Any] = []
        to_client, source = trio.open_memory_channel[str](0)

        async def receive() -> None:
            received.append(await server.receive())

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(receive)
            nursery.start_soon(client.send_stream, source)
            await give(to_client, "one")
            for number in range(3):
                client.send_nowait(str(number))
            await give(to_client, "two")
            await to_client.aclose()
        assert sorted(received) == ["0", "1", "2", "onetwo"]

    async def test_two_streams(self, make_pair: Pairs) -> None:
        """One task may take the next message while another still takes the one before."""
        client, server = make_pair(max_stream_size=MB)
        await client.send_stream(["on", "e"])
        await client.send("two")
        async with server.receive_stream() as first, server.receive_stream() as second:
            assert [piece async for piece in second] == ["two"]
            assert "".join([str(piece) async for piece in first]) == "one"

    async def test_control_frames_pass(self, make_pair: Pairs) -> None:
        client, server = make_pair(max_stream_size=MB)
        to_client, source = trio.open_memory_channel[str](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_stream, source)
            await give(to_client, "one")
            async with server.receive_stream() as message:
                assert await anext(message) == "one"
                assert await client.ping() > 0
                assert await server.ping() > 0
                await to_client.aclose()

    async def test_no_message_comes(self, make_pair: Pairs) -> None:
        client, server = make_pair(max_stream_size=MB)
        await client.aclose(4000)
        with pytest.raises(ConnectionClosed, match="4000"):
            await take_stream(server)

    async def test_the_connection_ends_in_the_middle(self, make_pair: Pairs) -> None:
        client, server = make_pair(max_stream_size=MB)
        to_client, source = trio.open_memory_channel[str](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_stream, source)
            await give(to_client, "one")
            async with server.receive_stream() as message:
                assert await anext(message) == "one"
                await give(to_client, "two")
                client.abort()
                await server.wait_closed()
                assert await anext(message) == "two"  # what has come can be taken
                with pytest.raises(ConnectionClosed, match="no close frame came"):
                    await anext(message)
            nursery.cancel_scope.cancel()

    async def test_the_connection_ends_before_it_is_whole(self, make_pair: Pairs) -> None:
        client, server = make_pair(max_stream_size=MB)
        to_client, source = trio.open_memory_channel[str](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_stream, source)
            await give(to_client, "one")
            client.abort()
            with pytest.raises(ConnectionClosed, match="no close frame came"):
                await server.receive()
            nursery.cancel_scope.cancel()

    async def test_closing_while_it_comes(self, make_pair: Pairs, autojump_clock) -> None:
        client, server = make_pair(inbox_bytes=1000, max_stream_size=MB)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_stream, [bytes(10_000)] * 100)
            async with server.receive_stream() as message:
                server.close_nowait()
                total = 0
                async for piece in message:
                    total += len(piece)
                    await trio.sleep(0.01)
        assert total == 1_000_000
        await server.wait_closed()
        assert server.closure.normal

    async def test_closing_with_nobody_there(self, make_pair: Pairs, autojump_clock) -> None:
        """The peer's close frame is found behind a message that nobody takes, and that is told."""
        client, server = make_pair(inbox_bytes=1000, close_timeout=60, max_stream_size=MB)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_stream, [bytes(10_000)] * 100)
            async with server.receive_stream():
                await server.aclose()
        assert server.close_code == 1000
        assert server.closure.unreceived == 1

    async def test_not_with_on_message(self, make_pair: Pairs) -> None:
        received: list[Any] = []
        callbacks = Callbacks(on_message=lambda _, message: received.append(message))
        client, server = make_pair(server=callbacks, max_stream_size=MB)
        with pytest.raises(RuntimeError, match="on_message callback"):
            await take_stream(server)
        await client.send_stream([bytes(300_000)] * 2)
        await client.aclose()
        assert received == [bytes(600_000)]

    async def test_frames_are_told(self, make_pair: Pairs) -> None:
        frames: list[int] = []
        callbacks = Callbacks(on_frame=lambda _, frame: frames.append(len(frame.payload)))
        client, server = make_pair(server=callbacks, max_stream_size=MB)
        await client.send_stream(["one", "three"])
        assert "".join(map(str, await take_stream(server))) == "onethree"
        assert frames == [3, 5, 0]

    @pytest.mark.parametrize("limit", [0, -1, 1.5, math.inf])
    def test_limit_that_is_none(self, limit) -> None:
        with pytest.raises(ValueError, match="max_stream_size must be a whole number"):
            Settings(max_stream_size=limit)

    def test_limit_that_is_too_small(self) -> None:
        with pytest.raises(
            ValueError, match="max_stream_size 5 must not be under max_message_size"
        ):
            Settings(max_stream_size=5)

    @pytest.mark.parametrize("policy", list(Policy))
    async def test_whatever_the_policy(self, make_pair: Pairs, policy) -> None:
        client, server = make_pair(policy=policy, outbox_bytes=1000, max_stream_size=MB)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_stream, [bytes(500)] * 100)
            assert b"".join(await take_stream(server)) == bytes(50_000)

    async def test_rate_limit(self, make_pair: Pairs) -> None:
        """A message in pieces counts as one, and is never dropped in part."""
        limit = RateLimit(messages=1, burst=3, policy="drop")
        client, server = make_pair(rate_limit=limit, max_stream_size=MB)
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send_stream, [bytes(30_000)] * 5)
                assert b"".join(await take_stream(server)) == bytes(150_000)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["send", "stream"]),
            st.lists(st.text(max_size=300) | st.just("word " * 100), max_size=5),
            st.sampled_from(["whole", "pieces"]),
        ),
        max_size=12,
    ),
    st.sampled_from([None, TAKEOVER, ALONE]),
    st.sampled_from(["socket", "memory"]),
)
@settings(deadline=None, max_examples=60)
def test_any_mixture(steps, agreed, kind) -> None:
    """However messages are sent and received, they are the same, in the same order."""

    async def main() -> None:
        pairs = Pairs(kind)
        client, server = pairs(
            agreed=agreed, compression=EAGER, outbox_bytes=700, inbox_bytes=700, max_stream_size=MB
        )

        async def send_all() -> None:
            for how, parts, _ in steps:
                if how == "stream":
                    await client.send_stream(pieces(*parts))
                else:
                    await client.send("".join(parts))

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_all)
                for how, parts, taken in steps:
                    expected: Any = "".join(parts)
                    if how == "stream" and not parts:
                        expected = b""
                    if taken == "pieces":
                        empty = expected[:0]
                        assert empty.join(await take_stream(server)) == expected
                    else:
                        assert await server.receive() == expected
        await pairs.end()

    trio.run(main)
