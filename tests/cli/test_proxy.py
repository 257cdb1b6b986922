"""hubws/cli/proxy.py: clients are passed on to a server of the tests' own."""

from __future__ import annotations

import json

import pytest

import hubws
from hubws.cli.options import ServerOptions
from hubws.cli.proxy import proxy
from tests.cli.command import interrupt, start
from tests.cli.conftest import Serve, echo


async def test_clients_are_passed_on(serve: Serve):
    backend = await serve(echo, subprotocols=["chat"], compression=True, origins="any")
    arguments = [backend.rstrip("/"), "--port", "0", "--path", "/chat", "--json"]
    async with start("proxy", *arguments) as program:
        listening = json.loads(await program.wait_for(lambda line: "listening" in line))
        url = listening["url"]
        async with hubws.connect(
            url + "chat",
            proxy=None,
            subprotocols=["chat"],
            compression=True,
            origin="https://example.org",
        ) as connection:
            assert connection.subprotocol == "chat"
            assert connection.compression is not None
            await connection.send("hello")
            assert await connection.receive() == "hello"
        with pytest.raises(hubws.HandshakeRefused, match="404"):
            async with hubws.connect(url + "else", proxy=None):
                pass
        end = await interrupt(program)
    assert end.status == 0
    assert json.loads(end.lines[-1]) == {
        "event": "summary",
        "clean": True,
        "backends": [{"url": backend.rstrip("/"), "accepted": 1, "failures": 0}],
    }


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (ServerOptions(subprotocol=("chat",)), "are not for a proxy"),
        (ServerOptions(max_rate=5), "are not for a proxy"),
    ],
)
def test_what_is_the_servers_affair(options: ServerOptions, error: str):
    with pytest.raises(ValueError, match=error):
        proxy("ws://127.0.0.1:1", options=options)


@pytest.mark.parametrize("backend", ["http://x", "ws://x/path", "ws://user@x"])
def test_what_is_no_backend(backend: str):
    with pytest.raises(ValueError, match=r"must begin with ws|has no path|has no user"):
        proxy(backend)
