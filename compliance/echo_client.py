"""A client that runs every case of a fuzzing server, sending back every message."""

import argparse
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote, urlsplit

import trio

import hubws

LARGEST = 32 * 1024 * 1024
"""The largest message of the suite has 16 MiB."""


class Client:
    """How to connect, as the command line says."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._tls = ssl.create_default_context(cafile=arguments.ca) if arguments.ca else None

    @asynccontextmanager
    async def connect(
        self, resource: str, callbacks: hubws.Callbacks
    ) -> AsyncIterator[hubws.Connection]:
        """Connect to a resource of the fuzzing server."""
        url = self._arguments.url.rstrip("/") + resource
        stream: trio.abc.Stream | None = None
        if self._arguments.transport == "stream":
            where = urlsplit(url)
            plain = await trio.open_tcp_stream(where.hostname or "", where.port or 80)
            stream = trio.StapledStream(plain, plain)
        async with hubws.connect(
            url,
            stream=stream,
            ssl_context=self._tls,
            callbacks=callbacks,
            compression=True,
            max_message_size=LARGEST,
            outbox_bytes=LARGEST,
        ) as connection:
            yield connection

    async def ask(self, resource: str) -> str | bytes | None:
        """The message that the server sends before it closes, if there is one."""
        answer = None
        async with self.connect(resource, hubws.Callbacks()) as connection:
            async for message in connection:
                answer = message
        return answer

    async def echo(self, resource: str) -> None:
        """Send back every message until the connection ends, in whatever way."""
        if self._arguments.style == "callbacks":
            async with self.connect(
                resource, hubws.Callbacks(on_message=echo_message)
            ) as connection:
                await connection.wait_closed()
        else:
            async with self.connect(resource, hubws.Callbacks()) as connection:
                try:
                    async for message in connection:
                        await connection.send(message)
                except hubws.ConnectionClosed:  # the case is judged by the server
                    pass


def echo_message(connection: hubws.Connection, message: str | bytes) -> None:
    """Echo in the callback style."""
    connection.send_nowait(message)


async def main(arguments: argparse.Namespace) -> None:
    """Run all cases, one after another, and have the reports written."""
    client = Client(arguments)
    agent = quote(arguments.agent, safe="")
    count = await client.ask("/getCaseCount")
    assert count is not None, "the server did not say how many cases it has"
    for case in range(1, int(count) + 1):
        await client.echo(f"/runCase?case={case}&agent={agent}")
    await client.ask(f"/updateReports?agent={agent}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="of the fuzzing server, such as ws://127.0.0.1:9001")
    parser.add_argument("agent", help="the name under which it reports on this client")
    parser.add_argument("style", nargs="?", choices=["callbacks", "iterate"], default="callbacks")
    parser.add_argument("--transport", choices=["socket", "stream"], default="socket")
    parser.add_argument(
        "--ca", metavar="FILE", help="the authority behind the server's certificate"
    )
    trio.run(main, parser.parse_args())
