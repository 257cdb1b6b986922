"""What was measured, as files: results.json keeps it, RESULTS.md shows it."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .verdict import BEHAVIORS, Verdict

HOW = ("role", "codec", "transport", "style", "through", "cases", "messages")
"""What tells one combination from another."""

INTRODUCTION = """\
# Results

Written by `python -m compliance ... --record`, from what it measured and nothing else;
[README.md](README.md) says what the columns mean. Counted is the worst that a case did in any of the
runs. Required in every row: 514 OK, 3 INFORMATIONAL and 517 clean closes, or 244, 3 and 247 for `core`.
"""


def describe_machine(suite_versions: Mapping[str, str]) -> dict[str, str]:
    """What a result can depend on, besides the combination."""
    commit = _output("git", "rev-parse", "--short", "HEAD")
    if _output("git", "--no-optional-locks", "status", "--porcelain", "../hubws"):
        commit += " and changes"
    facts = {
        "CPU": f"{_cpu_model()}, {os.cpu_count()} cores",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "hubws": f"{_version('hubws')} {commit}",
        "trio": _version("trio"),
        "zlib-ng": _version("zlib-ng"),
        "nginx": _output("nginx", "-v").rpartition("/")[2],
        "haproxy": _output("haproxy", "-v"),
    }
    facts |= {f"suite: {name}": version for name, version in suite_versions.items()}
    return {name: value for name, value in facts.items() if value}


def save(
    folder: Path,
    how: Mapping[str, str | int],
    verdict: Verdict,
    seconds: Sequence[float],
    machine: Mapping[str, str],
) -> None:
    """Put a combination into the files, in the place of an older result of the same."""
    path = folder / "results.json"
    records: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    record = {
        **{name: how[name] for name in HOW},
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M"),
        "runs": verdict.runs,
        "seconds": [round(each, 1) for each in seconds],
        "counts": verdict.counts,
        "clean closes": verdict.clean_closes,
        "as required": verdict.is_met,
        "deviations": [
            {"case": one.case, "behaviors": one.behaviors, "closes": one.closes}
            for one in verdict.deviations
        ],
        "problems": verdict.problems,
        "machine": dict(machine),
    }
    records = [one for one in records if any(one[name] != how[name] for name in HOW)]
    records.append(record)
    records.sort(key=lambda one: [one[name] for name in HOW])
    path.write_text(json.dumps(records, indent=1) + "\n")
    (folder / "RESULTS.md").write_text(render(records))


def render(records: Sequence[Mapping[str, Any]]) -> str:
    """RESULTS.md: a row for each combination, what was not as required, and on what machine."""
    machines: list[Mapping[str, str]] = []
    for record in records:
        if record["machine"] not in machines:
            machines.append(record["machine"])
    head = [
        *HOW,
        "worst of",
        *BEHAVIORS,
        "clean closes",
        "as required",
        "seconds",
        "date (UTC)",
        "on",
    ]
    rows = [
        [
            *(record[name] for name in HOW),
            record["runs"],
            *(record["counts"][behavior] for behavior in BEHAVIORS),
            record["clean closes"],
            "yes" if record["as required"] else "**no**",
            f"{max(record['seconds']):.0f}",
            record["date"],
            machines.index(record["machine"]) + 1,
        ]
        for record in records
    ]
    text = [INTRODUCTION, _table([head, *rows])]
    for record in records:
        if not record["as required"]:
            text += ["", f"Not as required ({', '.join(str(record[name]) for name in HOW)}):", ""]
            text += [
                f"- {one['case']}: {_in_runs(one['behaviors'])}; closed: {_in_runs(one['closes'])}"
                for one in record["deviations"]
            ]
            text += [f"- {problem.partition(chr(10))[0]}" for problem in record["problems"]]
    for number, machine in enumerate(machines, 1):
        text += ["", f"## On: {number}", "", _table([["", ""], *map(list, machine.items())])]
    return "\n".join(text) + "\n"


def _in_runs(words: Sequence[str]) -> str:
    """Such as: OK 4, NON-STRICT 1."""
    return ", ".join(f"{word} {words.count(word)}" for word in sorted(set(words)))


def _table(rows: Sequence[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _output(*command: str) -> str:
    """The first line that a command prints, or "" where there is no such command or it fails."""
    path = shutil.which(command[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        return ""
    done = subprocess.run(
        [path, *command[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return done.stdout.partition("\n")[0].strip() if done.returncode == 0 else ""
