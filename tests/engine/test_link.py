"""Ship a changed file with `COPY --link`, as doctor recommends: nothing below it is pulled."""

from __future__ import annotations

from itertools import takewhile

import pytest

from tests.support.project import Project
from tests.support.proxy import Exchange

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


def is_image(exchange: Exchange) -> bool:
    return exchange.method == "PUT" and exchange.path.endswith("/manifests/latest")


@pytest.mark.parametrize(("link", "pulls"), [("", True), ("--link", False)])
def test_push_of_a_changed_copy_pulls_the_base_only_without_link(project: Project, link: str, pulls: bool) -> None:
    """Count the bytes that an empty engine downloads until the image is pushed."""
    project.write({"Dockerfile": dockerfile(link), "notes.md": "one\n", "code.txt": "one\n"})
    project.settings()
    project.commit()
    project.build("--push")
    project.engine.empty()
    project.write({"code.txt": "two\n"})
    with project.registry.proxy.watched() as seen:
        outcome = project.build("--push")
    assert outcome.ran == {"runtime"}
    assert any(map(is_image, seen))
    sent = sum(exchange.sent for exchange in takewhile(lambda exchange: not is_image(exchange), seen))
    assert (sent > BIG) is pulls, f"{sent} bytes"
    if link:
        project.engine.empty()
        assert project.build("--push").ran == set()
