"""Targets of a bake file."""

from __future__ import annotations

import json

import pytest

from stagebake.existing_builds.bake_targets import InvalidBakeFile, find_bake_builds

HCL = """\
variable "TAG" {
  default = "edge"
}
target "_base" {
  args = { NODE_ENV = "production" }
}
target "app" {
  inherits   = ["_base"]
  context    = "app"
  dockerfile = "Dockerfile.app"
  tags       = ["ghcr.io/acme/app:${TAG}", "ghcr.io/acme/app:${OTHER}"]
  no-cache   = true
}
target "many" {
  matrix = { item = ["a", "b"] }
}
"""


def test_find_bake_builds_reads_targets_with_what_they_inherit() -> None:
    builds = dict(find_bake_builds("ci.hcl", HCL))
    assert {name: build.place for name, build in builds.items()} == {"app": "ci.hcl:7", "many": "ci.hcl:14"}
    assert {name: given.values for name, given in builds["app"].inputs.items()} == {
        "build-args": ("NODE_ENV=production",),
        "context": ("app",),
        "file": ("Dockerfile.app",),
        "tags": ("ghcr.io/acme/app:edge", "ghcr.io/acme/app:${OTHER}"),
        "no-cache": ("true",),
    }
    assert builds["many"].problem.startswith("its matrix makes several targets")


def test_find_bake_builds_reads_json() -> None:
    text = json.dumps({"target": {"app": {"context": ".", "target": "final"}}})
    ((name, build),) = find_bake_builds("docker-bake.json", text)
    assert (name, build.find_value("target")) == ("app", "final")


def test_find_bake_builds_of_targets_that_inherit_each_other_ends() -> None:
    text = 'target "a" {\n  inherits = ["b"]\n}\ntarget "b" {\n  inherits = ["a"]\n  target = "x"\n}\n'
    assert dict(find_bake_builds("a.hcl", text))["a"].find_value("target") == "x"


@pytest.mark.parametrize(("path", "text"), [("a.hcl", 'target "a" {'), ("a.json", "{"), ("a.json", "[]")])
def test_find_bake_builds_of_a_file_that_is_not_valid_raises(path: str, text: str) -> None:
    with pytest.raises(InvalidBakeFile):
        list(find_bake_builds(path, text))
