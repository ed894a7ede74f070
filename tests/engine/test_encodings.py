"""Read Dockerfiles and ignore files in any encoding, with any line ends, as BuildKit does."""

from __future__ import annotations

import json

import pytest

from tests.support.project import Project
from tests.support.shapes import draw

DOCKERFILE = f"FROM busybox:1 AS app\n{draw('app')}\nCOPY *.txt /files/\n".encode()
ACCEPTED = {
    "latin-1-comment": b"# Pr\xe9pare l'image\n" + DOCKERFILE,
    "latin-1-label": DOCKERFILE + b"LABEL name=caf\xe9\n",
    "latin-1-heredoc": DOCKERFILE + b"COPY <<EOF /menu\ncaf\xe9\nEOF\n",
    "latin-1-quoted-heredoc": DOCKERFILE + b"COPY <<'EOF' /menu\ncaf\xe9\nEOF\n",
    "crlf": DOCKERFILE.replace(b"\n", b"\r\n"),
    "crlf-heredoc": DOCKERFILE + b"COPY <<EOF /menu\r\ncoffee\r\nEOF\r\n",
    "byte-order-mark": b"\xef\xbb\xbf" + DOCKERFILE,
}
REFUSED = {
    "latin-1-step": DOCKERFILE + b"RUN echo caf\xe9\n",
    "latin-1-stage": DOCKERFILE + b"FROM app AS caf\xe9\n",
    "utf-16": DOCKERFILE.decode().encode("utf-16"),
}


def write_project(project: Project, dockerfile: bytes) -> None:
    project.write({"a.txt": "1\n", "b.txt": "1\n"})
    project.settings()
    (project.folder / "Dockerfile").write_bytes(dockerfile)
    (project.folder / ".dockerignore").write_bytes(b"# Pr\xe9par\xe9\r\nb.txt\r\n")


@pytest.mark.parametrize("name", ACCEPTED)
def test_dockerfile_in_any_encoding_is_built_and_restored(project: Project, name: str) -> None:
    """Build it, and restore it on an empty engine as the plan says; the ignored file changes nothing."""
    project = project.hosting("first")
    write_project(project, ACCEPTED[name])
    project.build("--push", "--scope=main")
    project.write({"b.txt": "2\n"})
    outcome = project.stagebake("plan", "--push", "--scope=main", "--json")
    assert outcome.exit_code == 0, outcome.stderr
    assert [stage["expected"] for stage in json.loads(outcome.stdout)["stages"]] == ["restore"]
    project.engine.empty()
    assert project.build("--push", "--scope=main").ran == set()


@pytest.mark.parametrize("name", REFUSED)
def test_dockerfile_that_buildkit_cannot_read_fails_without_a_traceback(project: Project, name: str) -> None:
    write_project(project, REFUSED[name])
    for verb in ("plan", "build"):
        outcome = project.stagebake(verb)
        assert "Traceback" not in outcome.stderr
        assert outcome.exit_code in (1, 2) or verb == "plan"
