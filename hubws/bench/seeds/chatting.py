"""Document 002: a chat to which 10,000 users come within 30 s."""

from __future__ import annotations

from pathlib import Path

import trio

from ..plan import Plan
from ..result import in_words
from ..stages import Stage
from ..tables import size_in_words
from . import scenario
from .processes import started
from .section import SETTLED, Row, Scale, Section, checks, per_connection, size_and_rate


async def chat(scale: Scale) -> Section:
    """The hub tutorial's load test with k6."""
    users = scale.count(10_000)
    path = Path(scenario.__file__)
    async with started("chat") as server:
        before = server.memory
        result = await scale.load(
            Plan(
                urls=(server.url,),
                stages=(Stage(users, scale.seconds(30)),),
                scenario=path,
                patience=scale.seconds(30.0),
                processes=scale.processes,
            ),
            server.watch,
        )
        await trio.sleep(scale.seconds(SETTLED))
        after = server.memory
    most = max((one.active for one in result.by_second), default=0)
    total = result.total
    passed, checked = total.checks_passed

    def trend(name: str) -> str:
        one = total.trends.get(name)
        if one is None:
            return "-"
        figures = ("avg", "min", "med", "max", "p90", "p95")
        return " ".join(f"{figure}={in_words(one.figure(figure))}" for figure in figures)

    def rate(name: str) -> str:
        return f"{total.counts[name]:,} {result.rate(name):,.1f}/s"

    return Section(
        "Chat: ramp to 10,000 users in 30 s",
        "002, Go WebSocket (fiber)",
        "k6, hardware not named: 10,000 users in 30 s; each says its name, speaks every 1-3 s, "
        "leaves after 10 s and closes after 13 s; the server says hello to everybody every 3 s.",
        f"hubws bench with the same scenario, {users:,} users in {scale.seconds(30):g} s.",
        [
            Row("checks", "100.00% ✓ 15008 ✗ 0", checks(result)),
            Row("ws_sessions", "15008 332.710255/s", rate("ws_sessions")),
            Row(
                "ws_connecting",
                "avg=2.51ms min=96.29µs med=283.37µs max=238.25ms p(90)=843.39µs p(95)=3.95ms",
                trend("ws_connecting"),
            ),
            Row("ws_msgs_received", "64824 1437.0742/s", rate("ws_msgs_received")),
            Row("ws_msgs_sent", "129217 2864.593621/s", rate("ws_msgs_sent")),
            Row("data_received", "7.2 MB 159 kB/s", size_and_rate(result, "data_received")),
            Row("data_sent", "9.1 MB 201 kB/s", size_and_rate(result, "data_sent")),
            Row(
                "ws_session_duration",
                "avg=13.06s min=13s med=13s max=13.88s p(90)=13.26s p(95)=13.46s",
                trend("ws_session_duration"),
            ),
            Row(
                "iteration_duration",
                "avg=13.06s min=13s med=13s max=13.88s p(90)=13.26s p(95)=13.46s",
                trend("iteration_duration"),
            ),
            Row("the server's memory before", "not given", size_in_words(before)),
            Row(
                "memory during",
                '10000 connections 33MB, "每个连接约为 3.3KB" each (heap in use)',
                f"{size_in_words(server.most)} (VmRSS), "
                f"{per_connection(server.most - before, most)} at {most:,} users",
            ),
            Row("memory after", "0.55MB (heap in use)", f"{size_in_words(after)} (VmRSS)"),
        ],
        "The document's memory is what Go's profiler saw allocated on the heap, without stacks "
        "and runtime; ours is all that the process has in memory."
        + ("" if passed == checked else f" Errors: {dict(total.errors)}."),
    )
