"""Connections that exchange numbered messages while everything goes wrong, and the accounts of it.

Every message carries its connection, direction and number, and a BLAKE2 digest of all that and of its
payload. What was received must be the beginning of what was accepted for sending, nothing left out,
doubled or changed; and how it ended, the sender must have been told.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import logging
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Self

import attrs
import trio

import hubws
from hubws import Closure, Connection, ConnectionClosed
from hubws.testing import FaultyStream, MemoryListener
from hubws.testing.plan import Kind, Plan
from tests.faults.proxy import Proxy
from tests.faults.remains import Remains

TRANSPORTS = ("plain", "tls", "memory")
LARGEST = 256 * 1024
"""Of a payload, in bytes."""
SIDES = ("client", "server")
CLOSED = 4000
"""The close code of the side that closes by itself."""

_chance = random.Random(6455)
BINARY = _chance.randbytes(LARGEST) + bytes(LARGEST)
"""Where payloads are cut from: half of it can't be compressed, the other very well."""
TEXT = "".join(_chance.choices("etaoin shrdlu äß€🌍\n\x00", k=LARGEST))


class Violation(AssertionError):
    """A message came that should not have come, or otherwise."""


def build_message(label: str, chance: random.Random) -> str | bytes:
    """A message with that label, its digest, and a payload of 0 to 256 KiB, text or binary."""
    size = chance.randrange(chance.choice((1, 100, 1000, 20_000, 70_000, LARGEST + 1)))
    if chance.random() < 0.5:
        payload = BINARY[(at := chance.randrange(len(BINARY) - size)) : at + size]
        return f"{label} {_digest(label, payload)} ".encode() + payload
    size //= 4  # what a character may take
    text = TEXT[(at := chance.randrange(len(TEXT) - size)) : at + size]
    return f"{label} {_digest(label, text.encode())} {text}"


def check_message(label: str, message: str | bytes) -> None:
    """Fail unless it is the message with that label, unharmed."""
    data = message.encode() if isinstance(message, str) else message
    got, digest, payload = (*data.split(b" ", 2), b"", b"")[:3]
    if got.decode() != label:
        raise Violation(f"the message {got.decode()} came when {label} was due")
    if digest.decode() != _digest(label, payload):
        raise Violation(f"the message {label} has been changed")


def _digest(label: str, payload: bytes) -> str:
    digest = hashlib.blake2b(label.encode(), digest_size=16)
    digest.update(payload)
    return digest.hexdigest()


@attrs.define
class Direction:
    """The account of one direction of one connection."""

    name: str
    accepted: int = 0
    """Messages that `send` or `send_nowait` took."""
    received: int = 0
    received_bytes: int = 0
    cancelled: int = 0

    def label(self, number: int) -> str:
        return f"{self.name}#{number}"


@attrs.define(eq=False)
class Session:
    """One connection, from both sides: "client" and "server"."""

    number: int
    closer: str
    """The side that closes; the other one only if it finds something wrong."""
    at_once: bool
    """Whether it does so while the other may still be sending."""
    size: int
    """How much each side sends, in bytes."""
    sent: dict[str, Direction]
    closures: dict[str, Closure] = attrs.Factory(dict)
    """How it ended, for those sides that had it at all."""
    wrong: list[str] = attrs.Factory(list)
    """What should not have come."""
    may_close: trio.Event = attrs.Factory(trio.Event)

    @classmethod
    def draw(cls, number: int, chance: random.Random, largest: int) -> Session:
        return cls(
            number,
            closer=chance.choice(SIDES),
            at_once=chance.random() < 0.3,
            size=chance.randrange(chance.choice((largest // 100, largest // 10, largest))),
            sent={side: Direction(f"{number}/{side}") for side in SIDES},
        )

    # -- what each side does -------------------------------------------------------------------

    async def take_part(self, connection: Connection, side: str, chance: random.Random) -> None:
        """Send, receive and close as one side, until the connection has ended."""
        other = "client" if side == "server" else "server"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive, connection, self.sent[other], chance)
            nursery.start_soon(self._wait_closed, connection)
            try:
                await self._send(connection, self.sent[side], chance)
            except ConnectionClosed:
                pass
            if side != self.closer:
                self.may_close.set()
            else:
                if not self.at_once:
                    await self.may_close.wait()
                await connection.aclose(CLOSED, "enough")
        closure = connection.closure
        assert closure is not None
        self.closures[side] = closure

    async def _send(
        self, connection: Connection, direction: Direction, chance: random.Random
    ) -> None:
        left = self.size
        while left > 0:
            message = build_message(direction.label(direction.accepted), chance)
            way = chance.random()
            if way < 0.3:
                try:
                    connection.send_nowait(message)
                except trio.WouldBlock:
                    await connection.send(message)
            elif way < 0.4:
                if not await _send_or_cancel(connection, message, chance.randrange(4)):
                    direction.cancelled += 1
                    continue  # its number goes to the next one: should it come all the same, it shows
            else:
                await connection.send(message)
            direction.accepted += 1
            left -= len(message)

    async def _receive(
        self, connection: Connection, direction: Direction, chance: random.Random
    ) -> None:
        try:
            while True:
                if chance.random() < 0.02:
                    await trio.sleep(chance.uniform(0, 0.01))
                message = await connection.receive()
                check_message(direction.label(direction.received), message)
                direction.received += 1
                direction.received_bytes += len(message)
        except ConnectionClosed:
            pass
        except Violation as violation:  # raised, a server would take it for an accident of its own
            self.wrong.append(str(violation))
            connection.abort()

    async def _wait_closed(self, connection: Connection) -> None:
        await connection.wait_closed()
        self.may_close.set()

    # -- whether it was right ------------------------------------------------------------------

    def judge(self, transport: str) -> Iterator[str]:
        """What was not as it is promised."""
        yield from self.wrong
        for sender, receiver in (SIDES, SIDES[::-1]):
            for wrong in self._judge(transport, sender, receiver):
                told = "; ".join(f"{side}: {self.closures.get(side)}" for side in self.sent)
                yield f"{self.sent[sender]}, {self.closer} closes: {wrong} ({told})"

    def _judge(self, transport: str, sender: str, receiver: str) -> Iterator[str]:
        direction = self.sent[sender]
        accepted, received = direction.accepted, direction.received
        nobody = Closure()  # the side for which there was no connection
        told, seen = (self.closures.get(side, nobody) for side in (sender, receiver))
        left = accepted - told.undelivered
        if received > accepted:
            yield "more was received than was accepted"
        if transport == "plain" and received > left:
            yield "what was received is said to be undelivered"
        if seen.received is not None and received < left:
            yield "the close frame came, but not all before it"
        if seen.unreceived:
            yield "something was dropped although it was being taken"
        if told.clean and seen.clean and received != accepted:
            yield "it was clean for both, but something is missing"
        answered = told.received is not None and told.received.code == CLOSED
        if sender == self.closer and told.clean and answered and received != accepted:
            yield "the sender closed in order, but something is missing"
        if (
            transport == "memory"  # which loses nothing that has passed
            and sender == "client"  # for whom the faults lie before the passing
            and seen.error is None
            and seen.sent is None
            and received < left
        ):
            yield "something got lost on the way into the stream and is not said to be undelivered"


async def _send_or_cancel(connection: Connection, message: str | bytes, points: int) -> bool:
    """Send, but cancel it after so many scheduling points; whether it was sent."""
    is_sent = False
    closed: ConnectionClosed | None = None
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            nonlocal is_sent, closed
            with scope:
                try:
                    await connection.send(message)
                    is_sent = True
                except ConnectionClosed as error:
                    closed = error

        scope = trio.CancelScope()
        nursery.start_soon(send)
        for _ in range(points):
            await trio.lowlevel.checkpoint()
        scope.cancel()
    if closed is not None:
        raise closed
    return is_sent


@attrs.define
class Report:
    """Sums over many connections."""

    connections: int = 0
    refused: int = 0
    """Ended before the opening handshake was done."""
    clean: int = 0
    """For both sides."""
    messages: int = 0
    """Received, every one of them checked."""
    bytes: int = 0
    cancelled: int = 0
    """Sends that were cancelled before they had sent anything."""
    undelivered: int = 0
    """Messages that the sender was told were left behind."""
    in_transit: int = 0
    """Messages that went out and never came: the connection broke, as the receiver was told."""
    answered: int = 0
    """Of these, those whose sender had answered the receiver's close frame, and saw a clean end."""
    faults: Counter[Kind] = attrs.Factory(Counter)
    violations: list[str] = attrs.Factory(list)

    def add(self, session: Session, transport: str) -> None:
        """Count a connection that has ended, and judge it."""
        self.connections += 1
        self.refused += "client" not in session.closures
        self.clean += len(session.closures) == 2 and all(
            closure.clean for closure in session.closures.values()
        )
        for side, direction in session.sent.items():
            self.cancelled += direction.cancelled
            undelivered = session.closures[side].undelivered if side in session.closures else 0
            self.undelivered += undelivered
            lost = max(0, direction.accepted - undelivered - direction.received)
            self.in_transit += lost
            self.answered += (
                lost if side in session.closures and session.closures[side].clean else 0
            )
        self.violations += session.judge(transport)

    def count(self, direction: Direction) -> None:
        self.messages += direction.received
        self.bytes += direction.received_bytes

    def __iadd__(self, other: Report) -> Self:
        for field in attrs.fields(Report):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))
        return self

    def __str__(self) -> str:
        faults = ", ".join(f"{self.faults[kind]} {kind}" for kind in Kind)
        return (
            f"{self.bytes / 1e6:,.1f} MB in {self.messages:,} messages on {self.connections:,} "
            f"connections ({self.refused:,} ended before they were open, {self.clean:,} clean); "
            f"faults: {faults}; {self.cancelled:,} sends cancelled, {self.undelivered:,} messages "
            f"told undelivered, {self.in_transit:,} lost in transit "
            f"({self.answered:,} behind an answered close); "
            f"{len(self.violations)} violations"
        )


async def exchange(
    transport: str,
    *,
    compression: bool,
    size: int,
    seed: int,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
    largest: int = 2_000_000,
    workers: int = 6,
    timeout: float = 1,
) -> Report:
    """Exchange so many bytes, one connection after the other, several at a time.

    Args:
        transport: "plain" and "tls" go through the proxy, "memory" through streams in memory.
        compression: whether permessage-deflate is used.
        size: how much is received in all, at least, in bytes.
        seed: of everything random.
        server_context, client_context: for "tls".
        largest: how much one side sends on one connection, at most, in bytes.
        workers: how many connections there are at a time.
        timeout: how long anything is waited for, in seconds.

    """
    report = Report()
    sessions: dict[int, Session] = {}
    plans = itertools.count()
    settings: dict[str, Any] = {
        "compression": compression,
        "keepalive_interval": timeout / 2,
        "keepalive_timeout": timeout,
        "write_timeout": timeout,
        "close_timeout": timeout,
        "outbox_bytes": 300_000,
        "inbox_bytes": 300_000,
        "outbox_messages": 30,
        "inbox_messages": 30,
    }

    def chance_of(*what: object) -> random.Random:
        return random.Random(f"{seed} {transport} {compression} {what}")

    def next_plan() -> Plan:
        chance = chance_of("plan", next(plans))
        return Plan.random(chance, chance.choice((largest // 100, largest // 10, largest)))

    async def serve_one(connection: Connection) -> None:
        number = int(connection.path[1:])
        await sessions[number].take_part(connection, "server", chance_of("server", number))

    async def work(dial: Callable[[Session], AbstractAsyncContextManager[Connection]]) -> None:
        while report.bytes < size:
            number = len(sessions)
            chance = chance_of("client", number)
            session = sessions[number] = Session.draw(number, chance, largest)
            try:
                async with dial(session) as connection:
                    await session.take_part(connection, "client", chance)
            except (hubws.HandshakeError, OSError):
                session.may_close.set()
            for direction in session.sent.values():
                report.count(direction)

    serve = functools.partial(
        hubws.serve, serve_one, handshake_timeout=timeout * 2, grace=timeout * 2, **settings
    )
    before = Remains.now()
    opened = _open_memory if transport == "memory" else _open_proxied
    context = server_context if transport == "tls" else None
    with _logged_errors(report.violations):
        async with opened(serve, next_plan, report.faults, context) as (port, make_stream):

            def dial(session: Session) -> AbstractAsyncContextManager[Connection]:
                return hubws.connect(
                    f"{'wss' if transport == 'tls' else 'ws'}://127.0.0.1:{port}/{session.number}",
                    stream=make_stream(),
                    ssl_context=client_context if transport == "tls" else None,
                    timeout=timeout * 2,
                    **settings,
                )

            async with trio.open_nursery() as nursery:
                for _ in range(workers):
                    nursery.start_soon(work, dial)
    report.messages = report.bytes = 0  # counted again, now that both sides have ended
    for session in sessions.values():
        report.add(session, transport)
        for direction in session.sent.values():
            report.count(direction)
    await before.check(0.01)
    return report


@contextmanager
def _logged_errors(violations: list[str]) -> Iterator[None]:
    """Count as violations what hubws logs as errors: no fault may cause any."""
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: violations.append(f"logged: {record.getMessage()}")  # type: ignore[method-assign]
    logger = logging.getLogger("hubws")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


Serve = Callable[..., Awaitable[None]]
MakeStream = Callable[[], FaultyStream | None]


@asynccontextmanager
async def _open_proxied(
    serve: Serve,
    next_plan: Callable[[], Plan],
    faults: Counter[Kind],
    context: ssl.SSLContext | None,
) -> AsyncIterator[tuple[int, MakeStream]]:
    """A server behind the proxy."""
    async with trio.open_nursery() as proxying:
        async with trio.open_nursery() as serving:
            run = functools.partial(serve, host="127.0.0.1", port=0, ssl_context=context)
            server: hubws.Server = await serving.start(run)
            proxy = Proxy(next_plan, server.port)
            await proxying.start(proxy.run)
            yield proxy.port, lambda: None
            serving.cancel_scope.cancel()
        faults.update(proxy.done)
        proxying.cancel_scope.cancel()


@asynccontextmanager
async def _open_memory(
    serve: Serve,
    next_plan: Callable[[], Plan],
    faults: Counter[Kind],
    context: ssl.SSLContext | None,
) -> AsyncIterator[tuple[int, MakeStream]]:
    """A server at the other end of streams in memory."""
    listener = MemoryListener()
    streams = []

    def make_stream() -> FaultyStream:
        streams.append(listener.dial(next_plan()))
        return streams[-1]

    async with trio.open_nursery() as serving:
        await serving.start(functools.partial(serve, listeners=[listener]))
        yield 1, make_stream
        serving.cancel_scope.cancel()
    for stream in streams:
        faults.update(stream.done)
