"""A chat server: rooms, names and announcements, with its page and a health check on one port."""

import argparse
import json
import signal
from functools import partial
from pathlib import Path

import trio

import hubws

PAGE = hubws.Response(
    200,
    Path(__file__).with_name("page.html").read_bytes(),
    {"Content-Type": "text/html; charset=utf-8"},
)
HEALTHY = hubws.Response(200, "ok\n", {"Content-Type": "text/plain"})

ANNOUNCE_EVERY = 3  # seconds

BAD_JSON = "this is not JSON"
BAD_NAME = "a name has 1 to 32 characters and is not 'server'"
BAD_EVENT = "the events are SET_NAME with new_name, SAY with message, and LEAVE"


def chat_message(user: str, message: str) -> str:
    """The event that people get to see."""
    return json.dumps({"event": "CHAT_MSG", "user": user, "message": message})


def error(message: str) -> str:
    """The event for whoever sent something that makes no sense."""
    return json.dumps({"event": "ERROR", "message": message})


async def chat(hub: hubws.Hub, connection: hubws.Connection) -> None:
    """Be one person in one room, from coming in to leaving."""
    room = connection.path.strip("/") or "lobby"
    name = f"guest {connection.id}"
    async with hub.member(connection, room):
        async for message in connection:
            try:
                event = json.loads(message)
            except (ValueError, RecursionError):
                await connection.send(error(BAD_JSON))
                continue
            match event:
                case {"event": "SET_NAME", "new_name": str(new_name)}:
                    new_name = new_name.strip()
                    if 0 < len(new_name) <= 32 and new_name != "server":
                        name = new_name
                    else:
                        await connection.send(error(BAD_NAME))
                case {"event": "SAY", "message": str(text)}:
                    # Never waits: who reads too slowly is disconnected, the others don't notice.
                    hub.broadcast(chat_message(name, text), topic=room)
                case {"event": "LEAVE"}:
                    return  # a connection whose handler returns is closed with 1000
                case _:
                    await connection.send(error(BAD_EVENT))


async def announce(hub: hubws.Hub) -> None:
    """Say hello to everybody, whatever room they are in."""
    while True:
        await trio.sleep(ANNOUNCE_EVERY)
        hub.broadcast(chat_message("server", "hello, this is server"))


def answer(request: hubws.Request) -> hubws.Response:
    """Answer what is plain HTTP."""
    match request.path:
        case "/":
            return PAGE
        case "/health":
            return HEALTHY
        case _:
            return hubws.Response.refusal(404, "there is only / and /health")


async def main(host: str, port: int) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with hubws.open_hub() as hub, trio.open_nursery() as nursery:
            nursery.start_soon(announce, hub)
            serve = partial(hubws.serve, on_request=answer, max_message_size=16 * 1024)
            server = await nursery.start(serve, partial(chat, hub), host, port)
            print(f"http://{host}:{server.port}/", flush=True)
            await anext(signals)
            nursery.cancel_scope.cancel()  # serve closes every connection with 1001 before it ends


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080, help="0: any that is free")
    arguments = parser.parse_args()
    trio.run(main, arguments.host, arguments.port)
