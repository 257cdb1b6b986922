"""Gigabytes of numbered messages through faults: `python -m tests.faults.long --gigabytes 1 --seed 1`.

One process for each codec; in it, one round after the other, of every transport with compression and
without, each with a seed of its own. Prints what each round came to and ends with 1 after violations.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import resource
import ssl
import subprocess
import sys
import time
from collections import defaultdict

import trio
import trustme

from tests.faults.sequences import TRANSPORTS, Report, exchange

CODECS = {"native": "require", "pure": "never"}
"""What HUBWS_NATIVE is for each."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.long", description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1, help="received in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--round", type=float, default=16, help="megabytes in a round")
    parser.add_argument("--codec", choices=CODECS, help="run one, in this process")
    arguments = parser.parse_args()
    if arguments.codec is not None:
        return run(
            arguments.codec, arguments.gigabytes * 1e9, arguments.round * 1e6, arguments.seed
        )
    returncodes = [
        subprocess.run(
            [
                *(sys.executable, "-m", "tests.faults.long", "--codec", codec),
                *("--gigabytes", str(arguments.gigabytes / len(CODECS))),
                *("--seed", str(arguments.seed), "--round", str(arguments.round)),
            ],
            env=os.environ | {"HUBWS_NATIVE": native},
            check=False,
        ).returncode
        for codec, native in CODECS.items()
    ]
    return int(any(returncodes))  # one that was killed has a negative one


def run(codec: str, size: float, round_size: float, seed: int) -> int:
    """Exchange so many bytes; returns 1 if anything was wrong, else 0."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    sums: defaultdict[str, Report] = defaultdict(Report)
    total = Report()
    began = time.monotonic()
    combinations = itertools.cycle(itertools.product(TRANSPORTS, (False, True)))
    for number in itertools.count():
        transport, compression = next(combinations)
        report = trio.run(
            functools.partial(
                exchange,
                transport,
                compression=compression,
                size=int(round_size),
                seed=seed * 1_000_000 + number,
                server_context=server,
                client_context=client,
            )
        )
        name = f"{codec} {transport} {'deflate' if compression else 'uncompressed'}"
        sums[name] += report
        total += report
        seconds = time.monotonic() - began
        print(f"[{seconds:6.1f} s] round {number}, {name}: {report}", flush=True)
        for violation in report.violations:
            print(f"VIOLATION in round {number} of {name}: {violation}", flush=True)
        if total.bytes >= size and number + 1 >= len(TRANSPORTS) * 2:
            break
    print(f"\n{codec} codec, seed {seed}, {seconds:.0f} s:")
    for name, report in sums.items():
        print(f"  {name}: {report}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  in all: {total}; peak memory {peak:.0f} MiB\n", flush=True)
    return 1 if total.violations else 0


if __name__ == "__main__":
    sys.exit(main())
