"""hubws_echo.py PORT callbacks|iterate [metrics|log]: echo with hubws, in either of its two styles.

Keepalive stays at the default. With `metrics` they are served at /metrics; with `log` there is an
access log, too, on standard error.
"""

import logging
import sys
from functools import partial
from typing import Any

import trio

import hubws


def echo_message(connection: hubws.Connection, message: str | bytes) -> None:
    connection.send_nowait(message)


async def echo(connection: hubws.Connection) -> None:
    async for message in connection:
        connection.send_nowait(message)


def observed(what: str) -> dict[str, Any]:
    """Arguments of `serve` for metrics, or for metrics and an access log."""
    from hubws.metrics import Metrics

    metrics = Metrics()
    observers: list[hubws.Observer] = [metrics]
    if what == "log":
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        observers.append(hubws.AccessLog())
    return {"observers": observers, "on_request": metrics.respond}


async def main(port: int, style: str, *what: str) -> None:
    consumer = hubws.Callbacks(on_message=echo_message) if style == "callbacks" else echo
    more = observed(*what) if what else {}
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(hubws.serve, consumer, "127.0.0.1", port, backlog=4096, **more))
        print("ready", flush=True)


trio.run(main, int(sys.argv[1]), *sys.argv[2:])
