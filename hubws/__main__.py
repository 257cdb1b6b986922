"""`python -m hubws` and the command `hubws`."""

from __future__ import annotations

import os
import signal
import sys

EXTRA = ("cyclopts", "rich")
"""The packages of the extra `cli`."""

MISSING = 3
"""The exit status when one of them is not there; see `docs/cli.md`."""


def main() -> int:
    """Run the command line; returns the exit status."""
    _fill_standard_descriptors()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback, wherever Ctrl-C comes
    try:
        from .cli.app import main as run_commands  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        print(
            f"hubws: the command line needs {error.name}: pip install 'hubws[cli]'",
            file=sys.stderr,
        )
        return MISSING
    return run_commands()


def _fill_standard_descriptors() -> None:
    """Open those that were closed by who started us: else sockets get their numbers, and our output."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


if __name__ == "__main__":
    sys.exit(main())
