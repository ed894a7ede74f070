"""Print how often each package of stagebake imports each other one; fail on an upward import or a cycle.

    python -m tools.imports

Rows import columns. Both list the layers of pyproject.toml from the lowest to the highest, so every count is below the
diagonal.
"""

from __future__ import annotations

import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TypeAlias

import grimp

ROOT_PACKAGE = "stagebake"
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"

Layers: TypeAlias = list[list[str]]
"""Packages of each layer, the lowest layer first."""


@dataclass(frozen=True)
class ModuleImport:
    """Import of one module by another, by their full names."""

    importer: str
    imported: str

    @property
    def packages(self) -> tuple[str, str]:
        """Return the importing and the imported package: `stagebake.cache.merge` is in `cache`."""
        _, importing, *_ = self.importer.split(".")
        _, imported, *_ = self.imported.split(".")
        return importing, imported

    @property
    def crosses_packages(self) -> bool:
        importing, imported = self.packages
        return importing != imported


def main() -> int:
    """Print the table and the errors; return 1 where there are errors, else 0."""
    layers = read_layers(PYPROJECT)
    imports = read_imports(ROOT_PACKAGE)
    print(render_table(layers, imports))
    errors = [
        *find_upward_imports(layers, imports),
        *find_cycle(imports),
    ]
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    return 1 if errors else 0


def read_layers(path: Path) -> Layers:
    """Return the packages of each layer in the import-linter contract of a pyproject.toml, the lowest layer first."""
    text = path.read_text(encoding="utf-8")
    linter = tomllib.loads(text)["tool"]["importlinter"]
    layers: list[list[str]] = []
    for contract in linter["contracts"]:
        for layer in contract.get("layers", ()):
            layers.insert(0, layer.split(" | "))
    return layers


def read_imports(package: str) -> list[ModuleImport]:
    """Return all imports between the modules of a package that is installed."""
    graph = grimp.build_graph(package, cache_dir=None)
    imports: list[ModuleImport] = []
    for importer in sorted(graph.modules - {package}):
        for imported in sorted(graph.find_modules_directly_imported_by(importer)):
            if imported != package:
                imports.append(ModuleImport(importer, imported))
    return imports


def render_table(layers: Layers, imports: Iterable[ModuleImport]) -> str:
    """Return the table as text: a numbered row for each package, and a column for each row's number."""
    counts = Counter(found.packages for found in imports)
    packages = [package for layer in layers for package in layer]
    width = max(map(len, packages))
    numbers = [str(number) for number, _ in enumerate(packages, 1)]
    heading = _align_cells(numbers)
    lines = [" " * (width + 3) + heading]
    for number, importer in zip(numbers, packages, strict=True):
        cells = [_render_count(importer, imported, counts) for imported in packages]
        row = _align_cells(cells)
        lines.append(f"{number:>2} {importer:<{width}}{row}")
    return "\n".join(lines)


def _render_count(
    importer: str,
    imported: str,
    counts: Counter[tuple[str, str]],
) -> str:
    if importer == imported:
        return "\\"
    count = counts[importer, imported]
    return str(count or ".")


def _align_cells(cells: Iterable[str]) -> str:
    columns = [cell.rjust(4) for cell in cells]
    return "".join(columns)


def find_upward_imports(layers: Layers, imports: Iterable[ModuleImport]) -> list[str]:
    """Return an error for each import from another package that is not in a lower layer."""
    heights: dict[str, int] = {}
    for height, layer in enumerate(layers):
        heights |= dict.fromkeys(layer, height)
    errors: list[str] = []
    for found in imports:
        if not found.crosses_packages:
            continue
        importing, imported = found.packages
        if heights[imported] >= heights[importing]:
            error = f"{found.importer}: imports {found.imported}, which is not in a lower layer"
            errors.append(error)
    return errors


def find_cycle(imports: Iterable[ModuleImport]) -> list[str]:
    """Return an error that names the modules of one cycle; empty where there is no cycle."""
    imported_by: defaultdict[str, set[str]] = defaultdict(set)
    for found in imports:
        imported_by[found.importer].add(found.imported)
    try:
        TopologicalSorter(imported_by).prepare()
    except CycleError as error:
        modules = error.args[1]
        return [f"import cycle: {' <- '.join(modules)}"]
    return []


if __name__ == "__main__":
    sys.exit(main())
