"""What is printed of a load test: a line while it runs, and tables at the end."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from .metrics import PERCENTILES
from .plan import Plan
from .result import MAIN_TRENDS, Result, Second, in_words

FIGURES = ("avg", "min", "med", "max", *(f"p{percent}" for percent in PERCENTILES))
"""Columns of the table of times."""

BAR = 20
"""Characters of the progress bar."""


def size_in_words(size: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} B" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def line_of(second: Second, plan: Plan) -> Text:
    """One second of it, in a line, with how far it has come."""
    at = second.number + 1
    share = min(at / plan.seconds, 1.0)
    done = round(share * BAR)
    noun = "users" if plan.scenario is not None else "connections"
    line = Text.assemble(
        f"{at:d}s ",
        ("━" * done, "cyan"),
        ("╌" * (BAR - done), "dim"),
        f" {second.active:,} {noun}  {second.sent:,} sent/s  {second.received:,} received/s",
    )
    for name in MAIN_TRENDS:
        if name in second.times:
            half, _, most, longest = second.times[name]
            line.append(
                f"  {name} p50 {in_words(half)} p99 {in_words(most)} max {in_words(longest)}"
            )
            break
    if second.errors:
        line.append(f"  {second.errors:,} errors", style="red")
    return line


def tables_of(result: Result) -> Iterator[Table | Text]:
    """All there is to say at the end."""
    yield Text(_headline(result), style="bold")
    yield _checks(result)
    yield _counts(result)
    yield _trends(result)
    for reason, count in result.total.errors.most_common():
        yield Text.assemble((f"{count:,} x ", "red"), reason)


def _headline(result: Result) -> str:
    words = [f"{result.active_maximum:,} at a time, {result.seconds:.1f} s"]
    if result.is_interrupted:
        words.append("interrupted")
    return ", ".join(words)


def _checks(result: Result) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, (passed, failed) in sorted(result.total.checks.items()):
        mark = Text("✗", style="red") if failed else Text("✓", style="green")
        share = f"{passed / (passed + failed):.2%}"
        table.add_row(mark, name, share, f"{passed:,} passed, {failed:,} failed")
    return table


def _counts(result: Result) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("counts")
    table.add_column("all", justify="right")
    table.add_column("a second", justify="right")
    for name, count in result.counts():
        rate = result.rate(name)
        if name.startswith("data_"):
            table.add_row(name, size_in_words(count), size_in_words(rate))
        else:
            table.add_row(name, f"{count:,}", f"{rate:,.1f}" if rate < 100 else f"{rate:,.0f}")
    passed, checked = result.total.checks_passed
    share = f"{passed / checked:.2%}" if checked else "-"
    table.add_row("checks", f"{checked:,}", share)
    return table


def _trends(result: Result) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("times")
    for name in FIGURES:
        table.add_column(name, justify="right")
    for name, trend in result.trends():
        table.add_row(name, *(in_words(trend.figure(figure)) for figure in FIGURES))
    return table
