"""Make single changes of a repository, each with the stages that must run: BuildKit's rules in docs/invalidation.md."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.archive import make_files
from tests.support.project import BUSYBOX, TOOLS, Project
from tests.support.shapes import draw

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
    """Change of the repository, and the values that are new in the image of the next build.

    `ran` are the stages that the report then names; None means those of the values.
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
    """Return the lines of a stage."""
    start = DOCKERFILE.index(f"FROM base AS {name}\n")
    return DOCKERFILE[start : DOCKERFILE.index("FROM", start + 1)]


def commit(project: Project) -> None:
    project.write({"notes.md": "committed\n"})
    project.commit()


def new_tools(project: Project) -> None:
    base = make_files(TOOLS, project.folder.parent, {"tools.txt": "saw\n"})
    project.engine.docker("image", "load", "--quiet", "--input", str(base.archive))
    project.engine.share_bases()


def new_busybox(project: Project) -> None:
    folder = project.folder.parent / "base"
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM {BUSYBOX}\nCOPY Dockerfile /update\n", encoding="utf-8")
    project.engine.docker("build", "--quiet", "--builder=default", f"--tag={BUSYBOX}", str(folder))
    project.engine.share_bases()


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


def fill(project: Project) -> None:
    """Write and commit the sources before any change."""
    project.write(FILES)
    (project.folder / "src/link").symlink_to("page.ts")
    settings(project)
    project.commit()
