"""Shows what the hub's promises come to on this machine: `python benchmarks/hub.py --help`."""

import argparse
import dataclasses
import importlib.metadata
import json
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path

import machine
from hub_measures import MEASURES, QUICK, Plan, Row, Section
from loads import BUILD, HERE
from measure import MeasurementError, cores, raise_file_limit
from report import _markdown_table as markdown_table


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=MEASURES, metavar="NAME", help=", ".join(MEASURES)
    )
    parser.add_argument("--rounds", type=int, default=Plan.rounds, help=f"default: {Plan.rounds}")
    parser.add_argument(
        "--quick", action="store_true", help="a little of everything: does it work?"
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="folder for HUB.md, hub.json and charts/; default: beside this file after a whole run, "
        "build/ after a partial one",
    )
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds must be positive")
    whole = not (arguments.quick or arguments.only)
    arguments.output = arguments.output or (HERE if whole else BUILD)
    return arguments


def say(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)


def cells(row: Row) -> list[str]:
    if row.figure is None:
        return [row.what, "", "", "", row.unit, row.target, row.check]
    digits = 0 if row.figure >= 100 else 1 if row.figure >= 10 else 2
    figures = [f"{value:,.{digits}f}" for value in (row.figure, min(row.values), max(row.values))]
    return [row.what, *figures, row.unit, row.target, row.check]


def table(section: Section) -> str:
    head = ["", "median", "min", "max", "unit", "target", "check"]
    figures = markdown_table([head, *map(cells, section.rows)], 1)
    why: dict[str, list[str]] = {}
    for row in section.rows:
        if row.figure is None or row.note:
            why.setdefault(f"{row.check}, {row.note or 'for no known reason'}", []).append(row.what)
    notes = [f"- {note}: {'; '.join(rows)}" for note, rows in why.items()]
    return "\n".join([figures, "", *notes]) if notes else figures


def facts(busy: float) -> dict[str, str]:
    found: dict[str, str] = machine.describe()
    found["zlib"] = zlib.ZLIB_RUNTIME_VERSION
    try:
        found["zlib-ng"] = importlib.metadata.version("zlib-ng")
    except importlib.metadata.PackageNotFoundError:
        found["zlib-ng"] = "not installed"
    found["in use by others before"] = f"{busy:.0%} of the processors"
    return found


def write_files(
    folder: Path, sections: Mapping[str, Section], found: Mapping[str, str], how: str
) -> None:
    charts = folder / "charts"
    charts.mkdir(parents=True, exist_ok=True)
    text = [
        "# What the hub's promises come to\n",
        f"Written by `hub.py`. {how}\n",
        markdown_table([["", ""], *([name, value] for name, value in found.items())], 2) + "\n",
    ]
    for name, section in sections.items():
        text += [f"## {section.title}\n", section.how + "\n", table(section) + "\n"]
        if section.chart:
            (charts / f"hub-{name}.svg").write_text(section.chart)
            text.append(f"![{section.title}](charts/hub-{name}.svg)\n")
    (folder / "HUB.md").write_text("\n".join(text))
    record = {
        "machine": found,
        "how": how,
        "sections": {
            name: {
                "title": section.title,
                "rows": [
                    dataclasses.asdict(row) | {"median": row.figure, "check": row.check}
                    for row in section.rows
                ],
                "raw": section.raw,
            }
            for name, section in sections.items()
        },
    }
    (folder / "hub.json").write_text(json.dumps(record, indent=1) + "\n")


def main() -> int:
    """Returns the exit status: 1 when something could not be measured."""
    arguments = parse_arguments()
    busy = machine.busy_share()
    found = facts(busy)  # now, for the folder may change meanwhile
    server_core, sink_core = cores()
    raise_file_limit()
    plan = QUICK if arguments.quick else Plan(rounds=arguments.rounds)
    if busy > machine.BUSY:
        unclear = f"others used {busy:.0%} of the processors before, and this is wall time"
        plan = dataclasses.replace(plan, unclear=unclear)
    sections: dict[str, Section] = {}
    for name, measure in MEASURES.items():
        if arguments.only and name not in arguments.only:
            continue
        try:
            section = measure(plan, say)
        except MeasurementError as error:
            section = Section(name, "", [Row(name, "", note=str(error))])
        say("")
        sections[name] = section
        print(f"{section.title}\n{table(section)}\n", flush=True)
    how = f"Rounds: {plan.rounds}, medians; server on core {server_core}, clients on core {sink_core}."
    if busy > machine.BUSY:
        how += (
            f" The machine was busy with other work: others used {busy:.0%} of the processors before "
            f"the run began. Times and rates suffer from that and are not judged; CPU time suffers "
            f"less, memory not at all."
        )
    write_files(arguments.output, sections, found, how)
    print(f"Written: {arguments.output / 'HUB.md'}")
    return any(row.figure is None for section in sections.values() for row in section.rows)


if __name__ == "__main__":
    sys.exit(main())
