"""Numbered messages through faults, 20 MB of them: none lost, doubled or changed without a word."""

from __future__ import annotations

import functools
import logging
import random
from types import ModuleType

import attrs
import pytest
import trio
import trio.testing

import hubws
from hubws import Closure, Connection
from hubws.protocol.state import Close
from hubws.testing.plan import Kind
from tests.faults.conftest import Tls
from tests.faults.sequences import (
    CLOSED,
    TRANSPORTS,
    Direction,
    Session,
    Violation,
    _logged_errors,
    build_message,
    check_message,
    exchange,
)

SIZE = 1_700_000
"""For each of twelve combinations, in bytes."""


@pytest.fixture
def codecs(both_codecs: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Each twin of the codec, down to the connection's short cut."""
    monkeypatch.setattr("hubws.connection.engine.encode_message", both_codecs.encode_message)
    return both_codecs


@pytest.mark.parametrize("compression", [False, True], ids=["uncompressed", "deflate"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_nothing_is_lost_silently(
    transport: str, compression: bool, codecs: ModuleType, tls_contexts: Tls
) -> None:
    report = trio.run(
        functools.partial(
            exchange,
            transport,
            compression=compression,
            size=SIZE,
            seed=1,
            server_context=tls_contexts.server,
            client_context=tls_contexts.client,
            largest=300_000,
        ),
        clock=trio.testing.MockClock(autojump_threshold=0.001),
    )
    assert report.violations == []
    assert report.bytes >= SIZE
    assert 0 < report.clean < report.connections
    assert report.faults[Kind.RESET] + report.faults[Kind.END] + report.faults[Kind.STALL] > 0
    assert report.cancelled > 0


# -- that they would be found ---------------------------------------------------------------------


def test_message_that_is_not_the_one_due_is_found() -> None:
    chance = random.Random(1)
    for number in range(200):
        message = build_message(f"7/client#{number}", chance)
        assert isinstance(message, str | bytes)
        check_message(f"7/client#{number}", message)
        for other in (f"7/client#{number + 1}", f"7/server#{number}", f"8/client#{number}"):
            with pytest.raises(Violation, match="was due"):
                check_message(other, message)
        with pytest.raises(Violation, match="changed"):
            check_message(f"7/client#{number}", _lengthen(message))


def _lengthen(message: str | bytes) -> str | bytes:
    return message + "!" if isinstance(message, str) else message + b"!"


CLEAN = Closure(Close(CLOSED), Close(CLOSED))
ANSWERED = Closure(Close(1001), Close(1001))
BROKEN = Closure(error=OSError("broken"))
ENDED = Closure()


def left(undelivered: int, closure: Closure = BROKEN) -> Closure:
    return attrs.evolve(closure, undelivered=undelivered)


@pytest.mark.parametrize(
    ("transport", "accepted", "received", "told", "seen", "wrong"),
    [
        ("plain", 9, 9, CLEAN, CLEAN, ""),
        ("plain", 9, 10, CLEAN, CLEAN, "more was received"),
        ("plain", 9, 8, CLEAN, CLEAN, "clean for both"),
        ("plain", 9, 8, CLEAN, BROKEN, "closed in order"),
        ("plain", 9, 8, ANSWERED, BROKEN, ""),  # the answer was lost, too
        ("plain", 9, 5, left(4), CLEAN, ""),
        ("plain", 9, 5, left(4), attrs.evolve(CLEAN, unreceived=1), "although it was being taken"),
        ("plain", 9, 4, left(4), CLEAN, "not all before it"),
        ("plain", 9, 4, left(4), BROKEN, ""),
        ("plain", 9, 6, left(4), BROKEN, "said to be undelivered"),
        ("tls", 9, 6, left(4), BROKEN, ""),  # nobody knows what became of the last piece
        ("tls", 9, 4, left(4), CLEAN, "not all before it"),
        ("memory", 9, 5, left(4), ENDED, ""),
        ("memory", 9, 4, left(4), ENDED, "on the way into the stream"),
        ("memory", 9, 4, left(4), BROKEN, ""),
        ("plain", 0, 0, None, BROKEN, ""),
        ("plain", 0, 1, None, BROKEN, "more was received"),
    ],
)
def test_wrong_account_is_found(
    transport: str,
    accepted: int,
    received: int,
    told: Closure | None,
    seen: Closure,
    wrong: str,
) -> None:
    session = Session(
        7,
        closer="client",
        at_once=False,
        size=0,
        sent={
            "client": Direction("7/client", accepted=accepted, received=received),
            "server": Direction("7/server"),
        },
        closures={"server": seen} if told is None else {"client": told, "server": seen},
    )
    found = list(session.judge(transport))
    assert bool(found) == bool(wrong)
    assert wrong in "\n".join(found)


async def test_wrong_message_is_counted_though_its_connection_ends(autojump_clock) -> None:
    """A server takes what a handler raises for an accident; it must come out all the same."""
    session = Session.draw(7, random.Random(1), 1000)

    async def serve_one(connection: Connection) -> None:
        await session.take_part(connection, "server", random.Random(1))

    async with trio.open_nursery() as nursery:
        server = await nursery.start(hubws.serve, serve_one, "127.0.0.1", 0)
        async with hubws.connect(f"ws://127.0.0.1:{server.port}/") as connection:
            await connection.send(build_message("7/client#1", random.Random(1)))
            await connection.wait_closed()
        nursery.cancel_scope.cancel()
    assert session.wrong == ["the message 7/client#1 came when 7/client#0 was due"]
    assert session.wrong[0] in session.judge("plain")


def test_logged_error_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    violations: list[str] = []
    with _logged_errors(violations):
        logging.getLogger("hubws").warning("not this")
        logging.getLogger("hubws").error("but %s", "this")
    assert violations == ["logged: but this"]
    caplog.clear()
