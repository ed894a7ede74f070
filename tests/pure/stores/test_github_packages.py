"""What is deleted on ghcr.io, through GitHub's packages API."""

from __future__ import annotations

from contextlib import closing

import pytest

from stagebake.cache.prune import PurgeResult, named_scope, purge_scope
from stagebake.cache.scopes import DEFAULT_SCOPE, Scope
from stagebake.errors import InputError, RegistryError
from stagebake.stores.github_packages import GithubPackages
from tests.support.packages import POWERLESS, TOKEN
from tests.support.packages import Packages as GitHub
from tests.support.page import HTML, answering

SEVEN = Scope("pr-7", pull_request=True)
BESIDE = (SEVEN.ledger_tag, SEVEN.mount_tag("root_npm.0123456789"))
MAIN = {1: ["latest", "main-1a2b3c4"], 2: ["cache"], 3: ["cache-base"], 4: ["cache1-base"]}


def of_seven() -> dict[int, list[str]]:
    """The caches of a pull request: composed, of a stage, of its older generation, what lies beside; and its image."""
    tags = (SEVEN.merged_tag, SEVEN.stage_tag("base"), SEVEN.stage_tag("base", 1), *BESIDE)
    return {10 + number: [tag] for number, tag in enumerate(tags)} | {20: ["pr-7"], 21: []}


def purged(
    github: GitHub, scope: Scope = SEVEN, *, name: str = "app", token: str = TOKEN, dry_run: bool = False
) -> PurgeResult:
    with closing(GithubPackages(f"ghcr.io/owner/{name}", token, {"GITHUB_API_URL": github.url})) as packages:
        return purge_scope(packages, scope, dry_run=dry_run)


@pytest.mark.parametrize("kind", ["orgs", "users"])
def test_only_the_scope_goes(kind: str) -> None:
    """Of an organization's package and of a user's, the scope's caches go; the default branch's and images stay."""
    others = {30: [Scope("pr-70", pull_request=True).stage_tag("base")], 31: [Scope("pr-7").stage_tag("base")]}
    with GitHub(kind, "owner", {"app": {**MAIN, **of_seven(), **others}}) as github:
        answer = purged(github)
        assert set(answer.tags) == {SEVEN.merged_tag, SEVEN.stage_tag("base"), SEVEN.stage_tag("base", 1), *BESIDE}
        assert github.versions["app"] == {**MAIN, 20: ["pr-7"], 21: [], **others}
        assert not answer.kept


def test_nothing_goes_that_another_tag_names() -> None:
    """A version that the scope shares with another tag stays, and the answer says with which."""
    shared = {10: [SEVEN.stage_tag("base"), "cache-base"]}
    with GitHub("orgs", "owner", {"app": {**MAIN, **shared}}) as github:
        answer = purged(github)
        assert github.versions["app"] == {**MAIN, **shared}
    assert answer.tags == ()
    assert [(kept.tags, kept.why) for kept in answer.kept] == [
        (frozenset({SEVEN.stage_tag("base")}), "also tagged cache-base")
    ]


def test_all_pages_are_read() -> None:
    """A package with more versions than a page holds is read to its end."""
    many = {number: [f"v{number}"] for number in range(100, 350)}
    with GitHub("users", "owner", {"app": {**many, **{key + 400: tags for key, tags in of_seven().items()}}}) as github:
        assert len(purged(github).tags) == 5
        assert sum(asked.startswith("GET /users/") for asked in github.asked) == 3


def test_a_name_with_slashes() -> None:
    """An image below another is one package, whose name goes into the address as one word."""
    with GitHub("orgs", "owner", {"app/web/api": {**MAIN, **of_seven()}}) as github:
        assert len(purged(github, name="app/web/api").tags) == 5


def test_the_default_branch_can_be_purged() -> None:
    """The default branch's caches go when it is named, and nobody else's."""
    with GitHub("orgs", "owner", {"app": {**MAIN, **of_seven()}}) as github:
        assert set(purged(github, DEFAULT_SCOPE).tags) == {"cache", "cache-base", "cache1-base"}
        assert github.versions["app"] == {1: MAIN[1], **of_seven()}


def test_a_dry_run_deletes_nothing() -> None:
    """A dry run says the same and asks only."""
    with GitHub("orgs", "owner", {"app": {**MAIN, **of_seven()}}) as github:
        assert len(purged(github, dry_run=True).tags) == 5
        assert all(asked.startswith("GET ") for asked in github.asked)


def test_the_last_version_with_a_tag_stays() -> None:
    """GitHub keeps a package's last tagged version; this is said in its words, and is no failure."""
    with GitHub("users", "owner", {"app": {10: [SEVEN.merged_tag], 11: []}}) as github:
        (kept,) = purged(github).kept
    assert "last tagged version" in kept.why


def test_no_package_is_nothing_to_do() -> None:
    """An image that was never pushed has no caches."""
    with GitHub("orgs", "owner", {}) as github:
        assert purged(github) == PurgeResult(tags=())


def test_a_token_without_the_right() -> None:
    """A refusal is told in GitHub's words, with where the right is given."""
    with GitHub("orgs", "owner", {"app": {**MAIN, **of_seven()}}) as github, pytest.raises(RegistryError) as caught:
        purged(github, token=POWERLESS)
    assert "DELETE answered 403 (Resource not accessible by integration)" in caught.value.what
    assert "Manage Actions access" in caught.value.remedy


def test_a_busy_github_is_asked_again() -> None:
    """An answer that says nothing about the packages is not taken for one."""
    with GitHub("orgs", "owner", {"app": {**MAIN, **of_seven()}}, busy=2) as github:
        assert len(purged(github).tags) == 5


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, HTML),
        (400, HTML),
        (200, b'{"message": "hello"}'),
        (200, b"3"),
        (200, b"[3]"),
        (200, b'[{"name": "sha256:0"}]'),
        (200, b'[{"id": 1, "metadata": {"container": 3}}]'),
        (200, b'[{"id": 1, "metadata": {"container": {"tags": [{}]}}}]'),
    ],
    ids=["page", "bad-request", "object", "number", "numbers", "no-id", "no-container", "no-tags"],
)
def test_an_answer_that_is_none(status: int, body: bytes) -> None:
    """A proxy's page, or JSON of another shape, ends in an error of two lines, and nothing is deleted."""
    with (
        answering(body, status) as url,
        closing(GithubPackages("ghcr.io/o/n", TOKEN, {"GITHUB_API_URL": url})) as packages,
    ):
        with pytest.raises(RegistryError, match="GitHub's packages API") as caught:
            purge_scope(packages, SEVEN)
        assert caught.value.remedy


def test_an_address_that_is_none() -> None:
    """A misspelt GITHUB_API_URL is said to be no address."""
    with closing(GithubPackages("ghcr.io/o/n", TOKEN, {"GITHUB_API_URL": "http://host:port"})) as packages:
        with pytest.raises(RegistryError, match="GitHub's packages API") as caught:
            purge_scope(packages, SEVEN)
        assert "GITHUB_API_URL" in caught.value.remedy


def test_a_version_without_tags_has_none() -> None:
    """GitHub may leave out what it knows no tags of."""
    body = b'[{"id": 1}, {"id": 2, "metadata": null}, {"id": 3, "metadata": {"container": {"tags": null}}}]'
    with answering(body) as url, closing(GithubPackages("ghcr.io/o/n", TOKEN, {"GITHUB_API_URL": url})) as packages:
        assert purge_scope(packages, SEVEN) == PurgeResult(tags=())


def test_without_a_token() -> None:
    """Without a token there is nothing to ask with, and the message says how to get one."""
    with pytest.raises(InputError) as caught:
        GithubPackages("ghcr.io/owner/app", None, {})
    assert "docker login ghcr.io" in caught.value.remedy


@pytest.mark.parametrize("image", ["ghcr.io/app", "ghcr.io/", "ghcr.io/owner/", "ghcr.io//app"])
def test_an_image_without_an_owner(image: str) -> None:
    """It is the user's error, and the message says how an image is called there."""
    with pytest.raises(InputError) as caught:
        GithubPackages(image, TOKEN, {})
    assert image in caught.value.what
    assert "ghcr.io/OWNER/NAME" in caught.value.remedy


def test_whose_caches_a_name_means() -> None:
    """`pr-7` is the pull request, the default branch's name the plain caches, anything else a branch."""
    assert named_scope("pr-7", "main") == SEVEN
    assert named_scope("main", "main") == DEFAULT_SCOPE
    assert named_scope("feature/pr-7", "main") == Scope("feature/pr-7")
