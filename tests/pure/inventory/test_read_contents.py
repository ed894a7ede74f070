"""Test reading what a repository holds."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from stagebake.cache.backends import ContentAnswers
from stagebake.errors import RegistryError
from stagebake.inventory.contents import Kind
from stagebake.inventory.read_contents import read_contents, read_times
from tests.support.memory_registry import MemoryRegistry


def test_read_contents_reads_below_every_index() -> None:
    """Read the platforms of an index that the store lists by tag alone; a missing platform is left out."""
    registry = MemoryRegistry(lists_untagged=False)
    amd, arm = registry.put_image("amd64"), registry.put_image("arm64")
    inner = registry.put_index(amd, "sha256:missing")
    outer = registry.put_index(inner, arm, "sha256:gone", tags=["latest"])
    contents = read_contents(registry, registry)
    assert contents.manifests.keys() == {amd, arm, inner, outer}
    assert contents.manifests[amd].key == ""
    assert contents.manifests[outer].key == outer
    assert contents.by_tag["latest"].kind is Kind.INDEX
    assert not contents.lists_untagged


def test_read_contents_version_deleted_meanwhile_is_left_out() -> None:
    registry = MemoryRegistry()
    gone, kept = registry.put_image("gone", "old"), registry.put_image("kept", "latest")
    versions = registry.list_versions()
    del registry.manifests[gone]
    registry.list_versions = lambda: versions  # type: ignore[method-assign]
    assert read_contents(registry, registry).manifests.keys() == {kept}


class FailingRegistry(MemoryRegistry):
    """Registry that fails to read every second manifest."""

    def read_manifests(self, references: Iterable[str]) -> ContentAnswers:
        answers = super().read_manifests(references)
        failed = sorted(answers)[::2]
        return answers | dict.fromkeys(failed, RegistryError("busy", "try again"))


def test_read_contents_one_unread_manifest_is_an_error() -> None:
    registry = FailingRegistry()
    registry.put_image("one", "1")
    registry.put_image("two", "2")
    with pytest.raises(RegistryError, match="busy"):
        read_contents(registry, registry)


def test_read_times_cache_without_times_or_config_is_missing() -> None:
    registry = MemoryRegistry()
    dated = registry.put_cache("layer-1", at="2026-11-20T10:00:00Z")
    undated = registry.put_cache("layer-2", at="0001-01-01T00:00:00Z")
    broken = registry.put_cache("layer-3")
    contents = read_contents(registry, registry)
    del registry.blobs[contents.manifests[broken].config]
    times = read_times(registry, contents.manifests.values())
    assert times == {dated: 1_795_168_800.0}
    assert undated not in times
