"""Compressed connections: what is dropped, cancelled or overtaken does no harm to what follows."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
import trio.testing

from hubws import (
    Connection,
    ConnectionClosed,
    Deflate,
    DeflateParameters,
    LocalProtocolError,
    Policy,
    open_hub,
)
from tests.connection.pairs import Pairs

TAKEOVER = DeflateParameters()
ALONE = DeflateParameters(server_no_context_takeover=True, client_no_context_takeover=True)
EAGER = Deflate(min_size=0)

agreements = pytest.mark.parametrize("agreed", [TAKEOVER, ALONE], ids=["takeover", "alone"])


def make_messages(count: int, size: int = 400) -> list[str | bytes]:
    """Messages, numbered, half words and half noise, which have much in common with each other."""
    source = random.Random(count)
    words = [source.randbytes(6).hex() for _ in range(20)]
    messages: list[str | bytes] = []
    for number in range(count):
        text = f"{number} " + " ".join(source.choices(words, k=size // 26))
        messages.append(text + source.randbytes(size // 20).hex())
        messages.append(f"{number} ".encode() + source.randbytes(source.randrange(30)))
    return messages


async def take(connection: Connection, count: int) -> list[str | bytes]:
    with trio.fail_after(20):
        return [await connection.receive() for _ in range(count)]


@agreements
class TestMessages:
    async def test_both_ways(self, make_pair: Pairs, agreed: DeflateParameters) -> None:
        client, server = make_pair(compression=EAGER, agreed=agreed)
        messages = make_messages(200)
        assert (client.compression, server.compression) == (agreed, agreed)
        for sender, receiver in [(client, server), (server, client)]:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_all, sender, messages)
                assert await take(receiver, len(messages)) == messages
        for statistics in (client.statistics(), server.statistics()):
            assert statistics.bytes_sent < sum(map(len, messages)) * (
                0.7 if agreed is TAKEOVER else 0.9
            )

    async def test_one_side_need_not(self, make_pair: Pairs, agreed: DeflateParameters) -> None:
        client, server = make_pair(compression=Deflate(compress=False), agreed=agreed)
        for sender, receiver in [(client, server), (server, client)]:
            await sender.send("word " * 100)
            assert await take(receiver, 1) == ["word " * 100]
            assert sender.statistics().bytes_sent > 500

    async def test_what_is_no_message(self, make_pair: Pairs, agreed: DeflateParameters) -> None:
        client, server = make_pair(compression=EAGER, agreed=agreed)
        with pytest.raises(LocalProtocolError, match=r"lone surrogate U\+D800 at index 1"):
            client.send_nowait("a\ud800")
        with pytest.raises(LocalProtocolError, match=r"lone surrogate U\+D800 at index 1"):
            await client.send("a\ud800")
        with pytest.raises(TypeError, match="a message is str or bytes-like, not 5"):
            client.send_nowait(5)  # type: ignore[arg-type]
        await client.send("word " * 100)
        assert await take(server, 1) == ["word " * 100]

    async def test_bounds(self, make_pair: Pairs, agreed: DeflateParameters) -> None:
        """A message larger than the outbox is taken alone; then it is full."""
        client, server = make_pair(
            compression=EAGER, agreed=agreed, outbox_bytes=1000, outbox_messages=3, start_server=False
        )  # fmt: skip
        noise = random.Random(1).randbytes(100_000)
        client.send_nowait(noise)
        with pytest.raises(trio.WouldBlock):
            client.send_nowait(noise)
        server.begin()
        assert await take(server, 1) == [noise]
        await trio.testing.wait_all_tasks_blocked()
        client.send_nowait("word " * 100)
        assert await take(server, 1) == ["word " * 100]

    async def test_cancelled_in_line(self, make_pair: Pairs, agreed: DeflateParameters) -> None:
        """A message that is cancelled, or overtaken, while it waits is not in anybody's window."""
        client, server = make_pair(
            compression=EAGER, agreed=agreed, outbox_bytes=1500, start_server=False
        )
        messages = make_messages(60, size=1000)
        sent: list[str | bytes] = []

        async def send(message: str | bytes, scope: trio.CancelScope) -> None:
            with scope:
                await client.send(message)
                sent.append(message)

        async with trio.open_nursery() as nursery:
            scopes = []
            for message in messages:
                scopes.append(trio.CancelScope())
                nursery.start_soon(send, message, scopes[-1])
            await trio.testing.wait_all_tasks_blocked()
            for scope in scopes[::3]:
                scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            server.begin()
            received = []
            with trio.move_on_after(20):
                async for message in server:
                    received.append(message)
                    if len(received) == len(messages) - len(scopes[::3]) + (len(sent) == 0):
                        break
                    if len(received) % 5 == 0:
                        try:
                            client.send_nowait(b"overtaking")
                        except trio.WouldBlock:
                            continue
                        sent.append(b"overtaking")
                    if len(received) >= len(sent) and not client.outbox.has_waiting:
                        break
        while len(received) < len(sent):
            received += await take(server, 1)
        assert sorted(map(repr, received)) == sorted(map(repr, sent))
        assert len(sent) >= len(messages) - len(scopes[::3])


@agreements
@pytest.mark.parametrize("policy", [p for p in Policy if p is not Policy.BLOCK])
@pytest.mark.parametrize("kind", ["socket", "lockstep"])  # a memory pipe never blocks
async def test_policies(kind: str, agreed: DeflateParameters, policy: Policy) -> None:
    """Whatever a policy drops, what arrives is right and in its order."""
    make_pair = Pairs(kind)
    client, server = make_pair(
        compression=EAGER, agreed=agreed, policy=policy, outbox_messages=4, start_server=False
    )
    messages = make_messages(300)
    for sent, message in enumerate(messages):
        try:
            client.send_nowait(message)
        except ConnectionClosed:
            break
        if sent % 3 == 0:
            await trio.testing.wait_all_tasks_blocked()
    server.begin()
    received: list[Any] = []
    with trio.fail_after(20):
        while True:
            await trio.testing.wait_all_tasks_blocked()
            if server.statistics().inbox_messages == 0:
                break
            received.append(await server.receive())
    assert received
    positions = [messages.index(message) for message in received]
    assert positions == sorted(set(positions))
    if policy is Policy.DISCONNECT:
        assert server.closure is not None
        assert server.closure.code == 1013
    else:
        dropped = client.statistics().dropped + client.statistics().conflated
        assert dropped > 0
        assert len(received) + dropped == len(messages)
    await make_pair.end()


@agreements
async def test_broadcasts_between(make_pair: Pairs, agreed: DeflateParameters) -> None:
    """What a hub sends to many, and may drop, goes between messages that refer to each other."""
    client, server = make_pair(compression=EAGER, agreed=agreed, outbox_messages=30)
    expected: list[str | bytes] = []
    async with open_hub(policy="drop_newest") as hub:
        hub.register(server)
        hub.register(client)
        for message in make_messages(20):
            await server.send(message)
            expected += [message, "to all"]
            assert hub.broadcast("to all").sent == 2
            assert await take(client, 2) == [message, "to all"]
            await client.send(message)
            assert await take(server, 2) == ["to all", message]


async def send_all(connection: Connection, messages: list[str | bytes]) -> None:
    for message in messages:
        await connection.send(message)
