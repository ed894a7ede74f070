"""Commits read from git's objects are what a checkout of them is, and `forecast` and `doctor` rest on that."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.fingerprint.context import ContextFolder
from stagebake.fingerprint.model import BuildInputs
from stagebake.fingerprint.stage_inputs import fingerprint_stages
from stagebake.fingerprint.tree_context import GitTrees, TreeContext
from stagebake.project.git_history import files_by_commit, list_commits
from stagebake.project.git_objects import GitObject
from tests.support.repository import Change, Repository, grow, realistic
from tests.support.shapes import FIVE, STAGES

TIMES = "--seconds=base=100,python-deps=600,node-deps=200,builder=150,runtime=50"
Grow = Callable[..., Repository]


@pytest.fixture
def grown(tmp_path: Path) -> Grow:
    """Makes a repository from what each commit changes."""
    return lambda *changes: grow(tmp_path / "project", changes)


def pushes(repository: Repository, *arguments: str) -> Any:
    """What `forecast --json` says."""
    answer = repository.stagebake("forecast", TIMES, "--json", *arguments)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_a_forecast_of_known_pushes(grown: Grow) -> None:
    """Each commit is a push: what runs follows from what it changed, and notes that no stage takes cost nothing."""
    repository = grown(FIVE, {"notes.md": "x"}, {"src/page.ts": "2"}, {"requirements.txt": "x"}, {"src/page.ts": "3"})
    repository.checkout()
    told = pushes(repository)
    assert [push["ran"]["stagebake"] for push in told["pushes"]] == [
        sorted(STAGES),
        [],
        ["builder", "runtime"],
        ["python-deps", "runtime"],
        ["builder", "runtime"],
    ]
    assert [push["seconds"]["stagebake"] for push in told["pushes"]] == [750, 0, 200, 650, 200]
    assert [push["seconds"]["no cache"] for push in told["pushes"]] == [750] * 5


def test_commits_without_a_usable_dockerfile(grown: Grow) -> None:
    """They are left out and counted, and the next one is compared with the last that could be built."""
    broken: Change = {"Dockerfile": "FROM\n"}
    renamed: Change = {"Dockerfile": FIVE["Dockerfile"].replace("node-deps", "npm")}
    read_failure: Change = {".dockerignore": "[a-\n"}
    back: Change = {"Dockerfile": FIVE["Dockerfile"]}
    repository = grown(
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
    told = pushes(repository)
    assert told["left_out"] == {
        "without the Dockerfile": 2,
        "with a Dockerfile or an ignore file that BuildKit would refuse": 2,
        "with a stage of unknown time": 1,
    }
    assert [push["ran"]["one mode=max ref"] for push in told["pushes"]] == [
        sorted(STAGES),
        [],
        [],
        ["builder", "runtime"],
    ]


def test_commits_without_the_context(grown: Grow) -> None:
    """A build without the folder that COPY copies from fails: such a commit is no push."""
    app = {f"app/{name}": text for name, text in FIVE.items() if name != "Dockerfile"}
    settings = {"Dockerfile": FIVE["Dockerfile"], "stagebake.toml": 'context = "app"\n'}
    repository = grown(settings, app, {"app/src/page.ts": "2"})
    repository.checkout()
    told = pushes(repository)
    assert told["left_out"] == {"without the folder of the context": 1}
    assert [push["ran"]["stagebake"] for push in told["pushes"]] == [sorted(STAGES), ["builder", "runtime"]]


def test_folders_of_any_depth(grown: Grow) -> None:
    """More of them, one in the other, than Python goes down by recursion."""
    deep = f"src/{'d/' * 1500}x"
    repository = grown(FIVE, {deep: "1", ".dockerignore": "**/*.log\n"}, {deep: "2"})
    (repository.folder / "Dockerfile").write_text(FIVE["Dockerfile"])
    assert [push["ran"]["stagebake"] for push in pushes(repository)["pushes"]][1:] == [["builder", "runtime"]] * 2


def test_a_forecast_of_a_shallow_clone(grown: Grow, tmp_path: Path) -> None:
    """It says how to get the older commits."""
    grown(FIVE, {"src/page.ts": "2"})
    clone = Repository(tmp_path / "clone")
    clone.folder.mkdir()
    clone.git("clone", "--quiet", "--depth=1", f"file://{tmp_path}/project", ".")
    answer = clone.stagebake("forecast", TIMES)
    assert "| 1 push |" in answer.stdout
    assert "git fetch --unshallow" in answer.stdout


def test_a_merge_is_one_push(grown: Grow) -> None:
    """Along the first parents a merge brings all that its branch changed, at once."""
    repository = grown(FIVE, {"src/a.ts": "1"})
    repository.checkout()
    repository.git("checkout", "--quiet", "-b", "feature", "HEAD~1")
    for name in ("one", "two"):
        (repository.folder / "src" / f"{name}.ts").write_text(name)
        repository.git("add", ".")
        repository.git("commit", "--quiet", "--message=work")
    repository.git("checkout", "--quiet", "main")
    repository.git("merge", "--quiet", "--no-edit", "feature")
    assert len(list_commits(repository.folder, 10)) == 3
    assert files_by_commit(repository.folder, 10)[0] == {"src/one.ts", "src/two.ts"}
    assert files_by_commit(repository.folder / "src", 10)[:2] == (
        frozenset({"one.ts", "two.ts"}),
        frozenset({"a.ts"}),
    )


@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_a_commit_is_what_its_checkout_is(tmp_path: Path, form: str) -> None:
    """Paths, links, ignore rules and fingerprints of commits are those of the folder that a checkout makes."""
    repository = Repository(tmp_path)
    repository.git("init", "--quiet", f"--object-format={form}", "--initial-branch=main")
    app = tmp_path / "app"
    (app / "deep" / "er").mkdir(parents=True)
    (app / "Dockerfile").write_text("FROM scratch AS a\nCOPY deep /deep\nFROM scratch AS b\nCOPY . .\n")
    (app / ".dockerignore").write_text("*.log\n**/skip\n!deep/keep.log\n")
    for name in ("deep/er/x", "deep/keep.log", "out.log", "deep/skip", "späte datei", "run.sh"):
        (app / name).write_text(name)
    (app / "run.sh").chmod(0o755)
    (app / "link").symlink_to("deep/er/x")
    repository.git("add", ".")
    repository.git("commit", "--quiet", "--message=one")
    (app / "deep/er/x").write_text("changed")
    (app / "run.sh").chmod(0o644)
    repository.git("commit", "--quiet", "--all", "--message=two")
    for commit in list_commits(tmp_path, 5):
        repository.checkout(commit)
        on_disk = ContextFolder(app, app / "Dockerfile")
        with GitTrees(tmp_path) as trees:
            inside = TreeContext(trees=trees, revision=commit, folder="app", dockerfile="app/Dockerfile")
            assert inside.paths == on_disk.paths
            assert inside.links == on_disk.links
            assert (inside.rules_name, inside.rules) == (on_disk.rules_name, on_disk.rules)
            assert inside.text == (app / "Dockerfile").read_text()
            if form == "sha1":
                graph = parse_dockerfile(inside.text)
                assert digests(graph, inside) == digests(graph, on_disk)


def digests(graph: Any, context: Any) -> dict[str, str]:
    return {name: found.digest for name, found in fingerprint_stages(graph, BuildInputs(context=context)).items()}


def test_a_tree_is_read_once(grown: Grow) -> None:
    """After the first commit only what changed is read again: the folders on the way to the file."""
    repository = grown({"a/b/c/x": "1", "d/e": "1", "d/f/g": "1"}, {"a/b/c/x": "2"})
    read: list[str] = []

    class Counted(GitTrees):
        def read_object(self, name: str) -> GitObject | None:
            read.append(name)
            return super().read_object(name)

    with Counted(repository.folder) as trees:
        for commit in list_commits(repository.folder, 5):
            read.clear()
            tree = TreeContext(trees=trees, revision=commit, folder="", dockerfile="Dockerfile").tree
            assert "a/b/c/x" in trees.list_entries(tree)
    assert len(read) == 1 + len(("", "a", "a/b", "a/b/c"))


@pytest.mark.parametrize("arguments", [(), ("--seconds=base=1,builder=2",)])
def test_without_times_the_stages_are_named(grown: Grow, arguments: tuple[str, ...]) -> None:
    """The error says which stages' times are missing, as the flag that gives them."""
    repository = grown(FIVE)
    repository.checkout()
    answer = repository.stagebake("forecast", *arguments)
    assert answer.returncode == 2
    assert "python-deps=SECONDS,node-deps=SECONDS" in answer.stderr


def test_times_from_a_report(grown: Grow) -> None:
    """What a build wrote with --report gives the times of the stages that it ran; --seconds overrides them."""
    repository = grown(FIVE)
    repository.checkout()
    stages = [{"name": name, "status": "rebuilt", "seconds": 7.0} for name in STAGES]
    (repository.folder / "report.json").write_text(json.dumps({"stages": stages}))
    answer = repository.stagebake("forecast", "--json", "--times=report.json", "--seconds=base=1")
    assert json.loads(answer.stdout)["stages"] == {**dict.fromkeys(STAGES, 7.0), "base": 1.0}


def test_outside_of_git(tmp_path: Path) -> None:
    """A folder that is no repository is your input, not a bug."""
    (tmp_path / "Dockerfile").write_text("FROM a AS app\n")
    answer = Repository(tmp_path).stagebake("forecast", "--seconds=app=1")
    assert answer.returncode == 2
    assert "fatal: not a git repository" in answer.stderr


def test_the_picture_is_written(grown: Grow) -> None:
    """--svg writes it beside the table."""
    repository = grown(*realistic(40))
    repository.checkout()
    answer = repository.stagebake("forecast", TIMES, "--svg=out/forecast.svg")
    assert answer.returncode == 0, answer.stderr
    assert (repository.folder / "out/forecast.svg").read_text().startswith("<svg")


def test_stagebake_is_never_dearer(grown: Grow) -> None:
    """Over a team's history no push runs more under stagebake than under any other way of caching."""
    repository = grown(*realistic(120))
    repository.checkout()
    for push in pushes(repository)["pushes"]:
        mine = set(push["ran"]["stagebake"])
        assert all(mine <= set(stages) for stages in push["ran"].values())


DOCTOR = "FROM node:24 AS app\nCOPY . .\nRUN npm ci\n"


def test_doctor_reads_the_history(grown: Grow) -> None:
    """Rebuilds are counted in git; without an engine it says that BuildKit was not asked; --strict exits 1."""
    files = {"Dockerfile": DOCTOR, "package.json": "{}", ".dockerignore": "notes\n", "notes/x": "1"}
    repository = grown(files, *({"a.ts": str(number), "notes/x": str(number)} for number in range(7)))
    repository.checkout()
    answer = repository.stagebake("doctor", "--json", "--seconds=app=60")
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    early = next(found for found in told["findings"] if found["rule"] == "copy-before-install")
    assert "8 of the last 8 rebuilds (most often a.ts" in early["what"]
    assert (early["line"], early["seconds"]) == (2, 60)
    assert any("BuildKit's build checks did not run" in note for note in told["notes"])
    assert repository.stagebake("doctor", "--strict").returncode == 1
    skipped = [f"--skip={found['rule']}" for found in told["findings"]]
    assert repository.stagebake("doctor", "--strict", *skipped).returncode == 0


def test_settings_know_the_folder(grown: Grow) -> None:
    """A Dockerfile in a folder of the repository is found in its commits, also from within that folder."""
    repository = grown({f"app/{name}": text for name, text in FIVE.items()}, {"app/src/page.ts": "2"}, {"x": "1"})
    repository.checkout()
    answer = Repository(repository.folder / "app").stagebake("forecast", TIMES, "--json")
    assert [push["ran"]["stagebake"] for push in json.loads(answer.stdout)["pushes"]] == [
        sorted(STAGES), ["builder", "runtime"], []
    ]  # fmt: skip


@pytest.mark.parametrize("time", ["nan", "inf", "-7"])
def test_no_time_at_all_is_named(grown: Grow, time: str) -> None:
    """--seconds takes what a stage can take."""
    repository = grown(FIVE)
    repository.checkout()
    answer = repository.stagebake("forecast", TIMES, f"--seconds=base={time}")
    assert answer.returncode == 2
    assert f"`base={time}` is not STAGE=SECONDS" in answer.stderr


def test_a_picture_that_cannot_be_written_is_named(grown: Grow) -> None:
    """--svg with a folder is your input."""
    repository = grown(FIVE)
    repository.checkout()
    answer = repository.stagebake("forecast", TIMES, "--svg=src")
    assert answer.returncode == 2
    assert "--svg: src" in answer.stderr


def test_since_nothing_is_named(grown: Grow) -> None:
    """An empty variable in a script does not become a plan of another kind."""
    repository = grown(FIVE)
    repository.checkout()
    answer = repository.stagebake("plan", "--since=")
    assert answer.returncode == 2
    assert "--since: no commit is given" in answer.stderr


def since(repository: Repository, commit: str = "HEAD") -> dict[str, tuple[str, list[str]]]:
    """What `plan --since` expects of each stage, and why."""
    answer = repository.stagebake("plan", "--json", f"--since={commit}")
    assert answer.returncode == 0, answer.stderr
    stages = json.loads(answer.stdout)["stages"]
    return {stage["name"]: (stage["expected"], [reason["what"] for reason in stage["reasons"]]) for stage in stages}


ALL = {"Dockerfile": "FROM scratch AS deps\nCOPY lock /\nFROM deps AS app\nCOPY . .\n", "lock": "1\n", "page": "1\n"}
RESTORE: tuple[str, list[str]] = ("restore", [])


def test_since_what_no_commit_holds(grown: Grow) -> None:
    """Nobody knows what .git and ignored files were at a commit: a stage that takes them is unknown, not rebuilt."""
    repository = grown({**ALL, ".gitignore": "out/\n.cache\n", ".dockerignore": ".cache\n"})
    repository.checkout()
    (repository.folder / "out").mkdir()
    (repository.folder / "out/a.js").write_text("made")
    told = since(repository)
    assert told["deps"] == RESTORE
    assert told["app"] == ("unknown", [f"`{name}`: no commit holds it" for name in (".git", "out")])
    (repository.folder / "page").write_text("2\n2\n")
    assert since(repository)["app"] == ("rebuild", ["`page` changed"])
    (repository.folder / ".dockerignore").write_text(".cache\n.git\nout\n")
    repository.git("checkout", "page")
    assert since(repository)["app"][0] == "rebuild", "the commit had no such rules"
    repository.git("add", ".")
    repository.git("commit", "--quiet", "--message=rules")
    assert since(repository) == {"deps": RESTORE, "app": RESTORE}


def test_since_a_commit_with_a_submodule(grown: Grow, tmp_path: Path) -> None:
    """Its files are those of the commit as long as git finds no change in it."""
    grow(tmp_path / "part", [{"code/x": "1"}])
    repository = grown({**ALL, ".dockerignore": "**/.git\n.cache\n"})
    repository.checkout()
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", f"{tmp_path}/part", "part")
    repository.git("commit", "--quiet", "--message=part")
    assert since(repository) == {"deps": RESTORE, "app": RESTORE}
    (repository.folder / "part/code/x").write_text("2")
    told = since(repository)
    assert (told["deps"], told["app"][0]) == (RESTORE, "rebuild")
    assert since(repository, "HEAD~1")["app"][0] == "rebuild"


def test_since_a_commit_whose_checkout_converts(grown: Grow) -> None:
    """Line ends that git makes are no change; others are, and so are those that new attributes make."""
    repository = grown({**ALL, ".gitattributes": "page eol=crlf\n", ".dockerignore": ".git\n.cache\n"})
    repository.checkout()
    assert (repository.folder / "page").read_bytes() == b"1\r\n"
    assert since(repository) == {"deps": RESTORE, "app": RESTORE}
    (repository.folder / "page").write_bytes(b"2\r\n")
    assert since(repository)["app"] == ("rebuild", ["`page` changed"])
    repository.git("checkout", "page")
    (repository.folder / "lock").write_bytes(b"1\r\n")
    (repository.folder / ".gitattributes").write_text("page eol=lf\nlock eol=crlf\n")
    assert since(repository)["deps"] == ("rebuild", ["`lock` changed"])


def test_attributes_above_the_context_count(grown: Grow) -> None:
    """New ones make other line ends of a file that git finds unchanged."""
    app = {f"app/{name}": text for name, text in ALL.items()}
    settings = {"stagebake.toml": 'context = "app"\ndockerfile = "app/Dockerfile"\n', ".gitattributes": "x eol=lf\n"}
    repository = grown({**app, **settings})
    repository.checkout()
    assert since(repository)["deps"] == RESTORE
    (repository.folder / ".gitattributes").write_text("lock eol=crlf\n")
    (repository.folder / "app/lock").write_bytes(b"1\r\n")
    assert since(repository)["deps"] == ("rebuild", ["`lock` changed"])


def test_since_takes_what_is_neither_committed_nor_ignored(grown: Grow) -> None:
    """A new file, and a mode that is new."""
    repository = grown({**ALL, ".dockerignore": ".git\n.cache\n"})
    repository.checkout()
    (repository.folder / "new").write_text("1")
    assert since(repository)["app"] == ("rebuild", ["`new` added"])
    (repository.folder / "lock").chmod(0o755)
    assert since(repository)["deps"] == ("rebuild", ["mode of lock 644 → 755"])


@pytest.mark.parametrize("reference", ["nowhere", "HEAD~1", "--all", "HEAD:lock"])
def test_since_a_commit_that_git_does_not_have(grown: Grow, tmp_path: Path, reference: str) -> None:
    """A misspelt one, or one that a shallow clone lacks: git's own words, and what to do."""
    grown(ALL, {"page": "2"})
    clone = Repository(tmp_path / "clone")
    clone.folder.mkdir()
    clone.git("clone", "--quiet", "--depth=1", f"file://{tmp_path}/project", ".")
    answer = clone.stagebake("plan", f"--since={reference}")
    assert answer.returncode == 2
    assert "fatal: bad revision" in answer.stderr or "expected commit type" in answer.stderr
    assert "git fetch --unshallow" in answer.stderr
    assert len(answer.stderr.splitlines()) == 2, answer.stderr


@pytest.mark.parametrize("arguments", [("plan", "--since=HEAD"), ("forecast", TIMES)])
def test_what_git_cannot_read_is_said_in_its_words(grown: Grow, arguments: tuple[str, ...]) -> None:
    """An object with wrong bytes."""
    repository = grown(FIVE)
    repository.checkout()
    name = repository.git("rev-parse", "HEAD^{tree}").strip()
    file = repository.folder / ".git/objects" / name[:2] / name[2:]
    file.chmod(0o644)
    file.write_bytes(b"spoiled")
    answer = repository.stagebake(*arguments)
    assert answer.returncode == 2, answer.stderr
    assert f"fatal: loose object {name}" in answer.stderr
    assert len(answer.stderr.splitlines()) == 2, answer.stderr


@pytest.mark.parametrize("arguments", [("plan", "--since=HEAD"), ("forecast", TIMES)])
def test_a_context_outside_of_the_repository_is_named(grown: Grow, arguments: tuple[str, ...]) -> None:
    """No commit has its files."""
    repository = grown({**FIVE, "stagebake.toml": 'context = ".."\n'})
    repository.checkout()
    answer = repository.stagebake(*arguments)
    assert answer.returncode == 2, answer.stderr
    assert ".. is outside of the repository" in answer.stderr


def test_links_of_a_commit_lead_where_a_checkout_s_do(tmp_path: Path) -> None:
    """A Dockerfile, an ignore file and a context that are links; one that leads astray is none, as is a file."""
    repository = Repository(tmp_path)
    repository.git("init", "--quiet", "--initial-branch=main")
    (tmp_path / "my app").mkdir()
    (tmp_path / "my app/real").write_text("FROM scratch\n")
    (tmp_path / "my app/rules").write_text("rules\n")
    (tmp_path / "my app/.dockerignore").symlink_to("rules")
    (tmp_path / "Dockerfile").symlink_to("my app/real")
    (tmp_path / "context").symlink_to("my app")
    (tmp_path / "astray").symlink_to("/etc/passwd")
    repository.git("add", ".")
    repository.git("commit", "--quiet", "--message=one")
    with GitTrees(tmp_path) as trees:
        found = TreeContext(trees=trees, revision="HEAD", folder="context", dockerfile="Dockerfile")
        assert (found.text, found.rules) == ("FROM scratch\n", "rules\n")
        assert "real" in found.paths
        assert trees.read_text("HEAD:astray") is None
        assert trees.read_text("HEAD:my app/nothing here") is None
        assert TreeContext(trees=trees, revision="HEAD", folder="my app/real", dockerfile="Dockerfile").paths == ()


def test_plan_since_reads_dirty_nested_submodule(grown: Grow, tmp_path: Path) -> None:
    """Find changes in a submodule of a submodule, and leave index and objects of all repositories as they are."""
    grow(tmp_path / "inner", [{"x": "1"}])
    outer = grow(tmp_path / "outer", [{"y": "1"}])
    outer.checkout()
    add_submodule(outer, tmp_path / "inner", "inner")
    repository = grown({**ALL, ".dockerignore": "**/.git\n.cache\n"})
    repository.checkout()
    add_submodule(repository, tmp_path / "outer", "outer")
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init", "--recursive")
    assert since(repository) == {"deps": RESTORE, "app": RESTORE}
    (repository.folder / "outer/inner/x").write_text("2")
    (repository.folder / "outer/new").write_text("1")
    before = repository.git("count-objects", "--verbose")
    assert since(repository) == {
        "deps": RESTORE,
        "app": ("rebuild", ["`outer/inner/x` changed", "`outer/new` added"]),
    }
    assert repository.git("count-objects", "--verbose") == before
    assert repository.git("status", "--porcelain") == " M outer\n"


def add_submodule(repository: Repository, source: Path, name: str) -> None:
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(source), name)
    repository.git("commit", "--quiet", "--message=part")


def test_plan_since_reads_files_of_nested_repository(grown: Grow) -> None:
    """Take the files of an untracked repository, even before its first commit, as added."""
    repository = grown({**ALL, ".dockerignore": "**/.git\n.cache\n"})
    repository.checkout()
    (repository.folder / "nested").mkdir()
    nested = Repository(repository.folder / "nested")
    nested.git("init", "--quiet")
    (nested.folder / "x").write_text("1")
    stages = since(repository)
    assert stages["deps"] == RESTORE
    assert stages["app"] == ("rebuild", ["`nested` added", "`nested/x` added"])


def test_plan_since_reads_converted_files_of_lfs(grown: Grow) -> None:
    """Compare what the clean filter stores, as Git LFS has one: the pointer, not the content on disk."""
    attributes = "page filter=upper\n"
    repository = grown({**ALL, "page": "SMALL\n", ".gitattributes": attributes, ".dockerignore": ".git\n.cache\n"})
    repository.git("config", "filter.upper.clean", "tr a-z A-Z")
    repository.git("config", "filter.upper.smudge", "tr A-Z a-z")
    repository.checkout()
    assert (repository.folder / "page").read_text() == "small\n"
    (repository.folder / "page").touch()
    assert since(repository) == {"deps": RESTORE, "app": RESTORE}
    (repository.folder / "page").write_text("other\n")
    assert since(repository)["app"] == ("rebuild", ["`page` changed"])
