"""Servers of pages in the tests' own process, and plain requests to them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import attrs
import trio

import hubws
from hubws.pages.chat import Chat
from hubws.pages.live import LivePage
from hubws.pages.serve import serve_pages


@attrs.frozen
class Answer:
    """What a plain request got."""

    status: int
    headers: hubws.Headers
    body: bytes


async def get(host: str, target: str, *lines: str, method: str = "GET") -> Answer:
    """Send a plain HTTP request to host:port."""
    name, _, port = host.rpartition(":")
    head = "".join(
        f"{line}\r\n" for line in (f"{method} {target} HTTP/1.1", f"Host: {host}", *lines)
    )
    with trio.fail_after(30):
        async with await trio.open_tcp_stream(name, int(port)) as stream:
            await stream.send_all(f"{head}\r\n".encode())
            answer = b"".join([part async for part in stream])
    first, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = first.decode().split("\r\n")
    pairs = [(name, value.strip()) for name, _, value in (line.partition(":") for line in fields)]
    return Answer(int(status.split()[1]), hubws.Headers(pairs), body)


@contextlib.asynccontextmanager
async def serving(
    pages: Sequence[LivePage], handler: Any = None, *, port: int = 0, **options: Any
) -> AsyncIterator[str]:
    """Serve pages while the block runs; gives host:port."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(serve_pages, pages, handler, "127.0.0.1", port, **options)
        )
        yield f"127.0.0.1:{server.port}"
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def chatting(port: int = 0, **options: Any) -> AsyncIterator[str]:
    """Serve a chat while the block runs; gives host:port."""
    async with hubws.open_hub() as hub:
        chat = Chat(hub, **options)
        async with serving([], chat.talk, port=port, on_request=chat.answer) as host:
            yield host


def port_of(host: str) -> int:
    return int(host.rpartition(":")[2])


async def stay(hub: hubws.Hub, connection: hubws.Connection, *topics: str) -> None:
    """Be a member until the end."""
    async with hub.member(connection, *topics):
        async for _ in connection:
            pass
