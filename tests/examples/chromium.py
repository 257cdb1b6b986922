"""Drives headless Chromium over its DevTools protocol, with hubws.connect as the client.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import trio

import hubws

COMMAND = (
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--remote-debugging-port=0", "--remote-allow-origins=*",
)  # fmt: skip

LIMIT = 30
"""For anything the browser is asked to do, in seconds."""


class Browser:
    """A browser: its pages share one connection, each under a session of its own."""

    def __init__(self, connection: hubws.Connection) -> None:
        self._connection = connection
        self._replies: dict[int, trio.MemorySendChannel[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}
        self._contexts: list[str] = []
        self._last_id = 0

    async def call(
        self, method: str, session: str | None = None, **params: object
    ) -> dict[str, Any]:
        """Ask for something; returns the result."""
        self._last_id += 1
        request: dict[str, object] = {"id": self._last_id, "method": method, "params": params}
        if session is not None:
            request["sessionId"] = session
        send, receive = trio.open_memory_channel[dict[str, Any]](1)
        with send, receive:
            self._replies[self._last_id] = send
            await self._connection.send(json.dumps(request))
            with trio.fail_after(LIMIT):
                reply = await receive.receive()
        if "error" in reply:
            raise RuntimeError(f"{method}: {reply['error']}")
        result: dict[str, Any] = reply["result"]
        return result

    async def read(self) -> None:
        """Hand out what the browser sends, until it is closed."""
        async for message in self._connection:
            event = json.loads(message)
            if "id" in event:
                self._replies.pop(event["id"]).send_nowait(event)
            elif (page := self._pages.get(event.get("sessionId"))) is not None:
                page.note(event["method"], event["params"])

    async def open(self, url: str, *, width: int = 1200, height: int = 750) -> Page:
        """Open a page in a profile of its own and wait until it is loaded."""
        context = (await self.call("Target.createBrowserContext"))["browserContextId"]
        self._contexts.append(context)
        target = await self.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = await self.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log"):
            await page.call(f"{domain}.enable")
        await page.call("Emulation.setFocusEmulationEnabled", enabled=True)
        await page.resize(width, height)
        await page.call("Page.navigate", url=url)
        await page.wait_for("location.href !== 'about:blank' && document.readyState === 'complete'")
        return page

    async def close_pages(self) -> None:
        """Close all pages, with their profiles."""
        while self._contexts:
            await self.call("Target.disposeBrowserContext", browserContextId=self._contexts.pop())


class Page:
    """One page.

    Attributes:
        console: what it wrote to the console, a line each.
        failures: uncaught exceptions, and what the browser itself reported as an error.

    """

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.console: list[str] = []
        self.failures: list[str] = []

    async def call(self, method: str, **params: object) -> dict[str, Any]:
        return await self._browser.call(method, self._session, **params)

    def note(self, method: str, params: dict[str, Any]) -> None:
        """Take an event of this page."""
        if method == "Runtime.consoleAPICalled":
            values = (str(part.get("value", part.get("description"))) for part in params["args"])
            self.console.append(f"{params['type']}: {' '.join(values)}")
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.failures.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.failures.append(params["entry"]["text"])

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression, awaited if it is a promise."""
        reply = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in reply:
            raise RuntimeError(f"{expression}: {reply['exceptionDetails']}")
        return reply["result"].get("value")

    async def wait_for(self, condition: str) -> None:
        """Wait until an expression is true."""
        with trio.move_on_after(LIMIT):
            while not await self.evaluate(f"Boolean({condition})"):
                await trio.sleep(0.01)
            return
        text = await self.evaluate("document.body.innerText")
        raise AssertionError(f"never true: {condition}; the page:\n{text}\n{self.failures}")

    async def click(self, selector: str) -> None:
        """Click into the middle of an element with the mouse."""
        box = await self.evaluate(
            f"document.querySelector({json.dumps(selector)}).getBoundingClientRect().toJSON()"
        )
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for kind in ("mousePressed", "mouseReleased"):
            await self.call(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
            )

    async def press(self, key: str, code: int, text: str = "") -> None:
        """Press and release a key, given by its name and its Windows key code."""
        same = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **same)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **same)

    async def type(self, selector: str, text: str, *, enter: bool = True) -> None:
        """Put text into a field in place of what it holds, as from a keyboard, then press Enter."""
        await self.click(selector)
        await self.evaluate("document.activeElement.select()")
        await self.call("Input.insertText", text=text)
        if enter:
            await self.press("Enter", 13, "\r")

    async def resize(self, width: int, height: int, *, scale: int = 1) -> None:
        """Set the size of the viewport, in CSS pixels."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=width < 500,
        )  # fmt: skip

    async def prefer(self, **features: str) -> None:
        """Set media features such as prefers_color_scheme="dark"."""
        pairs = [{"name": name.replace("_", "-"), "value": v} for name, v in features.items()]
        await self.call("Emulation.setEmulatedMedia", features=pairs)

    async def screenshot(self, path: Path) -> None:
        """Write what is seen now as PNG."""
        reply = await self.call("Page.captureScreenshot", format="png", optimizeForSpeed=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(reply["data"]))


@contextlib.asynccontextmanager
async def open_browser(profile: Path) -> AsyncIterator[Browser]:
    """Run Chromium, with a new folder for its profile, while the block runs."""
    process = await trio.lowlevel.open_process(
        [*COMMAND, f"--user-data-dir={profile}"], stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        async with process.stderr, trio.open_nursery() as nursery:
            url = await _read_url(process.stderr)
            nursery.start_soon(_drain, process.stderr)
            async with attach(url) as browser:
                yield browser
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            process.terminate()
            with trio.move_on_after(10):
                await process.wait()
            if process.poll() is None:
                process.kill()
                await process.wait()


@contextlib.asynccontextmanager
async def attach(url: str) -> AsyncIterator[Browser]:
    """Use a browser that runs, by the URL at which it listens; its pages are closed at the end."""
    async with (
        hubws.connect(url, max_message_size=2**26, inbox_bytes=2**26, proxy=None) as connection,
        trio.open_nursery() as nursery,
    ):
        browser = Browser(connection)
        nursery.start_soon(browser.read)
        yield browser
        await browser.close_pages()
        nursery.cancel_scope.cancel()


async def _read_url(stderr: trio.abc.ReceiveStream) -> str:
    """Where the browser listens, from the line in which it says so."""
    said = b""
    with trio.fail_after(LIMIT):
        async for data in stderr:
            said += data
            *lines, _ = said.splitlines(keepends=True)
            for line in lines:
                if line.startswith(b"DevTools listening on ") and line.endswith(b"\n"):
                    return line.split()[-1].decode()
    raise RuntimeError(f"chromium did not start: {said.decode(errors='replace')}")


async def _drain(stream: trio.abc.ReceiveStream) -> None:
    async for _ in stream:
        pass
