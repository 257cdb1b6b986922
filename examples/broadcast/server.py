"""A chat server: rooms, names and announcements, with its page and a health check on one port."""

import argparse
import signal
from functools import partial

import trio

import hubws
from hubws.pages import Chat, chat_message

HEALTHY = hubws.Response(200, "ok\n", {"Content-Type": "text/plain"})

ANNOUNCE_EVERY = 3  # seconds


async def announce(hub: hubws.Hub) -> None:
    """Say hello to everybody, whatever room they are in."""
    while True:
        await trio.sleep(ANNOUNCE_EVERY)
        hub.broadcast(chat_message("server", "hello, this is server"))


def answer(chat: Chat, request: hubws.Request) -> hubws.Response:
    """Answer what is plain HTTP."""
    if request.path == "/health":
        return HEALTHY
    return chat.answer(request) or hubws.Response.refusal(404, "there is only / and /health")


async def main(host: str, port: int) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with hubws.open_hub() as hub, trio.open_nursery() as nursery:
            nursery.start_soon(announce, hub)
            chat = Chat(hub)
            serve = partial(
                hubws.serve, on_request=partial(answer, chat), max_message_size=16 * 1024
            )
            server = await nursery.start(serve, chat.talk, host, port)
            print(f"http://{host}:{server.port}/", flush=True)
            await anext(signals)
            nursery.cancel_scope.cancel()  # serve closes every connection with 1001 before it ends


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080, help="0: any that is free")
    arguments = parser.parse_args()
    trio.run(main, arguments.host, arguments.port)
