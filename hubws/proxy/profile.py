"""A CPU profile of a running program, when a signal asks for it."""

from __future__ import annotations

import cProfile
import logging
import os
import signal
from pathlib import Path

import trio

logger = logging.getLogger("hubws")


async def profile_on_signal(
    path: str | os.PathLike[str],
    *,
    signal_number: int = signal.SIGUSR2,
    seconds: float = 10,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Wait for a signal, profile this thread, write what was found to a file; again and again.

    For a task beside the server; in the main thread, as signals want it. The first signal begins, and
    a second one, or the time, ends it. The file, replaced by each profile, is for `python -m pstats`.
    It costs nothing before the first signal, and slows the program down, about twice, while it runs.

    Args:
        path: where to write.
        signal_number: which signal; SIGUSR2 by default.
        seconds: the longest that one profile takes.
        task_status: started when the signal is listened for.

    """
    with trio.open_signal_receiver(signal_number) as signals:
        task_status.started()
        async for _ in signals:
            logger.warning("profiling for at most %g s", seconds)
            profile = cProfile.Profile()
            profile.enable()
            try:
                with trio.move_on_after(seconds):
                    await anext(signals)
            finally:
                profile.disable()
                _write(profile, Path(path))


def _write(profile: cProfile.Profile, path: Path) -> None:
    """Write all of it, or nothing: whoever waits for the file never sees half of one."""
    beginning = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        profile.dump_stats(beginning)
        beginning.replace(path)
    except OSError:
        logger.exception("the profile could not be written to %s", path)
    else:
        logger.warning("the profile was written to %s", path)
