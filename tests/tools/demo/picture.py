"""`make picture`: run the demo, and draw its output in docs/images/demo.svg and demo-dark.svg.

The picture contains the output as text, and a test compares its numbers with those of another run.
"""

from __future__ import annotations

import html
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

from tests.tools.demo.services import ROOT

PICTURE: Path = ROOT / "docs" / "images" / "demo.svg"
DARK_PICTURE = PICTURE.with_name("demo-dark.svg")
LINE_HEIGHT, CHARACTER_WIDTH, MARGIN = 19, 8.0, 16
STYLE = (
    "text {{ font: 13px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace;"
    " fill: {text}; white-space: pre }} .step {{ font-weight: bold; fill: {step} }}"
    " .page {{ fill: {page}; stroke: {border} }}"
)
# The colors of GitHub's light and dark mode.
THEMES = {
    "light": {"text": "#24292f", "step": "#0550ae", "page": "#f6f8fa", "border": "#d0d7de"},
    "dark": {"text": "#e6edf3", "step": "#79c0ff", "page": "#151b23", "border": "#3d444d"},
}


def main() -> int:
    """Run the demo and draw its output; return its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.tools.demo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout, done.stderr)
    if done.returncode == 0:
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        # The time is that of the machine that draws the picture, so it is left out.
        output = re.sub(r" \d+ seconds\.$", "", done.stdout, flags=re.MULTILINE)
        for theme, path in (("light", PICTURE), ("dark", DARK_PICTURE)):
            path.write_text(draw(["$ make demo", *output.splitlines()], theme), encoding="utf-8")
    return done.returncode


def draw(lines: list[str], theme: str) -> str:
    """Draw lines of text as in a terminal."""
    width = 2 * MARGIN + CHARACTER_WIDTH * max(map(_columns, lines))
    height = 2 * MARGIN + LINE_HEIGHT * len(lines)
    texts = [
        f'<text x="{MARGIN}" y="{MARGIN + LINE_HEIGHT * number - 6}"'
        f'{_style(line)} xml:space="preserve">{html.escape(line)}</text>'
        for number, line in enumerate(lines, 1)
        if line
    ]
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}"'
                f' width="{width:.0f}" height="{height}" role="img">'
            ),
            f"<style>{STYLE.format_map(THEMES[theme])}</style>",
            '<rect class="page" width="100%" height="100%" rx="8"/>',
            *texts,
            "</svg>\n",
        ]
    )


def text_of(svg: str) -> str:
    """Return the lines that a picture shows."""
    return html.unescape("\n".join(re.findall(r"<text[^>]*>(.*?)</text>", svg)))


def _style(line: str) -> str:
    return ' class="step"' if re.match(r"\d\. |\$ |All numbers", line) else ""


def _columns(line: str) -> int:
    """The width of a line in columns; East Asian characters take two."""
    return sum(1 + (unicodedata.east_asian_width(each) in "WF") for each in line)


if __name__ == "__main__":
    sys.exit(main())
