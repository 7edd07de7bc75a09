"""The plot of RESULTS.md, in light and dark: records per second of each contender.

`make bench` draws it; `python -m tests.tools.benchmarks.plot` draws it again
without new measurements.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

from tests.tools.benchmarks.report import RESULTS

__all__ = ["RESULTS", "THEMES", "draw", "main", "path"]

IMAGES = Path(__file__).parents[3] / "docs" / "images"
# The full names of the short ones in the table.
NAMES = {"floor": "bare HTTP loop"}
SECTIONS = {
    "The tap, 0 ms latency": "Reading, records per second (the default quota allows 50)",
    "The target, 0 ms latency": "Publishing, records per second (the default quota allows 100)",
}
WIDTH, BAR_START, BAR_END = 760, 200, 640
ROW_HEIGHT, TITLE_HEIGHT, MARGIN = 30, 40, 16
STYLE = (
    "text {{ font: 14px system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; fill: {text} }}"
    " .title {{ font-weight: 600 }} .name {{ text-anchor: end }}"
    " .ours {{ fill: {ours} }} .other {{ fill: {other} }}"
    " .page {{ fill: {page}; stroke: {border} }}"
)
# The colors of GitHub's light and dark mode.
THEMES = {
    "light": {
        "text": "#24292f",
        "ours": "#0969da",
        "other": "#afb8c1",
        "page": "#ffffff",
        "border": "#d0d7de",
    },
    "dark": {
        "text": "#e6edf3",
        "ours": "#4493f8",
        "other": "#656c76",
        "page": "#0d1117",
        "border": "#3d444d",
    },
}


def path(theme: str) -> Path:
    """Return the file of the plot in a theme."""
    return IMAGES / ("speed.svg" if theme == "light" else f"speed-{theme}.svg")


def main() -> None:
    """Draw the plot in both themes."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for theme in THEMES:
        path(theme).write_text(draw(RESULTS.read_text(encoding="utf-8"), theme), encoding="utf-8")


def draw(results: str, theme: str) -> str:
    """Draw a group of bars for the tap and one for the target."""
    parts: list[str] = []
    top = MARGIN
    for title, text in SECTIONS.items():
        bars = speeds(results, title)
        most = max(bars.values())
        parts.append(_text(MARGIN, top + 20, text, "title"))
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
            f"<style>{STYLE.format_map(THEMES[theme])}</style>",
            '<rect class="page" width="100%" height="100%" rx="8"/>',
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
