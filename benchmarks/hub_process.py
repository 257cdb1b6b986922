"""The processes that the hub is measured with: servers on one core, clients on the other."""

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from loads import HERE
from measure import MeasurementError, cores

LIMIT = 90.0  # seconds for any answer


class Process:
    """A child that answers each line of JSON with one; what is missing raises MeasurementError."""

    def __init__(self, core: int, script: str, *arguments: str) -> None:
        self._name = script
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - until `end`
        self._child = subprocess.Popen(
            [sys.executable, str(HERE / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - one thread
        )

    def answer(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        readable, _, _ = select.select([self._child.stdout], [], [], LIMIT)
        line = self._child.stdout.readline() if readable else b""
        if not line:
            self._errors.seek(0)
            lines = [line.strip(" |+-\n") for line in self._errors]  # as trio draws groups
            said = [line for line in lines if line] or ["it said nothing"]
            what = "ended" if readable else f"did not answer within {LIMIT:.0f} s"
            raise MeasurementError(f"{self._name} {what}: {said[-1]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def tell(self, do: str, **arguments: Any) -> None:
        """Have it do something, and take the `answer` later."""
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # `answer` says why it has ended
            self._child.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            self._child.stdin.flush()

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        self.tell(do, **arguments)
        return self.answer()

    def end(self) -> None:
        self._child.kill()
        self._child.communicate()
        self._errors.close()


class Pair:
    """A server, and the sink that holds its connections."""

    def __init__(self, server: Process, sink: Process) -> None:
        self.server = server
        self.sink = sink
        self.port = server.answer()["port"]
        self.connections = 0

    def open(self, path: str, count: int = 1, **options: Any) -> None:
        """Open a group of connections, see `sink.Sink.open`."""
        self.sink.ask("open", port=self.port, path=path, count=count, **options)
        self.connections += count
        self.server.ask("wait", members=self.connections)

    def close(self, path: str, count: int = 1) -> None:
        self.sink.ask("close", path=path)
        self.connections -= count
        self.server.ask("wait", members=self.connections)

    def burst(self, path: str, members: int, count: int, *, topic: str = "") -> dict[str, Any]:
        """Broadcast to a topic, by default the group's own, and have its members get everything.

        Adds to the server's answer what came `compressed`.
        """
        answer = self.server.ask("burst", topic=topic or path, count=count)
        expected = members * count
        got = self.sink.ask("expect", path=path, messages=expected)
        if got["messages"] != expected or got["ended"]:
            raise MeasurementError(
                f"{got['messages']} of {expected} messages came, {got['ended']} connections ended"
            )
        return answer | {"compressed": got["compressed"] / expected}


@contextlib.contextmanager
def running(script: str, *arguments: str) -> Iterator[Pair]:
    """A server on its core and a sink on the other, until the end of the block."""
    server_core, sink_core = cores()
    with contextlib.ExitStack() as stack:
        server = Process(server_core, script, *arguments)
        stack.callback(server.end)
        sink = Process(sink_core, "sink.py")
        stack.callback(sink.end)
        yield Pair(server, sink)


def running_hub(library: str = "zlib") -> contextlib.AbstractContextManager[Pair]:
    return running("servers/hub_hubws.py", library)
