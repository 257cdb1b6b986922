"""Figures that pages repeat are those of the page, or the record, that they come from."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

from .pages import ROOT

README = ROOT / "README.md"
RELIABILITY = ROOT / "docs/reliability.md"

LOADS = ("pipelined", "ping-pong", "broadcast-10", "idle")
"""Of the README's table, by column."""
SERVERS = {
    "**hubws, callbacks**": "hubws callbacks",
    "**hubws, `async for`**": "hubws iterate",
    "picows on uvloop": "picows",
    "gorilla (Go)": "gorilla (Go)",
    "aiohttp on uvloop": "aiohttp",
    "websockets, asyncio on uvloop": "websockets asyncio",
    "trio-websocket": "trio-websocket",
}


def rows(path: Path, heading: str = "") -> Iterator[list[str]]:
    """The cells of a page's tables, row by row, from a heading on."""
    text = path.read_text(encoding="utf-8")
    for line in text[text.index(heading) :].splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def measured(load: str, server: str) -> str:
    """The median of a recorded benchmark, as the README writes it; nothing where none was taken."""
    loads = json.loads((ROOT / "benchmarks/results.json").read_text(encoding="utf-8"))["loads"]
    if load == "broadcast-10" and server == "hubws callbacks":
        server = "hubws"  # where nothing is received there is one style
    outcome = loads[load].get(server)
    if outcome is None or not outcome["reports"]:
        return ""
    if load == "idle":
        taken = statistics.median(one["rss_megabytes"] for one in outcome["reports"])
        return f"{round(taken, 1):.0f} MB"  # by way of RESULTS.md, which has one decimal
    taken = statistics.median(one["messages_per_second"] for one in outcome["reports"])
    return f"{taken / 1000:,.0f} k"


def test_the_readme_has_the_recorded_medians() -> None:
    table = {row[0]: row[1:] for row in rows(README, "<!-- benchmark table -->")}
    for name, server in SERVERS.items():
        shown = [cell.strip("*") for cell in table[name]]
        assert shown == [measured(load, server) for load in LOADS], name


def test_the_design_has_the_recorded_memory() -> None:
    text = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    callbacks, iterating = (
        measured("idle", f"hubws {style}") for style in ("callbacks", "iterate")
    )
    assert f"measured are {callbacks} with callbacks and {iterating} with `async for`" in text


def test_the_dearest_attacks_are_among_the_attacks() -> None:
    attacks = list(rows(ROOT / "docs/attacks.md"))
    known = {re.sub(r" \((?:[A-Z]|ws )[^)]*\d[^)]*\)$", "", row[0]): row[2:] for row in attacks}
    shown = list(rows(RELIABILITY, "The dearest of them"))[1:10]
    assert len(shown) == 9
    for name, *figures in shown:
        assert known[name][: len(figures)] == figures, name


@pytest.mark.parametrize("page", ["docs/reliability.md", "docs/security.md"])
def test_the_number_of_attacks(page: str) -> None:
    text = (ROOT / "docs/attacks.md").read_text(encoding="utf-8")
    found = re.search(r"^(\d+) attacks, in (\d+) ways\.$", text, re.MULTILINE)
    assert found is not None
    shown = re.search(r"\[(\d+) attacks(?: in (\d+) ways)?\]", (ROOT / page).read_text("utf-8"))
    assert shown is not None
    assert shown[1] == found[1]
    assert shown[2] in (None, found[2])


def test_what_fuzzing_came_to() -> None:
    text = " ".join(RELIABILITY.read_text(encoding="utf-8").split())
    page = ROOT / "fuzzing/README.md"
    targets = list(rows(page, "| target | invariant |"))[1:10]
    assert "Nine targets state" in text
    executions = sum(int(row[2].replace(",", "")) for row in targets)
    assert f"{executions / 1e6:.1f} million executions" in text
    rules = [row for row in rows(page, "| rule | why |") if len(row) == 4]
    assert f"by one of {len(rules) - 1} rules" in text
    (totals,) = (row for row in rows(page, "## Mutation testing") if row[0] == "**all**")
    _, mutants, tried, _, killed, _, survivors, _ = totals
    number, share = killed.strip("*").split(", ")
    assert (
        f"of {tried} mutants, of {mutants} that there are, `tests/protocol` kill {number}, "
        f"**{share}**" in text
    )
    assert f"the {survivors} survivors" in text


def test_every_run_of_autobahn_is_as_required() -> None:
    runs = [row for row in rows(ROOT / "compliance/RESULTS.md") if row[0] in ("client", "server")]
    assert {(row[0], row[1], row[2]) for row in runs} == {
        (role, codec, transport)
        for role in ("client", "server")
        for codec in ("native", "pure")
        for transport in ("socket", "stream")
    }
    for row in runs:
        assert row[8:15] == ["514", "3", "0", "0", "0", "0", "517"], row


@pytest.mark.parametrize("page", ["docs/semantics.md", "docs/security.md"])
def test_the_memory_of_compression(page: str) -> None:
    (defaults,) = (row for row in rows(ROOT / "benchmarks/COMPRESSION.md") if row[0] == "defaults")
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    zlib, zlib_ng = (round(float(cell)) for cell in defaults[1:])
    assert f"{zlib} KB" in text
    assert f"{zlib_ng} KB with zlib-ng" in text
