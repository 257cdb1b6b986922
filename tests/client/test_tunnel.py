"""Through proxies: real ones, and those that do what they should not."""

from __future__ import annotations

import socket
import ssl
import sys
from typing import Any

import pytest
import trio

import hubws
from hubws.client.tls import TLS
from hubws.errors import ProxyError
from hubws.protocol.address import basic
from hubws.protocol.http import MAX_HEAD

USER = "ada:open-sesame@"


class Server:
    """An echo of one message, which keeps what it was asked."""

    def __init__(self) -> None:
        self.headers = []

    async def __call__(self, peer) -> None:
        await peer.accept()
        self.headers.append(peer.headers)
        frame = await peer.frame()
        await peer.send(hubws.Frame.text(frame.payload.decode()))
        await peer.frame()
        await peer.send(hubws.Frame.close())


class HttpProxy:
    """Relays what it is asked for by CONNECT, and keeps the requests."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        self.requests = []
        self.headers = []

    async def __call__(self, peer) -> None:
        self.headers.append(await peer.request())
        self.requests.append(peer.request_line)
        host, _, port = peer.request_line.split()[1].rpartition(":")
        if host.endswith(".example"):
            await peer.send(b"HTTP/1.1 502 Unknown\r\nContent-Length: 0\r\n\r\n")
            return
        server = await trio.open_tcp_stream(host.strip("[]"), int(port))
        await peer.send("\r\n".join(["HTTP/1.1 200 Fine", *self.lines, "", ""]).encode())
        async with server, trio.open_nursery() as nursery:
            nursery.start_soon(pump, server, peer.stream, nursery.cancel_scope)
            await pump(peer.stream, server, nursery.cancel_scope)


async def pump(source: trio.abc.Stream, sink: trio.abc.Stream, scope: trio.CancelScope) -> None:
    try:
        while data := await source.receive_some():
            await sink.send_all(data)
    except trio.BrokenResourceError:  # an end, too
        pass
    scope.cancel()


async def talk(url: str, **options: Any) -> hubws.Connection:
    """Send something there and back."""
    async with hubws.connect(url, **options) as connection:
        await connection.send("héllo")
        assert await connection.receive() == "héllo"
    return connection


async def fail(url: str = "ws://server.example/", **options: Any) -> None:
    """Connect where that must not succeed."""
    async with hubws.connect(url, **options):
        raise AssertionError("it opened")


def proxy_at(url: str, scheme: str = "http", user: str = "") -> str:
    """The proxy's URL for a script served at that URL."""
    return f"{scheme}://{user}127.0.0.1:{port_of(url)}"


def port_of(url: str) -> int:
    return int(url.rstrip("/").rpartition(":")[2])


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.fixture(params=["plain", "tls"])
def server(request, serve_script, server_tls):
    """Start a server, plain or with TLS."""

    async def start() -> tuple[str, Server]:
        server = Server()
        url = await serve_script(server, server_tls if request.param == "tls" else None)
        return url, server

    return start


class TestTinyproxy:
    async def test_through(self, server, client_tls, tinyproxy) -> None:
        url, started = await server()
        connection = await talk(url, proxy=f"http://{USER}{tinyproxy}", ssl_context=client_tls)
        assert connection.remote == ("127.0.0.1", int(tinyproxy.rpartition(":")[2]))
        (headers,) = started.headers
        assert not any("authorization" in name for name in headers)

    @pytest.mark.parametrize("user", ["", "ada:wrong@", "eve:open-sesame@"])
    async def test_not_for_everybody(self, tinyproxy, user, closed_port) -> None:
        with pytest.raises(ProxyError, match=f"http://{tinyproxy} answered 40[17] for ") as caught:
            await fail(f"ws://127.0.0.1:{closed_port}/", proxy=f"http://{user}{tinyproxy}")
        assert caught.value.response.status in (401, 407)
        assert caught.value.response.body
        assert "wrong" not in str(caught.value)

    async def test_server_is_not_there(self, tinyproxy, closed_port) -> None:
        with pytest.raises(ProxyError, match=f"answered 5.. for 127.0.0.1:{closed_port}"):
            await fail(f"ws://127.0.0.1:{closed_port}/", proxy=f"http://{USER}{tinyproxy}")


class TestMicrosocks:
    async def test_through(self, server, client_tls, microsocks) -> None:
        url, started = await server()
        await talk(url, proxy=f"socks5://{USER}{microsocks}", ssl_context=client_tls)
        assert len(started.headers) == 1

    @pytest.mark.parametrize("user", ["", "ada:wrong@"])
    async def test_not_for_everybody(self, microsocks, user) -> None:
        with pytest.raises(ProxyError, match=r"opened no way to 127\.0\.0\.1:1: ") as caught:
            await fail("ws://127.0.0.1:1/", proxy=f"socks5://{user}{microsocks}")
        assert caught.value.response is None
        assert "wrong" not in str(caught.value)


class TestDante:
    @pytest.mark.parametrize("scheme", ["socks4", "socks5"])
    async def test_this_side_looks_up_the_address(
        self, server, client_tls, dante, scheme, names
    ) -> None:
        url, started = await server()
        await talk(url, proxy=f"{scheme}://{dante}", ssl_context=client_tls)
        assert len(started.headers) == 1
        assert names.asked == ["localhost"]

    async def test_the_proxy_looks_up_the_address(self, serve_script, dante, names) -> None:
        names.clear()  # here nobody is known
        url = await serve_script(Server())
        await talk(url, proxy=f"socks5h://{dante}")
        assert names.asked == []

    @pytest.mark.parametrize("scheme", ["socks4", "socks4a", "socks5", "socks5h"])
    async def test_server_is_not_there(self, dante, closed_port, scheme) -> None:
        with pytest.raises(ProxyError, match=f"{scheme}://{dante} opened no way to"):
            await fail(f"ws://127.0.0.1:{closed_port}/", proxy=f"{scheme}://{dante}")


class TestEnvironment:
    async def test_is_asked(self, serve_script, names, monkeypatch) -> None:
        """Unless it is told not to, or has nothing to say."""
        names["server.example"] = ["127.0.0.1"]
        proxy = HttpProxy()
        monkeypatch.setenv("ws_proxy", proxy_at(await serve_script(proxy)))
        url = await serve_script(Server())
        await talk(url)  # localhost is exempt
        assert proxy.requests == []
        url = url.replace("localhost", "server.example")
        await talk(url, proxy=None)
        assert proxy.requests == []
        monkeypatch.setenv("no_proxy", "example")
        await talk(url)
        assert proxy.requests == []
        monkeypatch.delenv("no_proxy")
        with pytest.raises(ProxyError):  # nobody has told the proxy where that is
            await fail(url)
        assert proxy.requests == [f"CONNECT server.example:{port_of(url)} HTTP/1.1"]

    async def test_can_be_wrong(self, monkeypatch) -> None:
        monkeypatch.setenv("all_proxy", "ftp://ada:hidden@a")
        with pytest.raises(ValueError, match="all_proxy in the environment") as caught:
            await fail()
        assert "hidden" not in str(caught.value)


class TestConnect:
    async def test_what_is_sent(self, serve_script) -> None:
        """The proxy learns its own credentials, host and port; the server all the rest."""
        proxy, server = HttpProxy(), Server()
        proxy_url = proxy_at(await serve_script(proxy), user="Aladdin:open%20sesame@")
        url = (await serve_script(server)).replace("//", "//me:mine@")
        headers = {"Cookie": "a=b", "Proxy-Connection": "x"}
        await talk(f"{url}path?token=c", proxy=proxy_url, headers=headers, origin="http://o")
        host = f"localhost:{port_of(url)}"
        assert proxy.requests == [f"CONNECT {host} HTTP/1.1"]
        assert proxy.headers == [
            {"host": host, "proxy-authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}
        ]
        (got,) = server.headers
        assert got["authorization"] == basic("me", "mine")
        assert (got["cookie"], got["origin"], got["host"]) == ("a=b", "http://o", host)
        assert "proxy-authorization" not in got

    @pytest.mark.parametrize(
        ("host", "port", "line"),
        [
            ("[::1]", ":1", "CONNECT [::1]:1 HTTP/1.1"),
            ("server.example", "", "CONNECT server.example:80 HTTP/1.1"),
        ],
    )
    async def test_host_and_port(self, serve_script, host, port, line) -> None:
        lines = []

        async def script(peer) -> None:
            await peer.request()
            lines.extend([peer.request_line, peer.headers["host"]])

        with pytest.raises(ProxyError, match="closed the connection before it answered"):
            await fail(f"ws://{host}{port}/", proxy=proxy_at(await serve_script(script)))
        assert lines == [line, line.split()[1]]

    @pytest.mark.parametrize("line", ["Content-Length: 10", "Transfer-Encoding: chunked", "X: y"])
    async def test_a_tunnel_has_no_body(self, server, serve_script, client_tls, line) -> None:
        url, _ = await server()
        proxy_url = proxy_at(await serve_script(HttpProxy(line)))
        await talk(url, proxy=proxy_url, ssl_context=client_tls)

    async def test_bytes_behind_the_answer_are_not_lost(self, serve_script) -> None:
        async def script(peer) -> None:
            await peer.request()
            first = b"HTTP/1.1 101 Switching Protocols\r\nX-Early: "
            await peer.send(b"HTTP/1.1 200 Fine\r\n\r\n" + first)
            peer.headers.clear()
            await peer.request()
            acceptance = peer.acceptance().partition(b"\r\n")[2]
            await peer.send(b"yes\r\n" + acceptance + hubws.Frame.text("hello").to_bytes())
            await peer.send(hubws.Frame.close())
            await peer.frame()

        proxy_url = proxy_at(await serve_script(script))
        async with hubws.connect("ws://server.example/", proxy=proxy_url) as connection:
            assert connection.response.headers["x-early"] == "yes"
            assert connection.remote == ("127.0.0.1", port_of(proxy_url))
            assert await connection.receive() == "hello"

    @pytest.mark.parametrize(
        ("said", "words"),
        [
            (
                b"HTTP/1.1 407 Who?\r\nContent-Length: 8\r\n\r\nwho goes",
                "answered 407 .*: who goes",
            ),
            (b"HTTP/1.1 502 Bad Gateway\r\n\r\nnobody there", "answered 502 .*: nobody there"),
            (b"HTTP/1.1 302 Found\r\nLocation: http://a/\r\nContent-Length: 0\r\n\r\n", "302"),
            (
                b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
                "answered 101",
            ),
            (b"SSH-2.0-OpenSSH_9.6\r\n", "proxy http://.*'s answer is not HTTP"),
            (b"HTTP/1.1 200 x\r\nX: " + bytes(2 * MAX_HEAD).replace(b"\0", b"x"), "has over 32768"),
            (b"HTTP/1.1 200 x\r\n" + 200 * b"X: y\r\n" + b"\r\n", "has over 128 header lines"),
            (b"", "closed the connection before it answered"),
            (b"HTTP/1.1 200 Connection", "closed the connection before it answered"),
        ],
    )
    async def test_no_tunnel(self, serve_script, said, words) -> None:
        async def script(peer) -> None:
            await peer.request()
            try:
                await peer.send(said)
            except trio.BrokenResourceError:
                pass

        proxy_url = proxy_at(await serve_script(script), user="ada:hidden@")
        with pytest.raises(ProxyError, match=words) as caught:
            await fail(proxy=proxy_url)
        assert isinstance(caught.value, hubws.HandshakeError)
        assert "hidden" not in str(caught.value)
        if "answered" in words and "before" not in words:
            assert caught.value.response.status == int(said[9:12])

    async def test_reset(self, serve_script) -> None:
        async def script(peer) -> None:
            await peer.request()
            peer.reset()

        with pytest.raises(ProxyError, match=r"broke before the proxy http://.* answered"):
            await fail(proxy=proxy_at(await serve_script(script)))

    async def test_endless_refusal(self, serve_script) -> None:
        async def script(peer) -> None:
            await peer.request()
            try:
                await peer.send(b"HTTP/1.1 503 No\r\n\r\n")
                while True:
                    await peer.send(bytes(65536))
            except trio.BrokenResourceError:
                pass

        with pytest.raises(ProxyError, match="answered 503"):
            await fail(proxy=proxy_at(await serve_script(script)))

    async def test_nobody_listens(self, closed_port) -> None:
        url = f"http://ada:hidden@127.0.0.1:{closed_port}"
        with pytest.raises(OSError, match="no way to the proxy http://127") as caught:
            await fail(proxy=url)
        assert "hidden" not in str(caught.value)

    @pytest.mark.parametrize(
        "said", [b"", b"HTTP/1.1 200 Fine\r\nX: ", b"HTTP/1.1 403 No\r\nContent-Length: 99\r\n\r\n"]
    )
    async def test_trickling_buys_no_time(self, serve_script, clock, said) -> None:
        sent = 0

        async def script(peer) -> None:
            nonlocal sent
            await peer.request()
            try:
                await peer.send(said or b"HTTP/1.1 200 ")
                while True:
                    await peer.send(b"0")
                    sent += 1
                    await trio.sleep(1)
            except trio.BrokenResourceError:
                pass

        start = trio.current_time()
        with pytest.raises(hubws.HandshakeTimeout, match=r"ws://server\.example within 10 s"):
            await fail(proxy=proxy_at(await serve_script(script)), timeout=10)
        assert trio.current_time() - start == pytest.approx(10)
        assert sent >= 9


class TestProxyByTLS:
    async def test_tls_in_tls(
        self, server, serve_script, server_tls, client_tls, authority
    ) -> None:
        """Each TLS has its own settings."""
        url, started = await server()
        proxy = HttpProxy()
        proxy_url = await serve_script(proxy, server_tls)
        tls = TLS(ca_data=authority.cert_pem.bytes().decode(), server_hostname="localhost")
        connection = await talk(
            url,
            proxy=proxy_at(proxy_url, "https", USER),
            proxy_tls=tls,
            ssl_context=client_tls,
        )
        assert connection.remote == ("127.0.0.1", port_of(proxy_url))
        assert proxy.headers[0]["proxy-authorization"] == basic("ada", "open-sesame")
        assert len(started.headers) == 1

    async def test_not_trusted(self, serve_script, server_tls, client_tls) -> None:
        async def script(peer) -> None:
            assert await peer.at_end()

        proxy_url = proxy_at(await serve_script(script, server_tls), "https", "ada:hidden@")
        with pytest.raises(
            ProxyError,
            match=r"no TLS with the proxy https://127[^ ]*: certificate verify failed: [^(]*$",
        ):
            await fail(proxy=proxy_url, ssl_context=client_tls)

    async def test_certificate_is_not_for_the_proxy(
        self, serve_script, authority, tmp_path
    ) -> None:
        """The client's certificate is for servers."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_OPTIONAL
        shown = []

        async def script(peer) -> None:
            await peer.request()
            shown.append(peer.stream.getpeercert())

        path = tmp_path / "me.pem"
        authority.issue_cert("ada@client.example").private_key_and_cert_chain_pem.write_to_path(
            path
        )
        proxy_url = proxy_at(await serve_script(script, context), "https")
        tls = TLS(certificate=path, ca_data=authority.cert_pem.bytes().decode())
        proxy_tls = TLS(ca_data=tls.ca_data, server_hostname="localhost")
        with pytest.raises(ProxyError):
            await fail("wss://server.example/", proxy=proxy_url, tls=tls, proxy_tls=proxy_tls)
        assert shown in ([None], [{}])


def socks(*steps: tuple[bytes, bytes], tail: Any = None):
    """A SOCKS proxy that expects these bytes and answers with those; then it is the server."""

    async def script(peer) -> None:
        for expected, answer in steps:
            while len(peer.buffer) < len(expected):
                assert await peer._more(), peer.buffer
            assert peer.buffer == expected
            peer.buffer = b""
            await peer.send(answer)
        if tail is not None:
            await tail(peer)

    return script


SERVER = b"\x0eserver.example\x00\x50"
ZERO = b"\0\0\0\0\0\0"


class TestSocks:
    @pytest.mark.parametrize(
        ("scheme", "user", "steps"),
        [
            ("socks4a", "", [(b"\4\1\0\x50\0\0\0\1\0server.example\0", b"\0\x5a" + ZERO)]),
            ("socks4a", "ada@", [(b"\4\1\0\x50\0\0\0\1ada\0server.example\0", b"\0\x5a" + ZERO)]),
            (
                "socks5h",
                "",
                [(b"\5\1\0", b"\5\0"), (b"\5\1\0\3" + SERVER, b"\5\0\0\1" + ZERO)],
            ),
            (
                "socks5h",
                "ada:a%20b@",
                [
                    (b"\5\2\0\2", b"\5\2"),
                    (b"\1\3ada\3a b", b"\1\0"),
                    (b"\5\1\0\3" + SERVER, b"\5\0\0\3\5a.b.c\0\1"),
                ],
            ),
            (
                "socks5h",
                "ada:a%20b@",
                [(b"\5\2\0\2", b"\5\0"), (b"\5\1\0\3" + SERVER, b"\5\0\0\4" + bytes(18))],
            ),
        ],
    )
    async def test_what_is_sent(self, serve_script, scheme, user, steps) -> None:
        """The name goes to the proxy; what comes with its last answer is not lost."""
        server = Server()
        url = await serve_script(socks(*steps, tail=server))
        await talk("ws://server.example/", proxy=proxy_at(url, scheme, user))
        assert not any("authorization" in name for name in server.headers[0])

    @pytest.mark.parametrize(
        ("steps", "words"),
        [
            ([(b"\5\1\0", b"")], "closed unexpectedly"),
            ([(b"\5\1\0", b"\5\xff")], "No acceptable authentication"),
            ([(b"\5\1\0", b"\5\2")], "Unexpected SOCKS authentication method"),
            ([(b"\5\1\0", b"HT")], "Unexpected SOCKS version"),
            (
                [(b"\5\1\0", b"\5\0"), (b"\5\1\0\3" + SERVER, b"\5\5\0\1" + ZERO)],
                "Connection refused",
            ),
            (
                [(b"\5\1\0", b"\5\0"), (b"\5\1\0\3" + SERVER, b"\5\x63\0\1" + ZERO)],
                "Invalid reply code",
            ),
            ([(b"\5\1\0", b"\5\0"), (b"\5\1\0\3" + SERVER, b"\5\0\0\7")], "opened no way"),
            (
                [(b"\5\1\0", b"\5\0"), (b"\5\1\0\3" + SERVER, b"\5\0\0\3\1\xff\0\0")],
                "opened no way to server.example:80",
            ),
        ],
    )
    async def test_no_tunnel(self, serve_script, steps, words) -> None:
        url = await serve_script(socks(*steps))
        with pytest.raises(ProxyError, match=words):
            await fail(proxy=proxy_at(url, "socks5h"))

    async def test_reset(self, serve_script) -> None:
        async def script(peer) -> None:
            await peer._more()
            peer.reset()

        with pytest.raises(ProxyError, match="opened no way"):
            await fail(proxy=proxy_at(await serve_script(script), "socks5h"))

    async def test_nobody_listens(self, closed_port) -> None:
        with pytest.raises(OSError, match="no way to the proxy socks5h://127") as caught:
            await fail(proxy=f"socks5h://ada:hidden@127.0.0.1:{closed_port}")
        assert "hidden" not in str(caught.value)

    async def test_silence_and_trickling(self, serve_script, clock) -> None:
        """A long name, byte by byte."""
        sent = 0

        async def script(peer) -> None:
            nonlocal sent
            await peer._more()
            try:
                await peer.send(b"\5\0")
                await peer._more()
                await peer.send(b"\5\0\0\3\xff")
                while True:
                    await peer.send(b"x")
                    sent += 1
                    await trio.sleep(1)
            except trio.BrokenResourceError:
                pass

        start = trio.current_time()
        with pytest.raises(hubws.HandshakeTimeout):
            await fail(proxy=proxy_at(await serve_script(script), "socks5h"), timeout=10)
        assert trio.current_time() - start == pytest.approx(10)
        assert sent >= 9

    async def test_package_is_missing(self, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "python_socks", None)
        with pytest.raises(ImportError, match=r"pip install 'hubws\[socks\]'") as caught:
            await fail(proxy="socks5h://ada:hidden@127.0.0.1:1")
        assert "hidden" not in str(caught.value)
