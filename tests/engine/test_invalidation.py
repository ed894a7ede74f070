"""What runs after a change is what BuildKit's rules say: each on an engine that remembers nothing, with the caches of a
first push. Whether a stage ran is seen by the value that it draws. docs/invalidation.md is written from this table."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support.archive import make_files
from tests.support.engine import Engine
from tests.support.project import BUSYBOX, TOOLS, Outcome, Project
from tests.support.registry import Registry
from tests.support.shapes import FIVE, STAGES, changed, draw

ROUNDS = 5

DOCKERFILE = f"""\
# what is on top
ARG NOWHERE=1
FROM busybox:1 AS base
{draw("base")}

FROM base AS files
COPY src src
{draw("files")}

FROM base AS options
{draw("early")}
ARG OPTION=1
ARG IDLE=1
ENV COLOUR=red
RUN echo $OPTION > /option && head -c16 /dev/urandom | md5sum > /options.txt

FROM base AS texts
COPY <<EOF /motd
hello
EOF
RUN <<EOF
echo script
head -c16 /dev/urandom | md5sum > /texts.txt
EOF

FROM base AS secret
RUN --mount=type=secret,id=token md5sum /run/secrets/token && head -c16 /dev/urandom | md5sum > /secret.txt

FROM base AS sorted
COPY lists lists
RUN sort lists/names > /sorted && head -c16 /dev/urandom | md5sum > /drawn.txt

FROM base AS user
COPY --from=sorted /sorted /sorted
{draw("user")}

FROM base AS hammer
COPY --from=example.test/tools:1 /tools.txt /head
{draw("hammer")}

FROM base AS image
COPY --from=files /files.txt /
COPY --from=options /early.txt /options.txt /
COPY --from=texts /texts.txt /
COPY --from=secret /secret.txt /
COPY --from=user /user.txt /
COPY --from=hammer /hammer.txt /
{draw("image")}
LABEL version=1
CMD ["cat", "/image.txt"]
"""
FILES = {
    "Dockerfile": DOCKERFILE,
    ".dockerignore": "**/*.log\n",
    "src/page.ts": "export default 1\n",
    "src/other.ts": "export default 1\n",
    "src/debug.log": "one\n",
    "lists/names": "a\nb\n",
    "notes.md": "one\n",
}
ALL = {"base", "files", "early", "options", "texts", "secret", "user", "hammer", "image"}
COPIES = {"files", "image"}
OPTIONS = {"options", "image"}
TEXTS = {"texts", "image"}

Act = Callable[[Project], object]


@dataclass(frozen=True)
class Change:
    """Something that changes, and the values that are new in the image of the next build.

    `ran` are the stages that the report then names, the ones of the values where it is None.
    """

    act: Act
    new: set[str]
    ran: set[str] | None = None


def file(name: str, text: str) -> Act:
    return lambda project: project.write({name: text})


def edit(old: str, new: str) -> Act:
    def act(project: Project) -> None:
        text = (project.folder / "Dockerfile").read_text(encoding="utf-8")
        assert text.count(old) == 1, old
        project.write({"Dockerfile": text.replace(old, new)})

    return act


def at(name: str, act: Callable[[Path], object]) -> Act:
    return lambda project: act(project.folder / name)


def settings(project: Project, more: str = "") -> None:
    project.settings(f'secrets = ["id=token,env=WORD"]\n{more}')


def arg(pair: str) -> Act:
    return lambda project: settings(project, f"args = {{ {pair} }}\n")


def relink(path: Path) -> None:
    path.unlink()
    path.symlink_to("elsewhere")


def swapped(first: str, second: str) -> Act:
    def act(project: Project) -> None:
        text = (project.folder / "Dockerfile").read_text(encoding="utf-8")
        assert text.count(first) == text.count(second) == 1
        project.write({"Dockerfile": text.replace(first, "<>").replace(second, first).replace("<>", second)})

    return act


def stage(name: str) -> str:
    """The lines of a stage."""
    start = DOCKERFILE.index(f"FROM base AS {name}\n")
    return DOCKERFILE[start : DOCKERFILE.index("FROM", start + 1)]


def commit(project: Project) -> None:
    project.write({"notes.md": "committed\n"})
    project.commit()


def new_tools(project: Project) -> None:
    base = make_files(TOOLS, project.folder.parent, {"tools.txt": "saw\n"})
    project.engine.docker("image", "load", "--quiet", "--input", str(base.archive))


def new_busybox(project: Project) -> None:
    folder = project.folder.parent / "base"
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM {BUSYBOX}\nCOPY Dockerfile /update\n", encoding="utf-8")
    project.engine.docker("build", "--quiet", f"--tag={BUSYBOX}", str(folder))


CHANGES = {
    "file-content": Change(file("src/page.ts", "export default 2\n"), COPIES),
    "file-mode": Change(at("src/page.ts", lambda path: path.chmod(0o755)), COPIES),
    "file-renamed": Change(at("src/page.ts", lambda path: path.rename(path.with_name("index.ts"))), COPIES),
    "file-added": Change(file("src/new.ts", "1\n"), COPIES),
    "file-removed": Change(at("src/other.ts", Path.unlink), COPIES),
    "folder-added": Change(at("src/empty", Path.mkdir), COPIES),
    "link-target": Change(at("src/link", relink), COPIES),
    "ignored-file-let-in": Change(file(".dockerignore", "notes.md\n"), COPIES),
    "arg-used": Change(edit("OPTION=1", "OPTION=2"), OPTIONS),
    "arg-declared-and-unused": Change(edit("IDLE=1", "IDLE=2"), OPTIONS),
    "arg-of-settings": Change(arg('OPTION = "2"'), OPTIONS),
    "env": Change(edit("COLOUR=red", "COLOUR=blue"), OPTIONS),
    "heredoc-of-run": Change(edit("echo script", "echo text"), TEXTS),
    "heredoc-of-copy": Change(edit("hello", "good day"), TEXTS),
    "space-within-a-command": Change(edit("echo $OPTION", "echo  $OPTION"), OPTIONS),
    "steps-reordered": Change(
        swapped("COPY --from=files /files.txt /\n", "COPY --from=texts /texts.txt /\n"), {"image"}
    ),
    "stage-that-came-out-the-same": Change(file("lists/names", "b\na\n"), set(), ran={"sorted"}),
    "stage-that-came-out-different": Change(
        file("lists/names", "b\nc\n"), {"user", "image"}, ran={"sorted", "user", "image"}
    ),
    "copied-image-with-new-content": Change(new_tools, {"hammer", "image"}),
    "base-image-with-new-content": Change(new_busybox, ALL, ran=ALL - {"early"} | {"sorted"}),
}
NOT_CHANGES: dict[str, Act] = {
    "file-time": at("src/page.ts", lambda path: os.utime(path, (1, 1))),
    "file-owner": at("src/page.ts", lambda path: os.chown(path, 1234, 1234)),
    "file-that-no-copy-takes": file("notes.md", "two\n"),
    "ignored-file": file("src/debug.log", "two\n"),
    "ignore-rule-without-effect": file(".dockerignore", "**/*.log\nnotes.md\n"),
    "arg-declared-before-from-only": edit("NOWHERE=1", "NOWHERE=2"),
    "arg-of-settings-with-the-same-value-and-one-declared-nowhere": arg('OPTION = "1", ELSEWHERE = "2"'),
    "space-around-instructions": edit("COPY src src\n", "\n\n  COPY   src   src   \n\n"),
    "instruction-in-lower-case": edit("COPY lists lists", "copy lists lists"),
    "comment": edit("# what is on top", "# another\n# comment"),
    "label": edit("version=1", "version=2"),
    "cmd": edit('["cat", "/image.txt"]', '["true"]'),
    "stages-reordered": swapped(stage("texts"), stage("secret")),
    "stage-renamed": lambda project: [
        edit(f"{word}secret", f"{word}hidden")(project) for word in ("FROM base AS ", "COPY --from=")
    ],
    "commit": commit,
}


def test_the_document_has_each_row() -> None:
    """docs/invalidation.md names every change of these tables."""
    document = (Path(__file__).parents[2] / "docs/invalidation.md").read_text(encoding="utf-8")
    assert not {name for name in (*CHANGES, *NOT_CHANGES) if f"`{name}`" not in document}


@pytest.fixture(scope="module")
def wide_push(tmp_path_factory: pytest.TempPathFactory, engine: Engine, registry: Registry) -> str:
    """The name under which the Dockerfile of this table was pushed once."""
    folder = tmp_path_factory.mktemp("wide") / "project"
    folder.mkdir()
    project = Project(folder=folder, name="wide", engine=engine, registry=registry)
    project.git("init", "--quiet", "--initial-branch=main")
    fill(project)
    engine.empty()
    project.build("--push", WORD="one")
    return project.name


@pytest.fixture
def wide(wide_push: str, project: Project) -> Project:
    """The same sources and caches, and an engine that remembers nothing."""
    fill(project)
    project.registry.copy(wide_push, project.name)
    return project


def fill(project: Project) -> None:
    project.write(FILES)
    (project.folder / "src/link").symlink_to("page.ts")
    settings(project)
    project.commit()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_runs_what_depends_on_it_and_nothing_else(wide: Project, change: Change) -> None:
    """The values of these stages are new, all others are those of before, and the report says the same."""
    before = wide.pushed()
    change.act(wide)
    outcome = release(wide)
    assert changed(before, wide.pushed()) == change.new
    assert outcome.ran == (change.new if change.ran is None else change.ran)


def test_what_is_no_change_runs_nothing(wide: Project) -> None:
    """All of NOT_CHANGES at once: no stage runs. But what LABEL and CMD say is new in the image, on the same layers."""
    before, layers = wide.pushed(), wide.registry.image_manifest(wide.name, "latest")["layers"]
    for act in NOT_CHANGES.values():
        act(wide)
    assert release(wide).ran == set()
    assert wide.pushed() == before
    assert wide.registry.image_manifest(wide.name, "latest")["layers"] == layers
    config = wide.registry.config(wide.name, "latest")["config"]
    assert (config["Labels"]["version"], config["Cmd"]) == ("2", ["true"])


def release(project: Project, *arguments: str, word: str = "one") -> Outcome:
    """A push of what is no branch: it reads the default branch's caches and saves none, which takes less time."""
    project.git("checkout", "--quiet", "--detach")
    return project.build("--push", f"--image={project.image}:latest", *arguments, WORD=word)


def test_a_secret_s_value_is_no_reason(wide: Project) -> None:
    """A secret with another value: the step that reads it is restored. Forcing the stage runs it."""
    before = wide.pushed()
    assert release(wide, word="two").ran == set()
    assert wide.pushed() == before
    release(wide, "--no-cache", "secret", word="two")
    assert changed(before, wide.pushed()) == {"secret", "image"}


def test_a_checkout_under_another_umask_misses_and_is_told_why(shipped: Project) -> None:
    """The same commit checked out under umask 002: modes count, so what is copied is rebuilt. stagebake says so, and
    what it says to run brings the caches back."""
    before = shipped.pushed()
    loose = cloned(shipped, "0002")
    outcome = loose.stagebake("build", "--image", f"{shipped.image}:loose", "--push")
    assert outcome.exit_code == 0, outcome.stderr
    assert changed(before, loose.pushed("loose")) == set(STAGES) - {"base"}
    (warning,) = outcome.report["warnings"]
    assert "umask 002" in warning
    assert "chmod -R go-w ." in warning

    shipped.engine.empty()
    shipped.engine.run("chmod", "-R", "go-w", ".", folder=loose.folder)
    loose.build("--push")
    assert loose.pushed() == before


def test_a_checkout_under_the_same_umask_misses_nothing(shipped: Project) -> None:
    """A clone under umask 022 is another folder with other times: all is restored, and no warning is given."""
    before = shipped.pushed()
    assert cloned(shipped, "0022").build("--push").ran == set()
    assert shipped.pushed() == before


def cloned(project: Project, umask: str) -> Project:
    folder = project.folder.parent / f"clone{umask}"
    answer = project.engine.run(
        "sh", "-c", f"umask {umask} && git clone --quiet {project.folder} {folder}", folder=project.folder.parent
    )
    assert answer.returncode == 0, answer.stderr
    return replace(project, folder=folder)


def test_a_stage_that_comes_out_the_same_again_and_again(project: Project) -> None:
    """Five times `builder` runs with other sources and the same result: what copies from it is restored each time, and
    no stage beside it ever runs, with a plain build on another engine after each."""
    dockerfile = FIVE["Dockerfile"].replace(draw("builder"), "RUN echo built > /builder.txt")
    project.write({**FIVE, "Dockerfile": dockerfile})
    project.settings()
    project.build("--push")
    before = project.pushed()
    for number in range(ROUNDS):
        project.write({"src/page.ts": f"{number}\n"})
        for ran in ({"builder"}, set()):
            project.engine.empty()
            assert project.build("--push").ran == ran
            assert project.pushed() == before
