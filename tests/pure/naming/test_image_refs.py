"""Refs of a build: the user's own, those of docker/metadata-action, or those of trigger and commit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from stagebake.cache.scopes import Trigger
from stagebake.errors import InputError
from stagebake.naming.image_refs import ChosenNames, NamingInput, choose_names
from stagebake.naming.image_tags import CommitInfo

HISTORY = ("aaaaaaa", "bbbbbbb", "ccccccc")
MAIN = NamingInput(
    image="ghcr.io/o/n",
    tag=None,
    push=True,
    trigger=Trigger(branch="main"),
    default_branch="main",
    commit=CommitInfo(revision="bbbbbbb"),
    bake_files={},
)


def choose(given: NamingInput, latest: str | None = None, created: str | None = None) -> ChosenNames:
    """Choose the names where the registry's `latest` is of this commit."""
    labels: dict[str, str] = {"org.opencontainers.image.revision": latest} if latest else {}
    if created:
        labels["org.opencontainers.image.created"] = created

    def read_labels(tag: str) -> Mapping[str, str] | None:
        assert tag == "latest"
        return labels or None

    def is_ancestor(older: str, newer: str) -> bool:
        return older in HISTORY and newer in HISTORY and HISTORY.index(older) <= HISTORY.index(newer)

    return choose_names(given, read_labels, is_ancestor)


def tags_of(chosen: ChosenNames) -> list[str]:
    return [ref.removeprefix("ghcr.io/o/n:") for ref in chosen.names.refs]


@pytest.mark.parametrize("latest", [None, "aaaaaaa", "bbbbbbb"], ids=["no-latest", "older-latest", "same"])
def test_choose_names_newest_commit_moves_latest(latest: str | None) -> None:
    chosen = choose(MAIN, latest)
    assert tags_of(chosen) == ["latest", "main-bbbbbbb"]
    assert not chosen.warnings


def test_choose_names_older_commit_leaves_latest_and_says_so() -> None:
    chosen = choose(MAIN, "ccccccc")
    assert tags_of(chosen) == ["main-bbbbbbb"]
    assert "older" in chosen.warnings[0]
    assert "--image NAME:latest" in chosen.warnings[0]


def test_choose_names_unknown_order_moves_latest_and_says_so() -> None:
    chosen = choose(MAIN, "zzzzzzz")
    assert tags_of(chosen) == ["latest", "main-bbbbbbb"]
    assert "unknown" in chosen.warnings[0]


@pytest.mark.parametrize(
    "given",
    [
        replace(MAIN, tag="latest"),
        replace(MAIN, push=False),
        replace(MAIN, bake_files={"t": json.dumps({"target": {"docker-metadata-action": {"tags": ["x:latest"]}}})}),
    ],
    ids=["tag-of-the-user", "no-push", "metadata-action"],
)
def test_choose_names_latest_that_is_no_guess_is_not_compared(given: NamingInput) -> None:
    """Compare nothing where the user or docker/metadata-action asked for `latest`, or without a push."""
    chosen = choose(given, "ccccccc")
    assert not chosen.warnings
    assert any(ref.endswith(":latest") for ref in chosen.names.refs)


def test_choose_names_push_of_an_unknown_commit_is_refused() -> None:
    """No commit and no branch: nothing is guessed."""
    unknown = replace(MAIN, trigger=Trigger(), commit=CommitInfo())
    with pytest.raises(InputError, match="no tag is certain"):
        choose(unknown)
    assert tags_of(choose(replace(unknown, push=False))) == ["latest"]
    assert tags_of(choose(replace(unknown, tag="mine"))) == ["mine"]
