"""What `doctor` says of COPY --link: with it a changed file is shipped without pulling what lies below."""

from __future__ import annotations

import pytest

from tests.support.project import Project

BIG = 6_000_000


def dockerfile(link: str) -> str:
    return f"""\
FROM busybox:1 AS base
RUN head -c {BIG} /dev/urandom > /big
FROM base AS runtime
WORKDIR /app
COPY {link} notes.md ./
COPY {link} code.txt ./
"""


@pytest.mark.parametrize(("link", "pulls"), [("", True), ("--link", False)])
def test_what_a_linked_copy_pulls(project: Project, link: str, pulls: bool) -> None:
    """After a changed file, a fresh engine downloads the base below COPY, and none of it below COPY --link."""
    project.write({"Dockerfile": dockerfile(link), "notes.md": "one\n", "code.txt": "one\n"})
    project.settings()
    project.commit()
    project.build("--push")
    project.engine.empty()
    project.write({"code.txt": "two\n"})
    outcome = project.build("--push")
    assert outcome.ran == {"runtime"}
    assert (outcome.report["bytes"]["pulled"] > BIG) is pulls, outcome.report["bytes"]
    if link:
        project.engine.empty()
        assert project.build("--push").ran == set()
