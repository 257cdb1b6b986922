"""Bar charts as SVG, readable on light and dark ground, without any library."""

from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, LABELS, VALUES, ROW, TOP = 760, 160, 110, 26, 44

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 15px }
.range { stroke: #24292f; stroke-width: 1.5; opacity: .6 }
.ours { fill: #1f6feb } .peer { fill: #8c959f } .limit { fill: #d0d7de }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .range { stroke: #e6edf3 }
  .ours { fill: #58a6ff } .peer { fill: #6e7681 } .limit { fill: #3d444d }
}
"""


class Bar(NamedTuple):
    """One server: the median as the bar's length, the range over all rounds as a line on it."""

    label: str
    kind: str  # "ours", "peer" or "limit", a class of the style sheet
    low: float
    median: float
    high: float


def bar_chart(title: str, bars: Sequence[Bar]) -> str:
    """The chart as the text of an SVG file."""
    height = TOP + ROW * len(bars) + 10
    scale = (WIDTH - LABELS - VALUES) / (max((bar.high for bar in bars), default=0) or 1)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" role="img"',
        f' viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<text class="title" x="10" y="24">{escape(title)}</text>',
    ]
    for row, bar in enumerate(bars):
        y = TOP + ROW * row
        middle = y + ROW / 2 - 2
        low, end, high = (LABELS + value * scale for value in (bar.low, bar.median, bar.high))
        parts += [
            f'<text x="{LABELS - 8}" y="{middle + 5}" text-anchor="end">{escape(bar.label)}</text>',
            f'<rect class="{bar.kind}" x="{LABELS}" y="{y}" rx="2"',
            f' width="{end - LABELS:.1f}" height="{ROW - 6}"/>',
            f'<path class="range" d="M{low:.1f} {middle}H{high:.1f}"/>',
            f'<text x="{max(end, high) + 8:.1f}" y="{middle + 5}">{bar.median:,.0f}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
