"""Test the bake attributes of the cache back ends."""

from __future__ import annotations

import pytest

from stagebake.cache.backends import BACKENDS


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("registry", "type=registry,ref=${IMAGE}:cache-base,mode=max,image-manifest=true,oci-mediatypes=true"),
        (
            "local",
            "type=local,dest=${FOLDER}/${IMAGE},tag=cache-base,mode=max,image-manifest=true,oci-mediatypes=true",
        ),
        ("gha", "type=gha,scope=${IMAGE}:cache-base,mode=max"),
    ],
)
def test_export_attribute_of_backend_saves_every_step(name: str, attribute: str) -> None:
    assert BACKENDS[name].export_attribute("cache-base") == attribute
