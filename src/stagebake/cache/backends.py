"""How a bake file speaks of caches, for each place where they can lie. Pure.

The tags are the same everywhere: `cache-STAGE` for a stage, `cache` for the composed cache. A registry has them as tags
of the image's repository, a folder as those of an OCI image layout, the cache service of GitHub Actions as scopes.
"""

from __future__ import annotations

from dataclasses import dataclass

# How a stage's cache is written: with all that it was made from, so that what one ref says of its steps holds together.
# An ordinary image manifest, so that every registry takes it and composing can join it.
_EXPORT = "mode=max,image-manifest=true,oci-mediatypes=true"


@dataclass(frozen=True, kw_only=True)
class Backend:
    """Templates of a bake file.

    `reads` is its cache-from of the cache that the variable CACHE names, `composed` what CACHE says where nothing else
    is asked for. `goal` is its cache-to up to the tag, `options` what follows. `in_folder` tells whether there are the
    variables FOLDER and HOME.
    """

    reads: str
    merged_ref: str
    goal: str
    options: str = _EXPORT
    in_folder: bool = False

    def export_attribute(self, tag: str) -> str:
        """The cache-to of the cache with this tag."""
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
