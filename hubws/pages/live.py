"""A page that is fed over a WebSocket while somebody looks at it, and costs nothing otherwise."""

from __future__ import annotations

import json
import logging
import math
from abc import ABC, abstractmethod
from collections import deque
from typing import Any

import trio

from ..connection.connection import Connection
from ..connection.prepared import Prepared
from ..connection.queue import Policy
from ..protocol.frames import CloseCode
from ..protocol.http import Request, Response
from ..server.authentication import Authenticate
from ..server.server import Server
from .guard import Guard
from .site import Site

TICK = 1.0
"""Seconds between two messages of a feed."""

MAX_VIEWERS = 100
"""How many may look at a page at once."""

MAX_POINTS = 300
"""How many ticks those who come are shown of what was before."""

logger = logging.getLogger("hubws")


class LivePage(ABC):
    """A page under a path of a server; its feed is beside it, at `feed`.

    The first who looks has `feed` run, which ends with the last: it gathers figures, and every tick
    shows all viewers the same message, made once. A viewer who is too slow for that is closed with
    1013, and comes back.

    Args:
        name: of the page's files.
        path: where it is: a folder, such as "/dashboard/".
        nursery: where its task runs while somebody looks.
        authenticate: who may look, as for `hubws.serve`, but not async; None: everybody.

    Attributes:
        server: the one that serves it, once it does.
        points: figures of the last ticks, for a plot.

    """

    def __init__(
        self, name: str, path: str, nursery: trio.Nursery, authenticate: Authenticate | None
    ) -> None:
        self._site = Site(name, path)
        self._guard = Guard(authenticate, f"hubws-{name}", path)
        self._nursery = nursery
        self._viewers: dict[Connection, None] = {}
        self._scope: trio.CancelScope | None = None
        self.server: Server | None = None
        self.points: deque[dict[str, Any]] = deque(maxlen=MAX_POINTS)

    @property
    def path(self) -> str:
        """Where it is."""
        return self._site.path

    @property
    def feed_path(self) -> str:
        """Where its feed is."""
        return f"{self._site.path}feed"

    # -- for the server that has it ------------------------------------------------------------

    def answer(self, request: Request, *, is_secure: bool = False) -> Response | None:
        """The answer to a plain request; None when it is for something else."""
        response = self._site.answer(request)
        if response is None:
            return None
        return self._guard.show(request, response, is_secure=is_secure)

    def admit(self, request: Request) -> Any:
        """Judge the opening handshake of a viewer, as `authenticate` of `hubws.serve`."""
        return self._guard.admit(request)

    def watch(self, connection: Connection) -> None:  # noqa: B027 - not all have use for it
        """Take note of a connection of the server that is no viewer."""

    async def attend(self, connection: Connection) -> None:
        """Send a viewer what the page shows, until they go."""
        if len(self._viewers) >= MAX_VIEWERS:
            reason = f"{MAX_VIEWERS} people look at this page already"
            await connection.aclose(CloseCode.TRY_AGAIN_LATER, reason)
            return
        self._viewers[connection] = None
        try:
            if self._scope is None:
                self._scope = trio.CancelScope()
                self._nursery.start_soon(self._run, self._scope)
            await self.greet(connection)
            async for _ in connection:
                pass  # a viewer has nothing to say
        finally:
            del self._viewers[connection]
            if not self._viewers and self._scope is not None:
                self._scope.cancel()
                self._scope = None

    async def _run(self, scope: trio.CancelScope) -> None:
        """Feed until nobody looks; a mistake in here must not end what is looked at."""
        try:
            with scope:
                await self.feed()
        except Exception:
            logger.exception("the feed of %s failed", self.path)
            if self._scope is not scope:
                return  # nobody looked any more; who looks by now has another
            self._scope = None
            for viewer in list(self._viewers):
                viewer.close_nowait(CloseCode.INTERNAL_ERROR, "the feed failed")

    # -- for the kinds of pages ----------------------------------------------------------------

    @abstractmethod
    async def greet(self, connection: Connection) -> None:
        """Send somebody who begins to look what there is; first of all, without waiting, the points."""

    @abstractmethod
    async def feed(self) -> None:
        """Gather figures and show them every tick, until cancelled."""

    def show(self, fields: dict[str, Any]) -> None:
        """Send all viewers the same."""
        frame = Prepared(to_json(fields)).frame(Policy.DISCONNECT, None)
        for viewer in list(self._viewers):
            viewer.offer(frame)


def to_json(fields: dict[str, Any]) -> str:
    """A message for a page."""
    return json.dumps(fields, separators=(",", ":"), allow_nan=False)


def known(value: float | None) -> float | None:
    """A figure as JSON has it: None for NaN, and no more digits than mean something."""
    return None if value is None or math.isnan(value) else float(f"{value:.4g}")


def address_in_words(remote: Any) -> str:
    """An address for people, empty where there is none."""
    if isinstance(remote, tuple):
        host = f"[{remote[0]}]" if ":" in remote[0] else remote[0]
        return f"{host}:{remote[1]}"
    return "" if remote is None else str(remote)
