"""Inputs of an existing build that become settings, variables and bake attributes."""

from __future__ import annotations

from typing import Any

import pytest

from stagebake.existing_builds.existing_build import BuildInput, ExistingBuild
from stagebake.migration.build_inputs import decide_inputs
from stagebake.migration.decisions import Outcome, TakeoverDraft
from stagebake.project.settings import SETTING_KEYS


def decide(**inputs: str | tuple[str, ...]) -> TakeoverDraft:
    """Decide about inputs; `_` in a name is `-`, a text is one value."""
    given = {}
    for name, value in {"context": ".", **inputs}.items():
        values = (value,) if isinstance(value, str) else value
        given[name.replace("_", "-")] = BuildInput(place="w:1", values=values)
    draft = TakeoverDraft()
    decide_inputs(draft, ExistingBuild(place="w:1", kind="x", inputs=given))
    return draft


@pytest.mark.parametrize(
    ("inputs", "settings"),
    [
        ({"context": "./app/"}, {"context": "app", "dockerfile": "app/Dockerfile"}),
        ({"context": "app", "file": "Dockerfile.web"}, {"context": "app", "dockerfile": "app/Dockerfile.web"}),
        ({"context": "{{defaultContext}}"}, {}),
        ({"context": "https://github.com/a/b.git#main"}, {"context": "https://github.com/a/b.git#main"}),
        ({"target": "app"}, {"target": "app"}),
        ({"platforms": ("linux/amd64", "linux/arm64")}, {"platforms": ("linux/amd64", "linux/arm64")}),
        ({"network": "host"}, {"network": "host"}),
        ({"build_args": ("A=1", "B=x=y")}, {"args": {"A": "1", "B": "x=y"}}),
        ({"build_contexts": "a=docker-image://b"}, {"contexts": {"a": "docker-image://b"}}),
        ({"ssh": "default"}, {"ssh": ("default",)}),
        ({"secrets": "npm=${{ secrets.NPM_TOKEN }}"}, {"secrets": ("id=npm,env=NPM_TOKEN",)}),
        ({"secrets": "id=npm,src=.npmrc"}, {"secrets": ("id=npm,src=.npmrc",)}),
        ({"secret_envs": "npm=TOKEN"}, {"secrets": ("id=npm,env=TOKEN",)}),
        ({"secret_files": "npm=.npmrc"}, {"secrets": ("id=npm,src=.npmrc",)}),
    ],
)
def test_decide_inputs_takes_settings_that_the_settings_accept(
    inputs: dict[str, Any], settings: dict[str, Any]
) -> None:
    draft = decide(**inputs)
    assert draft.settings == settings
    for key, value in settings.items():
        SETTING_KEYS[key].check(value, "w:1")


def test_decide_inputs_passes_arguments_of_a_run_in_a_variable() -> None:
    draft = decide(build_args=("A=${{ github.sha }}", "B", "C=1"))
    assert draft.variables == {"STAGEBAKE_ARGS": "A='${{ github.sha }}' B='${{ env.B }}'"}
    assert draft.settings == {"args": {"C": "1"}}


def test_decide_inputs_warns_of_a_secret_in_a_build_argument() -> None:
    draft = decide(build_args="TOKEN=${{ secrets.TOKEN }}")
    assert any("use `secrets`" in decision.explanation for decision in draft.decisions)


def test_decide_inputs_gives_a_secret_of_several_parts_a_variable() -> None:
    draft = decide(secrets="api-url=https://${{ vars.HOST }}")
    assert draft.settings == {"secrets": ("id=api-url,env=API_URL",)}
    assert draft.variables == {"API_URL": "https://${{ vars.HOST }}"}


@pytest.mark.parametrize(
    ("inputs", "override"),
    [
        ({"shm_size": "1g"}, {"shm-size": '"1g"'}),
        ({"add_hosts": ("a:1.2.3.4", "b=::1")}, {"extra-hosts": '{ "a" = "1.2.3.4", "b" = "::1" }'}),
        ({"allow": "security.insecure"}, {"entitlements": '["security.insecure"]'}),
        ({"provenance": "mode=max"}, {"attest": '["type=provenance,mode=max"]'}),
        (
            {"provenance": "false", "sbom": "true"},
            {"attest": '["type=provenance,disabled=true", "type=sbom"]'},
        ),
        ({"ulimit": "nofile=1024:1024"}, {"ulimits": '["nofile=1024:1024"]'}),
    ],
)
def test_decide_inputs_writes_what_only_bake_knows_as_an_attribute(
    inputs: dict[str, Any], override: dict[str, str]
) -> None:
    assert decide(**inputs).override == override


@pytest.mark.parametrize(
    ("inputs", "outcome"),
    [
        ({"cache_from": "type=gha"}, Outcome.BUILT_IN),
        ({"push": "${{ github.event_name != 'pull_request' }}"}, Outcome.BUILT_IN),
        ({"push": "false"}, Outcome.LEFT),
        ({"load": "true"}, Outcome.LEFT),
        ({"context": "${{ inputs.folder }}"}, Outcome.LEFT),
        ({"target": "${{ inputs.target }}"}, Outcome.LEFT),
        ({"platforms": "${{ inputs.platforms }}"}, Outcome.LEFT),
        ({"network": "mine"}, Outcome.LEFT),
        ({"build_args": "A=$(date)"}, Outcome.LEFT),
        ({"build_contexts": "base=target:base"}, Outcome.LEFT),
        ({"annotations": "a=${{ github.sha }}"}, Outcome.LEFT),
        ({"unheard_of": "1"}, Outcome.LEFT),
    ],
)
def test_decide_inputs_leaves_or_replaces_and_says_so(inputs: dict[str, Any], outcome: Outcome) -> None:
    draft = decide(**inputs)
    assert draft.settings == {}
    assert outcome in {decision.outcome for decision in draft.decisions}
