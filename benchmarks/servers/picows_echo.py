"""picows_echo.py PORT: echo with picows' core API on uvloop, its fastest documented style.

picows installs aiofastnet and uses it by default; it does here too. Its pings are off by default.
"""

import sys

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server


class Echo(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            # send() copies the payload once, behind the head of the reply.
            transport.send(frame.msg_type, frame.get_payload_as_memoryview(), frame.fin)


def listener(_request: WSUpgradeRequest) -> Echo:
    return Echo()


async def main(port: int) -> None:
    server = await ws_create_server(listener, "127.0.0.1", port, backlog=4096)
    print("ready", flush=True)
    await server.serve_forever()


uvloop.run(main(int(sys.argv[1])))
