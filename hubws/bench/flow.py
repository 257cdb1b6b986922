"""The messages of one connection: which are sent when, and what is made of those that come."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic_ns

import trio

from ..connection.callbacks import Callbacks
from ..connection.connection import Connection
from ..errors import ConnectionClosed
from .alarm import NEVER
from .messages import Maker, stamp_of
from .plan import Answers, Plan
from .recording import Counted, Recording

MAX_UNANSWERED = 4_096
"""Messages whose answers a connection waits for, before it sends no more."""

AGAIN = 1_000_000
"""How long to wait, in ns, where there was no room to send."""

BURST = 1024
"""Messages that a connection sends at a time, when it is behind, before answers have a turn."""

MAX_LATE = 100
"""Into so many times, each counted often enough, those are told that never were sent."""


class Flow(Counted):
    """The messages of one connection.

    `ws_rtt` counts from when a message was to be sent, `ws_rtt_uncorrected` from when it was sent. With
    messages in flight there is no time at which one was to be sent, and no `ws_rtt_uncorrected`.

    Attributes:
        callbacks: of the connection.

    """

    __slots__ = (
        "_add_delivery",
        "_add_rtt",
        "_add_uncorrected",
        "_all_answered",
        "_due",
        "_gave_up",
        "_keeps",
        "_make",
        "_period",
        "_send",
        "_stop",
        "_unanswered",
        "_unexpected",
        "callbacks",
    )

    def __init__(self, plan: Plan, recording: Recording, make: Maker, *, sends: bool) -> None:
        super().__init__(recording)
        self._make = make
        samples = recording.samples
        self._add_rtt = samples["ws_rtt"].append
        self._add_uncorrected = samples["ws_rtt_uncorrected"].append
        self._add_delivery = samples["ws_delivery"].append
        self._keeps = plan.answers is Answers.ECHO
        self._period = 0 if plan.rate is None else max(round(1e9 / plan.rate), 1)
        self._unanswered: deque[tuple[int, int]] = deque()  # when it was to be sent, and was
        self._stop = self._gave_up = 0  # when to stop sending, and when waiting was, in ns
        self._all_answered: trio.Event | None = None
        self._due = NEVER
        self._unexpected = 0
        on_message: Callable[[Connection, str | bytes], object] = self._on_any
        if plan.answers is Answers.BROADCAST:
            on_message = self._on_stamped
        elif sends and plan.in_flight is not None:
            on_message = self._echo_in_flight()
        elif sends and self._keeps:
            on_message = self._on_echo
        self.callbacks = Callbacks(on_message=on_message)

    # -- sending -------------------------------------------------------------------------------

    def begin_in_flight(self, connection: Connection, number: int, stop: int) -> None:
        """Send so many messages; until the time `stop`, in ns, each answer lets the next one go."""
        self.begin_receiving(connection)
        self._stop = stop
        for _ in range(number):
            now = monotonic_ns()
            connection.send_nowait(self._make(now))
            self._unanswered.append((now, now))
            self.sent += 1

    def begin_at_rate(self, connection: Connection, start: int, stop: int) -> None:
        """Send at the plan's rate between these times, in ns; the first `send_due` is at `start`."""
        self.begin_receiving(connection)
        self._stop = stop
        self._due = start

    def begin_receiving(self, connection: Connection) -> None:
        """Only receive."""
        self.connection = connection
        self._send = connection.send_nowait

    def send_due(self, now: int) -> int:
        """Send what is due; returns when to be called again, in ns, or NEVER."""
        due, period, unanswered = self._due, self._period, self._unanswered
        try:
            for _ in range(BURST):
                if due > now:
                    break
                if due >= self._stop:
                    return NEVER
                if len(unanswered) >= MAX_UNANSWERED:
                    return now + AGAIN
                self._send(self._make(due))
                if self._keeps:
                    unanswered.append((due, now))
                self.sent += 1
                due += period
        except trio.WouldBlock:
            return now + AGAIN
        except ConnectionClosed:
            return NEVER
        finally:
            self._due = due
        return due

    # -- receiving -----------------------------------------------------------------------------

    def _on_any(self, _connection: Connection, _message: str | bytes) -> None:
        self.received += 1

    def _on_stamped(self, _connection: Connection, message: str | bytes) -> None:
        self.received += 1
        if (when := stamp_of(message)) is not None:
            self._add_delivery(monotonic_ns() - when)

    def _on_echo(self, _connection: Connection, _message: str | bytes) -> None:
        self.received += 1
        unanswered = self._unanswered
        if not unanswered:
            self._unexpected += 1
            return
        now = monotonic_ns()
        due, sent = unanswered.popleft()
        self._add_rtt(now - due)
        self._add_uncorrected(now - sent)
        if not unanswered and self._all_answered is not None:
            self._all_answered.set()

    def _echo_in_flight(self) -> Callable[[Connection, str | bytes], object]:
        """What is called with each answer; a closure, since this is all that limits the load."""
        unanswered, make, add_rtt = self._unanswered, self._make, self._add_rtt
        popleft, append = unanswered.popleft, unanswered.append

        def on_message(connection: Connection, _message: str | bytes) -> None:
            self.received += 1
            if not unanswered:
                self._unexpected += 1
                return
            now = monotonic_ns()
            add_rtt(now - popleft()[0])
            if now < self._stop:
                connection.send_nowait(make(now))
                append((now, now))
                self.sent += 1
            elif not unanswered and self._all_answered is not None:
                self._all_answered.set()

        return on_message

    # -- ending --------------------------------------------------------------------------------

    async def finish(self, seconds: float) -> None:
        """Send no more, and wait for answers, at most so long."""
        self._stop = 0
        if self._unanswered:
            self._all_answered = trio.Event()
            with trio.move_on_after(seconds):
                await self._all_answered.wait()
        self._gave_up = monotonic_ns()

    def end(self, stop: int) -> None:
        """Count what was to be sent until `stop`, in ns, or to be answered, and was not.

        It took as long as it was waited for, at least: else a server that stops answering would
        seem to be fast.
        """
        trend = self._recording.metrics.trend
        unanswered = len(self._unanswered)
        for due, _ in self._unanswered:
            trend("ws_rtt").add((self._gave_up - due) // 1000)
        self._unanswered.clear()
        unsent = 0
        if self._due < stop:
            unsent = (stop - self._due - 1) // self._period + 1
            step = max(unsent // MAX_LATE, 1)
            for number in range(0, unsent, step):
                if self._keeps:
                    late = (stop - self._due - number * self._period) // 1000
                    trend("ws_rtt").add(late, min(step, unsent - number))
        self._stop, self._due = 0, NEVER
        self.report()
        counts = {"unanswered": unanswered, "unsent": unsent, "unexpected": self._unexpected}
        self._recording.count((f"ws_msgs_{name}", count) for name, count in counts.items() if count)
