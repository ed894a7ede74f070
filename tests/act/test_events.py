"""The workflow, run for pushes and pull requests: what it pushes, which caches it reads and writes, what it reports."""

from __future__ import annotations

import pytest

from tests.act import golden
from tests.act.runner import CACHES, PULL_REQUEST, Runner, digests, edit
from tests.support.shapes import STAGES, draw

pytestmark = pytest.mark.engine


def test_a_push_to_main_ships_the_image_and_its_caches(fresh: Runner) -> None:
    """After the first push the registry has the image and every cache, and the next push restores all of it."""
    project = fresh.project
    first = fresh.push()
    assert first.rebuilt == set(STAGES)
    assert first.outputs["rebuilt"] == ",".join(STAGES)
    assert first.outputs["tags"].startswith(f"{project.image}:latest,{project.image}:main-")
    assert project.registry.read_manifest(project.name, first.outputs["digest"])
    assert project.tags() >= {"latest", *CACHES}
    golden.check("first-push", first.summary)
    before = project.pushed()
    assert set(before) == set(STAGES)

    project.engine.empty()
    second = fresh.push()
    assert second.rebuilt == set()
    assert project.pushed() == before
    golden.check("push", second.summary)


def test_a_context_that_is_the_whole_checkout(fresh: Runner) -> None:
    """nox and stagebake leave nothing in it, so a stage that copies everything is restored in the next run."""
    project = fresh.project
    text = "FROM busybox:1 AS base\nFROM base AS app\nCOPY . /app\n" + draw("app") + "\n"
    project.write({"Dockerfile": text, ".dockerignore": ".git\n"})
    project.commit()
    fresh.push()
    project.engine.empty()
    assert fresh.push().rebuilt == set()


def test_a_pull_request_writes_under_its_own_scope_until_it_is_closed(runner: Runner) -> None:
    """It restores from main what it did not change, and touches no tag of main; closed, its caches are gone again."""
    project = runner.project
    before = digests(project)
    edit(project)
    job = runner.pull_request()
    assert job.rebuilt == {"builder", "runtime"}
    golden.check("pull-request", job.summary)
    after = digests(project)
    new = {tag for tag in after.keys() - before.keys() if tag.startswith("cache")}
    assert new
    assert all(f"_pr_{PULL_REQUEST}." in tag for tag in new)
    assert {tag: after[tag] for tag in before} == before

    runner.pull_request("closed")
    assert digests(project) == {tag: digest for tag, digest in after.items() if tag not in new}


def test_a_fork_writes_nothing_and_reads_the_caches_of_main(runner: Runner) -> None:
    """A fork's pull request asks the registry for things only, and runs the changed stage and what depends on it."""
    project = runner.project
    before = digests(project)
    edit(project)
    with project.registry.proxy.watched() as seen:
        job = runner.pull_request(head="stranger/app")
        assert runner.pull_request("closed", head="stranger/app").printed == ""
    assert job.rebuilt == {"builder", "runtime"}
    assert {exchange.method for exchange in seen} <= {"GET", "HEAD"}
    assert digests(project) == before
    golden.check("fork", job.summary)


def test_a_build_that_fails_says_where(runner: Runner) -> None:
    """The failing step is named beside its line of the Dockerfile and in the summary, and nothing is pushed."""
    project = runner.project
    text = (project.folder / "Dockerfile").read_text(encoding="utf-8")
    project.write({"Dockerfile": text.replace("COPY src src\n", "COPY src src\nRUN echo no such page; exit 3\n")})
    project.commit()
    before = digests(project)
    job = runner.push(succeeds=False)
    line = 1 + text.splitlines().index("COPY src src") + 1
    assert f"::error file=Dockerfile,line={line}::" in job.commands
    assert digests(project) == before
    golden.check("failed", job.summary)
