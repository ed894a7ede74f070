"""Look after the caches of a real repository: list, check and prune them."""

from __future__ import annotations

import json

from tests.support.project import Project
from tests.support.shapes import STAGES


def test_cache_ls_counts_what_the_registry_stores(shipped: Project) -> None:
    """List all stages; the sizes are those of the blobs on the registry's disk."""
    outcome = shipped.stagebake("cache", "ls", "--json")
    assert outcome.exit_code == 0, outcome.stderr
    listing = json.loads(outcome.stdout)
    stages = {entry["name"]: entry for entry in listing["caches"] if entry["kind"] == "stage"}
    assert stages.keys() == set(STAGES)
    for name, entry in stages.items():
        assert (entry["scope"], entry["tags"]) == ("main", [f"cache-{name}"])
        assert entry["bytes"] == measure(shipped, f"cache-{name}")
        assert entry["created"] is not None
        assert 0 < entry["alone"] < entry["shared"] < entry["bytes"]
    assert listing["untagged"] is None
    table = shipped.stagebake("cache", "ls").stdout
    assert all(name in table for name in STAGES)


def measure(project: Project, tag: str) -> int:
    """Return the bytes of a manifest, its config and its layers on the registry's disk."""
    document = project.registry.read_manifest(project.name, tag)
    digests = {document["config"]["digest"], *(layer["digest"] for layer in document["layers"])}
    digests.add(project.registry.digest(project.name, tag))
    return sum(project.registry.blob(digest).stat().st_size for digest in digests)
