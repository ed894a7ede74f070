"""Files that `stagebake init` writes, offers or keeps."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from stagebake import sessions
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.generate.bake_file import render_bake_file
from stagebake.generate.init import InitOptions, init_repository
from stagebake.generate.workflow import WORKFLOW_FILE
from stagebake.project.settings import Settings, load_settings
from stagebake.sessions import VERBS

GRAPH = parse_dockerfile("FROM debian AS base\nFROM base AS app\n")


SEED = Path(__file__).parents[2] / "support/usual-workflow.yml"


def run_init(root: Path, *, overwrite: bool = False, **settings: str) -> str:
    """Return the output of init without a terminal."""
    out = io.StringIO()
    console = Console(file=out, width=200, highlight=False, markup=False, emoji=False)
    options = InitOptions(overwrite=overwrite)
    assert init_repository(GRAPH, Settings(root=root, **settings), console, options) == 0  # type: ignore[arg-type]
    return out.getvalue()


def list_files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_init_repository_in_a_bare_repository_writes_four_files(tmp_path: Path) -> None:
    """Write noxfile, bake file, settings and workflow; the settings load with the values that were given."""
    run_init(tmp_path, image="ghcr.io/o/n", dockerfile="docker/Dockerfile", target="app")
    assert list_files(tmp_path) == {"noxfile.py", "docker-bake.hcl", "stagebake.toml", WORKFLOW_FILE}
    loaded = load_settings(tmp_path, {}, {})
    assert (loaded.image, loaded.dockerfile, loaded.target) == ("ghcr.io/o/n", "docker/Dockerfile", "app")
    assert (tmp_path / "docker-bake.hcl").read_text() == render_bake_file(
        GRAPH, Settings(root=tmp_path, image="ghcr.io/o/n", dockerfile="docker/Dockerfile", target="app")
    )


def test_init_repository_with_a_pyproject_appends_the_settings(tmp_path: Path) -> None:
    old = '[project]\nname = "x"\n'
    (tmp_path / "pyproject.toml").write_text(old)
    run_init(tmp_path, image="ghcr.io/o/n")
    assert (tmp_path / "pyproject.toml").read_text() == f'{old}\n[tool.stagebake]\nimage = "ghcr.io/o/n"\n'
    assert not (tmp_path / "stagebake.toml").exists()


def test_init_repository_with_crlf_line_ends_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(b'[project]\r\nname = "x"\r\n')
    run_init(tmp_path, image="ghcr.io/o/n")
    joined = b'[project]\r\nname = "x"\r\n\r\n[tool.stagebake]\r\nimage = "ghcr.io/o/n"\r\n'
    assert (tmp_path / "pyproject.toml").read_bytes() == joined
    assert run_init(tmp_path, image="ghcr.io/o/n").count("is up to date") == 4


def test_init_repository_with_an_inline_tool_table_writes_stagebake_toml(tmp_path: Path) -> None:
    """Keep pyproject.toml: after `tool = {}` a table [tool.stagebake] is not valid TOML."""
    (tmp_path / "pyproject.toml").write_text("tool = { ruff = {} }\n")
    run_init(tmp_path, image="ghcr.io/o/n")
    assert (tmp_path / "pyproject.toml").read_text() == "tool = { ruff = {} }\n"
    assert load_settings(tmp_path, {}, {}).image == "ghcr.io/o/n"


def test_init_repository_with_settings_in_pyproject_keeps_them(tmp_path: Path) -> None:
    old = '[tool.stagebake]\nimage = "ghcr.io/o/other"  # ours\n'
    (tmp_path / "pyproject.toml").write_text(old)
    run_init(tmp_path, image="ghcr.io/o/other", overwrite=True)
    assert (tmp_path / "pyproject.toml").read_text() == old


def test_init_repository_with_stagebake_toml_keeps_both_settings_files(tmp_path: Path) -> None:
    """Keep stagebake.toml even with --yes, and add no second table to pyproject.toml."""
    own, project = 'image = "ghcr.io/o/n"\nsecrets = ["id=npm,env=NPM"]  # ours\n', '[project]\nname = "x"\n'
    (tmp_path / "stagebake.toml").write_text(own)
    (tmp_path / "pyproject.toml").write_text(project)
    run_init(tmp_path, image="ghcr.io/o/n", overwrite=True)
    assert (tmp_path / "stagebake.toml").read_text() == own
    assert (tmp_path / "pyproject.toml").read_text() == project


def test_sessions_are_not_run_by_default() -> None:
    """Check that `nox` alone neither builds nor writes."""
    assert not any(getattr(sessions, verb).default for verb in VERBS)


def test_init_repository_for_the_second_time_changes_nothing(tmp_path: Path) -> None:
    run_init(tmp_path, image="ghcr.io/o/n")
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in list_files(tmp_path)}
    said = run_init(tmp_path, image="ghcr.io/o/n")
    assert said.count("is up to date") == 4
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in list_files(tmp_path)} == before


def test_init_repository_without_a_terminal_keeps_a_noxfile_with_a_build_session(tmp_path: Path) -> None:
    """Print what the noxfile lacks."""
    own = "import nox\n\n\n@nox.session\ndef build(session):\n    pass\n"
    (tmp_path / "noxfile.py").write_text(own)
    said = run_init(tmp_path)
    assert (tmp_path / "noxfile.py").read_text() == own
    assert "+from stagebake.sessions import *" in said
    assert "is kept" in said


def test_init_repository_with_a_noxfile_appends_the_sessions(tmp_path: Path) -> None:
    (tmp_path / "noxfile.py").write_text("import nox\n")
    run_init(tmp_path)
    text = (tmp_path / "noxfile.py").read_text()
    assert text.startswith("import nox\n")
    assert "from stagebake.sessions import *" in text


def test_init_repository_with_overwrite_replaces_a_noxfile(tmp_path: Path) -> None:
    (tmp_path / "noxfile.py").write_text("import nox\n")
    run_init(tmp_path, overwrite=True)
    assert "stagebake.sessions" in (tmp_path / "noxfile.py").read_text()


def test_init_repository_in_a_folder_named_like_markup_prints_the_path(tmp_path: Path) -> None:
    root = tmp_path / "[red]app"
    root.mkdir()
    assert f"wrote {root / 'noxfile.py'}" in run_init(root)


def test_init_repository_with_a_workflow_of_the_same_name_replaces_it_only_with_overwrite(tmp_path: Path) -> None:
    old = tmp_path / WORKFLOW_FILE
    old.parent.mkdir(parents=True)
    old.write_text(SEED.read_text())
    assert f"{old} is kept" in run_init(tmp_path)
    assert old.read_text() == SEED.read_text()
    said = run_init(tmp_path, overwrite=True)
    assert "docker/build-push-action" not in old.read_text()
    assert "builds an image too" not in said


def test_init_repository_with_another_workflow_that_builds_names_its_line(tmp_path: Path) -> None:
    other = tmp_path / ".github/workflows/docker.yaml"
    other.parent.mkdir(parents=True)
    other.write_text(SEED.read_text())
    line = 1 + [line.strip() for line in SEED.read_text().splitlines()].index("uses: docker/build-push-action@v5")
    assert f".github/workflows/docker.yaml:{line} builds an image too" in run_init(tmp_path)
    assert other.read_text() == SEED.read_text()


def test_init_repository_passes_branches_and_make_room_to_the_workflow(tmp_path: Path) -> None:
    console = Console(file=io.StringIO())
    options = InitOptions(branches=("main", "feature/x"), make_room=True)
    init_repository(GRAPH, Settings(root=tmp_path), console, options)
    text = (tmp_path / WORKFLOW_FILE).read_text()
    assert 'branches: ["main", "feature/x"]' in text
    assert "Free disk space" in text


@pytest.mark.parametrize(
    "own",
    [
        'import nox\n@nox.session(name="build")\ndef mine(session):\n    pass\n',
        "from shared import build\n",
        "from shared import x as plan\n",
        "build = 3\n",
        "def broken(:\n",
    ],
)
def test_init_repository_with_a_noxfile_that_uses_a_session_name_keeps_it(tmp_path: Path, own: str) -> None:
    """Keep a noxfile with a name=, an import or a value of that name, or with a syntax error."""
    (tmp_path / "noxfile.py").write_text(own)
    assert "is kept" in run_init(tmp_path)
    assert (tmp_path / "noxfile.py").read_text() == own


def test_init_repository_with_stagebake_in_a_comment_appends_the_sessions(tmp_path: Path) -> None:
    (tmp_path / "noxfile.py").write_text("import nox  # stagebake, some day\n")
    run_init(tmp_path)
    assert "from stagebake.sessions import *" in (tmp_path / "noxfile.py").read_text()
