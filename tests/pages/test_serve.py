"""hubws/pages/serve.py: pages beside, or without, an application's connections."""

from __future__ import annotations

import base64
import contextlib

import pytest
import trio

import hubws
from hubws.pages.dashboard import Dashboard
from hubws.pages.rtt import RttPage
from hubws.pages.serve import serve_pages

from .serving import get, serving

CHECK = hubws.basic_auth({"ada": "open sesame"})
KNOWN = "Authorization: Basic " + base64.b64encode(b"ada:open sesame").decode()


async def echo(connection: hubws.Connection) -> None:
    async for message in connection:
        await connection.send(message)


async def test_a_page_beside_an_application():
    answers = hubws.Response(200, "mine")
    async with hubws.open_hub() as hub:
        dashboard = Dashboard(hub, authenticate=CHECK)
        async with serving(
            [dashboard],
            echo,
            on_request=lambda request: answers if request.path == "/mine" else None,
            authenticate=lambda request: request.query,
        ) as host:
            async with hubws.connect(f"ws://{host}/?Mo", proxy=None) as connection:
                await connection.send("hello")
                assert await connection.receive() == "hello"
                assert [one.user for one in dashboard.server.connections] == ["Mo"]
            assert (await get(host, "/mine")).body == b"mine"
            assert (await get(host, "/other")).status == 426
            assert (await get(host, "/dashboard", KNOWN)).headers["Location"] == "dashboard/"
            assert (await get(host, "/dashboard/", KNOWN)).status == 200


async def test_who_may_look():
    async with hubws.open_hub() as hub:
        dashboard = Dashboard(hub, authenticate=CHECK)
        async with serving([dashboard], echo) as host:
            for name in ("", "dashboard.js", "page.css"):
                refused = await get(host, f"/dashboard/{name}")
                assert refused.status == 401
                assert refused.headers["WWW-Authenticate"].startswith("Basic ")
            url = f"ws://{host}/dashboard/feed"
            with pytest.raises(hubws.HandshakeRefused) as error:
                async with hubws.connect(url, proxy=None):
                    pass
            assert error.value.response.status == 401
            page = await get(host, "/dashboard/", KNOWN)
            cookie = page.headers["Set-Cookie"].partition(";")[0]
            for line in (KNOWN, f"Cookie: {cookie}"):
                name, _, value = line.partition(": ")
                async with hubws.connect(url, headers={name: value}, proxy=None) as viewer:
                    assert '"points"' in await viewer.receive()
            with pytest.raises(hubws.HandshakeRefused) as error:
                async with hubws.connect(
                    url, headers={"Cookie": cookie}, origin="http://evil.example", proxy=None
                ):
                    pass
            assert error.value.response.status == 403


async def test_a_server_of_its_own():
    async with hubws.open_hub() as hub, serving([Dashboard(hub, "/", authenticate=None)]) as host:
        assert (await get(host, "/")).status == 200
        with pytest.raises(hubws.HandshakeRefused) as error:
            async with hubws.connect(f"ws://{host}/elsewhere", proxy=None):
                pass
        assert error.value.response.status == 404


async def test_several_pages():
    async with hubws.open_hub() as hub, hubws.open_monitor(hub) as monitor:
        pages = [RttPage(monitor), Dashboard(hub, authenticate=None)]
        async with serving(pages) as host:
            titles = [(await get(host, path)).body for path in ("/", "/dashboard/")]
        assert b"Round-trip times" in titles[0]
        assert b"Dashboard" in titles[1]
        same = [Dashboard(hub, "/", authenticate=None), RttPage(monitor)]
        with pytest.raises(ValueError, match="a path of its own"):
            await serve_pages(same, None, "127.0.0.1", 0)


async def test_callbacks_are_no_handler():
    with pytest.raises(TypeError, match="async function or None"):
        await serve_pages([], hubws.Callbacks(), "127.0.0.1", 0)  # type: ignore[arg-type]


async def test_a_cancelled_server_closes_viewers_with_1001():
    async with hubws.open_hub() as hub, contextlib.AsyncExitStack() as stack:
        async with serving([Dashboard(hub, "/", authenticate=None)]) as host:
            looking = hubws.connect(f"ws://{host}/feed", proxy=None)
            viewer = await stack.enter_async_context(looking)
            await viewer.receive()
        with trio.fail_after(30):
            await viewer.wait_closed()
        assert viewer.close_code == 1001
