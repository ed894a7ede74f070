"""Test listing and deletion of versions on ghcr.io with GitHub's packages API."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest

from stagebake.cache.prune import PurgeResult, purge_scope
from stagebake.cache.scopes import DEFAULT_SCOPE, Scope
from stagebake.errors import InputError, RegistryError
from stagebake.stores.github_packages import GithubPackages
from tests.support.canary import canary_secret
from tests.support.packages import POWERLESS, TOKEN
from tests.support.packages import Packages as GitHub
from tests.support.page import HTML, Answer, Asked, answering, server

SEVEN = Scope("pr-7", pull_request=True)
SEVEN_TAGS = (
    SEVEN.merged_tag,
    SEVEN.stage_tag("base"),
    SEVEN.stage_tag("base", 1),
    SEVEN.ledger_tag,
    SEVEN.mount_tag("root_npm.0123456789"),
)
MAIN = {1: ["latest", "main-1a2b3c4"], 2: ["cache"], 3: ["cache-base"], 4: ["cache1-base"]}


def list_seven() -> dict[int, list[str]]:
    """Return the versions of a pull request: each kind of cache, its image, and one without tags."""
    caches = {10 + number: [tag] for number, tag in enumerate(SEVEN_TAGS)}
    return {**caches, 20: ["pr-7"], 21: []}


def serve_app(busy: int = 0) -> GitHub:
    """Serve the package `app` of an organization, with the default branch's and the pull request's versions."""
    return GitHub("orgs", "owner", {"app": {**MAIN, **list_seven()}}, busy=busy)


def purge(
    github: GitHub, scope: Scope = SEVEN, *, name: str = "app", token: str = TOKEN, dry_run: bool = False
) -> PurgeResult:
    packages = GithubPackages(f"ghcr.io/owner/{name}", token, {"GITHUB_API_URL": github.url})
    with closing(packages):
        return purge_scope(packages, scope, dry_run=dry_run)


@pytest.mark.parametrize("kind", ["orgs", "users"])
def test_purge_package_of_any_owner_keeps_other_scopes(kind: str) -> None:
    others = {
        30: [Scope("pr-70", pull_request=True).stage_tag("base")],
        31: [Scope("pr-7").stage_tag("base")],
    }
    with GitHub(kind, "owner", {"app": {**MAIN, **list_seven(), **others}}) as github:
        result = purge(github)
        assert set(result.tags) == set(SEVEN_TAGS)
        assert github.versions["app"] == {**MAIN, 20: ["pr-7"], 21: [], **others}
        assert not result.kept


def test_purge_version_with_another_tag_is_kept() -> None:
    shared = {10: [SEVEN.stage_tag("base"), "cache-base"]}
    with GitHub("orgs", "owner", {"app": {**MAIN, **shared}}) as github:
        result = purge(github)
        assert github.versions["app"] == {**MAIN, **shared}
    assert result.tags == ()
    (kept,) = result.kept
    assert kept.tags == {SEVEN.stage_tag("base")}
    assert kept.why == "also tagged cache-base"


def test_list_versions_reads_every_page() -> None:
    many = {number: [f"v{number}"] for number in range(100, 350)}
    seven = {key + 400: tags for key, tags in list_seven().items()}
    with GitHub("users", "owner", {"app": {**many, **seven}}) as github:
        assert len(purge(github).tags) == 5
        assert sum(asked.startswith("GET /users/") for asked in github.asked) == 3


def test_list_versions_name_with_slashes_is_one_package() -> None:
    with GitHub("orgs", "owner", {"app/web/api": {**MAIN, **list_seven()}}) as github:
        assert len(purge(github, name="app/web/api").tags) == 5


def test_purge_default_branch_deletes_its_caches_only() -> None:
    with serve_app() as github:
        assert set(purge(github, DEFAULT_SCOPE).tags) == {"cache", "cache-base", "cache1-base"}
        assert github.versions["app"] == {1: MAIN[1], **list_seven()}


def test_purge_dry_run_sends_no_delete() -> None:
    with serve_app() as github:
        assert len(purge(github, dry_run=True).tags) == 5
        assert all(asked.startswith("GET ") for asked in github.asked)


def test_delete_version_last_tagged_one_is_kept_with_the_reason() -> None:
    """Return GitHub's explanation instead of an error."""
    with GitHub("users", "owner", {"app": {10: [SEVEN.merged_tag], 11: []}}) as github:
        (kept,) = purge(github).kept
    assert "last tagged version" in kept.why


def test_list_versions_missing_package_is_empty() -> None:
    with GitHub("orgs", "owner", {}) as github:
        assert purge(github) == PurgeResult(tags=())


def test_delete_version_token_without_the_right_is_an_error_with_hint() -> None:
    with serve_app() as github, pytest.raises(RegistryError) as caught:
        purge(github, token=POWERLESS)
    assert "DELETE answered 403 (Resource not accessible by integration)" in caught.value.problem
    assert "Manage Actions access" in caught.value.hint


def test_list_versions_busy_server_is_asked_again() -> None:
    with serve_app(busy=2) as github:
        assert len(purge(github).tags) == 5


def purge_at(url: str) -> RegistryError:
    """Return the error of a purge with this API address."""
    packages = GithubPackages("ghcr.io/o/n", TOKEN, {"GITHUB_API_URL": url})
    with closing(packages), pytest.raises(RegistryError, match="GitHub's packages API") as caught:
        purge_scope(packages, SEVEN)
    return caught.value


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, HTML),
        (400, HTML),
        (200, b'{"message": "hello"}'),
        (200, b"3"),
        (200, b"[3]"),
        (200, b'[{"name": "sha256:0"}]'),
        (200, b'[{"id": 1, "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}]'),
        (200, b'[{"id": 1, "name": "sha256:0", "created_at": "today", "updated_at": "today"}]'),
        (200, b'[{"id": 1, "metadata": {"container": 3}}]'),
        (200, b'[{"id": 1, "metadata": {"container": {"tags": [{}]}}}]'),
    ],
    ids=[
        "page",
        "bad-request",
        "object",
        "number",
        "numbers",
        "no-id",
        "no-name",
        "no-time",
        "no-container",
        "no-tags",
    ],
)
def test_list_versions_response_of_other_shape_is_an_error_with_hint(status: int, body: bytes) -> None:
    """Delete nothing after a proxy's page, or JSON of another shape."""
    with answering(body, status) as url:
        assert purge_at(url).hint


def test_list_versions_address_that_is_not_valid_names_the_variable() -> None:
    assert "GITHUB_API_URL" in purge_at("http://host:port").hint


def test_list_versions_missing_tags_are_empty() -> None:
    """Accept versions without tags in each form that GitHub may send."""
    always = {"name": "sha256:0", "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z"}
    forms: list[dict[str, Any]] = [{}, {"metadata": None}, {"metadata": {"container": {"tags": None}}}]
    body = json.dumps([{"id": 1, **always, **form} for form in forms]).encode()
    with answering(body) as url, closing(GithubPackages("ghcr.io/o/n", TOKEN, {"GITHUB_API_URL": url})) as packages:
        versions = packages.list_versions()
        assert [version.tags for version in versions] == [frozenset()] * 3
        assert {version.touched for version in versions} == {1_767_312_000.0}
        assert purge_scope(packages, SEVEN) == PurgeResult(tags=())


def test_packages_without_token_is_an_input_error_with_the_command() -> None:
    with pytest.raises(InputError) as caught:
        GithubPackages("ghcr.io/owner/app", None, {})
    assert "docker login ghcr.io" in caught.value.hint


@pytest.mark.parametrize("image", ["ghcr.io/app", "ghcr.io/", "ghcr.io/owner/", "ghcr.io//app"])
def test_packages_image_without_owner_is_an_input_error(image: str) -> None:
    with pytest.raises(InputError) as caught:
        GithubPackages(image, TOKEN, {})
    assert image in caught.value.problem
    assert "ghcr.io/OWNER/NAME" in caught.value.hint


def test_list_versions_next_page_at_another_host_gets_no_token() -> None:
    """Read the page there as anybody may, because the token may be the login for ghcr.io."""
    tokens: list[str | None] = []

    def answer_other(asked: Asked, _body: bytes) -> Answer:
        tokens.append(asked.headers.get("Authorization"))
        return 200, {}, b"[]"

    def answer_api(asked: Asked, _body: bytes) -> Answer:
        tokens.append(asked.headers.get("Authorization"))
        return 200, {"Link": f'<http://{other}/versions>; rel="next"'}, b"[]"

    with server(answer_other) as other, server(answer_api) as host:
        token = canary_secret(host)
        packages = GithubPackages("ghcr.io/owner/app", token, {"GITHUB_API_URL": f"http://{host}"})
        with closing(packages):
            assert packages.list_versions() == []
    assert tokens == [f"Bearer {token}", None]


def test_list_versions_of_500_reads_five_pages() -> None:
    many = {number: [f"v{number}"] if number % 2 else [] for number in range(1, 501)}
    digests = {number: f"sha256:{number + 1:064x}" for number in many}
    with GitHub("orgs", "owner", {"app": many}, digests=digests) as github:
        packages = GithubPackages("ghcr.io/owner/app", TOKEN, {"GITHUB_API_URL": github.url})
        with closing(packages):
            versions = packages.list_versions()
        assert len(github.asked) == 5
    assert [version.digest for version in versions] == list(digests.values())
    assert sum(bool(version.tags) for version in versions) == 250


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (403, {"Retry-After": "60"}, "run this again in 60 s"),
        (429, {"Retry-After": "60"}, "run this again in 60 s"),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1800000000"}, "run this again after 08:00 UTC"),
        (429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1800000000"}, "run this again after 08:00 UTC"),
        (429, {}, "run this again in some minutes"),
        (403, {"x-ratelimit-remaining": "12"}, "Manage Actions access"),
    ],
)
def test_delete_version_rate_limit_says_when_to_go_on(status: int, headers: dict[str, str], words: str) -> None:
    """Tell a rate limit from a missing right by its headers."""
    github = GitHub("orgs", "owner", {"app": {**MAIN, **list_seven()}}, limited={"DELETE": (status, headers)})
    with github, pytest.raises(RegistryError) as caught:
        purge(github)
    assert words in caught.value.hint
    assert f"DELETE answered {status} (API rate limit exceeded)" in caught.value.problem
