"""picows_broadcast.py PORT BURST: in each turn of the loop, BURST messages of 128 bytes to all members
whose transport has nothing left to write. A connection becomes a member with its first message.

The message lies ready in a bytearray with room for the frame's head, which spares send()'s copy for
every member: picows' documented way to send without copying.
"""

import asyncio
import sys

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

HEAD_ROOM = 14
MESSAGE = bytearray(HEAD_ROOM) + b"m" * 128

members: dict[WSTransport, asyncio.Transport] = {}


class Member(WSListener):
    def on_ws_disconnected(self, transport: WSTransport) -> None:
        members.pop(transport, None)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            members[transport] = transport.underlying_transport


def listener(_request: WSUpgradeRequest) -> Member:
    return Member()


async def main(port: int, burst: int) -> None:
    await ws_create_server(listener, "127.0.0.1", port, backlog=4096)
    print("ready", flush=True)
    text = WSMsgType.TEXT
    while True:
        idle = [m for m, transport in members.items() if transport.get_write_buffer_size() == 0]
        for member in idle:
            send = member.send_reuse_external_bytearray
            for _ in range(burst):
                send(text, MESSAGE, HEAD_ROOM)
        # One turn of the loop; without members there is nothing to hurry for.
        await asyncio.sleep(0 if idle else 0.001)


uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
