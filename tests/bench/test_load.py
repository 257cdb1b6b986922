"""hubws/bench/load.py and flow.py: connections that send, receive and go, and what is measured."""

from __future__ import annotations

import pytest
import trio

import hubws
from hubws.bench import load as loads
from hubws.bench.messages import Fixed, Template
from hubws.bench.plan import Answers
from tests.bench.conftest import ECHO, Serve, load


async def test_messages_at_a_rate(serve: Serve):
    result = await load(await serve(ECHO), rate=100)
    counts, trends = result.total.counts, result.total.trends
    assert counts["ws_sessions"] == 3
    assert counts["ws_msgs_sent"] == counts["ws_msgs_received"] > 0
    due = counts["ws_msgs_sent"] + counts["ws_msgs_unsent"]  # one may just fall due at the end
    assert len(trends["ws_rtt"]) == due <= 3 * 21
    assert len(trends["ws_rtt_uncorrected"]) == counts["ws_msgs_sent"]
    assert len(trends["ws_connecting"]) == len(trends["ws_session_duration"]) == 3
    assert result.total.checks == {"connected": [3, 0]}
    assert not result.total.errors
    assert counts["data_sent"] > counts["data_received"] > 0
    assert result.active_maximum == 3


async def test_a_stalled_server_is_not_fast(serve: Serve):
    """What coordinated omission hides: the server stalls once, and few messages are sent meanwhile."""

    async def stall(connection: hubws.Connection) -> None:
        number = 0
        async for message in connection:
            number += 1
            if number == 10:
                await trio.sleep(0.3)
            await connection.send(message)

    url = await serve(stall)
    result = await load(url, connections=1, seconds=0.6, rate=100)
    trends = result.total.trends
    assert trends["ws_rtt"].maximum > 0.2
    assert trends["ws_rtt"].percentile(80) > 0.05  # half of the messages fell due meanwhile


async def test_what_is_never_answered_counts_with_the_time_it_has_waited(serve: Serve):
    async def swallow(connection: hubws.Connection) -> None:
        async for _ in connection:
            pass

    result = await load(await serve(swallow), connections=1, rate=50, patience=0.05)
    counts = result.total.counts
    assert counts["ws_msgs_unanswered"] == counts["ws_msgs_sent"] > 0
    assert len(result.total.trends["ws_rtt"]) == counts["ws_msgs_sent"] + counts["ws_msgs_unsent"]
    assert result.total.trends["ws_rtt"].maximum > 0.05


async def test_what_could_not_be_sent_counts_too(serve: Serve):
    async def deaf(connection: hubws.Connection) -> None:
        await trio.sleep_forever()

    url = await serve(deaf, inbox_messages=1, grace=0)
    message = Fixed("x" * 500_000)
    quickly = {"close_timeout": 0.1}
    result = await load(
        url, connections=1, connect=quickly, message=message, patience=0.0, rate=100
    )
    counts = result.total.counts
    assert counts["ws_msgs_unsent"] > 0
    assert counts["ws_msgs_unsent"] + counts["ws_msgs_sent"] <= 21
    assert len(result.total.trends["ws_rtt"]) >= counts["ws_msgs_unsent"]


async def test_receiving_only(serve: Serve):
    async def push(connection: hubws.Connection) -> None:
        for _ in range(1000):
            await connection.send("yo")
        await connection.wait_closed()

    result = await load(await serve(push))
    assert result.total.counts["ws_msgs_received"] == 3000
    assert result.total.counts["ws_msgs_sent"] == 0
    assert "ws_rtt" not in result.total.trends


async def test_how_long_a_broadcast_takes_to_all(serve: Serve):
    async with hubws.open_hub() as hub:

        async def relay(connection: hubws.Connection) -> None:
            async with hub.member(connection):
                async for message in connection:
                    hub.broadcast(f'{{"said": "{message!s}"}}')

        result = await load(
            await serve(relay),
            rate=50,
            senders=1,
            answers=Answers.BROADCAST,
            message=Template("{stamp} {random:5}"),
        )
    counts = result.total.counts
    assert counts["ws_msgs_sent"] > 0
    assert len(result.total.trends["ws_delivery"]) == counts["ws_msgs_received"]
    assert counts["ws_msgs_received"] > counts["ws_msgs_sent"]
    assert result.main_trend == "ws_delivery"
    assert 0 < result.total.trends["ws_delivery"].percentile(50) < 10


async def test_a_lost_connection_is_an_error_and_its_place_is_filled_again(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loads, "AGAIN", 0.05)
    number = 0

    async def leave(connection: hubws.Connection) -> None:
        nonlocal number
        number += 1
        if number == 1:
            connection.abort()
        async for message in connection:
            await connection.send(message)

    result = await load(await serve(leave), connections=1, seconds=0.3, rate=10)
    assert result.total.counts["ws_sessions"] == 2
    assert sum(result.total.errors.values()) == 1
    assert result.total.checks == {"connected": [2, 0]}


async def test_nobody_there():
    result = await load("ws://127.0.0.1:1/", rate=1)
    assert result.total.checks == {"connected": [0, 3]}
    assert dict(result.total.errors) == {
        "all attempts to connect to 127.0.0.1:1 failed: Connection refused": 3
    }
    assert not result.total.counts["ws_sessions"]
