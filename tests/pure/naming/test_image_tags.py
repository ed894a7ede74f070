"""Tags and labels: from git and the event, or from docker/metadata-action."""

from __future__ import annotations

import json

import pytest

from stagebake.cache.scopes import Trigger
from stagebake.errors import InputError
from stagebake.naming.image_tags import CommitInfo, ImageNames, from_metadata_action, labels_for, tags_for

COMMIT = CommitInfo(revision="1a2b3c4d5e6f", created="2026-01-01T00:00:00Z", source="https://github.com/o/n")
OURS = ImageNames(refs=("ghcr.io/o/n:latest",), labels={"org.opencontainers.image.revision": "1a2b3c4d5e6f"})


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        (Trigger(branch="main"), ("latest", "main-1a2b3c4")),
        (Trigger(branch="feature/exercise-template"), ("feature-exercise-template-1a2b3c4",)),
        (Trigger(branch="cache"), ("branch-cache-1a2b3c4",)),
        (Trigger(branch="latest"), ("latest-1a2b3c4",)),
        (Trigger(branch="main", trusted=False), ("1a2b3c4",)),
        (Trigger(pull_request=7), ("pr-7",)),
        (Trigger(pull_request=7, trusted=False), ("pr-7",)),
        (Trigger(tag="v1.2+build"), ("v1.2-build",)),
        (Trigger(tag="latest"), ("tag-latest",)),
        (Trigger(tag="-latest."), ("tag-latest",)),
        (Trigger(tag="v1", trusted=False), ("1a2b3c4",)),
        (Trigger(), ("1a2b3c4",)),
    ],
)
def test_tags_for_a_trigger_names_branch_request_or_tag(trigger: Trigger, expected: tuple[str, ...]) -> None:
    """`latest` on the default branch alone, a branch with its commit, a pull request by number, a tag by its name."""
    assert tags_for(trigger, "main", COMMIT) == expected


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        (Trigger(branch="main"), ("latest", "main")),
        (Trigger(branch="latest"), ("tag-latest",)),
        (Trigger(), ()),
        (Trigger(trusted=False), ()),
    ],
)
def test_tags_for_an_unknown_commit_are_certain_or_missing(trigger: Trigger, expected: tuple[str, ...]) -> None:
    """Never guess `latest` for a repository without a commit, or a folder without git."""
    assert tags_for(trigger, "main", CommitInfo()) == expected


def test_labels_say_what_is_known() -> None:
    """Source, revision and date, as the image specification calls them; what git does not know is left out."""
    assert labels_for(COMMIT) == {
        "org.opencontainers.image.source": "https://github.com/o/n",
        "org.opencontainers.image.revision": "1a2b3c4d5e6f",
        "org.opencontainers.image.created": "2026-01-01T00:00:00Z",
    }
    assert labels_for(CommitInfo()) == {}


def written(**target: object) -> str:
    return json.dumps({"target": {"docker-metadata-action": {"args": {}, **target}}})


def test_the_files_of_metadata_action_are_laid_together() -> None:
    """It writes the tags in one file and the labels in another; what neither says is ours."""
    by_tags, by_labels = written(tags=["ghcr.io/o/n:a", "ghcr.io/o/n:b"]), written(labels={"x": "1"})
    both = from_metadata_action({"t.json": by_tags, "l.json": by_labels}, OURS)
    assert both == ImageNames(refs=("ghcr.io/o/n:a", "ghcr.io/o/n:b"), labels={"x": "1"})
    assert from_metadata_action({"t.json": by_tags}, OURS).labels == OURS.labels
    assert from_metadata_action({"l.json": by_labels}, OURS).refs == OURS.refs
    assert from_metadata_action({}, OURS) == OURS


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"target": {"docker-metadata-action": 1}}', '{"target": []}'])
def test_another_file_is_refused(text: str) -> None:
    """Name a file that docker/metadata-action did not write."""
    with pytest.raises(InputError, match=r"x\.json:1: not a bake file"):
        from_metadata_action({"x.json": text}, OURS)
