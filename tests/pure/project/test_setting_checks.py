"""Test the checks of image names."""

from __future__ import annotations

import pytest

from stagebake.errors import InputError
from stagebake.project.setting_checks import split_image


@pytest.mark.parametrize(
    ("image", "name", "tag"),
    [
        ("name", "name", None),
        ("owner/name", "owner/name", None),
        ("ghcr.io/owner/name", "ghcr.io/owner/name", None),
        ("ghcr.io/owner/name:1.2", "ghcr.io/owner/name", "1.2"),
        ("localhost:5000/name", "localhost:5000/name", None),
        ("localhost:5000/name:x", "localhost:5000/name", "x"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c", None),
        ("GHCR.io/owner/name", "GHCR.io/owner/name", None),
        ("a.b-c/d_e/f__g/h--i", "a.b-c/d_e/f__g/h--i", None),
        ("name:_X.y-Z", "name", "_X.y-Z"),
        ("name:" + "t" * 128, "name", "t" * 128),
        ("r.io/" + "n" * 250, "r.io/" + "n" * 250, None),
    ],
    ids=[
        "name", "path", "domain", "tag", "port", "port-and-tag", "address", "domain-in-capitals", "separators",
        "tag-of-all", "longest-tag", "longest-name",
    ],
)  # fmt: skip
def test_split_image_of_valid_name_returns_name_and_tag(image: str, name: str, tag: str | None) -> None:
    assert split_image(image) == (name, tag)


@pytest.mark.parametrize(
    "image",
    [
        "", "ghcr.io/Owner/name", "Name", "ghcr.io/owner/name:", "ghcr.io//name", "ghcr.io/owner/", "/name", "-name",
        "name-", "a___b", "a..b", "a.-b", "na me", "name:.x", "name:-x", "name:a/b:c", "name:" + "t" * 129,
        "n" * 256, "r.io/" + "n" * 251, "name@sha256:" + "0" * 64, "https://ghcr.io/owner/name", "name:größe", "größe",
        "ghcr.io:port/name", "name\n", "name:x\n",
    ],
    ids=ascii,
)  # fmt: skip
def test_split_image_of_invalid_name_raises_input_error(image: str) -> None:
    with pytest.raises(InputError) as caught:
        split_image(image)
    assert image in caught.value.problem


def test_split_image_of_capitals_suggests_lower_case() -> None:
    with pytest.raises(InputError) as caught:
        split_image("ghcr.io/Owner/Name:V1")
    assert "`ghcr.io/owner/name:v1`" in caught.value.hint.replace("V1", "v1")
