"""hub_hubws.py zlib|zlib-ng: a hub that does what it is told by lines of JSON on standard input, and
answers each with one on standard output.

A connection joins the topic that its path names. Keepalive is off: the pings of 10,000 connections
would be counted as a broadcast's cost.
"""

import gc
import importlib
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import chat
import trio

import hubws
from hubws.protocol import deflate

LIBRARIES = {"zlib": "zlib", "zlib-ng": "zlib_ng.zlib_ng"}
PAGE = 4096  # bytes
LARGE, SMALL = 64 * 1024, 128  # bytes of the messages that fill a socket and an outbox


class Commands:
    """What can be asked; arguments and answers are plain data."""

    def __init__(self, hub: hubws.Hub) -> None:
        self._hub = hub
        self._numbers: dict[str, int] = {}

    def enter(self, connection: hubws.Connection) -> None:
        self._hub.register(connection, *filter(None, [connection.path.strip("/")]))

    async def wait(self, members: int) -> dict[str, Any]:
        """Until so many are connected."""
        while len(self._hub) != members:  # noqa: ASYNC110 - no figure hangs on it
            await trio.sleep(0.005)
        return {}

    async def choose(self, topic: str, members: int) -> dict[str, Any]:
        """Put so many connections into a topic, evenly spread over all."""
        connections = list(self._hub)
        for connection in connections[:: len(connections) // members][:members]:
            self._hub.join(connection, topic)
        return {}

    async def subscribe(self, topics: int, each: int, *, fresh: bool) -> dict[str, Any]:
        """Have each connection join some of so many topics; returns the memory that it took.

        `fresh`: each join brings a string of its own, as when the name was read from a message.
        """
        names = [f"topic-{number:06d}" for number in range(topics)]
        before = resident()
        for index, connection in enumerate(self._hub):
            for number in range(each):
                name = names[(index * each + number) % topics]
                self._hub.join(connection, name.encode().decode() if fresh else name)
        return {"bytes": resident() - before, "pairs": each * len(self._hub)}

    async def burst(self, topic: str, count: int) -> dict[str, Any]:
        """Broadcast one new message after the other, each when the one before has gone out."""
        first = self._numbers.get(topic, 0)
        self._numbers[topic] = first + count
        messages = [chat.message(number) for number in range(first, first + count)]
        hub, last = self._hub, list(self._hub.members(topic))[-1]
        start = time.process_time()
        for message in messages:
            hub.broadcast(message, topic=topic)
            await trio.lowlevel.checkpoint()
            while last.queued_bytes:  # outboxes are flushed in order
                await trio.lowlevel.checkpoint()
        return {"cpu": time.process_time() - start}

    async def stall(self, topic: str, policy: str, room: int) -> dict[str, Any]:
        """Fill the socket of its only member, and its outbox up to so many messages."""
        (odd,) = self._hub.members(topic)
        await fill(self._hub, odd, policy, room)
        return {}

    async def paced(
        self, topic: str, first: str, count: int, rate: float, policy: str
    ) -> dict[str, Any]:
        """Broadcast at a rate; each message begins with the time at which it was sent.

        The only member of the topic `first` comes before all others.
        """
        hub = self._hub
        (odd,) = hub.members(first)
        for connection in list(hub.members(topic)):
            hub.leave(connection, topic)
        hub.join(odd, topic)
        for connection in hub:
            if connection.path.strip("/") == topic:
                hub.join(connection, topic)
        rest, last = "m" * (SMALL - 20), list(hub.members(topic))[-1]
        dropped = disconnected = 0
        cpu, start = time.process_time(), trio.current_time()
        for number in range(count):
            await trio.sleep_until(start + number / rate)
            while last.queued_bytes:  # late: two in one turn would be one for `latest`
                await trio.lowlevel.checkpoint()
            text = f"{time.monotonic_ns():020d}{rest}"
            delivery = hub.broadcast(text, topic=topic, policy=policy)
            dropped += delivery.dropped
            disconnected += delivery.disconnected
        return {
            "dropped": dropped,
            "disconnected": disconnected,
            "conflated": odd.statistics().conflated,
            "seconds": trio.current_time() - start,
            "cpu": time.process_time() - cpu,
        }


async def fill(hub: hubws.Hub, connection: hubws.Connection, policy: str, room: int) -> None:
    """Send to somebody who doesn't read until the socket takes no more, then fill the outbox."""
    number = 0

    def send(size: int) -> None:
        nonlocal number
        number += 1
        hub.broadcast("x" * size, to=[connection], policy=policy, key=number)

    still = 0
    while still < 5:
        sent = connection.statistics().bytes_sent
        if not connection.queued_bytes:
            send(LARGE)
        await trio.sleep(0.005)
        still = still + 1 if connection.statistics().bytes_sent == sent else 0
    for _ in range(1024 - room - connection.statistics().outbox_messages):
        send(SMALL)


def resident() -> int:
    """This process's memory, in bytes."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def tell(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


async def main(library: str) -> None:
    vars(deflate)["zlib"] = importlib.import_module(LIBRARIES[library])
    async with hubws.open_hub() as hub, trio.open_nursery() as nursery:
        commands = Commands(hub)
        serve = partial(hubws.serve, backlog=4096, compression=True, keepalive_interval=None)
        server = await nursery.start(serve, hubws.Callbacks(on_open=commands.enter), "127.0.0.1", 0)
        tell({"port": server.port})
        async with trio.lowlevel.FdStream(sys.stdin.fileno()) as stream:
            read = b""
            async for data in stream:
                *lines, read = (read + data).split(b"\n")
                for line in lines:
                    arguments = json.loads(line)
                    tell(await getattr(commands, arguments.pop("do"))(**arguments))
        nursery.cancel_scope.cancel()


trio.run(main, sys.argv[1])
