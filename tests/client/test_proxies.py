"""Which proxy is taken, if any: its URL, the environment, and who is exempt."""

from __future__ import annotations

import traceback

import pytest

from hubws.client.proxies import Proxy, is_exempt, proxy_from_environment
from hubws.protocol.address import Address


class TestProxy:
    @pytest.mark.parametrize(
        ("url", "proxy", "shown"),
        [
            ("http://a", Proxy("http", "a", 80), "http://a:80"),
            ("HTTP://A/", Proxy("http", "a", 80), "http://a:80"),
            ("https://a", Proxy("https", "a", 443), "https://a:443"),
            ("https://[::1]:3128", Proxy("https", "::1", 3128), "https://[::1]:3128"),
            ("socks4://a", Proxy("socks4", "a", 1080), "socks4://a:1080"),
            ("socks4a://me@a", Proxy("socks4a", "a", 1080, "me", ""), "socks4a://a:1080"),
            ("socks5://a:1", Proxy("socks5", "a", 1), "socks5://a:1"),
            ("socks5h://u:p@a", Proxy("socks5h", "a", 1080, "u", "p"), "socks5h://a:1080"),
            ("http://u%40v:%3A%C3%A9@a", Proxy("http", "a", 80, "u@v", ":é"), "http://a:80"),
            ("http://token@a", Proxy("http", "a", 80, "token", ""), "http://a:80"),
        ],
    )
    async def test_good(self, url, proxy, shown) -> None:
        assert Proxy.from_url(url) == proxy
        assert str(proxy) == shown

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("a:3128", "'a:3128' must begin with http, https, socks4, socks4a, socks5, socks5h"),
            ("ftp://a", "must begin with"),
            ("http://", "names no host"),
            ("http://a/path", "must end behind its host and port"),
            ("http://a?b", "must end behind"),
            ("http://a#b", "must end behind"),
            ("http://u:hidden@a:port", r"'http://\*\*\*@a:port' is not a URL"),
            ("http://u:hid/den@a", "is not a URL"),
            ("http://u:hidden @a", r"'http://\*\*\*@a': user and password must be percent-encoded"),
            ("http://u:hidden%0A@a", "no control characters"),
            ("socks4://u:hidden@a", "SOCKS4 takes a user without a password"),
            ("socks5://hidden@a", "SOCKS5 takes user and password of 1 to 255 characters"),
            (f"socks5h://{'hidden' * 50}:p@a", "1 to 255 characters"),
            (f"socks5h://u:{'hidden' * 50}@a", "1 to 255 characters"),
            ("socks5h://u:hidden%C3%A9@a", "SOCKS takes user and password in ASCII"),
            ("http://[::1", "is not a URL"),
        ],
    )
    async def test_bad(self, url, words) -> None:
        with pytest.raises(ValueError, match=words) as caught:
            Proxy.from_url(url)
        assert "hid" not in "".join(traceback.format_exception_only(caught.value))

    async def test_secrets_are_not_shown(self) -> None:
        proxy = Proxy.from_url("http://ada:hidden@a")
        assert "hidden" not in f"{proxy} {proxy!r}"
        assert "ada" not in f"{proxy} {proxy!r}"

    async def test_authorization(self) -> None:
        assert Proxy.from_url("http://a").authorization is None
        assert (
            Proxy.from_url("http://Aladdin:open%20sesame@a").authorization
            == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        )


class TestEnvironment:
    @pytest.mark.parametrize(
        ("variables", "ws", "wss"),
        [
            ({}, None, None),
            ({"http_proxy": "http://a"}, "http://a:80", None),
            ({"https_proxy": "http://a"}, "http://a:80", "http://a:80"),
            ({"HTTPS_PROXY": "http://a:1"}, "http://a:1", "http://a:1"),
            ({"all_proxy": "socks5h://a"}, "socks5h://a:1080", "socks5h://a:1080"),
            ({"socks_proxy": "a:1"}, "socks5h://a:1", "socks5h://a:1"),
            ({"http_proxy": "a:3128"}, "http://a:3128", None),
            ({"ALL_PROXY": "a"}, "http://a:80", "http://a:80"),
            ({"ws_proxy": "http://a", "wss_proxy": "http://b"}, "http://a:80", "http://b:80"),
            (
                {
                    "ws_proxy": "http://ws",
                    "wss_proxy": "http://wss",
                    "socks_proxy": "http://socks",
                    "https_proxy": "http://https",
                    "all_proxy": "http://all",
                },
                "http://ws:80",
                "http://wss:80",
            ),
            (
                {"socks_proxy": "http://a", "https_proxy": "http://b", "http_proxy": "http://c"},
                "http://a:80",
                "http://a:80",
            ),
            (
                {"https_proxy": "http://b", "http_proxy": "http://c", "all_proxy": "http://d"},
                "http://b:80",
                "http://b:80",
            ),
            ({"http_proxy": "http://c", "all_proxy": "http://d"}, "http://c:80", "http://d:80"),
            ({"https_proxy": "http://a", "HTTPS_PROXY": "http://b"}, "http://a:80", "http://a:80"),
            ({"https_proxy": "", "HTTPS_PROXY": "http://b"}, None, None),
            ({"https_proxy": " ", "http_proxy": "http://c"}, "http://c:80", None),
            ({"HTTP_PROXY": "http://a"}, "http://a:80", None),
            ({"HTTP_PROXY": "http://a", "REQUEST_METHOD": "GET"}, None, None),
            ({"http_proxy": "http://a", "REQUEST_METHOD": "GET"}, "http://a:80", None),
            ({"https_proxy": "http://a", "no_proxy": "server.example"}, None, None),
            ({"https_proxy": "http://a", "NO_PROXY": "*"}, None, None),
            ({"https_proxy": "http://a", "no_proxy": "server.example:443"}, "http://a:80", None),
        ],
        ids=str,
    )
    async def test_choice(self, monkeypatch, variables, ws, wss) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        for scheme, expected in [("ws", ws), ("wss", wss)]:
            proxy = proxy_from_environment(Address.from_url(f"{scheme}://server.example/"))
            assert (None if proxy is None else str(proxy)) == expected

    async def test_what_is_wrong_is_said(self, monkeypatch) -> None:
        monkeypatch.setenv("ALL_PROXY", "socks9://u:hidden@a")
        with pytest.raises(ValueError, match="all_proxy in the environment: the proxy") as caught:
            proxy_from_environment(Address.from_url("ws://server.example/"))
        assert "hidden" not in str(caught.value)


class TestExempt:
    @pytest.mark.parametrize(
        ("host", "no_proxy", "is_one"),
        [
            ("a.example", "", False),
            ("a.example", ", ,", False),
            ("a.example", "*", True),
            ("a.example", "b.example, *", True),
            ("a.example", "a.example", True),
            ("a.example", "A.Example", True),
            ("a.example.", "a.example", True),
            ("a.example", "a.example.", True),
            ("a.example", "example", True),
            ("a.example", ".example", True),
            ("a.example", "*.example", True),
            ("a.example", ".a.example", True),
            ("a.example", "b.example a.example", True),
            ("a.example", "b.example,a.example", True),
            ("aa.example", "a.example", False),
            ("a.example", "aa.example", False),
            ("a.example", "xample", False),
            ("a.example", "a.example:80", True),
            ("a.example", "a.example:8080", False),
            ("a.example", "*:80", True),
            ("a.example", "*:8080", False),
            ("a.example", "10.0.0.0/8", False),
            ("10.1.2.3", "10.1.2.3", True),
            ("10.1.2.3", "10.1.2.3:80", True),
            ("10.1.2.3", "10.1.2.3:81", False),
            ("10.1.2.3", "10.0.0.0/8", True),
            ("10.1.2.3", "10.1.0.1/16", True),
            ("10.1.2.3", "11.0.0.0/8", False),
            ("10.1.2.3", "2.3", False),
            ("10.1.2.3", "*", True),
            ("10.1.2.3", "example", False),
            ("10.1.2.3", "fd00::/8", False),
            ("fd00::1", "fd00::1", True),
            ("fd00::1", "FD00:0::1", True),
            ("fd00::1", "[fd00::1]", True),
            ("fd00::1", "[fd00::1]:80", True),
            ("fd00::1", "[fd00::1]:81", False),
            ("fd00::1", "fd00::/8", True),
            ("fd00::1", "fe80::/10", False),
            ("fd00::80", "fd00::80", True),
            ("localhost", "", True),
            ("LOCALHOST.", "", True),
            ("a.localhost", "", True),
            ("127.0.0.1", "", True),
            ("127.9.9.9", "", True),
            ("::1", "", True),
            ("localhost.example", "", False),
        ],
    )
    async def test_by_name_address_and_network(self, host, no_proxy, is_one) -> None:
        assert is_exempt(host, 80, no_proxy) is is_one
