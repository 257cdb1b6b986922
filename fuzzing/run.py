"""Fuzz the protocol with Atheris (PyPI `atheris`; libFuzzer under Python).

    python fuzzing/run.py [TARGET...] [--seconds N]
    python fuzzing/run.py TARGET --replay FILE

The corpus is kept in build/fuzzing/TARGET. An input that breaks a target's invariant is written to
build/fuzzing/TARGET-crashes; `--replay` shows what it does, without Atheris. Once that is mended,
it belongs into fuzzing/regressions/TARGET, which the tests replay.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from hashlib import sha1
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from fuzzing.targets import NAMES  # noqa: E402 - what is fuzzed is imported later, instrumented

BUILD = ROOT / "build/fuzzing"
MAX_LENGTH = 4096  # bytes


def replay(name: str, path: Path) -> None:
    """Run one input, which raises if it breaks the invariant."""
    import_module(f"fuzzing.targets.{name}").check(path.read_bytes())
    print(f"{path} keeps to the invariant of {name}")


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in this process, and exit."""
    import atheris  # noqa: PLC0415 - only fuzzing needs it

    corpus, crashes = BUILD / name, BUILD / f"{name}-crashes"
    corpus.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(exist_ok=True)
    with atheris.instrument_imports(include=["hubws"]):
        target = import_module(f"fuzzing.targets.{name}")
    for seed in target.seeds():
        if len(seed) <= MAX_LENGTH:
            (corpus / sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={MAX_LENGTH}",
        f"-artifact_prefix={crashes}/",
        "-timeout=20",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.check)
    atheris.Fuzz()


def fuzz_all(names: list[str], seconds: int) -> int:
    """Fuzz targets one after the other, each in a process of its own; returns how many failed."""
    failed = 0
    print("| target | executions | a second | coverage | corpus | result |")
    print("|---|---:|---:|---:|---:|---|")
    for name in names:
        # the pure codec is instrumented too, and so shows the fuzzer where to look
        environment = {**os.environ, "HUBWS_NATIVE": "never"}
        command = [sys.executable, __file__, name, "--seconds", str(seconds), "--here"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        progress = re.findall(r"#(\d+)\s.*cov: (\d+).*corp: (\d+)/.*exec/s: (\d+)", done.stderr)
        count, coverage, corpus, speed = progress[-1] if progress else ("0",) * 4
        result = "no finding" if done.returncode == 0 else "failed"
        print(f"| {name} | {count} | {speed} | {coverage} | {corpus} | {result} |", flush=True)
        if done.returncode:
            failed += 1
            print(done.stderr[-3000:], file=sys.stderr)
    return failed


def main() -> None:
    """Fuzz, or replay one input."""
    parser = argparse.ArgumentParser(description="Fuzz the protocol.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(NAMES))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one input")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in options.targets:
        if name not in NAMES:
            parser.error(f"{name} is no target; these are: {', '.join(NAMES)}")
    if (options.replay or options.here) and len(options.targets) != 1:
        parser.error("this takes one target")
    if options.replay:
        replay(options.targets[0], options.replay)
    elif options.here:
        fuzz(options.targets[0], options.seconds)
    else:
        sys.exit(fuzz_all(options.targets or NAMES, options.seconds))


if __name__ == "__main__":
    main()
