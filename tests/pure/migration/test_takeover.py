"""Takeover of one build."""

from __future__ import annotations

from stagebake.existing_builds.existing_build import BuildInput, ExistingBuild
from stagebake.migration.takeover import take_over


def test_take_over_orders_decisions_by_line_and_renders_the_override_file() -> None:
    inputs = {
        "shm-size": BuildInput(place="compose.yaml:12", values=("1g",)),
        "target": BuildInput(place="compose.yaml:9", values=("app",)),
    }
    takeover = take_over(ExistingBuild(place="compose.yaml:4", kind="compose service web", inputs=inputs), None)
    assert [decision.place for decision in takeover.decisions] == [
        "compose.yaml:4",
        "compose.yaml:9",
        "compose.yaml:12",
    ]
    assert takeover.settings == {"target": "app"}
    assert takeover.override_text == (
        "# From compose.yaml; yours to edit. stagebake lays this file over docker-bake.hcl.\n"
        'target "_common" {\n  shm-size = "1g"\n}\n'
    )


def test_take_over_without_attributes_needs_no_override_file() -> None:
    assert take_over(ExistingBuild(place="a:1", kind="x", inputs={}), None).override_text == ""
