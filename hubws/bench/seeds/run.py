"""The seeds' benchmarks by their names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from .chatting import chat
from .echoing import memory, offered, throughput, traffic
from .millions import million
from .proxying import proxy_delay
from .pushing import pushed
from .section import Scale, Section

SEEDS: dict[str, Callable[[Scale], Awaitable[Section]]] = {
    "proxy": proxy_delay,
    "tps": throughput,
    "traffic": traffic,
    "memory": memory,
    "million": million,
    "chat": chat,
    "rate": offered,
    "push": pushed,
}
"""By the name by which one is asked for, in the order of the documents."""


def check_names(names: Sequence[str]) -> None:
    """ValueError for a name that none of them has."""
    for name in names:
        if name not in SEEDS:
            raise ValueError(f"there is no benchmark {name!r}; there are {', '.join(SEEDS)}")
