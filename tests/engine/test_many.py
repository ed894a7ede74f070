"""Build with two engines for one scope at the same time, and on branches beside the default branch.

STAGEBAKE_MANY=20 lets the two engines build twenty times; the default is five times.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from stagebake.cache.scopes import Scope
from tests.support.archive import make_busybox
from tests.support.chosen_builder import CHOSEN_BUILDER
from tests.support.engine import Engine
from tests.support.faults import unsound
from tests.support.project import BUSYBOX, Outcome, Project
from tests.support.shapes import STAGES, changed, draw

pytestmark = pytest.mark.xdist_group("many")

ROUNDS = int(os.environ.get("STAGEBAKE_MANY", "5"))
ADD = "head -c16 /dev/urandom | md5sum >>"

# Each value begins with its sources, so that a value from other sources is found
SMALL = f"""\
FROM busybox:1 AS base
{draw("base")}
FROM base AS app
COPY source.txt /
RUN cp /source.txt /app.txt && {ADD} /app.txt
FROM base AS image
COPY --from=app /source.txt /app.txt /
RUN cp /app.txt /image.txt && {ADD} /image.txt
"""


@pytest.fixture(scope="module")
def second_engine(folder: Path) -> Iterator[Engine]:
    """Start another engine, as another runner has."""
    home = folder / "second-home"
    home.mkdir()
    running = Engine(folder / "second", home, (make_busybox(BUSYBOX, home),), builder=CHOSEN_BUILDER)
    yield running
    running.stop()


def test_push_from_two_engines_at_once_keeps_every_ref_intact(project: Project, second_engine: Engine) -> None:
    """Push several times from two engines at once, mostly different sources: each image is built from its own sources.

    All refs are intact after it, and a stage that did not change never runs again.
    """
    there = project.folder.parent / "second"
    there.mkdir()
    builders = {"left": project, "right": replace(project, folder=there / "project", engine=second_engine)}
    for one in builders.values():
        one.folder.mkdir(exist_ok=True)
        one.git("init", "--quiet", "--initial-branch=main")
        one.write({"Dockerfile": SMALL, "source.txt": "first\n"})
        one.settings()
    push(project, "left")
    base = project.pushed("left")["base"]

    with ThreadPoolExecutor() as pool:
        for number in range(ROUNDS):
            for tag, one in builders.items():
                one.write({"source.txt": f"{number}\n" if number % 5 == 4 else f"{number} {tag}\n"})
            outcomes = list(pool.map(push, builders.values(), builders))
            for tag, one in builders.items():
                assert_right(one, tag, base)
            assert unsound(project) == set()
            assert all("base" not in outcome.ran for outcome in outcomes)

    project.engine.empty()
    for tag in builders:  # the sources of each in turn, on a third engine
        project.write({"source.txt": builders[tag].folder.joinpath("source.txt").read_text(encoding="utf-8")})
        push(project, tag)
        assert_right(project, tag, base)
        assert unsound(project) == set()
    project.engine.empty()
    assert push(project, "right").ran == set()


def push(project: Project, tag: str) -> Outcome:
    return project.build("--push", f"--image={project.image}:{tag}")


def assert_right(project: Project, tag: str, base: str) -> None:
    """Check that the image is made from this project's sources, each stage from the one before it."""
    source = project.folder.joinpath("source.txt").read_text(encoding="utf-8").strip()
    values = project.pushed(tag)
    assert (values["source"], values["base"]) == (source, base)
    assert values["app"].startswith(f"{source}\n")
    assert values["image"].startswith(f"{values['app']}\n")


def test_push_on_branch_reads_the_default_branch_and_writes_its_own_refs(shipped: Project) -> None:
    """Restore all on a new branch, save its change in its own refs, and leave the default branch's refs alone.

    The next build of the default branch restores its own. --scope reads a branch's caches from anywhere.
    """
    latest = f"--image={shipped.image}:latest"
    before, refs = shipped.pushed(), contents(shipped)
    shipped.git("checkout", "--quiet", "-b", "feature/x")
    assert shipped.build("--push", latest).ran == set()

    shipped.write({"src/page.ts": "branch\n"})
    assert shipped.build("--push", latest).ran == {"builder", "runtime"}
    on_branch = shipped.pushed()
    assert changed(before, on_branch) == {"builder", "runtime"}
    own = shipped.tags() - refs.keys()
    assert all(Scope("feature/x").suffix in tag for tag in own)
    assert {tag.partition("-")[2] for tag in own} == {"", "builder", "runtime"}
    assert {tag: digest for tag, digest in contents(shipped).items() if tag in refs and tag != "latest"} == {
        tag: digest for tag, digest in refs.items() if tag != "latest"
    }

    shipped.engine.empty()
    shipped.git("checkout", "--quiet", "--force", "main")
    assert shipped.build("--push", latest).ran == set()
    assert shipped.pushed() == before

    shipped.engine.empty()
    shipped.write({"src/page.ts": "branch\n"})
    assert shipped.build("--push", latest, "--scope", "feature/x").ran == set()
    assert shipped.pushed() == on_branch


@pytest.mark.parametrize("scope", [(), ("--scope", "main")], ids=["plain", "scope"])
def test_push_for_a_fork_s_pull_request_writes_no_cache(shipped: Project, scope: tuple[str, ...]) -> None:
    """Restore what the default branch has and run the change; no cache ref changes, whatever --scope says."""
    refs = contents(shipped)
    event = shipped.folder.parent / "event.json"
    event.write_text(
        '{"pull_request": {"number": 5, "head": {"repo": {"full_name": "stranger/app"}},'
        ' "base": {"repo": {"full_name": "owner/app"}}}, "repository": {"default_branch": "main"}}',
        encoding="utf-8",
    )
    shipped.write({"src/page.ts": "a stranger's\n"})
    outcome = shipped.build(
        "--push", f"--image={shipped.image}:theirs", *scope,
        GITHUB_ACTIONS="true", GITHUB_EVENT_NAME="pull_request", GITHUB_REF="refs/pull/5/merge",
        GITHUB_EVENT_PATH=str(event),
    )  # fmt: skip
    assert outcome.ran == set(STAGES) - {"base", "python-deps", "node-deps"}
    after = contents(shipped)
    assert after.pop("theirs")
    assert after == refs


def contents(project: Project) -> dict[str, str]:
    """Return the manifest of each tag."""
    return {tag: str(project.registry.read_manifest(project.name, tag)) for tag in project.tags()}
