"""One attempt to use Redis: two connections, one that asks and one that listens."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import trio

from ..hub.backplane import PAGE, Stored
from ..hub.history import Position
from ..hub.topics import WILDCARD
from .scripts import READ, SHARE

try:
    from anyio import CapacityLimiter
    from coredis.connection import BaseConnection
    from coredis.pool import ConnectionPool
except ImportError as error:
    raise ImportError("Redis needs coredis: pip install 'hubws[redis]'") from error

if TYPE_CHECKING:
    from .redis import RedisLink

SUBSCRIBE_AT_ONCE = 500
"""The most channels that one command names."""

GLOB = re.compile(r"([\\*?\[\]^-])")


class SessionLost(Exception):
    """The connections to Redis are of no use any more."""


def reason_of(error: BaseException) -> str:
    """What went wrong first, in words."""
    while isinstance(error, BaseExceptionGroup):
        error = (error.subgroup(SessionLost) or error).exceptions[0]  # others may follow from it
    if isinstance(error, trio.TooSlowError):
        return "Redis did not answer in time"
    cause = error.__cause__
    text = str(error) or type(error).__name__
    return text if cause is None else f"{text}: {reason_of(cause)}"


class Session:
    """Connections of one attempt, made anew each time: a client that was cut off is not trusted again.

    Args:
        link: whose it is; it gets what comes.

    """

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._prefix = link.settings.prefix
        self._asking: BaseConnection
        self._listening: BaseConnection
        self._lost = trio.Event()
        self._why = ""
        self._run = ""
        self._scripts: dict[str, bytes] = {}
        self._unconfirmed: set[bytes] = set()
        self._confirmed = trio.Event()
        self._wires: dict[bytes, str] = {}  # channels as Redis names them, and as hubs do
        # coredis queues what comes without bound; it does not read on while this is taken.
        self._may_read = CapacityLimiter(1)

    @property
    def is_given_up(self) -> bool:
        """Whether it is about to end."""
        return self._lost.is_set()

    def give_up(self, why: str) -> None:
        """End it."""
        self._why = self._why or why
        self._lost.set()

    async def open(self, nursery: trio.Nursery) -> None:
        """Connect, and subscribe to all that the link follows."""
        pool = ConnectionPool.from_url(self._link.settings.url)
        arguments: dict[str, Any] = dict(pool.connection_kwargs)
        location: Any = pool.location
        # A connection of coredis that can't connect leaves streams unclosed, with a warning for each.
        if not await location.check():
            raise SessionLost(f"nobody answers at {location}")
        self._asking = pool.connection_class(location, **arguments)
        await nursery.start(self._run_connection, self._asking)
        arguments["processing_budget"] = self._may_read
        self._listening = pool.connection_class(location, **arguments)
        await nursery.start(self._run_connection, self._listening)
        nursery.start_soon(self._wait_until_given_up)
        nursery.start_soon(self._listen)
        if not self._link.settings.durable:
            information = await self._ask(b"INFO", b"server")
            self._run = re.findall(rb"run_id:(\w+)", information)[0].decode()
        for script in (SHARE, READ):
            self._scripts[script] = await self._ask(b"SCRIPT LOAD", script)
        # Until this returns the link does not say what else it follows, or no more.
        while missing := self._link.followed.keys() - set(self._wires.values()):
            self._confirmed = trio.Event()
            self.subscribe(missing)
            await self._confirmed.wait()
        for channel in set(self._wires.values()) - self._link.followed.keys():
            self.unsubscribe(channel)

    async def _run_connection(
        self, connection: BaseConnection, task_status: trio.TaskStatus[None]
    ) -> None:
        await connection.run(task_status=task_status)
        raise SessionLost("Redis closed the connection")

    async def _wait_until_given_up(self) -> None:
        await self._lost.wait()
        raise SessionLost(self._why)

    async def _ask(self, command: bytes, *arguments: str | bytes | int) -> Any:
        return await self._asking.create_request(command, *arguments, decode=False)

    async def _call(self, script: str, *arguments: str | bytes | int) -> Any:
        return await self._ask(b"EVALSHA", self._scripts[script], 0, self._prefix, *arguments)

    # -- asking --------------------------------------------------------------------------------

    async def share(self, first: int, messages: Iterable[str | bytes | int]) -> None:
        """Have messages numbered and published that were not yet; `first` is the first one's number."""
        link = self._link
        life = link.settings.history_life
        await self._call(SHARE, link.name, first, self._run, _fresh(), life, *messages)

    async def read(
        self, channel: str, after: Position | None, bounds: Sequence[str | bytes | int]
    ) -> Stored:
        """What is kept of a channel's history."""
        place = ["", ""] if after is None else [after.epoch, after.offset]
        life = self._link.settings.history_life
        asked = (channel, self._run, _fresh(), life, *bounds, *place, PAGE)
        answer = await self._call(READ, *asked)
        epoch, newest, oldest, *entries = answer
        epoch = epoch.decode()
        messages = [
            (Position(epoch, int(entry.partition(b"-")[0])), body)
            for entry, body in zip(entries[::2], entries[1::2], strict=True)
        ]
        return Stored(Position(epoch, int(newest)), Position(epoch, int(oldest)), messages)

    # -- listening -----------------------------------------------------------------------------

    def subscribe(self, channels: Collection[str]) -> None:
        """Ask for what is sent to channels; the link is told of each that is confirmed."""
        commands: dict[bytes, list[bytes]] = {b"SUBSCRIBE": [], b"PSUBSCRIBE": []}
        for channel in channels:
            command, wire = self._wire(channel)
            self._wires[wire] = channel
            self._unconfirmed.add(wire)
            commands[command].append(wire)
        for command, wires in commands.items():
            for start in range(0, len(wires), SUBSCRIBE_AT_ONCE):
                self._tell(command, *wires[start : start + SUBSCRIBE_AT_ONCE])

    def unsubscribe(self, channel: str) -> None:
        """Ask for it no more."""
        command, wire = self._wire(channel)
        self._unconfirmed.discard(wire)
        self._tell(command.replace(b"SUB", b"UNSUB"), wire)

    def _tell(self, command: bytes, *arguments: bytes) -> None:
        try:
            self._listening.send_command(command, *arguments)
        except Exception as error:  # noqa: BLE001 - coredis says so when it is not connected any more
            self.give_up(reason_of(error))

    def _wire(self, channel: str) -> tuple[bytes, bytes]:
        """The command that subscribes to a channel, and its name there."""
        name = f"{self._prefix}:{channel}"
        if not channel.endswith(WILDCARD):
            return b"SUBSCRIBE", name.encode()
        return b"PSUBSCRIBE", GLOB.sub(r"\\\1", name[:-1]).encode() + b"*"

    async def _listen(self) -> None:
        holds = False
        messages: Any = self._listening.push_messages
        async with aclosing(messages):
            async for kind, *rest in messages:
                if not holds and self._may_read.available_tokens:
                    self._may_read.acquire_on_behalf_of_nowait(self)
                    holds = True
                self._take(kind, rest)
                if holds and self._listening.reusable:  # nothing waits in its queue
                    self._may_read.release_on_behalf_of(self)
                    holds = False

    def _take(self, kind: bytes, rest: list[Any]) -> None:
        if kind in {b"message", b"pmessage"}:
            wire, data = rest[-2:]
            self._link.take(wire.decode()[len(self._prefix) + 1 :], data)
        elif kind in {b"subscribe", b"psubscribe"}:
            wire = rest[0]
            self._unconfirmed.discard(wire)
            if not self._unconfirmed:
                self._confirmed.set()
            if wire in self._wires:
                self._link.confirmed(self._wires[wire])
        elif self._wires.get(rest[0]) not in self._link.followed:
            self._wires.pop(rest[0], None)


def _fresh() -> str:
    """An epoch, for histories that begin now."""
    return secrets.token_urlsafe(8)
