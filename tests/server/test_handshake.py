"""The opening handshake as a server sees it: what it takes, what it refuses, and for how long."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing

import hubws
from hubws import Request, Response
from hubws.protocol.http import MAX_HEAD, MAX_HEADERS
from hubws.testing import ScriptedPeer, open_server


async def answer_to(raw, server, request: bytes) -> tuple[int, dict[str, str], bytes]:
    client = await raw(server)
    await client.send(request)
    response = await client.response()
    await client.stream.aclose()
    return response


class TestAcceptance:
    async def test_the_example_of_the_rfc(self, start, raw) -> None:  # RFC 6455 §1.3
        client = await raw(await start())
        headers = await client.upgrade()
        assert headers == {
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec-websocket-accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        }

    async def test_goes_before_a_close_that_nothing_else_goes_before(self) -> None:
        """Who is a slow consumer before its 101 has gone, gets that first."""

        def push(connection: hubws.Connection) -> None:
            for _ in range(100):
                connection.send_nowait(b"x" * 100_000)

        callbacks = hubws.Callbacks(on_open=push)
        async with open_server(callbacks, policy="disconnect") as server:
            client = ScriptedPeer(server.listener.dial(), is_client=True)
            response = await client.upgrade()
            assert response.status == 101
            assert (await client.receive()).payload == b"\x03\xf5slow consumer"

    @pytest.mark.parametrize(
        "changes",
        [
            {"Upgrade": "WebSocket", "Connection": "upgrade"},
            {"Connection": "keep-alive, Upgrade"},
            {"Upgrade": "h2c, websocket"},
            {"Origin": "http://localhost"},
        ],
    )
    async def test_what_browsers_and_proxies_send(self, start, raw, changes) -> None:
        client = await raw(await start())
        await client.upgrade(**changes)

    async def test_byte_by_byte(self, start, raw, hello) -> None:
        client = await raw(await start())
        for byte in hello():
            await client.send(bytes([byte]))
            await trio.lowlevel.checkpoint()
        assert (await client.head())[0] == 101

    @pytest.mark.parametrize(
        ("offered", "chosen"),
        [
            (None, None),
            ("a", None),
            ("chat", "chat"),
            ("chat, superchat", "superchat"),
            ("a,superchat", "superchat"),
        ],
    )
    async def test_subprotocol_is_the_server_s_first(self, start, raw, offered, chosen) -> None:
        server = await start(subprotocols=["superchat", "chat"])
        client = await raw(server)
        headers = await client.upgrade(Sec_WebSocket_Protocol=offered)
        assert headers.get("sec-websocket-protocol") == chosen
        assert next(iter(server.connections)).subprotocol == chosen

    async def test_more_headers(self, start, raw) -> None:
        client = await raw(await start(headers=[("Set-Cookie", "a=b"), ("Server", "x")]))
        headers = await client.upgrade()
        assert (headers["set-cookie"], headers["server"]) == ("a=b", "x")

    @pytest.mark.parametrize(
        ("origins", "origin", "status"),
        [
            ("same", "http://localhost", 101),
            ("same", "http://elsewhere", 403),
            ("same", None, 101),
            ("any", "http://elsewhere", 101),
            (["https://a.example", None], "https://a.example", 101),
            (["https://a.example", None], None, 101),
            (["https://a.example"], None, 403),
            (["https://a.example"], "https://b.example", 403),
        ],
    )
    async def test_origins(self, start, raw, hello, origins, origin, status) -> None:
        client = await raw(await start(origins=origins))
        await client.send(hello(Origin=origin))
        assert (await client.head())[0] == status


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "status", "words"),
        [
            ({"request": "POST / HTTP/1.1"}, 405, "POST"),
            ({"request": "GET / HTTP/1.0"}, 505, "1.0"),
            ({"Host": None}, 400, "Host"),
            ({"Host": "a b"}, 400, "Host"),
            ({"Upgrade": None}, 400, "Upgrade"),
            ({"Connection": "keep-alive"}, 400, "Connection"),
            ({"Sec_WebSocket_Key": None}, 400, "Sec-WebSocket-Key"),
            ({"Sec_WebSocket_Key": "c2hvcnQ="}, 400, "Sec-WebSocket-Key"),
            ({"Sec_WebSocket_Key": "not base64, no!"}, 400, "Sec-WebSocket-Key"),
            ({"Sec_WebSocket_Protocol": "a b"}, 400, "Sec-WebSocket-Protocol"),
            ({"Content_Length": "5"}, 400, "body"),
            ({"Sec_WebSocket_Version": "8"}, 426, "13"),
            ({"Sec_WebSocket_Version": None}, 426, "13"),
            ({"Origin": "https://evil.example"}, 403, "evil.example"),
        ],
    )
    async def test_not_a_proper_handshake(self, start, raw, hello, changes, status, words) -> None:
        server = await start()
        got, headers, body = await answer_to(raw, server, hello(**changes))
        assert got == status
        assert words in body.decode()
        assert int(headers["content-length"]) == len(body)
        assert headers["connection"] == "close"
        assert server.statistics().accepted == 0

    async def test_headers_that_say_what_would_be_right(self, start, raw, hello) -> None:
        server = await start()
        _, headers, _ = await answer_to(raw, server, hello(request="PUT / HTTP/1.1"))
        assert headers["allow"] == "GET"
        _, headers, _ = await answer_to(raw, server, hello(Sec_WebSocket_Version="12"))
        assert headers["sec-websocket-version"] == "13"

    @pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\0\x01\xfc", b"hello\r\n\r\n", b"\0" * 99])
    async def test_not_http(self, start, raw, junk) -> None:
        status, _, _ = await answer_to(raw, await start(), junk)
        assert status == 400

    @pytest.mark.parametrize(
        "more",
        [
            f"X: {'x' * MAX_HEAD}\r\n",
            "".join(f"X-{i}: y\r\n" for i in range(MAX_HEADERS)),
        ],
    )
    async def test_head_too_large(self, start, raw, hello, more) -> None:
        request = hello()[:-2] + more.encode() + b"\r\n"
        status, _, _ = await answer_to(raw, await start(), request)
        assert status == 431

    async def test_endless_head(self, start, raw) -> None:
        client = await raw(await start())
        await client.send(b"GET / HTTP/1.1\r\nX: " + b"x" * (MAX_HEAD + 1))
        assert (await client.head())[0] == 431

    async def test_answer_reaches_a_client_that_ends_its_output(self, start, raw, hello) -> None:
        client = await raw(await start())
        await client.send(hello(Host=None))
        await client.stream.send_eof()
        assert (await client.response())[0] == 400

    async def test_client_that_asks_and_goes(self, start, raw, hello, complaints) -> None:
        server = await start()
        client = await raw(server)
        await client.send(hello(Host=None))
        client.reset()
        while server.statistics().handshaking:
            await trio.lowlevel.checkpoint()
        assert (await answer_to(raw, server, hello(Host=None)))[0] == 400

    async def test_over_tls(self, start, raw, hello, server_tls, client_tls) -> None:
        client = await raw(await start(ssl_context=server_tls), client_tls)
        await client.send(hello(Host=None))
        assert (await client.response())[0] == 400

    async def test_log_lines_are_ascii(self, start, raw, caplog: pytest.LogCaptureFixture) -> None:
        """What a client chose can't steer the terminal of who reads them."""
        caplog.set_level(logging.INFO, "hubws")
        client = await raw(await start())
        await client.send(client.hello(Origin="http://\x9b2J\xe4"))
        assert (await client.response())[0] == 403
        (line,) = [one.getMessage() for one in caplog.records if "refused" in one.getMessage()]
        assert line.endswith("403: Origin http://\\x9b2J\\xe4 may not connect")


PAGE = "<p>päge</p>" * 200_000


def site(request: Request) -> Response | None:
    match request.path:
        case "/":
            return Response(200, PAGE, {"Content-Type": "text/html; charset=utf-8"})
        case "/health":
            return Response(200, "ok")
        case "/broken":
            raise LookupError("no such page")
    return None


class TestPlainHTTP:
    async def test_upgrade_required_without_a_hook(self, start, raw) -> None:
        request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        status, headers, _ = await answer_to(raw, await start(), request)
        assert (status, headers["upgrade"]) == (426, "websocket")
        assert headers["connection"] == "Upgrade, close"

    @pytest.mark.parametrize("tls", [False, True])
    async def test_large_page_arrives_whole(self, start, raw, tls, server_tls, client_tls) -> None:
        server = await start(on_request=site, ssl_context=server_tls if tls else None)
        client = await raw(server, client_tls if tls else None)
        await client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()  # the server is stuck by now
        status, headers, body = await client.response()
        assert status == 200
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert body.decode() == PAGE

    @pytest.mark.parametrize(
        ("request_line", "status", "body"),
        [
            ("GET /health?x=1 HTTP/1.1", 200, b"ok"),
            ("GET /health HTTP/1.0", 200, b"ok"),
            ("HEAD /health HTTP/1.1", 200, b""),
            ("GET /none HTTP/1.1", 426, b"this server speaks WebSocket\n"),
        ],
    )
    async def test_hook(self, start, raw, request_line, status, body) -> None:
        request = f"{request_line}\r\nHost: localhost\r\n\r\n".encode()
        got, headers, content = await answer_to(raw, await start(on_request=site), request)
        assert (got, content) == (status, body)
        assert int(headers["content-length"]) == len(body or b"ok")

    async def test_hook_that_raises(self, start, raw, complaints) -> None:
        server = await start(on_request=site)
        request = b"GET /broken HTTP/1.1\r\nHost: localhost\r\n\r\n"
        status, _, body = await answer_to(raw, server, request)
        assert status == 500
        assert b"no such page" not in body
        (record,) = complaints()
        assert record.exc_info[0] is LookupError
        assert (await answer_to(raw, server, request.replace(b"broken", b"health")))[0] == 200
        assert complaints() == []

    async def test_upgrades_do_not_go_to_the_hook(self, start, raw) -> None:
        client = await raw(await start(on_request=site))
        await client.upgrade(request="GET /health HTTP/1.1")


class TestTime:
    async def test_client_that_says_nothing_is_cut(self, start, raw) -> None:
        server = await start(handshake_timeout=0.05)
        client = await raw(server)
        assert await client.at_end()
        assert server.statistics().handshaking == 0

    async def test_client_that_trickles_is_cut(self, start, raw, hello) -> None:
        client = await raw(await start(handshake_timeout=0.1))

        async def trickle() -> None:
            while True:
                await client.send(b"x")
                await trio.sleep(0.01)  # far below the limit: bytes don't buy time

        async with trio.open_nursery() as nursery:
            await client.send(b"GET / HTTP/1.1\r\nX: ")
            nursery.start_soon(_until_broken, trickle)
            assert await client.at_end()
            nursery.cancel_scope.cancel()

    @pytest.mark.parametrize("said", [b"", b"\x16\x03\x01"])
    async def test_tls_client_that_says_nothing_is_cut(self, start, raw, server_tls, said) -> None:
        server = await start(handshake_timeout=0.05, ssl_context=server_tls)
        client = await raw(server)
        await client.send(said)
        await client.at_end()
        assert b"HTTP" not in client.buffer

    async def test_client_silent_behind_its_tls_handshake_is_cut(
        self, start, raw, server_tls, client_tls
    ) -> None:
        client = await raw(await start(handshake_timeout=1, ssl_context=server_tls), client_tls)
        await client.stream.do_handshake()
        assert await client.at_end()

    async def test_client_that_does_not_read_its_page_is_cut(self, start, raw) -> None:
        def endless(request: Request) -> Response:
            return Response(200, bytes(32 * 1024 * 1024))

        server = await start(on_request=endless, handshake_timeout=0.5)
        client = await raw(server)
        await client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not server.statistics().handshaking:
            await trio.lowlevel.checkpoint()
        while server.statistics().handshaking:
            await trio.sleep(0.01)

    async def test_opened_connection_is_not_cut(self, start, raw, nursery) -> None:
        server = await start(handshake_timeout=1)
        client = await raw(server, upgraded=True)
        silent = await raw(server)
        assert await silent.at_end()  # so the time is over for both
        await client.send(hubws.Frame.text("still here"))
        assert (await client.frame()).payload == b"still here"


async def _until_broken(function) -> None:
    try:
        await function()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


class TestLimit:
    async def test_503_beyond_max_connections_until_one_leaves(self, start, raw, hello) -> None:
        server = await start(max_connections=2)
        first = await raw(server, upgraded=True)
        await raw(server, upgraded=True)
        status, headers, _ = await answer_to(raw, server, hello())
        assert status == 503
        assert int(headers["retry-after"]) > 0
        await first.send(hubws.Frame.close())
        await first.at_end()
        await raw(server, upgraded=True)
        assert server.statistics().connections == 2
        assert server.statistics().accepted == 3

    async def test_plain_http_is_served_beyond_it(self, start, raw) -> None:
        server = await start(max_connections=0, on_request=site)
        request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        assert (await answer_to(raw, server, request))[0] == 200
