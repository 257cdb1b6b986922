"""Document 001: a million connections, as far as there is room, and the rest on paper."""

from __future__ import annotations

import contextlib
import math

import attrs

from ..messages import Fixed, text_of
from ..plan import Plan
from ..result import Second
from ..stages import Stage
from ..tables import size_in_words
from .processes import SeedServer, started
from .section import Row, Scale, Section, full_seconds, memory_available, times

PER_PROCESS = 15_000
"""Connections for each process, of the 20,000 descriptors that it may have."""

MILLION = 1_000_000

CONCURRENCY = 10_000
"""Connections that echo at a time, as in the document."""


@attrs.define
class Watched:
    """The memory of all servers, and of the machine, when it was fullest."""

    servers: list[SeedServer]
    servers_most: int = 0
    available_least: int = attrs.field(factory=memory_available)

    def watch(self, _second: Second) -> None:
        """Look at it."""
        self.servers_most = max(self.servers_most, sum(server.memory for server in self.servers))
        self.available_least = min(self.available_least, memory_available())


async def million(scale: Scale) -> Section:
    """As many connections as were asked for, each server and client process having its share."""
    wanted = scale.count(scale.million)
    hosts = math.ceil(wanted / PER_PROCESS)
    async with contextlib.AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(started("callbacks", host=f"127.0.0.{number + 1}"))
            for number in range(hosts)
        ]
        before, available = sum(server.memory for server in servers), memory_available()
        watched = Watched(servers)
        result = await scale.load(
            Plan(
                urls=tuple(server.url for server in servers),
                stages=(Stage(wanted, scale.seconds(60)), Stage(wanted, scale.seconds(20))),
                in_flight=1,
                senders=min(CONCURRENCY, wanted),
                message=Fixed(text_of(1024)),
                processes=max(hosts, scale.processes),
                patience=10.0,
            ),
            watched.watch,
        )
    steadily = full_seconds(result)
    tps = sum(one.received for one in steadily) / max(len(steadily), 1)
    each = (watched.servers_most - before) / wanted
    empty = before / hosts
    processes = math.ceil(MILLION / PER_PROCESS)
    needed = round(empty * processes + each * MILLION)
    both_ends = max(available - watched.available_least, 1) / wanted
    return Section(
        "A million connections",
        "001, quickws",
        "BenchEcho: 1,000,000 connections, concurrency 10,000, payload 1024, 2,000,000 echoes; "
        "hardware not given there (elsewhere in the document: 5800h).",
        f"{wanted:,} connections to {hosts} server processes at 127.0.0.1 to 127.0.0.{hosts}, of "
        f"which {min(CONCURRENCY, wanted):,} echo, one message of 1 KiB in flight each; the "
        "memory is the sum of VmRSS.",
        [
            Row("connections", "1000000", f"{wanted:,}"),
            Row("TPS", "108143", f"{tps:,.0f}"),
            Row(
                "echo time",
                "Min 32.99us, Avg 92.26ms, Max 1.03s, TP50 48.37ms, TP75 53.88ms, TP90 215.18ms, "
                "TP95 430.07ms, TP99 502.95ms",
                times(result),
            ),
            Row(
                "Success, Failed",
                "2000000, 0",
                _outcome(
                    result.total.counts["ws_msgs_received"], sum(result.total.errors.values())
                ),
            ),
            Row(
                "memory of the server",
                "MEM Min 8.46G, Avg 8.47G, Max 8.47G",
                f"{size_in_words(watched.servers_most)} for {wanted:,}; on paper "
                f"{size_in_words(needed)} for 1,000,000",
            ),
        ],
        f"On paper: each connection took {size_in_words(watched.servers_most)} - "
        f"{size_in_words(before)} = {size_in_words(watched.servers_most - before)} for "
        f"{wanted:,}, which is {each:,.0f} bytes. With {PER_PROCESS:,} for each process a million "
        f"needs {processes} processes; empty, each has {size_in_words(empty)}. {processes} x "
        f"{size_in_words(empty)} + 1,000,000 x {each:,.0f} B = {size_in_words(needed)}. Both ends "
        f"together, with the kernel's buffers, took {both_ends / 1000:.1f} kB of this machine's "
        "memory for a connection, so that a million with all its clients here would need "
        f"{size_in_words(both_ends * MILLION)}; {size_in_words(available)} were available, enough "
        f"for {available / both_ends:,.0f}.",
    )


def _outcome(echoes: int, errors: int) -> str:
    return f"{echoes:,} echoes, {errors:,} errors"
