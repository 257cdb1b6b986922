"""One of the documents' benchmarks: how large it is here, and what came of it beside what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

from ..plan import Plan
from ..result import Result, Second, in_words
from ..stages import Stage
from ..tables import size_in_words
from ..workers import Workers

SETTLED = 1.0
"""Seconds until memory is looked at after everybody has left."""

_SETTINGS: dict[str, Any] = {"proxy": None, "timeout": 60.0}

Watch = Callable[[Second], object]


@attrs.frozen
class Row:
    """One figure: of the document, and of ours."""

    what: str
    theirs: str
    ours: str


@attrs.frozen
class Section:
    """One benchmark."""

    title: str
    document: str
    theirs: str
    """How the document did it, and on what hardware."""
    ours: str
    """How it was done here."""
    rows: Sequence[Row]
    remark: str = ""


@attrs.frozen(kw_only=True)
class Scale:
    """How large the benchmarks are.

    Args:
        quick: a hundredth of it; shows that everything works, and nothing else.
        million: how many connections the test with a million has here.
        processes: that share the clients.
        say: told what is going on, in a line.

    """

    quick: bool = False
    million: int = 30_000
    processes: int = 1
    say: Callable[[str], object] = print

    def count(self, full: int) -> int:
        """Of connections, or of messages that each sends in a second."""
        return full // 100 if self.quick and full >= 1000 else full

    def seconds(self, full: float) -> float:
        """Of a measurement."""
        return full / 100 if self.quick else full

    async def load(self, plan: Plan, watch: Watch | None = None) -> Result:
        """Carry out a plan, and have somebody watch each second."""

        def on_second(second: Second) -> None:
            if watch is not None:
                watch(second)
            self.say(
                f"{second.number + 1}s: {second.active:,} connections, {second.sent:,} sent, "
                f"{second.received:,} received"
            )

        return await Workers(attrs.evolve(plan, connect=_SETTINGS), on_second).run()


def steady(connections: int, seconds: float, ramp: float = 0.0) -> tuple[Stage, ...]:
    """So many connections, all at once or within `ramp` seconds, for so long."""
    return Stage(connections, ramp), Stage(connections, seconds)


def full_seconds(result: Result) -> list[Second]:
    """The seconds in which all connections were there from the beginning to the end.

    All that there are when a test is too short for that.
    """
    plan = result.plan
    return [
        one
        for one in result.by_second
        if one.number >= plan.stages[0].seconds and one.number + 1 <= plan.seconds
    ] or result.by_second


def times(result: Result, name: str = "ws_rtt") -> str:
    """Mean, median and p99 of a run."""
    trend = result.total.trends.get(name)
    if trend is None:
        return "nothing came back"
    return ", ".join(
        f"{figure} {in_words(trend.figure(figure))}" for figure in ("avg", "med", "p99", "max")
    )


def per_connection(more: int, connections: int) -> str:
    """Memory for each."""
    return f"{more / max(connections, 1) / 1000:.1f} kB each"


def memory_available() -> int:
    """What the machine has left, in bytes."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def checks(result: Result) -> str:
    """How many checks passed, as k6 writes it."""
    passed, checked = result.total.checks_passed
    return f"{passed / checked:.2%} ✓ {passed} ✗ {checked - passed}" if checked else "none"


def size_and_rate(result: Result, name: str) -> str:
    """A count of bytes, and of bytes a second."""
    return f"{size_in_words(result.total.counts[name])} {size_in_words(result.rate(name))}/s"
