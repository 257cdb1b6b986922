"""The opening handshake, both sides."""

from __future__ import annotations

import itertools
from base64 import b64encode
from collections.abc import Collection, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubws import Deflate, DeflateParameters
from hubws.errors import HandshakeRefused, LocalProtocolError, UpgradeRefused
from hubws.protocol.address import Address
from hubws.protocol.handshake import (
    accept_key,
    build_acceptance,
    build_request,
    check_origin,
    check_request,
    check_response,
    choose_compression,
    choose_subprotocol,
    is_upgrade,
    parse_origin,
    upgrade_required,
)
from hubws.protocol.http import Headers, Request, RequestReader, Response, ResponseReader

OFFER = "permessage-deflate; client_max_window_bits"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

HANDSHAKE = {
    "Host": "server.example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}

Lines = list[tuple[str, str]]


def make_lines(changes: dict[str, str | None] | None = None, more: Lines | None = None) -> Lines:
    """The header lines of a good handshake with some changed, left out (None) or added."""
    changed = HANDSHAKE | (changes or {})
    lines = [(name, value) for name, value in changed.items() if value is not None]
    return lines + (more or [])


def make_request(lines: Lines, start: str = "GET /chat HTTP/1.1") -> bytes:
    head = "".join(f"{name}: {value}\r\n" for name, value in lines)
    return f"{start}\r\n{head}\r\n".encode("latin-1")


def read(data: bytes) -> tuple[Request, Headers]:
    """Take a request byte by byte."""
    reader = RequestReader()
    for at in range(len(data)):
        request = reader.receive_data(data[at : at + 1])
        if request is not None:
            return request, reader.headers
    raise AssertionError("the request is not complete")


def check(lines: Lines, start: str = "GET /chat HTTP/1.1") -> str:
    return check_request(*read(make_request(lines, start)))


def refusal(lines: Lines, start: str = "GET /chat HTTP/1.1") -> Response:
    with pytest.raises(UpgradeRefused) as caught:
        check(lines, start)
    return caught.value.response


class TestExample:
    """RFC 6455 §1.3."""

    def test_accept_key(self) -> None:
        assert accept_key(KEY) == ACCEPT

    def test_acceptance(self) -> None:
        assert build_acceptance(KEY, "chat", None, b"X-More: 1\r\n") == (
            b"HTTP/1.1 101 Switching Protocols\r\n"
            b"Upgrade: websocket\r\n"
            b"Connection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            b"Sec-WebSocket-Protocol: chat\r\n"
            b"X-More: 1\r\n\r\n"
        )
        assert b"Protocol:" not in build_acceptance(KEY, None)

    def test_compression(self) -> None:
        """RFC 7692 §5.1."""
        lines = [("Sec-WebSocket-Extensions", "x"), ("Sec-WebSocket-Extensions", OFFER)]
        agreed = choose_compression(Headers(lines), Deflate())
        assert build_acceptance(KEY, "chat", agreed).endswith(
            b"Sec-WebSocket-Protocol: chat\r\n"
            b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=12\r\n\r\n"
        )
        agreed = choose_compression(Headers(lines), Deflate(client_max_window_bits=15))
        assert b"deflate; client_max_window_bits=15\r\n\r\n" in build_acceptance(KEY, None, agreed)
        assert choose_compression(Headers(lines), None) is None
        assert choose_compression(Headers(lines[:1]), Deflate()) is None
        assert choose_compression(Headers([]), Deflate()) is None

    def test_request(self) -> None:
        data = build_request(
            Address.from_url("ws://server.example.com/chat"),
            b"the sample nonce",
            subprotocols=["chat", "superchat"],
            origin="http://example.com",
            headers={"X-More": "1"},
        )
        assert data == (
            b"GET /chat HTTP/1.1\r\n"
            b"Host: server.example.com\r\n"
            b"Upgrade: websocket\r\n"
            b"Connection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: chat, superchat\r\n"
            b"Origin: http://example.com\r\n"
            b"X-More: 1\r\n\r\n"
        )

    def test_both_sides(self) -> None:
        request, headers = read(build_request(Address.from_url("ws://a/"), bytes(16)))
        key = check_request(request, headers)
        check_origin(headers, "same")
        response = ResponseReader().receive_data(build_acceptance(key, None))
        assert response is not None
        assert check_response(response, bytes(16), []) == (None, None)


class TestCheckRequest:
    """RFC 6455 §4.2.1."""

    @pytest.mark.parametrize(
        "lines",
        [
            make_lines(),
            make_lines({"Upgrade": "WebSocket", "Connection": "UPGRADE"}),
            make_lines({"Upgrade": "h2c, websocket", "Connection": "keep-alive, Upgrade"}),
            make_lines({"Connection": "keep-alive"}, [("connection", " ,upgrade\t,")]),
            make_lines({"Content-Length": "0"}),
            make_lines({"Sec-WebSocket-Key": f"{KEY} \t", "Sec-WebSocket-Version": "13 "}),
            [(name.upper(), value) for name, value in make_lines()],
            [(name.lower(), value) for name, value in make_lines()],
        ],
    )
    def test_good(self, lines: Lines) -> None:
        assert check(lines) == KEY
        assert is_upgrade(Headers(lines))

    @pytest.mark.parametrize(
        ("start", "status", "text"),
        [
            ("POST / HTTP/1.1", 405, "an opening handshake is a GET, not a POST"),
            ("CONNECT a:80 HTTP/1.1", 405, "an opening handshake is a GET, not a CONNECT"),
            ("GET / HTTP/1.0", 505, "an opening handshake takes HTTP/1.1, not 1.0"),
            ("GET / HTTP/2.0", 505, "an opening handshake takes HTTP/1.1, not 2.0"),
        ],
    )
    def test_request_line(self, start: str, status: int, text: str) -> None:
        response = refusal(make_lines(), start)
        assert (response.status, response.text) == (status, text)
        assert response.headers.get("Allow") == ("GET" if status == 405 else None)

    @pytest.mark.parametrize(
        "host",
        [
            *[None, "", " ", "a b", "a,b c", "a:b", "a:", "a:123456", "a:80:90", "[::1", "::1"],
            *["[g::1]", "a/b", "http://a", "a@b", "é", "a\\b", "a#b", "a?b"],
        ],
    )
    def test_host(self, host: str | None) -> None:
        """RFC 9112 §3.2, CVE-2026-61666."""
        response = refusal(make_lines({"Host": host}))
        assert (response.status, response.text) == (400, "header Host must name one host")

    @pytest.mark.parametrize(
        "host", ["a", "a.b:80", "[::1]", "[2001:db8::1]:8080", "1.2.3.4", "a_b"]
    )
    def test_good_host(self, host: str) -> None:
        assert check(make_lines({"Host": host})) == KEY

    def test_two_hosts(self) -> None:
        assert refusal(make_lines(more=[("host", "other")])).status == 400

    @pytest.mark.parametrize("value", [None, "", "h2c", "websocket/13", "web socket", "xwebsocket"])
    def test_upgrade(self, value: str | None) -> None:
        response = refusal(make_lines({"Upgrade": value}))
        assert (response.status, response.text) == (400, "header Upgrade must name websocket")

    @pytest.mark.parametrize("value", [None, "", "close", "keep-alive", "upgrade-insecure"])
    def test_connection(self, value: str | None) -> None:
        response = refusal(make_lines({"Connection": value}))
        assert (response.status, response.text) == (400, "header Connection must name Upgrade")

    @pytest.mark.parametrize(
        ("name", "value"),
        [("Content-Length", "5"), ("Content-Length", "00"), ("Transfer-Encoding", "chunked")],
    )
    def test_body(self, name: str, value: str) -> None:
        """CVE-2026-69243: a body would be read as frames by one side and not by the other."""
        response = refusal(make_lines({name: value}))
        assert (response.status, response.text) == (400, "an opening handshake has no body")

    @pytest.mark.parametrize("version", [None, "", "7", "8", "14", "13, 13", "13, 8", "0013"])
    def test_version(self, version: str | None) -> None:
        response = refusal(make_lines({"Sec-WebSocket-Version": version}))
        assert response.status == 426
        assert response.text == "header Sec-WebSocket-Version must be 13"
        assert response.headers["Sec-WebSocket-Version"] == "13"

    def test_two_versions(self) -> None:
        lines = make_lines(more=[("Sec-WebSocket-Version", "13")])
        assert refusal(lines).status == 426

    @pytest.mark.parametrize(
        "key",
        [
            *[None, "", "x", "é", "AAAA", KEY[:-1], KEY + "=", KEY + "AAAA", KEY[::-1], "!" * 24],
            *["=" * 24, "A" * 24, b64encode(bytes(15)).decode(), b64encode(bytes(17)).decode()],
        ],
    )
    def test_key(self, key: str | None) -> None:
        response = refusal(make_lines({"Sec-WebSocket-Key": key}))
        assert response.status == 400
        assert response.text == "header Sec-WebSocket-Key must be 16 bytes in base64, once"

    def test_key_with_needless_bits(self) -> None:
        """The answer is to the text that came: a B in place of the A decodes to the same bytes."""
        key = "A" * 21 + "B=="
        assert check(make_lines({"Sec-WebSocket-Key": key})) == key
        assert accept_key(key) != accept_key("A" * 22 + "==")

    def test_two_keys(self) -> None:
        assert refusal(make_lines(more=[("Sec-WebSocket-Key", KEY)])).status == 400

    @pytest.mark.parametrize(
        ("lines", "expected"),
        [
            ([("Host", "a")], False),
            ([("Upgrade", "h2c"), ("Connection", "Upgrade")], False),
            ([("Upgrade", "h2c, WEBSOCKET")], True),
            ([("Sec-WebSocket-Key", "")], True),
            ([("Sec-WebSocket-Version", "7")], True),
        ],
    )
    def test_is_upgrade(self, lines: Lines, expected: bool) -> None:
        assert is_upgrade(Headers(lines)) is expected

    def test_upgrade_required(self) -> None:
        assert upgrade_required().to_bytes() == (
            b"HTTP/1.1 426 Upgrade Required\r\n"
            b"Content-Type: text/plain; charset=utf-8\r\n"
            b"Upgrade: websocket\r\n"
            b"Content-Length: 29\r\n"
            b"Connection: Upgrade, close\r\n\r\n"
            b"this server speaks WebSocket\n"
        )


class TestAttacks:
    """Shapes of requests that have stopped other servers: all of them are answered."""

    def test_spaces_in_a_subprotocol(self) -> None:
        """CVE-2021-32640."""
        lines = make_lines(more=[("Sec-WebSocket-Protocol", "b" + " " * 30_000 + "x")])
        assert check(lines) == KEY
        with pytest.raises(UpgradeRefused, match="400: header Sec-WebSocket-Protocol must be"):
            choose_subprotocol(Headers(lines), ["b"])

    def test_unclosed_quotes_in_an_extension(self) -> None:
        """CVE-2020-7662."""
        lines = make_lines(more=[("Sec-WebSocket-Extensions", 'a; b="' + r"\c" * 10_000)])
        with pytest.raises(UpgradeRefused, match=r"400: header Sec-WebSocket-Extensions: .* can't"):
            choose_compression(Headers(lines), None)

    @pytest.mark.parametrize("filler", ["a,", ",", " ", "\t,", "upgrade-", "keep-alive, "])
    def test_long_lists_of_tokens(self, filler: str) -> None:
        """CVE-2023-26103."""
        long = filler * (10_000 // len(filler)) + ",Upgrade"
        assert check(make_lines({"Connection": long})) == KEY
        assert refusal(make_lines({"Connection": long + "x"})).status == 400
        long = filler * (10_000 // len(filler)) + ",websocket"
        assert check(make_lines({"Upgrade": long})) == KEY

    def test_one_long_header(self) -> None:
        """CVE-2023-43669, sent byte by byte."""
        assert check(make_lines(more=[("X", "x" * 30_000)])) == KEY

    def test_the_same_header_again_and_again(self) -> None:
        """CVE-2025-67725."""
        assert check(make_lines(more=[("X", "1")] * 120)) == KEY
        assert choose_subprotocol(Headers([("Sec-WebSocket-Protocol", "a,b")] * 100), ["b"]) == "b"

    def test_an_old_version_without_upgrade(self) -> None:
        """GHSA-4mp9-239f-g9hg."""
        assert refusal([("Host", "a"), ("Sec-WebSocket-Version", "7")]).status == 400

    def test_frames_before_the_answer(self) -> None:
        """CVE-2026-2833: what comes early is not lost, and not taken for HTTP."""
        reader = RequestReader()
        request = reader.receive_data(make_request(make_lines()) + b"\x81\x80GET / HTTP/1.1")
        assert request is not None
        assert check_request(request, request.headers) == KEY
        assert reader.rest == b"\x81\x80GET / HTTP/1.1"

    @given(st.binary(max_size=100))
    def test_any_value_of_any_header(self, junk: bytes) -> None:
        value = junk.decode("latin-1")
        for name in HANDSHAKE:
            try:
                check(make_lines({name: value}))
                status = 101
            except UpgradeRefused as refused:
                status = refused.response.status
            assert status in (101, 400, 426)


def origin_is_allowed(origins: str | Collection[str | None], host: str, *values: str) -> bool:
    headers = Headers([("Host", host), *(("Origin", value) for value in values)])
    try:
        check_origin(headers, origins)
    except UpgradeRefused as refused:
        words = f"Origin {', '.join(values) or '(none)'} may not connect"
        return (refused.response.status, refused.response.text) != (403, words)
    return True


class TestOrigin:
    """RFC 6455 §10.2."""

    @pytest.mark.parametrize(
        ("host", "origin", "allowed"),
        [
            ("a.org", "http://a.org", True),
            ("a.org", "https://a.org", True),
            ("A.org", "http://a.ORG", True),
            ("a.org:80", "http://a.org", True),
            ("a.org", "http://a.org:80", True),
            ("a.org:443", "https://a.org", True),
            ("a.org:8080", "http://a.org:8080", True),
            ("[::1]:80", "http://[::1]", True),
            ("[::1]:8080", "http://[::1]:8080", True),
            ("a.org", "http://b.org", False),
            ("a.org", "http://sub.a.org", False),
            ("a.org", "http://a.org.evil.com", False),
            ("a.org", "http://evil-a.org", False),
            ("a.org", "http://a.org@evil.com", False),
            ("a.org", "http://user@a.org", False),
            ("a.org", "http://a.org:8080", False),
            ("a.org:443", "http://a.org", False),
            ("a.org:8080", "http://a.org", False),
            ("[::1]", "http://[::2]", False),
            ("a.org", "http://[::1", False),
            ("a.org", "http://a.org:99999", False),
            ("a.org", "http://a.org/path", False),
            ("a.org", "http://a.org?query", False),
            ("a.org", "null", False),
            ("null", "null", False),
            ("a.org", "a.org", False),
            ("a.org", "//a.org", False),
            ("a.org", "", False),
            ("a b", "http://a", False),
        ],
    )
    def test_same(self, host: str, origin: str, allowed: bool) -> None:
        assert origin_is_allowed("same", host, origin) is allowed

    @pytest.mark.parametrize(
        ("origin", "is_secure", "allowed"),
        [
            ("https://a.org", True, True),
            ("https://a.org", False, True),
            ("http://a.org", False, True),
            ("http://a.org", True, False),
            ("ws://a.org", False, False),
            ("app://a.org:443", True, False),
        ],
    )
    def test_same_on_a_server_that_speaks_tls(
        self, origin: str, is_secure: bool, allowed: bool
    ) -> None:
        headers = Headers([("Host", origin.partition("//")[2]), ("Origin", origin)])
        if allowed:
            check_origin(headers, "same", is_secure=is_secure)
        else:
            with pytest.raises(UpgradeRefused, match=f"403: Origin {origin} may not connect"):
                check_origin(headers, "same", is_secure=is_secure)

    def test_same_without_an_origin(self) -> None:
        assert origin_is_allowed("same", "a.org")

    def test_only_200_characters_are_quoted(self) -> None:
        with pytest.raises(UpgradeRefused) as caught:
            check_origin(Headers([("Origin", "x" * 199 + "yz")]), [])
        assert caught.value.response.text == f"Origin {'x' * 199}y may not connect"

    def test_two_origins(self) -> None:
        assert not origin_is_allowed("same", "a", "http://a", "http://a")
        assert not origin_is_allowed(["http://a"], "a", "http://a", "http://a")

    def test_any(self) -> None:
        for values in ([], ["http://evil"], ["null"], ["a", "b"]):
            assert origin_is_allowed("any", "a.org", *values)

    @pytest.mark.parametrize(
        ("origins", "origin", "allowed"),
        [
            (["https://a.org"], "https://a.org", True),
            (["https://a.org"], "https://a.org:443", True),
            (["https://A.org:443"], "https://a.org", True),
            (["https://b.org", "https://a.org"], "https://a.org", True),
            (["https://a.org"], "http://a.org", False),
            (["https://a.org"], "https://a.org:444", False),
            (["https://a.org"], "https://a.org.evil.com", False),
            (["http://[::1]:80"], "http://[::1]", True),
            (["null"], "null", True),
            (["https://a.org"], "null", False),
            (["custom"], "null", False),
            ([None], "https://a.org", False),
            ([], "https://a.org", False),
            (["app://local"], "app://local", True),
        ],
    )
    def test_list(self, origins: list[str | None], origin: str, allowed: bool) -> None:
        assert origin_is_allowed(origins, "server", origin) is allowed

    def test_list_without_an_origin(self) -> None:
        assert not origin_is_allowed(["https://a.org"], "a.org")
        assert origin_is_allowed(["https://a.org", None], "a.org")
        assert not origin_is_allowed([], "a.org")

    @pytest.mark.parametrize(
        ("origin", "expected"),
        [
            ("http://a", ("http", "a", 80)),
            ("wss://A:1", ("wss", "a", 1)),
            ("app://x", ("app", "x", 0)),
            ("null", None),
            ("http://", None),
            ("http://a/", None),
        ],
    )
    def test_parsing(self, origin: str, expected: tuple[str, str, int] | None) -> None:
        assert parse_origin(origin) == expected


class TestSubprotocol:
    """RFC 6455 §4.2.2."""

    @pytest.mark.parametrize(
        ("offered", "supported", "chosen"),
        [
            (["a, b"], ["b", "a"], "b"),
            (["a", "b"], ["b"], "b"),
            ([" a ,,\tb"], ["b"], "b"),
            (["a"], ["b"], None),
            (["A"], ["a"], None),
            ([], ["a"], None),
            (["a"], [], None),
        ],
    )
    def test_choice(self, offered: Sequence[str], supported: list[str], chosen: str | None) -> None:
        headers = Headers([("Sec-WebSocket-Protocol", value) for value in offered])
        assert choose_subprotocol(headers, supported) == chosen

    @pytest.mark.parametrize("offered", ["a b", "a;b", "é", '"a"', "a, b c"])
    def test_no_tokens(self, offered: str) -> None:
        with pytest.raises(UpgradeRefused, match=r"400: .* must be a list of tokens"):
            choose_subprotocol(Headers({"Sec-WebSocket-Protocol": offered}), ["a"])


class TestBuildRequest:
    ADDRESS = Address(False, "a", 80, "/")

    @pytest.mark.parametrize("name", ["", "a b", "a,b", "é", "a\r\nX: y"])
    def test_subprotocol_is_no_token(self, name: str) -> None:
        with pytest.raises(LocalProtocolError, match="is not a subprotocol: it must be a token"):
            build_request(self.ADDRESS, bytes(16), subprotocols=["ok", name])

    def test_subprotocol_twice(self) -> None:
        with pytest.raises(LocalProtocolError, match=r"offered twice in \['a', 'a'\]"):
            build_request(self.ADDRESS, bytes(16), subprotocols=["a", "a"])

    def test_subprotocols_as_one_text(self) -> None:
        with pytest.raises(TypeError, match="a sequence of names, not the text 'chat'"):
            build_request(self.ADDRESS, bytes(16), subprotocols="chat")

    @pytest.mark.parametrize("bad", ["a\r\nX: y", "a\ny", "a\0", "€"])
    def test_injection(self, bad: str) -> None:
        """CVE-2026-1527."""
        for headers, origin in [({"X": bad}, None), ({bad: "x"}, None), ({}, bad)]:
            with pytest.raises(LocalProtocolError):
                build_request(self.ADDRESS, bytes(16), headers=headers, origin=origin)
        with pytest.raises(LocalProtocolError):
            build_request(self.ADDRESS, bytes(16), headers={"Host": bad})

    @pytest.mark.parametrize("name", ["upgrade", "CONNECTION", "Sec-WebSocket-Key"])
    def test_headers_of_its_own(self, name: str) -> None:
        with pytest.raises(LocalProtocolError, match=f"header {name} is set by the handshake"):
            build_request(self.ADDRESS, bytes(16), headers=[(name, "x")])

    def test_user_information(self) -> None:
        """RFC 7617 §2: the example's user and password."""
        address = Address.from_url("ws://Aladdin:open%20sesame@a/")
        data = build_request(address, bytes(16), origin="http://b", headers={"X": "y"})
        assert data.endswith(
            b"Origin: http://b\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\nX: y\r\n\r\n"
        )
        assert b"Authorization" not in build_request(self.ADDRESS, bytes(16))

    def test_user_information_beside_a_header(self) -> None:
        address = Address.from_url("ws://ada:hidden@a/")
        with pytest.raises(LocalProtocolError, match=r"the URL exclude each other") as caught:
            build_request(address, bytes(16), headers={"authorization": "Bearer unseen"})
        assert "hidden" not in str(caught.value)
        assert "unseen" not in str(caught.value)

    @pytest.mark.parametrize("name", ["Authorization", "proxy-authorization", "COOKIE"])
    def test_secrets_are_not_repeated(self, name: str) -> None:
        """A line break behind a token that was read from a file is easily overlooked."""
        with pytest.raises(LocalProtocolError, match=f"the value of header {name} has") as caught:
            build_request(self.ADDRESS, bytes(16), headers={name: "hidden\n"})
        assert "hidden" not in str(caught.value)

    def test_another_host(self) -> None:
        data = build_request(self.ADDRESS, bytes(16), headers={"host": "b:1"})
        assert data.startswith(b"GET / HTTP/1.1\r\nhost: b:1\r\nUpgrade:")
        assert data.lower().count(b"host:") == 1

    def test_compression(self) -> None:
        data = build_request(self.ADDRESS, bytes(16), compression=Deflate())
        assert b"\r\nSec-WebSocket-Extensions: " + OFFER.encode() + b"\r\n" in data
        for headers in ({"sec-websocket-extensions": "x"},):
            with pytest.raises(LocalProtocolError, match="is set by the handshake itself"):
                build_request(self.ADDRESS, bytes(16), compression=Deflate(), headers=headers)


ANSWER = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": ACCEPT}


def make_answer(
    changes: dict[str, str | None], more: Lines | None = None, status: int = 101
) -> Response:
    changed = ANSWER | changes
    lines = [(name, value) for name, value in changed.items() if value is not None]
    return Response(status, b"", lines + (more or []))


def check_answer(response: Response, subprotocols: Sequence[str] = ()) -> str | None:
    return check_response(response, b"the sample nonce", subprotocols)[0]


class TestCheckResponse:
    """RFC 6455 §4.1, the client's requirements."""

    @pytest.mark.parametrize(
        ("changes", "subprotocol"),
        [
            ({}, None),
            ({"Upgrade": "WebSocket", "Connection": "keep-alive, UPGRADE"}, None),
            ({"Sec-WebSocket-Extensions": " , "}, None),
            ({"Sec-WebSocket-Protocol": "b"}, "b"),
        ],
    )
    def test_good(self, changes: dict[str, str | None], subprotocol: str | None) -> None:
        assert check_answer(make_answer(changes), ["a", "b"]) == subprotocol

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"Upgrade": None}, "does not upgrade to websocket"),
            ({"Upgrade": "h2c"}, "does not upgrade to websocket"),
            ({"Connection": None}, "has no Connection: Upgrade"),
            ({"Connection": "close"}, "has no Connection: Upgrade"),
            ({"Sec-WebSocket-Accept": None}, "Accept is None, not 's3pP"),
            ({"Sec-WebSocket-Accept": "x"}, "Accept is 'x', not 's3pP"),
            ({"Sec-WebSocket-Accept": ACCEPT.lower()}, "Accept is 's3pplm"),
            (
                {"Sec-WebSocket-Extensions": "permessage-deflate"},
                "permessage-deflate was not offered",
            ),
            (
                {"Sec-WebSocket-Protocol": "c"},
                r"chose subprotocol \['c'\], offered were \['a', 'b'\]",
            ),
            ({"Sec-WebSocket-Protocol": "a, b"}, r"chose subprotocol \['a, b'\]"),
            ({"Sec-WebSocket-Protocol": "A"}, "chose subprotocol"),
            ({"Sec-WebSocket-Protocol": ""}, "chose subprotocol"),
        ],
    )
    def test_bad(self, changes: dict[str, str | None], message: str) -> None:
        response = make_answer(changes)
        with pytest.raises(HandshakeRefused, match=message) as caught:
            check_answer(response, ["a", "b"])
        assert caught.value.response is response

    def test_uninvited_subprotocol(self) -> None:
        with pytest.raises(HandshakeRefused, match=r"subprotocol \['a'\], offered were \[\]"):
            check_answer(make_answer({"Sec-WebSocket-Protocol": "a"}))

    @pytest.mark.parametrize("name", ["Sec-WebSocket-Accept", "Sec-WebSocket-Protocol"])
    def test_twice(self, name: str) -> None:
        answer = make_answer({name: "a"}, [(name, ACCEPT)])
        with pytest.raises(HandshakeRefused):
            check_answer(answer, ["a", ACCEPT])

    @pytest.mark.parametrize("status", [200, 301, 401, 404, 426, 503])
    def test_another_status(self, status: int) -> None:
        response = Response(status, "x" * 199 + "yz", ANSWER)
        with pytest.raises(HandshakeRefused) as caught:
            check_answer(response)
        assert str(caught.value) == f"the server answered {status}: {'x' * 199}y"

    @given(st.lists(st.integers(0, 200), max_size=5))
    def test_in_any_pieces(self, cuts: list[int]) -> None:
        data = build_acceptance(KEY, "b") + b"\x81\x00"
        reader = ResponseReader()
        rest, answer = b"", None
        for start, end in itertools.pairwise([0, *sorted(cuts), len(data)]):
            if answer is None:
                answer = reader.receive_data(data[start:end])
                rest = reader.rest
            else:
                rest += data[start:end]
        assert answer is not None
        assert check_answer(answer, ["b"]) == "b"
        assert rest == b"\x81\x00"


class TestCheckExtensions:
    """RFC 6455 §9.1, RFC 7692 §5.1: what a server may answer to a client's offer."""

    def test_good(self) -> None:
        for value, expected in [
            ("permessage-deflate", DeflateParameters()),
            (OFFER + "=9", DeflateParameters(client_max_window_bits=9)),
            ("", None),
        ]:
            response = make_answer({"Sec-WebSocket-Extensions": value})
            agreed = check_response(response, b"the sample nonce", [], Deflate())
            assert agreed == (None, expected)

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ("x-other", "'x-other': extension x-other was not offered"),
            ("x-other, permessage-deflate", "extension x-other was not offered"),
            ("permessage-deflate, x", "there is more than one extension"),
            ("permessage-deflate, permessage-deflate", "there is more than one extension"),
            (OFFER, "client_max_window_bits must be 8 to 15, not None"),
            ("permessage-deflate; server_max_window_bits=16", "must be 8 to 15, not '16'"),
            ("permessage-deflate;", "';' can't stand in a list of extensions"),
        ],
    )
    def test_bad(self, value: str, words: str) -> None:
        response = make_answer({"Sec-WebSocket-Extensions": value})
        with pytest.raises(HandshakeRefused, match=words):
            check_response(response, b"the sample nonce", [], Deflate())
