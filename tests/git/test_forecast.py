"""Test `stagebake forecast` on real git repositories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.git.conftest import TIMES, CreateRepository
from tests.support.repository import Change, Repository, realistic
from tests.support.shapes import FIVE, STAGES


def forecast_json(repository: Repository, *arguments: str) -> Any:
    """Return what `forecast --json` prints."""
    answer = repository.stagebake("forecast", TIMES, "--json", *arguments)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def list_runs(document: Any, strategy: str = "stagebake") -> list[list[str]]:
    """Return the stages that each push runs."""
    return [push["ran"][strategy] for push in document["pushes"]]


def test_forecast_of_known_pushes_lists_what_runs(create_repository: CreateRepository) -> None:
    """Derive the stages that run from the changed files; files that no stage takes cost nothing."""
    repository = create_repository(
        FIVE, {"notes.md": "x"}, {"src/page.ts": "2"}, {"requirements.txt": "x"}, {"src/page.ts": "3"}
    )
    repository.checkout()
    document = forecast_json(repository)
    assert list_runs(document) == [
        sorted(STAGES),
        [],
        ["builder", "runtime"],
        ["python-deps", "runtime"],
        ["builder", "runtime"],
    ]
    assert [push["seconds"]["stagebake"] for push in document["pushes"]] == [750, 0, 200, 650, 200]
    assert [push["seconds"]["no cache"] for push in document["pushes"]] == [750] * 5


def test_forecast_of_commits_without_usable_dockerfile_leaves_them_out(create_repository: CreateRepository) -> None:
    """Count such commits, and compare the next one with the last that could be built."""
    broken: Change = {"Dockerfile": "FROM\n"}
    renamed: Change = {"Dockerfile": FIVE["Dockerfile"].replace("node-deps", "npm")}
    read_failure: Change = {".dockerignore": "[a-\n"}
    back: Change = {"Dockerfile": FIVE["Dockerfile"]}
    repository = create_repository(
        {"src/page.ts": "1"},
        FIVE,
        broken,
        renamed,
        {"Dockerfile": None},
        back,
        read_failure,
        {".dockerignore": None},
        {"src/page.ts": "2"},
    )
    repository.checkout()
    document = forecast_json(repository)
    assert document["left_out"] == {
        "without the Dockerfile": 2,
        "with a Dockerfile or an ignore file that BuildKit would refuse": 2,
        "with a stage of unknown time": 1,
    }
    assert list_runs(document, "one mode=max ref") == [
        sorted(STAGES),
        [],
        [],
        ["builder", "runtime"],
    ]


def test_forecast_of_commits_without_context_leaves_them_out(create_repository: CreateRepository) -> None:
    app = {f"app/{name}": text for name, text in FIVE.items() if name != "Dockerfile"}
    settings = {"Dockerfile": FIVE["Dockerfile"], "stagebake.toml": 'context = "app"\n'}
    repository = create_repository(settings, app, {"app/src/page.ts": "2"})
    repository.checkout()
    document = forecast_json(repository)
    assert document["left_out"] == {"without the folder of the context": 1}
    assert list_runs(document) == [sorted(STAGES), ["builder", "runtime"]]


def test_forecast_of_deep_folders_reads_them(create_repository: CreateRepository) -> None:
    """Read folders that are nested more deeply than Python allows recursion."""
    deep = f"src/{'d/' * 1500}x"
    repository = create_repository(FIVE, {deep: "1", ".dockerignore": "**/*.log\n"}, {deep: "2"})
    (repository.folder / "Dockerfile").write_text(FIVE["Dockerfile"])
    assert list_runs(forecast_json(repository))[1:] == [["builder", "runtime"]] * 2


def test_forecast_of_shallow_clone_says_how_to_get_commits(create_repository: CreateRepository, tmp_path: Path) -> None:
    create_repository(FIVE, {"src/page.ts": "2"})
    clone = Repository(tmp_path / "clone")
    clone.folder.mkdir()
    clone.git("clone", "--quiet", "--depth=1", f"file://{tmp_path}/project", ".")
    answer = clone.stagebake("forecast", TIMES)
    assert "| 1 push |" in answer.stdout
    assert "git fetch --unshallow" in answer.stdout


@pytest.mark.parametrize("arguments", [(), ("--seconds=base=1,builder=2",)])
def test_forecast_without_times_names_the_flag(create_repository: CreateRepository, arguments: tuple[str, ...]) -> None:
    """List the stages without a time as the flag that gives them."""
    repository = create_repository(FIVE)
    repository.checkout()
    answer = repository.stagebake("forecast", *arguments)
    assert answer.returncode == 2
    assert "python-deps=SECONDS,node-deps=SECONDS" in answer.stderr


def test_forecast_with_report_takes_its_times(create_repository: CreateRepository) -> None:
    """Take the times of the stages that a build ran; --seconds overrides them."""
    repository = create_repository(FIVE)
    repository.checkout()
    stages = [{"name": name, "status": "rebuilt", "seconds": 7.0} for name in STAGES]
    (repository.folder / "report.json").write_text(json.dumps({"stages": stages}))
    answer = repository.stagebake("forecast", "--json", "--times=report.json", "--seconds=base=1")
    assert json.loads(answer.stdout)["stages"] == {**dict.fromkeys(STAGES, 7.0), "base": 1.0}


def test_forecast_outside_git_raises_input_error(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM a AS app\n")
    answer = Repository(tmp_path).stagebake("forecast", "--seconds=app=1")
    assert answer.returncode == 2
    assert "fatal: not a git repository" in answer.stderr


def test_forecast_with_svg_writes_chart(create_repository: CreateRepository) -> None:
    repository = create_repository(*realistic(40))
    repository.checkout()
    answer = repository.stagebake("forecast", TIMES, "--svg=out/forecast.svg")
    assert answer.returncode == 0, answer.stderr
    assert (repository.folder / "out/forecast.svg").read_text().startswith("<svg")


def test_forecast_of_long_history_never_rebuilds_more_than_others(create_repository: CreateRepository) -> None:
    """Rebuild no stage that another caching strategy restores."""
    repository = create_repository(*realistic(120))
    repository.checkout()
    for push in forecast_json(repository)["pushes"]:
        mine = set(push["ran"]["stagebake"])
        assert all(mine <= set(stages) for stages in push["ran"].values())


def test_forecast_in_subfolder_reads_its_commits(create_repository: CreateRepository) -> None:
    app = {f"app/{name}": text for name, text in FIVE.items()}
    repository = create_repository(app, {"app/src/page.ts": "2"}, {"x": "1"})
    repository.checkout()
    answer = Repository(repository.folder / "app").stagebake("forecast", TIMES, "--json")
    assert list_runs(json.loads(answer.stdout)) == [
        sorted(STAGES), ["builder", "runtime"], []
    ]  # fmt: skip


@pytest.mark.parametrize("time", ["nan", "inf", "-7"])
def test_forecast_with_invalid_time_is_refused(create_repository: CreateRepository, time: str) -> None:
    repository = create_repository(FIVE)
    repository.checkout()
    answer = repository.stagebake("forecast", TIMES, f"--seconds=base={time}")
    assert answer.returncode == 2
    assert f"`base={time}` is not STAGE=SECONDS" in answer.stderr


def test_forecast_with_folder_as_svg_is_refused(create_repository: CreateRepository) -> None:
    repository = create_repository(FIVE)
    repository.checkout()
    answer = repository.stagebake("forecast", TIMES, "--svg=src")
    assert answer.returncode == 2
    assert "--svg: src" in answer.stderr
