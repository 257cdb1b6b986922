"""Serving pages beside, or without, an application's connections."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import attrs
import trio

from ..connection.connection import Connection
from ..protocol.http import Request, Response
from ..server.accept import Handler, RequestHandler
from ..server.authentication import Authenticate
from ..server.serve import serve
from ..server.server import Server
from .live import LivePage


async def serve_pages(
    pages: Sequence[LivePage],
    handler: Handler | None = None,
    host: str | bytes | None = None,
    port: int | None = None,
    *,
    on_request: RequestHandler | None = None,
    authenticate: Authenticate | None = None,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
    **arguments: Any,
) -> None:
    """Serve as `hubws.serve` does, with pages beside it.

        dashboard = Dashboard(hub, authenticate=hubws.basic_auth({"ada": "open sesame"}))
        await serve_pages([dashboard], chat, "127.0.0.1", 8080)

    Args:
        pages: each has its path, and its own rule who may look.
        handler: an async function for all connections but those of the pages. None: there are no
            others, they are refused with 404. An application of callbacks has its pages on a server
            of their own.
        host: where to listen, as for `hubws.serve`.
        port: the same.
        on_request: for plain requests that are for none of the pages.
        authenticate: for opening handshakes that are for none of the pages.
        task_status: started with the `Server`.
        **arguments: of `hubws.serve`. Its limits count those who look at a page, too.

    Raises as `hubws.serve`; ValueError for two pages at the same path.

    """
    by_feed = {page.feed_path: page for page in pages}
    if len(by_feed) < len(pages):
        raise ValueError(f"each page needs a path of its own, not {[page.path for page in pages]}")
    if handler is not None and not callable(handler):
        raise TypeError(f"handler is an async function or None, not {handler!r}")
    app = _Application(handler, on_request, authenticate)
    await serve(
        partial(_handle, by_feed, app),
        host,
        port,
        on_request=partial(_answer, pages, app, is_secure=arguments.get("ssl_context") is not None),
        authenticate=partial(_judge, by_feed, app),
        task_status=cast("trio.TaskStatus[Server]", _Announcement(pages, task_status)),
        **arguments,
    )


@attrs.frozen
class _Application:
    """What there is beside the pages."""

    handler: Handler | None
    on_request: RequestHandler | None
    authenticate: Authenticate | None


@attrs.frozen
class _Announcement:
    """Tells the pages of their server before whoever started it."""

    pages: Sequence[LivePage]
    task_status: trio.TaskStatus[Server]

    def started(self, server: Server) -> None:
        for page in self.pages:
            page.server = server
        self.task_status.started(server)


async def _handle(by_feed: dict[str, LivePage], app: _Application, connection: Connection) -> None:
    page = by_feed.get(connection.path)
    if page is not None:
        await page.attend(connection)
    elif app.handler is not None:
        for one in by_feed.values():
            one.watch(connection)
        await app.handler(connection)


def _answer(
    pages: Sequence[LivePage], app: _Application, request: Request, *, is_secure: bool
) -> Response | None:
    for page in pages:
        if (response := page.answer(request, is_secure=is_secure)) is not None:
            return response
    return None if app.on_request is None else app.on_request(request)


def _judge(by_feed: dict[str, LivePage], app: _Application, request: Request) -> Any:
    page = by_feed.get(request.path)
    if page is not None:
        return page.admit(request)
    if app.handler is None:
        return Response.refusal(404, f"connections are for {', '.join(by_feed)}")
    return None if app.authenticate is None else app.authenticate(request)
