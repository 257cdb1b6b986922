"""websockets_asyncio_echo.py PORT: echo with websockets (asyncio) on uvloop.

Keepalive stays at the default (a ping each 20 s): it runs a task for each connection, which its
users pay for too. uvloop sets TCP_NODELAY.
"""

import sys

import uvloop
from websockets.asyncio.server import ServerConnection, serve


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def main(port: int) -> None:
    async with serve(echo, "127.0.0.1", port, compression=None, backlog=4096) as server:
        print("ready", flush=True)
        await server.serve_forever()


uvloop.run(main(int(sys.argv[1])))
