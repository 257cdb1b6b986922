"""A program of threads: what is typed in one goes to everybody who is connected in another."""

import queue
import sys
import threading

import attrs
import trio

import hubws


@attrs.frozen
class Room:
    """What other threads need of the one in which trio runs."""

    url: str
    hub: hubws.Hub
    token: trio.lowlevel.TrioToken
    scope: trio.CancelScope

    def say(self, message: str) -> hubws.Delivery:
        """Send to everybody; from any thread."""
        return trio.from_thread.run_sync(self.hub.broadcast, message, trio_token=self.token)

    def close(self) -> None:
        """Close every connection, and end trio; from any thread."""
        trio.from_thread.run_sync(self.scope.cancel, trio_token=self.token)


async def serve(opened: "queue.SimpleQueue[Room]") -> None:
    """Serve until cancelled."""
    async with hubws.open_hub() as hub, trio.open_nursery() as nursery:

        async def listen(connection: hubws.Connection) -> None:
            async with hub.member(connection):
                await connection.wait_closed()

        server = await nursery.start(hubws.serve, listen, "127.0.0.1", 0)
        url = f"ws://127.0.0.1:{server.port}/"
        token = trio.lowlevel.current_trio_token()
        opened.put(Room(url, hub, token, nursery.cancel_scope))


def main() -> None:
    """Say each line of the input."""
    opened: queue.SimpleQueue[Room] = queue.SimpleQueue()
    thread = threading.Thread(target=trio.run, args=(serve, opened))
    thread.start()
    room = opened.get()
    print(room.url, flush=True)
    try:
        for line in sys.stdin:
            print(f"said to {room.say(line.rstrip()).sent}", flush=True)
    finally:
        room.close()
        thread.join()


if __name__ == "__main__":
    main()
