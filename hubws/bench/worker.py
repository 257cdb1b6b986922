"""One process of a load test: `python -m hubws.bench.worker`, started by `child.py`.

Standard input brings its share of the plan as one line, then when to begin as another, in ns of the
monotonic clock; a third one ends it early, and the end of the input ends it at once. On standard output
is a line of JSON when it is ready, and one for what was measured in each second.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import pickle
from typing import Any

import trio

from .alarm import open_alarm, seconds_until
from .lines import Lines
from .load import Load
from .pacer import Pacer
from .plan import Share

DRAIN = 0.02
"""Seconds between two times that the times of messages are counted."""

GARBAGE = 100_000
"""New objects between two collections; a collection with 10,000 connections takes 100 ms."""


async def main() -> None:
    """Do what standard input says."""
    gc.set_threshold(GARBAGE, 50, 100)
    source = trio.lowlevel.FdStream(os.dup(0))
    sink = trio.lowlevel.FdStream(os.dup(1))
    async with source, sink:
        lines = Lines(source)
        share: Share = pickle.loads(base64.b64decode(await lines.next()))  # noqa: S301 - the parent's
        await write(sink, ready=True)
        start = int(await lines.next())
        with open_alarm() as alarm:
            pacer = Pacer(alarm)
            load = Load(share, pacer, start)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pacer.run)
                nursery.start_soon(watch, lines, load)
                async with trio.open_nursery() as reporting:
                    reporting.start_soon(report, load, start, sink)
                    await load.run()
                    reporting.cancel_scope.cancel()
                nursery.cancel_scope.cancel()


async def report(load: Load, start: int, sink: trio.abc.SendStream) -> None:
    """Write what was measured in each second, until cancelled; then what is left."""
    epoch = trio.current_time() + seconds_until(start)
    second = 0
    try:
        while True:
            with trio.move_on_at(epoch + second + 1):
                while True:
                    load.recording.drain()
                    await trio.sleep(DRAIN)
            await write(sink, second=second, **load.take())
            second += 1
    finally:
        await write(sink, second=second, **load.take())


async def watch(lines: Lines, load: Load) -> None:
    """End early when told to, and at once when nobody is there any more to tell."""
    if await lines.next():
        load.ending.come()
        await lines.next()
    os._exit(1)


async def write(sink: trio.abc.SendStream, **fields: Any) -> None:
    """Write a line of JSON, all of it also when cancelled."""
    with trio.CancelScope(shield=True):
        await sink.send_all(json.dumps(fields).encode() + b"\n")


if __name__ == "__main__":
    trio.run(main)
