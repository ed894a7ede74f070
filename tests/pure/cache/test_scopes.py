"""Whose caches a build reads and writes, and the tags they have."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stagebake.cache.scopes import DEFAULT_SCOPE, Access, Scope, Trigger, access_for

# opencontainers/distribution-spec, "Pulling manifests"
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")

hard_names = st.sampled_from([
    "main", "Main", "MAIN", "feature/a", "feature-a", "feature_a", "feature.a", "feature/A", "a" * 300, "a" * 299 + "b",
    "größe", "grosse", "枝", "枝葉", "-", "_", ".", "/", "default", "cache", "pr-1", "1", "0123456789", "a b",
    "é", "e\u0301",
])  # fmt: skip
branches = st.one_of(hard_names, st.text("abcXYZ019/-_.#@ äÄßİıé\u0301枝😀\x7f\n", min_size=1, max_size=300))
scope_values = st.one_of(st.just(DEFAULT_SCOPE), st.builds(Scope, branches, pull_request=st.booleans()))
stages = st.one_of(
    st.sampled_from(["base", "a-b", "a.b", "a_b", "b", "default", "s" * 69, "s" * 70, "s" * 71, "s" * 200]),
    st.from_regex(r"[a-z][a-z0-9_.-]{0,150}", fullmatch=True),
)
mounts = st.from_regex(r"[A-Za-z0-9_]{1,40}\.[0-9a-f]{10}", fullmatch=True)
quick = settings(max_examples=80, deadline=None, database=None, derandomize=True)


@quick
@given(scope_values, stages, st.integers(0, 9))
def test_every_tag_is_valid(scope: Scope, stage: str, generation: int) -> None:
    """Whatever a branch or a stage is called, a registry takes the tag."""
    assert TAG.fullmatch(scope.merged_tag)
    assert TAG.fullmatch(scope.ledger_tag)
    assert TAG.fullmatch(scope.stage_tag(stage, generation))


@quick
@given(scope_values, scope_values, stages, stages)
def test_two_scopes_share_no_tag(one: Scope, two: Scope, stage: str, other: str) -> None:
    """Different scopes never write the same tag, and no stage, composed cache and ledger share one."""
    for tag in (one.stage_tag(stage), one.stage_tag(stage, 1)):
        assert tag not in (one.merged_tag, two.merged_tag, one.ledger_tag, two.ledger_tag)
    assert one.ledger_tag != two.merged_tag
    if one != two:
        assert one.merged_tag != two.merged_tag
        assert one.ledger_tag != two.ledger_tag
        assert one.stage_tag(stage) != two.stage_tag(other)


@quick
@given(scope_values, stages, stages, st.integers(0, 9), st.integers(0, 9))
def test_two_stages_share_no_tag(scope: Scope, stage: str, other: str, one: int, two: int) -> None:
    """Within a scope, each stage has its own tag for each generation."""
    assert (scope.stage_tag(stage, one) == scope.stage_tag(other, two)) == ((stage, one) == (other, two))


@quick
@given(scope_values, scope_values, mounts, mounts, stages, st.integers(0, 9))
def test_a_mounts_tag_is_its_own(scope: Scope, other: Scope, mount: str, second: str, stage: str, age: int) -> None:
    """Valid, of one mount and one scope, and never that of a stage's cache or of a composed one."""
    tag = scope.mount_tag(mount)
    assert TAG.fullmatch(tag)
    assert (tag == other.mount_tag(second)) == ((scope, mount) == (other, second))
    assert tag not in (other.stage_tag(stage, age), other.merged_tag)


def test_the_default_branch_has_the_plain_tags() -> None:
    """The caches of the default branch are `cache` and `cache-STAGE`."""
    assert (DEFAULT_SCOPE.suffix, DEFAULT_SCOPE.merged_tag, DEFAULT_SCOPE.stage_tag("base")) == (
        "",
        "cache",
        "cache-base",
    )
    assert (DEFAULT_SCOPE.stage_tag("base", 1), DEFAULT_SCOPE.ledger_tag) == ("cache1-base", "cache.ledger")


def test_the_tag_of_a_branch_can_be_read() -> None:
    """A person sees the branch and the stage in the tag; a hash of the exact name lies between."""
    assert re.fullmatch(r"cache_feature_new_login\.[0-9a-f]{10}-base", Scope("feature/New-Login").stage_tag("base"))
    assert re.fullmatch(r"cache_feature_new_login\.[0-9a-f]{10}", Scope("feature/New-Login").merged_tag)


def test_the_same_scope_has_the_same_tags_for_ever() -> None:
    """Tags are a contract with what lies in registries already."""
    assert Scope("feature/a").merged_tag == Scope("feature/a").merged_tag == "cache_feature_a.d1c6898d01"


@pytest.mark.parametrize(
    ("trigger", "push", "access"),
    [
        (Trigger(branch="main"), True, Access(reads=(DEFAULT_SCOPE,), writes=DEFAULT_SCOPE)),
        (Trigger(branch="main"), False, Access(reads=(DEFAULT_SCOPE,), writes=None)),
        (Trigger(branch="x"), True, Access(reads=(Scope("x"), DEFAULT_SCOPE), writes=Scope("x"))),
        (Trigger(branch="x"), False, Access(reads=(Scope("x"), DEFAULT_SCOPE), writes=None)),
        (Trigger(), True, Access(reads=(DEFAULT_SCOPE,), writes=None)),
        (Trigger(), False, Access(reads=(DEFAULT_SCOPE,), writes=None)),
        (
            Trigger(pull_request=7),
            True,
            Access(
                reads=(Scope("pr-7", pull_request=True), DEFAULT_SCOPE),
                writes=Scope("pr-7", pull_request=True),
            ),
        ),
        (Trigger(pull_request=7, trusted=False), True, Access(reads=(DEFAULT_SCOPE,), writes=None)),
        (Trigger(branch="main", trusted=False), True, Access(reads=(DEFAULT_SCOPE,), writes=None)),
        (Trigger(branch="Main"), True, Access(reads=(Scope("Main"), DEFAULT_SCOPE), writes=Scope("Main"))),
    ],
    ids=[
        "default-pushed", "default-not-pushed", "branch-pushed", "branch-not-pushed", "detached-pushed",
        "detached-not-pushed", "pull-request", "fork", "untrusted-default", "case-matters",
    ],
)  # fmt: skip
def test_what_is_read_and_written(trigger: Trigger, push: bool, access: Access) -> None:
    """Its own scope first, then the default branch's; only what is pushed writes, and nothing untrusted."""
    assert access_for(trigger, "main", push=push) == access
