"""Shows what a second worker brings on this machine, and what a message between hubs costs:
`python benchmarks/workers.py --help`.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import machine
import trio
from loads import BUILD, HERE
from measure import MeasurementError, _free_port, _running, build, raise_file_limit

import hubws
from hubws.backplane.redis import RedisBackplane
from hubws.hub.linked import LinkedHub

SHOWN = ("date", "CPU", "cores", "kernel", "Python", "hubws commit")
WORK = 100
"""Microseconds of CPU that the application takes for each message."""
TICKS = os.sysconf("SC_CLK_TCK")
SIZE = 128
"""Bytes of a message between hubs."""

Measure = Callable[[float], dict[str, float]]


def cpu_seconds(pid: int) -> float:
    """That a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def echo(workers: int, work: int, seconds: float) -> dict[str, float]:
    """Echoes a second, with so many workers; the generator runs where it finds room."""
    port = _free_port()
    server = [sys.executable, str(HERE / "servers/hubws_workers.py"), str(port)]
    load = [str(BUILD / "load"), f"--port={port}", "--connections=100", "--in-flight=4"]
    command = ["taskset", "-c", "0,1", *server, str(workers), str(work)]
    with _running(command, 0, 15):
        done = subprocess.run(
            [*load, f"--seconds={seconds}"], capture_output=True, text=True, check=False, timeout=60
        )
    if done.returncode != 0:
        raise MeasurementError(done.stderr.strip() or "load failed")
    return {"messages/s": json.loads(done.stdout)["messages_per_second"]}


@contextlib.contextmanager
def redis_server() -> Iterator[tuple[int, str]]:
    """A server of our own: its process and its URL."""
    with tempfile.TemporaryDirectory(prefix="hubws-") as folder:
        path = f"{folder}/redis.sock"
        options = ["--port", "0", "--unixsocket", path, "--dir", folder, "--save", ""]
        process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        try:
            while not Path(path).exists():
                time.sleep(0.01)
            yield process.pid, f"unix://{path}"
        finally:
            process.kill()
            process.wait()


async def receive(url: str, count: int, topic: str) -> None:
    """In a process of its own: a hub that gets all, for no member; says how much CPU it took."""
    async with hubws.open_hub(backplane=RedisBackplane(url)) as hub:
        assert isinstance(hub, LinkedHub)
        hub.configure("kept", history=hubws.Retention())
        with hub._following(topic):
            await trio.sleep(0.2)  # until it is followed
            print("ready", flush=True)
            while not hub.link_statistics().received:  # noqa: ASYNC110
                await trio.sleep(0.001)
            before, had = time.process_time(), hub.link_statistics().received
            while (have := hub.link_statistics().received) < count:  # noqa: ASYNC110
                await trio.sleep(0.05)
            took = (time.process_time() - before) * count / max(have - had, 1)
            print(json.dumps({"cpu": took}), flush=True)


async def send(url: str, count: int, topic: str) -> float:
    """Send from this process; returns the CPU that it took."""
    async with hubws.open_hub(backplane=RedisBackplane(url)) as hub:
        assert isinstance(hub, LinkedHub)
        hub.configure("kept", history=hubws.Retention())
        before = time.process_time()
        for number in range(0, count, 100):
            for _ in range(min(100, count - number)):
                hub.broadcast("x" * SIZE, topic=topic)
            await hub.flush()
        return time.process_time() - before


def between_hubs(topic: str, seconds: float) -> dict[str, float]:
    """What one message costs the hub that sends it, Redis, and a hub that gets it."""
    count = round(10_000 * seconds)
    with redis_server() as (pid, url):
        command = [sys.executable, __file__, "--receive", url, str(count), topic]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as receiver:
            assert receiver.stdout is not None
            if receiver.stdout.readline().strip() != "ready":
                raise MeasurementError("the receiver is not ready")
            redis, began = cpu_seconds(pid), time.perf_counter()
            sender = trio.run(send, url, count, topic)
            received = json.loads(receiver.stdout.readline())["cpu"]
            lasted = time.perf_counter() - began
            redis = cpu_seconds(pid) - redis
    micro = 1e6 / count
    return {
        "messages/s": count / lasted,
        "sender, us": sender * micro,
        "Redis, us": redis * micro,
        "receiver, us": received * micro,
    }


MEASURES: dict[str, Measure] = {
    f"echo, 1 worker, {WORK} us of work": lambda seconds: echo(1, WORK, seconds),
    f"echo, 2 workers, {WORK} us of work": lambda seconds: echo(2, WORK, seconds),
    "echo, 1 worker, no work": lambda seconds: echo(1, 0, seconds),
    "echo, 2 workers, no work": lambda seconds: echo(2, 0, seconds),
    "between hubs, plain": lambda seconds: between_hubs("plain", seconds),
    "between hubs, with a history": lambda seconds: between_hubs("kept", seconds),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one short round: does it work?")
    parser.add_argument("--output", type=Path, help="default: WORKERS.md; with --quick none")
    parser.add_argument("--receive", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.receive:
        url, count, topic = arguments.receive
        trio.run(receive, url, int(count), topic)
        return
    for program in ("taskset", "redis-server"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is missing")
    build()
    raise_file_limit()
    rounds, seconds = (1, 0.5) if arguments.quick else (arguments.rounds, 3.0)
    figures: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for name, measure in MEASURES.items():
            for unit, value in measure(seconds).items():
                figures.setdefault(name, {}).setdefault(unit, []).append(value)
    facts = machine.describe()
    lines = ["# Workers", "", ", ".join(f"{name} {facts[name]}" for name in SHOWN) + ".", ""]
    lines += [
        f"Medians of {rounds} rounds of {seconds:g} s, and the range. Echo: 100 connections, 4 "
        "messages of 32 bytes in flight on each; the generator shares the cores with the workers.",
        f"Between hubs: messages of {SIZE} bytes, a hundred at once, in CPU time of each process.",
        "",
        "| | | median | min | max |",
        "|---|---|---:|---:|---:|",
    ]
    for name, by_unit in figures.items():
        for unit, values in by_unit.items():
            median, low, high = statistics.median(values), min(values), max(values)
            lines.append(f"| {name} | {unit} | {median:,.1f} | {low:,.1f} | {high:,.1f} |")
    text = "\n".join(lines) + "\n"
    output = arguments.output or (None if arguments.quick else HERE / "WORKERS.md")
    if output is not None:
        output.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
