"""hubws_broadcast.py PORT BURST: in each turn of the loop, BURST messages of 128 bytes to all members
whose outbox is empty, so that the sockets' pace sets the pace.

A connection becomes a member with its first message.
"""

import sys
from functools import partial

import trio

import hubws

MESSAGE = "m" * 128


async def main(port: int, burst: int) -> None:
    async with hubws.open_hub() as hub, trio.open_nursery() as nursery:

        async def member(connection: hubws.Connection) -> None:
            await connection.receive()
            async with hub.member(connection):
                async for _ in connection:
                    pass

        await nursery.start(partial(hubws.serve, member, "127.0.0.1", port, backlog=4096))
        print("ready", flush=True)
        while True:
            idle = [c for c in hub.connections if c.queued_bytes == 0]
            for _ in range(burst):
                hub.broadcast(MESSAGE, to=idle)
            # One turn of the loop; without members there is nothing to hurry for.
            await trio.sleep(0 if idle else 0.001)


trio.run(main, int(sys.argv[1]), int(sys.argv[2]))
