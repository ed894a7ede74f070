"""Inputs of a build."""

from __future__ import annotations

from stagebake.existing_builds.existing_build import BuildInput, ExistingBuild, merge_inputs


def test_merge_inputs_joins_values_under_the_first_place() -> None:
    pairs = [("tags", BuildInput(place="w:1", values=("a",))), ("tags", BuildInput(place="w:2", values=("b", "c")))]
    assert merge_inputs(pairs) == {"tags": BuildInput(place="w:1", values=("a", "b", "c"))}


def test_find_value_of_a_missing_input_is_the_default() -> None:
    build = ExistingBuild(place="w:1", kind="x", inputs={})
    assert (build.find_value("file", "Dockerfile"), build.list_values("tags")) == ("Dockerfile", ())
