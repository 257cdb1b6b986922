"""hubws_proxy.py PORT BACKEND_PORT transparent|inspecting: hubws as a proxy in front of a port."""

import sys
from functools import partial

import trio

from hubws.proxy import Backend, Inspection, Route, serve_proxy


async def main(port: int, backend: int, mode: str) -> None:
    inspect = Inspection() if mode == "inspecting" else None
    route = Route(backends=[Backend(f"ws://127.0.0.1:{backend}")], inspect=inspect)
    async with trio.open_nursery() as nursery:
        serve = partial(serve_proxy, [route], "127.0.0.1", port, backlog=4096, close_timeout=1)
        await nursery.start(serve)
        print("ready", flush=True)


trio.run(main, int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
