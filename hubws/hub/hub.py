"""A hub: the connections that belong together, and messages to many of them at once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Iterable, Iterator
from typing import Any

import attrs
import trio

from ..connection.callbacks import PongCallback
from ..connection.connection import Connection
from ..connection.prepared import Prepared
from ..connection.queue import Policy
from ..errors import ConnectionClosed, NotAllowed
from ..protocol.frames import Payload
from ..protocol.state import State
from .delivery import Delivery, Dispatcher, PolicyCounters
from .description import describe
from .feed import Feed
from .histories import Histories
from .history import History, Message, Position, Retention
from .presence import Presence, PresenceEvent, PresenceSnapshot, check_present
from .settings import (
    NO_SETTINGS,
    KeyFunction,
    SettingsByTopic,
    TopicSettings,
    WrapFunction,
    check_policy,
)
from .topics import WILDCARD, Topics, check_topic
from .watch import Loss, Watchers

MayJoin = Callable[[Connection, str], bool]
MayPublish = Callable[[Connection, str, str | bytes], bool]


@attrs.frozen
class HubStatistics:
    """Figures of a hub since it was opened."""

    members: int
    """Now."""
    topics: int
    """In which somebody is now."""
    broadcasts: int
    """However many members each had."""
    sent: int
    """Messages queued for members."""
    dropped: int
    """Messages that a member did not get, by all policies together."""
    disconnected: int
    """Members that were closed with 1013."""
    by_policy: dict[Policy, PolicyCounters]
    """The last two, by the policy that it was for."""


class Hub:
    """Tracks connections and the topics they are in, and broadcasts to them. See `open_hub`.

    What is not async takes no longer than its members are many; from another thread call it with
    `trio.from_thread.run_sync(hub.broadcast, message)`.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        policy: Policy,
        *,
        key: KeyFunction | None = None,
        on_pong: PongCallback | None = None,
        may_join: MayJoin | None = None,
        may_publish: MayPublish | None = None,
        max_histories: int = 1000,
    ) -> None:
        self.nursery = nursery
        """For the application's own tasks: they end when the hub does."""
        self.policy = policy
        """What a broadcast does with a member whose outbox is full."""
        self._key = key
        self._on_pong = on_pong
        self._may_join = may_join
        self._may_publish = may_publish
        self._members: dict[Connection, Hashable] = {}  # and their users
        self._by_id: dict[int, Connection] = {}
        self._users: dict[Hashable, dict[Connection, None]] = {}
        self._policies: dict[Connection, Policy] = {}  # those of members
        self._topics = Topics()
        self._settings = SettingsByTopic()
        self._histories = Histories(max_histories, trio.current_time)
        self._presence = Presence[Hashable](time.time)
        self._presence_events = Watchers[PresenceEvent]()
        self._recovering: set[tuple[Connection, str]] = set()
        self._closed = False
        self._losses = Watchers[Loss]()
        self._dispatcher = Dispatcher(self._losses)

    # -- membership ----------------------------------------------------------------------------

    @property
    def connections(self) -> Collection[Connection]:
        """The members, in the order in which they registered; a live view."""
        return self._members.keys()

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, connection: object) -> bool:
        return connection in self._members

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._members))

    def register(
        self,
        connection: Connection,
        *topics: str,
        user: Hashable = None,
        policy: Policy | str | None = None,
        info: object = None,
    ) -> None:
        """Make a connection a member and have it join topics. It leaves by itself when it ends.

        `user` is whose connection it is, by default its `Connection.user`; `policy` goes before those
        of topics and of the hub; `info` is what others see of it where presence is on. Registering
        again adds topics, and changes what is given. Raises ConnectionClosed when it has ended
        already, RuntimeError when the hub is closed, NotAllowed for a topic that it may not join;
        then nothing has changed.
        """
        if self._closed:
            raise RuntimeError("the hub is closed")
        if user is None:
            user = connection.user
        hash(user)
        name = self._name_of(connection, user)
        for topic in topics:
            self._check_join(connection, topic)
            if self._has_presence(topic):
                check_present(name, info)
        if connection.state is not State.OPEN and (closure := connection.closure) is not None:
            raise ConnectionClosed(closure)  # not before: who ends at once is judged all the same
        if connection in self._members and name != self._name_of(
            connection, self._members[connection]
        ):
            self._check_rename(connection)
        chosen = None if policy is None else check_policy(policy)
        if connection not in self._members:
            self._members[connection] = None
            self._by_id[connection.id] = connection
            connection.add_end_callback(self.unregister)
            if self._on_pong is not None:
                connection.add_pong_callback(self._on_pong)
        if user is not None:
            self._forget_user(connection)
            self._members[connection] = user
            self._users.setdefault(user, {})[connection] = None
        if chosen is not None:
            self._policies[connection] = chosen
        for topic in topics:
            if connection in self._members:  # who watches presence may have ended it
                self._join(connection, topic, info)

    def _name_of(self, connection: Connection, user: Hashable) -> Any:
        """What presence calls a member: its user, or the connection's id."""
        return connection.id if user is None else user

    def _check_rename(self, connection: Connection) -> None:
        for topic in self._topics.names(connection):
            if self._has_presence(topic):
                raise ValueError(f"connection {connection.id} is seen in {topic!r} as another user")

    def unregister(self, connection: Connection) -> None:
        """End a membership and leave all topics; does nothing for a connection that is no member."""
        if connection not in self._members:
            return
        self._forget_user(connection)
        del self._members[connection]
        del self._by_id[connection.id]
        self._policies.pop(connection, None)
        connection.remove_end_callback(self.unregister)
        if self._on_pong is not None:
            connection.remove_pong_callback(self._on_pong)
        for topic in list(self._topics.names(connection)):
            self._leave(connection, topic)

    def _forget_user(self, connection: Connection) -> None:
        user = self._members[connection]
        if user is not None:
            connections = self._users[user]
            del connections[connection]
            if not connections:
                del self._users[user]

    @contextlib.asynccontextmanager
    async def member(
        self,
        connection: Connection,
        *topics: str,
        user: Hashable = None,
        policy: Policy | str | None = None,
        info: object = None,
    ) -> AsyncIterator[Connection]:
        """Be a member while the block runs. Arguments and errors as `register`, but for one.

        When the connection has ended already, the block runs all the same: a quick client may have
        gone again, and what it has sent waits to be received.
        """
        with contextlib.suppress(ConnectionClosed):
            self.register(connection, *topics, user=user, policy=policy, info=info)
        try:
            yield connection
        finally:
            self.unregister(connection)

    @contextlib.asynccontextmanager
    async def adopt(
        self,
        websocket: Any,
        *topics: str,
        user: Hashable = None,
        policy: Policy | str | None = None,
        info: object = None,
        **options: Any,
    ) -> AsyncIterator[Connection]:
        """Take a WebSocket of trio-websocket for a connection and a member while the block runs.

        `options` as for `hubws.embedding.adopt`, which it raises as; the others as for `register`.
        """
        from ..embedding.adopt import adopt  # noqa: PLC0415 - most programs have no need of it

        async with adopt(websocket, user=user, **options) as connection:
            with contextlib.suppress(ConnectionClosed):  # it ended at once: the block finds out
                self.register(connection, *topics, policy=policy, info=info)
            try:
                yield connection
            finally:
                self.unregister(connection)

    def get(self, connection_id: int) -> Connection | None:
        """The member with that `Connection.id`, None when there is none."""
        return self._by_id.get(connection_id)

    def user_of(self, connection: Connection) -> Hashable:
        """Whose connection a member is, as it was registered."""
        return self._members.get(connection)

    def users(self) -> Collection[Hashable]:
        """All users; a live view."""
        return self._users.keys()

    def connections_of(self, user: Hashable) -> Collection[Connection]:
        """The connections of a user; a live view."""
        return self._users.get(user, {}).keys()

    # -- topics --------------------------------------------------------------------------------

    def join(self, connection: Connection, topic: str, *, info: object = None) -> None:
        """Have a member join a topic, or with `name.*` all topics that begin with `name.`.

        Joining again changes `info`. ValueError for one that is no member, NotAllowed for a topic that
        it may not join.
        """
        self._check_join(connection, topic)
        self._check_member(connection)
        self._join(connection, topic, info)

    def _has_presence(self, topic: str) -> bool:
        """Whether who joins is seen; by a pattern nobody is."""
        return self._settings[topic].presence and not topic.endswith(WILDCARD)

    def _join(self, connection: Connection, topic: str, info: object) -> None:
        """Join a topic; where presence is on, tell the others, and this one who is there."""
        if not self._has_presence(topic):
            self._topics.join(connection, topic)
            return
        user = self._name_of(connection, self._members[connection])
        event = self._presence.join(topic, connection, user, info)
        others = list(self._topics.members(topic))
        if self._topics.join(connection, topic):
            self._show_presence(topic, [connection])
        self._tell(event, others)

    def _leave(self, connection: Connection, topic: str) -> None:
        self._topics.leave(connection, topic)
        self._tell(self._presence.leave(topic, connection), self._topics.members(topic))

    def _show_presence(self, topic: str, to: Iterable[Connection]) -> None:
        """Send members the snapshot of a topic."""
        snapshot = self._presence.snapshot(topic)
        self.broadcast(snapshot.to_json(), to=to, key=(topic, snapshot.version))

    def _tell(self, event: PresenceEvent | None, others: Iterable[Connection]) -> None:
        """Let the others in a topic know of a change, then whoever watches, who may do anything."""
        if event is not None:
            if not self._closed:  # when all leave at once, nobody is left who would want to know
                key = (event.topic, event.version)  # none takes the place of another
                self.broadcast(event.to_json(), to=others, key=key)
            self._presence_events(event)

    def _check_member(self, connection: Connection) -> None:
        if connection not in self._members:
            if (closure := connection.closure) is not None:
                raise ConnectionClosed(closure)
            raise ValueError(f"{connection!r} is no member of this hub; register it first")

    def _check_join(self, connection: Connection, topic: str) -> None:
        check_topic(topic)
        if self._may_join is not None and not self._may_join(connection, topic):
            raise NotAllowed(f"connection {connection.id} may not join {topic!r}")

    def leave(self, connection: Connection, topic: str) -> None:
        """Have a member leave a topic; does nothing when it is not in it."""
        check_topic(topic)
        self._leave(connection, topic)

    def topics(self, connection: Connection | None = None) -> Collection[str]:
        """The topics that have members, or those that a connection is in."""
        return self._topics.names(connection)

    def members(self, topic: str) -> Collection[Connection]:
        """The members of a topic, of a pattern those who joined the pattern; a live view."""
        check_topic(topic)
        return self._topics.members(topic)

    def configure(
        self,
        topic: str,
        *,
        policy: Policy | str | None = None,
        key: KeyFunction | None = None,
        history: Retention | None = None,
        wrap: WrapFunction | None = None,
        presence: bool = False,
    ) -> None:
        """Say what holds for a topic, or for all that a pattern such as `prices.*` stands for.

        Args:
            topic: the narrowest applies: the topic's own, the longest pattern's, the hub's.
            policy: for slow members; None: the hub's.
            key: for `latest`: a function of the message; None: the hub's.
            history: how much is kept for members that come back, see `recover`; None: nothing. Members
                then get each message in an envelope, which says where in the history it stands.
            wrap: makes this envelope of message, topic and position; None: `hubws.wrap`.
            presence: members are told who is in the topic: when they join, by a snapshot, and from
                then on by events, both text in JSON (see `hubws.Roster`).

        It replaces what was said of the topic before, and holds whether or not somebody is in it. Say
        it before anybody joins.

        """
        self._settings[topic] = TopicSettings(
            policy=policy,
            key=key,
            history=history,
            presence=presence,
            **({} if wrap is None else {"wrap": wrap}),
        )

    # -- history and presence ------------------------------------------------------------------

    def position(self, topic: str) -> Position:
        """That of the newest message in a topic that has a history.

        With a backplane ValueError when this hub does not know it; `newest_position` asks then.
        """
        return self._history(topic).position

    async def newest_position(self, topic: str) -> Position:
        """As `position`; with a backplane it waits until this hub knows it."""
        return self.position(topic)

    async def recover(
        self,
        connection: Connection,
        topic: str,
        position: Position | str | None,
        *,
        info: object = None,
    ) -> Position:
        """Send a member what it missed in a topic since a position, then have it join the topic.

        With None it has missed nothing, and gets what is published from now on.
        Nothing is missing between the two and nothing comes twice, whatever is published meanwhile.
        Returns the position from which on it gets messages as they are published. Raises PositionLost
        when it can't be told what was missed: join then, and start anew. ValueError when it is in the
        topic already, or the topic has no history; and what `join` and `Connection.send` raise.
        """
        if isinstance(position, str):
            position = Position.parse(position)
        self._check_join(connection, topic)
        self._check_member(connection)
        self._retention(topic)
        recovery = (connection, topic)
        if connection in self._topics.recipients(topic) or recovery in self._recovering:
            raise ValueError(f"connection {connection.id} gets messages of {topic!r} already")
        wrap = self._settings[topic].wrap
        await trio.lowlevel.checkpoint_if_cancelled()
        self._recovering.add(recovery)
        try:
            with self._following(topic):
                if position is None:
                    position = await self.newest_position(topic)
                while missed := await self._missed(topic, position):
                    for position, message in missed:
                        await connection.send(wrap(message, topic, position))
                # Nobody else has run since it said that nothing is missed.
                self.join(connection, topic, info=info)
        finally:
            self._recovering.discard(recovery)
        return position

    async def _missed(self, topic: str, position: Position) -> list[tuple[Position, Message]]:
        """What came after a position; when it says nothing, it has not let others run."""
        return self._history(topic).since(position)

    def _following(self, topic: str) -> contextlib.AbstractContextManager[None]:
        """While the block runs, what is sent to a topic comes, though nobody here may be in it."""
        return contextlib.nullcontext()

    def _history(self, topic: str) -> History:
        return self._histories.of(topic, self._retention(topic))

    def _retention(self, topic: str) -> Retention:
        check_topic(topic, may_be_pattern=False)
        retention = self._settings[topic].history
        if retention is None:
            raise ValueError(f"{topic!r} has no history; say so by hub.configure(history=...)")
        return retention

    def presence(self, topic: str) -> PresenceSnapshot:
        """Who is in a topic for which presence is on."""
        check_topic(topic)
        return self._presence.snapshot(topic)

    def add_presence_callback(self, callback: Callable[[PresenceEvent], object]) -> None:
        """Call a function with each event of every topic for which presence is on."""
        self._presence_events.add(callback)

    def remove_presence_callback(self, callback: Callable[[PresenceEvent], object]) -> None:
        """Call it no more. ValueError when it was not added."""
        self._presence_events.remove(callback)

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
        """Send a message to all members, or to some, and wait for none.

        Args:
            message: encoded once for each form it takes on the wire, whatever the number of members;
                a `Prepared` one not even that when it is sent again.
            topic: to those in it; of several topics, to each who is in any of them, once.
            user: to the connections of a user.
            to: to given connections, members or not. At most one of these three.
            exclude: but not to this connection, or these.
            where: only where this returns something true.
            policy: what happens where the outbox is full, by default what was said for the member,
                for the topic, or for the hub, in this order.
            key: what `latest` compares, by default what the `key` function of the topic or the hub
                makes of the message, else the topic.

        Connections that are ending are passed over. Returns what became of it. Raises TypeError for
        what is no message, LocalProtocolError for text with lone surrogates, ValueError for a topic
        with a history among several, or with `exclude` or `where`: its messages go to all its members.

        """
        if (topic is not None) + (user is not None) + (to is not None) > 1:
            raise TypeError("a broadcast goes to topics, to a user or to given connections: to one")
        if not isinstance(message, Prepared):
            message = Prepared(message)
        chosen = self.policy if policy is None else check_policy(policy)
        name = topic if isinstance(topic, str) else None
        recipients: Iterable[Connection]
        settings = NO_SETTINGS
        if name is not None:
            check_topic(name, may_be_pattern=False)
            recipients = self._topics.recipients(name)
            if self._settings:
                settings = self._settings[name]
                if policy is None:
                    chosen = settings.policy or chosen
        elif topic is not None:
            recipients = self._in_any(topic)
        elif user is not None:
            recipients = self.connections_of(user)
        elif to is not None:
            recipients = to
        else:
            recipients = self._members
        if key is None:
            key_function = settings.key or self._key
            key = name if key_function is None else key_function(message.message)
        if isinstance(exclude, Connection):
            exclude = (exclude,)
        if exclude or where is not None:
            excluded = set(exclude)  # of a list each member would cost its length
            recipients = [
                one for one in recipients if one not in excluded and (where is None or where(one))
            ]
        position = None
        if name is not None and settings.history is not None:
            if exclude or where is not None:
                raise ValueError(f"{name!r} has a history, so its messages go to all its members")
            message, position = self._number(message, name, settings)
        own_policies = self._policies if policy is None else NO_POLICIES
        return self._dispatcher.dispatch(
            message, list(recipients), chosen, key, name, own_policies, position
        )

    def _number(
        self, message: Prepared, topic: str, settings: TopicSettings
    ) -> tuple[Prepared, Position]:
        """Keep a message in its topic's history; returns what members get of it, and its place."""
        history = self._history(topic)
        position = history.next_position
        wrapped = Prepared(settings.wrap(message.message, topic, position))
        history.append(message.message)
        return wrapped, position

    def _in_any(self, topics: Collection[str]) -> Iterable[Connection]:
        for topic in topics:
            check_topic(topic, may_be_pattern=False)
            if self._settings[topic].history is not None:
                raise ValueError(f"{topic!r} has a history, so it gets its messages by itself")
        everyone: dict[Connection, None] = {}
        for topic in topics:
            everyone.update(dict.fromkeys(self._topics.recipients(topic)))
        return everyone

    def publish(
        self, connection: Connection, message: str | Payload | Prepared, topic: str, **options: Any
    ) -> Delivery:
        """Broadcast to a topic on behalf of a member; options as `broadcast`.

        Raises NotAllowed when the hub's `may_publish` says so, and ValueError for no member.
        """
        check_topic(topic, may_be_pattern=False)
        self._check_member(connection)
        if not isinstance(message, Prepared):
            message = Prepared(message)
        may_publish = self._may_publish
        if may_publish is not None and not may_publish(connection, topic, message.message):
            raise NotAllowed(f"connection {connection.id} may not publish to {topic!r}")
        return self.broadcast(message, topic=topic, **options)

    # -- what was lost -------------------------------------------------------------------------

    def add_loss_callback(self, callback: Callable[[Loss], object]) -> None:
        """Call a function with each `Loss`: a message dropped, a member disconnected."""
        self._losses.add(callback)

    def remove_loss_callback(self, callback: Callable[[Loss], object]) -> None:
        """Call it no more. ValueError when it was not added."""
        self._losses.remove(callback)

    def watch_losses(
        self, limit: int = 1000, policy: Policy | str = Policy.DROP_NEWEST
    ) -> contextlib.AbstractAsyncContextManager[Feed[Loss]]:
        """Iterate over losses while the block runs.

        At most `limit` wait to be taken; what gives way then is the policy's choice, see `Feed`.

            async with hub.watch_losses() as losses:
                async for loss in losses:
                    print(loss.connection, "did not get", loss.message)
        """
        return self._losses.watch(limit, policy)

    # -- round-trip times ----------------------------------------------------------------------

    def ping(self, *, topic: str | None = None) -> int:
        """Ping all members, or those in a topic; returns how many.

        The pongs go to the pong callbacks and into each connection's `rtt`.
        """
        count = 0
        for connection in list(self._members if topic is None else self.members(topic)):
            try:
                connection.ping_nowait()
            except (ConnectionClosed, trio.WouldBlock):
                continue
            count += 1
        return count

    async def ping_forever(self, interval: float) -> None:
        """Ping all members every so many seconds, until cancelled."""
        while True:
            self.ping()
            await trio.sleep(interval)

    # -- figures -------------------------------------------------------------------------------

    def statistics(self) -> HubStatistics:
        """Figures at this moment."""
        dispatcher = self._dispatcher
        counters = dispatcher.counters
        return HubStatistics(
            members=len(self._members),
            topics=len(self._topics),
            broadcasts=dispatcher.messages,
            sent=dispatcher.sent,
            dropped=sum(one.dropped for one in counters.values()),
            disconnected=sum(one.disconnected for one in counters.values()),
            by_policy={policy: attrs.evolve(one) for policy, one in counters.items()},
        )

    async def snapshot(self) -> dict[str, Any]:
        """Everything that is known of members, topics and counters, as plain data (for JSON).

        It looks at some hundred members at a time and lets other tasks run between, so that members
        that come or go meanwhile may be in it or not.
        """
        return await describe(self)

    def close(self) -> None:
        """Let go of all members, which stay connected."""
        self._closed = True
        for connection in list(self._members):
            self.unregister(connection)
        self._losses.close()


NO_POLICIES: dict[Connection, Policy] = {}
