"""A connection that does not open: what is raised, and that nothing stays behind."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest
import trio
import trio.testing

import hubws
from hubws.client.tls import TLS
from hubws.protocol.http import MAX_BODY, MAX_HEAD, MAX_HEADERS


async def fail(url: str, **options: Any) -> None:
    """Connect where that must not succeed."""
    async with hubws.connect(url, **options):
        raise AssertionError("it opened")


def answering(*lines: str, body: bytes = b""):
    """A script that gives one answer to whatever is asked."""

    async def script(peer) -> None:
        await peer.request()
        await peer.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    return script


class TestRefused:
    async def test_status_headers_and_body(self, serve_script) -> None:
        script = answering(
            "HTTP/1.1 403 Forbidden", "X-Why: rules", "Content-Length: 8", body=b"go away\n"
        )
        with pytest.raises(hubws.HandshakeRefused, match="403: go away") as caught:
            await fail(await serve_script(script))
        response = caught.value.response
        assert (response.status, response.body, response.text) == (403, b"go away\n", "go away")
        assert response.headers["x-why"] == "rules"

    @pytest.mark.parametrize(
        ("lines", "body"),
        [
            (["HTTP/1.1 503 Busy", "Connection: close"], b"until the end"),
            (["HTTP/1.0 503 Busy"], b"until the end"),
            (
                ["HTTP/1.1 503 Busy", "Transfer-Encoding: chunked"],
                b"d\r\nuntil the end\r\n0\r\n\r\n",
            ),
            (["HTTP/1.1 503 Busy", "Content-Length: 99"], b"until the end"),
        ],
    )
    async def test_bodies_of_every_kind(self, serve_script, lines, body) -> None:
        with pytest.raises(hubws.HandshakeRefused) as caught:
            await fail(await serve_script(answering(*lines, body=body)))
        assert caught.value.response.body == b"until the end"

    async def test_endless_body(self, serve_script) -> None:
        async def script(peer) -> None:
            await peer.request()
            await peer.send(b"HTTP/1.1 404 Not Found\r\n\r\n")
            try:
                while True:
                    await peer.send(bytes(100_000))
            except trio.BrokenResourceError:
                pass

        with pytest.raises(hubws.HandshakeRefused) as caught:
            await fail(await serve_script(script))
        assert len(caught.value.response.body) == MAX_BODY

    @pytest.mark.parametrize("status", [200, 204, 301, 401, 426, 500])
    async def test_anything_but_101(self, serve_script, status) -> None:
        script = answering(f"HTTP/1.1 {status} Whatever", "Location: /x", "Content-Length: 0")
        with pytest.raises(hubws.HandshakeRefused) as caught:
            await fail(await serve_script(script))
        assert caught.value.response.status == status

    @pytest.mark.parametrize(
        ("lines", "words"),
        [
            (["Upgrade: websocket", "Connection: Upgrade"], "Accept is None"),
            (["Connection: Upgrade"], "does not upgrade"),
            (["Upgrade: websocket"], "Connection: Upgrade"),
            (["Upgrade: h2c", "Connection: Upgrade"], "does not upgrade"),
        ],
    )
    async def test_101_without_what_belongs_to_it(self, serve_script, lines, words) -> None:
        with pytest.raises(hubws.HandshakeRefused, match=words):
            await fail(await serve_script(answering("HTTP/1.1 101 Switching Protocols", *lines)))

    @pytest.mark.parametrize(
        ("changes", "lines", "words"),
        [
            ({"key": "dGhlIHNhbXBsZSBub25jZQ=="}, [], "s3pPLMBiTxaQ9kYGzzhZRbK\\+xOo="),
            ({}, ["Sec-WebSocket-Accept: again"], "Accept"),
            ({}, ["Sec-WebSocket-Protocol: other"], "subprotocol"),
            ({}, ["Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: chat"], "subprotocol"),
            ({}, ["Sec-WebSocket-Extensions: permessage-deflate"], "was not offered"),
        ],
    )
    async def test_101_that_may_not_be_believed(self, serve_script, changes, lines, words) -> None:
        async def script(peer) -> None:
            await peer.request()
            await peer.send(peer.acceptance(*lines, **changes))
            await peer.at_end()

        with pytest.raises(hubws.HandshakeRefused, match=words):
            await fail(await serve_script(script), subprotocols=["chat"])


class TestNoAnswer:
    async def test_server_that_says_nothing(self, serve_script) -> None:
        async def script(peer) -> None:
            await peer.request()
            assert await peer.at_end()

        url = await serve_script(script)
        with pytest.raises(hubws.HandshakeTimeout, match=r"0\.05 s") as caught:
            await fail(url, timeout=0.05)
        assert isinstance(caught.value, TimeoutError)

    async def test_server_that_trickles(self, serve_script) -> None:
        async def script(peer) -> None:
            await peer.request()
            try:
                await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nX: ")
                while True:
                    await peer.send(b"x")
                    await trio.sleep(0.01)  # far below the limit: bytes don't buy time
            except trio.BrokenResourceError:
                pass

        with pytest.raises(hubws.HandshakeTimeout):
            await fail(await serve_script(script), timeout=0.1)

    async def test_refusal_that_trickles(self, serve_script) -> None:
        async def script(peer) -> None:
            await peer.request()
            await peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nx")
            await peer.at_end()

        with pytest.raises(hubws.HandshakeTimeout):
            await fail(await serve_script(script), timeout=0.05)

    async def test_server_silent_in_tls(self, serve_script, client_tls) -> None:
        async def script(peer) -> None:
            await peer.at_end()

        url = (await serve_script(script)).replace("ws:", "wss:")
        with pytest.raises(hubws.HandshakeTimeout):
            await fail(url, ssl_context=client_tls, timeout=0.05)

    @pytest.mark.parametrize("said", [b"", b"HTTP/1.1 101 Swit"])
    async def test_server_closes_early(self, serve_script, said) -> None:
        async def script(peer) -> None:
            await peer.request()
            await peer.send(said)

        with pytest.raises(hubws.HandshakeError, match="closed the connection before it answered"):
            await fail(await serve_script(script))

    async def test_server_resets(self, serve_script) -> None:
        async def script(peer) -> None:
            await peer.request()
            peer.reset()

        with pytest.raises(hubws.HandshakeError, match="broke before the server answered"):
            await fail(await serve_script(script))

    @pytest.mark.parametrize(
        ("said", "words"),
        [
            (b"SSH-2.0-OpenSSH_9.6\r\n", "not HTTP"),
            (b"HTTP/1.1 101 Fine\r\nno colon\r\n\r\n", "not HTTP"),
            (b"HTTP/1.1 200 OK\r\nX: " + b"x" * (MAX_HEAD + 1), "head"),
            (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * (MAX_HEADERS + 1) + b"\r\n", "header lines"),
        ],
    )
    async def test_not_http(self, serve_script, said, words) -> None:
        async def script(peer) -> None:
            await peer.request()
            await peer.send(said)
            await peer.at_end()

        with pytest.raises(hubws.HandshakeError, match=words):
            await fail(await serve_script(script))

    async def test_nobody_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1:{port}"):
            await fail(f"ws://127.0.0.1:{port}/")

    async def test_cancelled(self, serve_script) -> None:
        async def script(peer) -> None:
            await peer.request()
            scope.cancel()
            assert await peer.at_end()

        with trio.CancelScope() as scope:
            await fail(await serve_script(script))
        assert scope.cancelled_caught

    async def test_ready_stream_is_closed(self, as_peer) -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        with pytest.raises(hubws.HandshakeTimeout):
            await fail("ws://memory/", stream=ours, timeout=0.01)
        with pytest.raises(trio.ClosedResourceError):
            await ours.send_all(b"x")
        await as_peer(theirs).request()
        await trio.aclose_forcefully(theirs)


class TestTLS:
    async def test_authority_that_is_not_trusted(self, serve_script, server_tls) -> None:
        async def script(peer) -> None:
            assert await peer.at_end()

        url = await serve_script(script, server_tls)
        with pytest.raises(hubws.HandshakeError, match="certificate verify failed") as caught:
            await fail(url)
        assert isinstance(caught.value.__cause__.__cause__, ssl.SSLCertVerificationError)

    async def test_wrong_host_name(self, serve_script, server_tls, client_tls) -> None:
        async def script(peer) -> None:
            assert await peer.at_end()

        url = (await serve_script(script, server_tls)).replace("localhost", "127.0.0.1")
        with pytest.raises(hubws.HandshakeError, match=r"127\.0\.0\.1"):
            await fail(url, ssl_context=client_tls)

    async def test_server_without_tls(self, serve_script, client_tls) -> None:
        async def script(peer) -> None:
            await peer.stream.receive_some(1)
            await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        url = (await serve_script(script)).replace("ws:", "wss:")
        with pytest.raises(hubws.HandshakeError, match="no TLS with localhost"):
            await fail(url, ssl_context=client_tls)

    async def test_tls_server_asked_in_plain(self, serve_script, server_tls) -> None:
        async def script(peer) -> None:
            with pytest.raises(trio.BrokenResourceError):
                await peer.request()

        url = (await serve_script(script, server_tls)).replace("wss:", "ws:")
        with pytest.raises(hubws.HandshakeError):
            await fail(url)


class TestArguments:
    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("http://localhost/", "must begin with ws:// or wss://"),
            ("localhost:80", "must begin with ws:// or wss://"),
            ("ws://", "names no host"),
            ("ws:///path", "names no host"),
            ("ws://localhost:port/", "not a URL"),
            ("ws://localhost:70000/", "not a URL"),
            ("ws://[::1/", "not a URL"),
            ("ws://localhost/#here", "fragment"),
            ("ws://me:sec ret@localhost/", "percent-encoded"),
            ("ws://localhost/a b", "percent-encoded"),
            ("ws://localhost/é", "percent-encoded"),
            ("ws://localhost/\r\nX: y", ""),
            ("ws://local host/", ""),
            ("ws://localhost\r\nX: y/", ""),
        ],
    )
    async def test_urls(self, url, words) -> None:
        with pytest.raises(hubws.LocalProtocolError) as caught:
            await fail(url, stream=Untouchable())
        assert words in str(caught.value)

    async def test_secrets_of_a_url_are_not_repeated(self) -> None:
        with pytest.raises(hubws.LocalProtocolError) as caught:
            await fail("ws://me:secret%0A@localhost/", stream=Untouchable())
        assert "secret" not in str(caught.value)

    async def test_user_twice(self) -> None:
        headers = {"Authorization": "Bearer secret"}
        with pytest.raises(hubws.LocalProtocolError, match="exclude each other") as caught:
            await fail("ws://me:secret@localhost/", headers=headers, stream=Untouchable())
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"headers": {"X": "a\r\nY: b"}}, ValueError),
            ({"headers": {"X Y": "a"}}, ValueError),
            ({"headers": {"Upgrade": "h2c"}}, ValueError),
            ({"headers": {"Sec-WebSocket-Key": "mine"}}, ValueError),
            ({"origin": "a\r\nX: y"}, ValueError),
            ({"subprotocols": "chat"}, TypeError),
            ({"subprotocols": ["a b"]}, ValueError),
            ({"subprotocols": ["a", "a"]}, ValueError),
            ({"max_message_size": -1}, ValueError),
            ({"policy": "hope"}, ValueError),
            ({"no_such_setting": 1}, TypeError),
            ({"max_redirects": -1}, ValueError),
            ({"unix_path": "/a"}, ValueError),
            ({"proxy": "http://a"}, ValueError),
            ({"tls": TLS(), "ssl_context": ssl.create_default_context()}, ValueError),
        ],
    )
    async def test_what_can_not_be_sent(self, options, error) -> None:
        with pytest.raises(error):
            await fail("ws://localhost/", stream=Untouchable(), **options)


class Untouchable(trio.abc.Stream):
    """A stream that must not be used."""

    async def send_all(self, data: object) -> None:
        raise AssertionError("sent")

    async def wait_send_all_might_not_block(self) -> None:
        raise AssertionError("waited")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        raise AssertionError("received")

    async def aclose(self) -> None:
        raise AssertionError("closed")
