"""The imports in the source of both connectors, including those for type checkers."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "tap_workato_streams": ROOT / "tap-workato-streams/tap_workato_streams",
    "target_workato_streams": ROOT / "target-workato-streams/target_workato_streams",
}
Graph = dict[str, set[str]]


def import_graph(package: str) -> Graph:
    """Return the imports between the modules of a package."""
    folder = PACKAGES[package]
    files = {_module(package, path.relative_to(folder)): path for path in folder.rglob("*.py")}
    # `rglob` does not follow links before Python 3.13.
    for link in (path for path in folder.iterdir() if path.is_symlink()):
        for path in link.resolve().rglob("*.py"):
            name = _module(package, Path(link.name) / path.relative_to(link.resolve()))
            files[name] = path
    graph: Graph = {}
    for module, path in files.items():
        is_package = path.name == "__init__.py"
        found = set(_imports(ast.parse(path.read_text()), module, is_package=is_package))
        graph[module] = {_nearest(name, files) for name in found} - {"", module}
    return graph


def cycle(graph: Graph) -> list[str] | None:
    """Return the modules of an import cycle, or None if there is no cycle."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str] | None:
        if module in path:
            return path[path.index(module) :]
        if module in done:
            return None
        for imported in sorted(graph[module]):
            if found := visit(imported, [*path, module]):
                return found
        done.add(module)
        return None

    return next((found for module in sorted(graph) if (found := visit(module, []))), None)


def between_folders(graph: Graph) -> Graph:
    """Return the imports between folders; a top-level module counts as its own folder."""
    folders: Graph = {}
    for module, imported in graph.items():
        folder = _folder(module)
        folders.setdefault(folder, set()).update({_folder(each) for each in imported} - {folder})
    return folders


def _folder(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _module(package: str, path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join([package, *(parts[:-1] if parts[-1] == "__init__" else parts)])


def _imports(tree: ast.Module, module: str, *, is_package: bool) -> Iterator[str]:
    parts = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = parts[: len(parts) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def _nearest(name: str, files: dict[str, Path]) -> str:
    """Return the module that a name is imported from; empty if it is in another package."""
    while name not in files and "." in name:
        name = name.rpartition(".")[0]
    return name if name in files else ""
