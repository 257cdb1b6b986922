"""hubws/embedding/owning.py: the block is over, and so is the connection, whatever ended it."""

from __future__ import annotations

import pytest
import trio

import hubws
from hubws.embedding.owning import owned
from hubws.testing import open_pair


async def test_in_order():
    async with open_pair() as (client, server):
        async with owned(server):
            await client.send("hello")
            assert await server.receive() == "hello"
            client.close_nowait(4000, "")
            await client.wait_closed()
        assert server.close_code == 4000


async def test_with_1000_when_the_block_ends():
    async with open_pair() as (client, server):
        async with owned(server):
            pass
        await client.wait_closed()
        assert client.close_code == 1000


async def test_with_1011_when_it_raises():
    async with open_pair() as (client, server):
        with pytest.raises(ZeroDivisionError):
            async with owned(server):
                raise ZeroDivisionError
        await client.wait_closed()
        assert client.close_code == 1011


@pytest.mark.parametrize("in_nursery", [False, True])
async def test_that_the_peer_went_is_no_error(in_nursery: bool):
    async with open_pair() as (client, server):
        client.abort()
        async with owned(server):
            if in_nursery:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(server.receive)
                    nursery.start_soon(server.receive)
            await server.receive()
        assert server.close_code == 1006


async def test_but_what_comes_with_it_is():
    async def fail() -> None:
        raise ZeroDivisionError

    async with open_pair() as (client, server):
        client.abort()
        await server.wait_closed()
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - a nursery needs a block
            async with owned(server), trio.open_nursery() as nursery:
                nursery.start_soon(server.receive)
                nursery.start_soon(fail)
        assert caught.value.subgroup(ZeroDivisionError) is not None


async def test_at_once_when_cancelled():
    async with open_pair() as (client, server):
        with trio.CancelScope() as scope:
            async with owned(server):
                scope.cancel()
                await trio.sleep_forever()
        assert server.closure is not None
        with pytest.raises(hubws.ConnectionClosed):
            await client.receive()
        assert client.close_code == 1006


async def test_at_once_when_cancelled_after_it_raised():
    async with open_pair() as (client, server):
        client._transport.pause()  # it does not answer the close frame
        with trio.CancelScope() as scope:
            async with owned(server):
                scope.cancel()
                raise ZeroDivisionError
        assert scope.cancelled_caught
        assert server.state is hubws.State.CLOSED
