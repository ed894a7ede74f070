"""Define how a bake file refers to caches in each cache back end. Pure.

The tags are the same in all of them: `cache-STAGE` for a stage, `cache` for the merged cache. They are tags of the
image's repository in a registry, tags of an OCI image layout in a directory, and scopes in GitHub's cache service.
"""

from __future__ import annotations

from dataclasses import dataclass

# `mode=max` saves every step, so that a stage's cache is complete. `image-manifest=true` writes an ordinary image
# manifest, which every registry accepts and which can be merged.
_EXPORT = "mode=max,image-manifest=true,oci-mediatypes=true"


@dataclass(frozen=True, kw_only=True)
class Backend:
    """Templates for the attributes of a bake file.

    `reads` is the cache-from that imports the cache in the variable CACHE, `merged_ref` the default of CACHE. `goal` is
    the cache-to without the tag, `options` what follows the tag. With `in_folder`, the bake file has the variables
    FOLDER and HOME.
    """

    reads: str
    merged_ref: str
    goal: str
    options: str = _EXPORT
    in_folder: bool = False

    def export_attribute(self, tag: str) -> str:
        """Return the cache-to that saves a cache under this tag."""
        return f"{self.goal}{tag},{self.options}"


BACKENDS = {
    "registry": Backend(
        reads="type=registry,ref=${CACHE}",
        merged_ref="${IMAGE}:cache${SCOPE}",
        goal="type=registry,ref=${IMAGE}:",
    ),
    "local": Backend(
        reads="type=local,src=${FOLDER}/${IMAGE},${CACHE}",
        merged_ref="tag=cache${SCOPE}",
        goal="type=local,dest=${FOLDER}/${IMAGE},tag=",
        in_folder=True,
    ),
    "gha": Backend(
        reads="type=gha,scope=${CACHE}",
        merged_ref="${IMAGE}:cache${SCOPE}",
        goal="type=gha,scope=${IMAGE}:",
        options="mode=max",
    ),
}
