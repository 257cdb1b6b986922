"""Scenarios: Python files that say what a user does, again and again.

A scenario is an async function of that name that takes a `User`:

    async def scenario(user):
        async with user.connect() as session:
            await session.send("hello")
            user.check("echoed", await session.receive() == "hello")

`MINIMUM_ITERATION`, if the file has it, is how many seconds pass at least until the same user begins
anew.
"""

from __future__ import annotations

import contextlib
import inspect
import random
import runpy
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import attrs

from ..client.connect import connect
from ..connection.connection import Connection
from ..protocol.frames import Payload
from .recording import Counted, Recording

Scenario = Callable[["User"], Awaitable[object]]


@attrs.frozen
class Script:
    """What a scenario's file says."""

    scenario: Scenario
    minimum_iteration: float = 0.0

    @classmethod
    def load(cls, path: Path) -> Script:
        """Run a file for what it defines. ValueError when that is no scenario, OSError without file."""
        try:
            names = runpy.run_path(str(path))
        except OSError:
            raise
        except Exception as error:  # a mistake in the file
            raise ValueError(f"{path} fails: {type(error).__name__}: {error}") from error
        scenario = names.get("scenario")
        if not inspect.iscoroutinefunction(scenario):
            raise ValueError(f"{path} has no `async def scenario(user)`")
        return cls(scenario, float(names.get("MINIMUM_ITERATION", 0)))


class Session(Counted):
    """A connection of a scenario; what goes over it is counted.

    Iterate over it for the messages, as over a `Connection`.

    Attributes:
        connection: for all else that can be done with it.

    """

    __slots__ = ()

    connection: Connection

    async def send(self, message: str | Payload) -> None:
        """Send a message; as `Connection.send`."""
        await self.connection.send(message)
        self.sent += 1

    async def receive(self) -> str | bytes:
        """Wait for a message; as `Connection.receive`."""
        message = await self.connection.receive()
        self.received += 1
        return message

    def __aiter__(self) -> Session:
        return self

    async def __anext__(self) -> str | bytes:
        message = await self.connection.__anext__()
        self.received += 1
        return message

    async def aclose(self) -> None:
        """Close in order."""
        await self.connection.aclose()


class User:
    """One of the users of a scenario, in one iteration of it.

    Attributes:
        number: of the user, from 0.
        url: of the server.
        random: random numbers of its own, the same in each run.

    """

    def __init__(
        self,
        number: int,
        url: str,
        source: random.Random,
        recording: Recording,
        arguments: dict[str, Any],
        sessions: set[Counted],
    ) -> None:
        self.number = number
        self.url = url
        self.random = source
        self._recording = recording
        self._arguments = arguments
        self._sessions = sessions

    @contextlib.asynccontextmanager
    async def connect(self, path: str = "", **arguments: Any) -> AsyncIterator[Session]:
        """Connect for as long as the block runs; closes in order at its end.

        Args:
            path: on the server, if not the URL's own.
            **arguments: of `hubws.connect`, in place of those of the command line.

        Raises as `hubws.connect`; the check "connected" counts how often it does.

        """
        began = time.monotonic_ns()
        session: Session | None = None
        try:
            async with connect(
                at_path(self.url, path), **self._arguments | arguments
            ) as connection:
                self._recording.add_since("ws_connecting", began)
                self._recording.metrics.check("connected", True)
                session = Session(self._recording, connection)
                self._sessions.add(session)
                yield session
        except Exception:
            if session is None:
                self._recording.metrics.check("connected", False)
            raise
        finally:
            if session is not None:
                self._sessions.discard(session)
                session.report()
                self._recording.count([("ws_sessions", 1)])
                self._recording.add_since("ws_session_duration", began)

    def check(self, name: str, passed: object) -> bool:
        """Count something that should be so; returns whether it is."""
        self._recording.metrics.check(name, bool(passed))
        return bool(passed)

    def measure(self, name: str, seconds: float) -> None:
        """Count a time under a name of your own; it comes into the table."""
        self._recording.metrics.trend(name).add(round(seconds * 1e6))


def at_path(url: str, path: str) -> str:
    """Another path on the same server."""
    if not path:
        return url
    scheme, _, rest = url.partition("://")
    return scheme + urljoin(f"http://{rest}", path).removeprefix("http")
