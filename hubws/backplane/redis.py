"""Hubs linked by Redis or Valkey: `pip install 'hubws[redis]'`."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import random
import re
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Self

import attrs
import trio

from ..client.backoff import Backoff
from ..hub.backplane import BackplaneAway, Receiver, Stored
from ..hub.history import Position, Retention
from .session import Session, SessionLost, reason_of

logger = logging.getLogger("hubws")

BATCH_MESSAGES = 256
BATCH_BYTES = 1024 * 1024
HEAD = re.compile(rb"([\w-]+) (\d+) ([\w-]+) (\d+)")
"""Of a message, as the script makes it: hub, number, epoch, offset."""

BEAT = "beat"
BYE = "bye"


def _positive(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{attribute.name} must be over 0 and finite, not {value!r}")


def _url(_: object, __: object, value: Any) -> None:
    if not isinstance(value, str) or not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError(f"a URL is redis://, rediss:// or unix://, not {value!r}")


@attrs.frozen
class RedisBackplane:
    """Links hubs that use the same server and the same prefix; for `open_hub(backplane=...)`.

    Hubs of one prefix must be configured alike: their topics' histories and presence, and these times.
    """

    url: str = attrs.field(default="redis://127.0.0.1:6379/0", validator=_url)
    """`redis://[user:password@]host:port/database`, `rediss://` for TLS, or `unix:///path?db=0`."""
    prefix: str = attrs.field(default="hubws", kw_only=True)
    """What all keys and channels begin with."""
    durable: bool = attrs.field(default=False, kw_only=True)
    """Whether the server keeps all that it has acknowledged when it dies (`appendfsync always`).

    If not, histories begin anew whenever it was started anew: no position means two messages.
    """
    heartbeat: float = attrs.field(default=1.0, kw_only=True, validator=_positive)
    """Seconds between the messages that each hub sends to itself and all others through the server."""
    timeout: float = attrs.field(default=3.0, kw_only=True, validator=_positive)
    """Seconds without its own heartbeat after which a hub takes the server for away.

    Also without another's, after which it takes that hub for gone; and for connecting and reading. Over
    `heartbeat`.
    """
    backoff: Backoff = attrs.field(factory=lambda: Backoff(maximum=2.0), kw_only=True)
    """When to connect again."""
    max_messages: int = attrs.field(default=10_000, kw_only=True, validator=_positive)
    """How many messages may wait to be sent; beyond that the server counts as away."""
    max_bytes: int = attrs.field(default=16 * 1024 * 1024, kw_only=True, validator=_positive)
    """How many bytes of them."""
    history_life: int = attrs.field(default=7 * 24 * 3600, kw_only=True, validator=_positive)
    """Seconds after its last message that the server keeps a history at all."""

    def __attrs_post_init__(self) -> None:
        if self.timeout <= self.heartbeat:
            raise ValueError(
                f"timeout must be over heartbeat, {self.heartbeat!r} s, not {self.timeout!r}"
            )

    def link(self, receiver: Receiver) -> RedisLink:
        """One more hub's end (see `hubws.hub.backplane.Backplane`)."""
        return RedisLink(self, receiver)


class _Waiting(NamedTuple):
    channel: str
    body: bytes
    retention: Retention | None

    def arguments(self) -> list[str | bytes | int]:
        kept = self.retention
        bounds = ["", "", ""] if kept is None else bounds_of(kept)
        return [self.channel, self.body, *bounds]


def bounds_of(retention: Retention) -> list[str | bytes | int]:
    """As the scripts take them."""
    seconds = "" if retention.seconds == math.inf else f"{retention.seconds:.6f}"
    return [retention.messages, retention.bytes, seconds]


class RedisLink:
    """A hub's end: what waits to be sent, what is followed, and one attempt to connect after another.

    What waits is numbered by the hub, and sent again until it is acknowledged; the server passes over
    what it has carried out already.
    """

    def __init__(self, settings: RedisBackplane, receiver: Receiver) -> None:
        self.name = secrets.token_urlsafe(8)
        self.settings = settings
        self.lag = math.nan
        self.followed: dict[str, None] = {BEAT: None, BYE: None}
        self._receiver = receiver
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._next_number = 1  # of the first that waits
        self._changed = trio.lowlevel.ParkingLot()
        self._session: Session | None = None
        self._is_linked: bool | None = None  # None: not known yet
        self._last_numbers: dict[str, int] = {}
        self._heard: dict[str, float] = {}
        self._open: AbstractAsyncContextManager[None] | None = None
        self._has_ended = False

    # -- beginning and end ---------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._open = self._run()
        await self._open.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> bool | None:
        assert self._open is not None
        return await self._open.__aexit__(*error)  # type: ignore[arg-type]

    @contextlib.asynccontextmanager
    async def _run(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            scope: trio.CancelScope = await nursery.start(self._connect_forever)
            try:
                yield
            finally:
                with trio.CancelScope(shield=True):
                    await self._finish()
                scope.cancel()
                self._has_ended = True
                self._changed.unpark_all()

    async def _finish(self) -> None:
        """Send what waits, if that is possible soon, and say that this hub ends."""
        if self._is_linked:
            self.send(BYE, b"")
            with trio.move_on_after(self.settings.timeout):
                await self.flush()
        if lost := sum(one.channel not in {BEAT, BYE} for one in self._waiting):
            logger.warning("hub %s ends with %d messages that Redis did not take", self.name, lost)

    async def _connect_forever(self, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        """Connect, and again when that is lost; started when the first attempt went well, or did not.

        Shielded from then on, for what waits is still sent after whatever cancels the hub.
        """
        backoff = self.settings.backoff
        with trio.CancelScope() as scope:

            def started() -> None:
                # Once cancelled, it would be shielded for ever and handed over to nobody.
                if not scope.shield and trio.current_effective_deadline() > -math.inf:
                    scope.shield = True
                    task_status.started(scope)

            retry = 0
            while True:
                began = trio.current_time()
                why = await self._connect(started)
                await trio.lowlevel.checkpoint_if_cancelled()  # coredis may have swallowed it
                started()
                lasted = trio.current_time() - began
                retry = 1 if lasted > backoff.stable_after else retry + 1
                logger.info("hub %s connects to Redis again, for %s", self.name, why)
                await trio.sleep(backoff.delay(retry, random.random()))  # noqa: S311 - no secret

    async def _connect(self, on_linked: Callable[[], None]) -> str:
        """One attempt with connections of its own, and all that comes of it; returns why it ended."""
        session = Session(self)
        why = "it was cancelled"
        try:
            async with trio.open_nursery() as nursery:
                with trio.fail_after(self.settings.timeout):
                    await session.open(nursery)
                self._session = session
                nursery.start_soon(self._write_forever, session)
                nursery.start_soon(self._beat_forever, session, on_linked)
        except* Exception as errors:  # noqa: BLE001 - whatever it is, the next attempt is made anew
            why = reason_of(errors)
        finally:
            self._session = None
        self._set_away(why)
        return why

    def _set_away(self, why: str) -> None:
        if self._is_linked is not False:
            self._is_linked = False
            self._receiver.away(why)

    # -- sending -------------------------------------------------------------------------------

    def has_room(self, size: int) -> bool:
        """See `Link`."""
        settings = self.settings
        if len(self._waiting) < settings.max_messages and self._bytes + size <= settings.max_bytes:
            return True
        why = f"{len(self._waiting)} messages, {self._bytes} bytes, wait for Redis to take them"
        self.give_up(why)
        return False

    def send(self, channel: str, body: bytes) -> None:
        """See `Link`."""
        self._put(_Waiting(channel, body, None))

    def number(self, channel: str, body: bytes, retention: Retention) -> None:
        """See `Link`."""
        self._put(_Waiting(channel, body, retention))

    def _put(self, waiting: _Waiting) -> None:
        self._waiting.append(waiting)
        self._bytes += len(waiting.body)
        self._changed.unpark_all()

    async def flush(self) -> None:
        """See `Link`."""
        end = self._next_number + len(self._waiting)
        while self._next_number < end:
            if self._has_ended:
                raise BackplaneAway(f"hub {self.name} has ended, and Redis did not take everything")
            await self._changed.park()

    async def _write_forever(self, session: Session) -> None:
        while True:
            while not self._waiting:
                await self._changed.park()
            batch: list[_Waiting] = []
            size = 0
            for waiting in itertools.islice(self._waiting, BATCH_MESSAGES):
                size += len(waiting.body)
                if batch and size > BATCH_BYTES:
                    break
                batch.append(waiting)
            arguments = itertools.chain.from_iterable(one.arguments() for one in batch)
            await session.share(self._next_number, arguments)
            for waiting in batch:
                self._waiting.popleft()
                self._bytes -= len(waiting.body)
            self._next_number += len(batch)
            self._changed.unpark_all()

    def give_up(self, why: str) -> None:
        """Count as away from now on, and connect anew."""
        if self._session is not None:
            self._session.give_up(why)
        self._set_away(why)

    # -- following -----------------------------------------------------------------------------

    def follow(self, channel: str) -> None:
        """See `Link`."""
        self.followed[channel] = None
        if self._session is not None:
            self._session.subscribe([channel])

    def unfollow(self, channel: str) -> None:
        """See `Link`."""
        self.followed.pop(channel, None)
        if self._session is not None:
            self._session.unsubscribe(channel)

    async def read(self, channel: str, after: Position | None, retention: Retention) -> Stored:
        """See `Link`."""
        session = self._session
        if session is None or not self._is_linked:
            raise BackplaneAway(f"Redis is away, so {channel!r} can't be read")
        try:
            with trio.fail_after(self.settings.timeout):
                return await session.read(channel, after, bounds_of(retention))
        except Exception as error:
            why = f"reading {channel!r} failed: {reason_of(error)}"
            self.give_up(why)
            raise BackplaneAway(why) from error

    # -- what comes ----------------------------------------------------------------------------

    def take(self, channel: str, data: bytes) -> None:
        """A message as the script has made it."""
        head, _, body = data.partition(b"\n")
        if (match := HEAD.fullmatch(head)) is None:
            logger.warning(
                "hub %s got from %r what no hub has sent: %.50r", self.name, channel, data
            )
            return
        origin, number_text, epoch, offset = (part.decode() for part in match.groups())
        number = int(number_text)
        if number <= self._last_numbers.get(origin, 0):
            return  # followed by its name and by a pattern
        self._last_numbers[origin] = number
        if epoch != "-":
            self._receiver.take_numbered(channel, Position(epoch, int(offset)), body)
        elif channel == BEAT:
            self._heard[origin] = trio.current_time()
            if origin == self.name:
                self.lag = self._heard[origin] - float(body)
            self._changed.unpark_all()
        elif origin == self.name:
            pass
        elif channel == BYE:
            self._gone(origin)
        else:
            self._receiver.take(origin, channel, body)

    def confirmed(self, channel: str) -> None:
        """A subscription holds."""
        if self._is_linked and channel in self.followed:
            self._receiver.followed(channel)

    def _gone(self, origin: str) -> None:
        self._heard.pop(origin, None)
        self._last_numbers.pop(origin, None)
        self._receiver.gone(origin)

    async def _beat_forever(self, session: Session, on_linked: Callable[[], None]) -> None:
        """Send to itself through the server; what does not come back in time is a lost link."""
        timeout = self.settings.timeout
        began = trio.current_time()
        self._heard = dict.fromkeys(self._heard, began)
        self._heard.pop(self.name, None)
        self._beat()
        with trio.move_on_after(timeout):
            while self.name not in self._heard:
                await self._changed.park()
        if self.name in self._heard and not session.is_given_up:
            self._is_linked = True
            self._receiver.linked()
            on_linked()
        while True:
            own = self._heard.get(self.name, began)
            if trio.current_time() - own > timeout:
                raise SessionLost(f"no heartbeat came back from Redis for {timeout:g} s")
            # By its own, for if this process was busy, theirs may be there and not read yet.
            for origin in [one for one, at in self._heard.items() if own - at > timeout]:
                self._gone(origin)
            await trio.sleep(self.settings.heartbeat)
            self._beat()

    def _beat(self) -> None:
        if all(one.channel != BEAT for one in self._waiting):  # else they would pile up
            self.send(BEAT, repr(trio.current_time()).encode())
