"""A process under attack: what it may use, what it may say, and that it serves on."""

from __future__ import annotations

import json
import math
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import trio

import hubws

from .attacker import HELD_BACK, SERVED, Outcome, Raw
from .report import ROWS, Names, Row

MAX_CPU = 0.25
"""What one attack may cost the victim, in seconds of CPU time."""

PACE = 0.0026
"""What the loop in `slowness` takes on the machine where that bound was set, in seconds of CPU time."""

MAX_MEMORY = 8 * 1024 * 1024
"""What one attack may cost in memory beyond what its limits allow it to fill, in bytes."""

MAX_LINE = 1000
"""The longest line in the log, in characters."""

BACKSTOP = 20
"""After this, in seconds, something hangs."""

PROCESS = Path(__file__).with_name("victim_process.py")


class Victim:
    """A process of hubws that serves on several ports, and dials (see `victim_process.py`)."""

    def __init__(self, folder: Path, tls: ssl.SSLContext, *, descriptors: int = 0) -> None:
        self.tls = tls
        handle, name = tempfile.mkstemp(".log", dir=folder)
        self._log_path = Path(name)
        self.process = subprocess.Popen(
            [sys.executable, str(PROCESS), str(folder), str(descriptors)],
            stdout=subprocess.PIPE,
            stderr=handle,
            env=os.environ | {"PYTHONPATH": str(Path(hubws.__file__).parents[1])},  # the same hubws
        )
        os.close(handle)
        assert self.process.stdout is not None
        self.ports: dict[str, int] = json.loads(self.process.stdout.readline())

    def cpu(self) -> float:
        """CPU time used so far, in seconds (clock_getcpuclockid(3))."""
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def forget_peak(self) -> None:
        """Begin a new peak of memory (proc_pid_clear_refs(5))."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def memory(self, field: str) -> int:
        """VmRSS, what it has, or VmHWM, the peak of that; in bytes."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {field}")

    def log(self) -> list[str]:
        """All that it has logged."""
        return self._log_path.read_text(errors="replace").splitlines()

    def url(self, service: str) -> str:
        return f"{'wss' if service == 'tls' else 'ws'}://127.0.0.1:{self.ports[service]}/"

    async def serves(self, service: str) -> bool:
        """Whether a new client of good manners gets its echo."""
        url = self.url(service)
        context = self.tls if url.startswith("wss") else None
        origin = "http://good.example:8000" if service == "guarded" else None
        headers = {"Authorization": "Basic YWRhOnNlY3JldA=="} if service == "secret" else {}
        async with hubws.connect(
            url, ssl_context=context, origin=origin, headers=headers
        ) as connection:
            if service == "push":
                return len(await connection.receive()) > 0
            if "bounce" in service:
                await connection.wait_closed()
                return connection.close_code == 4000
            await connection.send("are you there?")
            return await connection.receive() == "are you there?"

    def stop(self) -> None:
        """End the process; it must have lived until now."""
        assert self.process.poll() is None, "the victim has died"
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


Script: TypeAlias = Callable[[Raw], Awaitable[object]]


class Siege:
    """One attack on a victim: ways to get at it, and what is allowed.

    Attributes:
        outcome: how it ended, set by `expect`.
        fills: bytes of memory that the victim's limits allow this attack to fill.
        warnings: lines of level WARNING or higher that it may cause in the log.
        tracebacks: how many of them may have one, which an error of the application's own has.
        connections: how many the attacker made so far; each may cause a line of level INFO.

    """

    def __init__(self, victim: Victim, control: hubws.Connection) -> None:
        self.victim = victim
        self.outcome: Outcome | None = None
        self.fills = 0
        self.warnings = 1
        self.tracebacks = 0
        self.connections = 0
        self.attacked: set[str] = set()
        self._control = control
        self._streams: list[trio.abc.Stream] = []

    def expect(self, expected: Outcome, outcome: Outcome) -> None:
        """Assert how the attack ended."""
        self.outcome = outcome
        assert outcome == expected

    async def connect(self, service: str = "echo", *, receive_buffer: int | None = None) -> Raw:
        """Open a TCP connection to the victim; `receive_buffer` limits what our kernel takes."""
        self.attacked.add(service)
        self.connections += 1
        sock = trio.socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, receive_buffer)
        stream = trio.SocketStream(sock)
        self._streams.append(stream)
        await sock.connect(("127.0.0.1", self.victim.ports[service]))
        return Raw(stream)

    async def upgraded(
        self, service: str = "echo", *lines: str, receive_buffer: int | None = None
    ) -> Raw:
        """Open a WebSocket connection to the victim."""
        client = await self.connect(service, receive_buffer=receive_buffer)
        await client.upgrade(*lines)
        return client

    async def withdraw(self) -> None:
        """Close whatever the attacker still has open."""
        for stream in self._streams:
            await trio.aclose_forcefully(stream)
        self._streams.clear()

    async def dial(
        self,
        script: Script,
        *,
        scheme: str = "ws",
        user: str = "",
        greet: bool = False,
        **options: Any,
    ) -> dict[str, Any]:
        """Have the victim dial a server that does what the script says; returns what it tells.

        `user` is what stands before the host in the URL.
        """
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener, trio.open_nursery() as nursery:

            async def serve() -> None:
                stream = await listener.accept()
                self.connections += 1
                async with stream:
                    await script(Raw(stream))

            nursery.start_soon(serve)
            url = f"{scheme}://{user}127.0.0.1:{listener.socket.getsockname()[1]}/"
            report = await self.order({"url": url, "options": options, "greet": greet})
            nursery.cancel_scope.cancel()
        return report

    async def until_received(self, service: str, size: int) -> None:
        """Wait until that many bytes have come in on the connections that a service has now."""
        while (await self.order("figures"))["received"][service] < size:
            await trio.sleep(0.01)

    async def press(self, client: Raw, service: str, data: bytes) -> Outcome:
        """Send without reading until all is sent, or the service, which is paused, takes no more."""
        is_sent = False
        outcome: Outcome = SERVED

        async def send() -> None:
            nonlocal is_sent
            await client.send(data)
            is_sent = True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            received = -1
            while not is_sent and outcome == SERVED:
                await trio.sleep(0.05)
                figures = await self.order("figures")
                if figures["paused"][service] and figures["received"][service] == received:
                    outcome = HELD_BACK
                received = figures["received"][service]
            nursery.cancel_scope.cancel()
        return outcome

    async def until_stalled(self, service: str) -> None:
        """Wait until a service can't send, because its peer does not read."""
        while not (await self.order("figures"))["stalled"][service]:
            await trio.sleep(0.01)

    async def until_alone(self, service: str) -> None:
        """Wait until a service has ended all its connections, and opening handshakes."""
        while True:
            figures = await self.order("figures")
            if not (figures["connections"][service] or figures["handshaking"][service]):
                return
            await trio.sleep(0.01)

    async def until_quiet(self, tasks: float = math.inf, descriptors: float = math.inf) -> Any:
        """Wait until nobody but us is connected, and it has no more tasks and descriptors than that."""
        figures: dict[str, Any] = {}
        with trio.move_on_after(BACKSTOP / 2):
            while True:
                figures = await self.order("figures")
                if (
                    sum(figures["connections"].values()) == 1
                    and sum(figures["handshaking"].values()) == 0
                    and figures["tasks"] <= tasks
                    and figures["descriptors"] <= descriptors
                ):
                    return await self.order("figures")
                await trio.sleep(0.01)
        raise AssertionError(f"this is left of at most {tasks} and {descriptors}: {figures}")

    async def order(self, order: object) -> dict[str, Any]:
        """Give an order to the victim's control port."""
        await self._control.send(json.dumps(order))
        answer: dict[str, Any] = json.loads(await self._control.receive())
        return answer


@asynccontextmanager
async def besiege(victim: Victim, names: Names) -> AsyncIterator[Siege]:
    """Attack a victim within the block, and assert afterwards what holds for every attack.

    Nothing of it is left, the victim serves on, and what it cost and caused to be logged keeps within
    the bounds.
    """
    with trio.fail_after(BACKSTOP):
        async with hubws.connect(victim.url("control")) as control:
            siege = Siege(victim, control)
            figures = await siege.until_quiet()
            logged = len(victim.log())
            await siege.order("give back memory")
            victim.forget_peak()
            memory, cpu = victim.memory("VmRSS"), victim.cpu()

            try:
                yield siege
            finally:
                await siege.withdraw()
            await siege.until_quiet(figures["tasks"], figures["descriptors"])
            for service in siege.attacked - {"echo"}:
                assert await victim.serves(service)
            dialled = await siege.order({"url": victim.url("echo"), "options": {}, "greet": True})
            assert dialled["messages"] == 1, "it dials itself, and is served"
            cpu = victim.cpu() - cpu
            memory = victim.memory("VmHWM") - memory
        lines = victim.log()[logged:]
        assert siege.outcome is not None, "the test asserts no outcome"
        ROWS.append(Row(*names, siege.outcome, cpu, memory, siege.fills, len(lines)))
        check_log(siege, lines)
        assert cpu <= MAX_CPU or cpu <= MAX_CPU * slowness(), f"it took {cpu:.3f} s of CPU time"
        excess = memory - siege.fills
        assert excess <= MAX_MEMORY, f"it took {excess >> 10} KiB more than its limits allow"


def slowness() -> float:
    """How many times slower than where the bound was set this machine is now; at least 1."""

    def work() -> float:
        began = time.thread_time()
        sum(number & 7 for number in range(100_000))
        return time.thread_time() - began

    return max(1, statistics.fmean(work() for _ in range(20)) / PACE)


def check_log(siege: Siege, lines: list[str]) -> None:
    """Assert that an attacker can't fill the log."""
    assert sum(line.startswith("Traceback") for line in lines) <= siege.tracebacks, lines
    if not siege.tracebacks:
        assert len(lines) <= siege.connections + siege.warnings, lines
    assert sum(line.startswith(("WARNING", "ERROR")) for line in lines) <= siege.warnings, lines
    assert all(len(line) <= MAX_LINE for line in lines), [len(line) for line in lines]
