"""A thousand clients lose their server at one moment: when do they come back?

python benchmarks/stampede.py               # a minute; writes STAMPEDE.md and charts/stampede.svg
python benchmarks/stampede.py --quick       # a look: 100 clients, nothing written

The server is a process that is killed, and started again on the same port after a while; or that is
drained in order. The clients are `hubws.reconnect` in one process, each over a socket of its own.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

import chart
import machine
import measure
import trio

import hubws
from hubws.client.backoff import Backoff
from hubws.client.reconnect import Connecting, Event, Lost, Opened, reconnect

HERE = Path(__file__).parent
DOWN = 3.0
"""How long after one server was killed the next is started, in seconds."""
BIN = 0.1
"""Attempts are counted by this time, in seconds."""
SHOWN = ("date", "CPU", "cores", "kernel", "Python", "hubws commit", "trio")


class Case(NamedTuple):
    """How the clients wait, and how they lose their server."""

    name: str
    backoff: Backoff
    draw: Callable[[], float] | None
    drained: bool = False


def whole() -> float:
    """No jitter: each time the longest wait."""
    return 1.0


CASES = [
    Case("killed; waits doubled from 0.1 s, without jitter", Backoff(), whole),
    Case("killed; the same with full jitter, the default", Backoff(), None),
    Case("killed; full jitter from 2 s, for a fleet", Backoff(initial=2), None),
    Case("drained over 5 s; clients told 3 to 8 s", Backoff(), None, drained=True),
]


class Times(NamedTuple):
    """When what happened, in seconds from when the server was told to go."""

    back: float
    """There is a server again."""
    attempts: list[float]
    opened: list[float]


# -- the server's process ----------------------------------------------------------------------


async def serve(port: int) -> None:
    """Serve once there is a line to be read, until SIGTERM; then drain."""
    await trio.to_thread.run_sync(sys.stdin.readline)  # all is imported: it is there at once

    async def idle(connection: hubws.Connection) -> None:
        await connection.wait_closed()

    async def drain_when_told(scope: trio.CancelScope) -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain_when_told, nursery.cancel_scope)

        async def listening(task_status: trio.TaskStatus[hubws.Server]) -> None:
            await hubws.serve(
                idle, "127.0.0.1", port, backlog=4096, grace=7, spread=5, retry_after=3,
                task_status=task_status,
            )  # fmt: skip

        server = await nursery.start(listening)
        print(server.port, flush=True)


def prepare(core: int, port: int = 0) -> subprocess.Popen[str]:
    """Start a server's process on a core of its own, so that it can `listen` at once."""
    return subprocess.Popen(
        [sys.executable, __file__, "--serve", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - one thread
    )


def listen(server: subprocess.Popen[str]) -> int:
    """Have it listen; returns its port."""
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write("listen\n")
    server.stdin.flush()
    return int(server.stdout.readline())


def replace(old: subprocess.Popen[str], new: subprocess.Popen[str], *, drained: bool) -> float:
    """End a server and start the next, in a thread of its own; returns how long it took."""
    began = time.perf_counter()
    old.send_signal(signal.SIGTERM if drained else signal.SIGKILL)
    time.sleep(1 if drained else DOWN)
    listen(new)
    return time.perf_counter() - began


# -- the clients -------------------------------------------------------------------------------


async def clients(case: Case, count: int, core: int) -> Times:
    """Have so many clients lose their server, and wait until all are back."""
    server = prepare(core)
    port = await trio.to_thread.run_sync(listen, server)
    successor = prepare(core, port)
    attempts: list[float] = []
    opened: list[float] = []
    open_now = 0
    changed = trio.Event()

    def note(event: Event) -> None:
        nonlocal open_now, changed
        if isinstance(event, Connecting):
            attempts.append(trio.current_time())
        elif isinstance(event, Opened):
            opened.append(trio.current_time())
            open_now += 1
        elif isinstance(event, Lost) and isinstance(event.error, hubws.ConnectionClosed):
            open_now -= 1
        changed.set()
        changed = trio.Event()

    async def client(turn: float) -> None:
        await trio.sleep(turn)
        chance = {} if case.draw is None else {"draw": case.draw}
        async for connection in reconnect(
            f"ws://127.0.0.1:{port}/",
            backoff=case.backoff,
            on_event=note,
            keepalive_interval=None,
            timeout=30,
            **chance,
        ):
            await connection.wait_closed()

    try:
        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                for number in range(count):
                    nursery.start_soon(client, number / 500)
                while len(opened) < count:
                    await changed.wait()
                await trio.sleep(2)
                attempts.clear()
                opened.clear()
                began = trio.current_time()
                change = partial(replace, server, successor, drained=case.drained)
                back = await trio.to_thread.run_sync(change)
                while len(opened) < count or open_now < count:
                    await changed.wait()
                await trio.to_thread.run_sync(server.wait)
                nursery.cancel_scope.cancel()
    finally:
        for process in (server, successor):
            process.kill()
            process.wait()
    return Times(back, [at - began for at in attempts], [at - began for at in opened])


# -- the report --------------------------------------------------------------------------------


def binned(times: list[float], seconds: float) -> list[int]:
    """How many there are in each tenth of a second."""
    counts = [0] * round(seconds / BIN)
    for at in times:
        counts[min(int(at / BIN), len(counts) - 1)] += 1
    return counts


def histogram(title: str, panels: list[tuple[str, float, list[int]]], seconds: float) -> str:
    """A chart for each case, one above the other, in the style of the others.

    A case has a name, the time when the server was back, and how many attempts came when.
    """
    left, panel, top, width = 60, 130, 44, chart.WIDTH - 80
    height = top + panel * len(panels) + 30
    most = max(max(counts) for _, _, counts in panels)
    step = width / round(seconds / BIN)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" role="img"',
        f' viewBox="0 0 {chart.WIDTH} {height}" width="{chart.WIDTH}" height="{height}">',
        f"<title>{escape(title)}</title><style>{chart.STYLE}</style>",
        f'<text class="title" x="10" y="24">{escape(title)}</text>',
    ]
    for row, (name, back, counts) in enumerate(panels):
        base = top + panel * (row + 1) - 20
        scale = (panel - 50) / most
        kind = "peer" if row == 0 else "ours"
        parts.append(f'<text x="{left}" y="{base - panel + 42}">{escape(name)}</text>')
        parts.append(
            f'<text x="{left - 6}" y="{base - max(counts) * scale + 5:.1f}" text-anchor="end">'
            f"{max(counts):,}</text>"
        )
        parts.append(f'<path class="range" d="M{left} {base}.5H{left + width}"/>')
        mark = left + back / BIN * step
        parts.append(
            f'<path class="range" stroke-dasharray="3" d="M{mark:.1f} {base - panel + 50}V{base}"/>'
        )
        parts += [
            f'<rect class="{kind}" x="{left + at * step:.1f}" y="{base - count * scale:.1f}"'
            f' width="{step * 0.9:.2f}" height="{count * scale:.1f}"/>'
            for at, count in enumerate(counts)
            if count
        ]
    marks = range(0, int(seconds) + 1, 2)
    parts += [
        f'<text x="{left + mark / BIN * step:.1f}" y="{height - 12}" text-anchor="middle">'
        f"{mark} s</text>"
        for mark in marks
    ]
    return "\n".join([*parts, "</svg>", ""])


def row_of(case: Case, times: Times, count: int) -> str:
    """A line of the table."""
    opened = sorted(times.opened)
    late = [at for at in times.attempts if at >= times.back]
    cells = [
        case.name,
        f"{times.back:.1f} s",
        f"{len(times.attempts) / count:.1f}",
        f"{max(binned(times.attempts, 60)):,}",
        f"{max(binned(late, 60)):,}",
        f"{max(binned(times.opened, 60)):,}",
        f"{opened[count // 2]:.1f} s",
        f"{opened[count - 1]:.1f} s",
    ]
    return "| " + " | ".join(cells) + " |"


WORDS = """
Without jitter everybody comes at the same moments, the last time when the server is just back. Full
jitter draws each wait evenly from nothing to the doubled bound: the longer a server is away, the wider
its clients are spread. The first retry is drawn from 0 to `initial`, 0.1 s, which is at once for one
client; a fleet that is to be spread from the first retry on sets `hubws.Backoff(initial=...)` to its
number of clients divided by the handshakes that the server does in a second. A server that drains gives
every client a time of its own.
"""


def report(results: dict[Case, Times], count: int) -> str:
    """The page; "most" is in 100 ms."""
    facts = machine.describe()
    about = ", ".join(f"{name} {facts[name]}" for name in facts if name in SHOWN)
    return "\n".join(
        [
            f"# {count:,} clients lose their server",
            "",
            f"`python benchmarks/stampede.py`; {about}.",
            "All clients lose the server at 0 s; another is started, on the same port,",
            f"{DOWN:g} s after one was killed, or 1 s after one was told to drain. They are in",
            "one process, which takes half a second for 1,000 attempts, and longer under load, so",
            "that a burst is wider here than one of a thousand machines.",
            f"Load average {os.getloadavg()[1]:.1f}.",
            '"At once" is within 100 ms, "then on" once the server is back, dashed in the chart.',
            "",
            "| | server is back | attempts each | most at once | and then on |"
            " most opened at once | half are back | all are back |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
            *(row_of(case, times, count) for case, times in results.items()),
            "",
            "![Attempts to connect in each 100 ms](charts/stampede.svg)",
            WORDS,
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        trio.run(serve, arguments.serve)
        return
    count = 100 if arguments.quick else 1_000
    measure.raise_file_limit()
    server_core, _ = measure.cores()
    results = {case: trio.run(clients, case, count, server_core) for case in CASES}
    text = report(results, count)
    print(text)
    if arguments.quick:
        return
    longest = max(max(times.opened) for times in results.values())
    seconds = float(int(longest) + 1)
    panels = [
        (case.name, times.back, binned(times.attempts, seconds)) for case, times in results.items()
    ]
    title = f"{count:,} clients lose their server: attempts to connect in each 100 ms"
    (HERE / "charts" / "stampede.svg").write_text(histogram(title, panels, seconds))
    (HERE / "STAMPEDE.md").write_text(text)


if __name__ == "__main__":
    main()
