"""A repository with a Dockerfile is made ready, and nothing of the user's is lost."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from stagebake import sessions
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.generate.bake_file import render_bake_file
from stagebake.generate.init import init_repository
from stagebake.generate.workflow import WORKFLOW_FILE
from stagebake.project.settings import Settings, load_settings
from stagebake.sessions import VERBS

GRAPH = parse_dockerfile("FROM debian AS base\nFROM base AS app\n")


SEED = Path(__file__).parents[2] / "support/usual-workflow.yml"


def run(root: Path, *, overwrite: bool = False, **settings: str) -> str:
    """What is printed where nobody can be asked."""
    out = io.StringIO()
    console = Console(file=out, width=200, highlight=False, markup=False, emoji=False)
    assert init_repository(GRAPH, Settings(root=root, **settings), console, overwrite=overwrite) == 0  # type: ignore[arg-type]
    return out.getvalue()


def written(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_a_bare_repository_gets_four_files(tmp_path: Path) -> None:
    """Noxfile, bake file, settings and workflow, and the settings say what they were made from."""
    run(tmp_path, image="ghcr.io/o/n", dockerfile="docker/Dockerfile", target="app")
    assert written(tmp_path) == {"noxfile.py", "docker-bake.hcl", "stagebake.toml", WORKFLOW_FILE}
    loaded = load_settings(tmp_path, {}, {})
    assert (loaded.image, loaded.dockerfile, loaded.target) == ("ghcr.io/o/n", "docker/Dockerfile", "app")
    assert (tmp_path / "docker-bake.hcl").read_text() == render_bake_file(
        GRAPH, Settings(root=tmp_path, image="ghcr.io/o/n", dockerfile="docker/Dockerfile", target="app")
    )


def test_the_settings_join_a_pyproject(tmp_path: Path) -> None:
    """Where there is a pyproject.toml the settings go behind what it has, without a question."""
    old = '[project]\nname = "x"\n'
    (tmp_path / "pyproject.toml").write_text(old)
    run(tmp_path, image="ghcr.io/o/n")
    assert (tmp_path / "pyproject.toml").read_text() == f'{old}\n[tool.stagebake]\nimage = "ghcr.io/o/n"\n'
    assert not (tmp_path / "stagebake.toml").exists()


def test_a_pyproject_keeps_its_line_ends(tmp_path: Path) -> None:
    """Where a line ends in CR and LF all do, and a second time changes nothing."""
    (tmp_path / "pyproject.toml").write_bytes(b'[project]\r\nname = "x"\r\n')
    run(tmp_path, image="ghcr.io/o/n")
    joined = b'[project]\r\nname = "x"\r\n\r\n[tool.stagebake]\r\nimage = "ghcr.io/o/n"\r\n'
    assert (tmp_path / "pyproject.toml").read_bytes() == joined
    assert run(tmp_path, image="ghcr.io/o/n").count("is as it should be") == 4


def test_a_pyproject_that_takes_no_table_is_left_alone(tmp_path: Path) -> None:
    """Behind `tool = {}` a [tool.stagebake] would not be TOML: the settings get a file of their own."""
    (tmp_path / "pyproject.toml").write_text("tool = { ruff = {} }\n")
    run(tmp_path, image="ghcr.io/o/n")
    assert (tmp_path / "pyproject.toml").read_text() == "tool = { ruff = {} }\n"
    assert load_settings(tmp_path, {}, {}).image == "ghcr.io/o/n"


def test_settings_that_are_there_stay(tmp_path: Path) -> None:
    """A pyproject.toml that has the table is left as it is."""
    old = '[tool.stagebake]\nimage = "ghcr.io/o/other"  # ours\n'
    (tmp_path / "pyproject.toml").write_text(old)
    run(tmp_path, image="ghcr.io/o/other", overwrite=True)
    assert (tmp_path / "pyproject.toml").read_text() == old


def test_a_settings_file_of_its_own_stays(tmp_path: Path) -> None:
    """What stagebake.toml says is left as it is, even with --yes, and pyproject.toml gets no second table."""
    own, project = 'image = "ghcr.io/o/n"\nsecrets = ["id=npm,env=NPM"]  # ours\n', '[project]\nname = "x"\n'
    (tmp_path / "stagebake.toml").write_text(own)
    (tmp_path / "pyproject.toml").write_text(project)
    run(tmp_path, image="ghcr.io/o/n", overwrite=True)
    assert (tmp_path / "stagebake.toml").read_text() == own
    assert (tmp_path / "pyproject.toml").read_text() == project


def test_a_bare_nox_runs_no_verb() -> None:
    """The sessions are there to be asked for: `nox` alone neither builds nor writes."""
    assert not any(getattr(sessions, verb).default for verb in VERBS)


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    """Run again, everything is as it should be."""
    run(tmp_path, image="ghcr.io/o/n")
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in written(tmp_path)}
    said = run(tmp_path, image="ghcr.io/o/n")
    assert said.count("is as it should be") == 4
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in written(tmp_path)} == before


def test_where_nobody_can_be_asked_files_stay(tmp_path: Path) -> None:
    """A noxfile that has a session `build` of its own is kept, and what it lacks is shown."""
    own = "import nox\n\n\n@nox.session\ndef build(session):\n    pass\n"
    (tmp_path / "noxfile.py").write_text(own)
    said = run(tmp_path)
    assert (tmp_path / "noxfile.py").read_text() == own
    assert "+from stagebake.sessions import *" in said
    assert "is kept" in said


def test_the_sessions_join_a_noxfile(tmp_path: Path) -> None:
    """A noxfile without sessions of these names gets them at its end, without a question."""
    (tmp_path / "noxfile.py").write_text("import nox\n")
    run(tmp_path)
    text = (tmp_path / "noxfile.py").read_text()
    assert text.startswith("import nox\n")
    assert "from stagebake.sessions import *" in text


def test_overwrite_overwrites(tmp_path: Path) -> None:
    """With --yes nothing is asked."""
    (tmp_path / "noxfile.py").write_text("import nox\n")
    run(tmp_path, overwrite=True)
    assert "stagebake.sessions" in (tmp_path / "noxfile.py").read_text()


def test_a_folder_named_like_markup(tmp_path: Path) -> None:
    """Paths are shown as they are."""
    root = tmp_path / "[red]app"
    root.mkdir()
    assert f"wrote {root / 'noxfile.py'}" in run(root)


def test_a_workflow_of_the_same_name_is_kept_or_replaced(tmp_path: Path) -> None:
    """Where nobody can be asked a workflow of the same name stays; with --yes the new one takes its place."""
    old = tmp_path / WORKFLOW_FILE
    old.parent.mkdir(parents=True)
    old.write_text(SEED.read_text())
    assert f"{old} is kept" in run(tmp_path)
    assert old.read_text() == SEED.read_text()
    said = run(tmp_path, overwrite=True)
    assert "docker/build-push-action" not in old.read_text()
    assert "builds an image too" not in said


def test_a_second_workflow_that_builds_is_named(tmp_path: Path) -> None:
    """Another workflow that builds an image is named with its line, and left alone."""
    other = tmp_path / ".github/workflows/docker.yaml"
    other.parent.mkdir(parents=True)
    other.write_text(SEED.read_text())
    line = 1 + [line.strip() for line in SEED.read_text().splitlines()].index("uses: docker/build-push-action@v5")
    assert f".github/workflows/docker.yaml:{line} builds an image too" in run(tmp_path)
    assert other.read_text() == SEED.read_text()


def test_the_branches_and_the_room_reach_the_workflow(tmp_path: Path) -> None:
    """What is asked for stands in the workflow."""
    console = Console(file=io.StringIO())
    init_repository(
        GRAPH, Settings(root=tmp_path), console, overwrite=False, branches=("main", "feature/x"), make_room=True
    )
    text = (tmp_path / WORKFLOW_FILE).read_text()
    assert 'branches: ["main", "feature/x"]' in text
    assert "Make room" in text


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
def test_a_noxfile_that_has_one_of_the_names_is_kept(tmp_path: Path, own: str) -> None:
    """By name=, by an import, by a value: nothing is put in its place unasked. One that does not parse is kept too."""
    (tmp_path / "noxfile.py").write_text(own)
    assert "is kept" in run(tmp_path)
    assert (tmp_path / "noxfile.py").read_text() == own


def test_a_comment_that_names_stagebake_is_no_import(tmp_path: Path) -> None:
    """Only what is imported counts as done."""
    (tmp_path / "noxfile.py").write_text("import nox  # stagebake, some day\n")
    run(tmp_path)
    assert "from stagebake.sessions import *" in (tmp_path / "noxfile.py").read_text()
