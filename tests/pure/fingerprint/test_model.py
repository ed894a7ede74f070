"""Check which parts of a fingerprint are unknown, and that it holds no secret."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from stagebake.fingerprint.model import BuildInputs, Fingerprint, ImageInfo
from tests.support.memory_files import BUSYBOX, Held, changed, prints

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
def test_fingerprint_unknown_input_is_never_the_same(text: str, name: str) -> None:
    """Name the input as unknown, and its stage in every stage that takes from it."""
    whole = f"{text}FROM scratch AS user\nCOPY --from=0 /a /a\n"
    inputs = BuildInputs(context=Held({}), images={"busybox:1": BUSYBOX})
    first = prints(whole, inputs=inputs)
    assert [part.name for part in first["stage-0"].unknown] == [name]
    assert [part.name for part in first["user"].unknown] == ["stage-0"]
    assert changed(first, prints(whole, inputs=inputs)) == {"stage-0", "user"}


def test_fingerprint_download_by_digest_is_known() -> None:
    """Accept a checksum, a commit, and an image by digest that is only copied from."""
    text = (
        f"FROM scratch AS a\nADD --checksum=sha256:{'a' * 64} https://example.test/a.tgz /a\n"
        f"ADD https://example.test/a.git#{'b' * 40} /b\nCOPY --from=x@sha256:{'c' * 64} /c /c\n"
    )
    found = prints(text, inputs=BuildInputs(context=None))["a"]
    assert found.unknown == ()


def test_fingerprint_remote_context_is_unknown_for_stages_that_use_it() -> None:
    text = "FROM busybox:1 AS base\nRUN a\nFROM base AS app\nCOPY . .\n"
    found = prints(text, inputs=BuildInputs(context=None, images={"busybox:1": BUSYBOX}))
    assert [name for name, made in found.items() if made.unknown] == ["app"]


def test_fingerprint_secret_is_stored_as_a_digest() -> None:
    """Hide a secret in an ARG, an ENV that uses it, a path and a heredoc."""
    text = (
        "FROM busybox:1 AS a\nARG API_TOKEN\nENV ADDRESS=https://$API_TOKEN@example.test\nWORKDIR /$API_TOKEN\n"
        "COPY <<EOF /a\n$API_TOKEN\nEOF\nRUN env\n"
    )
    one = prints(text, args={"API_TOKEN": "hunter2"})["a"]
    other = prints(text, args={"API_TOKEN": "hunter3"})["a"]
    assert "hunter" not in repr(one)
    assert not one.is_same(other)
    assert one.is_same(prints(text, args={"API_TOKEN": "hunter2"})["a"])


@pytest.mark.parametrize(
    "line",
    [
        "ARG GH_PAT=sesame",
        "ENV DB_PASS=sesame",
        "ENV INDEX=https://me:sesame@example.test/",
    ],
)
def test_fingerprint_credentials_are_stored_as_a_digest(line: str) -> None:
    """Hide more names than BuildKit warns of, credentials in a URL, and those in the text of a RUN."""
    text = f"FROM scratch AS app\n{line}\nRUN curl -H 'Authorization: Bearer sesame' https://me:sesame@example.test/\n"
    found = prints(text)["app"]
    assert "sesame" not in repr(found)
    assert changed({"app": found}, prints(text.replace("sesame", "open"))) == {"app"}


def fingerprint_variable_path(env: dict[str, str] | None, **contents: str) -> Fingerprint:
    """Return the fingerprint of a COPY whose folder is a variable of the base image; `env` None if not known."""
    files = {"here/a": "1", "there/a": "1"}
    files |= {f"{folder}/a": content for folder, content in contents.items()}
    image = ImageInfo(digest="sha256:1", env=env, triggers=())
    inputs = BuildInputs(context=Held(files), images={"busybox:1": image})
    return prints("FROM busybox:1 AS a\nCOPY $PLACE/a /a\n", inputs=inputs)["a"]


def test_fingerprint_path_with_known_variable_has_that_file_only() -> None:
    known = {"PLACE": "here"}
    assert fingerprint_variable_path(known).is_same(fingerprint_variable_path(known, there="2"))
    assert not fingerprint_variable_path(known).is_same(fingerprint_variable_path(known, here="2"))


def test_fingerprint_path_with_unknown_variable_has_every_file() -> None:
    assert not fingerprint_variable_path(None).is_same(fingerprint_variable_path(None, there="2"))


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ("# syntax=docker/dockerfile:1\nFROM scratch AS app\nWORKDIR /a\n", {}),
        ("FROM scratch AS app\nWORKDIR /a\n", {"BUILDKIT_SYNTAX": "docker/dockerfile:1"}),
        ("FROM scratch AS app\nARG SUM=\nADD --checksum=$SUM https://example.test/a /a\n", {}),
    ],
)
def test_fingerprint_unknown_frontend_or_empty_checksum_is_never_the_same(text: str, args: Mapping[str, str]) -> None:
    found = prints(text, args=args)["app"]
    assert not found.is_same(found)


def test_fingerprint_frontend_by_digest_is_known() -> None:
    found = prints(f"# syntax=docker/dockerfile@sha256:{'a' * 64}\nFROM scratch AS app\nWORKDIR /a\n")["app"]
    assert found.is_same(found)
