"""What the attacks of a run came to, as Markdown."""

from __future__ import annotations

import re

import attrs

from .attacker import Outcome

ADVISORY = re.compile(r"(?:CVE|GHSA|OSV|PYSEC)-[\w-]+")


@attrs.frozen
class Row:
    """What one attack came to."""

    theme: str
    """What its module is about."""
    name: str
    """What its test does."""
    way: str
    """Which of the test's ways it is, if there are several."""
    outcome: Outcome
    cpu: float
    """In seconds."""
    memory: int
    """The peak above what there was before, in bytes."""
    lines: int
    """In the log."""


ROWS: list[Row] = []
"""All attacks of this run so far."""


def report() -> str:
    """A table for each module, a line for each test.

    Where a test tries an attack in several ways, the figures are those of the dearest one.
    """
    lines: list[str] = []
    for theme in dict.fromkeys(row.theme for row in ROWS):
        lines += [
            f"### {theme.rstrip('.')}",
            "",
            "| attack | ways | outcome | CPU, ms | memory, KiB | log lines |",
            "|---|---:|---|---:|---:|---:|",
        ]
        for name in dict.fromkeys(row.name for row in ROWS if row.theme == theme):
            rows = [row for row in ROWS if (row.theme, row.name) == (theme, name)]
            lines.append(_line(name, rows))
        lines.append("")
    return "\n".join(lines)


def _line(name: str, rows: list[Row]) -> str:
    advisories = dict.fromkeys(found for row in rows for found in ADVISORY.findall(row.way))
    if more := ", ".join(found for found in advisories if found not in name):
        name += f" ({more})"
    outcomes = ", ".join(dict.fromkeys(str(row.outcome) for row in rows))
    cpu = max(row.cpu for row in rows) * 1000
    memory = max(0, *(row.memory >> 10 for row in rows))
    logged = max(row.lines for row in rows)
    return f"| {name} | {len(rows)} | {outcomes} | {cpu:.0f} | {memory:,} | {logged} |"
