"""hubws_echo.py PORT callbacks|iterate: echo with hubws, in either of its two styles.

Keepalive stays at the default.
"""

import sys
from functools import partial

import trio

import hubws


def echo_message(connection: hubws.Connection, message: str | bytes) -> None:
    connection.send_nowait(message)


async def echo(connection: hubws.Connection) -> None:
    async for message in connection:
        connection.send_nowait(message)


async def main(port: int, style: str) -> None:
    consumer = hubws.Callbacks(on_message=echo_message) if style == "callbacks" else echo
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(hubws.serve, consumer, "127.0.0.1", port, backlog=4096))
        print("ready", flush=True)


trio.run(main, int(sys.argv[1]), sys.argv[2])
