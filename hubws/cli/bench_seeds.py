"""`hubws bench seeds`: the benchmarks of the documents that hubws began with."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import attrs
import trio
from cyclopts import Parameter

from .options import CommonOptions
from .running import Run, Status, run

EXAMPLES = """
hubws bench seeds  # all of them, about six minutes
hubws bench seeds chat push --quick
"""


def seeds(
    *names: str,
    quick: Annotated[bool, Parameter(negative=())] = False,
    million: int = 30_000,
    processes: Annotated[int, Parameter(name=["--processes", "-p"])] = 1,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    json: Annotated[bool, Parameter(negative=())] = False,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative=())] = False,
) -> int:
    """Reproduce the benchmarks that hubws was measured by first, and write SEEDS.md.

    Args:
        names: proxy, tps, traffic, memory, million, chat, rate, push; all of them by default.
        quick: a hundredth in size and time, to see that they work; the figures mean nothing.
        million: how many connections stand for a million.
        processes: that share the clients.
        output: where to write; by default benchmarks/SEEDS.md where there is such a folder, else
            SEEDS.md.
        json: one JSON object a line, for programs.
        quiet: nothing on standard error but errors.

    """
    if not 1 <= million <= 1_000_000:
        raise ValueError(f"--million must be 1 to 1,000,000 connections, not {million}")
    folder = Path("benchmarks")
    path = output or (folder if folder.is_dir() else Path()) / "SEEDS.md"
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}")
    options = CommonOptions(json=json, quiet=quiet)
    sizes = {"quick": quick, "million": million, "processes": processes}
    return run(partial(_seeds, names, path, sizes), options)


async def _seeds(names: tuple[str, ...], path: Path, sizes: dict[str, Any], run: Run) -> Status:
    from ..bench.seeds.page import lines_of, page_of  # noqa: PLC0415 - needs hdrhistogram
    from ..bench.seeds.run import SEEDS, check_names  # noqa: PLC0415
    from ..bench.seeds.section import Scale, Section  # noqa: PLC0415

    check_names(names)
    output = run.output
    scale = Scale(**sizes, say=output.note)
    sections: list[Section] = []
    for name in names or SEEDS:
        output.note(f"{name}:")
        section = await SEEDS[name](scale)
        sections.append(section)
        for line in lines_of(section):
            output.say(line)
        output.record(event="section", name=name, **attrs.asdict(section))
        await output.flush()
    await trio.Path(path).write_text(page_of(sections, is_quick=scale.quick))
    output.note(f"written to {path}")
    return Status.DONE
