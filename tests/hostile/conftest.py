"""Victims for a module, a siege for each test, and the report.

`HOSTILE_REPORT=path` has what was measured written to that file, as a Markdown table.
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import trustme

from .report import ROWS, Names, report
from .siege import Siege, Victim, besiege

if not sys.platform.startswith("linux"):  # what a process uses is read from /proc
    collect_ignore_glob = ["test_*.py"]

StartVictim = Callable[..., Victim]


@pytest.fixture(scope="module")
def start_victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartVictim]:
    """Start a process to be attacked; it must live until the tests of the module are over."""
    folder = tmp_path_factory.mktemp("victim")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    victims: list[Victim] = []

    def start(**options: int) -> Victim:
        victim = Victim(folder, tls, **options)
        victims.append(victim)
        return victim

    yield start
    for victim in victims:
        victim.stop()


@pytest.fixture(scope="module")
def victim(start_victim: StartVictim) -> Victim:
    return start_victim()


@pytest.fixture
async def siege(victim: Victim, names: Names) -> AsyncIterator[Siege]:
    """Attack the module's victim; what holds for every attack is asserted when the test is done."""
    async with besiege(victim, names) as siege:
        yield siege


@pytest.fixture
def names(request: pytest.FixtureRequest) -> Names:
    """What stands in the report."""
    test = request.node
    theme = test.module.__doc__.partition("\n")[0]
    function = getattr(test.module, test.originalname)  # pytest-trio has wrapped test.function
    name = function.__doc__.partition("\n")[0].rstrip(".")
    way = test.callspec.id if hasattr(test, "callspec") else ""
    return theme, f"{test.path.name}::{test.originalname}", name, way


def pytest_sessionfinish() -> None:
    if ROWS and (path := os.environ.get("HOSTILE_REPORT")):
        Path(path).write_text(report())
