"""What metrics and an access log cost: the same loads with and without them, in turns.

python benchmarks/metrics.py                # some four minutes; writes METRICS.md
python benchmarks/metrics.py --quick        # a look; nothing written
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import loads
import machine
import measure

HERE = Path(__file__).parent
SHOWN = ("date", "CPU", "cores", "kernel", "Python", "hubws commit", "trio")
PLAIN = loads.python_server("without", "hubws_echo.py", "callbacks")
OTHERS = (
    loads.python_server("metrics, read each second", "hubws_echo.py", "callbacks", "metrics"),
    loads.python_server("and an access log", "hubws_echo.py", "callbacks", "log"),
)
LOADS = ("pipelined", "ping-pong", "handshake")
IDLE = 10_000


class Reader(threading.Thread):
    """Reads a server's metrics each second, as Prometheus would more seldom."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.port: int | None = None
        self.seconds: list[float] = []
        self.sizes: list[int] = []
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(1):
            try:
                self.read()
            except OSError:
                if self.port is not None:  # else the server has just gone
                    raise

    def read(self) -> None:
        if self.port is None:
            return
        began = time.perf_counter()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as page:
            self.sizes.append(len(page.read()))
        self.seconds.append(time.perf_counter() - began)

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def figure(server: loads.Server, load: loads.Load, seconds: float, *, is_read: bool) -> float:
    """One round of one server."""
    reader = Reader()
    if is_read:
        reader.start()
    try:
        report: dict[str, Any] = measure.measure(
            server, load, seconds, on_ready=lambda port: setattr(reader, "port", port)
        )
    finally:
        reader.port = None
        if is_read:
            reader.stop()
    return float(report[load.figure])


def ratios(load: loads.Load, rounds: int, seconds: float) -> dict[str, list[float]]:
    """By server: its figures as shares of those without, turn by turn."""
    found: dict[str, list[float]] = {server.name: [] for server in OTHERS}
    for turn in range(rounds):
        order = (PLAIN, *OTHERS) if turn % 2 else (*reversed(OTHERS), PLAIN)
        figures = {
            server.name: figure(server, load, seconds, is_read=server is not PLAIN)
            for server in order
        }
        for server in OTHERS:
            found[server.name].append(figures[server.name] / figures[PLAIN.name])
        shown = ", ".join(f"{name} {values[-1]:.3f}" for name, values in found.items())
        print(f"{load.name}, turn {turn + 1} of {rounds}: {shown}", file=sys.stderr, flush=True)
    return found


def scrape(connections: int) -> tuple[float, int]:
    """How long a server with so many idle connections takes to answer, in seconds, and how much."""
    idle = next(load for load in loads.LOADS if load.is_memory)
    reader = Reader()

    def on_ready(port: int) -> None:
        reader.port = port

    def on_settled() -> None:
        for _ in range(5):
            reader.read()

    arguments = tuple(
        f"--connections={connections}" if part.startswith("--connections") else part
        for part in idle.arguments
    )
    load = dataclasses.replace(idle, arguments=arguments)
    measure.measure(OTHERS[0], load, 1, on_ready=on_ready, on_settled=on_settled)
    return statistics.median(reader.seconds), reader.sizes[-1]


def main() -> None:
    """Measure, and write METRICS.md."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two short turns; nothing written")
    quick = parser.parse_args().quick
    measure.build()
    measure.raise_file_limit()
    busy = machine.busy_share()
    rounds, seconds = (2, 0.3) if quick else (14, 1.2)
    rows = []
    for load in (load for load in loads.LOADS if load.name in LOADS):
        for name, values in ratios(load, rounds, seconds).items():
            low, high = min(values), max(values)
            rows.append(
                f"| {load.title} | {name} | {statistics.median(values):.3f} | {low:.3f} to {high:.3f} |"
            )
    many = 1000 if quick else IDLE
    took, size = scrape(many)
    facts = machine.describe()
    text = "\n".join(
        [
            "# What metrics and an access log cost",
            "",
            f"Written by `metrics.py`: {rounds} turns of {seconds:g} s, each against the same server",
            "without them; the server on one core, the load on the other; 1 is no difference.",
            "",
            *(f"- {name}: {facts[name]}" for name in SHOWN if name in facts),
            f"- others used {busy:.0%} of the processors before it began",
            "",
            "| load | with | median of the ratios | from, to |",
            "|---|---|---:|---:|",
            *rows,
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
