"""The result of a load test as one page that needs nothing else: figures, plots and tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from .plot import Line, line_plot
from .result import Result, in_words, machine
from .tables import FIGURES, size_in_words

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --text: #1f2328; --soft: #59636e; --edge: #d1d9e0;
  --card: #f6f8fa; --good: #1a7f37; --bad: #cf222e;
  --c0: #0969da; --c1: #bc4c00; --c2: #8250df; --c3: #6e7781 }
@media (prefers-color-scheme: dark) { :root { --ground: #0d1117; --text: #e6edf3; --soft: #9198a1;
  --edge: #3d444d; --card: #151b23; --good: #3fb950; --bad: #f85149;
  --c0: #58a6ff; --c1: #f0883e; --c2: #bc8cff; --c3: #8b949e } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 76rem; background: var(--ground);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.6rem; margin: 0; overflow-wrap: anywhere }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
.soft { color: var(--soft); margin: .25rem 0 1.25rem }
.cards { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)) }
.card { background: var(--card); border: 1px solid var(--edge); border-radius: .6rem;
  padding: .6rem .8rem }
.card b { display: block; font-size: 1.4rem; font-variant-numeric: tabular-nums }
.card span { color: var(--soft); font-size: .85rem }
.plots { display: grid; gap: 1rem; margin-top: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)) }
figure { margin: 0; background: var(--card); border: 1px solid var(--edge); border-radius: .6rem;
  padding: .7rem .8rem }
figcaption { font-weight: 600; display: flex; flex-wrap: wrap; gap: .2rem 1rem }
.legend { display: flex; flex-wrap: wrap; gap: 0 .9rem; font-weight: 400; font-size: .9rem }
.legend span::before { content: ""; display: inline-block; width: .9rem; height: .2rem;
  margin-right: .35rem; vertical-align: middle; background: var(--c) }
svg { display: block; width: 100%; height: auto }
svg text { font-size: 15px; fill: var(--soft) }
svg path { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round }
svg circle { fill: var(--c) }
svg .grid { stroke: var(--edge); stroke-width: 1 }
svg .mark { fill: transparent }
svg .mark:hover { fill: var(--text); fill-opacity: .1 }
.line0 { --c: var(--c0) } .line1 { --c: var(--c1) } .line2 { --c: var(--c2) } .line3 { --c: var(--c3) }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100% }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--edge); text-align: right;
  white-space: nowrap }
th:first-child, td:first-child { text-align: left }
thead th { color: var(--soft); font-weight: 600 }
.good { color: var(--good) } .bad { color: var(--bad) }
@media (max-width: 40rem) { svg text { font-size: 19px } }
ul { padding: 0; list-style: none }
"""

SHARES = (0, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 99.995, 99.999)
"""Percentiles of the plot of the distribution."""

NOTE = """Times of messages that were sent at a rate count from when each was to be sent, not from when
it could be: what a stalled server delayed is in them. ws_rtt_uncorrected counts from the sending."""


def page_of(result: Result, verdicts: Sequence[tuple[str, bool]] = ()) -> str:
    """The page, as HTML.

    Args:
        result: of the load test.
        verdicts: thresholds, as they were written, and whether they were crossed.

    """
    title = ", ".join(result.urls)
    began = result.began_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    ended = ", ended early" if result.is_interrupted else ""
    parts = [
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<link rel="icon" href="data:,"><title>Load test: {escape(title)}</title>',
        f"<style>{STYLE}</style></head><body>",
        f"<header><h1>{escape(title)}</h1>",
        f'<p class="soft">{began}, {result.seconds:.1f} s{ended}; {escape(machine())}</p></header>',
        "<main>",
        _verdicts(verdicts),
        _cards(result),
        '<div class="plots">',
        *_plots(result),
        "</div>",
        *_tables(result),
        f'<p class="soft">{escape(NOTE)}</p></main></body></html>',
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _verdicts(verdicts: Sequence[tuple[str, bool]]) -> str:
    if not verdicts:
        return ""
    items = (
        f'<li class="{"bad" if crossed else "good"}">{"✗ crossed" if crossed else "✓ kept"}: '
        f"{escape(text)}</li>"
        for text, crossed in verdicts
    )
    return f"<ul>{''.join(items)}</ul>"


def _cards(result: Result) -> str:
    counts = result.total.counts
    noun = "users" if result.plan.scenario is not None else "connections"
    cards = [
        (f"{result.active_maximum:,}", f"{noun} at a time"),
        (f"{result.rate('ws_msgs_sent'):,.0f}", "messages sent a second"),
        (f"{result.rate('ws_msgs_received'):,.0f}", "messages received a second"),
    ]
    trend = result.total.trends.get(result.main_trend)
    if trend is not None:
        cards += [
            (in_words(trend.figure(name)), f"{result.main_trend} {name}")
            for name in ("med", "p99", "max")
        ]
    errors = sum(result.total.errors.values())
    cards += [
        (size_in_words(counts["data_sent"] + counts["data_received"]), "on the wire, both ways"),
        (f"{errors:,}", "errors"),
    ]
    shown = (f'<div class="card"><b>{value}</b><span>{name}</span></div>' for value, name in cards)
    return f'<div class="cards">{"".join(shown)}</div>'


def _plots(result: Result) -> Iterator[str]:
    seconds = result.by_second
    last = result.seconds
    whole = [one for one in seconds if one.number + 1 <= last] or seconds  # not the rest at the end

    def at_second(value: float) -> str:
        return f"{value:g} s"

    def number(value: float) -> str:
        return (
            f"{value / 1e6:g}M"
            if value >= 1e6
            else f"{value / 1e3:g}k"
            if value >= 1e4
            else f"{value:g}"
        )

    yield line_plot(
        "Messages a second",
        [
            Line("sent", [(one.number, one.sent) for one in whole]),
            Line("received", [(one.number, one.received) for one in whole]),
        ],
        x_words=at_second,
        y_words=number,
    )
    name = result.main_trend
    yield line_plot(
        f"{name} in each second",
        [
            Line(figure, [(s.number, s.times[name][place]) for s in whole if name in s.times])
            for place, figure in enumerate(("p50", "p90", "p99", "max"))
        ],
        x_words=at_second,
        y_words=in_words,
    )
    trends = [
        one for one in ("ws_rtt", "ws_rtt_uncorrected", "ws_delivery") if one in result.total.trends
    ]
    yield line_plot(
        "Distribution: so many percent took no longer",
        [Line(one, _distribution(result, one)) for one in trends],
        x_words=lambda nines: f"{100 - 100 * 10**-nines:.6g}%",
        y_words=in_words,
        x_ticks=[-math.log10(1 - share / 100) for share in (50, 90, 99, 99.9, 99.99, 99.999)],
    )
    yield line_plot(
        "Connections" if result.plan.scenario is None else "Users",
        [Line("at a time", [(one.number, one.active) for one in whole])],
        x_words=at_second,
        y_words=number,
    )


def _distribution(result: Result, name: str) -> list[tuple[float, float]]:
    """Percentiles over the number of their nines, as far as there are times for them."""
    trend = result.total.trends[name]
    return [
        (-math.log10(1 - share / 100), trend.percentile(share))
        for share in SHARES
        if share < 100 * (1 - 1 / max(len(trend), 2))
    ]


def _tables(result: Result) -> Iterator[str]:
    if result.total.trends:
        rows = (
            [name, *(in_words(trend.figure(figure)) for figure in FIGURES)]
            for name, trend in result.trends()
        )
        yield _table("Times", ["", *FIGURES], rows)
    counted = []
    for name, count in result.counts():
        rate = result.rate(name)
        is_size = name.startswith("data_")
        counted.append(
            [name, size_in_words(count), size_in_words(rate)]
            if is_size
            else [name, f"{count:,}", f"{rate:,.1f}"]
        )
    yield _table("Counts", ["", "all", "a second"], counted)
    if result.total.checks:
        yield _table(
            "Checks",
            ["", "passed", "failed"],
            ([name, f"{one[0]:,}", f"{one[1]:,}"] for name, one in result.total.checks.items()),
        )
    if result.total.errors:
        errors = ([reason, f"{count:,}"] for reason, count in result.total.errors.most_common())
        yield _table("Errors", ["", "times"], errors)


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<h2>{escape(title)}</h2><div class="scroll" tabindex="0"><table><thead><tr>{heads}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )
