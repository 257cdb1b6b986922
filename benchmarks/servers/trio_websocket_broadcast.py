"""trio_websocket_broadcast.py PORT BURST: one task for each member, which sends BURST messages of 128
bytes in a loop, from the member's first message on.

trio-websocket has no buffer to look into: send_message() returns when the socket took the frame, and
what keeps one member from holding up the others is a task for each, its natural way.
"""

import sys

import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

MESSAGE = "m" * 128


async def main(port: int, burst: int) -> None:
    async def member(request: WebSocketRequest) -> None:
        connection = await request.accept()
        try:
            await connection.get_message()
            while True:
                for _ in range(burst):
                    await connection.send_message(MESSAGE)
        except ConnectionClosed:  # would end the whole server
            pass

    async with trio.open_nursery() as nursery:
        await nursery.start(serve_websocket, member, "127.0.0.1", port, None)
        print("ready", flush=True)


trio.run(main, int(sys.argv[1]), int(sys.argv[2]))
