"""A browser for the tests of pages: one for all of them, as it takes a second to start."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.examples.chromium import COMMAND, Browser, attach


@pytest.fixture(scope="session")
def browser_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a browser listens that runs until the end of the tests."""
    profile = tmp_path_factory.mktemp("profile")
    with subprocess.Popen(
        [*COMMAND, f"--user-data-dir={profile}"], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if found := re.match(r"DevTools listening on (\S+)", line):
                break
        else:
            raise RuntimeError(f"chromium did not start: {said}")
        drain = threading.Thread(target=process.stderr.read)
        drain.start()
        try:
            yield found[1]
        finally:
            process.terminate()
            drain.join()


@pytest.fixture
async def browser(browser_url: str) -> AsyncIterator[Browser]:
    async with attach(browser_url) as running:
        yield running
