"""What one process does of a load test: connections that come, send, receive and go."""

from __future__ import annotations

import contextlib
import random
import time
from typing import Any

import trio

from ..client.connect import connect
from ..connection.connection import Connection
from ..errors import ConnectionClosed, HubwsError
from .alarm import seconds_until
from .ending import Ending
from .flow import Flow
from .pacer import Pacer
from .plan import Plan, Share, Slot
from .reasons import in_one_line, leaves
from .recording import Counted, Recording
from .scenario import Script, User

HURRYING = 64
"""Connections that are opened or closed at a time, so that no server's backlog overflows, and other
messages are not held up for long."""

CLOSING = 15.0
"""Seconds for a connection to be closed in order, the turn that it waits for included."""

AGAIN = 1.0
"""Seconds until the place of a connection that was refused or lost is filled again."""

GOLDEN = 0.6180339887498949
"""Its multiples are spread evenly over 0 to 1, however many there are."""


class Load:
    """A share of a plan while it is carried out.

    Args:
        share: of the plan.
        pacer: by which messages are sent at their times.
        start: when the plan's time begins, in ns of the monotonic clock.

    Attributes:
        recording: what is measured.
        ending: ends it early.

    """

    def __init__(self, share: Share, pacer: Pacer, start: int) -> None:
        self._plan: Plan = share.plan
        self._slots = share.slots()
        self._script = None if share.plan.scenario is None else Script.load(share.plan.scenario)
        self._pacer = pacer
        self._start = start
        self._epoch = trio.current_time() + seconds_until(start)
        self._hurrying = trio.CapacityLimiter(HURRYING)
        self._open: set[Counted] = set()
        self.recording = Recording()
        self.ending = Ending()
        self._active = self._most_active = 0

    async def run(self) -> None:
        """Do all of it."""
        async with trio.open_nursery() as nursery:
            for slot in self._slots:
                begins_at = self._epoch + slot.interval.start
                if begins_at > trio.current_time():
                    with self.ending.until(begins_at):
                        await trio.sleep_forever()
                if self.ending.has_come:
                    break
                nursery.start_soon(self._fill, slot)

    def take(self) -> dict[str, Any]:
        """What was measured since the last time, as JSON can have it.

        `active` is how many connections, or users, there were at most; for the rest see
        `Recording.take`.
        """
        for one in self._open:
            one.report()
        active, self._most_active = self._most_active, self._active
        return {"active": active, "metrics": self.recording.take()}

    async def _fill(self, slot: Slot) -> None:
        """Keep a place filled until its time is over."""
        self._active += 1
        self._most_active = max(self._most_active, self._active)
        stop = self._epoch + slot.interval.stop
        source = random.Random(slot.number)  # noqa: S311 - the same users in each run
        while not self.ending.has_come and trio.current_time() < stop:
            began, began_at = time.monotonic_ns(), trio.current_time()
            if self._script is None:
                pause = AGAIN
                await self._connect(slot, stop)
            else:
                pause = self._script.minimum_iteration
                await self._play(self._script, self._user(slot, source), stop)
            self.recording.add_since("iteration_duration", began)
            self.recording.count([("iterations", 1)])
            with self.ending.until(min(began_at + pause, stop)):
                await trio.sleep_forever()
        self._active -= 1

    def _url(self, slot: Slot) -> str:
        return self._plan.urls[slot.number % len(self._plan.urls)]

    # -- connections ---------------------------------------------------------------------------

    async def _connect(self, slot: Slot, stop: float) -> None:
        """Have one connection, until the place's time is over or it is lost."""
        plan, recording = self._plan, self.recording
        flow = Flow(plan, recording, plan.message.maker(slot.number), sends=slot.sends)
        async with contextlib.AsyncExitStack() as stack:
            with self.ending.until(stop + plan.patience) as dialling:
                try:
                    async with self._hurrying:
                        began = time.monotonic_ns()
                        connection = await stack.enter_async_context(
                            connect(self._url(slot), callbacks=flow.callbacks, **plan.connect)
                        )
                except (OSError, HubwsError) as error:
                    recording.metrics.check("connected", False)
                    recording.metrics.error(reason_of(error))
                    return
            if dialling.cancelled_caught:
                return
            recording.add_since("ws_connecting", began)
            recording.metrics.check("connected", True)
            stop_ns = self._start + round(slot.interval.stop * 1e9)
            with contextlib.suppress(ConnectionClosed, trio.WouldBlock):  # told below, or enough
                self._begin(flow, connection, slot, stop_ns)
            self._open.add(flow)
            with self.ending.until(stop):
                await connection.wait_closed()
            stop_ns = min(stop_ns, time.monotonic_ns())
            await flow.finish(0 if connection.closure else plan.patience)
            with trio.move_on_after(CLOSING):
                async with self._hurrying:
                    await stack.aclose()
            connection.abort()
        self._open.discard(flow)
        flow.end(stop_ns)
        recording.count([("ws_sessions", 1)])
        recording.add_since("ws_session_duration", began)
        if connection.closure is not None and not connection.closure.normal:
            recording.metrics.error(str(connection.closure))

    def _begin(self, flow: Flow, connection: Connection, slot: Slot, stop: int) -> None:
        """Begin to send, until that time in ns, or only to receive."""
        plan = self._plan
        if not slot.sends:
            flow.begin_receiving(connection)
        elif plan.in_flight is not None:
            flow.begin_in_flight(connection, plan.in_flight, stop)
        else:
            assert plan.rate is not None
            first = time.monotonic_ns() + round(slot.number * GOLDEN % 1 / plan.rate * 1e9)
            flow.begin_at_rate(connection, first, stop)
            self._pacer.add(flow, first)

    # -- users ---------------------------------------------------------------------------------

    def _user(self, slot: Slot, source: random.Random) -> User:
        return User(
            slot.number, self._url(slot), source, self.recording, self._plan.connect, self._open
        )

    async def _play(self, script: Script, user: User, stop: float) -> None:
        """Let a user do once what the scenario says; past the place's time, with patience."""
        try:
            with self.ending.until(stop + self._plan.patience) as scope:
                await script.scenario(user)
        except Exception as error:  # noqa: BLE001 - whatever a scenario raises, also when cancelled
            for one in leaves(error):
                self.recording.metrics.error(reason_of(one))
        if scope.cancelled_caught:
            self.recording.count([("iterations_interrupted", 1)])


def reason_of(error: BaseException) -> str:
    """What went wrong, with the kind of error where nothing else says what it is about."""
    text = in_one_line(error) or type(error).__name__
    return text if isinstance(error, OSError | HubwsError) else f"{type(error).__name__}: {text}"
