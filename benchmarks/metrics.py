"""What metrics and an access log cost: processor time for a message, with and without them.

python benchmarks/metrics.py                # some five minutes; writes METRICS.md
python benchmarks/metrics.py --quick        # a look; nothing written

All servers are there at once and idle but for the one that is under load, for a quarter of a second at
a time, in turns: what else the machine does meets all of them. One of them is the same server again;
its ratio says how far the others can be believed.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import statistics
import sys
import threading
import time
import urllib.request
from pathlib import Path

import loads
import machine
import measure

HERE = Path(__file__).parent
SHOWN = ("date", "CPU", "cores", "kernel", "Python", "hubws commit", "trio")
PLAIN = loads.python_server("without", "hubws_echo.py", "callbacks")
OTHERS = (
    loads.python_server("the same again", "hubws_echo.py", "callbacks"),
    loads.python_server("metrics, read each second", "hubws_echo.py", "callbacks", "metrics"),
    loads.python_server("and an access log", "hubws_echo.py", "callbacks", "log"),
)
LOADS = ("pipelined", "ping-pong", "handshake")
IDLE = 10_000


class Reader(threading.Thread):
    """Reads a server's metrics each second, as Prometheus would more seldom."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self.seconds: list[float] = []
        self.size = 0
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(1):
            self.read()

    def read(self) -> None:
        began = time.perf_counter()
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=10) as page:
            self.size = len(page.read())
        self.seconds.append(time.perf_counter() - began)

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self.join()


def cost(served: measure.Serving, load: loads.Load, seconds: float) -> float:
    """Processor seconds of the server for one message, or one handshake."""
    before = served.cpu_seconds()
    report = measure.put_load(served.port, load, seconds, "--warm-up=0")
    return (served.cpu_seconds() - before) / (report[load.figure] * report["seconds"])


def costs(load: loads.Load, turns: int, seconds: float) -> dict[str, list[float]]:
    """By server: what an operation took, turn by turn."""
    found: dict[str, list[float]] = {server.name: [] for server in (PLAIN, *OTHERS)}
    with contextlib.ExitStack() as stack:
        served = {}
        for server in (PLAIN, *OTHERS):
            served[server.name] = stack.enter_context(measure.serving(server, load))
            cost(served[server.name], load, seconds)  # not counted: it imports, and fills caches
        for server in OTHERS[1:]:
            stack.enter_context(Reader(served[server.name].port))
        names = list(served)
        for turn in range(turns):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                found[name].append(cost(served[name], load, seconds))
            if turn % 10 == 9:
                print(f"{load.name}, turn {turn + 1} of {turns}", file=sys.stderr, flush=True)
    return found


def rows(load: loads.Load, found: dict[str, list[float]]) -> list[str]:
    """Of the table: the median of the ratios to the server without, and the middle half of them."""
    lines = []
    for server in OTHERS:
        ratios = [a / b for a, b in zip(found[server.name], found[PLAIN.name], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        taken = statistics.median(found[server.name]) * 1e6
        lines.append(
            f"| {load.title} | {server.name} | {taken:.2f} | {middle:.3f} | {low:.3f} to {high:.3f} |"
        )
    return lines


def scrape(connections: int) -> tuple[float, int]:
    """How long a server with so many idle connections takes to answer, in seconds, and how much."""
    idle = next(load for load in loads.LOADS if load.is_memory)
    arguments = tuple(
        f"--connections={connections}" if part.startswith("--connections") else part
        for part in idle.arguments
    )
    load = dataclasses.replace(idle, arguments=arguments)
    metrics = next(server for server in OTHERS if server.name.startswith("metrics"))
    with measure.serving(metrics, load) as served, measure.holding(served.port, load):
        reader = Reader(served.port)
        for _ in range(5):
            reader.read()
    return statistics.median(reader.seconds), reader.size


def main() -> None:
    """Measure, and write METRICS.md."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="four short turns; nothing written")
    quick = parser.parse_args().quick
    measure.build()
    measure.raise_file_limit()
    busy = machine.busy_share()
    turns, seconds = (4, 0.1) if quick else (80, 0.25)
    table = []
    for load in (load for load in loads.LOADS if load.name in LOADS):
        table += rows(load, costs(load, turns, seconds))
    many = 1000 if quick else IDLE
    took, size = scrape(many)
    facts = machine.describe()
    text = "\n".join(
        [
            "# What metrics and an access log cost",
            "",
            "Written by `metrics.py`: the server's processor time for a message or a handshake, in",
            f"{turns} turns of {seconds:g} s, each against the same server without them; the server on",
            "one core, the load on the other; 1 is no difference.",
            "",
            *(f"- {name}: {facts[name]}" for name in SHOWN if name in facts),
            f"- others used {busy:.0%} of the processors before it began",
            "",
            "| load | with | microseconds | median of the ratios | middle half |",
            "|---|---|---:|---:|---:|",
            *table,
            "",
            f"With {many:,} open connections the metrics are {size:,} bytes, and it takes",
            f"{took * 1e3:.1f} ms to read them, in most of which the server does nothing else.",
            "",
        ]
    )
    print(text)
    if not quick:
        (HERE / "METRICS.md").write_text(text)


if __name__ == "__main__":
    main()
