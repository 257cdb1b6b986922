"""The echo server and the echo client that the Autobahn test suite is run against."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio
import trustme

import hubws

COMPLIANCE = Path(__file__).parents[2] / "compliance"
WAYS = [
    pytest.param("callbacks", "socket", False, id="callbacks-socket"),
    pytest.param("iterate", "stream", False, id="iterate-stream"),
    pytest.param("iterate", "socket", True, id="TLS"),
]
LARGEST = 16 * 1024 * 1024
"""What the suite sends at most."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def start_server(*arguments: str | Path) -> AsyncIterator[str]:
    """Run the echo server; gives the URL that it prints, and sees that it ends in order."""
    command = [sys.executable, COMPLIANCE / "echo_server.py", "0", *arguments]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    async with process.stdout:
        with trio.fail_after(30):
            yield (await process.stdout.receive_some()).decode().strip()
            process.terminate()
            assert await process.wait() == 0


@pytest.mark.parametrize(("style", "transport", "tls"), WAYS)
async def test_the_server_echoes(
    tmp_path, authority: trustme.CA, style: str, transport: str, tls: bool
) -> None:
    options: list[str | Path] = ["--transport", transport]
    context = None
    if tls:
        certificate = authority.issue_cert("127.0.0.1")
        certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "pem")
        options += ["--tls", tmp_path / "pem", tmp_path / "pem"]
        context = ssl.create_default_context()
        authority.configure_trust(context)
    async with (
        start_server(style, *options) as url,
        hubws.connect(
            url, ssl_context=context, compression=True, max_message_size=LARGEST
        ) as connection,
    ):
        assert connection.compression is not None
        for message in ("text", b"binary", "", "x" * LARGEST):
            await connection.send(message)
            assert message == await connection.receive()


class FuzzingServer:
    """What the client has to find: two cases, and the resources around them."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.echoes: list[str | bytes] = []
        self.compressed = False

    async def handle(self, connection: hubws.Connection) -> None:
        assert connection.request is not None
        target = connection.request.target
        self.asked.append(target)
        path = urlsplit(target).path
        if path == "/getCaseCount":
            await connection.send("2")
        elif path == "/runCase":
            self.compressed = connection.compression is not None
            for message in (f"case {len(self.asked)}", b"\xff"):
                await connection.send(message)
                self.echoes.append(await connection.receive())
            if target.startswith("/runCase?case=1"):
                await connection.aclose(1002, "this must not end the client")


@pytest.mark.parametrize(("style", "transport", "tls"), WAYS)
async def test_the_client_runs_all_cases(
    tmp_path, authority: trustme.CA, style: str, transport: str, tls: bool
) -> None:
    context = None
    options: list[str | Path] = ["--transport", transport]
    if tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        authority.cert_pem.write_to_path(tmp_path / "authority")
        options += ["--ca", tmp_path / "authority"]
    fuzzing = FuzzingServer()
    async with trio.open_nursery() as nursery:
        serve = partial(
            hubws.serve, fuzzing.handle, "127.0.0.1", 0, ssl_context=context, compression=True
        )
        server = await nursery.start(serve)
        url = f"{'wss' if tls else 'ws'}://127.0.0.1:{server.port}"
        command = [sys.executable, COMPLIANCE / "echo_client.py", url, "hub ws", style, *options]
        with trio.fail_after(30):
            await trio.run_process(command)
        nursery.cancel_scope.cancel()
    assert fuzzing.asked == [
        "/getCaseCount",
        "/runCase?case=1&agent=hub%20ws",
        "/runCase?case=2&agent=hub%20ws",
        "/updateReports?agent=hub%20ws",
    ]
    assert fuzzing.echoes == ["case 2", b"\xff", "case 3", b"\xff"]
    assert fuzzing.compressed
