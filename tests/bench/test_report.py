"""hubws/bench/report.py: the page, in Chromium."""

from __future__ import annotations

from pathlib import Path

import attrs

from hubws.bench.report import page_of
from tests.bench.results import result_of
from tests.examples.chromium import open_browser

LOADED = "performance.getEntriesByType('resource').length"


async def test_the_page_needs_nothing_else_and_fits_a_phone(tmp_path: Path):
    page_file = tmp_path / "report.html"
    page_file.write_text(page_of(result_of(60), [("p99>50ms", True), ("p50>1s", False)]))
    async with open_browser(tmp_path / "profile") as browser:
        page = await browser.open(page_file.as_uri())
        assert page.failures == page.console == []
        assert await page.evaluate(LOADED) == 0
        assert await page.evaluate("document.querySelectorAll('svg').length") == 4
        text = await page.evaluate("document.body.innerText")
        assert "crossed: p99>50ms" in text
        assert "kept: p50>1s" in text
        assert "ws://127.0.0.1:1/<x>" in text
        assert "secret" not in text
        assert "refused <by> the server" in text
        grounds = set()
        for scheme in ("light", "dark"):
            await page.prefer(prefers_color_scheme=scheme)
            ground = "getComputedStyle(document.body).backgroundColor"
            grounds.add(await page.evaluate(ground))
            await page.screenshot(tmp_path / f"{scheme}.png")
        assert len(grounds) == 2
        await page.resize(360, 740)
        width = "document.documentElement.scrollWidth"
        assert await page.evaluate(width) <= 360
        await page.screenshot(tmp_path / "phone.png")


def test_a_page_of_nothing():
    result = attrs.evolve(result_of(1), by_second=[], seconds=0.0)
    assert "<svg" in page_of(result)
