"""Nothing that a stranger's run wrote is ever read by anybody: every occasion, with what it reads and writes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stagebake.cache.scopes import DEFAULT_SCOPE, GENERATIONS, Access, Scope, Trigger, access_for
from stagebake.errors import InputError
from stagebake.project.github_run import read_github_run
from stagebake.project.image_tags import CommitInfo, ImageNames, tags_for
from tests.pure.cache.test_scopes import TAG

FEATURE = Scope("feature/x")
REQUEST = Scope("pr-5", pull_request=True)
STAGES = ("base", "builder")
quick = settings(max_examples=80, deadline=None, database=None, derandomize=True)


def pull_request(head: str | None, branch: str = "feature/x") -> dict[str, Any]:
    """The payload of pull request 5; `head` is the repository that it comes from, None for one that is deleted."""
    return {
        "pull_request": {
            "number": 5,
            "head": {"ref": branch, "repo": {"full_name": head} if head else None},
            "base": {"ref": "main", "repo": {"full_name": "owner/app"}},
        }
    }


@dataclass(frozen=True, kw_only=True)
class Case:
    """An event of GitHub, and whose caches its run reads and, with --push, writes."""

    event: str
    ref: str = "refs/heads/main"
    payload: Mapping[str, Any] = field(default_factory=dict)
    reads: tuple[Scope, ...] = (DEFAULT_SCOPE,)
    writes: Scope | None = None
    stranger: bool = False
    """Whether it may run, or act for, code that nobody with write access has seen."""


CASES = {
    "push-to-default": Case(event="push", writes=DEFAULT_SCOPE),
    "push-to-branch": Case(event="push", ref="refs/heads/feature/x", reads=(FEATURE, DEFAULT_SCOPE), writes=FEATURE),
    "push-of-tag": Case(event="push", ref="refs/tags/v1"),
    "push-of-tag-called-main": Case(event="push", ref="refs/tags/main"),
    "pull-request": Case(
        event="pull_request", ref="refs/pull/5/merge", payload=pull_request("owner/app"),
        reads=(REQUEST, DEFAULT_SCOPE), writes=REQUEST,
    ),
    "pull-request-of-fork": Case(
        event="pull_request", ref="refs/pull/5/merge", payload=pull_request("stranger/app"), stranger=True
    ),
    "pull-request-of-a-fork's-main": Case(
        event="pull_request", ref="refs/pull/5/merge", payload=pull_request("stranger/app", "main"), stranger=True
    ),
    "pull-request-of-deleted-fork": Case(
        event="pull_request", ref="refs/pull/5/merge", payload=pull_request(None), stranger=True
    ),
    "pull-request-without-payload": Case(event="pull_request", ref="refs/pull/5/merge", stranger=True),
    "pull-request-target": Case(
        event="pull_request_target", payload=pull_request("owner/app"), reads=(REQUEST, DEFAULT_SCOPE), writes=REQUEST
    ),
    "pull-request-target-of-fork": Case(
        event="pull_request_target", payload=pull_request("stranger/app"), stranger=True
    ),
    "pull-request-target-of-deleted-fork": Case(
        event="pull_request_target", payload=pull_request(None, "main"), stranger=True
    ),
    "dispatch": Case(event="workflow_dispatch", writes=DEFAULT_SCOPE),
    "dispatch-on-branch": Case(
        event="workflow_dispatch", ref="refs/heads/feature/x", reads=(FEATURE, DEFAULT_SCOPE), writes=FEATURE
    ),
    "dispatch-of-branch": Case(
        event="workflow_dispatch",
        payload={"inputs": {"branch": "feature/x"}},
        reads=(FEATURE, DEFAULT_SCOPE),
        writes=FEATURE,
    ),
    "dispatch-on-tag": Case(event="workflow_dispatch", ref="refs/tags/v1"),
    "repository-dispatch": Case(event="repository_dispatch", writes=DEFAULT_SCOPE),
    "schedule": Case(event="schedule", writes=DEFAULT_SCOPE),
    "release": Case(event="release", ref="refs/tags/v1"),
    "merge-group": Case(event="merge_group", ref="refs/heads/gh-readonly-queue/main/pr-5-0123abc"),
    "workflow-run": Case(event="workflow_run", payload={"workflow_run": {"head_branch": "main"}}, stranger=True),
    "issue-comment": Case(event="issue_comment", stranger=True),
    "issues": Case(event="issues", stranger=True),
    "event-of-tomorrow": Case(event="something_new", stranger=True),
    "no-event": Case(event="", stranger=True),
}  # fmt: skip
every = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def access_of(case: Case, folder: Path, *, push: bool) -> Access:
    """What a run of GitHub Actions may do, from its environment and payload on."""
    payload = folder / "event.json"
    payload.write_text(json.dumps({**case.payload, "repository": {"default_branch": "main"}}), encoding="utf-8")
    run = read_github_run(
        {
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": case.event,
            "GITHUB_REF": case.ref,
            "GITHUB_HEAD_REF": "main",
            "GITHUB_BASE_REF": "main",
            "GITHUB_REPOSITORY": "owner/app",
            "GITHUB_EVENT_PATH": str(payload),
        }
    )
    assert run is not None
    return access_for(run.trigger, run.default_branch or "main", push=push)


@every
def test_what_an_event_reads_and_writes(case: Case, tmp_path: Path) -> None:
    """With --push."""
    assert access_of(case, tmp_path, push=True) == Access(reads=case.reads, writes=case.writes)


@every
def test_without_push_nothing_is_written(case: Case, tmp_path: Path) -> None:
    """The same is read and nothing written."""
    assert access_of(case, tmp_path, push=False) == Access(reads=case.reads, writes=None)


def test_a_laptop() -> None:
    """The checked-out branch's, then the default branch's; it writes with --push only, and nothing when detached."""
    assert access_for(Trigger(branch="feature/x"), "main", push=False) == Access(
        reads=(FEATURE, DEFAULT_SCOPE), writes=None
    )
    assert access_for(Trigger(branch="feature/x"), "main", push=True).writes == FEATURE
    assert access_for(Trigger(branch="main"), "main", push=True) == Access(reads=(DEFAULT_SCOPE,), writes=DEFAULT_SCOPE)
    assert access_for(Trigger(), "main", push=True) == Access(reads=(DEFAULT_SCOPE,), writes=None)


def tags(scope: Scope) -> set[str]:
    """Every tag that a scope's caches can have."""
    kept = {scope.stage_tag(stage, generation) for stage in STAGES for generation in range(GENERATIONS)}
    return {scope.merged_tag, scope.ledger_tag, *kept}


def written(access: Access) -> set[str]:
    return tags(access.writes) if access.writes else set()


def read(access: Access) -> set[str]:
    return set().union(*(tags(scope) for scope in access.reads))


@pytest.mark.parametrize("untrusted", [name for name, case in CASES.items() if case.stranger])
def test_nobody_reads_what_a_stranger_wrote(untrusted: str, tmp_path: Path) -> None:
    """For every pair of an untrusted occasion and any other: no tag is written by the one and read by the other."""
    stranger = access_of(CASES[untrusted], tmp_path, push=True)
    for name, case in CASES.items():
        assert not written(stranger) & read(access_of(case, tmp_path, push=True)), name


def test_only_the_default_branch_writes_what_all_read(tmp_path: Path) -> None:
    """Of all that run here, only its pushes, its schedule and a person's dispatch reach the default branch's caches."""
    writers = {name for name, case in CASES.items() if access_of(case, tmp_path, push=True).writes == DEFAULT_SCOPE}
    assert writers == {"push-to-default", "dispatch", "repository-dispatch", "schedule"}


def test_a_pull_request_is_read_by_itself_alone(tmp_path: Path) -> None:
    """What a pull request wrote is read by its own runs, and by no branch."""
    own = written(access_of(CASES["pull-request"], tmp_path, push=True))
    readers = {name for name, case in CASES.items() if own & read(access_of(case, tmp_path, push=True))}
    assert readers == {"pull-request", "pull-request-target"}


LOOKALIKES = ("pr-5", "pull/5", "refs/pull/5/merge", "pull/5/merge", "pr/5", "PR-5", "pr_5", "pr:pr-5", "5")


@pytest.mark.parametrize("branch", LOOKALIKES)
def test_a_branch_that_is_called_like_a_pull_request(branch: str) -> None:
    """It shares no tag with the pull request, and none with a branch that is called alike."""
    assert not tags(Scope(branch)) & tags(REQUEST)
    assert not tags(Scope(branch)) & tags(DEFAULT_SCOPE)
    for one, two in itertools.combinations(LOOKALIKES, 2):
        assert not tags(Scope(one)) & tags(Scope(two))


@pytest.mark.parametrize("name", ["cache", "cache-base", "cache1-base", "cache/x", "/cache", "-cache", "cache.ledger"])
def test_an_image_has_no_tag_of_a_cache(name: str) -> None:
    """Neither that of a branch or a git tag, nor one that somebody gives."""
    commit = CommitInfo(revision="0123456789abcdef")
    for trigger in (Trigger(branch=name), Trigger(tag=name)):
        for tag in tags_for(trigger, name, commit):
            assert not tag.startswith("cache")
            assert TAG.fullmatch(tag)
    if TAG.fullmatch(name) and name.startswith("cache"):
        with pytest.raises(InputError, match="are the caches'"):
            ImageNames(refs=(f"ghcr.io/owner/app:{name}",), labels={})


occasions = st.builds(
    Trigger,
    branch=st.none() | st.sampled_from(["main", *LOOKALIKES]) | st.text(min_size=1, max_size=250),
    pull_request=st.none() | st.integers(1, 9),
    trusted=st.booleans(),
)


def whose(trigger: Trigger) -> tuple[str, object]:
    number = trigger.pull_request
    return ("branch", trigger.branch) if number is None else ("pull request", number)


@quick
@given(occasions, occasions, st.sampled_from(["main", "pr-5", "trunk"]))
def test_nothing_untrusted_is_read_whatever_the_names(one: Trigger, two: Trigger, default_branch: str) -> None:
    """For any branch and any number: what an untrusted occasion writes, and what a branch or another pull request
    writes, is not read by one that is not the same."""
    first, second = (access_for(trigger, default_branch, push=True) for trigger in (one, two))
    if not one.trusted:
        assert not written(first)
    if whose(one) != whose(two) and first.writes not in (None, DEFAULT_SCOPE):
        assert not written(first) & read(second)
