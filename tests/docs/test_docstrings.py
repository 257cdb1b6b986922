"""Programs in the docstrings of public names, which the reference shows, run among what they name."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing
import trio_websocket

import hubws
import hubws.embedding
import hubws.pages
import hubws.testing

from .test_reference import NAMES, is_shown, value_of

NOT_HERE = {
    "hubws.embedding.accept_asgi",  # these two need a framework; docs/embedding.md has them with it
    "hubws.embedding.asgi_of",
    "hubws.embedding.Echo",  # JavaScript; tests/embedding/test_echo.py does what it says
}  # fmt: skip
QUIET = 0.02
"""Nothing happens for so long, in seconds: all that a program waits for is something from outside."""


def docstrings() -> Iterator[tuple[str, str]]:
    for name in NAMES:
        value = value_of(name)
        yield name, inspect.getdoc(value) or ""
        if inspect.isclass(value):
            for member, definition in vars(value).items():
                if callable(definition) and is_shown(value, member) and member[0] != "_":
                    yield f"{name}.{member}", inspect.getdoc(definition) or ""


PROGRAMS = [
    (name, textwrap.dedent(paragraph))
    for name, docstring in docstrings()
    for paragraph in docstring.split("\n\n")
    if paragraph.startswith("    ") and name not in NOT_HERE
]


async def meet(hub: hubws.Hub, connection: hubws.Connection) -> None:
    """Answer once and be done, or stay, for those who come back."""
    hub.register(connection)
    if await hubws.serve_recovery(hub, connection, await connection.receive()):
        hub.broadcast("some news", topic="news")
        await connection.wait_closed()
    await connection.send("goodbye")


async def answer(body: object) -> object:
    return body


async def visit(peer: hubws.Connection) -> None:
    """Be the other side of a program's connection: say something, and serve requests."""
    await peer.send("hello")
    async with hubws.open_requests(peer, answer):
        await peer.wait_closed()


@asynccontextmanager
async def surroundings(nursery: trio.Nursery) -> AsyncIterator[dict[str, Any]]:
    """What the programs name, each as what it is elsewhere in the documentation."""
    near, far = trio.testing.memory_stream_pair()
    embedded: Any  # trio-websocket takes any stream, and says that it takes sockets only
    embedded, outside = trio.testing.memory_stream_pair()
    async with (
        hubws.open_hub() as hub,
        hubws.open_monitor(hub) as monitor,
        hubws.testing.open_pair() as (peer, connection),
    ):
        hub.configure("news", history=hubws.Retention())
        handler = partial(meet, hub)
        server = await nursery.start(hubws.serve, handler, "127.0.0.1", 0)

        async def accept_far() -> None:
            async with hubws.embedding.accept(outside, b"") as one:
                await handler(one)

        async def dial_near() -> None:
            async with hubws.connect("ws://near/", stream=far) as one:
                await one.send("hello")
                await one.wait_closed()

        nursery.start_soon(visit, peer)
        nursery.start_soon(accept_far)
        nursery.start_soon(dial_near)
        yield {
            **vars(hubws.pages),
            "hubws": hubws,
            "hub": hub,
            "monitor": monitor,
            "connection": connection,
            "url": f"ws://127.0.0.1:{server.port}/",
            "chat": handler,
            "handler": handler,
            "serve": answer,
            "file": SimpleNamespace(write=len),
            "stream": near,
            "head": await near.receive_some(),
            "websocket": await trio_websocket.wrap_client_stream(nursery, embedded, "far", "/"),
        }


@pytest.mark.parametrize(("name", "code"), PROGRAMS, ids=[name for name, _ in PROGRAMS])
async def test_programs_run_until_they_wait(name: str, code: str, nursery: trio.Nursery) -> None:
    """To their end, or until they wait for what does not come: nothing is raised, and all exists."""
    indented = textwrap.indent(code.replace("8080", "0").replace("8081", "0"), "    ")
    async with surroundings(nursery) as known:
        known["print"] = lambda *_: None
        exec(compile(f"async def program():\n{indented}", f"<{name}>", "exec"), known)
        async with trio.open_nursery() as inner:
            inner.start_soon(known["program"])
            await trio.testing.wait_all_tasks_blocked(QUIET)
            inner.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


def test_there_are_some() -> None:
    assert len(PROGRAMS) > 15
