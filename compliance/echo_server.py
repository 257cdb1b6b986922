"""A server that sends back every message, for the test suite to judge."""

import argparse
import signal
import ssl
from functools import partial

import trio

import hubws

LARGEST = 32 * 1024 * 1024
"""The largest message of the suite has 16 MiB."""


class WrappingListener(trio.abc.Listener[trio.StapledStream[trio.SocketStream, trio.SocketStream]]):
    """Accepts streams that are not plain sockets, though they lead to one."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener

    async def accept(self) -> trio.StapledStream[trio.SocketStream, trio.SocketStream]:
        stream = await self._listener.accept()
        return trio.StapledStream(stream, stream)

    async def aclose(self) -> None:
        await self._listener.aclose()


def echo_message(connection: hubws.Connection, message: str | bytes) -> None:
    """Echo in the callback style."""
    connection.send_nowait(message)


async def echo(connection: hubws.Connection) -> None:
    """Echo with `async for`."""
    async for message in connection:
        await connection.send(message)


async def main(arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    tls = None
    if arguments.tls:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*arguments.tls)
    listeners = await trio.open_tcp_listeners(arguments.port, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    serve = partial(
        hubws.serve,
        hubws.Callbacks(on_message=echo_message) if arguments.style == "callbacks" else echo,
        listeners=[*map(WrappingListener, listeners)]
        if arguments.transport == "stream"
        else listeners,
        ssl_context=tls,
        compression=True,
        max_message_size=LARGEST,
        outbox_bytes=LARGEST,
    )
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            print(f"{'wss' if tls else 'ws'}://127.0.0.1:{port}/", flush=True)
            await anext(signals)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int, help="0: any that is free; the URL is printed")
    parser.add_argument("style", nargs="?", choices=["callbacks", "iterate"], default="callbacks")
    parser.add_argument("--transport", choices=["socket", "stream"], default="socket")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"), help="files in PEM")
    trio.run(main, parser.parse_args())
