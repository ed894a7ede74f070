"""Image names, tags and labels of an existing build."""

from __future__ import annotations

import textwrap

import pytest

from stagebake.existing_builds.build_actions import find_workflow_builds
from stagebake.existing_builds.existing_build import BuildInput, ExistingBuild
from stagebake.existing_builds.github_workflow import parse_workflow
from stagebake.migration.decisions import TakeoverDraft
from stagebake.migration.image_names import MetadataUse, decide_names

OWN = "ghcr.io/acme/shop"


def decide(tags: str, labels: str = "", meta: str = "") -> tuple[TakeoverDraft, MetadataUse | None]:
    inputs = f"tags: |\n{textwrap.indent(tags, '  ')}\n"
    if labels:
        inputs += f"labels: {labels}\n"
    if meta:
        meta = "- id: names\n  uses: docker/metadata-action@v5\n  with:\n" + textwrap.indent(meta, "    ")
    steps = f"{meta}\n- uses: docker/build-push-action@v6\n  with:\n{textwrap.indent(inputs, '    ')}"
    text = f"jobs:\n  build:\n    steps:\n{textwrap.indent(steps, '    ')}"
    (build,) = find_workflow_builds(parse_workflow("w.yml", text), "acme/shop")
    draft = TakeoverDraft()
    return draft, decide_names(draft, build, OWN)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("ghcr.io/Acme/Other", "ghcr.io/acme/other"),
        ("acme/other", "docker.io/acme/other"),
        ("other", "docker.io/library/other"),
        ("localhost:5000/other", "localhost:5000/other"),
        ("registry.example.com/a/b", "registry.example.com/a/b"),
    ],
)
def test_decide_names_takes_the_image_with_its_registry(image: str, name: str) -> None:
    assert decide(f"{image}:latest")[0].settings == {"image": name}


def test_decide_names_of_the_repositorys_own_image_needs_no_setting() -> None:
    draft, metadata = decide("ghcr.io/${{ github.repository }}:latest")
    assert (draft.settings, metadata) == ({}, None)


def test_decide_names_of_an_image_that_a_run_knows_sets_a_variable() -> None:
    draft, _ = decide("${{ steps.ecr.outputs.registry }}/shop:latest")
    assert draft.variables == {"STAGEBAKE_IMAGE": "${{ steps.ecr.outputs.registry }}/shop"}
    assert draft.settings == {}


def test_decide_names_with_fixed_tags_adds_a_metadata_step_that_moves_latest_with_the_default_branch_alone() -> None:
    _, metadata = decide(f"{OWN}:latest\n{OWN}:${{{{ github.sha }}}}", labels="team=web")
    assert metadata is not None
    assert metadata.tags
    assert (
        "type=raw,value=latest,enable={{is_default_branch}}\n      type=raw,value=${{ github.sha }}\n"
        in metadata.source
    )
    assert "flavor: latest=false" in metadata.source
    assert "labels: |\n      team=web\n" in metadata.source


@pytest.mark.parametrize(
    ("rules", "tags"),
    [
        ("tags: |\n  type=raw,value=latest,enable={{is_default_branch}}\n  type=sha,prefix={{branch}}-\n", False),
        ("tags: |\n  type=semver,pattern={{version}}\n", True),
        ("tags: type=ref,event=pr\nflavor: latest=true\n", True),
        ("", True),
    ],
    ids=["built-in", "semver", "flavor", "defaults"],
)
def test_decide_names_uses_the_tags_of_a_metadata_step_where_its_rules_are_others(rules: str, tags: bool) -> None:
    _, metadata = decide("${{ steps.names.outputs.tags }}", meta=f"images: {OWN}\n{rules}")
    assert metadata == MetadataUse(id="names", tags=tags)


def test_decide_names_with_two_images_uses_the_tags_of_the_metadata_step() -> None:
    draft, metadata = decide(
        "${{ steps.names.outputs.tags }}", meta=f"images: |\n  {OWN}\n  acme/api\ntags: type=ref,event=pr\n"
    )
    assert (metadata, draft.settings) == (MetadataUse(id="names", tags=True), {})


def test_decide_names_outside_of_a_workflow_leaves_labels() -> None:
    inputs = {
        "tags": BuildInput(place="c:2", values=("ghcr.io/acme/web:1",)),
        "labels": BuildInput(place="c:3", values=("a=b",)),
    }
    draft = TakeoverDraft()
    assert decide_names(draft, ExistingBuild(place="c:1", kind="x", inputs=inputs), OWN) is None
    assert draft.settings == {"image": "ghcr.io/acme/web"}
    assert [decision.outcome.value for decision in draft.decisions] == ["built in", "taken", "left out"]


def test_decide_names_of_a_tag_that_a_script_knows_is_left() -> None:
    inputs = {"tags": BuildInput(place="w:1", values=("$IMAGE:latest",))}
    draft = TakeoverDraft()
    decide_names(draft, ExistingBuild(place="w:1", kind="x", inputs=inputs), OWN)
    assert draft.settings == {}
    assert [decision.outcome.value for decision in draft.decisions] == ["left out"]
