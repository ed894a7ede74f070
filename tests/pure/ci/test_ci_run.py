"""Test that a checkout of another commit than the run's loses its branch and its trust."""

from __future__ import annotations

import pytest

from stagebake.cache.scopes import Trigger
from stagebake.ci.ci_run import CiRun, trust_checkout

MAIN = Trigger(branch="main")
COLLEAGUE = Trigger(pull_request=7)


@pytest.mark.parametrize(
    ("trigger", "head", "holds_revision", "trusted"),
    [
        (MAIN, "abc", False, True),
        (MAIN, None, False, True),
        (MAIN, "def", True, True),
        (MAIN, "def", False, False),
        (Trigger(tag="v1"), "def", False, False),
        (COLLEAGUE, "def", False, True),
    ],
    ids=["same", "no-git", "committed-by-the-workflow", "other-commit", "other-commit-than-the-tag", "pull-request"],
)
def test_trust_checkout_other_commit_than_the_run_s_loses_branch_and_trust(
    trigger: Trigger, head: str | None, holds_revision: bool, trusted: bool
) -> None:
    """Keep a pull request's trust: its head is not its merge commit, and its caches are its own in both cases."""
    run = trust_checkout(CiRun(system="x", trigger=trigger, revision="abc"), head, holds_revision=holds_revision)
    assert run.trigger == (trigger if trusted else Trigger(trusted=False))
