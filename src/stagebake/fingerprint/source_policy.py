"""Find out whether a source policy may replace the images and files that stages are made from.

buildx passes the policy in the file that EXPERIMENTAL_BUILDKIT_SOURCE_POLICY names to BuildKit (docker/buildx,
build/build.go, ReadSourcePolicy; the format is moby/buildkit, sourcepolicy/pb/policy.proto). A policy forbids sources,
and then every stage stays as it is, or replaces them (`CONVERT`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from stagebake.fingerprint.model import Part

SOURCE_POLICY = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"

# Names and numbers of the actions that replace nothing; a rule without an action has the first one
_REPLACING_NOTHING = ("ALLOW", "DENY", 0, 1)


def source_policy_file(environment: Mapping[str, str], root: Path) -> Path | None:
    """Return the file with the source policy, None without one; bake runs in `root`."""
    name = environment.get(SOURCE_POLICY)
    return root / name if name else None


def source_policy_parts(file: Path | None) -> list[Part]:
    """Return an unknown part, which every stage has, for a policy that may replace sources; none for another policy."""
    if file is None:
        return []
    try:
        content = file.read_bytes()
    except OSError:
        return []  # the build ends with buildx's message about the file
    if not _may_replace(content):
        return []
    return [Part("unknown", SOURCE_POLICY, "the policy may replace what stages are made from")]


def _may_replace(content: bytes) -> bool:
    """Tell whether a policy may replace sources; one in another format than JSON may."""
    try:
        rules = json.loads(content).get("rules") or ()
        actions = [rule.get("action", "ALLOW") for rule in rules]
    except (ValueError, AttributeError, TypeError):
        return True
    return not all(action in _REPLACING_NOTHING for action in actions)
