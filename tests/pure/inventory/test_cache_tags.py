"""Test what the tags of a repository stand for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagebake.cache.scopes import DEFAULT_SCOPE, Scope
from stagebake.inventory.cache_tags import (
    CacheTag,
    TagKind,
    find_gone_scopes,
    find_pull_request,
    name_scopes,
    parse_cache_tag,
)
from tests.support.caches import quick

SEVEN = Scope("pr-7", pull_request=True)
NAMES = st.text(alphabet="abZ09-_.", min_size=1, max_size=90)
SCOPES = st.one_of(st.just(DEFAULT_SCOPE), st.builds(Scope, st.text(min_size=1)), st.just(SEVEN))


@quick
@given(scope=SCOPES, stage=NAMES, generation=st.integers(0, 9))
def test_parse_cache_tag_is_the_reverse_of_scopes(scope: Scope, stage: str, generation: int) -> None:
    parsed = parse_cache_tag(scope.stage_tag(stage[:40], generation))
    assert parsed is not None
    assert (parsed.kind, parsed.suffix, parsed.name, parsed.generation) == (
        TagKind.STAGE, scope.suffix, stage[:40], generation,
    )  # fmt: skip
    for tag, kind, name in (
        (scope.merged_tag, TagKind.MERGED, ""),
        (scope.ledger_tag, TagKind.LEDGER, ""),
        (scope.mount_tag("npm.1"), TagKind.MOUNT, "npm.1"),
    ):
        assert parse_cache_tag(tag) == CacheTag(tag=tag, kind=kind, suffix=scope.suffix, name=name)


@pytest.mark.parametrize(
    "tag",
    [
        "latest",
        "cached",
        "buildcache",
        "cache1",
        "cache-",
        "cache.mount",
        "cache.ledger-x",
        "cache1.ledger",
        "cache_x-y",
    ],
)
def test_parse_cache_tag_of_others_is_none(tag: str) -> None:
    assert parse_cache_tag(tag) is None


def test_find_pull_request_branch_with_a_similar_name_is_none() -> None:
    assert find_pull_request(SEVEN.suffix) == 7
    assert find_pull_request(Scope("pr-7").suffix) is None
    assert find_pull_request("") is None


def test_name_scopes_uses_branches_that_git_knows() -> None:
    known, other = Scope("feature/x").suffix, Scope("Feature/Y").suffix
    names = name_scopes(["", SEVEN.suffix, known, other], "trunk", ["feature/x"])
    assert names == {"": "trunk", SEVEN.suffix: "pr-7", known: "feature/x", other: other.removeprefix("_")}


def test_find_gone_scopes_are_those_that_nothing_lists() -> None:
    feature, eight = Scope("feature"), Scope("pr-8", pull_request=True)
    suffixes = ["", SEVEN.suffix, eight.suffix, feature.suffix, Scope("old").suffix]
    assert find_gone_scopes(suffixes, ["main", "feature"], [7]) == {eight.suffix, Scope("old").suffix}
    assert find_gone_scopes(suffixes, ["main"], None) == {feature.suffix, Scope("old").suffix}
    assert find_gone_scopes(suffixes, None, []) == {SEVEN.suffix, eight.suffix}


@pytest.mark.parametrize("branches", [None, []])
def test_find_gone_scopes_without_any_branch_takes_none_for_gone(branches: list[str] | None) -> None:
    """Take an empty list for an answer that is wrong: a repository has a branch."""
    assert find_gone_scopes([Scope("feature").suffix], branches, None) == frozenset()
