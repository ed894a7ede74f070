"""Ship a changed file with `COPY --link`, as doctor recommends: nothing below it is pulled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile

import pytest

from tests.support.project import Project
from tests.support.proxy import Exchange

BIG = 6_000_000
# More than the bytes of busybox's layer
BASE = 2_000_000
# More than the bytes of the manifests, configs and small layers of one push
SMALL = 200_000

# The final stage has nothing but linked copies, as doctor recommends; `builder` does not need `base`
LINKED = f"""\
FROM busybox:1 AS base
RUN head -c {BIG} /dev/urandom > /big
FROM base AS deps
RUN mkdir /deps && head -c {BIG} /dev/urandom > /deps/big
FROM busybox:1 AS builder
WORKDIR /src
COPY code.txt ./
RUN mkdir /out && cat code.txt /dev/urandom | head -c 1000 > /out/built
FROM base AS runtime
WORKDIR /app
COPY --link notes.md ./
COPY --link --from=deps /deps /deps
COPY --link --from=builder /out ./out
COPY --link code.txt ./
"""


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


def test_push_of_code_with_linked_copies_moves_only_what_changed(project: Project) -> None:
    """Take one solve for the image, and one to save each stage that ran.

    The next build on an empty engine restores every linked copy, also those on top of layers that were never pulled.
    """
    project.write({"Dockerfile": LINKED, "notes.md": "one\n", "code.txt": "one\n"})
    project.settings()
    project.commit()
    with project.registry.proxy.watched() as seen:
        project.build("--push")
    assert project.solves() == 5
    assert count(seen, lambda exchange: exchange.received) < 2 * BIG + BASE  # each layer once
    for code in ("two\n", "three\n"):
        project.engine.empty()
        project.write({"code.txt": code})
        with project.registry.proxy.watched() as seen:
            outcome = project.build("--push")
        assert outcome.ran == {"builder", "runtime"}
        assert project.solves() == 3
        assert count(seen, lambda exchange: exchange.received) < SMALL
        assert count(seen, lambda exchange: exchange.sent) < BASE
        restore_all(project)

    project.write({"notes.md": "two\n"})
    assert project.build("--push").ran == {"runtime"}
    restore_all(project)


def restore_all(project: Project) -> None:
    """Build on an empty engine: one solve, which runs no step and moves next to nothing."""
    project.engine.empty()
    with project.registry.proxy.watched() as seen:
        assert project.build("--push").ran == set()
    assert project.solves() == 1
    assert count(seen, lambda exchange: exchange.received + exchange.sent) < SMALL


def count(seen: Sequence[Exchange], bytes_of: Callable[[Exchange], int]) -> int:
    return sum(map(bytes_of, seen))
