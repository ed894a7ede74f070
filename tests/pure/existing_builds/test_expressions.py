"""Values that are known before a workflow runs."""

from __future__ import annotations

import pytest

from stagebake.existing_builds.expressions import (
    KnownValues,
    has_expression,
    has_secret,
    has_shell_variable,
    secret_name,
)

KNOWN = KnownValues(
    env={"REGISTRY": "ghcr.io", "IMAGE": "${{ env.REGISTRY }}/${{ github.repository }}", "LOOP": "${{ env.LOOP }}"},
    repository="acme/shop",
)


@pytest.mark.parametrize(
    ("text", "replaced"),
    [
        ("${{ env.IMAGE }}:1", "ghcr.io/acme/shop:1"),
        ("${{env.REGISTRY}}/${{ github.repository_owner }}/x", "ghcr.io/acme/x"),
        ("${{ github.event.repository.name }}", "shop"),
        ("${{ github.sha }}", "${{ github.sha }}"),
        ("${{ env.MISSING }}", "${{ env.MISSING }}"),
        ("${{ env.LOOP }}", "${{ env.LOOP }}"),
        ("${{ env.REGISTRY || 'x' }}", "${{ env.REGISTRY || 'x' }}"),
    ],
)
def test_replace_known_replaces_variables_and_the_repository(text: str, replaced: str) -> None:
    assert KNOWN.replace_known(text) == replaced


def test_replace_known_without_a_repository_keeps_its_expression() -> None:
    assert KnownValues().replace_known("${{ github.repository }}") == "${{ github.repository }}"


@pytest.mark.parametrize(
    ("text", "replaced"),
    [
        ("$IMAGE:$GITHUB_SHA", "ghcr.io/acme/shop:${{ github.sha }}"),
        ("${REGISTRY}/x", "ghcr.io/x"),
        ("$OTHER", "$OTHER"),
        ("${VERSION:-1}", "${VERSION:-1}"),
    ],
)
def test_replace_shell_replaces_variables_of_the_step_and_of_github(text: str, replaced: str) -> None:
    assert KNOWN.replace_shell(text) == replaced


@pytest.mark.parametrize("text", ["$OTHER", "${A:-b}", "$(date)", "`date`"])
def test_has_shell_variable_with_a_shell_word_is_true(text: str) -> None:
    assert has_shell_variable(text)


@pytest.mark.parametrize("text", ["plain", "${{ github.sha }}", "5$"])
def test_has_shell_variable_without_one_is_false(text: str) -> None:
    assert not has_shell_variable(text)


def test_secret_name_is_that_of_a_text_that_is_one_secret() -> None:
    assert secret_name(" ${{ secrets.NPM_TOKEN }} ") == "NPM_TOKEN"
    assert secret_name("x${{ secrets.NPM_TOKEN }}") is None


def test_has_secret_finds_one_inside_of_an_expression() -> None:
    assert has_secret("a=${{ format('{0}', secrets.A) }}")
    assert not has_secret("a=${{ github.sha }}")
    assert has_expression("a=${{ github.sha }}")
