"""Which route a request takes."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from hubws.errors import UpgradeRefused
from hubws.protocol.http import Headers
from hubws.proxy import Backend, Balance, Route
from hubws.proxy.routes import find

BEHIND = [Backend("ws://a")]


def chosen(routes: list[Route], target: str, host: str = "example.org") -> int | None:
    return find(routes, target, Headers([("Host", host)]))


@pytest.mark.parametrize(
    ("path", "target", "fits"),
    [
        ("/", "/", True),
        ("/", "/a/b?c", True),
        ("/echo", "/echo", True),
        ("/echo", "/echo?a=/b", True),
        ("/echo", "/%65cho", True),
        ("/echo", "/echo/", False),
        ("/echo", "/echos", False),
        ("/echo", "/", False),
        ("/a/", "/a/b", True),
        ("/a/", "/a/", True),
        ("/a/", "/a", False),
    ],
)
def test_path(path: str, target: str, fits: bool):
    assert chosen([Route(path=path, backends=BEHIND)], target) == (0 if fits else None)


@pytest.mark.parametrize(
    ("host", "asked", "fits"),
    [
        ("a.example", "a.example", True),
        ("A.example", "a.EXAMPLE:8080", True),
        ("[::1]", "[::1]", True),
        ("[::1]", "[::1]:80", True),
        ("a.example", "b.example", False),
        ("a.example", "evil-a.example", False),
    ],
)
def test_host(host: str, asked: str, fits: bool):
    assert chosen([Route(host=host, backends=BEHIND)], "/", asked) == (0 if fits else None)


def test_the_first_that_fits():
    routes = [
        Route(host="b.example", backends=BEHIND),
        Route(path="/a/b", backends=BEHIND),
        Route(path="/a/", backends=BEHIND),
        Route(backends=BEHIND),
    ]
    assert chosen(routes, "/a/b", "b.example") == 0
    assert [chosen(routes, target) for target in ("/a/b", "/a/c", "/c")] == [1, 2, 3]


def test_rewriting_leaves_the_query():
    route = Route(backends=BEHIND, rewrite=lambda path: path.removeprefix("/api"))
    assert route.target("/api/a%20b?c=/api?") == "/a%20b?c=/api?"
    assert Route(backends=BEHIND).target("/a?") == "/a?"


@pytest.mark.parametrize("path", ["/a%0d%0aX:%20y", "/a%20b", "/%2e%2e/b"])
def test_rewriting_does_not_split_the_request(path: str):
    with pytest.raises(UpgradeRefused):
        Route(backends=BEHIND, rewrite=unquote).target(path)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"backends": []}, "the route of / has no backends"),
        ({"path": "echo"}, "path must begin with /, not be 'echo'"),
        ({"balance": "magic"}, "'magic' is not a balance; it must be one of round_robin"),
    ],
)
def test_arguments(options: dict[str, object], why: str):
    with pytest.raises(ValueError, match=why):
        Route(**{"backends": BEHIND, **options})  # type: ignore[arg-type]


def test_balance_by_name():
    assert Route(backends=BEHIND, balance="hash").balance is Balance.HASH
