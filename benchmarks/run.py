"""Measures hubws and its peers in turns on this machine: `python benchmarks/run.py --help`."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import machine
from loads import BUILD, HERE, LOADS, Load, Server
from measure import MeasurementError, build, cores, measure, raise_file_limit
from report import Outcome, load_table, target_table, write_files


class Progress:
    """Says on standard error what runs and how long is left."""

    def __init__(self, runs: int) -> None:
        self.runs = runs
        self.done = 0
        self.start = time.monotonic()
        self.on_terminal = sys.stderr.isatty()

    def show(self, what: str) -> None:
        left = ""
        if self.done > 0:
            per_run = (time.monotonic() - self.start) / self.done
            left = f", about {per_run * (self.runs - self.done) / 60:.1f} min left"
        line = f"[{self.done + 1}/{self.runs}{left}] {what}"
        print(f"\r\033[K{line}" if self.on_terminal else line, end="", file=sys.stderr, flush=True)

    def finished(self, how: str, *, keep: bool = False) -> None:
        self.done += 1
        end = "\n" if keep or not self.on_terminal or self.done == self.runs else ""
        print(f": {how}", end=end, file=sys.stderr, flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--loads", nargs="+", choices=[load.name for load in LOADS], help="default: all"
    )
    parser.add_argument(
        "--servers", nargs="+", metavar="NAME", help="beginnings of names, such as hubws picows"
    )
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run; default: 2")
    parser.add_argument("--quick", action="store_true", help="one round of half a second")
    parser.add_argument(
        "--output",
        type=Path,
        help="folder for results.json, RESULTS.md and charts/; default: beside this file after a "
        "whole run, build/ after a partial one, so that it never replaces the record",
    )
    arguments = parser.parse_args()
    whole = not (arguments.quick or arguments.loads or arguments.servers)
    if arguments.quick:
        arguments.rounds, arguments.seconds = 1, 0.5
    if arguments.rounds < 1 or arguments.seconds <= 0:
        parser.error("--rounds and --seconds must be positive")
    arguments.output = arguments.output or (HERE if whole else BUILD)
    return arguments


def chosen_servers(load: Load, beginnings: Sequence[str] | None) -> list[Server]:
    return [s for s in load.servers if beginnings is None or s.name.startswith(tuple(beginnings))]


def run_in_turns(
    servers: dict[Load, list[Server]], omitted: dict[str, str], rounds: int, seconds: float
) -> dict[str, dict[str, Outcome]]:
    """Every round runs every server once under each load, beginning with another server each time.

    So a slow minute of the machine touches all servers alike, and the medians leave it out.
    """
    results = {
        load.name: {s.name: Outcome(omitted=omitted.get(s.name, "")) for s in servers[load]}
        for load in servers
    }
    runnable = {
        load: [s for s in chosen if s.name not in omitted] for load, chosen in servers.items()
    }
    progress = Progress(
        sum(min(rounds, load.rounds_at_most) * len(runnable[load]) for load in servers)
    )
    for turn in range(rounds):
        for load, chosen in runnable.items():
            if turn >= load.rounds_at_most:
                continue
            first = turn % len(chosen) if chosen else 0
            for server in chosen[first:] + chosen[:first]:
                progress.show(f"round {turn + 1}, {load.name}, {server.name}")
                outcome = results[load.name][server.name]
                try:
                    report = measure(server, load, seconds)
                except MeasurementError as error:
                    outcome.failures.append(str(error))
                    progress.finished(f"failed: {error}", keep=True)
                else:
                    outcome.reports.append(report)
                    progress.finished(f"{report[load.figure]:,.0f} {load.unit}")
    return results


def main() -> int:
    """Returns the exit status: 1 when any server failed."""
    arguments = parse_arguments()
    loads = [load for load in LOADS if not arguments.loads or load.name in arguments.loads]
    server_core, generator_core = cores()
    omitted = build()
    raise_file_limit()
    servers = {load: chosen_servers(load, arguments.servers) for load in loads}
    results = run_in_turns(servers, omitted, arguments.rounds, arguments.seconds)

    for load in loads:
        print(f"\n{load.title}\n{load_table(load, results[load.name])}")
    print(f"\nTargets\n{target_table(loads, results)}")
    how = (
        f"Rounds: {arguments.rounds}, {arguments.seconds:g} s each, medians; "
        f"server on core {server_core}, load generator on core {generator_core}."
    )
    write_files(arguments.output, loads, results, machine.describe(), how)
    print(f"\nWritten: {arguments.output / 'RESULTS.md'}")
    return any(outcome.failures for outcomes in results.values() for outcome in outcomes.values())


if __name__ == "__main__":
    sys.exit(main())
