"""hub_websockets.py: the part of hub_hubws.py that a broadcast needs, with the broadcast() of
websockets, which compresses for each member that negotiated permessage-deflate.
"""

import asyncio
import json
import sys
import time
from typing import Any

import chat
import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

members: dict[str, list[ServerConnection]] = {}
numbers: dict[str, int] = {}


async def member(connection: ServerConnection) -> None:
    assert connection.request is not None
    members.setdefault(connection.request.path.strip("/"), []).append(connection)
    await connection.wait_closed()


async def wait(members_: int) -> dict[str, Any]:
    while sum(map(len, members.values())) != members_:  # noqa: ASYNC110 - no figure hangs on it
        await asyncio.sleep(0.005)
    return {}


async def burst(topic: str, count: int) -> dict[str, Any]:
    """Broadcast one new message after the other, each when the one before has gone out."""
    first = numbers.get(topic, 0)
    numbers[topic] = first + count
    messages = [chat.message(number) for number in range(first, first + count)]
    recipients = members[topic]
    last = recipients[-1].transport
    start = time.process_time()
    for message in messages:
        broadcast(recipients, message)
        await asyncio.sleep(0)
        while last.get_write_buffer_size():  # noqa: ASYNC110 - once, as a rule
            await asyncio.sleep(0)
    return {"cpu": time.process_time() - start}


def tell(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


async def main() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with serve(member, "127.0.0.1", 0, backlog=4096, ping_interval=None) as server:
        tell({"port": next(iter(server.sockets)).getsockname()[1]})
        while line := await reader.readline():
            arguments = json.loads(line)
            if arguments.pop("do") == "wait":
                tell(await wait(arguments["members"]))
            else:
                tell(await burst(**arguments))


uvloop.run(main())
