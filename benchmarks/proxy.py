"""What a proxy costs: hubws, nginx and haproxy in front of the same echo server, in turns.

python benchmarks/proxy.py                # some five minutes; writes benchmarks/PROXY.md and charts
python benchmarks/proxy.py --quick        # a look, nothing written
python benchmarks/proxy.py --loads delay  # one of delay, throughput, memory, leaks

The proxy has one core; the echo server (servers/c_echo.c) and the load share the other.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import machine
import measure
from chart import Bar, bar_chart
from loads import BUILD, HERE

DIRECT = "direct"
HUBWS, INSPECTING = "hubws", "hubws, inspecting"
PROXIES = (HUBWS, INSPECTING, "nginx", "haproxy")
LOADS = ("delay", "throughput", "memory", "leaks")
CLIENTS, INTERVAL_MS, IN_FLIGHT, IDLE, COMINGS = 100, 100, 16, 5_000, 10_000
WARM_UP = 5
"""Rounds of `delay` that are not counted."""

NGINX = """\
daemon off;
pid nginx.pid;
error_log stderr crit;
worker_processes 1;
events {{ worker_connections 15000; }}
http {{
    access_log off;
    client_body_temp_path temporary;
    proxy_temp_path temporary;
    fastcgi_temp_path temporary;
    uwsgi_temp_path temporary;
    scgi_temp_path temporary;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection upgrade;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_read_timeout 600s;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ proxy_pass http://127.0.0.1:{behind}; }}
    }}
}}
"""
HAPROXY = """\
global
    nbthread 1
    maxconn 8000
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    timeout tunnel 600s
listen front
    bind 127.0.0.1:{port} backlog 4096
    option forwardfor
    server behind 127.0.0.1:{behind}
"""


# -- programs ----------------------------------------------------------------------------------


@contextlib.contextmanager
def running(command: list[str], port: int, core: int) -> Iterator[subprocess.Popen[bytes]]:
    """A program on one core, from when it listens at a port to the end of the block."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - one thread
        )
        try:
            until = time.monotonic() + measure.START_LIMIT
            while not listens(port):
                if process.poll() is not None or time.monotonic() > until:
                    log.seek(0)
                    raise SystemExit(f"{command[0]} does not listen: {log.read().decode()}")
                time.sleep(0.02)
            yield process
        finally:
            process.terminate()
            process.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def proxy(name: str, backend: int, core: int) -> Iterator[tuple[int, int]]:
    """A proxy at work: its port and its first process; for `direct` the backend's, and 0."""
    if name == DIRECT:
        yield backend, 0
        return
    port = measure._free_port()
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "configuration"
        if name in (HUBWS, INSPECTING):
            script = str(HERE / "servers" / "hubws_proxy.py")
            mode = "transparent" if name == HUBWS else "inspecting"
            command = [sys.executable, script, str(port), str(backend), mode]
        elif name == "nginx":
            Path(folder).chmod(0o755)
            configuration.write_text(NGINX.format(port=port, behind=backend))
            command = [program(name), "-p", folder, "-c", str(configuration), "-e", "stderr"]
        else:
            configuration.write_text(HAPROXY.format(port=port, behind=backend))
            command = [program(name), "-db", "-f", str(configuration)]
        with running(command, port, core) as process:
            yield port, process.pid


def program(name: str) -> str:
    """The path of a proxy, which is installed if that is possible."""
    subprocess.run([HERE.parent / "scripts/need", name], check=True)
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert path is not None
    return path


def processes(pid: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def run(*command: object) -> dict[str, Any]:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stderr.strip()}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


# -- loads -------------------------------------------------------------------------------------


def cpu_seconds(pid: int) -> float:
    total = 0
    for one in processes(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def delay(port: int, pid: int, seconds: float) -> dict[str, float]:
    """100 clients, each sends its clock every 100 ms; microseconds until it is back."""
    command = [BUILD / "delay", port, CLIENTS, INTERVAL_MS, seconds, "/"]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True) as load:
        assert load.stdout is not None
        load.stdout.readline()  # all connections are open
        before = cpu_seconds(pid) if pid else 0.0
        said = load.stdout.readline()
    if load.returncode:
        raise SystemExit("the load failed")
    report: dict[str, float] = json.loads(said)
    if pid:
        sent = report["echoes"] * (1 + WARM_UP * INTERVAL_MS / 1000 / seconds)
        report["cpu"] = (cpu_seconds(pid) - before) / sent * 1e6
    return report


def throughput(port: int, pid: int, seconds: float) -> dict[str, float]:
    """100 connections with 16 messages of 32 bytes in flight; messages a second."""
    del pid
    load = [BUILD / "load", f"--port={port}", "--mode=echo", "--connections=100"]
    report = run(*load, f"--in-flight={IN_FLIGHT}", "--size=32", f"--seconds={seconds}")
    return {"messages": report["messages_per_second"]}


def memory(port: int, pid: int, connections: int) -> dict[str, float]:
    """What the proxy's processes have in memory with idle connections, and without, in bytes."""
    if not pid:
        return {}
    before = resident(pid)
    load = [BUILD / "load", f"--port={port}", "--mode=idle", f"--connections={connections}"]
    command = [str(part) for part in [*load, "--seconds=60"]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        if holder.stdout.readline().strip() != "ready":
            raise SystemExit("the connections could not be opened")
        time.sleep(1)
        after = resident(pid)
        holder.kill()
    return {"total": after, "each": (after - before) / connections}


def resident(pid: int) -> float:
    total = 0.0
    for one in processes(pid):
        status = Path(f"/proc/{one}/status").read_text()
        total += int(status.partition("VmRSS:")[2].split()[0]) * 1024
    return total


# -- leaks -------------------------------------------------------------------------------------


REQUEST = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
STATES = ("connected", "half a request", "asked", "accepted", "in a frame", "stalled")


def read_head(end: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        head += end.recv(4096)
    return head


def accept(peer: socket.socket, head: bytes) -> None:
    """Answer as a backend."""
    from hubws.protocol.handshake import accept_key

    start = head.lower().index(b"sec-websocket-key: ") + 19
    key = head[start : start + 24].decode()
    peer.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept_key(key).encode() + b"\r\n\r\n"
    )


def come_and_go(number: int, port: int, listener: socket.socket) -> None:
    """One client that comes to some state, and is closed or reset, before or after its backend."""
    state, number = number % len(STATES), number // len(STATES)
    ends = [socket.create_connection(("127.0.0.1", port), timeout=10)]
    if state > 0:
        ends[0].sendall(REQUEST[: 50 if state == 1 else None])
    if state > 1:
        ends.append(listener.accept()[0])
        ends[1].settimeout(10)
        head = read_head(ends[1])
    if state > 2:
        accept(ends[1], head)
        read_head(ends[0])
    if state == 4:
        for end in ends:
            end.sendall(b"\x81\xfe\x10\x00half a frame")
    if state == 5:
        ends[number % 2].setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(4):
                ends[number % 2].send(bytes(1 << 20))
    if number // 2 % 2:
        ends.reverse()
    for end in ends:
        if number // 4 % 2:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.close()


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def leaks(count: int, core: int) -> dict[str, float]:
    """What is left of 10,000 connections that went in every state."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=1000) as listener,
        proxy(HUBWS, listener.getsockname()[1], core) as (port, pid),
    ):
        listener.settimeout(10)
        for number in range(count // 10):  # until everything has been needed once
            come_and_go(number, port, listener)
        time.sleep(2.5)
        report = {"descriptors before": descriptors(pid), "memory before": resident(pid)}
        for number in range(count):
            come_and_go(number, port, listener)
        time.sleep(2.5)
        return report | {"descriptors after": descriptors(pid), "memory after": resident(pid)}


# -- the run -----------------------------------------------------------------------------------


def build() -> None:
    measure.build()
    command = ["cc", "-O2", "-Wall", "-Wextra", "-o", str(BUILD / "delay"), str(HERE / "delay.c")]
    subprocess.run(command, check=True)


Results = dict[str, dict[str, list[dict[str, float]]]]


def measure_in_turns(arguments: argparse.Namespace, cores: tuple[int, int]) -> Results:
    proxy_core, load_core = cores
    os.sched_setaffinity(0, {load_core})  # and all that it starts, unless it says otherwise
    names = (DIRECT, *PROXIES)
    results: Results = {load: {name: [] for name in names} for load in arguments.loads}
    backend = measure._free_port()
    with running([str(BUILD / "c_echo"), str(backend)], backend, load_core):
        for turn in range(arguments.rounds):
            shift = turn % len(names)
            for name in names[shift:] + names[:shift]:
                for load in arguments.loads:
                    if load == "leaks" or (load == "memory" and turn):
                        continue
                    with proxy(name, backend, proxy_core) as (port, pid):
                        if load == "delay":
                            report = delay(port, pid, arguments.seconds)
                        elif load == "throughput":
                            report = throughput(port, pid, arguments.seconds)
                        else:
                            report = memory(port, pid, arguments.connections)
                    results[load][name].append(report)
                    print(f"round {turn + 1}, {load}, {name}: {report}", file=sys.stderr)
    if "leaks" in arguments.loads:
        results["leaks"] = {HUBWS: [leaks(arguments.comings, proxy_core)]}
    return results


def median(reports: list[dict[str, float]], key: str) -> float:
    return statistics.median(report[key] for report in reports)


def tables(results: Results) -> list[str]:
    lines: list[str] = []
    if "delay" in results:
        found = results["delay"]
        direct = median(found[DIRECT], "p50")
        nginx = median(found["nginx"], "p50") - direct
        lines += [
            "",
            f"## Delay of an echo: {CLIENTS} clients, each its clock every {INTERVAL_MS} ms",
            "",
            "| µs | mean | p50 | p90 | p99 | max | added (p50) | x nginx | CPU for an echo |",
            "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for name, reports in found.items():
            figures = [median(reports, key) for key in ("mean", "p50", "p90", "p99", "max")]
            cells = [f"{figure:,.0f}" for figure in figures]
            if name == DIRECT:
                cells += ["", "", ""]
            else:
                added = figures[1] - direct
                cells += [f"{added:,.0f}", f"{added / nginx:.2f}", f"{median(reports, 'cpu'):,.0f}"]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    if "throughput" in results:
        found = results["throughput"]
        nginx = median(found["nginx"], "messages")
        lines += [
            "",
            f"## Throughput: 100 connections, {IN_FLIGHT} messages of 32 bytes in flight",
            "",
            "| | messages a second | x nginx |",
            "|---|---:|---:|",
        ]
        for name, reports in found.items():
            figure = median(reports, "messages")
            lines.append(f"| {name} | {figure:,.0f} | {figure / nginx:.2f} |")
    if "memory" in results:
        lines += [
            "",
            f"## Memory of {IDLE:,} idle proxied connections",
            "",
            "| | MB in all | KB for each |",
            "|---|---:|---:|",
        ]
        for name, reports in results["memory"].items():
            if name != DIRECT:
                total, each = reports[0]["total"] / 1e6, reports[0]["each"] / 1e3
                lines.append(f"| {name} | {total:,.1f} | {each:,.1f} |")
    if "leaks" in results:
        report = results["leaks"][HUBWS][0]
        lines += [
            "",
            f"## What is left of {COMINGS:,} connections",
            "",
            f"Opened, then closed or reset by either side first, in these states: {', '.join(STATES)}.",
            "",
            "| hubws | before | after |",
            "|---|---:|---:|",
        ]
        for what, unit in (("descriptors", 1), ("memory", 1e6)):
            before, after = report[f"{what} before"] / unit, report[f"{what} after"] / unit
            lines.append(f"| {what}{', MB' if unit > 1 else ''} | {before:,.4g} | {after:,.4g} |")
    return lines


def charts(results: Results) -> dict[str, str]:
    made = {}
    for load, key, title in (
        ("delay", "p50", "Median delay of an echo, in microseconds (less is better)"),
        ("throughput", "messages", "Messages a second through the proxy"),
    ):
        if load in results:
            bars = []
            for name, reports in results[load].items():
                values = [report[key] for report in reports]
                kind = "limit" if name == DIRECT else "ours" if "hubws" in name else "peer"
                bars.append(Bar(name, kind, min(values), median(reports, key), max(values)))
            made[f"proxy-{load}.svg"] = bar_chart(title, bars)
    return made


def version(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).splitlines()[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of one second")
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=LOADS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each run; default: 4")
    arguments = parser.parse_args()
    arguments.connections, arguments.comings = IDLE, COMINGS
    if arguments.quick:
        arguments.rounds, arguments.seconds = 1, 1.0
        arguments.connections, arguments.comings = 500, 1_000
    measure.raise_file_limit()
    build()
    busy = machine.busy_share()
    cores = measure.cores()
    results = measure_in_turns(arguments, cores)
    facts = machine.describe() | {
        "nginx": version(program("nginx"), "-v").removeprefix("nginx version: "),
        "haproxy": version(program("haproxy"), "-v"),
    }
    text = "\n".join(
        [
            "# What a proxy costs",
            "",
            "Written by `python benchmarks/proxy.py`, which says how it is measured.",
            f"{arguments.rounds} rounds in turns, {arguments.seconds:g} s each, medians.",
            f"The proxy on core {cores[0]}; the echo server (`c_echo`) and the load on {cores[1]}.",
            f"Others used {busy:.0%} of the processors when it began"
            + (": the machine was not quiet." if busy > machine.BUSY else "."),
            *tables(results),
            "",
            "## Machine and versions",
            "",
            *[f"- {name}: {value}" for name, value in facts.items()],
            "",
        ]
    )
    print(text)
    if not arguments.quick and set(arguments.loads) == set(LOADS):
        (HERE / "PROXY.md").write_text(text)
        for name, chart in charts(results).items():
            (HERE / "charts" / name).write_text(chart)


if __name__ == "__main__":
    main()
