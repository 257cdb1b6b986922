"""websockets_trio_echo.py PORT: echo with websockets on trio.

Keepalive stays at the default (a ping each 20 s), as in the asyncio server. trio sets TCP_NODELAY.
"""

import sys

import trio
from websockets.trio.server import ServerConnection, serve


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda task_status: serve(
                echo,
                port,
                host="127.0.0.1",
                backlog=4096,
                compression=None,
                task_status=task_status,
            )
        )
        print("ready", flush=True)


trio.run(main, int(sys.argv[1]))
