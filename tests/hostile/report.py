"""What the attacks of a run came to, as Markdown: docs/attacks.md."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from .advisories import APPLICABLE
from .attacker import Outcome

HEAD = """\
# Attacks

What hubws is attacked with in every test run, and what that came to. Written by the tests:

```console
$ HOSTILE_REPORT=docs/attacks.md .venv/bin/python -m pytest tests/hostile
```

A line is a test of `tests/hostile/`; its figures are those of the dearest of its ways: CPU time and
peak of memory of the process under attack, until nothing of the attack is left and somebody else has
been served, which is counted in. *By limits* is how much memory the settings allow it to fill, such as
a message of the largest size. An outcome is a close code, an HTTP status, the exception that a
client raises, or a word: *served*, it was within the rules; *held back*, no more is read until the
attacker reads; *ended*, the attacker had gone. [reliability.md](reliability.md) says what holds for
each.
"""

ADVISORIES = """\
## Advisories

What was published about others, and which attacks try it on hubws. `test_advisories.py` sees to it
that none is left out.

| advisory | what it was | tests |
|---|---|---|"""

Names: TypeAlias = tuple[str, str, str, str]
"""The first four of a `Row`: theme, test, name and way."""


@attrs.frozen
class Row:
    """What one attack came to."""

    theme: str
    """What its module is about."""
    test: str
    """Its module and function."""
    name: str
    """What its test does."""
    way: str
    """Which of the test's ways it is, if there are several."""
    outcome: Outcome
    cpu: float
    """In seconds."""
    memory: int
    """The peak above what there was before, in bytes."""
    fills: int
    """How much of that the victim's limits allow, in bytes."""
    lines: int
    """In the log."""


ROWS: list[Row] = []
"""All attacks of this run so far."""


def report() -> str:
    """A table for each module, a line for each test; then the advisories and who tests them.

    Where a test tries an attack in several ways, the figures are those of the dearest one.
    """
    tests = len({row.test for row in ROWS})
    lines = [HEAD, f"{tests} attacks, in {len(ROWS)} ways.", ""]
    for theme in dict.fromkeys(row.theme for row in ROWS):
        lines += [
            f"## {theme.rstrip('.')}",
            "",
            "| attack | ways | outcome | CPU, ms | memory, KiB | by limits, KiB | log lines |",
            "|---|---:|---|---:|---:|---:|---:|",
        ]
        for test in dict.fromkeys(row.test for row in ROWS if row.theme == theme):
            lines.append(_line([row for row in ROWS if row.test == test]))
        lines.append("")
    lines.append(ADVISORIES)
    for advisory, words in APPLICABLE.items():
        names = dict.fromkeys(row.test for row in ROWS if advisory in row.name + row.way)
        lines.append(f"| {advisory} | {words} | {', '.join(f'`{name}`' for name in names)} |")
    return "\n".join(lines) + "\n"


def _line(rows: list[Row]) -> str:
    name = rows[0].name
    named = [words for words in APPLICABLE if any(words in row.way for row in rows)]
    if more := ", ".join(words for words in named if words not in name):
        name += f" ({more})"
    outcomes = ", ".join(dict.fromkeys(str(row.outcome) for row in rows))
    cpu = max(row.cpu for row in rows) * 1000
    memory = max(0, *(row.memory >> 10 for row in rows))
    fills = max(row.fills >> 10 for row in rows)
    logged = max(row.lines for row in rows)
    return f"| {name} | {len(rows)} | {outcomes} | {cpu:.0f} | {memory:,} | {fills:,} | {logged} |"
