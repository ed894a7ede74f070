"""Test the choice of the stores for a cache back end."""

from __future__ import annotations

from pathlib import Path

import pytest

from stagebake.cache.backends import BACKENDS
from stagebake.stores.choose import BuildStores, choose_stores
from stagebake.stores.github_cache import NO_CACHE_SERVICE, GithubCache
from stagebake.stores.oci_layout import OciLayout
from stagebake.stores.registry import Registry
from tests.support.service import token

SERVICE = {"ACTIONS_CACHE_URL": "http://127.0.0.1:1/", "ACTIONS_RUNTIME_TOKEN": token("refs/heads/main")}
IMAGE = "127.0.0.1:1/app"


def choose(backend: str, image: str | None = IMAGE, environment: dict[str, str] | None = None) -> BuildStores:
    return choose_stores(
        backend, image=image, local_name="local/app", folder=lambda: Path("/caches"), environment=environment or {}
    )


@pytest.mark.parametrize(("backend", "store"), [("registry", Registry), ("local", OciLayout), ("gha", GithubCache)])
def test_choose_stores_each_backend_has_its_store(backend: str, store: type) -> None:
    assert backend in BACKENDS
    stores = choose(backend, environment=SERVICE)
    assert isinstance(stores.caches, store)
    assert isinstance(stores.images, Registry)


def test_choose_stores_registry_keeps_caches_beside_the_image() -> None:
    stores = choose("registry")
    assert stores.caches is stores.images
    assert stores.missing_reason is None


def test_choose_stores_image_without_name_uses_local_name() -> None:
    assert choose("registry", image=None) == BuildStores()
    stores = choose("local", image=None)
    assert stores.images is None
    assert stores.caches is not None
    assert stores.caches.image == "/caches/local/app"


def test_choose_stores_gha_without_service_has_a_reason() -> None:
    stores = choose("gha")
    assert stores.caches is None
    assert stores.missing_reason == NO_CACHE_SERVICE
