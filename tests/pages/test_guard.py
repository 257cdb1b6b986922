"""hubws/pages/guard.py: who may look, and the cookie by which a feed lets them in."""

from __future__ import annotations

import base64
import time

import pytest

import hubws
from hubws.pages.guard import Guard
from hubws.protocol.http import Request, Response

PAGE = Response(200, "a page")
CHECK = hubws.basic_auth({"ada": "open sesame"})


def request(*lines: str) -> Request:
    head = "".join(f"{line}\r\n" for line in ("GET / HTTP/1.1", "Host: x", *lines))
    return Request("GET", "/", "1.1", f"{head}\r\n".encode())


def known() -> Request:
    return request("Authorization: Basic " + base64.b64encode(b"ada:open sesame").decode())


def cookie_of(response: Response) -> str:
    return response.headers["Set-Cookie"].partition(";")[0]


def test_without_a_rule_everybody_may_look_and_gets_no_cookie():
    guard = Guard(None, "look", "/")
    assert guard.admit(request()) is None
    assert guard.show(request(), PAGE, is_secure=True) is PAGE


def test_strangers_are_refused():
    guard = Guard(CHECK, "look", "/")
    for response in (guard.admit(request()), guard.show(request(), PAGE, is_secure=False)):
        assert response.status == 401
        assert "Set-Cookie" not in response.headers


def test_who_may_see_the_page_may_see_its_feed():
    guard = Guard(CHECK, "look", "/a/")
    page = guard.show(known(), PAGE, is_secure=True)
    assert page.body == PAGE.body
    assert page.headers["Set-Cookie"].endswith(
        "; Path=/a/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure"
    )
    again = request(f"Cookie: other=1; {cookie_of(page)}")
    assert guard.admit(again) is None
    assert guard.show(again, PAGE, is_secure=True) is PAGE
    plain = guard.show(known(), PAGE, is_secure=False).headers["Set-Cookie"]
    assert "Secure" not in plain


def test_the_hook_says_who_it_is():
    assert Guard(CHECK, "look", "/").admit(known()) == "ada"


def test_cookies_that_are_none_of_ours(monkeypatch: pytest.MonkeyPatch):
    guard = Guard(CHECK, "look", "/")
    good = cookie_of(guard.show(known(), PAGE, is_secure=False))
    until, _, digest = good.removeprefix("look=").partition(".")
    other = cookie_of(Guard(CHECK, "look", "/").show(known(), PAGE, is_secure=False))
    bad = [
        "look=", "look=.", f"look={until}.", f"look={int(until) + 1}.{digest}", "look=٣." + digest,
        f"look={until}.{digest[:-1]}", f"Look={until}.{digest}", f"look={'9' * 5000}.{digest}", other,
    ]  # fmt: skip
    for cookie in bad:
        head = request().head.removesuffix(b"\r\n") + f"Cookie: {cookie}\r\n\r\n".encode()
        assert guard.admit(Request("GET", "/", "1.1", head)).status == 401
    assert guard.admit(request(f"Cookie: {good}")) is None
    monkeypatch.setattr(time, "time", lambda: float(until))
    assert guard.admit(request(f"Cookie: {good}")).status == 401


def test_a_hook_that_is_async_is_no_rule_for_a_page():
    async def check(_: Request) -> str:
        return "ada"

    with pytest.raises(TypeError, match="must not be async"):
        Guard(check, "look", "/").show(request(), PAGE, is_secure=False)
