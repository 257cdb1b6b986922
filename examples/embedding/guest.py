"""An asyncio program with a WebSocket server in it: trio runs as a guest in asyncio's loop.

Both run in one thread, in turns. What doesn't wait can be called across: asyncio's queue from trio as
it is, and what is trio's by `run_sync_soon`.
"""

import asyncio
from collections.abc import Awaitable, Callable

import trio

import hubws


class Guest:
    """A trio run inside an asyncio loop."""

    def __init__(self, main: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._scope = trio.CancelScope()
        self._main = main
        self.token: trio.lowlevel.TrioToken
        trio.lowlevel.start_guest_run(
            self._run,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=self._on_end,
            host_uses_signal_set_wakeup_fd=True,
        )

    async def _run(self) -> None:
        self.token = trio.lowlevel.current_trio_token()
        with self._scope:
            await self._main()

    def _on_end(self, outcome: object) -> None:
        error = getattr(outcome, "error", None)
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Call something of trio's, soon; from asyncio."""
        self.token.run_sync_soon(function, *args)

    async def aclose(self) -> None:
        """Cancel it and wait for its end; from asyncio."""
        self.call(self._scope.cancel)
        await self._ended


async def main() -> None:
    """Count aloud, in asyncio, and print what those who listen say, until one says stop."""
    said: asyncio.Queue[str] = asyncio.Queue(100)
    hub_opened: asyncio.Future[hubws.Hub] = asyncio.get_running_loop().create_future()

    async def talk(connection: hubws.Connection) -> None:
        async with hub_opened.result().member(connection):
            async for message in connection:
                said.put_nowait(f"{connection.id}: {message!s}")  # full: this connection ends, 1011

    async def serve() -> None:
        async with hubws.open_hub() as hub, trio.open_nursery() as nursery:
            hub_opened.set_result(hub)
            server = await nursery.start(hubws.serve, talk, "127.0.0.1", 0)
            print(f"ws://127.0.0.1:{server.port}/", flush=True)

    async def count() -> None:
        number = 0
        while True:
            guest.call(hub.broadcast, str(number := number + 1))
            await asyncio.sleep(0.02)

    guest = Guest(serve)
    hub = await hub_opened
    counting = asyncio.create_task(count())
    try:
        while "stop" not in (line := await said.get()):
            print(line, flush=True)
    finally:  # also when somebody interrupts
        counting.cancel()
        await guest.aclose()  # closes every connection with 1001
        print("closed", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
