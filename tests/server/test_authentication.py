"""Who is let in: the `authenticate` hook, and the ready-made ones."""

from __future__ import annotations

import hmac
from base64 import b64encode

import pytest
import trio
import trio.testing

import hubws
from hubws import Request, Response, UpgradeRefused


def basic(name: str, password: str) -> str:
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


async def answer_to(raw, server, request: bytes) -> tuple[int, dict[str, str], bytes]:
    client = await raw(server)
    await client.send(request)
    response = await client.response()
    await client.stream.aclose()
    return response


class TestHook:
    @pytest.mark.parametrize("user", ["ada", 7, 0, ("a", "b"), None])
    @pytest.mark.parametrize("is_async", [False, True])
    async def test_what_it_returns_is_the_user(self, start, raw, user, is_async) -> None:
        def hook(request: Request) -> object:
            assert request.path == "/room"
            assert request.headers["X-Token"] == "t"
            return user

        async def async_hook(request: Request) -> object:
            await trio.lowlevel.checkpoint()
            return hook(request)

        server = await start(authenticate=async_hook if is_async else hook)
        client = await raw(server)
        await client.upgrade(request="GET /room HTTP/1.1", X_Token="t")
        (connection,) = server.connections
        assert connection.user == user

    async def test_without_one_everybody_is_anonymous(self, start, raw) -> None:
        server = await start()
        await raw(server, upgraded=True)
        assert next(iter(server.connections)).user is None

    async def test_an_unhashable_user(self, start, raw) -> None:
        server = await start(authenticate=lambda request: ["ada"])
        await raw(server, upgraded=True)
        assert next(iter(server.connections)).user == ["ada"]

    @pytest.mark.parametrize("is_async", [False, True])
    @pytest.mark.parametrize("raises", [False, True])
    async def test_refusal(self, start, raw, hello, is_async, raises) -> None:
        refusal = Response.refusal(402, "pay first", {"X-Price": "1"})

        def hook(request: Request) -> object:
            if raises:
                raise UpgradeRefused(refusal)
            return refusal

        async def async_hook(request: Request) -> object:
            await trio.lowlevel.checkpoint()
            return hook(request)

        server = await start(authenticate=async_hook if is_async else hook)
        status, headers, body = await answer_to(raw, server, hello())
        assert (status, headers["x-price"], body) == (402, "1", b"pay first\n")
        assert server.statistics().accepted == 0

    async def test_redirect(self, start, raw, hello) -> None:
        server = await start(authenticate=lambda request: Response(302, "", {"Location": "/login"}))
        status, headers, _ = await answer_to(raw, server, hello())
        assert (status, headers["location"]) == (302, "/login")

    @pytest.mark.parametrize("is_async", [False, True])
    async def test_exception_is_500_and_logged_once(
        self, start, raw, hello, complaints, is_async
    ) -> None:
        def hook(request: Request) -> object:
            if request.path == "/broken":
                raise LookupError("no such table")
            return "ada"

        async def async_hook(request: Request) -> object:
            await trio.lowlevel.checkpoint()
            return hook(request)

        server = await start(authenticate=async_hook if is_async else hook)
        status, _, body = await answer_to(raw, server, hello(request="GET /broken HTTP/1.1"))
        assert status == 500
        assert b"table" not in body
        (record,) = complaints()
        assert record.exc_info[0] is LookupError
        await raw(server, upgraded=True)

    @pytest.mark.parametrize(
        "answer",
        [Response(101, ""), Response(200, "fine"), Response(403, "", {"X": "a\r\nSet-Cookie: b"})],
    )
    async def test_answers_that_make_no_sense_are_500(
        self, start, raw, hello, complaints, answer
    ) -> None:
        server = await start(authenticate=lambda request: answer)
        status, headers, _ = await answer_to(raw, server, hello())
        assert status == 500
        assert "set-cookie" not in headers
        assert len(complaints()) == 1

    @pytest.mark.parametrize(
        ("changes", "status"),
        [
            ({"Sec_WebSocket_Key": "x"}, 400),
            ({"Origin": "http://evil.example"}, 403),
            ({"Sec_WebSocket_Protocol": "a b"}, 400),
            ({"Sec_WebSocket_Extensions": "=;"}, 400),
        ],
    )
    async def test_not_called_for_what_is_refused_anyway(
        self, start, raw, hello, changes, status
    ) -> None:
        server = await start(authenticate=lambda request: pytest.fail("called"))
        assert (await answer_to(raw, server, hello(**changes)))[0] == status

    async def test_not_called_for_plain_http(self, start, raw) -> None:
        server = await start(
            authenticate=lambda request: pytest.fail("called"),
            on_request=lambda request: Response(200, "page"),
        )
        request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        assert (await answer_to(raw, server, request))[2] == b"page"

    async def test_not_a_function(self) -> None:
        with pytest.raises(TypeError, match="authenticate is a function, not 'ada'"):
            await hubws.serve(hubws.Callbacks(), "127.0.0.1", 0, authenticate="ada")  # type: ignore[arg-type]


class TestAsyncHook:
    async def test_slow_ones_hold_up_nobody_else(self, start, raw, hello) -> None:
        gate = trio.Event()

        async def hook(request: Request) -> str:
            if request.path == "/slow":
                await gate.wait()
            return request.path

        server = await start(authenticate=hook)
        slow = await raw(server)
        await slow.send(hello(request="GET /slow HTTP/1.1"))
        await trio.testing.wait_all_tasks_blocked()
        await raw(server, upgraded=True)
        assert [connection.user for connection in server.connections] == ["/"]
        gate.set()
        assert (await slow.head())[0] == 101
        assert [connection.user for connection in server.connections] == ["/", "/slow"]

    @pytest.mark.parametrize("tls", [False, True])
    async def test_what_the_client_sends_meanwhile_is_kept(
        self, start, raw, hello, tls, server_tls, client_tls
    ) -> None:
        gate = trio.Event()

        async def hook(request: Request) -> str:
            await gate.wait()
            return "ada"

        server = await start(
            authenticate=hook, max_message_size=1 << 20, ssl_context=server_tls if tls else None
        )
        client = await raw(server, client_tls if tls else None)
        messages = [b"first", bytes(300_000), b"last"]
        frames = []
        for message in messages:
            frame = hubws.Frame(opcode=2, payload=message, mask_key=b"abcd")
            frames.append(frame.to_bytes())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, hello() + b"".join(frames))
            await trio.testing.wait_all_tasks_blocked(0.01)
            gate.set()
            assert (await client.head())[0] == 101
            for message in messages:
                assert (await client.frame()).payload == message

    @pytest.mark.parametrize("how", ["reset", "close"])
    async def test_cancelled_when_the_client_goes(self, start, raw, hello, how) -> None:
        began, cancelled = trio.Event(), trio.Event()

        async def hook(request: Request) -> None:
            began.set()
            try:
                await trio.sleep_forever()
            finally:
                cancelled.set()

        server = await start(authenticate=hook)
        client = await raw(server)
        await client.send(hello())
        await began.wait()
        if how == "reset":
            client.reset()
        else:
            await client.stream.aclose()
        await cancelled.wait()
        assert server.statistics() == hubws.ServerStatistics(0, 0, 0)

    async def test_ends_with_handshake_timeout(self, start, raw, hello) -> None:
        ends = []

        async def hook(request: Request) -> None:
            try:
                await trio.sleep_forever()
            finally:
                ends.append(request.path)

        server = await start(authenticate=hook, handshake_timeout=0.05)
        client = await raw(server)
        await client.send(hello())
        assert await client.at_end()
        await trio.testing.wait_all_tasks_blocked()
        assert ends == ["/"]
        assert server.statistics() == hubws.ServerStatistics(0, 0, 0)

    async def test_stubborn_hook_opens_nothing_after_the_end(self, start, raw, hello) -> None:
        async def hook(request: Request) -> str:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:  # as a hook must not
                return "ada"

        server = await start(authenticate=hook, handshake_timeout=0.05)
        client = await raw(server)
        await client.send(hello())
        assert await client.at_end()
        await trio.testing.wait_all_tasks_blocked()
        assert server.statistics() == hubws.ServerStatistics(0, 0, 0)

    async def test_drain_answers_who_has_asked_with_503(self, start, raw, hello) -> None:
        began = trio.Event()

        async def hook(request: Request) -> None:
            began.set()
            await trio.sleep_forever()

        server = await start(authenticate=hook)
        client = await raw(server)
        await client.send(hello())
        await began.wait()
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                status, headers, _ = await client.response()
                assert (status, headers["retry-after"]) == (503, "9")
                await client.stream.aclose()

            nursery.start_soon(read)
            assert await server.drain(10, retry_after=8.5)


class TestBasic:
    @pytest.mark.parametrize(
        ("header", "user"),
        [
            (basic("ada", "löve:lace"), "ada"),
            (basic("mo", ""), "mo"),
            ("bAsIc  " + basic("mo", "")[6:] + " ", "mo"),
            (None, None),
            ("", None),
            (basic("ada", "wrong"), None),
            (basic("ada", ""), None),
            (basic("nobody", "löve:lace"), None),
            (basic("", ""), None),
            ("Basic", None),
            ("Basic !!!", None),
            ("Basic " + b64encode(b"\xff:\xff").decode(), None),
            ("Basic " + b64encode(b"no colon").decode(), None),
            ("Bearer " + basic("mo", "")[6:], None),
        ],
    )
    async def test_passwords_by_name(self, start, raw, hello, header, user) -> None:
        hook = hubws.basic_auth({"ada": "löve:lace", "mo": ""}, realm='the "room"')
        server = await start(authenticate=hook)
        client = await raw(server)
        await client.send(hello(Authorization=header))
        status, headers = await client.head()
        if user is None:
            assert status == 401
            challenge = 'Basic realm="the \\"room\\"", charset="UTF-8"'
            assert headers["www-authenticate"] == challenge
        else:
            assert status == 101
            assert [connection.user for connection in server.connections] == [user]

    async def test_two_headers_are_none(self, start, raw, hello) -> None:
        server = await start(authenticate=hubws.basic_auth({"mo": ""}))
        twice = hello(Authorization=basic("mo", "") + "\r\nAuthorization: " + basic("mo", ""))
        assert (await answer_to(raw, server, twice))[0] == 401

    @pytest.mark.parametrize("is_async", [False, True])
    @pytest.mark.parametrize(
        ("found", "user"), [(None, None), (False, None), (True, "ada"), (17, 17), (0, 0)]
    )
    async def test_function(self, start, raw, hello, is_async, found, user) -> None:
        def check(name: str, password: str) -> object:
            assert (name, password) == ("ada", "secret")
            return found

        async def async_check(name: str, password: str) -> object:
            await trio.lowlevel.checkpoint()
            return check(name, password)

        server = await start(authenticate=hubws.basic_auth(async_check if is_async else check))
        client = await raw(server)
        await client.send(hello(Authorization=basic("ada", "secret")))
        status, _ = await client.head()
        assert status == (401 if user is None else 101)
        assert [one.user for one in server.connections] == ([] if user is None else [user])

    async def test_compared_in_constant_time_also_for_who_does_not_exist(self, monkeypatch) -> None:
        compared, original = [], hmac.compare_digest

        def compare(one: bytes, other: bytes) -> bool:
            compared.append((len(one), len(other)))
            return original(one, other)

        monkeypatch.setattr(hmac, "compare_digest", compare)
        hook = hubws.basic_auth({"ada": "secret"})
        for name, password in [("ada", "secret"), ("ada", "x" * 999), ("nobody", "")]:
            head = f"GET / HTTP/1.1\r\nAuthorization: {basic(name, password)}\r\n\r\n"
            hook(Request("GET", "/", "1.1", head.encode()))
        assert compared == [(32, 32)] * 3

    @pytest.mark.parametrize("realm", ["a\nb", "ä", "\0"])
    async def test_realm_that_may_not_be(self, realm) -> None:
        with pytest.raises(ValueError, match="realm"):
            hubws.basic_auth({}, realm=realm)

    @pytest.mark.parametrize("make", [hubws.basic_auth, hubws.bearer_auth])
    async def test_credentials_that_make_no_sense_are_not_shown(self, make) -> None:
        with pytest.raises(TypeError, match="a mapping or a function, not str") as caught:
            make("ada:secret")
        assert "secret" not in str(caught.value)


class TestBearer:
    @pytest.mark.parametrize(
        ("header", "user"),
        [
            ("Bearer t-1", "ada"),
            ("bearer t-2", {"id": 2}),
            ("Bearer t-3", None),
            ("Bearer ", None),
            ("t-1", None),
            (basic("t-1", ""), None),
            (None, None),
        ],
    )
    async def test_users_by_token(self, start, raw, hello, header, user) -> None:
        hook = hubws.bearer_auth({"t-1": "ada", "t-2": {"id": 2}}, realm="room")
        server = await start(authenticate=hook)
        client = await raw(server)
        await client.send(hello(Authorization=header))
        status, headers = await client.head()
        if user is None:
            assert status == 401
            wrong = ', error="invalid_token"' if header == "Bearer t-3" else ""
            assert headers["www-authenticate"] == f'Bearer realm="room"{wrong}'
        else:
            assert status == 101
            assert next(iter(server.connections)).user == user

    async def test_function(self, start, raw, hello) -> None:
        async def check(token: str) -> object:
            await trio.lowlevel.checkpoint()
            return token == "good"

        server = await start(authenticate=hubws.bearer_auth(check))
        client = await raw(server)
        await client.upgrade(Authorization="Bearer good")
        assert next(iter(server.connections)).user == "good"
        assert (await answer_to(raw, server, hello(Authorization="Bearer bad")))[0] == 401
