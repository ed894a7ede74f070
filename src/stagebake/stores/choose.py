"""Choose where the image and its caches are stored.

A new cache back end needs its bake attributes (`cache.backends`), a module here with a `CacheRepository`, and a case in
`choose_stores`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stagebake.cache.backends import CacheRepository
from stagebake.stores.github_cache import NO_CACHE_SERVICE, connect_cache_service
from stagebake.stores.oci_layout import OciLayout
from stagebake.stores.registry import Registry


@dataclass(frozen=True, kw_only=True)
class BuildStores:
    """Repository of the image (None for an image without name) and of its caches (None where there are no caches).

    `missing_reason` is the warning for a build whose caches cannot be reached.
    """

    images: CacheRepository | None = None
    caches: CacheRepository | None = None
    missing_reason: str | None = None


def choose_stores(
    backend: str,
    *,
    image: str | None,
    local_name: str,
    folder: Callable[[], Path],
    environment: Mapping[str, str],
) -> BuildStores:
    """Return the stores of a cache back end, a key of `cache.backends.BACKENDS`.

    `image` is the image's repository (HOST/NAME); `local_name` names the caches of an image without one. `folder`
    returns the directory of the back end `local`; `environment` leads to the cache service of the back end `gha`.
    """
    images = Registry(image) if image else None
    cache_name = image or local_name
    if backend == "local":
        return BuildStores(images=images, caches=OciLayout(folder() / cache_name))
    if backend == "gha":
        caches = connect_cache_service(cache_name, environment)
        return BuildStores(images=images, caches=caches, missing_reason=NO_CACHE_SERVICE)
    return BuildStores(images=images, caches=images)
