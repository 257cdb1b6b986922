"""A hub that shares topics, broadcasts, presence and histories with other hubs over a backplane."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from typing import Any, Literal, TypeAlias

import trio

from ..connection.connection import Connection
from ..connection.prepared import Prepared
from ..connection.queue import Policy
from ..protocol.frames import Payload
from .backplane import Backplane, BackplaneAway, Link
from .delivery import Delivery
from .histories import Histories
from .history import History, Message, Position, PositionLost, Retention
from .hub import NO_POLICIES, Hub
from .link_events import LinkEvent, LinkEventKind, LinkStatistics
from .mirrors import Mirrors, can_answer
from .news import HUB, HUBS, PRESENCE, TOPIC, News
from .presence import PresenceEvent
from .remote_presence import RemotePresence
from .settings import check_policy
from .topics import WILDCARD, check_topic
from .watch import Watchers

logger = logging.getLogger("hubws")

WhileAway: TypeAlias = Literal["local", "refuse"]

EVENTS_AT_ONCE = 256
"""Presence that changes more often than this at once is told by a snapshot: there may be more events
than an outbox takes, as when a hub of thousands ends."""

NUMBERED = Delivery(sent=0, dropped=0, disconnected=0)
"""Of a message that members get once the backplane has numbered it."""


class LinkedHub(Hub):
    """A hub that is one of several. `open_hub(backplane=...)` opens it.

    All that is said of `Hub` holds, for the members of all hubs, with these differences:

    - `broadcast` to connections (`to=`) or by a function (`where=`) stays in this hub, and counts and
      `Delivery` are of this hub alone;
    - a message to a topic with a history goes to its members once the backplane has numbered it, also
      to this hub's; `Delivery` says nothing of it then;
    - while the backplane is away, `while_away` says what `broadcast` does.

    """

    _link: Link

    def __init__(self, nursery: trio.Nursery, policy: Policy, **options: Any) -> None:
        while_away: WhileAway = options.pop("while_away")
        super().__init__(nursery, policy, **options)
        self._refuses = while_away == "refuse"
        self._max_histories: int = options["max_histories"]
        self._holds = Counter[str]()
        self._mirrors = Mirrors(
            self._max_histories, self._retention_of, self._deliver_numbered, self._on_gap
        )
        self._remote_presence = RemotePresence(
            self._presence, self._numbered_members, self._send_if_linked, self._tell_members
        )
        self._link_events = Watchers[LinkEvent]()
        self._is_away = True
        self._why_away = "it was not linked yet"
        self._figures: Counter[str] = Counter()
        self._unshared = 0  # since it was away

    async def run_link(
        self, backplane: Backplane, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Be linked until cancelled; `open_hub` runs it."""
        link = self._link = backplane.link(self)
        link.follow(HUBS)
        link.follow(HUB + link.name)
        async with link:
            task_status.started()
            await self._mirrors.read_forever(link)

    def close(self) -> None:
        """Let go of all members, and of the other hubs."""
        self._is_away, self._why_away = True, "the hub is closed"
        self._mirrors.wake()
        super().close()

    # -- membership ----------------------------------------------------------------------------

    def _join(self, connection: Connection, topic: str, info: object) -> None:
        self._hold(topic)
        try:
            super()._join(connection, topic, info)
            is_in = connection in self._topics.members(topic)
            if is_in and self._has_presence(topic):
                self._remote_presence.joined(topic, connection, connection.id)
        finally:
            self._release(topic)

    def _leave(self, connection: Connection, topic: str) -> None:
        if connection not in self._topics.members(topic):
            return
        super()._leave(connection, topic)
        if self._has_presence(topic):
            self._remote_presence.left(topic, connection.id)
        if not self._closed:
            self._release(topic, 0)

    def _name_of(self, connection: Connection, user: Hashable) -> Any:
        """As `Hub`, but unlike that of any other hub's connection."""
        return f"{self.name}:{connection.id}" if user is None else user

    def _hold(self, topic: str) -> None:
        """Follow a topic, if nobody here does yet."""
        self._holds[topic] += 1
        if self._holds[topic] > 1 or self._topics.members(topic):
            return
        if self._is_mirrored(topic):
            self._mirrors.begin(topic)
        self._link.follow(TOPIC + topic)
        if self._has_presence(topic):
            self._remote_presence.follow(topic)
            self._link.follow(PRESENCE + topic)

    def _release(self, topic: str, holds: int = 1) -> None:
        """Follow it no more, if nobody here does."""
        self._holds[topic] -= holds
        if self._holds[topic] or self._topics.members(topic):
            return
        del self._holds[topic]
        self._link.unfollow(TOPIC + topic)
        if self._has_presence(topic):
            self._link.unfollow(PRESENCE + topic)
            self._remote_presence.unfollow(topic)
        for name in [topic] if not topic.endswith(WILDCARD) else self._mirrors.topics():
            if not self._holds[name] and not self._topics.recipients(name):
                self._mirrors.forget(name)

    @contextlib.contextmanager
    def _following(self, topic: str) -> Iterator[None]:
        self._hold(topic)
        try:
            yield
        finally:
            self._release(topic)

    def _numbered_members(self, topic: str) -> Iterable[tuple[int, Hashable]]:
        return [(one.id, one) for one in self._topics.members(topic)]

    def _tell_members(self, events: list[PresenceEvent], topic: str) -> None:
        """Tell the members of what came from another hub; of much at once by a snapshot."""
        members = self._topics.members(topic)
        if len(events) <= EVENTS_AT_ONCE:
            for event in events:
                self._tell(event, members)
        else:
            self._show_presence(topic, members)
            for event in events:
                self._presence_events(event)

    def _send_if_linked(self, channel: str, body: bytes) -> None:
        """What is told anew when the link is back, so that it need not be kept."""
        if not self._is_away and self._link.has_room(len(body)):
            self._link.send(channel, body)

    # -- histories -----------------------------------------------------------------------------

    def _retention_of(self, topic: str) -> Retention | None:
        return self._settings[topic].history

    def _is_mirrored(self, topic: str) -> bool:
        return self._retention_of(topic) is not None and not topic.endswith(WILDCARD)

    def _history(self, topic: str) -> History:
        """The history that clients' positions refer to now: of all hubs, or while away its own."""
        if self._is_away and not self._refuses:
            return super()._history(topic)
        self._retention(topic)
        mirror = self._mirrors.get(topic)
        if mirror is None:
            raise ValueError(
                f"the position of {topic!r} is not known here yet; await newest_position instead"
            )
        return mirror

    async def newest_position(self, topic: str) -> Position:
        """See `Hub.newest_position`. BackplaneAway when it can't be known."""
        self._retention(topic)
        with self._following(topic):
            await self._complete(topic)
            return self._history(topic).position

    async def _missed(self, topic: str, position: Position) -> list[tuple[Position, Message]]:
        """See `Hub.recover`; what this hub does not have, the backplane is asked for."""
        retention = self._retention(topic)
        mirror = await self._complete(topic)
        if mirror is not None and is_ahead(position, mirror.position):
            self._mirrors.catch_up(topic)  # another hub has told a client what has yet to come here
            mirror = await self._complete(topic)
        if mirror is None:
            return await super()._missed(topic, position)
        newest = mirror.position
        try:
            missed = [(place, bytes(body)) for place, body in mirror.since(position)]  # type: ignore[arg-type]
        except PositionLost as lost:
            # What a client says of later positions is no reason to doubt the backplane.
            known = position.epoch == newest.epoch and not is_ahead(position, newest)
            stored = await self._link.read(TOPIC + topic, position if known else None, retention)
            if not known or not can_answer(stored, position):
                raise PositionLost(position, stored.oldest, stored.newest) from lost
            missed = stored.messages
        return [(place, News.decode(body).message) for place, body in missed]

    async def _complete(self, topic: str) -> History | None:
        """Wait until a mirror has all messages up to now; None when this hub serves alone."""
        while True:
            if self._is_away and not self._refuses:
                return None
            mirror = self._mirrors.get(topic)
            if mirror is not None:
                return mirror
            if self._is_away:
                raise BackplaneAway(f"the history of {topic!r} can't be read: {self._why_away}")
            await self._mirrors.changed(topic)

    # -- sending to many -----------------------------------------------------------------------

    def broadcast(
        self,
        message: str | Payload | Prepared,
        *,
        topic: str | Collection[str] | None = None,
        user: Hashable = None,
        to: Iterable[Connection] | None = None,
        exclude: Connection | Collection[Connection] = (),
        where: Callable[[Connection], bool] | None = None,
        policy: Policy | str | None = None,
        key: Hashable = None,
    ) -> Delivery:
        """See `Hub.broadcast`. Raises BackplaneAway when `while_away` is `refuse` and it is.

        With `to` or `where` it stays in this hub; for other hubs `user` and `key` must be str or int.
        """
        if not isinstance(message, Prepared):
            message = Prepared(message)
        here: dict[str, Any] = {"exclude": exclude, "where": where, "policy": policy, "key": key}
        if to is not None or where is not None:
            return super().broadcast(message, topic=topic, user=user, to=to, **here)
        news = News(
            message=message.message,
            topics=None if topic is None or isinstance(topic, str) else list(topic),
            user=user,
            policy=None if policy is None else check_policy(policy),
            key=key,
        )
        body = news.encode()
        if self._is_away or not self._link.has_room(len(body)):
            if self._refuses:
                self._figures["refused"] += 1
                raise BackplaneAway(f"it can't be sent to other hubs: {self._why_away}")
            delivery = super().broadcast(message, topic=topic, user=user, **here)
            self._unshared += 1
            self._figures["unshared"] += 1
            return delivery
        if (
            isinstance(topic, str)
            and (retention := self._numbers(topic, user, exclude)) is not None
        ):
            self._link.number(TOPIC + topic, body, retention)
            delivery = NUMBERED
        else:
            delivery = super().broadcast(message, topic=topic, user=user, **here)
            self._link.send(TOPIC + topic if isinstance(topic, str) else HUBS, body)
        self._figures["sent"] += 1
        return delivery

    def _numbers(self, topic: str, user: Hashable, exclude: object) -> Retention | None:
        """How much is kept of a topic that the backplane numbers, None when it does not."""
        check_topic(topic, may_be_pattern=False)
        retention = self._retention_of(topic)
        if retention is not None and user is not None:
            raise TypeError("a broadcast goes to topics, to a user or to given connections: to one")
        if retention is not None and (isinstance(exclude, Connection) or exclude):
            raise ValueError(f"{topic!r} has a history, so its messages go to all its members")
        return retention

    async def flush(self) -> None:
        """Wait until the backplane has every message that `broadcast` accepted."""
        await self._link.flush()

    # -- what comes over the link --------------------------------------------------------------

    def take(self, origin: str, channel: str, body: bytes) -> None:
        """See `Receiver`."""
        try:
            if channel.startswith(TOPIC):
                self._deliver(News.decode(body), channel.removeprefix(TOPIC))
            elif channel == HUBS and not body.startswith(b'{"who"'):
                self._deliver(News.decode(body), None)
            else:
                self._remote_presence.take(origin, body)
        except Exception:
            self._figures["malformed"] += 1
            logger.exception("hub %s sent to %r what makes no sense here", origin, channel)

    def _deliver(self, news: News, topic: str | None) -> None:
        self._figures["received"] += 1
        if topic is not None and self._retention_of(topic) is not None:
            raise ValueError(f"{topic!r} has a history here, and none where the message is from")
        super().broadcast(
            news.message,
            topic=topic or news.topics,
            user=news.user,
            policy=news.policy,
            key=news.key,
        )

    def take_numbered(self, channel: str, position: Position, body: bytes) -> None:
        """See `Receiver`."""
        self._mirrors.take(channel.removeprefix(TOPIC), position, body)

    def _deliver_numbered(self, topic: str, position: Position, body: bytes) -> None:
        """Send a message of a history to the members that are here, whichever way it came."""
        self._figures["received"] += 1
        try:
            self._dispatch_numbered(topic, position, News.decode(body))
        except Exception:  # also of the application's `wrap` and `key`
            self._figures["malformed"] += 1
            logger.exception("what came at %s of %r makes no sense here", position, topic)

    def _dispatch_numbered(self, topic: str, position: Position, news: News) -> None:
        settings = self._settings[topic]
        key = news.key
        if key is None:
            key_function = settings.key or self._key
            key = topic if key_function is None else key_function(news.message)
        wrapped = news.message
        if settings.history is not None:
            wrapped = settings.wrap(news.message, topic, position)
        self._dispatcher.dispatch(
            Prepared(wrapped),
            list(self._topics.recipients(topic)),
            news.policy or settings.policy or self.policy,
            key,
            topic,
            self._policies if news.policy is None else NO_POLICIES,
            position,
        )

    def followed(self, channel: str) -> None:
        """See `Receiver`."""
        kind, _, topic = channel.partition(":")
        if kind + ":" == TOPIC:
            if self._is_mirrored(topic):
                self._mirrors.catch_up(topic)
        elif kind + ":" == PRESENCE:
            self._remote_presence.ask(topic)

    def gone(self, origin: str) -> None:
        """See `Receiver`."""
        self._remote_presence.gone(origin)
        self._event(LinkEvent(LinkEventKind.GONE, f"hub {origin} is not heard of any more"))

    def linked(self) -> None:
        """See `Receiver`."""
        self._is_away = False
        unshared, self._unshared = self._unshared, 0
        # What was numbered here meanwhile ends here; clients see that by the epoch.
        self._histories = Histories(self._max_histories, trio.current_time)
        self._mirrors.catch_up_all()
        self._remote_presence.ask_anew()
        self._event(
            LinkEvent(LinkEventKind.LINKED, "the other hubs can be reached", None, unshared)
        )

    def away(self, why: str) -> None:
        """See `Receiver`."""
        if not self._is_away:
            self._figures["times_away"] += 1
        self._is_away = True
        self._why_away = why
        self._mirrors.wake()
        self._event(LinkEvent(LinkEventKind.AWAY, why))

    def _on_gap(self, topic: str, position: Position, oldest: Position) -> None:
        self._figures["gaps"] += 1
        detail = f"of {topic!r} nothing is known between {position} and {oldest}"
        self._event(LinkEvent(LinkEventKind.GAP, detail, topic))

    def _event(self, event: LinkEvent) -> None:
        is_loss = event.kind in {LinkEventKind.AWAY, LinkEventKind.GAP}
        level = logging.WARNING if is_loss else logging.INFO
        logger.log(level, "hub %s: %s: %s", self.name, event.kind, event.detail)
        self._link_events(event)

    # -- watching ------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """What the other hubs know this one by."""
        return self._link.name

    @property
    def is_linked(self) -> bool:
        """Whether the other hubs can be reached now."""
        return not self._is_away

    def add_link_callback(self, callback: Callable[[LinkEvent], object]) -> None:
        """Call a function with each `LinkEvent`."""
        self._link_events.add(callback)

    def remove_link_callback(self, callback: Callable[[LinkEvent], object]) -> None:
        """Call it no more. ValueError when it was not added."""
        self._link_events.remove(callback)

    def link_statistics(self) -> LinkStatistics:
        """Figures of the link at this moment."""
        names = ("times_away", "sent", "received", "unshared", "refused", "gaps", "malformed")
        figures = {name: self._figures[name] for name in names}
        return LinkStatistics(is_linked=self.is_linked, lag=self._link.lag, **figures)


def is_ahead(position: Position, newest: Position) -> bool:
    """Whether a position of the same history is yet to come."""
    return position.epoch == newest.epoch and position.offset > newest.offset
