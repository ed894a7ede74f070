"""Run the workflow for pushes and pull requests: check what it pushes, which caches it uses, and what it reports."""

from __future__ import annotations

import pytest

from tests.act import golden
from tests.act.runner import CACHES, PULL_REQUEST, Runner, digests, edit
from tests.support.shapes import STAGES, draw

pytestmark = pytest.mark.engine


def test_workflow_on_push_to_main_pushes_the_image_and_every_cache(fresh: Runner) -> None:
    """Restore all of it in the next push."""
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


def test_workflow_with_the_checkout_as_context_restores_everything(fresh: Runner) -> None:
    """Leave nothing of nox and stagebake in the checkout, so a stage that copies everything is restored."""
    project = fresh.project
    text = "FROM busybox:1 AS base\nFROM base AS app\nCOPY . /app\n" + draw("app") + "\n"
    project.write({"Dockerfile": text, ".dockerignore": ".git\n"})
    project.commit()
    fresh.push()
    project.engine.empty()
    assert fresh.push().rebuilt == set()


def test_workflow_on_pull_request_writes_its_own_scope_until_it_is_closed(runner: Runner) -> None:
    """Restore from main what did not change, and change no tag of main; delete the caches on closing."""
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


def test_workflow_on_pull_request_of_a_fork_reads_main_and_writes_nothing(runner: Runner) -> None:
    """Only read from the registry; the changed stage and its dependents run."""
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


def test_workflow_with_a_failing_step_names_its_line_and_pushes_nothing(runner: Runner) -> None:
    """Name the step beside its line of the Dockerfile and in the summary."""
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
