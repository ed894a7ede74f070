"""The table of imports that `nox -s imports` prints."""

from __future__ import annotations

from pathlib import Path

from tools.imports import (
    PYPROJECT,
    ModuleImport,
    find_cycle,
    find_upward_imports,
    read_imports,
    read_layers,
    render_table,
)

LAYERS = [["low"], ["left", "right"], ["high"]]
DOWN = [
    ModuleImport("app.high.a", "app.left.a"),
    ModuleImport("app.high.a", "app.left.b"),
    ModuleImport("app.left.a", "app.low"),
    ModuleImport("app.left.a", "app.left.b"),
]
TABLE = r"""
           1   2   3   4
 1 low     \   .   .   .
 2 left    1   \   .   .
 3 right   .   .   \   .
 4 high    .   2   .   \
"""


def test_render_table_with_downward_imports_counts_below_the_diagonal() -> None:
    assert render_table(LAYERS, DOWN) == TABLE.strip("\n")


def test_find_upward_imports_with_downward_imports_returns_no_error() -> None:
    assert find_upward_imports(LAYERS, DOWN) == []


def test_find_upward_imports_into_a_higher_layer_names_both_modules() -> None:
    (error,) = find_upward_imports(LAYERS, [ModuleImport("app.low", "app.high.a")])
    assert error.startswith("app.low: imports app.high.a")


def test_find_upward_imports_into_the_same_layer_returns_an_error() -> None:
    assert len(find_upward_imports(LAYERS, [ModuleImport("app.left.a", "app.right")])) == 1


def test_find_cycle_without_a_cycle_returns_no_error() -> None:
    assert find_cycle(DOWN) == []


def test_find_cycle_between_modules_of_a_package_names_them() -> None:
    (error,) = find_cycle([*DOWN, ModuleImport("app.left.b", "app.left.a")])
    assert "app.left.a" in error
    assert "app.left.b" in error


def test_read_layers_returns_the_lowest_layer_first(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(
        '[[tool.importlinter.contracts]]\ntype = "layers"\nlayers = ["high", "left | right", "low"]\n',
        encoding="utf-8",
    )
    assert read_layers(path) == LAYERS


def test_this_project_has_no_upward_import_and_no_cycle() -> None:
    imports = read_imports("stagebake")
    assert imports
    assert find_upward_imports(read_layers(PYPROJECT), imports) == []
    assert find_cycle(imports) == []
