"""Test the scopes that a build reads and writes, and their tags."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stagebake.cache.scopes import DEFAULT_SCOPE, READ_DEFAULT, Access, Scope, Trigger, access_for

# opencontainers/distribution-spec, "Pulling manifests"
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")

hard_names = st.sampled_from([
    "main", "Main", "MAIN", "feature/a", "feature-a", "feature_a", "feature.a", "feature/A", "a" * 300, "a" * 299 + "b",
    "größe", "grosse", "枝", "枝葉", "-", "_", ".", "/", "default", "cache", "pr-1", "1", "0123456789", "a b",
    "é", "e\u0301",
])  # fmt: skip
branches = st.one_of(hard_names, st.text("abcXYZ019/-_.#@ äÄßİıé\u0301枝😀\x7f\n", min_size=1, max_size=300))
named_scopes = st.builds(Scope, branches, pull_request=st.booleans())
scope_values = st.one_of(st.just(DEFAULT_SCOPE), named_scopes)
stages = st.one_of(
    st.sampled_from(["base", "a-b", "a.b", "a_b", "b", "default", "s" * 69, "s" * 70, "s" * 71, "s" * 200]),
    st.from_regex(r"[a-z][a-z0-9_.-]{0,150}", fullmatch=True),
)
mounts = st.from_regex(r"[A-Za-z0-9_]{1,40}\.[0-9a-f]{10}", fullmatch=True)
generations = st.integers(0, 9)
quick = settings(max_examples=80, deadline=None, database=None, derandomize=True)


@quick
@given(scope_values, stages, generations)
def test_tags_of_any_branch_and_stage_are_valid(scope: Scope, stage: str, generation: int) -> None:
    assert TAG.fullmatch(scope.merged_tag)
    assert TAG.fullmatch(scope.ledger_tag)
    assert TAG.fullmatch(scope.stage_tag(stage, generation))


@quick
@given(scope_values, scope_values, stages, stages)
def test_tags_of_two_scopes_differ(scope: Scope, other: Scope, stage: str, other_stage: str) -> None:
    """Share no tag between scopes, nor between a stage, a merged cache and a ledger."""
    for tag in (scope.stage_tag(stage), scope.stage_tag(stage, 1)):
        assert tag not in (scope.merged_tag, other.merged_tag, scope.ledger_tag, other.ledger_tag)
    assert scope.ledger_tag != other.merged_tag
    if scope != other:
        assert scope.merged_tag != other.merged_tag
        assert scope.ledger_tag != other.ledger_tag
        assert scope.stage_tag(stage) != other.stage_tag(other_stage)


@quick
@given(scope_values, stages, stages, generations, generations)
def test_stage_tags_of_one_scope_differ(scope: Scope, stage: str, other: str, first: int, second: int) -> None:
    """Give each generation of each stage its own tag."""
    same_tag = scope.stage_tag(stage, first) == scope.stage_tag(other, second)
    assert same_tag == ((stage, first) == (other, second))


@quick
@given(scope_values, scope_values, mounts, mounts, stages, generations)
def test_mount_tag_of_any_scope_is_valid_and_unique(
    scope: Scope, other: Scope, mount: str, other_mount: str, stage: str, generation: int
) -> None:
    tag = scope.mount_tag(mount)
    assert TAG.fullmatch(tag)
    same_tag = tag == other.mount_tag(other_mount)
    assert same_tag == ((scope, mount) == (other, other_mount))
    assert tag not in (other.stage_tag(stage, generation), other.merged_tag)


def test_tags_of_default_branch_have_no_suffix() -> None:
    assert DEFAULT_SCOPE.suffix == ""
    assert DEFAULT_SCOPE.merged_tag == "cache"
    assert DEFAULT_SCOPE.ledger_tag == "cache.ledger"
    assert DEFAULT_SCOPE.stage_tag("base") == "cache-base"
    assert DEFAULT_SCOPE.stage_tag("base", 1) == "cache1-base"


def test_tags_of_a_branch_name_branch_and_stage() -> None:
    """Show a reader the branch and the stage, with a hash of the exact name in between."""
    scope = Scope("feature/New-Login")
    assert re.fullmatch(r"cache_feature_new_login\.[0-9a-f]{10}-base", scope.stage_tag("base"))
    assert re.fullmatch(r"cache_feature_new_login\.[0-9a-f]{10}", scope.merged_tag)


def test_tags_of_a_branch_never_change() -> None:
    """Keep the tags of caches that registries already store."""
    assert Scope("feature/a").merged_tag == "cache_feature_a.d1c6898d01"
    assert Scope("feature/a") == Scope("feature/a")


BRANCH = Scope("x")
OTHER_CASE = Scope("Main")
PULL_REQUEST = Scope("pr-7", pull_request=True)


@pytest.mark.parametrize(
    ("trigger", "push", "access"),
    [
        (Trigger(branch="main"), True, Access(reads=(DEFAULT_SCOPE,), writes=DEFAULT_SCOPE)),
        (Trigger(branch="main"), False, READ_DEFAULT),
        (Trigger(branch="x"), True, Access(reads=(BRANCH, DEFAULT_SCOPE), writes=BRANCH)),
        (Trigger(branch="x"), False, Access(reads=(BRANCH, DEFAULT_SCOPE), writes=None)),
        (Trigger(), True, READ_DEFAULT),
        (Trigger(), False, READ_DEFAULT),
        (Trigger(tag="v1"), True, READ_DEFAULT),
        (Trigger(pull_request=7), True, Access(reads=(PULL_REQUEST, DEFAULT_SCOPE), writes=PULL_REQUEST)),
        (Trigger(pull_request=7, trusted=False), True, READ_DEFAULT),
        (Trigger(branch="main", trusted=False), True, READ_DEFAULT),
        (Trigger(branch="Main"), True, Access(reads=(OTHER_CASE, DEFAULT_SCOPE), writes=OTHER_CASE)),
    ],
    ids=[
        "default-pushed", "default-not-pushed", "branch-pushed", "branch-not-pushed", "detached-pushed",
        "detached-not-pushed", "tag", "pull-request", "fork", "untrusted-default", "case-matters",
    ],
)  # fmt: skip
def test_access_for_trigger_reads_own_scope_first(trigger: Trigger, push: bool, access: Access) -> None:
    """Write only on a push, and nothing for an untrusted trigger."""
    assert access_for(trigger, "main", push=push) == access
