"""websockets_asyncio_broadcast.py PORT BURST: in each turn of the loop, BURST messages of 128 bytes to
all members whose transport has nothing left to write, with the library's broadcast().

A connection becomes a member with its first message.
"""

import asyncio
import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

MESSAGE = "m" * 128

members: set[ServerConnection] = set()


async def member(connection: ServerConnection) -> None:
    await connection.recv()
    members.add(connection)
    try:
        await connection.wait_closed()
    finally:
        members.discard(connection)


async def main(port: int, burst: int) -> None:
    async with serve(member, "127.0.0.1", port, compression=None, backlog=4096):
        print("ready", flush=True)
        while True:
            idle = [m for m in members if m.transport.get_write_buffer_size() == 0]
            for _ in range(burst):
                broadcast(idle, MESSAGE)
            # One turn of the loop; without members there is nothing to hurry for.
            await asyncio.sleep(0 if idle else 0.001)


uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
