"""WebSocket URLs: where they lead, what they say of the user, and what is never shown."""

from __future__ import annotations

import traceback
from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubws import LocalProtocolError
from hubws.protocol.address import Address, basic, bracketed, parse_user_info, without_secrets


class TestAddress:
    """RFC 6455 §3."""

    @pytest.mark.parametrize(
        ("url", "address", "host_header", "origin"),
        [
            ("ws://a", Address(False, "a", 80, "/"), "a", "ws://a"),
            ("ws://A:80/", Address(False, "a", 80, "/"), "a", "ws://a"),
            ("WSS://a.b/c?d=e", Address(True, "a.b", 443, "/c?d=e"), "a.b", "wss://a.b"),
            ("ws://a:443?x", Address(False, "a", 443, "/?x"), "a:443", "ws://a:443"),
            ("wss://a:80/%20", Address(True, "a", 80, "/%20"), "a:80", "wss://a:80"),
            ("ws://[::1]:8080/", Address(False, "::1", 8080, "/"), "[::1]:8080", "ws://[::1]:8080"),
            ("wss://[::1]", Address(True, "::1", 443, "/"), "[::1]", "wss://[::1]"),
            ("ws://a.b./", Address(False, "a.b.", 80, "/"), "a.b.", "ws://a.b."),
            ("ws://@a/", Address(False, "a", 80, "/"), "a", "ws://a"),
            ("ws://a/@b:c@d", Address(False, "a", 80, "/@b:c@d"), "a", "ws://a"),
            (f"ws://{'a' * 63}/", Address(False, "a" * 63, 80, "/"), "a" * 63, f"ws://{'a' * 63}"),
        ],
    )
    def test_good(self, url: str, address: Address, host_header: str, origin: str) -> None:
        assert Address.from_url(url) == address
        assert address.host_header == host_header
        assert address.origin == origin
        assert address.authorization is None

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("http://a", "'http://a' must begin with ws:// or wss://"),
            ("a", "must begin with ws:// or wss://"),
            ("", "must begin with ws:// or wss://"),
            ("ws:", "names no host"),
            ("ws://", "names no host"),
            ("ws:///path", "names no host"),
            ("ws://:80", "names no host"),
            ("ws://a#b", "has a fragment"),
            ("ws://a/#", "has a fragment"),
            ("ws://a:x", "is not a URL: .*'x'"),
            ("ws://a:65536", "is not a URL"),
            ("ws://[::1", "is not a URL"),
            ("ws://a/b c", r"the path '/b c' must be percent-encoded"),
            ("ws://a/é", "must be percent-encoded"),
            ("ws://a/?é", "must be percent-encoded"),
            ("ws://a/\x7f", "must be percent-encoded"),
            ("ws://a/ HTTP/1.1\r\nX: y", "must be percent-encoded"),
            ("ws://é", r"the host 'é' must be ASCII, such as xn--"),
            ("ws://a b/", "the host 'a b' must be ASCII"),
            ("ws://a\0/", "must be ASCII"),
            ("ws://a/b\tc", r"tabs and line breaks in 'ws://a/b\\tc' must be percent-encoded"),
            ("ws://a\r\n/", "tabs and line breaks in"),
            ("ws://a/b\n", "tabs and line breaks in"),
            ("ws://a..b/", r"the host 'a\.\.b' is not a name or an IP address"),
            ("ws://./", "is not a name or an IP address"),
            ("ws://a\\b/", "is not a name or an IP address"),
            (f"ws://{'a' * 64}/", "is not a name or an IP address"),
        ],
    )
    def test_bad(self, url: str, message: str) -> None:
        with pytest.raises(LocalProtocolError, match=message):
            Address.from_url(url)


class TestUserInformation:
    """RFC 3986 §3.2.1, RFC 7617 §2."""

    @pytest.mark.parametrize(
        ("url", "user", "password"),
        [
            ("ws://ada:lovelace@a/", "ada", "lovelace"),
            ("ws://token@a:1/b@c", "token", ""),
            ("ws://:only@a", "", "only"),
            ("ws://a%40b.c:d%3Ae%2Ff%25@a", "a@b.c", "d:e/f%"),
            ("ws://a:b:c@a", "a", "b:c"),
            ("ws://%C3%A9:%E2%82%AC@[::1]/", "é", "€"),
            ("ws://!$&'()*+,;=:-._~@a", "!$&'()*+,;=", "-._~"),
            ("ws://a+b:c%20d@a", "a+b", "c d"),
        ],
    )
    def test_good(self, url: str, user: str, password: str) -> None:
        authorization = Address.from_url(url).authorization
        assert authorization == basic(user, password)
        scheme, _, value = authorization.partition(" ")
        assert (scheme, b64decode(value).decode()) == ("Basic", f"{user}:{password}")

    @given(st.text(), st.text())
    def test_parsing(self, user: str, password: str) -> None:
        """Whatever it is, percent-encoded it is what it was, or refused for a reason."""

        def quote(text: str) -> str:
            return "".join(f"%{byte:02X}" for byte in text.encode())

        netloc = f"{quote(user)}:{quote(password)}@a:1"
        if ":" in user or any(char < " " or char == "\x7f" for char in user + password):
            with pytest.raises(ValueError, match="no control characters, the user no colon"):
                parse_user_info(netloc)
        else:
            assert parse_user_info(netloc) == (user, password)

    @pytest.mark.parametrize("netloc", ["", "a", "a:1", "[::1]:1", "@a"])
    def test_none(self, netloc: str) -> None:
        assert parse_user_info(netloc) is None

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("ws://hidden:b c@a/", r"'ws://\*\*\*@a/': user and password must be percent-encoded"),
            ("ws://hidden:é@a/", "must be percent-encoded"),
            ("ws://hidden:%zz@a/", "must be percent-encoded"),
            ("ws://hidden@hidden@a/", "must be percent-encoded"),
            ("ws://127.0.0.1:1\\hidden@a/", "must be percent-encoded"),
            ("ws://hidden:%FF@a/", "must be UTF-8"),
            ("ws://a%3Ahidden@a/", "the user no colon"),
            ("ws://a:hidden%0D%0AX:y@a/", "no control characters"),
            ("ws://a%7F:hidden@a/", "no control characters"),
            ("ws://a:hidden\r\n@a/", "tabs and line breaks"),
            ("http://hidden@a/", r"'http://\*\*\*@a/' must begin with ws:// or wss://"),
            ("a:hidden@b", r"'\*\*\*@b' must begin with ws:// or wss://"),
            ("a:hidden://@b", "must begin with ws:// or wss://"),
            ("ws://a:hid/den@b/", r"'ws://\*\*\*@b/' is not a URL$"),
            ("ws://a:hid#den@b/", "is not a URL$"),
            ("ws://a:hid?den@b/", "is not a URL$"),
            ("ws://a:80/hid den@b/", r"the path '\*\*\*@b/' must be percent-encoded"),
            ("ws://a:hidden@", "names no host"),
            ("ws://a:hidden@b/#", "has a fragment"),
            ("ws://a:hidden@b:x/", "is not a URL$"),
            ("ws://a:hidden@b:99999/", "is not a URL$"),
            ("ws://a:hidden@[::1", "is not a URL$"),
            ("ws://a:hidden\uff0f@b/", "is not a URL$"),
            ("ws://a:hidden@b/ ", "must be percent-encoded"),
            ("ws://a:hidden@b c/", "the host 'b c' must be ASCII"),
            ("ws://b#?token=hidden", "has a fragment"),
        ],
    )
    def test_bad_and_not_repeated(self, url: str, message: str) -> None:
        with pytest.raises(LocalProtocolError, match=message) as caught:
            Address.from_url(url)
        shown = "".join(traceback.format_exception_only(caught.value))
        assert not any(part in shown for part in ("hidden", "hid", "den@"))

    def test_not_in_repr(self) -> None:
        address = Address.from_url("ws://ada:hidden@a/")
        assert "hidden" not in repr(address)
        assert str(address.authorization) not in repr(address)


class TestWithoutSecrets:
    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("ws://a/b", "ws://a/b"),
            ("ws://a/b?token=c", "ws://a/b"),
            ("ws://u:p@a/b?c", "ws://***@a/b"),
            ("ws://u:p@q@a", "ws://***@a"),
            ("u:p@a", "***@a"),
            ("u:p\n@a", "***@a"),
            ("", ""),
        ],
    )
    def test_what_is_left(self, url: str, shown: str) -> None:
        assert without_secrets(url) == shown


def test_bracketed() -> None:
    assert [bracketed(host) for host in ("a", "1.2.3.4", "::1")] == ["a", "1.2.3.4", "[::1]"]
