"""Runs the Autobahn test suite against hubws and says whether the result is what is required."""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import time
from collections.abc import Iterator, Sequence

import attrs
import trio

from .record import describe_machine, save
from .run import Combination, Plan, run
from .suite import HERE, Suite, SuiteError, explain, open_suite
from .verdict import Run, Verdict, is_as_required, judge

MESSAGES = {"core": 50, "fast": 50, "full": 1000}
MINUTES = {"core": 5, "fast": 10, "full": 60}
BUILD = HERE / "build"
"""Where logs and reports go."""
SHOWN = 20
"""How many cases that are not as required are explained."""

EVERYTHING = (
    "server client --codec native pure --repeat 5",
    "server client --codec native pure --transport stream",
    "server client --style iterate --transport socket stream",
    "server client --through TLS nginx haproxy",
    "server client --cases full",
)
"""What RESULTS.md shows, as command lines."""


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read a command line, by default this program's own."""
    parser = argparse.ArgumentParser(prog="python -m compliance", description=__doc__)
    add = parser.add_argument
    add("role", nargs="+", choices=["server", "client", "everything"], help="what hubws is")
    add("--cases", choices=["core", "fast", "full"], default="fast",
        help="core: without 9.*, 12.* and 13.*; fast: all, with 50 messages in each compression "
        "case; full: all, with 1,000; default: fast")  # fmt: skip
    add("--codec", nargs="+", choices=["native", "pure"], default=["native"])
    add("--transport", nargs="+", choices=["socket", "stream"], default=["socket"])
    add("--style", nargs="+", choices=["callbacks", "iterate"], default=["callbacks"])
    add("--through", nargs="+", choices=["nothing", "TLS", "nginx", "haproxy"],
        default=["nothing"], help="what stands between hubws and the suite")  # fmt: skip
    add("--repeat", type=int, default=1, metavar="N", help="the worst of N runs counts")
    add("--jobs", type=int, default=4, help="fuzzers at once, most of which wait; default: 4")
    add("--messages", type=int, metavar="N", help="other than 50 or 1,000")
    add("--record", action="store_true", help="write the results into RESULTS.md and results.json")
    arguments = parser.parse_args(words)
    if arguments.repeat < 1 or arguments.jobs < 1:
        parser.error("--repeat and --jobs must be positive")
    return arguments


def combinations(arguments: argparse.Namespace) -> Iterator[Combination]:
    """All that the arguments allow for; TLS is always a stream."""
    for role, codec, transport, style, through in itertools.product(
        arguments.role, arguments.codec, arguments.transport, arguments.style, arguments.through
    ):
        yield Combination(
            role=role,
            codec=codec,
            transport="stream" if through == "TLS" else transport,
            style=style,
            through=through,
            cases=arguments.cases,
        )


def say(text: str) -> None:
    """Print at once, also into a file: runs take minutes."""
    print(text, flush=True)


def measure(combination: Combination, arguments: argparse.Namespace, suite: Suite) -> Verdict:
    """Run a combination as often as asked for, and tell how it went."""
    cases = combination.choose(suite.cases)
    plan = Plan(
        jobs=arguments.jobs,
        messages=arguments.messages or MESSAGES[combination.cases],
        minutes=MINUTES[combination.cases],
    )
    runs: list[Run] = []
    seconds: list[float] = []
    for number in range(1, arguments.repeat + 1):
        folder = BUILD / "-".join(attrs.astuple(combination)) / str(number)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        start = time.monotonic()
        runs.append(trio.run(run, combination, cases, suite, plan, folder))
        seconds.append(time.monotonic() - start)
    verdict = judge(cases, runs)
    counts = ", ".join(f"{count} {word}" for word, count in verdict.counts.items() if count)
    say(
        f"{'as required' if verdict.is_met else 'NOT AS REQUIRED'}: {combination}, "
        f"{max(seconds):.0f} s, worst of {verdict.runs}: {counts}; "
        f"{verdict.clean_closes} closed cleanly"
    )
    for deviation in verdict.deviations[:SHOWN]:
        say(f"  {deviation.case}: {deviation.behaviors}, closed: {deviation.closes}")
        for each in runs:
            it = each.judgements.get(deviation.case)
            if it is not None and not is_as_required(deviation.case, it):
                say(f"    {explain(it)}\n    {it.report}")
    if len(verdict.deviations) > SHOWN:
        say(f"  and {len(verdict.deviations) - SHOWN} more")
    for problem in verdict.problems:
        say(f"  {problem}")
    if arguments.record:
        how = attrs.asdict(combination) | {"messages": plan.messages}
        save(HERE, how, verdict, seconds, describe_machine(suite.versions))
    return verdict


def main() -> int:
    """Returns the exit status: 1 unless all is as required."""
    arguments = parse_arguments()
    all_arguments = [arguments]
    if "everything" in arguments.role:
        all_arguments = [parse_arguments(line.split()) for line in EVERYTHING]
        for each in all_arguments:
            each.jobs, each.record = arguments.jobs, arguments.record
    try:
        suite = open_suite()
        verdicts = [
            measure(combination, each, suite)
            for each in all_arguments
            for combination in combinations(each)
        ]
    except SuiteError as error:
        print(error, file=sys.stderr)
        return 1
    return not all(verdict.is_met for verdict in verdicts)


if __name__ == "__main__":
    sys.exit(main())
