"""Redirects: where they lead, what goes along, and which are not followed."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

import hubws
from hubws.client.dial import Way
from hubws.client.redirects import Destination
from hubws.client.tls import TLS
from hubws.protocol.address import Address, basic
from hubws.protocol.http import Response

CREDENTIALS = {
    "Authorization": "Bearer hidden",
    "Cookie": "session=hidden",
    "Proxy-Authorization": "Basic hidden",
    "X-Api-Key": "hidden",
    "Host": "hidden.example",
}
HARMLESS = {"User-Agent": "tests", "accept-language": "de"}


class Site:
    """A server that redirects what it knows of, and opens the rest; keeps what it was asked."""

    def __init__(self, places: dict[str, str] | None = None, status: int = 302) -> None:
        self.places = places or {}
        self.status = status
        self.asked: list[tuple[str, dict[str, str]]] = []

    async def __call__(self, peer) -> None:
        await peer.request()
        path = peer.request_line.split()[1]
        self.asked.append((path, peer.headers))
        if path in self.places:
            lines = [f"HTTP/1.1 {self.status} There", f"Location: {self.places[path]}"]
            await peer.send("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode("latin-1"))
            assert await peer.at_end()
        else:
            await peer.send(peer.acceptance())
            await peer.frame()
            await peer.send(hubws.Frame.close())

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


async def fail(url: str, **options: Any) -> hubws.HandshakeRefused:
    """Connect where that must be refused."""
    with pytest.raises(hubws.HandshakeRefused) as caught:
        async with hubws.connect(url, **options):
            pass
    return caught.value


class TestFollowing:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_to_another_path(self, serve_script, status) -> None:
        """The same server gets everything again, with a key of its own."""
        site = Site({"/old?a=b": "/new?c=d"}, status)
        url = (await serve_script(site)).replace("//", "//ada:open-sesame@")
        headers = {name: CREDENTIALS[name] for name in ("Cookie", "X-Api-Key", "Host")}
        async with hubws.connect(
            url + "old?a=b",
            headers=headers,
            origin="http://o.example",
            subprotocols=["chat"],
            compression=True,
        ) as connection:
            assert connection.response.status == 101
        (old, first), (new, second) = site.asked
        assert (old, new) == ("/old?a=b", "/new?c=d")
        assert first.pop("sec-websocket-key") != second.pop("sec-websocket-key")
        assert first == second
        assert first["authorization"] == basic("ada", "open-sesame")

    async def test_chain_of_ten(self, serve_script) -> None:
        site = Site({f"/{n}": f"/{n + 1}" for n in range(10)})
        async with hubws.connect(await serve_script(site) + "0"):
            pass
        assert site.paths == [f"/{n}" for n in range(11)]

    @pytest.mark.parametrize("location", ["{http}new", "{ws}new", "//{host}/new", "{HTTP}new#part"])
    async def test_absolute(self, serve_script, location) -> None:
        site = Site()
        url = await serve_script(site)
        http = url.replace("ws:", "http:")
        places = {"http": http, "HTTP": http.upper(), "ws": url, "host": url[5:-1]}
        site.places["/"] = location.format(**places)
        async with hubws.connect(url, headers={"Cookie": "a=b"}):
            pass
        assert site.paths == ["/", "/new"]
        assert site.asked[1][1]["cookie"] == "a=b"

    async def test_streams_are_closed(self, serve_script) -> None:
        """The site sees the end of each, and the time limit is one for all."""
        site = Site({"/": "/1", "/1": "/2"})
        async with hubws.connect(await serve_script(site)) as connection:
            assert len(site.asked) == 3
        assert connection.closure.clean

    async def test_one_time_limit(self, serve_script, clock) -> None:
        """Redirecting without end buys no time."""

        async def script(peer) -> None:
            await peer.request()
            await trio.sleep(3)
            try:
                await peer.send(b"HTTP/1.1 302 x\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")
            except trio.BrokenResourceError:
                pass

        url = (await serve_script(script)).replace("localhost", "127.0.0.1")
        start = trio.current_time()
        with pytest.raises(hubws.HandshakeTimeout, match="within 10 s"):
            async with hubws.connect(url, timeout=10):
                pass
        assert trio.current_time() - start == pytest.approx(10)


class TestCredentials:
    async def check(self, site: Site) -> None:
        (_, headers) = site.asked[-1]
        assert set(headers) == {
            "host",
            "upgrade",
            "connection",
            "sec-websocket-key",
            "sec-websocket-version",
            "sec-websocket-protocol",
            *map(str.lower, HARMLESS),
        }
        assert "hidden" not in repr(headers)

    @pytest.mark.parametrize("user", [False, True])
    async def test_another_port(self, serve_script, user) -> None:
        other = Site()
        other_url = await serve_script(other)
        site = Site({"/": other_url.replace("ws:", "http:")})
        url = await serve_script(site)
        headers = CREDENTIALS | HARMLESS
        if user:
            url = url.replace("//", "//hidden:hidden@")
            del headers["Authorization"]
        origin = "http://hidden.example"
        async with hubws.connect(url, headers=headers, origin=origin, subprotocols=["chat"]):
            pass
        assert {"authorization", "cookie", "x-api-key", "origin"} <= set(site.asked[0][1])
        await self.check(other)

    async def test_another_host(self, serve_script, names) -> None:
        names["other.example"] = ["127.0.0.1"]
        site = Site()
        url = await serve_script(site)
        site.places["/"] = url.replace("localhost", "other.example") + "new"
        async with hubws.connect(url, headers=CREDENTIALS | HARMLESS, subprotocols=["chat"]):
            pass
        await self.check(site)
        assert site.asked[1][1]["host"].startswith("other.example:")

    async def test_another_scheme(self, serve_script, server_tls, authority) -> None:
        """Even when that is the better one."""
        secure = Site()
        secure_url = await serve_script(secure, server_tls)
        site = Site({"/": secure_url.replace("wss:", "https:")})
        tls = TLS(ca_data=authority.cert_pem.bytes().decode())
        async with hubws.connect(
            await serve_script(site),
            headers=CREDENTIALS | HARMLESS,
            subprotocols=["chat"],
            tls=tls,
        ):
            pass
        await self.check(secure)

    async def test_not_back_again_either(self, serve_script) -> None:
        """Another server could choose what the first is asked for in the user's name."""
        site, other = Site(), Site()
        url, other_url = await serve_script(site), await serve_script(other)
        site.places["/"] = other_url
        other.places["/"] = url + "transfer"
        async with hubws.connect(
            url.replace("//", "//hidden@"), headers=HARMLESS, subprotocols=["chat"]
        ):
            pass
        assert site.paths == ["/", "/transfer"]
        await self.check(site)

    async def test_client_certificate(self, serve_script, authority, tmp_path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_OPTIONAL
        path = tmp_path / "me.pem"
        authority.issue_cert("ada@client.example").private_key_and_cert_chain_pem.write_to_path(
            path
        )
        shown = []
        site, other = Site({"/": "/again"}), Site()

        def showing(site: Site) -> Any:
            async def script(peer) -> None:
                await peer.stream.do_handshake()
                shown.append(bool(peer.stream.getpeercert()))
                await site(peer)

            return script

        site.places["/again"] = await serve_script(showing(other), context)
        tls = TLS(certificate=path, ca_data=authority.cert_pem.bytes().decode())
        async with hubws.connect(await serve_script(showing(site), context), tls=tls):
            pass
        assert shown == [True, True, False]

    async def test_proxy_is_the_same(self, serve_script) -> None:
        """Its credentials go to it, each time, and to nobody else."""
        site = Site()
        asked = []

        async def proxy(peer) -> None:
            asked.append(await peer.request())
            await peer.send(b"HTTP/1.1 200 Fine\r\n\r\n")
            peer.headers = {}
            await site(peer)

        site.places["/"] = "http://other.example/new"
        url = (await serve_script(proxy)).replace("ws://", "http://ada:hidden@")[:-1]
        async with hubws.connect("ws://server.example/", proxy=url):
            pass
        assert [headers["host"] for headers in asked] == ["server.example:80", "other.example:80"]
        assert {headers["proxy-authorization"] for headers in asked} == {basic("ada", "hidden")}
        assert not any("proxy-authorization" in headers for _, headers in site.asked)


class TestNotFollowed:
    async def test_loop(self, serve_script) -> None:
        site = Site({"/a": "/b?token=hidden", "/b?token=hidden": "/a"})
        refused = await fail(await serve_script(site) + "a")
        assert "more than 10 redirects, the last by 302 to ws://localhost:" in str(refused)
        assert "hidden" not in str(refused)
        assert refused.response.status == 302
        assert len(site.asked) == 11

    @pytest.mark.parametrize("limit", [0, 1, 2])
    async def test_limit(self, serve_script, limit) -> None:
        site = Site({"/": "/"})
        refused = await fail(await serve_script(site), max_redirects=limit)
        assert f"more than {limit} redirects" in str(refused)
        assert len(site.asked) == limit + 1

    @pytest.mark.parametrize("scheme", ["http", "ws"])
    async def test_from_tls_to_none(self, serve_script, server_tls, client_tls, scheme) -> None:
        site = Site({"/": f"{scheme}://localhost:1/new"})
        refused = await fail(await serve_script(site, server_tls), ssl_context=client_tls)
        assert "answered 302; ws://localhost:1/new is not secure" in str(refused)

    @pytest.mark.parametrize(
        ("location", "words"),
        [
            ("ftp://a/", "must begin with ws:// or wss://"),
            ("javascript:alert(1)", "must begin with"),
            ("http://u:hidden@localhost/", "it has user information"),
            ("http://localhost:port/", "is not a URL"),
            ("http://u:hidden@localhost:port/", "is not a URL"),
            ("http://[::1", "can't be followed: 'http://[::1'"),
            ("http://u:hidden@[::1", "can't be followed: 'http://***@[::1'"),
            ("/a b", "must be percent-encoded"),
            ("/\xe9", "must be percent-encoded"),
            ("http://\\evil.example/", "is not a name"),
            ("http:///", "names no host"),
        ],
    )
    async def test_where_nobody_can_go(self, serve_script, location, words) -> None:
        site = Site({"/": location})
        refused = await fail(await serve_script(site))
        assert "the server answered 302 with a Location that can't be followed: " in str(refused)
        assert words in str(refused)
        assert "hidden" not in str(refused)
        assert refused.response.headers["Location"] == location
        assert len(site.asked) == 1

    @pytest.mark.parametrize(
        "lines",
        [
            ["HTTP/1.1 302 x"],
            ["HTTP/1.1 302 x", "Location: /a", "Location: /b"],
            ["HTTP/1.1 300 x", "Location: /a"],
            ["HTTP/1.1 304 x", "Location: /a"],
            ["HTTP/1.1 200 x", "Location: /a"],
            ["HTTP/1.1 201 x", "Location: /a"],
            ["HTTP/1.1 401 x", "Location: /a"],
        ],
    )
    async def test_what_is_no_redirect(self, serve_script, lines) -> None:
        asked = 0

        async def script(peer) -> None:
            nonlocal asked
            asked += 1
            await peer.request()
            await peer.send("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode())

        refused = await fail(await serve_script(script))
        assert f"answered {lines[0][9:12]}" in str(refused)
        assert asked == 1

    async def test_with_a_ready_stream(self, as_peer, nursery) -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(Site({"/": "/new?a"}), as_peer(theirs))
        refused = await fail("ws://server.example/", stream=ours)
        assert "a ready stream does not lead to ws://server.example/new" in str(refused)

    async def test_with_a_unix_socket(self, as_peer, nursery, tmp_path) -> None:
        listener = trio.socket.socket(trio.socket.AF_UNIX)
        await listener.bind(str(tmp_path / "server"))
        listener.listen()
        site = Site({"/": "http://other.example/new"})

        async def serve() -> None:
            with listener:
                accepted, _ = await listener.accept()
            async with trio.SocketStream(accepted) as stream:
                await site(as_peer(stream))

        nursery.start_soon(serve)
        refused = await fail("ws://server.example/", unix_path=tmp_path / "server")
        assert "a Unix socket does not lead to ws://other.example/new" in str(refused)

    async def test_with_a_context_of_ones_own(self, serve_script, server_tls, client_tls) -> None:
        """Nobody can tell whether it has a client's certificate."""
        other = Site()
        site = Site({"/": "/again", "/again": await serve_script(other, server_tls)})
        url = await serve_script(site, server_tls)
        refused = await fail(url, ssl_context=client_tls)
        assert "your TLS context is not used for wss://localhost:" in str(refused)
        assert site.paths == ["/", "/again"]
        assert other.asked == []


PLACES = ["/new", "http://a.example/", "https://a.example/", "http://a.example:81/", "//b.example"]


class TestDestination:
    @given(locations=st.lists(st.sampled_from(PLACES), max_size=5))
    async def test_credentials_stay(self, locations) -> None:
        """On whatever course: they are there as long as the origin was the same all the way."""
        first = Address.from_url("ws://ada:hidden@a.example/")
        way = Way(tls=TLS(certificate="me.pem"))
        destination = Destination(first, way, "http://o.example", {"Cookie": "a=b"})
        is_home = True
        for location in locations:
            try:
                there = destination.redirected(Response(302, b"", {"Location": location}))
            except hubws.HandshakeRefused:
                assert destination.address.secure
                assert "http:" in location
                return
            assert there is not None
            destination = there
            is_home &= destination.address.origin == first.origin
            assert (destination.address.authorization is not None) is is_home
            assert bool(destination.headers) is (destination.origin is not None) is is_home
            assert is_home or destination.way.tls.certificate is None or not there.address.secure

    async def test_nothing_secret_is_shown(self) -> None:
        way = Way(proxy="http://u:hidden@p", tls=TLS(certificate="c", password="hidden"))
        address = Address.from_url("ws://u:hidden@a/b?c=d")
        destination = Destination(address, way, headers={"Authorization": "Bearer hidden"})
        assert destination.shown == "ws://a/b"
        assert "hidden" not in repr(destination)
        assert basic("u", "hidden") not in repr(destination)
        elsewhere = destination.redirected(Response(302, b"", {"Location": "wss://b/d?e"}))
        assert elsewhere is not None
        assert elsewhere.address == Address(True, "b", 443, "/d?e")
        assert elsewhere.way.tls == TLS()
        assert elsewhere.way.proxy is way.proxy
