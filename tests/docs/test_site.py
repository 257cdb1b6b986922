"""The site is built without a warning, every page can be found, and reading it takes no network."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from .pages import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does, but elsewhere."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-N", "-j", "auto"]
    done = subprocess.run(
        [*command, "-c", "docs", "-d", folder / "doctrees", ".", folder / "html"],
        cwd=ROOT, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "html"


class Reader(HTMLParser):
    """Notes what a page has a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in {"script", "img", "iframe", "source", "video", "audio"}:
            self.fetched.append(given.get("src") or "")
        elif tag == "link" and given.get("rel") in {"stylesheet", "icon", "preload", "preconnect"}:
            self.fetched.append(given.get("href") or "")


def fetched_by(page: Path) -> Iterator[str]:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    yield from filter(None, reader.fetched)


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    pages = list(site.glob("**/*.html"))
    assert len(pages) > 50
    for page in pages:
        for address in fetched_by(page):
            where = (page.parent / address.partition("?")[0]).resolve()
            assert where.exists(), f"{page.relative_to(site)} fetches {address}"
    for style in site.glob("_static/**/*.css"):
        assert "url(http" not in style.read_text(encoding="utf-8").replace('"', "")


def test_the_front_leads_to_the_start_page(site: Path) -> None:
    assert "docs/index.html" in (site / "index.html").read_text(encoding="utf-8")
    start = (site / "docs/index.html").read_text(encoding="utf-8")
    assert "chat.png" in start
    assert "Nothing is lost silently" in start


def test_every_page_is_in_the_contents(site: Path) -> None:
    """Sphinx warns of a page that no contents name; here: of one that it has not seen at all."""
    missing = [
        path
        for path in (ROOT / "docs").glob("**/*.md")
        if not (site / path.relative_to(ROOT)).with_suffix(".html").exists()
    ]
    assert missing == []


def test_annotations_lead_to_public_names(site: Path) -> None:
    text = (site / "docs/reference/connection.html").read_text(encoding="utf-8")
    assert 'href="#hubws.Closure"' in text
    assert 'href="protocol.html#hubws.Frame"' in text
    assert "hubws.connection." not in re.sub(r"<[^>]*>", "", text)
