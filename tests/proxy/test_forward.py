"""From a client's request to a backend's answer: choosing, asking, refusing, giving up."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
import trio.testing

import hubws
from hubws import Frame, Opcode
from hubws.proxy import Backend, Balance, Proxy, Route
from hubws.proxy.handshake import MAX_REFUSAL
from tests.proxy.conftest import StartProxy
from tests.proxy.peers import Listening, RawBackend
from tests.server.conftest import RawClient, Start

HELLO = Frame(opcode=Opcode.TEXT, payload=b"hello", mask_key=b"abcd").to_bytes()


BAD_101 = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: wrong\r\n\r\n"
)


async def whole(client: RawClient) -> tuple[int, dict[str, str], bytes]:
    return await client.response()


def connections(proxy: Proxy) -> int:
    return sum(one.connections for one in proxy.statistics().backends)


class TestRequests:
    async def test_the_request_that_a_backend_gets(self, start_proxy, backend: Listening, raw):
        client = await raw(await start_proxy(backend.url))
        hello = client.hello(
            "GET /a%20b?c=%2F&d HTTP/1.1", Host="example.org", Cookie="a=1", TE="x"
        )
        await client.send(hello)
        peer = await backend.next()
        lines = await peer.request()
        key = peer.header("Sec-WebSocket-Key")
        assert peer.target == "/a%20b?c=%2F&d"
        assert lines == [
            ("Host", "example.org"),
            ("Cookie", "a=1"),
            ("X-Forwarded-For", "127.0.0.1"),
            ("X-Forwarded-Proto", "http"),
            ("X-Forwarded-Host", "example.org"),
            ("Forwarded", "for=127.0.0.1;host=example.org;proto=http"),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", key),
            ("Sec-WebSocket-Version", "13"),
        ]
        assert f"Sec-WebSocket-Key: {key}".encode() not in hello

    async def test_the_101_that_a_client_gets(self, start_proxy, backend: Listening, raw):
        client = await raw(await start_proxy(backend.url, headers={"Via": "1.1 hubws"}))
        await client.send(client.hello(Sec_WebSocket_Protocol="a, b"))
        peer = await backend.next()
        await peer.accept(
            "Sec-WebSocket-Protocol: b",
            "Sec-WebSocket-Extensions: x-own; y=1",
            "Set-Cookie: a=1",
            "Set-Cookie: b=2",
            "Keep-Alive: timeout=5",
        )
        while b"\r\n\r\n" not in client.buffer:
            await client._more()
        assert client.buffer.decode().split("\r\n") == [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            "Sec-WebSocket-Protocol: b",
            "Via: 1.1 hubws",
            "Sec-WebSocket-Extensions: x-own; y=1",
            "Set-Cookie: a=1",
            "Set-Cookie: b=2",
            "",
            "",
        ]

    async def test_over_tls_it_says_https(
        self, start_proxy, backend: Listening, raw, server_tls, client_tls
    ):
        client = await raw(await start_proxy(backend.url, ssl_context=server_tls), client_tls)
        await client.send(client.hello())
        peer = await backend.next()
        await peer.request()
        assert peer.header("X-Forwarded-Proto") == "https"

    async def test_hooks(self, start_proxy, backend: Listening, raw):
        route = Route(
            backends=[Backend(backend.url)],
            rewrite=lambda path: "/v2" + path,
            edit_request=lambda request, lines: [*lines, ("X-Asked", request.path)],
            edit_response=lambda response, lines: [*lines, ("X-Status", str(response.status))],
        )
        client = await raw(await start_proxy(route))
        await client.send(client.hello("GET /a?b HTTP/1.1"))
        peer = await backend.next()
        await peer.accept()
        assert peer.target == "/v2/a?b"
        assert peer.header("X-Asked") == "/a"
        assert (await client.head())[1]["x-status"] == "101"

    @pytest.mark.parametrize("hook", ["rewrite", "edit_request", "edit_response"])
    async def test_a_hook_that_raises(
        self, start_proxy, backend: Listening, raw, hook: str, complaints
    ):
        def fail(*_: object) -> Any:
            raise LookupError("oops")

        route = Route(backends=[Backend(backend.url)])
        changes: dict[str, Any] = {hook: fail}
        route = attrs.evolve(route, **changes)
        proxy = await start_proxy(route)
        client = await raw(proxy)
        await client.send(client.hello())
        if hook == "edit_response":
            await (await backend.next()).accept()
        assert (await whole(client))[0] == 500
        assert len(complaints()) == 1
        assert connections(proxy) == 0

    async def test_a_hook_that_splits_headers(self, start_proxy, backend, raw, complaints):
        route = Route(
            backends=[Backend(backend.url)],
            edit_request=lambda _, lines: [*lines, ("X", "a\r\nY: b")],
        )
        client = await raw(await start_proxy(route))
        await client.send(client.hello())
        assert (await whole(client))[0] == 500
        assert len(complaints()) == 1

    @pytest.mark.parametrize(
        ("request_line", "changes", "status"),
        [
            ("GET http://evil.example/ HTTP/1.1", {}, 400),
            ("GET /../secret HTTP/1.1", {}, 400),
            ("GET /%2e%2e/secret HTTP/1.1", {}, 400),
            ("GET / HTTP/1.1", {"Content-Length": "5"}, 400),
            ("GET / HTTP/1.1", {"Transfer-Encoding": "chunked"}, 400),
            ("GET / HTTP/1.1", {"Sec-WebSocket-Protocol": "a b"}, 400),
            ("GET / HTTP/1.1", {"Host": "a b"}, 400),
            ("GET / HTTP/1.1", {"Sec-WebSocket-Version": "8"}, 426),
            ("POST / HTTP/1.1", {}, 405),
            ("GET /else HTTP/1.1", {}, 404),
        ],
    )
    async def test_what_no_backend_gets(
        self, start_proxy, raw, request_line: str, changes: dict[str, str], status: int
    ):
        route = Route(path="/", host="localhost", backends=[Backend("ws://127.0.0.1:9")])
        if status == 404:
            route = Route(path="/echo", backends=route.backends)
        client = await raw(await start_proxy(route))
        await client.send(client.hello(request_line, **changes))
        assert (await whole(client))[0] == status


class TestPlainRequests:
    async def get(self, raw, proxy: Proxy, path: str) -> tuple[int, bytes]:
        client = await raw(proxy)
        await client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        status, _, body = await client.response()
        return status, body

    async def test_elsewhere_a_page_or_404(self, start_proxy, raw):
        def page(request: hubws.Request) -> hubws.Response | None:
            return hubws.Response(200, "a page") if request.path == "/" else None

        proxy = await start_proxy("ws://127.0.0.1:9", path="/echo", on_request=page)
        assert await self.get(raw, proxy, "/") == (200, b"a page")
        assert (await self.get(raw, proxy, "/else"))[0] == 404
        assert (await self.get(raw, proxy, "/echo"))[0] == 426


class TestRefusals:
    async def test_the_backends_own(self, start_proxy, backend: Listening, raw, caplog):
        caplog.set_level("DEBUG")
        proxy = await start_proxy(backend.url)
        client = await raw(proxy)
        await client.send(client.hello())
        peer = await backend.next()
        await peer.request()
        await peer.send(
            b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/x\r\nSet-Cookie: a=1\r\n"
            b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n"
            b"4\r\nnot \r\n3\r\nyou\r\n0\r\n\r\n"
        )
        assert await whole(client) == (
            403,
            {
                "content-type": "text/x",
                "set-cookie": "a=1",
                "content-length": "7",
                "connection": "close",
            },
            b"not you",
        )
        assert connections(proxy) == 0
        assert proxy.statistics().backends[0].failures == 0
        assert "not you" not in caplog.text

    async def test_a_large_body(self, start_proxy, backend: Listening, raw):
        client = await raw(await start_proxy(backend.url))
        await client.send(client.hello())
        peer = await backend.next()
        await peer.request()
        body = bytes(range(256)) * 4096
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        status, _, got = await whole(client)
        assert status == 200
        assert got == body

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 500 Oh\r\n\r\n" + bytes(MAX_REFUSAL + 1),
            b"SSH-2.0\r\n\r\n",
            BAD_101,
            b"HTTP/1.1 200 OK\r\nX: " + b"a" * 40_000,
            b"",
            b"HTTP/1.1 101 Swit",
            b"HTTP/1.1 403 No\r\nX: a\x01b\r\nContent-Length: 0\r\n\r\n",
        ],
        ids=["too large", "no HTTP", "bad 101", "large head", "nothing", "cut", "control"],
    )  # fmt: skip
    async def test_an_answer_that_is_none(
        self, start_proxy, backend: Listening, raw, answer: bytes
    ):
        proxy = await start_proxy(backend.url)
        client = await raw(proxy)
        await client.send(client.hello())
        peer = await backend.next()
        await peer.request()
        try:
            await peer.send(answer)
        except trio.BrokenResourceError:  # it was too much
            pass
        await peer.stream.aclose()
        assert (await whole(client))[0] == 502
        assert proxy.statistics().backends[0].failures == 1
        assert proxy.statistics().backends[0].is_healthy  # it may be this request's fault
        assert connections(proxy) == 0

    async def test_a_101_that_chooses_what_was_not_offered(self, start_proxy, backend, raw):
        client = await raw(await start_proxy(backend.url))
        await client.send(client.hello(Sec_WebSocket_Protocol="a"))
        await (await backend.next()).accept("Sec-WebSocket-Protocol: b")
        assert (await whole(client))[0] == 502

    async def test_interim_answers_are_passed_over(self, start_proxy, backend, raw):
        client = await raw(await start_proxy(backend.url))
        await client.send(client.hello())
        peer = await backend.next()
        await peer.request()
        await peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + peer.acceptance())
        status, headers = await client.head()
        assert status == 101
        assert "link" not in headers

    async def test_a_backend_that_is_down(self, start_proxy, backend: Listening, raw):
        await backend.close()
        proxy = await start_proxy(backend.url)
        for status in (502, 503):  # the second time, nobody tries
            client = await raw(proxy)
            await client.send(client.hello())
            got, headers, _ = await whole(client)
            assert got == status
        assert headers["retry-after"] == "1"
        assert not proxy.statistics().backends[0].is_healthy

    async def test_the_next_one_is_asked_instead(self, start: Start, start_proxy, backend):
        await backend.close()
        server = await start()
        proxy = await start_proxy(backend.url, f"ws://127.0.0.1:{server.port}")
        for _ in range(3):
            async with hubws.connect(f"ws://127.0.0.1:{proxy.port}/") as connection:
                await connection.send("hello")
                assert await connection.receive() == "hello"
        down, up = proxy.statistics().backends
        assert (down.failures, up.accepted) == (1, 3)

    @pytest.mark.parametrize("by_key", [False, True])
    async def test_the_same_key_leads_to_the_same_backend(
        self, start: Start, start_proxy, by_key: bool
    ):
        servers = [await start() for _ in range(4)]
        route = Route(
            backends=[Backend(f"ws://127.0.0.1:{server.port}") for server in servers],
            balance=Balance.HASH,
            hash_key=(lambda request, _: request.query) if by_key else None,
        )
        proxy = await start_proxy(route)
        for query in "abcdefgh" * 2:
            async with hubws.connect(f"ws://127.0.0.1:{proxy.port}/?{query}"):
                pass
        accepted = sorted(one.accepted for one in proxy.statistics().backends)
        assert all(count % 2 == 0 for count in accepted)
        assert (accepted == [0, 0, 0, 16]) != by_key

    async def test_a_full_backend(self, start_proxy, backend: Listening, raw):
        proxy = await start_proxy(Route(backends=[Backend(backend.url, max_connections=1)]))
        first, second = await raw(proxy), await raw(proxy)
        await first.send(first.hello())
        await (await backend.next()).accept()
        await first.head()
        await second.send(second.hello())
        status, _, body = await whole(second)
        assert (status, body) == (503, b"every backend is full\n")

    async def test_limits_hold_for_those_who_are_asked_for_at_once(self, start_proxy, backend, raw):
        proxy = await start_proxy(backend.url, max_connections=1)
        clients = [await raw(proxy) for _ in range(3)]
        peers = []
        for client in clients:
            await client.send(client.hello())
            peers.append(await backend.next())
            await peers[-1].request()
        for peer in peers:
            await peer.send(peer.acceptance())
        statuses = [(await client.head())[0] for client in clients]
        assert sorted(statuses) == [101, 503, 503]
        assert connections(proxy) == 1

    async def test_limits_and_authentication_of_the_server(self, start_proxy, backend, raw):
        check = hubws.bearer_auth({"secret": "Ada"})
        proxy = await start_proxy(
            backend.url, authenticate=check, max_connections=1, origins=["https://a.example"]
        )
        good = {"Origin": "https://a.example", "Authorization": "Bearer secret"}
        first = await raw(proxy)
        await first.send(first.hello(**good))
        peer = await backend.next()
        await peer.accept()
        assert peer.header("Authorization") == "Bearer secret"
        await first.head()
        assert [one.user for one in proxy.server.connections] == ["Ada"]
        for changes, status in (({}, 503), ({"Origin": "https://b.example"}, 403)):
            client = await raw(proxy)
            await client.send(client.hello(**good | changes))
            assert (await whole(client))[0] == status
        await first.stream.aclose()
        await peer.stream.aclose()
        while proxy.server.connections:
            await trio.testing.wait_all_tasks_blocked(0.01)
        client = await raw(proxy)
        await client.send(client.hello(**good | {"Authorization": "Bearer wrong"}))
        assert (await whole(client))[0] == 401


class TestTime:
    async def test_a_backend_that_does_not_answer(self, start_proxy, backend, raw):
        proxy = await start_proxy(backend.url, timeout=0.5)
        client = await raw(proxy)
        await client.send(client.hello())
        peer = await backend.next()
        assert (await whole(client))[0] == 504
        await peer.request()
        assert await peer.at_end()
        assert connections(proxy) == 0

    async def test_a_backend_that_answers_byte_by_byte(
        self, start_proxy: StartProxy, backend: Listening, raw, autojump_clock
    ):
        autojump_clock.autojump_threshold = 0.01
        client = await raw(await start_proxy(backend.url, timeout=3))
        await client.send(client.hello())
        peer = await backend.next()
        await peer.request()
        async with trio.open_nursery() as nursery:

            async def trickle() -> None:
                for byte in peer.acceptance():
                    await peer.send(bytes([byte]))
                    await trio.sleep(0.5)

            nursery.start_soon(trickle)
            assert (await client.head())[0] == 504
            nursery.cancel_scope.cancel()

    async def test_tls_that_does_not_come_about(self, start_proxy, backend: Listening, raw):
        url = f"wss://127.0.0.1:{backend.port}"
        client = await raw(await start_proxy(url, connect_timeout=0.1))
        await client.send(client.hello())
        assert (await whole(client))[0] == 504

    async def test_the_time_of_the_client_is_another(
        self, start_proxy: StartProxy, backend: Listening, raw, autojump_clock
    ):
        autojump_clock.autojump_threshold = 0.01
        client = await raw(await start_proxy(backend.url, handshake_timeout=2, timeout=10))
        hello = client.hello()
        await client.send(hello[:-2])
        await trio.sleep(1.8)
        await client.send(hello[-2:])
        peer = await backend.next()
        await trio.sleep(5)
        await peer.accept()
        assert (await client.head())[0] == 101

    @pytest.mark.parametrize("how", ["close", "reset"])
    async def test_a_client_that_does_not_wait(self, start_proxy, backend, raw, how: str):
        proxy = await start_proxy(backend.url)
        client = await raw(proxy)
        await client.send(client.hello())
        peer = await backend.next()
        await peer.request()
        if how == "close":
            await client.stream.aclose()
        else:
            client.reset()
        assert await peer.at_end()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert connections(proxy) == 0
        assert proxy.server.statistics().handshaking == 0

    async def test_a_client_that_goes_at_the_last_moment(self, start_proxy, backend, raw):
        def leave(_: object, lines: Any) -> Any:
            for incoming in list(proxy.server._incoming):
                incoming.close()
            return lines

        proxy = await start_proxy(Route(backends=[Backend(backend.url)], edit_response=leave))
        client = await raw(proxy)
        await client.send(client.hello())
        peer = await backend.next()
        await peer.accept()
        assert await peer.at_end()
        assert await client.at_end()
        assert connections(proxy) == 0

    async def test_a_drain_while_the_backend_is_asked(self, start_proxy, backend, raw):
        proxy = await start_proxy(backend.url)
        client = await raw(proxy)
        await client.send(client.hello())
        peer = await backend.next()
        await peer.request()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(proxy.server.drain, 10)
            assert (await client.head())[0] == 503
            await client.stream.aclose()
        assert await peer.at_end()
        assert connections(proxy) == 0


class TestSmuggling:
    """CVE-2026-2833: what comes behind a request is nothing to a backend that has not agreed."""

    async def ask(self, start_proxy, backend, raw, behind: bytes) -> tuple[RawClient, RawBackend]:
        client = await raw(await start_proxy(backend.url))
        await client.send(client.hello() + behind)
        peer = await backend.next()
        await peer.request()
        return client, peer

    async def test_it_is_held_until_the_101(self, start_proxy, backend, raw):
        client, peer = await self.ask(start_proxy, backend, raw, HELLO)
        await client.send(HELLO)
        await trio.testing.wait_all_tasks_blocked(0.02)
        with trio.move_on_after(0.02):
            await peer._more()
        assert peer.buffer == b""
        await peer.send(peer.acceptance())
        assert await peer.received(2 * len(HELLO)) == 2 * HELLO

    async def test_it_is_dropped_with_a_refusal(self, start_proxy, backend, raw):
        smuggled = b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"
        client, peer = await self.ask(start_proxy, backend, raw, smuggled)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
        assert (await whole(client))[0] == 200
        assert await peer.at_end()

    async def test_it_is_bounded(self, start_proxy, backend, raw):
        client, peer = await self.ask(start_proxy, backend, raw, b"")
        sent = 0
        assert isinstance(client.stream, trio.SocketStream)
        while True:
            with trio.move_on_after(0.05) as scope:
                sent += await client.stream.socket.send(bytes(65536))
            if scope.cancelled_caught:
                break
        await peer.send(peer.acceptance())
        assert await peer.received(sent) == bytes(sent)
