"""The access log: one line for each client, which can't be forged, and its figures as fields."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
import trio

import hubws
from hubws import AccessLog, Frame
from hubws.server.access_log import address_text


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    """Takes the records of the access log so far."""
    caplog.set_level(logging.INFO, "hubws.access")
    return lambda: [record for record in caplog.records if record.name == "hubws.access"]


async def wait_for(lines: Any, count: int) -> list[Any]:
    with trio.fail_after(10):
        while len(found := lines()) < count:
            await trio.testing.wait_all_tasks_blocked(0.01)
    return found


async def test_connection(start, raw, lines) -> None:
    def authenticate(_: hubws.Request) -> str:
        return "ann"

    server = await start(observers=[AccessLog()], authenticate=authenticate)
    client = await raw(server)
    await client.send(client.hello("GET /chat?room=1 HTTP/1.1"))
    await client.head()
    for number in range(3):
        await client.send(Frame.text(f"message {number}"))
    for _ in range(3):
        await client.frame()
    await client.send(Frame.close(1001, "bye"))
    [record] = await wait_for(lines, 1)
    port = client.stream.socket.getsockname()[1]
    received, sent = record.bytes_received, record.bytes_sent
    assert re.fullmatch(
        rf'127\.0\.0\.1:{port} "GET /chat\?room=1 HTTP/1\.1" 101 \d+\.\d\d\ds '
        rf"in=3/{received}B out=3/{sent}B closed=1001",
        record.getMessage(),
    )
    assert received == 3 * (6 + 9) + 6 + 5
    assert record.user == "ann"
    assert record.remote == f"127.0.0.1:{port}"
    assert record.request == "GET /chat?room=1 HTTP/1.1"
    assert (record.status, record.close_code) == (101, 1001)
    assert record.connection > 0
    assert record.levelno == logging.INFO


async def test_refusal(start, raw, lines) -> None:
    client = await raw(await start(observers=[AccessLog()], origins=["https://a.example"]))
    await client.send(client.hello("GET /a HTTP/1.1", Origin="https://b.example"))
    assert (await client.response())[0] == 403
    [record] = await wait_for(lines, 1)
    assert record.getMessage() == f'{record.remote} "GET /a HTTP/1.1" 403'
    assert record.status == 403


async def test_client_without_a_request(start, raw, lines) -> None:
    client = await raw(await start(observers=[AccessLog()]))
    await client.stream.aclose()
    [record] = await wait_for(lines, 1)
    assert record.getMessage() == f'{record.remote} "-" - it went away'
    assert record.status is None


async def test_line_can_not_be_forged(start, raw, lines) -> None:
    client = await raw(await start(observers=[AccessLog()]))
    await client.send(client.hello('GET /"\x80\xff HTTP/1.1', Sec_WebSocket_Version="12"))
    await client.response()
    [record] = await wait_for(lines, 1)
    asked = record.getMessage().partition(" ")[2]
    assert asked in ('"GET /\\"\\x80\\xff HTTP/1.1" 426', '"-" 400')
    assert record.getMessage().isascii()


async def test_own_logger(start, raw, caplog) -> None:
    caplog.set_level(logging.INFO, "of the application")
    logger = logging.getLogger("of the application")
    client = await raw(await start(observers=[AccessLog(logger)]))
    await client.send(b"nonsense\r\n\r\n")
    await client.response()
    [record] = [record for record in caplog.records if record.name == logger.name]
    assert record.getMessage().endswith(' "-" 400')


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("10.0.0.1", 80), "10.0.0.1:80"),
        (("::1", 8080, 0, 0), "[::1]:8080"),
        ("/run/a.sock", "unix"),
        (None, "unix"),
    ],
)
def test_address(address: object, text: str) -> None:
    assert address_text(address) == text


async def test_nothing_is_logged_for_a_message(start, raw, caplog) -> None:
    caplog.set_level(logging.INFO)
    client = await raw(await start(observers=[AccessLog()]), upgraded=True)
    before = len(caplog.records)
    for _ in range(100):
        await client.send(Frame.text("hello"))
    for _ in range(100):
        await client.frame()
    assert len(caplog.records) == before
