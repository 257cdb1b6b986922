"""Chromium talks to a hubws server, compressed."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
import trio

import hubws
from tests.examples.chromium import open_browser

PAGE = hubws.Response(200, "<!doctype html><title>t</title>", {"Content-Type": "text/html"})
ECHO_ALL = """
new Promise((resolve, reject) => {
    const messages = %s, echoes = [];
    const socket = new WebSocket(`ws://${location.host}/`);
    socket.onopen = () => messages.forEach((message) => socket.send(message));
    socket.onerror = () => reject(new Error("error"));
    socket.onmessage = (event) => {
        echoes.push(event.data);
        if (echoes.length === messages.length) {
            resolve([socket.extensions, JSON.stringify(echoes) === JSON.stringify(messages)]);
            socket.close(1000);
        }
    };
})"""


@pytest.mark.parametrize(
    ("compression", "extensions"),
    [
        (hubws.Deflate(), "permessage-deflate; client_max_window_bits=12"),
        (
            hubws.Deflate(server_no_context_takeover=True, client_no_context_takeover=True),
            (
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover;"
                " client_max_window_bits=12"
            ),
        ),
        (hubws.Deflate(client_max_window_bits=8), "permessage-deflate; client_max_window_bits=8"),
        (None, ""),
    ],
)
async def test_echo(tmp_path: Path, compression: hubws.Deflate | None, extensions: str) -> None:
    messages = [f"{number} " + "to be or not to be " * (number % 40) for number in range(300)]
    totals: list[int] = []

    async def echo(connection: hubws.Connection) -> None:
        async for message in connection:
            await connection.send(message)
        totals.extend([connection.statistics().bytes_received, connection.statistics().bytes_sent])

    async with open_browser(tmp_path / "profile") as browser, trio.open_nursery() as nursery:
        serve = functools.partial(
            hubws.serve,
            echo,
            "127.0.0.1",
            0,
            compression=compression,
            on_request=lambda _: PAGE,
        )
        server = await nursery.start(serve)
        page = await browser.open(f"http://127.0.0.1:{server.port}/")
        assert await page.evaluate(ECHO_ALL % json.dumps(messages)) == [extensions, True]
        while server.connections:
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    size = sum(map(len, messages))
    assert len(totals) == 2
    assert all(total < size / 4 if compression else total > size for total in totals)
