"""The deployment page's nginx and haproxy, at work: in front of a server, with a certificate."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme

import hubws

from .conftest import NAME
from .pages import BLOCKS
from .test_configurations import DEPLOYMENT, NGINX

PER_ADDRESS = 50
"""How many connections of one address both let through."""


async def tell(connection: hubws.Connection) -> None:
    """Say what came with the request, then echo."""
    assert connection.request is not None
    headers = connection.request.headers
    await connection.send(f"{headers['X-Forwarded-For']} by {headers['X-Forwarded-Proto']}")
    async for message in connection:
        await connection.send(message)


def health(request: hubws.Request) -> hubws.Response | None:
    return hubws.Response(200, "fine") if request.path == "/health" else None


def shown(language: str) -> str:
    (block,) = (one for one in BLOCKS if one.page == DEPLOYMENT and one.language == language)
    return block.code


@contextmanager
def running(front: str, folder: Path, ports: tuple[int, int]) -> Iterator[int]:
    """Run it as the page has it but for folder and ports; returns the port where it listens."""
    path = shutil.which(front, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert path is not None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port, descriptor = listener.getsockname()[1], listener.fileno()
        text = shown(front).replace("/etc/chat", str(folder))
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{ports[0]}")
        text = text.replace("127.0.0.1:8081", f"127.0.0.1:{ports[1]}")
        configuration = folder / "configuration"
        if front == "nginx":
            text = NGINX.format(text.replace("listen 443", f"listen 127.0.0.1:{port}"))
            command = [path, "-p", str(folder), "-c", str(configuration), "-e", "stderr"]
        else:
            text = text.replace("bind :443", f"bind fd@{descriptor}")
            command = [path, "-db", "-f", str(configuration)]
        configuration.write_text(text)
        environment = os.environ | {"NGINX": f"{descriptor};"}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, pass_fds=[descriptor], stderr=log)
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("front", ["nginx", "haproxy"])
async def test_it_leads_to_the_server(
    front: str, authority: trustme.CA, files: Path, nursery: trio.Nursery
) -> None:
    """By TLS; the server sees who asks, knows its own pages, and one address gets no more than 50."""
    trust = hubws.TLS(ca_data=authority.cert_pem.bytes().decode(), server_hostname=NAME)
    serve = partial(hubws.serve, tell, "127.0.0.1", 0, on_request=health)
    servers = [await nursery.start(serve) for _ in range(2)]
    with (
        running(front, files, (servers[0].port, servers[1].port)) as port,
        trio.fail_after(30),
    ):
        connect = partial(hubws.connect, f"wss://127.0.0.1:{port}/", tls=trust)
        async with connect(origin=f"https://127.0.0.1:{port}") as connection:
            assert await connection.receive() == "127.0.0.1 by https"
            await connection.send("hello")
            assert await connection.receive() == "hello"
        with pytest.raises(hubws.HandshakeRefused):
            await connect(origin="https://elsewhere.example").__aenter__()
        async with AsyncExitStack() as stack:
            for _ in range(PER_ADDRESS):
                connection = await stack.enter_async_context(connect())
                assert await connection.receive() == "127.0.0.1 by https"
            with pytest.raises((hubws.HandshakeError, OSError)):
                await stack.enter_async_context(connect())
            await connection.send("still here")
            assert await connection.receive() == "still here"
    nursery.cancel_scope.cancel()
