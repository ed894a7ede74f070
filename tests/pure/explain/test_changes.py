"""Compare two fingerprints of a stage, and name what changed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from stagebake.explain.changes import fingerprint_changes
from stagebake.explain.reasons import change_words
from stagebake.fingerprint.model import BuildInputs, Fingerprint, ImageInfo
from tests.support.memory_files import BUSYBOX, Held, prints

TEXT = """\
ARG NODE_MAJOR=18
FROM busybox:1 AS base
ARG NODE_MAJOR
ARG API_TOKEN=abc
ENV COLOUR=red
RUN npm ci --no-audit
FROM base AS app
COPY . .
"""
FILES = {
    "app/page.tsx": "a\n",
    "lock.json": "1\n2\n",
    "notes.md": "n\n",
    "run.sh": "x\n",
    "here": "link notes.md",
}
MOVED = ImageInfo(digest=f"sha256:{'c' * 64}", env={}, triggers=())


def describe_changes(old: Fingerprint, new: Fingerprint) -> list[str]:
    return [change_words(change) for change in fingerprint_changes(old, new)]


def compare(
    before: str = TEXT,
    after: str = TEXT,
    stage: str = "base",
    files: Mapping[str, str] = FILES,
    **now: object,
) -> list[str]:
    """Return in words what changed in a stage; `now` applies to the second fingerprint only."""
    old = prints(before, FILES)
    new = prints(after, files, **now)  # type: ignore[arg-type]
    return describe_changes(old[stage], new[stage])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("MAJOR=18", "MAJOR=20", ["ARG NODE_MAJOR 18 → 20 (line 3)"]),
        ("API_TOKEN=abc", "API_TOKEN=def", ["ARG API_TOKEN changed (line 4)"]),
        ("ARG API_TOKEN=abc\n", "", ["ARG API_TOKEN removed (line 4)"]),
        ("COLOUR=red", "COLOUR=blue", ["ENV COLOUR red → blue (line 5)"]),
        ("npm ci --no-audit", "npm ci", ["`RUN npm ci --no-audit` → `RUN npm ci` (line 6)"]),
        ("RUN npm", "RUN npm -v\nRUN npm", ["`RUN npm -v` added (line 6)"]),
        ("busybox:1", "busybox:2", ["`busybox:1` → `busybox:2` (line 2)"]),
        ("FROM busybox", "FROM --platform=linux/s390x busybox", ["platform linux/amd64 → linux/s390x"]),
    ],
)
def test_changes_of_an_instruction_name_it_with_its_line(old: str, new: str, words: list[str]) -> None:
    """Hide both values if the name looks like a secret."""
    assert compare(TEXT, TEXT.replace(old, new), platforms=("linux/amd64",)) == words


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"app/page.tsx": "b\n"}, ["`app/page.tsx` changed"]),
        ({"lock.json": "1\n2\n3\n4\n"}, ["`lock.json` +2 lines"]),
        ({"lock.json": "1\n"}, ["`lock.json` -1 line"]),
        ({"new.txt": ""}, ["`new.txt` added"]),
        ({"here": "link run.sh"}, ["`here` now points at `run.sh`"]),
    ],
)
def test_changes_of_a_file_name_it_with_the_number_of_lines(files: Mapping[str, str], words: list[str]) -> None:
    assert compare(stage="app", files={**FILES, **files}) == words


def test_changes_of_a_mode_name_both_modes() -> None:
    assert compare(stage="app", modes={"run.sh": 0o755}) == ["mode of run.sh 644 → 755"]


def test_changes_of_ignore_rules_name_the_rules_instead_of_the_files() -> None:
    assert compare(stage="app", rules="*.md\nlock.json\n") == ["`.dockerignore` now excludes 2 files"]
    old = prints(TEXT, FILES, "*.md\n")["app"]
    new = prints(TEXT, FILES, "*.txt\n")["app"]
    assert describe_changes(old, new) == ["`.dockerignore` now includes `notes.md`"]


def test_changes_of_ignore_rules_without_effect_are_none() -> None:
    old = prints(TEXT, FILES, "*.log\n")["app"]
    new = prints(TEXT, FILES, "*.log\n*.tmp\n")["app"]
    assert describe_changes(old, new) == []


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("Dockerfile.dockerignore", "Dockerfile.dockerignore", "`Dockerfile.dockerignore` now includes `notes.md`"),
        (".dockerignore", "own.dockerignore", "`.dockerignore` → `own.dockerignore` now includes `notes.md`"),
        ("own.dockerignore", ".dockerignore", "`own.dockerignore` → `.dockerignore` now includes `notes.md`"),
        ("own.dockerignore", "", "`own.dockerignore` now includes `notes.md`"),
    ],
)
def test_changes_of_ignore_rules_name_the_file_in_force(before: str, after: str, words: str) -> None:
    """Name both files if another one is in force now, and the old one if it was removed."""
    images = {"busybox:1": BUSYBOX}
    old_context = Held(FILES, "*.md\n", rules_name=before)
    new_context = Held(FILES, "*.txt\n" if after else "", rules_name=after)
    old = prints(TEXT, inputs=BuildInputs(context=old_context, images=images))
    new = prints(TEXT, inputs=BuildInputs(context=new_context, images=images))
    (change,) = fingerprint_changes(old["app"], new["app"])
    assert change_words(change) == words
    assert change.part.name == (after or before)


def test_changes_of_a_base_image_name_both_digests() -> None:
    """Name the parent in the stage that starts from it."""
    inputs = BuildInputs(context=Held(FILES), images={"busybox:1": MOVED})
    assert compare(inputs=inputs) == ["base image busybox:1 moved: sha256:bbbbbbbbbbbb… → cccccccccccc…"]
    assert compare(stage="app", inputs=inputs) == ["parent `base` rebuilt"]


@pytest.mark.parametrize("step", ["COPY --from=tools /a /", "RUN --mount=from=tools,target=/a true"])
def test_changes_of_a_copied_image_name_both_digests(step: str) -> None:
    text = f"{TEXT}{step}\n"
    images = {"busybox:1": BUSYBOX, "tools": MOVED}
    inputs = BuildInputs(context=Held(FILES), images=images)
    assert compare(text, text, "app", inputs=inputs) == ["image tools moved: sha256:bbbbbbbbbbbb… → cccccccccccc…"]


def test_changes_of_the_order_name_the_first_moved_part() -> None:
    swapped = TEXT.replace("ARG API_TOKEN=abc\nENV COLOUR=red", "ENV COLOUR=red\nARG API_TOKEN=abc")
    assert compare(after=swapped) == ["`COLOUR` moved (line 4)"]


def test_changes_of_a_file_that_onbuild_copies_name_the_file() -> None:
    image = ImageInfo(digest="sha256:1", env={}, triggers=("COPY src /src",))
    text = "FROM busybox:1 AS a\n"
    found: list[Fingerprint] = []
    for content in ("1", "2"):
        inputs = BuildInputs(context=Held({"src/a": content}), images={"busybox:1": image})
        found.append(prints(text, inputs=inputs)["a"])
    assert describe_changes(*found) == ["`src/a` changed"]
