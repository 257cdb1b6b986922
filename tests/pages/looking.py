"""Looking at pages: pictures of them, what a screen reader is told, and whether anything went wrong."""

from __future__ import annotations

from pathlib import Path

from tests.examples.chromium import Page

ARTEFACTS = Path(__file__).parents[2] / "test-artefacts"

SCHEMES = ("light", "dark")
SIZES = {"desktop": (1200, 750), "phone": (390, 844), "small": (360, 640)}

REFUSED = ("net::ERR_CONNECTION_REFUSED", "net::ERR_CONNECTION_RESET", "net::ERR_EMPTY_RESPONSE")
"""What Chromium itself reports of attempts to connect while there is no server."""


def assert_calm(*pages: Page, lost_server: bool = False) -> None:
    """No page has written to the console, and nothing failed but, if so, what the server's end did."""
    for page in pages:
        failures = [one for one in page.failures if not (lost_server and one.endswith(REFUSED))]
        assert failures == []
        assert page.console == []


async def picture(page: Page, name: str, scheme: str, size: str, *, whole: bool = False) -> None:
    """Keep a picture; the page is no wider than the screen."""
    width, height = SIZES[size]
    await page.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    await page.resize(width, height)
    if whole:  # a page of figures scrolls
        height = await page.evaluate("document.documentElement.scrollHeight")
        await page.resize(width, height)
    assert width == await page.evaluate("document.documentElement.scrollWidth")
    await page.evaluate(
        "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    path = ARTEFACTS / f"{name}-{scheme}-{size}.png"
    await page.screenshot(path)
    assert path.read_bytes().startswith(b"\x89PNG")


async def names_of(page: Page) -> set[tuple[str, str]]:
    """Role and name of everything that a screen reader is told of."""
    tree = await page.call("Accessibility.getFullAXTree")
    return {
        (node["role"]["value"], node["name"]["value"])
        for node in tree["nodes"]
        if "name" in node and "role" in node
    }
