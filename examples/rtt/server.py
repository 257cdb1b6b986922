"""Measure every client's round-trip time: a line when its pong returns, and a page that shows all."""

import argparse
import signal
from functools import partial

import trio

import hubws
from hubws.pages import RttPage, serve_pages


def show(connection: hubws.Connection, _payload: bytes, rtt: float | None) -> None:
    """Print what a pong tells."""
    if rtt is not None:  # else it answers no ping of ours
        print(f"client {connection.id}: {rtt * 1000:.3f} ms", flush=True)


async def stay(hub: hubws.Hub, connection: hubws.Connection) -> None:
    """Keep a client in the hub, whose members the monitor pings, until it goes."""
    print(f"client {connection.id} joined", flush=True)
    try:
        async with hub.member(connection):  # ConnectionClosed if it has gone again already
            await connection.wait_closed()
    finally:
        print(f"client {connection.id} left: {connection.closure}", flush=True)


async def main(host: str, port: int, interval: float) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with (
            hubws.open_hub(on_pong=show) as hub,
            hubws.open_monitor(hub, interval=interval) as monitor,
            trio.open_nursery() as nursery,
        ):
            serve = partial(serve_pages, [RttPage(monitor)], partial(stay, hub))
            server = await nursery.start(serve, host, port)
            print(f"ws://{host}:{server.port}/", flush=True)
            print(f"http://{host}:{server.port}/ shows what is measured", flush=True)
            await anext(signals)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8081, help="0: any that is free")
    parser.add_argument("--interval", type=float, default=2, help="seconds between pings")
    arguments = parser.parse_args()
    trio.run(main, arguments.host, arguments.port, arguments.interval)
