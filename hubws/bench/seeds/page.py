"""What came of the seeds' benchmarks: SEEDS.md, and a table for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.text import Text

from .. import result
from .section import Section

WIDTH = 120

HEAD = """\
# The seeds' benchmarks

The documents that hubws began with make claims. Here each stands as it was written there, with the
hardware that it names, beside what `hubws bench seeds` measured on this machine: clients, servers and
proxy are processes of their own, over the loopback. Figures of different machines don't compare.
[../docs/bench.md](../docs/bench.md) says how times are measured.
"""


def page_of(sections: Sequence[Section], *, is_quick: bool) -> str:
    """All of it, as Markdown."""
    parts = [HEAD]
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    parts.append(f"Machine: {result.machine()}. {now}.\n")
    if is_quick:
        parts.append("**A quick run, a hundredth in size and time: these are no figures.**\n")
    for section in sections:
        parts += [
            f"## {section.title}\n",
            _wrapped(f"Document {section.document}. There: {section.theirs}"),
            _wrapped(f"Here: {section.ours}"),
            "| | in the document | hubws, here |\n|---|---|---|",
            *(
                f"| {_cell(row.what)} | {_cell(row.theirs)} | {_cell(row.ours)} |"
                for row in section.rows
            ),
            "",
        ]
        if section.remark:
            parts.append(_wrapped(section.remark))
    return "\n".join(parts).rstrip() + "\n"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def lines_of(section: Section) -> Iterator[Text]:
    """One of them, for people at a terminal."""
    yield Text(section.title, style="bold")
    for row in section.rows:
        yield Text(f"  {row.what}")
        yield Text.assemble(("    there ", "dim"), row.theirs)
        yield Text.assemble(("    here  ", "dim"), (row.ours, "cyan"))
