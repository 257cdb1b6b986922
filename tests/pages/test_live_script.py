"""hubws/pages/files/live.js: the connection that comes back by itself, in Chromium."""

from __future__ import annotations

import json

import pytest

import hubws
from hubws.pages.site import Site
from tests.examples.chromium import Browser

from .looking import assert_calm
from .serving import serving

FOLLOW = """
(async () => {{
  const {{Live}} = await import("/live.js");
  const seen = [];
  await new Promise((done) => {{
    const live = new Live({{
      url: () => {url},
      onMessage: (message) => seen.push(message),
      onOpen: () => live.send({{hello: seen.length}}),
      onLost: (code) => seen.push(code),
      onState: (state, words) => {{
        seen.push(`${{state}}: ${{words.replace(/[0-9]+ s/, "some s")}}`);
        if ({is_enough}) {{ live.stop({{bye: 1}}); done(); }}
      }},
      silence: {silence},
    }});
    live.start();
  }});
  return seen;
}})()
"""


async def follow(
    browser: Browser, handler, url: str, is_enough: str, silence: int = 0
) -> list[object]:
    """What a connection tells until it is enough."""
    async with serving([], handler, on_request=Site("chat").answer) as host:
        page = await browser.open(f"http://{host}/")
        await page.evaluate(
            "document.getElementById('leave').click()"
        )  # the page's own is not meant
        script = FOLLOW.format(url=json.dumps(url), is_enough=is_enough, silence=silence)
        seen = await page.evaluate(script)
        assert_calm(page)
        return seen


async def test_messages_and_a_lost_connection(browser: Browser):
    heard = []

    async def handle(connection: hubws.Connection) -> None:
        if connection.path == "/there":
            heard.append(json.loads(await connection.receive()))
            await connection.send('{"number": 1}')
            await connection.aclose(1001)

    seen = await follow(browser, handle, "there", "seen.filter((one) => one === 1001).length === 2")
    once = ["open: connected", {"number": 1}, 1001, "waiting: reconnecting in some s"]
    assert seen == ["waiting: connecting…", *once, "waiting: reconnecting…", *once]
    assert heard == [{"hello": 2}, {"hello": 7}]


async def test_a_link_that_is_dead_is_noticed(browser: Browser):
    async def handle(connection: hubws.Connection) -> None:
        await connection.wait_closed()

    seen = await follow(browser, handle, "deaf", "seen.includes(1006)", silence=100)
    assert seen == [
        "waiting: connecting…",
        "open: connected",
        1006,
        "waiting: reconnecting in some s",
    ]


@pytest.mark.parametrize("code", [1008, 4003])
async def test_a_server_that_does_not_want_it_back(browser: Browser, code: int):
    async def handle(connection: hubws.Connection) -> None:
        if connection.path == "/closed":
            await connection.aclose(code, "not today")

    seen = await follow(browser, handle, "closed", "state === 'off'")
    assert seen == ["waiting: connecting…", "open: connected", code, "off: not today"]


async def test_a_server_that_is_full_is_asked_more_and_more_rarely(browser: Browser):
    async def handle(connection: hubws.Connection) -> None:
        await connection.aclose(1013, "full")

    async with serving([], handler=handle, on_request=Site("chat").answer) as host:
        page = await browser.open(f"http://{host}/")
        await page.evaluate("document.getElementById('leave').click()")
        pauses = await page.evaluate("""
            (async () => {
              const {Live} = await import("/live.js"), wait = window.setTimeout, pauses = [];
              Math.random = () => 0.5;
              await new Promise((done) => {
                window.setTimeout = (act, pause) => {
                  pauses.push(pause);
                  return pauses.length < 7 ? wait(act, 0) : done();
                };
                new Live({url: () => "full", onMessage() {}}).start();
              });
              return pauses;
            })()
        """)
    assert pauses == [500, 1000, 2000, 4000, 8000, 15000, 15000]
