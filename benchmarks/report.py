"""Turns figures into tables, checks, charts and files."""

import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chart import Bar, bar_chart
from loads import TARGETS, Load, Target

REFERENCES = ("picows", "trio-websocket", "c_echo")


@dataclasses.dataclass
class Outcome:
    """All that was measured of one server under one load."""

    reports: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    failures: list[str] = dataclasses.field(default_factory=list)
    omitted: str = ""

    def values(self, figure: str) -> list[float]:
        return [report[figure] for report in self.reports]

    def median(self, figure: str) -> float:
        return statistics.median(self.values(figure))


Outcomes = Mapping[str, Outcome]  # by the server's name
Results = Mapping[str, Outcomes]  # by the load's name


def _ratio(load: Load, outcomes: Outcomes, server: str, against: str) -> float | None:
    """The ratio of two medians, where both exist."""
    if not (server in outcomes and against in outcomes):
        return None
    if not (outcomes[server].reports and outcomes[against].reports):
        return None
    base = outcomes[against].median(load.figure)
    return outcomes[server].median(load.figure) / base if base else None


def _cells(load: Load, outcomes: Outcomes, server: str) -> list[str]:
    outcome = outcomes[server]
    if not outcome.reports:
        return [server, "omitted" if outcome.omitted else "failed"]
    values = outcome.values(load.figure)
    digits = 1 if load.is_memory else 0
    cells = [server, f"{statistics.median(values):,.{digits}f}"]
    cells += [f"{min(values):,.{digits}f}", f"{max(values):,.{digits}f}"]
    if load.has_latency:
        cells += [f"{outcome.median('p50_us'):,.0f}", f"{outcome.median('p99_us'):,.0f}"]
    for reference in REFERENCES:
        ratio = _ratio(load, outcomes, server, reference)
        cells.append("" if ratio is None else f"{ratio:.2f}")
    return cells


def _note(server: str, outcome: Outcome) -> str:
    """Why a server is missing from a table, wholly or in some rounds; "" when it isn't."""
    if outcome.omitted:
        return f"- {server} omitted: {outcome.omitted}"
    if outcome.failures:
        rounds = len(outcome.failures) + len(outcome.reports)
        return f"- {server} failed in {len(outcome.failures)} of {rounds}: {outcome.failures[0]}"
    return ""


def _markdown_table(rows: Sequence[Sequence[str]], first_figure: int) -> str:
    """A Markdown table, padded so that it reads as well in a terminal.

    The first row is the head; columns from `first_figure` on are aligned to the right.
    """
    columns = len(rows[0])
    full = [[*row, *[""] * (columns - len(row))] for row in rows]
    widths = [max(len(row[i]) for row in full) for i in range(columns)]
    lines = []
    for row in full:
        cells = [
            cell.ljust(width) if i < first_figure else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"| {' | '.join(cells)} |")
    rules = [
        "-" * (width + 1) + ("-" if i < first_figure else ":") for i, width in enumerate(widths)
    ]
    return "\n".join([lines[0], f"|{'|'.join(rules)}|", *lines[1:]])


def load_table(load: Load, outcomes: Outcomes) -> str:
    """One load's table: a row for each server, the first column of figures the median."""
    head = ["server", load.unit, "min", "max"]
    if load.has_latency:
        head += ["p50 µs", "p99 µs"]
    head += [f"x {reference}" for reference in REFERENCES]
    table = _markdown_table([head, *(_cells(load, outcomes, server) for server in outcomes)], 1)
    notes = [note for server, outcome in outcomes.items() if (note := _note(server, outcome))]
    return "\n".join([table, "", *notes]) if notes else table


def _target_cells(load: Load, outcomes: Outcomes, target: Target) -> list[str]:
    sign = "<=" if load.is_memory else ">="
    if target.against is None:
        outcome = outcomes.get(target.server)
        measured = outcome.median(load.figure) if outcome and outcome.reports else None
        wanted, digits = f"{sign} {target.value:g} {load.unit}", 1
    else:
        measured = _ratio(load, outcomes, target.server, target.against)
        wanted, digits = f"{sign} {target.value:g} x {target.against}", 2
    if measured is None:
        return [load.name, target.server, wanted, "", "not measured"]
    met = measured <= target.value if load.is_memory else measured >= target.value
    return [
        load.name,
        target.server,
        wanted,
        f"{measured:.{digits}f}",
        "met" if met else "MISSED",
    ]


def target_table(loads: Sequence[Load], results: Results) -> str:
    """The targets of the loads that were run, each met or missed."""
    by_name = {load.name: load for load in loads}
    rows = [
        _target_cells(by_name[target.load], results[target.load], target)
        for target in TARGETS
        if target.load in by_name
    ]
    return _markdown_table([["load", "server", "target", "measured", "check"], *rows], 5)


def _chart(load: Load, outcomes: Outcomes) -> str:
    bars = []
    for server, outcome in outcomes.items():
        if outcome.reports:
            values = outcome.values(load.figure)
            kind = "limit" if server == "c_echo" else "peer"
            kind = "ours" if server.startswith("hubws") else kind
            bars.append(Bar(server, kind, min(values), statistics.median(values), max(values)))
    return bar_chart(f"{load.title} ({load.unit})", bars)


def write_files(
    folder: Path,
    loads: Sequence[Load],
    results: Results,
    machine: Mapping[str, str],
    how: str,
) -> None:
    """Writes results.json, RESULTS.md and charts/ into a folder."""
    charts = folder / "charts"
    charts.mkdir(parents=True, exist_ok=True)
    record = {
        "machine": machine,
        "how": how,
        "loads": {
            name: {server: dataclasses.asdict(outcome) for server, outcome in outcomes.items()}
            for name, outcomes in results.items()
        },
    }
    (folder / "results.json").write_text(json.dumps(record, indent=1) + "\n")
    text = [
        "# Results\n",
        (
            f"Written by `run.py`; see [README.md](README.md) for what each load means and "
            f"[NOTES.md](NOTES.md) for what was tried. {how}\n"
        ),
        _markdown_table([["", ""], *([name, value] for name, value in machine.items())], 2) + "\n",
        "## Targets\n",
        target_table(loads, results) + "\n",
    ]
    for load in loads:
        (charts / f"{load.name}.svg").write_text(_chart(load, results[load.name]))
        text += [
            f"## {load.title}\n",
            load_table(load, results[load.name]) + "\n",
            f"![{load.title}](charts/{load.name}.svg)\n",
        ]
    (folder / "RESULTS.md").write_text("\n".join(text))
