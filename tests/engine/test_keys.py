"""Compare fingerprints with BuildKit's cache keys on an engine that knows earlier builds.

No stage runs whose fingerprint is the same. Where a fingerprint differs and BuildKit restores, the table says so under
`more`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stagebake.build.result import rebuilt_stages
from stagebake.buildkit.events import Trace
from stagebake.context.folder import ContextFolder
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.fingerprint.model import BuildInputs, Fingerprint, ImageInfo
from stagebake.fingerprint.stage_inputs import fingerprint_stages
from tests.support.engine import Engine
from tests.support.memory_files import changed
from tests.support.project import BUSYBOX

pytestmark = pytest.mark.xdist_group("keys")

STAGES = {
    "whole": "FROM scratch\nCOPY . /whole",
    "folder": "FROM scratch\nCOPY src /folder",
    "one": "FROM scratch\nCOPY src/page.ts /one",
    "wild": "FROM scratch\nCOPY *.json /wild/",
    "deeper": "FROM scratch\nCOPY src/*/?.txt /deeper/",
    "excluded": "FROM scratch\nCOPY --exclude=*.md --exclude=**/*.log docs /excluded",
    "link": "FROM scratch\nCOPY link.ts /link",
    "through": "FROM scratch\nCOPY folder/a.txt /through",
    "links": "FROM scratch\nCOPY links /links",
    "each-link": "FROM scratch\nCOPY links/* /each-link/",
    "empty": "FROM scratch\nWORKDIR /empty\nCOPY package.json x",
    "linked": "FROM scratch\nCOPY --link package.json /linked",
    "bound": "FROM busybox:1\nRUN --mount=type=bind,source=src/deep,target=/bound true",
    "bound-link": "FROM busybox:1\nRUN --mount=type=bind,source=folder,target=/bound-link true",
    "bound-whole": "FROM busybox:1\nRUN --mount=target=/bound-whole true",
    "bound-rw": "FROM busybox:1\nRUN --mount=type=bind,source=docs,target=/bound-rw,rw true",
    "heredoc": 'FROM scratch\nARG GREET=hi\nCOPY <<EOF <<"RAW" /heredoc/\n$GREET\nEOF\n$GREET\nRAW',
    "script": "FROM busybox:1\nRUN <<EOF\necho script\nEOF",
    "args": "FROM busybox:1\nRUN echo first\nARG OPTION=1\nARG IDLE=1\nARG SHARED\nENV COLOUR=red\nRUN echo $OPTION",
    "tail": "FROM busybox:1\nRUN echo tail\nARG TAIL=1\nENV ALSO=1\nLABEL a=$TAIL",
    "child": "FROM tail\nRUN echo child",
    "copier": "FROM tail\nCOPY tsconfig.json /copier",
    "unset": "FROM busybox:1\nARG NOVALUE\nRUN echo ${NOVALUE:-none}",
    "expanded": "FROM scratch\nARG DIR=src\nCOPY ${DIR}/other.ts /expanded",
    "shell": 'FROM busybox:1\nSHELL ["/bin/sh", "-c"]\nRUN echo shell',
    "user": "FROM busybox:1\nUSER 1\nWORKDIR /user",
    "folders": "FROM busybox:1\nWORKDIR /folders\nCOPY tsconfig.json x\nARG LATE=1",
    "trigger": "FROM busybox:1\nRUN echo trigger\nONBUILD COPY notes.md /trigger",
    "triggered": "FROM trigger\nCOPY tsconfig.json /triggered",
    "joined": "FROM busybox:1\nRUN echo a && \\\n    # words\n    echo b",
}
ALL = " ".join(f"--mount=from={name},target=/m/{name}" for name in STAGES)
WRITTEN = {**STAGES, "all": f"FROM busybox:1\nRUN {ALL} true"}
DOCKERFILE = "ARG OUTER=1\nARG SHARED=1\n" + "\n".join(
    text.replace("\n", f" AS {name}\n", 1) for name, text in WRITTEN.items()
)
FILES = {
    ".dockerignore": ".dockerignore\nDockerfile\nnode_modules\n**/*.tmp\nsome\n!some/in.txt\n",
    "Dockerfile": DOCKERFILE,
    "docs/a.md": "a\n",
    "docs/b.txt": "b\n",
    "docs/sub/c.md": "c\n",
    "docs/sub/d.log": "d\n",
    "links/real.txt": "real\n",
    "node_modules/x.js": "1\n",
    "notes.md": "1\n",
    "package.json": "{}\n",
    "some/in.txt": "1\n",
    "some/out.txt": "1\n",
    "src/deep/a.txt": "a\n",
    "src/deep/bb.txt": "b\n",
    "src/other.ts": "1\n",
    "src/page.ts": "1\n",
    "tsconfig.json": "{}\n",
}
LINKS = {"folder": "src/deep", "link.ts": "src/page.ts", "links/l.ts": "../src/page.ts"}

EVERY = {"whole", "bound-whole"}
PAGE = EVERY | {"folder", "one", "link", "each-link"}
DEEP = EVERY | {"folder", "bound", "bound-link"}
DOCS = EVERY | {"bound-rw"}

Act = Callable[[Path], object]


@dataclass(frozen=True)
class Change:
    """Change of the folder, the stages that ran after it, and those whose fingerprint differs although they did not."""

    act: Act
    ran: set[str]
    more: set[str] = field(default_factory=set)


def file(name: str, text: str = "new\n") -> Act:
    return lambda root: (root / name).write_text(text, encoding="utf-8")


def at(name: str, act: Callable[[Path], object]) -> Act:
    return lambda root: act(root / name)


def relink(name: str, target: str) -> Act:
    def act(root: Path) -> None:
        (root / name).unlink()
        (root / name).symlink_to(target)

    return act


def edit(old: str, new: str) -> Act:
    def act(root: Path) -> None:
        text = (root / "Dockerfile").read_text(encoding="utf-8")
        assert text.count(old) == 1, old
        (root / "Dockerfile").write_text(text.replace(old, new), encoding="utf-8")

    return act


CHANGES = {
    "content": Change(file("src/page.ts"), PAGE),
    "mode": Change(at("src/page.ts", lambda path: path.chmod(0o755)), PAGE),
    "attribute": Change(at("src/page.ts", lambda path: os.setxattr(path, "user.word", b"1")), PAGE),
    "folder-mode": Change(at("src/deep", lambda path: path.chmod(0o700)), DEEP),
    "mode-of-a-half-ignored-folder": Change(at("some", lambda path: path.chmod(0o700)), EVERY),
    "empty-folder": Change(at("src/empty", Path.mkdir), EVERY | {"folder"}),
    "pipe": Change(at("docs/pipe", os.mkfifo), DOCS | {"excluded"}),
    "second-name": Change(lambda root: os.link(root / "src/page.ts", root / "src/again.ts"), EVERY | {"folder"}),
    "new-file-of-a-wildcard": Change(file("new.json"), EVERY | {"wild"}),
    "new-file-of-a-deep-wildcard": Change(file("src/deep/q.txt"), DEEP | {"deeper"}),
    "new-file-beside-a-wildcard": Change(file("src/deep/qq.txt"), DEEP),
    "excluded-file": Change(file("docs/a.md"), DOCS),
    "excluded-deep-file": Change(file("docs/sub/d.log"), DOCS),
    "file-that-an-exclude-does-not-reach": Change(file("docs/sub/c.md"), DOCS | {"excluded"}),
    "link-to-the-same-file": Change(relink("link.ts", "src/../src/page.ts"), EVERY, more={"link"}),
    "link-to-another-file": Change(relink("link.ts", "src/deep/bb.txt"), EVERY | {"link"}),
    "link-within-a-folder": Change(relink("links/l.ts", "../package.json"), EVERY | {"links", "each-link"}),
    "ignored-file-let-back-in": Change(file("some/in.txt"), EVERY),
    "rule-taken-away": Change(file(".dockerignore", "Dockerfile\nsome\nnode_modules\n"), EVERY),
    "rules-of-the-dockerfile-s-own": Change(file("Dockerfile.dockerignore", "Dockerfile*\nsome\ndocs/*.md\n"), DOCS),
    "global-arg": Change(edit("ARG SHARED=1", "ARG SHARED=2"), {"args"}),
    "arg": Change(edit("OPTION=1", "OPTION=2"), {"args"}),
    "unused-arg": Change(edit("IDLE=1", "IDLE=2"), {"args"}),
    "args-swapped": Change(edit("ARG OPTION=1\nARG IDLE=1", "ARG IDLE=1\nARG OPTION=1"), {"args"}),
    "arg-becomes-env": Change(edit("ARG IDLE=1", "ENV IDLE=1"), set(), more={"args"}),
    "arg-that-gets-an-empty-value": Change(edit("ARG NOVALUE", "ARG NOVALUE="), {"unset"}),
    "env": Change(edit("COLOUR=red", "COLOUR=blue"), {"args"}),
    "arg-after-the-last-run": Change(edit("TAIL=1", "TAIL=2"), {"child"}),
    "env-after-the-last-run": Change(edit("ALSO=1", "ALSO=2"), {"child"}),
    "path-by-another-arg": Change(edit("DIR=src", "DIR=./src"), set(), more={"expanded"}),
    "heredoc-by-an-arg": Change(edit("GREET=hi", "GREET=ho"), {"heredoc"}),
    "raw-heredoc": Change(edit("$GREET\nRAW", "$OTHER\nRAW"), {"heredoc"}),
    "script": Change(edit("echo script", "echo  script"), {"script"}),
    "script-quoted": Change(edit("RUN <<EOF", 'RUN <<"EOF"'), set(), more={"script"}),
    "exec-form": Change(edit("RUN echo first", 'RUN ["echo", "first"]'), {"args"}),
    "shell": Change(edit('"-c"]', '"-ec"]'), {"shell"}),
    "user": Change(edit("USER 1", "USER 2"), {"user"}),
    "workdir": Change(edit("WORKDIR /folders", "WORKDIR /others"), {"folders"}),
    "onbuild": Change(edit("notes.md /trigger", "notes.md /other"), {"triggered"}),
    "file-of-an-onbuild": Change(file("notes.md"), EVERY | {"triggered"}),
    "indentation-within-a-run": Change(edit("    echo b", "  echo b"), {"joined"}),
    "order-of-a-mount-s-fields": Change(
        edit("source=src/deep,target=/bound ", "target=/bound,source=src/deep "), set(), more={"bound"}
    ),
    "copy-without-link": Change(edit("COPY --link package", "COPY package"), set(), more={"linked"}),
}
NOT_CHANGES: tuple[Act, ...] = (
    at("", lambda path: path.chmod(0o700)),
    at("src/page.ts", lambda path: os.utime(path, (1, 1))),
    at("src/page.ts", lambda path: os.chown(path, 1234, 1234)),
    at("node_modules/y.js", lambda path: path.write_text("2\n", encoding="utf-8")),
    at("some/out.txt", lambda path: path.write_text("2\n", encoding="utf-8")),
    at("src/x.tmp", lambda path: path.write_text("2\n", encoding="utf-8")),
    file(".dockerignore", f"{FILES['.dockerignore']}zzz\n"),
    edit("ARG OUTER=1", "ARG OUTER=2"),
    edit("ARG OPTION=1", 'ARG OPTION="1"'),
    edit("ARG LATE=1", "ARG LATE=2"),
    edit("LABEL a=$TAIL", "LABEL b=$TAIL"),
    edit("COPY *.json /wild/", "\n\n  copy   *.json   /wild/  "),
    edit("    # words\n", "    # other words\n    # and more\n"),
    edit("RUN echo child", "RUN \\\n echo child"),
    lambda root: [edit(f"{word}copier", f"{word}other")(root) for word in (" AS ", "from=")],
)


@dataclass(frozen=True)
class Workshop:
    """Folders in which the Dockerfile is built, each of them new: BuildKit overlooks some changes of a known folder."""

    folder: Path
    engine: Engine

    def make(self, name: str, *acts: Act) -> tuple[dict[str, Fingerprint], set[str]]:
        """Return the fingerprints of the files after these acts, and the stages that run when they are built."""
        root = self.folder / name
        for path, text in FILES.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        for path, target in LINKS.items():
            (root / path).symlink_to(target)
        for act in acts:
            act(root)
        return self._prints(root), self._ran(root)

    def _prints(self, root: Path) -> dict[str, Fingerprint]:
        graph = parse_dockerfile((root / "Dockerfile").read_text(encoding="utf-8"))
        images = {"busybox:1": ImageInfo(digest="sha256:1", env={"PATH": "/bin"}, triggers=())}
        return fingerprint_stages(graph, BuildInputs(context=ContextFolder(root, root / "Dockerfile"), images=images))

    def _ran(self, root: Path) -> set[str]:
        context = f"--build-context=busybox:1=docker-image://{self.engine.base_reference(BUSYBOX)}"
        command = ("docker", "buildx", "build", "--progress=rawjson", "--network=none", "--output=type=cacheonly")
        answer = self.engine.run(*command, context, ".", folder=root)
        assert answer.returncode == 0, answer.stderr[-2000:]
        trace = Trace()
        for line in answer.stderr.splitlines():
            trace.feed_line(line)
        graph = parse_dockerfile((root / "Dockerfile").read_text(encoding="utf-8"))
        assert trace.steps_by_stage(graph).keys() >= STAGES.keys() - {"copier"}
        return set(rebuilt_stages(graph, trace))


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("keys"), engine)


@pytest.fixture(scope="module")
def before(workshop: Workshop) -> dict[str, Fingerprint]:
    """Return the fingerprints of what the engine has built."""
    prints, ran = workshop.make("before")
    assert ran >= STAGES.keys()
    return prints


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_fingerprints_after_each_change_differ_where_stages_run(
    workshop: Workshop, before: dict[str, Fingerprint], change: Change, request: pytest.FixtureRequest
) -> None:
    """Compare the stages that ran with those whose fingerprint differs; the exceptions are known and listed."""
    prints, ran = workshop.make(request.node.callspec.id, change.act)
    assert ran - {"all"} == change.ran
    assert changed(before, prints) - {"all"} == change.ran | change.more


def test_fingerprints_after_harmless_changes_are_the_same(workshop: Workshop, before: dict[str, Fingerprint]) -> None:
    """Make all of NOT_CHANGES at once: nothing runs, and only the renamed stage and the one that names it differ."""
    prints, ran = workshop.make("same", *NOT_CHANGES)
    assert ran == set()
    assert prints["other"].digest == before["copier"].digest
    assert {name for name in before.keys() & prints.keys() if not before[name].is_same(prints[name])} <= {"all"}
