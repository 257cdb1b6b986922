"""The scenario of the hub tutorial's load test: SET_NAME, SAY every 1 to 3 s, LEAVE, close."""

from __future__ import annotations

import json
import string

import trio

from hubws.bench.scenario import Session, User

SESSION = 10.0
"""Seconds until a user says that it leaves."""

CLOSES_AFTER = 3.0
"""Seconds from then until it closes."""

MINIMUM_ITERATION = 15.0
"""Seconds until the same user comes again."""


async def scenario(user: User) -> None:
    """Be one user, from coming in to closing."""
    async with user.connect() as session, trio.open_nursery() as nursery:
        nursery.start_soon(listen, session)
        await say(session, event="SET_NAME", new_name=f"Croc {user.number}")
        nursery.start_soon(speak, user, session)
        await trio.sleep(SESSION)
        await say(session, event="LEAVE")
        await trio.sleep(CLOSES_AFTER)
        nursery.cancel_scope.cancel()


async def speak(user: User, session: Session) -> None:
    """Say something again and again, after LEAVE, too, as the document's script does."""
    interval = user.random.randint(1000, 3000) / 1000
    while True:
        await trio.sleep(interval)
        words = "".join(user.random.choices(string.ascii_letters, k=5))
        await say(session, event="SAY", message=f"I'm saying {words}")


async def say(session: Session, **event: str) -> None:
    """Send an event."""
    await session.send(json.dumps(event))


async def listen(session: Session) -> None:
    """Receive what the server says, until the connection is closed."""
    async for _ in session:
        pass
