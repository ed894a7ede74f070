"""Build with `compression = "zstd"`: new layers are in zstd in image and caches, and the base keeps its own blobs."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.project import Project

ZSTD = {"STAGEBAKE_COMPRESSION": "zstd", "STAGEBAKE_COMPRESSION_LEVEL": "3"}


def test_build_with_zstd_compresses_new_layers_once_and_leaves_the_base(five: Project) -> None:
    base = five.hosting("1")
    base.settings()
    base.commit()
    base.build("--push", **ZSTD)
    layers = read_compressions(base, "latest")
    kept, *new = layers.values()
    assert (kept, set(new)) == ("gzip", {"zstd"})
    for stage in ("base", "runtime"):
        cached = read_compressions(base, f"cache-{stage}")
        assert set(cached.values()) == {"gzip", "zstd"}
        assert layers.items() & cached.items() >= {next(iter(layers.items()))}
    base.engine.empty()
    assert base.build("--push", **ZSTD).ran == set()
    # Layers that exist are not converted when the setting changes
    base.engine.empty()
    assert base.build("--push").ran == set()
    assert read_compressions(base, "latest") == layers


def read_compressions(project: Project, tag: str) -> Mapping[str, str]:
    """Return the compression of each layer of an image or a cache, by digest."""
    manifest = project.registry.image_manifest(project.name, tag)
    return {layer["digest"]: layer["mediaType"].rpartition("+")[2].rpartition(".")[2] for layer in manifest["layers"]}
