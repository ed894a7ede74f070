"""Test `stagebake plan --since` on real git repositories."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.git.conftest import CreateRepository
from tests.support.repository import Repository, grow
from tests.support.shapes import FIVE

ALL = {"Dockerfile": "FROM scratch AS deps\nCOPY lock /\nFROM deps AS app\nCOPY . .\n", "lock": "1\n", "page": "1\n"}
Verdict = tuple[str, list[str]]

RESTORE: Verdict = ("restore", [])
ALL_RESTORED = {"deps": RESTORE, "app": RESTORE}


def plan_since(repository: Repository, commit: str = "HEAD") -> dict[str, Verdict]:
    """Return the verdict and the reasons of `plan --since` for each stage."""
    answer = repository.stagebake("plan", "--json", f"--since={commit}")
    assert answer.returncode == 0, answer.stderr
    verdicts: dict[str, Verdict] = {}
    for stage in json.loads(answer.stdout)["stages"]:
        reasons = [reason["what"] for reason in stage["reasons"]]
        verdicts[stage["name"]] = (stage["expected"], reasons)
    return verdicts


def rebuilt(*reasons: str) -> Verdict:
    return "rebuild", list(reasons)


def add_submodule(repository: Repository, source: Path, name: str) -> None:
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(source), name)
    repository.git("commit", "--quiet", "--message=part")


def test_plan_since_with_empty_reference_is_refused(create_repository: CreateRepository) -> None:
    """Refuse the empty variable of a script, instead of planning the next build."""
    repository = create_repository(FIVE)
    repository.checkout()
    answer = repository.stagebake("plan", "--since=")
    assert answer.returncode == 2
    assert "--since: no commit is given" in answer.stderr


def test_plan_since_with_uncommitted_files_is_unknown(create_repository: CreateRepository) -> None:
    """Report stages that take .git or ignored files as unknown, not as rebuilt."""
    repository = create_repository({**ALL, ".gitignore": "out/\n.cache\n", ".dockerignore": ".cache\n"})
    repository.checkout()
    repository.write_file("out/a.js", "made")
    stages = plan_since(repository)
    assert stages["deps"] == RESTORE
    assert stages["app"] == ("unknown", ["`.git`: no commit holds it", "`out`: no commit holds it"])
    repository.write_file("page", "2\n2\n")
    assert plan_since(repository)["app"] == rebuilt("`page` changed")
    repository.write_file(".dockerignore", ".cache\n.git\nout\n")
    repository.git("checkout", "page")
    assert plan_since(repository)["app"][0] == "rebuild", "the commit had no such rules"
    repository.commit_all()
    assert plan_since(repository) == ALL_RESTORED


def test_plan_since_with_submodule_compares_its_files(create_repository: CreateRepository, tmp_path: Path) -> None:
    grow(tmp_path / "part", [{"code/x": "1"}])
    repository = create_repository({**ALL, ".dockerignore": "**/.git\n.cache\n"})
    repository.checkout()
    add_submodule(repository, tmp_path / "part", "part")
    assert plan_since(repository) == ALL_RESTORED
    repository.write_file("part/code/x", "2")
    stages = plan_since(repository)
    assert stages["deps"] == RESTORE
    assert stages["app"][0] == "rebuild"
    assert plan_since(repository, "HEAD~1")["app"][0] == "rebuild"


def test_plan_since_with_converted_line_ends_compares_commits(create_repository: CreateRepository) -> None:
    """Ignore line ends that git makes, and report those that other attributes make."""
    repository = create_repository({**ALL, ".gitattributes": "page eol=crlf\n", ".dockerignore": ".git\n.cache\n"})
    repository.checkout()
    assert (repository.folder / "page").read_bytes() == b"1\r\n"
    assert plan_since(repository) == ALL_RESTORED
    repository.write_file("page", "2\r\n")
    assert plan_since(repository)["app"] == rebuilt("`page` changed")
    repository.git("checkout", "page")
    repository.write_file("lock", "1\r\n")
    repository.write_file(".gitattributes", "page eol=lf\nlock eol=crlf\n")
    assert plan_since(repository)["deps"] == rebuilt("`lock` changed")


def test_plan_since_with_attributes_above_context_reports_line_ends(create_repository: CreateRepository) -> None:
    app = {f"app/{name}": text for name, text in ALL.items()}
    settings = {"stagebake.toml": 'context = "app"\ndockerfile = "app/Dockerfile"\n', ".gitattributes": "x eol=lf\n"}
    repository = create_repository({**app, **settings})
    repository.checkout()
    assert plan_since(repository)["deps"] == RESTORE
    repository.write_file(".gitattributes", "lock eol=crlf\n")
    repository.write_file("app/lock", "1\r\n")
    assert plan_since(repository)["deps"] == rebuilt("`lock` changed")


def test_plan_since_with_untracked_file_or_new_mode_rebuilds(create_repository: CreateRepository) -> None:
    repository = create_repository({**ALL, ".dockerignore": ".git\n.cache\n"})
    repository.checkout()
    repository.write_file("new", "1")
    assert plan_since(repository)["app"] == rebuilt("`new` added")
    (repository.folder / "lock").chmod(0o755)
    assert plan_since(repository)["deps"] == rebuilt("mode of lock 644 → 755")


@pytest.mark.parametrize("reference", ["nowhere", "HEAD~1", "--all", "HEAD:lock"])
def test_plan_since_with_unknown_commit_says_how_to_get_it(
    create_repository: CreateRepository, tmp_path: Path, reference: str
) -> None:
    """Show git's own message for a misspelt reference and for one that a shallow clone lacks."""
    create_repository(ALL, {"page": "2"})
    clone = Repository(tmp_path / "clone")
    clone.folder.mkdir()
    clone.git("clone", "--quiet", "--depth=1", f"file://{tmp_path}/project", ".")
    answer = clone.stagebake("plan", f"--since={reference}")
    assert answer.returncode == 2
    assert "fatal: bad revision" in answer.stderr or "expected commit type" in answer.stderr
    assert "git fetch --unshallow" in answer.stderr
    assert len(answer.stderr.splitlines()) == 2, answer.stderr


def test_plan_since_with_dirty_nested_submodule_names_files(
    create_repository: CreateRepository, tmp_path: Path
) -> None:
    """Leave index and objects of all repositories as they are."""
    grow(tmp_path / "inner", [{"x": "1"}])
    outer = grow(tmp_path / "outer", [{"y": "1"}])
    outer.checkout()
    add_submodule(outer, tmp_path / "inner", "inner")
    repository = create_repository({**ALL, ".dockerignore": "**/.git\n.cache\n"})
    repository.checkout()
    add_submodule(repository, tmp_path / "outer", "outer")
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init", "--recursive")
    assert plan_since(repository) == ALL_RESTORED
    repository.write_file("outer/inner/x", "2")
    repository.write_file("outer/new", "1")
    before = repository.git("count-objects", "--verbose")
    assert plan_since(repository) == {
        "deps": RESTORE,
        "app": rebuilt("`outer/inner/x` changed", "`outer/new` added"),
    }
    assert repository.git("count-objects", "--verbose") == before
    assert repository.git("status", "--porcelain") == " M outer\n"


def test_plan_since_with_nested_repository_adds_its_files(create_repository: CreateRepository) -> None:
    """Take the files of an untracked repository even before its first commit."""
    repository = create_repository({**ALL, ".dockerignore": "**/.git\n.cache\n"})
    repository.checkout()
    (repository.folder / "nested").mkdir()
    nested = Repository(repository.folder / "nested")
    nested.git("init", "--quiet")
    (nested.folder / "x").write_text("1")
    stages = plan_since(repository)
    assert stages["deps"] == RESTORE
    assert stages["app"] == rebuilt("`nested` added", "`nested/x` added")


def test_plan_since_with_clean_filter_compares_filtered_content(create_repository: CreateRepository) -> None:
    """Compare what the clean filter stores, as with Git LFS: the pointer, not the content on disk."""
    attributes = "page filter=upper\n"
    repository = create_repository(
        {**ALL, "page": "SMALL\n", ".gitattributes": attributes, ".dockerignore": ".git\n.cache\n"}
    )
    repository.git("config", "filter.upper.clean", "tr a-z A-Z")
    repository.git("config", "filter.upper.smudge", "tr A-Z a-z")
    repository.checkout()
    assert (repository.folder / "page").read_text() == "small\n"
    (repository.folder / "page").touch()
    assert plan_since(repository) == ALL_RESTORED
    repository.write_file("page", "other\n")
    assert plan_since(repository)["app"] == rebuilt("`page` changed")
