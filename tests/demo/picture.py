"""`make picture`: run the demo, and draw its output in docs/images/demo.svg.

The picture contains the output as text, and a test compares its numbers with those of another run.
"""

from __future__ import annotations

import html
import re
import subprocess
import sys
import unicodedata
from typing import TYPE_CHECKING

from tests.demo.services import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PICTURE: Path = ROOT / "docs" / "images" / "demo.svg"
LINE_HEIGHT, CHARACTER_WIDTH, MARGIN = 19, 8.0, 16
STYLE = (
    "text { font: 13px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace;"
    " fill: #24292f; white-space: pre } .step { font-weight: bold; fill: #0550ae }"
)


def main() -> int:
    """Run the demo and draw its output; return its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.demo"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    print(done.stdout, done.stderr)
    if done.returncode == 0:
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        # The time is that of the machine that draws the picture, so it is left out.
        output = re.sub(r" \d+ seconds\.$", "", done.stdout, flags=re.MULTILINE)
        PICTURE.write_text(draw(["$ make demo", *output.splitlines()]), encoding="utf-8")
    return done.returncode


def draw(lines: list[str]) -> str:
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
            f"<style>{STYLE}</style>",
            '<rect width="100%" height="100%" rx="8" fill="#f6f8fa" stroke="#d0d7de"/>',
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
