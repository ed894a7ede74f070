"""Test every event of GitHub in every situation: the tags that a push writes, and the caches it reads and writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stagebake.cache.scopes import DEFAULT_SCOPE, Access, Scope, Trigger, access_for
from stagebake.ci.github_events import EVENTS, BuiltCode, github_trigger
from stagebake.naming.image_tags import LATEST, CommitInfo, tags_for

PAGE = Path(__file__).parents[3] / "docs" / "events.md"
COMMIT = CommitInfo(revision="1a2b3c4d5e6f")


def pull_request(head: str) -> dict[str, Any]:
    return {
        "pull_request": {
            "number": 7,
            "head": {"ref": "main", "repo": {"full_name": head}},
            "base": {"ref": "main", "repo": {"full_name": "owner/app"}},
        }
    }


OWN, FORK = pull_request("owner/app"), pull_request("stranger/app")
SITUATIONS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "default branch": ("refs/heads/main", OWN),
    "other branch": ("refs/heads/feature/x", OWN),
    "tag": ("refs/tags/v1.2", OWN),
    "fork": ("refs/heads/main", FORK),
    "merge queue": ("refs/heads/gh-readonly-queue/main/pr-7-0123abc", OWN),
}
"""GITHUB_REF and the payload. The payload of an event without a pull request is not read."""
CELLS = [(event, situation) for event in EVENTS for situation in SITUATIONS]
every_cell = pytest.mark.parametrize(("event", "situation"), CELLS)


def trigger_of(event: str, situation: str) -> Trigger:
    ref, payload = SITUATIONS[situation]
    return github_trigger({"GITHUB_EVENT_NAME": event, "GITHUB_REF": ref}, payload)


def access_of(event: str, situation: str) -> Access:
    return access_for(trigger_of(event, situation), "main", push=True)


def tags_of(event: str, situation: str) -> tuple[str, ...]:
    return tags_for(trigger_of(event, situation), "main", COMMIT)


def expected_outcome(event: str, situation: str) -> tuple[tuple[str, ...], Scope | None]:
    """Say once more, in other words than the code, which tags and which scope a push may write."""
    if EVENTS[event] is BuiltCode.UNKNOWN:
        return ("1a2b3c4",), None
    if EVENTS[event] is BuiltCode.PULL_REQUEST:
        own = Scope("pr-7", pull_request=True)
        return ("pr-7",), None if situation == "fork" else own
    return {
        "default branch": ((LATEST, "main-1a2b3c4"), DEFAULT_SCOPE),
        "fork": ((LATEST, "main-1a2b3c4"), DEFAULT_SCOPE),  # the payload of such an event is no pull request's
        "other branch": (("feature-x-1a2b3c4",), Scope("feature/x")),
        "tag": (("v1.2",), None),
        "merge queue": (
            ("gh-readonly-queue-main-pr-7-0123abc-1a2b3c4",),
            Scope("gh-readonly-queue/main/pr-7-0123abc"),
        ),
    }[situation]


@every_cell
def test_github_trigger_every_event_and_situation_has_its_tags_and_scopes(event: str, situation: str) -> None:
    tags, writes = expected_outcome(event, situation)
    access = access_of(event, situation)
    assert tags_of(event, situation) == tags
    assert access.writes == writes
    assert set(access.reads) <= {DEFAULT_SCOPE, writes}


@every_cell
def test_latest_only_from_code_of_the_default_branch(event: str, situation: str) -> None:
    """Never let unknown code become `latest`, or a cache that a trusted run reads."""
    if LATEST in tags_of(event, situation) or access_of(event, situation).writes == DEFAULT_SCOPE:
        assert EVENTS[event] is BuiltCode.REF
        assert SITUATIONS[situation][0] == "refs/heads/main"


@pytest.mark.parametrize("event", ["", "event_of_tomorrow", "PUSH"])
def test_github_trigger_unknown_event_is_not_trusted(event: str) -> None:
    for situation in SITUATIONS:
        assert trigger_of(event, situation) == Trigger(trusted=False)


def describe(event: str, situation: str) -> str:
    """Format one cell of the page's table."""
    if situation == "fork" and EVENTS[event] is BuiltCode.REF:
        return "has no pull request"
    tags = ", ".join(f"`{tag}`" for tag in tags_of(event, situation))
    writes = access_of(event, situation).writes
    if writes is None:
        return f"{tags}; saves no cache"
    if writes == DEFAULT_SCOPE:
        return f"{tags}; saves the default branch's caches"
    return f"{tags}; saves its own caches"


def test_the_page_on_events_has_every_event_with_its_outcome() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+?) \| (.+) \|$", page, re.MULTILINE)
    documented: dict[str, list[str]] = {}
    for events, cells in rows:
        for event in re.findall(r"`(\w+)`", events):
            documented[event] = cells.split(" | ")
    assert documented == {event: [describe(event, situation) for situation in SITUATIONS] for event in EVENTS}
