"""Check for every event of GitHub which caches its run reads and writes: untrusted caches are never read."""

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
from stagebake.ci.github_events import github_trigger
from stagebake.ci.github_run import read_github_run, workflow_command
from stagebake.errors import InputError
from stagebake.naming.image_tags import CommitInfo, ImageNames, tags_for
from tests.pure.cache.test_scopes import TAG

FEATURE = Scope("feature/x")
REQUEST = Scope("pr-5", pull_request=True)
STAGES = ("base", "builder")
quick = settings(max_examples=80, deadline=None, database=None, derandomize=True)


def pull_request(head: str | None, branch: str = "feature/x") -> dict[str, Any]:
    """Return the payload of pull request 5 from the repository `head`, None for one that is deleted."""
    return {
        "pull_request": {
            "number": 5,
            "head": {"ref": branch, "repo": {"full_name": head} if head else None},
            "base": {"ref": "main", "repo": {"full_name": "owner/app"}},
        }
    }


@dataclass(frozen=True, kw_only=True)
class Case:
    """Event of GitHub, the caches that its run reads and, with --push, writes."""

    event: str
    ref: str = "refs/heads/main"
    payload: Mapping[str, Any] = field(default_factory=dict)
    reads: tuple[Scope, ...] = (DEFAULT_SCOPE,)
    writes: Scope | None = None
    untrusted: bool = False
    """True if the run may execute code that no person with write access has reviewed."""


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
        event="pull_request", ref="refs/pull/5/merge", payload=pull_request("stranger/app"), untrusted=True
    ),
    "pull-request-of-a-fork's-main": Case(
        event="pull_request", ref="refs/pull/5/merge", payload=pull_request("stranger/app", "main"), untrusted=True
    ),
    "pull-request-of-deleted-fork": Case(
        event="pull_request", ref="refs/pull/5/merge", payload=pull_request(None), untrusted=True
    ),
    "pull-request-without-payload": Case(event="pull_request", ref="refs/pull/5/merge", untrusted=True),
    "pull-request-target": Case(
        event="pull_request_target", payload=pull_request("owner/app"), reads=(REQUEST, DEFAULT_SCOPE), writes=REQUEST
    ),
    "pull-request-target-of-fork": Case(
        event="pull_request_target", payload=pull_request("stranger/app"), untrusted=True
    ),
    "pull-request-target-of-deleted-fork": Case(
        event="pull_request_target", payload=pull_request(None, "main"), untrusted=True
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
    "workflow-run": Case(event="workflow_run", payload={"workflow_run": {"head_branch": "main"}}, untrusted=True),
    "issue-comment": Case(event="issue_comment", untrusted=True),
    "issues": Case(event="issues", untrusted=True),
    "event-of-tomorrow": Case(event="something_new", untrusted=True),
    "no-event": Case(event="", untrusted=True),
}  # fmt: skip
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def access_of(case: Case, folder: Path, *, push: bool) -> Access:
    """Return what a run of GitHub Actions may read and write, from its environment and payload."""
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


OWN, FORK, GONE = (pull_request(head) for head in ("owner/app", "stranger/app", None))


@pytest.mark.parametrize(
    ("event", "ref", "payload", "trigger"),
    [
        ("push", "refs/heads/feature/x", {}, Trigger(branch="feature/x")),
        ("push", "refs/tags/v1", {}, Trigger(tag="v1")),
        ("schedule", "refs/heads/main", {}, Trigger(branch="main")),
        ("workflow_dispatch", "refs/heads/main", {}, Trigger(branch="main")),
        ("workflow_dispatch", "refs/heads/main", {"inputs": None}, Trigger(branch="main")),
        ("workflow_dispatch", "refs/heads/main", {"inputs": {"branch": "x"}}, Trigger(branch="x")),
        ("push", "refs/heads/main", {"inputs": {"branch": "x"}}, Trigger(branch="main")),
        ("workflow_run", "refs/heads/main", {}, Trigger(trusted=False)),
        ("issue_comment", "refs/heads/main", {}, Trigger(trusted=False)),
        ("pull_request", "refs/pull/5/merge", OWN, Trigger(pull_request=5)),
        ("pull_request", "refs/pull/5/merge", FORK, Trigger(pull_request=5, trusted=False)),
        ("pull_request", "refs/pull/5/merge", GONE, Trigger(pull_request=5, trusted=False)),
        ("pull_request_target", "refs/heads/main", FORK, Trigger(pull_request=5, trusted=False)),
        ("pull_request", "refs/pull/5/merge", {}, Trigger(trusted=False)),
        ("", "", {}, Trigger(trusted=False)),
    ],
    ids=[
        "push", "tag", "schedule", "dispatch", "dispatch-without-inputs", "dispatch-of-branch", "input-of-push",
        "workflow-run", "comment", "pull-request", "fork", "fork-gone", "fork-target", "no-payload", "no-event",
    ],
)  # fmt: skip
def test_github_trigger_of_an_event_names_what_runs(
    event: str, ref: str, payload: dict[str, Any], trigger: Trigger
) -> None:
    """Trust no event that can run untrusted code."""
    assert github_trigger({"GITHUB_EVENT_NAME": event, "GITHUB_REF": ref}, payload) == trigger


@each_case
def test_access_with_push_is_that_of_the_event(case: Case, tmp_path: Path) -> None:
    assert access_of(case, tmp_path, push=True) == Access(reads=case.reads, writes=case.writes)


@each_case
def test_access_without_push_writes_nothing(case: Case, tmp_path: Path) -> None:
    assert access_of(case, tmp_path, push=False) == Access(reads=case.reads, writes=None)


def test_access_outside_github_is_that_of_the_branch() -> None:
    """Read the branch's caches, then the default branch's; write with --push only, and never from a detached HEAD."""
    assert access_for(Trigger(branch="feature/x"), "main", push=False) == Access(
        reads=(FEATURE, DEFAULT_SCOPE), writes=None
    )
    assert access_for(Trigger(branch="feature/x"), "main", push=True).writes == FEATURE
    assert access_for(Trigger(branch="main"), "main", push=True) == Access(reads=(DEFAULT_SCOPE,), writes=DEFAULT_SCOPE)
    assert access_for(Trigger(), "main", push=True) == Access(reads=(DEFAULT_SCOPE,), writes=None)


def list_tags(scope: Scope) -> set[str]:
    """Return every tag that the caches of a scope can have."""
    kept = {scope.stage_tag(stage, generation) for stage in STAGES for generation in range(GENERATIONS)}
    return {scope.merged_tag, scope.ledger_tag, *kept}


def written_tags(access: Access) -> set[str]:
    return list_tags(access.writes) if access.writes else set()


def readable_tags(access: Access) -> set[str]:
    return set().union(*(list_tags(scope) for scope in access.reads))


@pytest.mark.parametrize("untrusted", [name for name, case in CASES.items() if case.untrusted])
def test_access_of_untrusted_run_writes_no_tag_that_others_read(untrusted: str, tmp_path: Path) -> None:
    written = written_tags(access_of(CASES[untrusted], tmp_path, push=True))
    for name, case in CASES.items():
        readable = readable_tags(access_of(case, tmp_path, push=True))
        assert not written & readable, name


def test_access_of_default_scope_is_written_by_its_own_runs_only(tmp_path: Path) -> None:
    """Write the default branch's caches from its pushes, its schedule and a dispatch only."""
    accesses = {name: access_of(case, tmp_path, push=True) for name, case in CASES.items()}
    writers = {name for name, access in accesses.items() if access.writes == DEFAULT_SCOPE}
    assert writers == {"push-to-default", "dispatch", "repository-dispatch", "schedule"}


def test_access_to_caches_of_pull_request_is_for_its_own_runs_only(tmp_path: Path) -> None:
    accesses = {name: access_of(case, tmp_path, push=True) for name, case in CASES.items()}
    own = written_tags(accesses["pull-request"])
    readers = {name for name, access in accesses.items() if own & readable_tags(access)}
    assert readers == {"pull-request", "pull-request-target"}


LOOKALIKES = ("pr-5", "pull/5", "refs/pull/5/merge", "pull/5/merge", "pr/5", "PR-5", "pr_5", "pr:pr-5", "5")


@pytest.mark.parametrize("branch", LOOKALIKES)
def test_scope_of_branch_named_like_pull_request_shares_no_tag(branch: str) -> None:
    """Share no tag with the pull request, the default branch, or a branch of a similar name."""
    own = list_tags(Scope(branch))
    assert not own & list_tags(REQUEST)
    assert not own & list_tags(DEFAULT_SCOPE)
    for one, two in itertools.combinations(LOOKALIKES, 2):
        assert not list_tags(Scope(one)) & list_tags(Scope(two))


@pytest.mark.parametrize("name", ["cache", "cache-base", "cache1-base", "cache/x", "/cache", "-cache", "cache.ledger"])
def test_image_tags_of_branch_named_like_cache_are_not_cache_tags(name: str) -> None:
    """Avoid such a tag for a branch or a git tag, and refuse it for an image."""
    commit = CommitInfo(revision="0123456789abcdef")
    for trigger in (Trigger(branch=name), Trigger(tag=name)):
        for tag in tags_for(trigger, name, commit):
            assert not tag.startswith("cache")
            assert TAG.fullmatch(tag)
    if TAG.fullmatch(name) and name.startswith("cache"):
        with pytest.raises(InputError, match="are the caches'"):
            ImageNames(refs=(f"ghcr.io/owner/app:{name}",), labels={})


triggers = st.builds(
    Trigger,
    branch=st.none() | st.sampled_from(["main", *LOOKALIKES]) | st.text(min_size=1, max_size=250),
    pull_request=st.none() | st.integers(1, 9),
    trusted=st.booleans(),
)


def owner_of(trigger: Trigger) -> tuple[str, object]:
    if trigger.pull_request is None:
        return "branch", trigger.branch
    return "pull request", trigger.pull_request


@quick
@given(triggers, triggers, st.sampled_from(["main", "pr-5", "trunk"]))
def test_access_of_any_trigger_keeps_caches_apart(one: Trigger, two: Trigger, default_branch: str) -> None:
    """Write nothing from untrusted code, and read no cache that another branch or pull request writes."""
    first = access_for(one, default_branch, push=True)
    second = access_for(two, default_branch, push=True)
    written = written_tags(first)
    if not one.trusted:
        assert not written
    if owner_of(one) != owner_of(two) and first.writes not in (None, DEFAULT_SCOPE):
        assert not written & readable_tags(second)


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ("Dockerfile:7: RUN x: exit code: 1", "::error file=Dockerfile,line=7::Dockerfile:7: RUN x: exit code: 1"),
        ("no engine\nstart it, 100%", "::error::no engine%0Astart it, 100%25"),
        ("a,b/Dockerfile:3: x", "::error file=a%2Cb/Dockerfile,line=3::a,b/Dockerfile:3: x"),
    ],
)
def test_workflow_command_names_file_and_line_of_the_message(message: str, command: str) -> None:
    """Annotate the line of the file, and escape the characters that have a meaning in the command."""
    assert workflow_command("error", message, {}) == command


def test_workflow_command_in_a_subfolder_names_the_file_from_the_top(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "services/api").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "services/api")
    environment = {"GITHUB_WORKSPACE": str(tmp_path)}
    command = workflow_command("warning", "Dockerfile:7: x", environment)
    assert command.startswith("::warning file=services/api/Dockerfile,line=7::")
