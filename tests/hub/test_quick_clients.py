"""Clients that have gone again before their handler began: what they said is heard all the same."""

from __future__ import annotations

from typing import Any

import pytest

import hubws
from hubws.testing import open_pair


async def gone(client: hubws.Connection, connection: hubws.Connection) -> None:
    """Say something, and go."""
    await client.send("what I have to say")
    await client.aclose()
    await connection.wait_closed()


async def test_what_they_sent_is_received_in_the_block(autojump_clock: Any) -> None:
    async with hubws.open_hub() as hub, open_pair() as (client, connection):
        await gone(client, connection)
        async with hub.member(connection, "lobby"):
            assert [message async for message in connection] == ["what I have to say"]
            assert not hub.connections
            assert not hub.members("lobby")
        with pytest.raises(hubws.ConnectionClosed):
            hub.register(connection)
        assert not hub.connections


async def test_they_get_no_further_than_others(autojump_clock: Any) -> None:
    def nobody(_connection: hubws.Connection, _topic: str) -> bool:
        return False

    async with hubws.open_hub(may_join=nobody) as hub, open_pair() as (client, connection):
        await gone(client, connection)
        with pytest.raises(hubws.NotAllowed):
            async with hub.member(connection, "lobby"):
                pytest.fail("it was let in")


async def test_joining_then_says_that_they_have_gone(autojump_clock: Any) -> None:
    async with hubws.open_hub() as hub, open_pair() as (client, connection):
        hub.configure("news", history=hubws.Retention(messages=1))
        await gone(client, connection)
        async with hub.member(connection):
            with pytest.raises(hubws.ConnectionClosed):
                hub.join(connection, "lobby")
            with pytest.raises(hubws.ConnectionClosed):
                hub.publish(connection, "hello", "lobby")
            with pytest.raises(hubws.ConnectionClosed):
                await hub.recover(connection, "news", hub.position("news"))
        async with open_pair() as (_, stranger):
            with pytest.raises(ValueError, match="is no member of this hub"):
                hub.join(stranger, "lobby")
