"""trio_websocket_echo.py PORT: echo with trio-websocket.

It has neither compression nor keepalive. trio listens with the largest backlog the kernel allows
and sets TCP_NODELAY.
"""

import sys

import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket


async def echo(request: WebSocketRequest) -> None:
    connection = await request.accept()
    try:
        while True:
            await connection.send_message(await connection.get_message())
    except ConnectionClosed:  # would end the whole server
        pass


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_websocket, echo, "127.0.0.1", port, None)
        print("ready", flush=True)


trio.run(main, int(sys.argv[1]))
