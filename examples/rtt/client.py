"""Be measured, and measure back: print the round-trip time to a server until Ctrl-C."""

import argparse
import signal
import sys

import trio

import hubws


async def measure(connection: hubws.Connection, interval: float) -> None:
    """Ping the server again and again."""
    while True:
        print(f"{await connection.ping() * 1000:.3f} ms", flush=True)
        await trio.sleep(interval)


async def main(url: str, interval: float) -> None:
    """Measure until the user or the server ends it, then sum up."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with hubws.connect(url) as connection, trio.open_nursery() as nursery:
            nursery.start_soon(measure, connection, interval)
            await anext(signals)
            nursery.cancel_scope.cancel()
    rtt = connection.rtt
    print(
        f"{rtt.samples} pings, minimum {rtt.minimum * 1000:.3f} ms, mean {rtt.mean * 1000:.3f} ms"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", default="ws://127.0.0.1:8081/")
    parser.add_argument("--interval", type=float, default=2, help="seconds between pings")
    arguments = parser.parse_args()
    try:
        trio.run(main, arguments.url, arguments.interval)
    except* (OSError, hubws.HubwsError) as failed:
        sys.exit(f"{arguments.url}: {failed.exceptions[0]}")
