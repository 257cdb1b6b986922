"""hubws/pages/site.py: files of pages, and how they are answered for."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from hubws.pages.site import SHARED, Site
from hubws.protocol.http import Request

FILES = files("hubws.pages") / "files"
PAGES = ("chat", "rtt", "dashboard")


def ask(site: Site, target: str, method: str = "GET"):
    return site.answer(Request(method, target, "1.1", b""))


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("path", ["/", "/a/b/"])
def test_a_page_and_all_it_asks_for(name: str, path: str):
    site = Site(name, path)
    page = ask(site, path)
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    asked = set(re.findall(r'(?:href|src)="([^"]+)"', page.body.decode()))
    assert {"icon.svg", "page.css", f"{name}.js"} <= asked
    modules = [name for name in asked if name.endswith(".js")]
    while modules:
        text = (FILES / modules.pop()).read_text()
        found = set(re.findall(r'from "\./([^"]+)"', text)) - asked
        asked |= found
        modules += found
    for file in asked:
        answer = ask(site, path + file)
        assert answer.status == 200
        assert answer.body == (FILES / file).read_bytes()


@pytest.mark.parametrize("name", PAGES)
def test_nothing_stands_inline_and_nothing_comes_from_elsewhere(name: str):
    page = (FILES / f"{name}.html").read_text()
    assert re.findall(r"<style|<script(?![^>]* src=)|\sstyle=|\son\w+=|//", page) == []
    policy = ask(Site(name), "/").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy


def test_what_is_for_others():
    site = Site("chat", "/talk/")
    for target in ("/", "/talk/rtt.html", "/talk/../chat.html", "/talk/a/page.css", "/talkative"):
        assert ask(site, target) is None


def test_without_the_last_slash_one_is_led_there():
    answer = ask(Site("chat", "/a/talk/"), "/a/talk")
    assert (answer.status, answer.headers["Location"]) == (308, "talk/")


def test_a_page_can_only_be_read():
    assert ask(Site("chat"), "/", "HEAD").status == 200
    answer = ask(Site("chat"), "/", "POST")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["", "a/", "/a", "//", "/a//b/"])
def test_a_path_that_is_no_folder(path: str):
    with pytest.raises(ValueError, match="begins and ends with one slash"):
        Site("chat", path)


def test_all_files_belong_to_a_page():
    known = {f"{name}.{kind}" for name in PAGES for kind in ("html", "css", "js")} | set(SHARED)
    assert {file.name for file in FILES.iterdir()} <= known
