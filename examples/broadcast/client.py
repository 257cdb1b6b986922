"""Chat in a terminal, or through a pipe: lines in, lines out."""

import argparse
import json
import signal
import sys
from collections.abc import AsyncIterator

import trio

import hubws


async def say(connection: hubws.Connection) -> None:
    """Send what is typed; when the input ends, leave."""
    # The thread may wait for a line that never comes; abandoned, it does not keep the program open.
    while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        await connection.send(json.dumps({"event": "SAY", "message": line.rstrip("\n")}))
    await connection.send(json.dumps({"event": "LEAVE"}))


async def leave_on(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    """Let Ctrl-C end the conversation, so that the connection is closed in order."""
    await anext(signals)
    scope.cancel()


def as_line(message: str | bytes) -> str | None:
    """What to print for an event of the server, if anything."""
    event = json.loads(message)
    if event.get("event") not in ("CHAT_MSG", "ERROR"):
        return None  # who is here, for a page
    text = f"{event.get('user', 'error')}: {event['message']}"
    # What others write must not steer this terminal.
    return "".join(character for character in text if character.isprintable())


async def main(url: str, name: str | None) -> None:
    """Talk until the input, the user or the server ends it."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        # since= asks for what was said before, and puts one among those who are here.
        async with hubws.connect(f"{url}?since=") as connection, trio.open_nursery() as nursery:
            nursery.start_soon(leave_on, signals, nursery.cancel_scope)
            if name is not None:
                await connection.send(json.dumps({"event": "SET_NAME", "new_name": name}))
            nursery.start_soon(say, connection)
            async for message in connection:
                if (line := as_line(message)) is not None:
                    print(line, flush=True)
            nursery.cancel_scope.cancel()
    print(f"left: {connection.closure}", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "url", nargs="?", default="ws://127.0.0.1:8080/lobby", help="its path: the room"
    )
    parser.add_argument("--name")
    arguments = parser.parse_args()
    try:
        trio.run(main, arguments.url, arguments.name)
    except* (OSError, hubws.HubwsError) as failed:
        sys.exit(f"{arguments.url}: {failed.exceptions[0]}")
