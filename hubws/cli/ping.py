"""`hubws ping`: round-trip times, as ping(8) tells them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import count as count_from
from typing import Annotated

import trio
from cyclopts import Parameter
from rich.text import Text

from ..client.connect import connect
from ..connection.callbacks import Callbacks
from ..connection.connection import Connection
from ..connection.rtt import MAX_IN_FLIGHT
from ..errors import ConnectionClosed
from ..hub.histogram import Histogram
from .options import ClientOptions
from .output import Output
from .running import Run, Status, run

EXAMPLES = """
hubws ping ws://127.0.0.1:8008/  # one a second, until Ctrl-C
hubws ping wss://example.org/ --count 5  # five
hubws ping ws://127.0.0.1:8008/ --flood --count 10000
"""

_NO_OPTIONS = ClientOptions()

STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
"""Where bars of the histogram begin, in each factor of ten."""

BAR = 40
"""The longest bar, in characters."""


def ping(
    url: str,
    /,
    *,
    count: Annotated[int | None, Parameter(name=["--count", "-c"])] = None,
    interval: Annotated[float, Parameter(name=["--interval", "-i"])] = 1.0,
    flood: Annotated[bool, Parameter(name=["--flood", "-f"], negative=())] = False,
    wait: Annotated[float, Parameter(name=["--wait", "-W"])] = 5.0,
    options: ClientOptions = _NO_OPTIONS,
) -> int:
    """Measure round-trip times to a WebSocket server.

    Prints the time of each ping, then the minimum, average, maximum and jitter, how many were lost,
    and a histogram.

    Args:
        url: ws://... or wss://...
        count: how many pings; by default until Ctrl-C.
        interval: seconds between pings.
        flood: the next ping as soon as the last one was answered; prints only the end.
        wait: how long to wait for the last answers, and in a flood for each, in seconds.

    """
    if count is not None and count < 1:
        raise ValueError(f"--count must be 1 or more, not {count}")
    if not interval > 0 or not wait > 0:
        raise ValueError("--interval and --wait must be over 0 seconds")
    return run(partial(_ping, url, count, None if flood else interval, wait, options), options)


async def _ping(
    url: str,
    count: int | None,
    interval: float | None,
    wait: float,
    options: ClientOptions,
    run: Run,
) -> Status:
    pings = Pings(run.output, is_shown=interval is not None)
    lost: ConnectionClosed | None = None
    began_at = trio.current_time()
    async with connect(url, callbacks=pings.callbacks, **options.arguments()) as connection:
        run.output.note(f"connected to {url}")
        began_at = trio.current_time()
        with run.interrupt.here():
            try:
                await pings.send(connection, count, interval, wait)
            except ConnectionClosed as closed:
                lost = closed
        seconds = trio.current_time() - began_at
    pings.sum_up(url, seconds)
    if lost is not None:
        raise lost
    return Status.DONE if pings.times.count else Status.FAILED


class Pings:
    """The pings of one connection, and what became of them."""

    def __init__(self, output: Output, *, is_shown: bool) -> None:
        self._output = output
        self._is_shown = is_shown
        self._in_flight: dict[bytes, int] = {}
        self._changed = trio.Event()
        self._last = math.nan
        self.sent = 0
        self.times = Histogram()
        self.jitter = 0.0
        """Mean difference between neighbours, weight 1/16 for the newest (RFC 3550 §6.4.1)."""
        self.bars: Counter[float] = Counter()
        """How many took at least so many seconds, and less than the next."""

    @property
    def callbacks(self) -> Callbacks:
        """To be called for the connection; its messages are none of ours."""
        return Callbacks(
            on_message=lambda *_: None, on_pong=self._on_pong, on_close=lambda _: self._wake()
        )

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _on_pong(self, _connection: Connection, payload: bytes, rtt: float | None) -> None:
        sequence = self._in_flight.pop(payload, None)
        if sequence is None or rtt is None:  # that of keepalive, or nobody's
            return
        if self.times.count:
            self.jitter += (abs(rtt - self._last) - self.jitter) / 16
        self._last = rtt
        self.times.add(rtt)
        self.bars[bar_of(rtt)] += 1
        if self._is_shown:
            self._output.say(f"seq={sequence} time={in_ms(rtt)} ms")
            self._output.record(event="pong", sequence=sequence, rtt=rtt)
        self._wake()

    async def send(
        self, connection: Connection, count: int | None, interval: float | None, wait: float
    ) -> None:
        """Ping so many times, each interval or, without one, whenever the last was answered."""
        due = trio.current_time()
        for sequence in count_from(1) if count is None else range(1, count + 1):
            self._in_flight[connection.ping_nowait()] = sequence
            self.sent = sequence
            await self._output.flush()
            if interval is None:
                await self._until(connection, lambda: not self._in_flight, wait)
                self._in_flight.clear()  # what has not come is lost
            elif sequence != count:
                due = max(due + interval, trio.current_time())
                await self._until(connection, lambda: False, due - trio.current_time())
                await self._until(connection, self._has_room, wait)
                while not self._has_room():
                    del self._in_flight[next(iter(self._in_flight))]
        await self._until(connection, lambda: not self._in_flight, wait)

    def _has_room(self) -> bool:
        return len(self._in_flight) < MAX_IN_FLIGHT

    async def _until(
        self, connection: Connection, condition: Callable[[], bool], seconds: float
    ) -> None:
        """Wait for a condition, at most so long; ConnectionClosed when the connection ends."""
        with trio.move_on_after(seconds):
            while not condition():
                if connection.closure is not None:
                    raise ConnectionClosed(connection.closure)
                await self._changed.wait()

    def sum_up(self, url: str, seconds: float) -> None:
        """Say what came of all of them."""
        times, answered = self.times, self.times.count
        lost = (self.sent - answered) / self.sent if self.sent else 0.0
        self._output.record(
            event="summary",
            sent=self.sent,
            answered=answered,
            loss=lost,
            seconds=seconds,
            jitter=self.jitter if answered else None,
            **times.to_dict(),
            histogram=[[low, self.bars[low]] for low in sorted(self.bars)],
        )
        say = self._output.say
        say(Text(f"\n--- {url} ---", style="bold"))
        say(f"{self.sent} pings sent, {answered} answered, {lost:.1%} lost, in {seconds:.3f} s")
        if answered:
            figures = [times.minimum, times.mean, times.maximum, self.jitter]
            say(f"min/avg/max/jitter {'/'.join(map(in_ms, figures))} ms")
            say(f"p50/p90/p99 {'/'.join(in_ms(times.percentile(p)) for p in (50, 90, 99))} ms")
            most = max(self.bars.values())
            for low in sorted(self.bars):
                bar = Text("█" * math.ceil(self.bars[low] / most * BAR), style="cyan")
                say(Text.assemble(f"from {in_ms(low):>8} ms ", bar, f" {self.bars[low]}"))


def bar_of(seconds: float) -> float:
    """Where the bar begins that a time belongs to, in seconds."""
    if seconds < 1e-6:
        return 0.0
    exponent = math.floor(math.log10(seconds))
    lows = [float(f"{step}e{at}") for at in (exponent - 1, exponent) for step in STEPS]
    return max(low for low in lows if low <= seconds)


def in_ms(seconds: float) -> str:
    """A time in milliseconds, to the microsecond."""
    return f"{seconds * 1000:.3f}"
