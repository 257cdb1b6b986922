"""A hub: the connections that belong together, and messages to many of them at once."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Collection, Hashable, Iterable, Iterator

import attrs
import trio

from ..connection.callbacks import PongCallback
from ..connection.connection import Connection
from ..connection.queue import Droppable, Policy, Put
from ..errors import ConnectionClosed
from ..protocol.codec import encode_message
from ..protocol.frames import Payload, surrogate_error
from ..protocol.state import State
from .topics import Topics


@attrs.frozen
class Delivery:
    """What became of a broadcast."""

    sent: int
    """Members in whose outbox it was queued; it goes out with this turn."""
    dropped: int
    """Members for whom it was left out, or for whom it threw out an older message of theirs."""
    disconnected: int
    """Members that were closed with 1013 because they are too slow."""


@attrs.frozen
class HubStatistics:
    """Figures of a hub since it was opened."""

    members: int
    topics: int
    broadcasts: int
    sent: int
    dropped: int
    disconnected: int


class Hub:
    """Tracks connections and the topics they are in, and broadcasts to them. See `open_hub`.

    All methods but `member` are synchronous and take no longer than their members are many; from
    another thread call them with `trio.from_thread.run_sync(hub.broadcast, message)`.
    """

    def __init__(
        self, nursery: trio.Nursery, policy: Policy, on_pong: PongCallback | None = None
    ) -> None:
        self.nursery = nursery
        """For the application's own tasks: they end when the hub does."""
        self.policy = policy
        """What a broadcast does with a member whose outbox is full."""
        self._on_pong = on_pong
        self._members: dict[Connection, None] = {}
        self._topics = Topics()
        self._closed = False
        self._broadcasts = self._sent = self._dropped = self._disconnected = 0

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

    def register(self, connection: Connection, *topics: str) -> None:
        """Make a connection a member and have it join topics. It leaves by itself when it ends.

        Raises ConnectionClosed when it has ended already, RuntimeError when the hub is closed.
        """
        if self._closed:
            raise RuntimeError("the hub is closed")
        if connection.state is not State.OPEN and (closure := connection.closure) is not None:
            raise ConnectionClosed(closure)
        for topic in topics:
            self._topics.check(topic)
        if connection not in self._members:
            self._members[connection] = None
            connection.add_end_callback(self.unregister)
            if self._on_pong is not None:
                connection.add_pong_callback(self._on_pong)
        for topic in topics:
            self._topics.join(connection, topic)

    def unregister(self, connection: Connection) -> None:
        """End a membership and leave all topics; does nothing for a connection that is no member."""
        if connection in self._members:
            del self._members[connection]
            connection.remove_end_callback(self.unregister)
            if self._on_pong is not None:
                connection.remove_pong_callback(self._on_pong)
            self._topics.leave_all(connection)

    @contextlib.asynccontextmanager
    async def member(self, connection: Connection, *topics: str) -> AsyncIterator[Connection]:
        """Be a member while the block runs."""
        self.register(connection, *topics)
        try:
            yield connection
        finally:
            self.unregister(connection)

    def join(self, connection: Connection, topic: str) -> None:
        """Have a member join a topic. ValueError for one that is no member."""
        if connection not in self._members:
            raise ValueError(f"{connection!r} is no member of this hub; register it first")
        self._topics.check(topic)
        self._topics.join(connection, topic)

    def leave(self, connection: Connection, topic: str) -> None:
        """Have a member leave a topic; does nothing when it is not in it."""
        self._topics.check(topic)
        self._topics.leave(connection, topic)

    def topics(self, connection: Connection | None = None) -> Collection[str]:
        """The topics that have members, or those that a connection is in."""
        return self._topics.names(connection)

    def members(self, topic: str) -> Collection[Connection]:
        """The members of a topic; a live view."""
        self._topics.check(topic)
        return self._topics.members(topic)

    # -- sending to many -----------------------------------------------------------------------

    def broadcast(
        self,
        message: str | Payload,
        *,
        topic: str | None = None,
        to: Iterable[Connection] | None = None,
        exclude: Connection | Collection[Connection] = (),
        policy: Policy | str | None = None,
        key: Hashable = None,
    ) -> Delivery:
        """Send a message to all members, to those in a topic, or to the connections in `to`.

        It is encoded once and never waits for anyone: a member whose outbox is full gets what
        `policy` says, by default the hub's. `key` is what `latest` compares; by default the topic.
        Connections that are ending are passed over. Returns what became of it. Raises TypeError for
        what is no message and LocalProtocolError for text with lone surrogates.
        """
        if topic is not None and to is not None:
            raise TypeError("a broadcast goes to a topic or to given connections, not to both")
        try:
            encoded = encode_message(message)
        except UnicodeEncodeError as error:
            raise surrogate_error(error, "a text message") from None
        chosen = self.policy if policy is None else _check_policy(policy)
        frame = Droppable.make(encoded, chosen, topic if key is None else key)
        if to is None:
            to = self._members if topic is None else self.members(topic)
        if isinstance(exclude, Connection):
            exclude = (exclude,)
        sent = dropped = disconnected = 0
        conflates = chosen is Policy.LATEST
        for connection in list(to):
            if exclude and connection in exclude:
                continue
            if connection.is_client:  # whose frames are masked, each with a key of its own
                own = Droppable.make(connection.encode(message), chosen, frame.key)
                put = connection.offer(own)
            elif not conflates and connection.outbox.put(frame):
                sent += 1
                continue
            else:
                put = connection.offer(frame)
            if put is Put.QUEUED:
                sent += 1
            elif put is Put.DROPPED:
                dropped += 1
            elif put is Put.DISCONNECTED:
                disconnected += 1
        self._broadcasts += 1
        self._sent += sent
        self._dropped += dropped
        self._disconnected += disconnected
        return Delivery(sent, dropped, disconnected)

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

    def statistics(self) -> HubStatistics:
        """Figures at this moment."""
        return HubStatistics(
            members=len(self._members),
            topics=len(self._topics),
            broadcasts=self._broadcasts,
            sent=self._sent,
            dropped=self._dropped,
            disconnected=self._disconnected,
        )

    def close(self) -> None:
        """Let go of all members, which stay connected."""
        self._closed = True
        for connection in list(self._members):
            self.unregister(connection)


def _check_policy(policy: Policy | str) -> Policy:
    try:
        chosen = Policy(policy)
    except ValueError:
        names = ", ".join(one.value for one in Policy if one is not Policy.BLOCK)
        raise ValueError(f"{policy!r} is not a policy for broadcasts; use one of {names}") from None
    if chosen is Policy.BLOCK:
        raise ValueError("a broadcast never waits, so its policy can't be 'block'")
    return chosen


@contextlib.asynccontextmanager
async def open_hub(
    *,
    policy: Policy | str = Policy.DISCONNECT,
    ping_interval: float | None = None,
    on_pong: PongCallback | None = None,
) -> AsyncIterator[Hub]:
    """Open a hub for as long as the block runs.

    Args:
        policy: what a broadcast does with a member whose outbox is full: `disconnect` (close it with
            1013), `drop_oldest`, `drop_newest` or `latest`.
        ping_interval: ping all members every so many seconds; None: only their keepalive does.
        on_pong: called with connection, payload and round-trip time in seconds (None for a pong that
            answers no ping) at every pong of a member.

    At the end of the block the hub's tasks are cancelled and its members let go; their connections
    go on, for they belong to whoever serves them.

    """
    chosen = _check_policy(policy)
    if ping_interval is not None and not 0 < ping_interval < math.inf:
        raise ValueError(f"ping_interval must be over 0 seconds, not {ping_interval!r}")
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        hub = Hub(nursery, chosen, on_pong)
        if ping_interval is not None:
            nursery.start_soon(hub.ping_forever, ping_interval)
        try:
            yield hub
        except trio.Cancelled:
            raise  # the nursery knows what to do with it
        except BaseException as error:  # noqa: BLE001 - raised below, not wrapped in a group
            failure = error
        finally:
            hub.close()
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
