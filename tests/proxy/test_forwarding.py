"""Which header lines go on, exactly."""

from __future__ import annotations

import pytest

from hubws.errors import UpgradeRefused
from hubws.protocol.http import Headers, Response
from hubws.proxy.forwarding import (
    Client,
    accepting_lines,
    check_target,
    forwarded_request,
    refusing_response,
    without,
)

CLIENT = Client(("192.0.2.7", 5000), "example.org", is_secure=False)
ADDED = [
    ("X-Forwarded-For", "192.0.2.7"),
    ("X-Forwarded-Proto", "http"),
    ("X-Forwarded-Host", "example.org"),
    ("Forwarded", "for=192.0.2.7;host=example.org;proto=http"),
]
HANDSHAKE = [
    ("Host", "example.org"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
]


def lines(*more: tuple[str, str], client: Client = CLIENT) -> list[tuple[str, str]]:
    return forwarded_request(Headers([*HANDSHAKE, *more]), client)


class TestRequests:
    def test_what_is_end_to_end_goes_on_as_it_is(self):
        more = [
            ("Origin", "https://example.org"),
            ("Cookie", "a=1"),
            ("cookie", "b=2"),
            ("Authorization", "Bearer x"),
            ("Sec-WebSocket-Protocol", "chat, superchat"),
            ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
            ("X-Own", "\xe9 \t"),
        ]
        assert lines(*more) == [("Host", "example.org"), *more, *ADDED]

    @pytest.mark.parametrize(
        "name",
        [
            "Keep-Alive", "Proxy-Authorization", "Proxy-Authenticate", "Proxy-Connection", "TE",
            "Trailer", "Transfer-Encoding", "Content-Length", "HTTP2-Settings", "upgrade",
        ],
    )  # fmt: skip
    def test_what_is_hop_by_hop_stays(self, name: str):
        assert lines((name, "x")) == [("Host", "example.org"), *ADDED]

    def test_what_connection_names_stays_but_not_what_the_proxy_says(self):
        options = "X-Mine, close, Host, X-Forwarded-For, Sec-WebSocket-Key"
        assert lines(("Connection", options), ("x-mine", "1")) == [("Host", "example.org"), *ADDED]

    @pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b", "a\x7fb", "\x01"])
    def test_control_characters_are_refused(self, value: str):
        with pytest.raises(UpgradeRefused) as refused:
            lines(("X", value))
        assert refused.value.response.status == 400


class TestForwarded:
    @pytest.mark.parametrize(
        "name",
        ["X-Forwarded-For", "x-forwarded-proto", "X-Forwarded-Host", "Forwarded", "X-Real-IP",
         "X-Forwarded-Port", "X_Forwarded_For", "X_Real-IP"],
    )  # fmt: skip
    def test_a_client_is_not_believed(self, name: str):
        assert lines((name, "1.2.3.4")) == [("Host", "example.org"), *ADDED]

    def test_a_trusted_one_is_appended_to(self):
        client = Client(("192.0.2.7", 1), "in.example", is_secure=True, is_trusted=True)
        said = [
            ("X-Forwarded-For", "198.51.100.1, 10.0.0.1"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "example.org"),
            ("Forwarded", "for=198.51.100.1"),
            ("X-Forwarded-For", "10.0.0.2"),
            ("X-Real-IP", "198.51.100.1"),
        ]
        assert lines(*said, client=client) == [
            ("Host", "in.example"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "example.org"),
            ("X-Real-IP", "198.51.100.1"),
            ("X-Forwarded-For", "198.51.100.1, 10.0.0.1, 10.0.0.2, 192.0.2.7"),
            ("Forwarded", "for=198.51.100.1, for=192.0.2.7;host=in.example;proto=https"),
        ]

    def test_a_trusted_one_that_says_nothing(self):
        client = Client(("192.0.2.7", 1), "example.org", is_secure=False, is_trusted=True)
        assert lines(client=client) == [("Host", "example.org"), *ADDED]

    @pytest.mark.parametrize(
        ("remote", "host", "address", "element"),
        [
            (("2001:db8::1", 1, 0, 0), "a:8080", "2001:db8::1",
             'for="[2001:db8::1]";host="a:8080";proto=https'),
            (("::ffff:192.0.2.1", 1, 0, 0), "a", "192.0.2.1", "for=192.0.2.1;host=a;proto=https"),
            (("fe80::1%eth0", 1, 0, 2), "a", "fe80::1", 'for="[fe80::1]";host=a;proto=https'),
            ("", "[::1]", "", 'for=unknown;host="[::1]";proto=https'),
            (None, "a", "", "for=unknown;host=a;proto=https"),
        ],
    )  # fmt: skip
    def test_addresses(self, remote: object, host: str, address: str, element: str):
        client = Client(remote, host, is_secure=True)
        assert (client.address, client.element) == (address, element)

    def test_a_client_without_an_address(self):
        client = Client("", "a", is_secure=False)
        assert "X-Forwarded-For" not in dict(lines(client=client))


class TestTargets:
    @pytest.mark.parametrize(
        "target", ["/", "/a/b?c=../d", "/%41?x=%2e", "/a..b/.c", "//a", "/~!$&'"]
    )
    def test_paths(self, target: str):
        check_target(target)

    @pytest.mark.parametrize(
        "target",
        [
            "http://evil.example/", "*", "evil.example:80", "/a/../b", "/a/%2e%2E/b", "/..%2fb", "/.",
            "/a/..", "/..\\b", "/%2e%2e%5cb", "/a b", "/\xe9", "/a#b", "/a\tb", "/a%00", "",
        ],
    )  # fmt: skip
    def test_what_could_be_read_in_another_way_is_refused(self, target: str):
        with pytest.raises(UpgradeRefused) as refused:
            check_target(target)
        assert refused.value.response.status == 400


class TestAnswers:
    def test_of_a_101(self):
        headers = Headers(
            [
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade, X-Hop"),
                ("Sec-WebSocket-Accept", "x"),
                ("Sec-WebSocket-Protocol", "chat"),
                ("Sec-WebSocket-Extensions", "permessage-deflate"),
                ("Set-Cookie", "a=1"),
                ("X-Hop", "1"),
                ("Set-Cookie", "b=2"),
            ]
        )
        assert accepting_lines(headers) == [
            ("Sec-WebSocket-Extensions", "permessage-deflate"),
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
        ]

    def test_of_a_refusal(self):
        said = [
            ("Content-Type", "text/html"),
            ("Content-Length", "2"),
            ("Connection", "keep-alive"),
            ("Keep-Alive", "timeout=5"),
            ("WWW-Authenticate", "Basic"),
            ("Set-Cookie", "a=1"),
        ]
        response = refusing_response(Response(401, b"no", said))
        assert (response.status, response.body) == (401, b"no")
        assert list(response.headers) == [said[0], said[4], said[5]]

    def test_of_a_426(self):
        response = refusing_response(Response(426, b"", [("Sec-WebSocket-Version", "13")]))
        assert list(response.headers) == [
            ("Sec-WebSocket-Version", "13"),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
        ]

    def test_without(self):
        assert without([("A", "1"), ("b", "2"), ("a", "3")], "a") == [("b", "2")]
