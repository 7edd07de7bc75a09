"""The plot of RESULTS.md: records per second of each contender.

`make bench` draws it; `python -m tests.benchmarks.plot` draws it again without new measurements.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

from tests.benchmarks.report import RESULTS

__all__ = ["PLOT", "RESULTS", "draw", "main"]

PLOT = Path(__file__).parents[2] / "docs" / "images" / "speed.svg"
# The full names of the short ones in the table.
NAMES = {"floor": "bare HTTP loop"}
SECTIONS = ("The tap, 0 ms latency", "The target, 0 ms latency")
WIDTH, BAR_START, BAR_END = 760, 200, 640
ROW_HEIGHT, TITLE_HEIGHT, MARGIN = 30, 40, 16
STYLE = (
    "text { font: 14px system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #24292f }"
    " .title { font-weight: 600 } .name { text-anchor: end }"
    " .ours { fill: #0969da } .other { fill: #afb8c1 }"
)


def main() -> None:
    """Draw the plot."""
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    PLOT.write_text(draw(RESULTS.read_text(encoding="utf-8")), encoding="utf-8")


def draw(results: str) -> str:
    """Draw a group of bars for the tap and one for the target."""
    parts: list[str] = []
    top = MARGIN
    for title in SECTIONS:
        bars = speeds(results, title)
        most = max(bars.values())
        parts.append(_text(MARGIN, top + 20, f"{title}: records per second", "title"))
        top += TITLE_HEIGHT
        for name, speed in bars.items():
            length = (BAR_END - BAR_START) * speed / most
            kind = "ours" if name.endswith("-workato-streams") else "other"
            parts += [
                _text(BAR_START - 10, top + 16, NAMES.get(name, name), "name"),
                (
                    f'<rect class="{kind}" x="{BAR_START}" y="{top}" width="{length:.1f}"'
                    f' height="{ROW_HEIGHT - 8}" rx="3"/>'
                ),
                _text(BAR_START + length + 8, top + 16, f"{speed:,}"),
            ]
            top += ROW_HEIGHT
        top += MARGIN
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}"'
                f' width="{WIDTH}" height="{top}" role="img">'
            ),
            f"<style>{STYLE}</style>",
            '<rect width="100%" height="100%" rx="8" fill="#ffffff" stroke="#d0d7de"/>',
            *parts,
            "</svg>\n",
        ]
    )


def speeds(results: str, title: str) -> dict[str, int]:
    """Read the first column of numbers in the table of a section."""
    section = results.partition(f"## {title}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| +([^|]+?) +\| +([\d,]+) +\|", section, flags=re.MULTILINE)
    return {name: int(number.replace(",", "")) for name, number in rows}


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y}"{style}>{html.escape(text)}</text>'


if __name__ == "__main__":
    main()
