"""What it costs to monitor round-trip times: CPU time, memory, the time of an export.

python benchmarks/monitor.py                # some three minutes; writes benchmarks/MONITOR.md
python benchmarks/monitor.py --quick        # a look: 1,000 connections, 5 s, nothing written

A server process on one core has the members, the load generator on another holds the connections and
answers the pings. All pings go through real sockets.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import machine
import measure
import trio

import hubws
from hubws.hub.monitor import open_monitor

HERE = Path(__file__).parent
LOAD = measure.BUILD / "load"
INTERVAL = 10.0


# -- the server's process ----------------------------------------------------------------------


def resident() -> float:
    """Resident memory of this process, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


async def share_of_a_core(seconds: float) -> float:
    """CPU time of this process over the next seconds, system calls included, as a share of them."""
    cpu, wall = time.process_time(), time.perf_counter()
    await trio.sleep(seconds)
    return (time.process_time() - cpu) / (time.perf_counter() - wall)


async def count(samples: Any) -> None:
    async for _ in samples:
        pass


async def monitored(hub: hubws.Hub, seconds: float) -> dict[str, float]:
    """The figures with a monitor: alone, and with a task that takes all samples."""
    before = resident()
    async with open_monitor(hub, interval=INTERVAL, rtt_bound=1.0, loss_bound=0.5) as monitor:
        await trio.sleep(INTERVAL * 1.2)
        pings = monitor.total.pings
        report = {"monitored": await share_of_a_core(seconds)}
        report["pings a second"] = (monitor.total.pings - pings) / seconds
        report["bytes a connection"] = (resident() - before) / len(hub)
        async with monitor.samples() as samples, trio.open_nursery() as nursery:
            nursery.start_soon(count, samples)
            report["samples taken"] = await share_of_a_core(seconds)
            report["samples dropped"] = samples.dropped
            nursery.cancel_scope.cancel()
        begun = time.process_time()
        size = len(await monitor.to_json())
        report["export seconds"] = time.process_time() - begun
        report["export bytes"] = size
        total = monitor.total
        report |= {
            "lost": total.lost,
            "rtt p50": total.rtt.percentile(50),
            "rtt p99": total.rtt.percentile(99),
            "kernel p50": total.kernel_rtt.percentile(50),
            "queue delay p99": total.queue_delay.percentile(99),
        }
    return report


async def serve(connections: int, seconds: float, keepalive: float | None) -> None:
    """Wait for the connections, measure, print the report."""
    async with hubws.open_hub() as hub, trio.open_nursery() as nursery:

        async def listen(task_status: Any) -> None:
            await hubws.serve(
                hubws.Callbacks(on_open=hub.register),
                "127.0.0.1",
                0,
                backlog=4096,
                keepalive_interval=keepalive,
                task_status=task_status,
            )

        server = await nursery.start(listen)
        print(server.port, flush=True)
        with trio.fail_after(60):
            while len(hub) < connections:  # noqa: ASYNC110 - a hub tells nobody
                await trio.sleep(0.1)
        await trio.sleep(2)
        report = {"idle": await share_of_a_core(seconds)}
        if keepalive is None:
            report |= await monitored(hub, seconds)
        if len(hub) != connections:
            raise SystemExit(f"{connections - len(hub)} connections were lost")
        print(json.dumps(report), flush=True)
        nursery.cancel_scope.cancel()


# -- the benchmark -----------------------------------------------------------------------------


def run(connections: int, seconds: float, keepalive: float | None) -> dict[str, float]:
    """Start both processes and return the server's report."""
    server_core, load_core = measure.cores()
    command = [sys.executable, __file__, "--serve", str(connections), str(seconds)]
    with tempfile.TemporaryFile() as errors:
        server = subprocess.Popen(
            [*command, "none" if keepalive is None else str(keepalive)],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {server_core}),  # noqa: PLW1509 - one thread
        )
        assert server.stdout is not None
        load = subprocess.Popen(
            [
                str(LOAD), f"--port={server.stdout.readline().strip()}", "--mode=idle",
                f"--connections={connections}", f"--seconds={3 * seconds + 120}",
            ],
            stdout=errors, stderr=errors,
            preexec_fn=lambda: os.sched_setaffinity(0, {load_core}),  # noqa: PLW1509 - one thread
        )  # fmt: skip
        try:
            report: dict[str, float] = json.loads(server.stdout.readline())
            return report
        finally:
            for process in (load, server):
                process.terminate()
                process.wait()
            server.stdout.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        connections, seconds, keepalive = arguments.serve
        trio.run(
            serve,
            int(connections),
            float(seconds),
            None if keepalive == "none" else float(keepalive),
        )
        return
    connections, seconds = (1_000, 5.0) if arguments.quick else (10_000, 40.0)
    measure.raise_file_limit()
    if not LOAD.exists():
        LOAD.parent.mkdir(exist_ok=True)
        subprocess.run(["cc", "-O2", "-o", str(LOAD), str(HERE / "load.c")], check=True)
    with_monitor = run(connections, seconds, None)
    keepalive = run(connections, seconds, 20.0)["idle"]
    text = report_of(connections, seconds, with_monitor, keepalive)
    print(text)
    if not arguments.quick:
        (HERE / "MONITOR.md").write_text(text)
    if with_monitor["monitored"] >= 0.05:
        raise SystemExit("MISSED: the monitor takes 5 % of a core or more")


def report_of(connections: int, seconds: float, figures: dict[str, float], keepalive: float) -> str:
    """The figures as a page."""
    facts = machine.describe()
    about = ", ".join(f"{name} {facts[name]}" for name in facts if name in SHOWN)
    micro = {name: f"{figures[name] * 1e6:.0f}" for name in figures}
    each = (figures["monitored"] - figures["idle"]) / figures["pings a second"] * 1e6
    rate = f"{figures['pings a second']:,.0f} pings a second"
    shares = {
        "nothing: no keepalive, no monitor": figures["idle"],
        f"monitor with alarms for RTT and loss, {rate}": figures["monitored"],
        "the same, and a task that takes every sample": figures["samples taken"],
        "for comparison: keepalive alone, every 20 s": keepalive,
    }
    rows = {
        "target: under 5 % of a core": "met" if figures["monitored"] < 0.05 else "MISSED",
        "a ping and its pong, everything included": f"{each:.0f} microseconds of CPU",
        "memory of a monitored connection, its own ping statistics included": (
            f"{figures['bytes a connection'] / 1000:.1f} KB"
        ),
        f"export of everything as JSON, {figures['export bytes'] / 1e6:.1f} MB, in slices": (
            f"{figures['export seconds'] * 1000:.0f} ms of CPU"
        ),
        "round-trip time, p50 and p99": f"{micro['rtt p50']} and {micro['rtt p99']} microseconds",
        "of that the kernel's estimate, p50": f"{micro['kernel p50']} microseconds",
        "queue delay, p99; in no round-trip time": f"{micro['queue delay p99']} microseconds",
        "pings lost; samples that the task did not get": (
            f"{figures['lost']:.0f}; {figures['samples dropped']:.0f}"
        ),
    }
    lines = [
        "# What monitoring costs",
        "",
        f"`python benchmarks/monitor.py`; {about}.",
        f"{connections:,} connections over 127.0.0.x, a ping to each every {INTERVAL:g} s, measured",
        f"over {seconds:g} s. The server's process on one core, system calls included; the peer, in C,",
        f"on the other. Load average {os.getloadavg()[1]:.1f}: waking up costs more when others have",
        "used the caches meanwhile.",
        "",
        "| | share of one core |",
        "| --- | ---: |",
        *(f"| {name} | {share:.2%} |" for name, share in shares.items()),
        "",
        "| | |",
        "| --- | ---: |",
        *(f"| {name} | {value} |" for name, value in rows.items()),
        "",
    ]
    return "\n".join(lines)


SHOWN = ("date", "CPU", "cores", "kernel", "Python", "hubws commit", "trio")

if __name__ == "__main__":
    main()
