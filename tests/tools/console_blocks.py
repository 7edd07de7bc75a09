"""Reads the code blocks of a Markdown page, and runs them as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import yaml

NOT_RUN = "not run: "
# The first line of a Python block that the reader saves in a file.
FILE = re.compile(r"# (\w+\.py)\n")
TIMEOUT_SECS = 600
# A comment, then a block; both are indented if they are part of a list.
BLOCK = re.compile(
    r"^(?:[ \t]*<!-- (?P<comment>[^\n]*?) -->\n)?(?P<indent>[ \t]*)```(?P<language>\w+)\n"
    r"(?P<text>.*?)^(?P=indent)```$",
    flags=re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A code block, and the comment on the line before it."""

    language: str
    text: str
    comment: str

    @property
    def is_run(self) -> bool:
        """Whether it is a console block without a comment that excludes it."""
        return self.language == "console" and not self.comment.startswith(NOT_RUN)


def blocks_of(page: Path, *, after: str = "", before: str = "") -> list[Block]:
    """Return the code blocks of a page, or of the part of it between two texts."""
    text = page.read_text(encoding="utf-8")
    text = text[text.index(after) : text.index(before) if before else None]
    return [
        Block(found["language"], dedent(found["text"]), found["comment"] or "")
        for found in BLOCK.finditer(text)
    ]


@dataclass
class Reader:
    """Follows the instructions of a page.

    Attributes:
        folder: The folder in which the next block runs; `cd` in a block changes it.
        variables: The environment variables that the reader has exported.
        addresses: Placeholders in commands, and their replacements.
        output: What the commands have written so far.
    """

    folder: Path
    variables: Mapping[str, str]
    addresses: Mapping[str, str]
    output: list[str] = field(default_factory=list)

    def follow(self, blocks: Sequence[Block]) -> None:
        """Save the files, run each console block in turn, and add YAML blocks to `meltano.yml`.

        Raises:
            AssertionError: A command failed; the message is its output.
        """
        for block in blocks:
            if block.language == "python" and (name := FILE.match(block.text)):
                (self.folder / name[1]).write_text(block.text, encoding="utf-8")
        for block in blocks:
            if block.language == "yaml":
                self._configure(block.text)
            elif block.is_run:
                self.run(block.text)

    def run(self, text: str) -> None:
        """Run commands in the folder.

        Raises:
            AssertionError: A command failed; the message is its output.
        """
        for address, mine in self.addresses.items():
            text = text.replace(address, mine)
        foreign = ("MELTANO_", "TAP_", "TARGET_", "VIRTUAL_ENV")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with tempfile.NamedTemporaryFile("r", encoding="utf-8") as folder:
            done = subprocess.run(
                ["/bin/bash", "-euo", "pipefail", "-c", f'{text}\npwd >"{folder.name}"'],
                cwd=self.folder,
                env={**kept, "PATH": programs, "PWD": str(self.folder), **self.variables},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECS,
                check=False,
            )
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
            self.output += [*done.stdout.splitlines(), *done.stderr.splitlines()]
            self.folder = Path(folder.read().rstrip("\n"))

    def _configure(self, example: str) -> None:
        """Append an example to a project without plugins, or add it to the plugins.

        A plugin whose definition is only on Meltano Hub is not added.
        """
        path = self.folder / "meltano.yml"
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
        if "plugins" not in content:
            path.write_text(f"{text}\n{example}", encoding="utf-8")
            return
        for kind, plugins in yaml.safe_load(example).get("plugins", {}).items():
            ours = {plugin["name"]: plugin for plugin in content["plugins"].get(kind, ())}
            for plugin in plugins:
                lock = f"plugins/{kind}/{plugin['name']}--{plugin.get('variant')}.lock"
                is_known = "inherit_from" in plugin or (self.folder / lock).exists()
                if plugin["name"] in ours or is_known:
                    _merge(ours.setdefault(plugin["name"], {}), plugin)
            content["plugins"][kind] = list(ours.values())
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _merge(into: dict[str, Any], example: dict[str, Any]) -> None:
    for key, value in example.items():
        if isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        else:
            into[key] = value
