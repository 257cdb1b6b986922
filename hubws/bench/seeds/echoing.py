"""Documents 001 and 003: echoes a second, bytes, memory."""

from __future__ import annotations

import trio

from ..messages import Fixed, text_of
from ..plan import Plan
from ..stages import Stage
from ..tables import size_in_words
from .processes import started
from .section import SETTLED, Row, Scale, Section, full_seconds, per_connection, steady, times

MESSAGE = "hello world!!13212312!"
"""What tcpkali sent."""


async def throughput(scale: Scale) -> Section:
    """Echoes a second, as fast as they come back."""
    rows = []
    theirs = (
        "quickws 478038/s, gorilla-linux-ReadMessage 389383/s, gorilla-linux-UseReader 439578/s, "
        "gobwas 333550/s"
    )
    for connections, in_flight in ((100, 16), (1000, 1)):
        async with started("callbacks") as server:
            result = await scale.load(
                Plan(
                    urls=(server.url,),
                    stages=steady(connections, scale.seconds(17), scale.seconds(1)),
                    in_flight=in_flight,
                    processes=scale.processes,
                )
            )
        what = f"{connections:,} connections, {in_flight} in flight"
        rates = [one.received for one in full_seconds(result)]
        rows.append(Row(what, theirs, f"{sum(rates) / len(rates):,.0f}/s"))
        theirs = "as above"
    return Section(
        "Echoes a second (tps)",
        "001, quickws",
        "5800h (8 cores); connections and message size are not given, 17 s.",
        "5 bytes, closed loop; one server process (one core) and the clients share the machine's "
        "cores.",
        rows,
        "Closed loops: each answer lets the next message go, so these are the figures of two "
        "saturated processes.",
    )


async def traffic(scale: Scale) -> Section:
    """Bytes that 10,000 connections get echoed."""
    connections = scale.count(10_000)
    async with started("tasks") as server:
        result = await scale.load(
            Plan(
                urls=(server.url,),
                stages=(
                    Stage(connections, scale.seconds(20)),
                    Stage(connections, scale.seconds(30)),
                ),
                in_flight=4,
                message=Fixed(text_of(16 * 1024)),
                processes=scale.processes,
            ),
            server.watch,
        )
    steadily = full_seconds(result)
    seconds = len(steadily) or 1
    sent, received = (
        sum(getattr(one, name) for one in steadily) for name in ("data_sent", "data_received")
    )
    return Section(
        "Traffic over 10,000 connections",
        "001, quickws",
        "5800h (8 cores), tcpkali, 10,000 connections, read buffers of 4k; the message size is "
        "not given.",
        f"{connections:,} connections, 4 messages of 16 KiB in flight on each; only the time with "
        "all of them is counted.",
        [
            Row(
                "sent",
                "quickws 119153.9 MiB (124941915494 bytes), gorilla 48678.1 MiB (51042707521 "
                "bytes) in 30 s",
                f"{sent / 2**20:,.1f} MiB in {seconds} s",
            ),
            Row(
                "received",
                "quickws 119594.6 MiB (125404036361 bytes), gorilla 50406.2 MiB (52854715802 "
                "bytes) in 30 s",
                f"{received / 2**20:,.1f} MiB in {seconds} s",
            ),
            Row(
                "bandwidth, down and up",
                "quickws 33439.980↓, 33316.752↑ Mbps; gorilla 14094.587↓, 13611.385↑ Mbps",
                f"{received * 8 / seconds / 1e6:,.0f}↓, {sent * 8 / seconds / 1e6:,.0f}↑ Mbps",
            ),
            Row("the server's memory at most", "not given here", size_in_words(server.most)),
        ],
        "tcpkali sends as fast as sockets take it, and on the document's machine had 16 threads.",
    )


async def memory(scale: Scale) -> Section:
    """Memory of 10,000 connections that echo 1 KiB."""
    connections = scale.count(10_000)
    async with started("callbacks") as server:
        before = server.memory
        result = await scale.load(
            Plan(
                urls=(server.url,),
                stages=(
                    Stage(connections, scale.seconds(20)),
                    Stage(connections, scale.seconds(20)),
                ),
                rate=1,
                message=Fixed(text_of(1024)),
                processes=scale.processes,
            ),
            server.watch,
        )
        await trio.sleep(scale.seconds(SETTLED))
        after = server.memory
    return Section(
        "Memory of 10,000 connections",
        "001, quickws",
        "1w (10,000) connections, tps test, 1k payload echoed; 5800h (8 cores).",
        f"{connections:,} connections, each a message of 1 KiB a second; VmRSS of the server.",
        [
            Row("before", "not given", size_in_words(before)),
            Row(
                "with all of them",
                '"约122MB" at first, "大约86MB" after 240s-260s',
                f"{size_in_words(server.most)}, "
                f"{per_connection(server.most - before, connections)}",
            ),
            Row("after they left", "not given", size_in_words(after)),
            Row("echo time", "not given", times(result)),
        ],
    )


async def offered(scale: Scale) -> Section:
    """Many more messages than most servers can echo: tcpkali -c 100 -r 10k."""
    async with started("tasks") as server:
        result = await scale.load(
            Plan(
                urls=(server.url,),
                stages=steady(100, scale.seconds(10)),
                rate=scale.count(10_000),
                message=Fixed(MESSAGE),
                patience=0.0,
                processes=scale.processes,
            )
        )
    seconds = full_seconds(result)
    down, up = (
        sum(getattr(one, name) for one in seconds) for name in ("data_received", "data_sent")
    )
    sent, received = (sum(getattr(one, name) for one in seconds) for name in ("sent", "received"))
    took = len(seconds)
    unsent = result.total.counts["ws_msgs_unsent"]
    return Section(
        "100 connections, 10,000 messages a second each",
        "003, dgrr/websocket",
        "`tcpkali --ws -c 100 -m 'hello world!!13212312!' -r 10k`, 10 s; hardware not named.",
        "hubws bench --connections 100 --rate 10000 --duration 10s with the same message; what "
        "was due and could not be sent is counted.",
        [
            Row(
                "Total data sent",
                "Websocket 267.7 MiB, Gorilla 260.2 MiB, Gobwas 265.8 MiB, Nhooyr 224.3 MiB",
                f"{up / 2**20:.1f} MiB ({up} bytes)",
            ),
            Row(
                "Total data received",
                "Websocket 229.5 MiB (240626600 bytes), Gorilla 109.3 MiB (114632982 bytes), "
                "Gobwas 117.8 MiB (123548959 bytes), Nhooyr 41.2 MiB (43209780 bytes)",
                f"{down / 2**20:.1f} MiB ({down} bytes)",
            ),
            Row(
                "Aggregate bandwidth",
                "Websocket 192.357↓, 224.375↑ Mbps; Gorilla 91.615↓, 218.092↑; Gobwas 98.825↓, "
                "222.942↑; Nhooyr 34.559↓, 188.097↑",
                f"{down * 8 / took / 1e6:.3f}↓, {up * 8 / took / 1e6:.3f}↑ Mbps",
            ),
            Row(
                "messages",
                "not given",
                f"{sent:,} sent, {received:,} received, {unsent:,} due and not sent",
            ),
            Row("round trip, from when each was due", "not given", times(result)),
            Row("Test duration", "10.0075 s, 10.01 s, 10.0015 s, 10.0027 s", f"{took} s"),
        ],
        "The load offered is 1,000,000 messages a second.",
    )
