"""What changed, in words that name it; what cannot be known; and that nothing secret is in a fingerprint."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from stagebake.explain.changes import fingerprint_changes
from stagebake.explain.reasons import change_words
from stagebake.fingerprint.model import BuildInputs, Fingerprint, ImageInfo
from tests.support.memory_files import BUSYBOX, Held, changed, prints

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
FILES = {"app/page.tsx": "a\n", "lock.json": "1\n2\n", "notes.md": "n\n", "run.sh": "x\n", "here": "link notes.md"}


def said(
    before: str = TEXT, after: str = TEXT, stage: str = "base", files: Mapping[str, str] = FILES, **now: object
) -> list[str]:
    """The words for what changed in a stage; `now` is given to the second fingerprint alone."""
    one, two = prints(before, FILES), prints(after, files, **now)  # type: ignore[arg-type]
    return [change_words(change) for change in fingerprint_changes(one[stage], two[stage])]


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
def test_an_instruction_is_named(old: str, new: str, words: list[str]) -> None:
    """With the line where it stands now; a value whose name tells of a secret is not said."""
    assert said(TEXT, TEXT.replace(old, new), platforms=("linux/amd64",)) == words


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
def test_a_file_is_named(files: Mapping[str, str], words: list[str]) -> None:
    """With how many lines it is longer or shorter."""
    assert said(stage="app", files={**FILES, **files}) == words


def test_a_mode_is_told() -> None:
    """A file with the same text and another mode."""
    assert said(stage="app", modes={"run.sh": 0o755}) == ["mode of run.sh 644 → 755"]


def test_ignore_rules_are_told_by_what_they_do() -> None:
    """Files that rules keep out or let in are not said to be removed or added."""
    assert said(stage="app", rules="*.md\nlock.json\n") == ["`.dockerignore` now excludes 2 files"]
    one, two = (prints(TEXT, FILES, rules)["app"] for rules in ("*.md\n", "*.txt\n"))
    assert [change_words(change) for change in fingerprint_changes(one, two)] == [
        "`.dockerignore` now includes `notes.md`"
    ]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("Dockerfile.dockerignore", "Dockerfile.dockerignore", "`Dockerfile.dockerignore` now includes `notes.md`"),
        (".dockerignore", "own.dockerignore", "`.dockerignore` → `own.dockerignore` now includes `notes.md`"),
        ("own.dockerignore", ".dockerignore", "`own.dockerignore` → `.dockerignore` now includes `notes.md`"),
        ("own.dockerignore", "", "`own.dockerignore` now includes `notes.md`"),
    ],
)
def test_the_ignore_file_that_counts_is_named(before: str, after: str, words: str) -> None:
    """By its name; both where another one counts now, and the old one where there is none any more."""
    contexts = (Held(FILES, "*.md\n", rules_name=before), Held(FILES, "" if not after else "*.txt\n", rules_name=after))
    one, two = (
        prints(TEXT, inputs=BuildInputs(context=stage_cache, images={"busybox:1": BUSYBOX})) for stage_cache in contexts
    )
    (change,) = fingerprint_changes(one["app"], two["app"])
    assert change_words(change) == words
    assert change.part.name == (after or before)


def test_a_moved_image_and_what_it_moves() -> None:
    """The digest before and after; `base` is what a stage starts from, and one that starts from it names its parent."""
    moved = ImageInfo(digest=f"sha256:{'c' * 64}", env={}, triggers=())
    inputs = BuildInputs(context=Held(FILES), images={"busybox:1": moved})
    assert said(inputs=inputs) == ["base image busybox:1 moved: sha256:bbbbbbbbbbbb… → cccccccccccc…"]
    assert said(stage="app", inputs=inputs) == ["parent `base` rebuilt"]
    for step in ("COPY --from=tools /a /", "RUN --mount=from=tools,target=/a true"):
        text, images = f"{TEXT}{step}\n", {"busybox:1": BUSYBOX, "tools": moved}
        now = BuildInputs(context=Held(FILES), images=images)
        assert said(text, text, "app", inputs=now) == ["image tools moved: sha256:bbbbbbbbbbbb… → cccccccccccc…"]


def test_the_same_parts_in_another_order() -> None:
    """They are no others, but the stage is not the same."""
    swapped = TEXT.replace("ARG API_TOKEN=abc\nENV COLOUR=red", "ENV COLOUR=red\nARG API_TOKEN=abc")
    assert said(after=swapped) == ["`COLOUR` moved (line 4)"]


UNKNOWN = {
    "FROM other:1\nRUN a\n": "other:1",
    "FROM scratch\nADD https://example.test/a.tgz /a\n": "https://example.test/a.tgz",
    "FROM scratch\nADD https://example.test/a.git#main /a\n": "https://example.test/a.git#main",
    "FROM scratch\nADD git@example.test:a/b.git /a\n": "git@example.test:a/b.git",
    "FROM busybox:1\nCOPY --from=other:1 /a /a\n": "other:1",
    "FROM busybox:1\nRUN --mount=from=other:1,target=/a true\n": "other:1",
    f"FROM pinned@sha256:{'a' * 64}\nRUN a\n": f"ONBUILD of pinned@sha256:{'a' * 64}",
}


@pytest.mark.parametrize(("text", "name"), UNKNOWN.items(), ids=UNKNOWN.values())
def test_what_cannot_be_known_is_never_the_same(text: str, name: str) -> None:
    """It is named as unknown, and so is the stage in all that take from it."""
    whole = f"{text}FROM scratch AS user\nCOPY --from=0 /a /a\n"
    inputs = BuildInputs(context=Held({}), images={"busybox:1": BUSYBOX})
    first = prints(whole, inputs=inputs)
    assert [part.name for part in first["stage-0"].unknown] == [name]
    assert [part.name for part in first["user"].unknown] == ["stage-0"]
    assert changed(first, prints(whole, inputs=inputs)) == {"stage-0", "user"}


def test_what_is_downloaded_by_its_digest_is_known() -> None:
    """A checksum, or a commit, says what it is; an image named by digest needs no registry where it is copied from."""
    text = (
        f"FROM scratch AS a\nADD --checksum=sha256:{'a' * 64} https://example.test/a.tgz /a\n"
        f"ADD https://example.test/a.git#{'b' * 40} /b\nCOPY --from=x@sha256:{'c' * 64} /c /c\n"
    )
    found = prints(text, inputs=BuildInputs(context=None))["a"]
    assert found.unknown == ()


def test_a_context_elsewhere_is_unknown() -> None:
    """A stage that takes from a context that is not on this machine, and only such a stage."""
    found = prints(TEXT, inputs=BuildInputs(context=None, images={"busybox:1": BUSYBOX}))
    assert [name for name, made in found.items() if made.unknown] == ["app"]


def test_no_secret_is_in_a_fingerprint() -> None:
    """A secret in an ARG, in an ENV made of it, in a path and in a heredoc stands there as a digest only."""
    text = (
        "FROM busybox:1 AS a\nARG API_TOKEN\nENV ADDRESS=https://$API_TOKEN@example.test\nWORKDIR /$API_TOKEN\n"
        "COPY <<EOF /a\n$API_TOKEN\nEOF\nRUN env\n"
    )
    one, other = (prints(text, args={"API_TOKEN": word})["a"] for word in ("hunter2", "hunter3"))
    assert "hunter" not in repr(one)
    assert not one.same(other)
    assert one.same(prints(text, args={"API_TOKEN": "hunter2"})["a"])


def test_triggers_of_an_image_run_in_the_stage() -> None:
    """What an image's ONBUILD copies is seen."""
    image = ImageInfo(digest="sha256:1", env={}, triggers=("COPY src /src",))
    text = "FROM busybox:1 AS a\n"
    one, two = (
        prints(text, inputs=BuildInputs(context=Held({"src/a": word}), images={"busybox:1": image}))
        for word in ("1", "2")
    )
    assert [change_words(change) for change in fingerprint_changes(one["a"], two["a"])] == ["`src/a` changed"]


def test_a_path_by_a_variable_of_the_image() -> None:
    """Known, it is that file; unknown, it may be any."""
    text, files = "FROM busybox:1 AS a\nCOPY $PLACE/a /a\n", {"here/a": "1", "there/a": "1"}

    def of(env: dict[str, str] | None, **more: str) -> Fingerprint:
        image = ImageInfo(digest="sha256:1", env=env, triggers=())
        context = Held(files | {f"{folder}/a": word for folder, word in more.items()})
        return prints(text, inputs=BuildInputs(context=context, images={"busybox:1": image}))["a"]

    known = {"PLACE": "here"}
    assert of(known).same(of(known, there="2"))
    assert not of(known).same(of(known, here="2"))
    assert not of(None).same(of(None, there="2"))


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ("# syntax=docker/dockerfile:1\nFROM scratch AS app\nWORKDIR /a\n", {}),
        ("FROM scratch AS app\nWORKDIR /a\n", {"BUILDKIT_SYNTAX": "docker/dockerfile:1"}),
        ("FROM scratch AS app\nARG SUM=\nADD --checksum=$SUM https://example.test/a /a\n", {}),
    ],
)
def test_what_nobody_asked_for_is_never_the_same(text: str, args: Mapping[str, str]) -> None:
    """A frontend whose digest is not known, and a download whose checksum is an empty variable."""
    found = prints(text, args=args)["app"]
    assert not found.same(found)


def test_a_frontend_by_digest_is_known() -> None:
    """It is the same until its digest changes."""
    found = prints(f"# syntax=docker/dockerfile@sha256:{'a' * 64}\nFROM scratch AS app\nWORKDIR /a\n")["app"]
    assert found.same(found)


@pytest.mark.parametrize(
    "line", ["ARG GH_PAT=sesame", "ENV DB_PASS=sesame", "ENV INDEX=https://me:sesame@example.test/"]
)
def test_no_credentials_are_in_a_fingerprint(line: str) -> None:
    """By more names than BuildKit warns of, in an address, and in the text of a RUN."""
    text = f"FROM scratch AS app\n{line}\nRUN curl -H 'Authorization: Bearer sesame' https://me:sesame@example.test/\n"
    found = prints(text)["app"]
    assert "sesame" not in repr(found)
    assert changed({"app": found}, prints(text.replace("sesame", "open"))) == {"app"}
