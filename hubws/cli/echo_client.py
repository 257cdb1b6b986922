"""`hubws echo-client`: messages in a circle, or received only, and how many a second."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import trio
from cyclopts import Parameter

from ..client.connect import connect
from ..connection.connection import Connection
from ..connection.settings import Settings
from ..errors import ConnectionClosed
from .options import ClientOptions
from .output import Output, size_in_words
from .running import Run, Status, run

EXAMPLES = """
hubws echo-client ws://127.0.0.1:8008/ -m  # counts what a push-server sends
hubws echo-client ws://127.0.0.1:8008/ --in-flight 16 --duration 10
"""

_NO_OPTIONS = ClientOptions()


def echo_client(
    url: str,
    /,
    *,
    receive_only: Annotated[bool, Parameter(name=["--receive-only", "-m"], negative=())] = False,
    send_msg: str = "hello",
    binary: Annotated[bool, Parameter(negative=())] = False,
    in_flight: int = 1,
    count: Annotated[int | None, Parameter(name=["--count", "-c"])] = None,
    duration: float | None = None,
    interval: float = 1.0,
    options: ClientOptions = _NO_OPTIONS,
) -> int:
    """Send back what comes, and say how many messages that were, each second and in all.

    Args:
        url: ws://... or wss://...
        receive_only: send nothing, only count.
        send_msg: the message that begins it.
        binary: send it as binary.
        in_flight: how many of them to begin with.
        count: end after so many received messages.
        duration: end after so many seconds; by default at Ctrl-C.
        interval: between two reports, in seconds.

    """
    if in_flight < 1 or (count is not None and count < 1):
        raise ValueError("--in-flight and --count must be 1 or more")
    if not interval > 0 or (duration is not None and not duration > 0):
        raise ValueError("--interval and --duration must be over 0 seconds")
    outbox = Settings(outbox_bytes=options.outbox_bytes)
    if (
        in_flight > outbox.outbox_messages
        or in_flight * len(send_msg.encode()) > outbox.outbox_bytes
    ):
        raise ValueError(
            f"--in-flight {in_flight} is more than fits into the outbox, {outbox.outbox_messages} "
            f"messages of {outbox.outbox_bytes} bytes (--outbox-bytes) in all"
        )
    message: str | bytes = send_msg.encode() if binary else send_msg
    messages = [] if receive_only else [message] * in_flight
    counter = Counter(messages, count)
    seconds = float("inf") if duration is None else duration
    return run(partial(_echo, url, counter, seconds, interval, options), options)


async def _echo(
    url: str, counter: Counter, seconds: float, interval: float, options: ClientOptions, run: Run
) -> Status:
    lost: ConnectionClosed | None = None
    async with connect(url, **options.arguments()) as connection:
        run.output.note(f"connected to {url}")
        began_at = trio.current_time()
        with run.interrupt.here(), trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(counter.report, run.output, interval)
                try:
                    await counter.run(connection)
                except ConnectionClosed as closed:
                    lost = closed
                nursery.cancel_scope.cancel()
        seconds = trio.current_time() - began_at
    counter.sum_up(run.output, connection, seconds)
    if lost is not None and not lost.closure.normal:
        raise lost
    return Status.DONE


class Counter:
    """Receives messages, sends them back if it is to, and counts them."""

    def __init__(self, messages: list[str | bytes], count: int | None) -> None:
        self._first = messages
        self._count = count
        self.received = 0

    async def run(self, connection: Connection) -> None:
        """Receive until there were enough or the server closed."""
        for first in self._first:
            await connection.send(first)
        is_echo = bool(self._first)
        async for message in connection:
            self.received += 1
            if self.received == self._count:
                return
            if is_echo:
                await connection.send(message)

    async def report(self, output: Output, interval: float) -> None:
        """Say each interval how many there were in it, and in all."""
        last_at, last = trio.current_time(), self.received
        while True:
            await trio.sleep(interval)
            now, total = trio.current_time(), self.received
            rate = (total - last) / (now - last_at)
            output.say(f"messages received: {rate:.0f} per second {total} total")
            output.record(event="rate", per_second=rate, total=total)
            last_at, last = now, total
            await output.flush()

    def sum_up(self, output: Output, connection: Connection, seconds: float) -> None:
        """Say how many there were in all."""
        figures = connection.statistics()
        rate = self.received / seconds if seconds else 0.0
        output.say(
            f"{self.received} messages in {seconds:.3f} s: {rate:.0f} per second; "
            f"{size_in_words(figures.bytes_received)} received, "
            f"{size_in_words(figures.bytes_sent)} sent"
        )
        output.record(
            event="summary",
            messages=self.received,
            seconds=seconds,
            per_second=rate,
            bytes_received=figures.bytes_received,
            bytes_sent=figures.bytes_sent,
        )
