"""Builds the programs, starts one server and the load generator beside it, and takes one figure."""

import contextlib
import dataclasses
import json
import os
import random
import resource
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from loads import BUILD, GORILLA, HERE, Load, Server

GOPATH = Path("/usr/share/gocode")  # where Debian's packages put Go libraries
START_LIMIT = 15.0  # seconds until a server must say "ready"
OPEN_LIMIT = 60.0  # seconds until all idle connections must be open
SETTLE = 1.0  # seconds until memory is read, after the last connection opened


class MeasurementError(Exception):
    """A server or the generator didn't do what the measurement needs; says what happened."""


def build() -> dict[str, str]:
    """Compiles the generator and the servers; returns the servers left out, with the reason."""
    BUILD.mkdir(exist_ok=True)
    for source, program in (("load.c", "load"), ("servers/c_echo.c", "c_echo")):
        command = ["cc", "-O2", "-Wall", "-Wextra", "-o", str(BUILD / program), str(HERE / source)]
        subprocess.run(command, check=True)
    if shutil.which("go") is None:
        return {GORILLA.name: "Go isn't installed"}
    if not (GOPATH / "src/github.com/gorilla/websocket").is_dir():
        return {GORILLA.name: "golang-github-gorilla-websocket-dev isn't installed"}
    environment = os.environ | {
        "GOPATH": str(GOPATH),
        "GO111MODULE": "off",
        "GOCACHE": str(BUILD / "go-cache"),
    }
    command = ["go", "build", "-o", str(BUILD / "gorilla_echo"), "."]
    subprocess.run(command, check=True, env=environment, cwd=HERE / "servers/gorilla_echo")
    return {}


def raise_file_limit() -> None:
    """Lets this process's children open as many files as the system allows them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def cores() -> tuple[int, int]:
    """The core for the server and the core for the generator."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise SystemExit("two cores are needed: one for the server, one for the load generator")
    return usable[0], usable[1]


def _pin_to(core: int) -> Callable[[], None]:
    return lambda: os.sched_setaffinity(0, {core})


def _free_port() -> int:
    """A port below the range that outgoing connections take theirs from."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _wait_for_ready(process: subprocess.Popen[str], limit: float) -> None:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], limit)
    if not readable:
        raise MeasurementError(f"not ready after {limit:.0f} s")
    if process.stdout.readline().strip() != "ready":
        raise MeasurementError("ended before it was ready")


def _last_line(file: IO[str]) -> str:
    file.seek(0)
    lines = [line.strip() for line in file if line.strip()]
    return lines[-1] if lines else ""


@contextlib.contextmanager
def _running(command: list[str], core: int, limit: float) -> Iterator[subprocess.Popen[str]]:
    """Runs a program on one core from its "ready" to the end of the block.

    What it wrote to standard error explains a failure inside the block.
    """
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | {"GOMAXPROCS": "1"},
            preexec_fn=_pin_to(core),  # noqa: PLW1509 - this process has one thread
        )
        try:
            _wait_for_ready(process, limit)
            yield process
        except MeasurementError as error:
            said = _last_line(errors)
            name = Path(command[1] if len(command) > 2 else command[0]).name
            raise MeasurementError(f"{error}; {name}: {said}" if said else str(error)) from None
        finally:
            process.terminate()
            try:
                process.wait(2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _resident_megabytes(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise MeasurementError("the server is gone")


@dataclasses.dataclass(frozen=True)
class Serving:
    """A server at work, on the core for the server."""

    port: int
    process: subprocess.Popen[str]

    def cpu_seconds(self) -> float:
        """Processor time of it so far, of its main thread: user and system."""
        return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0]) / 1e9


@contextlib.contextmanager
def serving(server: Server, load: Load) -> Iterator[Serving]:
    """Runs a server to the end of the block."""
    port = _free_port()
    with _running(server.command_line(port, load.burst), cores()[0], START_LIMIT) as process:
        yield Serving(port, process)


def put_load(port: int, load: Load, seconds: float, *arguments: str) -> dict[str, Any]:
    """Puts the load on a server and returns the generator's report."""
    generator = [str(BUILD / "load"), f"--port={port}", *load.arguments, *arguments]
    try:
        done = subprocess.run(
            [*generator, f"--seconds={seconds}"],
            capture_output=True,
            text=True,
            timeout=seconds + OPEN_LIMIT,
            preexec_fn=_pin_to(cores()[1]),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MeasurementError("the load generator didn't end") from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise MeasurementError(said[0] if said else f"load: exit status {done.returncode}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@contextlib.contextmanager
def holding(port: int, load: Load) -> Iterator[None]:
    """Holds the load's idle connections open to the end of the block."""
    generator = [str(BUILD / "load"), f"--port={port}", *load.arguments, f"--seconds={OPEN_LIMIT}"]
    with _running(generator, cores()[1], OPEN_LIMIT) as holder:
        time.sleep(SETTLE)
        yield
        if holder.poll() is not None:
            raise MeasurementError("the connections didn't stay open")


def measure(server: Server, load: Load, seconds: float) -> dict[str, Any]:
    """Starts the server afresh, puts the load on it and returns the generator's report.

    Raises MeasurementError, with the reason, when the server or the generator failed.
    """
    with serving(server, load) as running:
        if not load.is_memory:
            return put_load(running.port, load, seconds)
        with holding(running.port, load):
            return {load.figure: round(_resident_megabytes(running.process.pid), 1)}
