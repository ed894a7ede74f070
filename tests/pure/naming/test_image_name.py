"""Names of images, from every form of a remote and every server of GitHub."""

from __future__ import annotations

import pytest

from stagebake.naming.image_name import Remote, github_image, parse_remote

GITHUB = Remote(host="github.com", owner_and_name="Owner/Toy")


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/Owner/Toy",
        "https://github.com/Owner/Toy.git",
        "https://github.com/Owner/Toy/",
        "https://github.com:443/Owner/Toy.git",
        "https://www.github.com/Owner/Toy",
        "https://GitHub.com/Owner/Toy",
        "https://x-access-token:secret@github.com/Owner/Toy",
        "http://github.com/Owner/Toy",
        "git://github.com/Owner/Toy.git",
        "git@github.com:Owner/Toy.git",
        "git@github.com:/Owner/Toy.git",
        "github.com:Owner/Toy",
        "org-123@github.com:Owner/Toy.git",
        "ssh://git@github.com/Owner/Toy.git",
        "ssh://git@github.com:22/Owner/Toy.git",
        "ssh://git@ssh.github.com:443/Owner/Toy.git",
        "git+ssh://git@github.com/Owner/Toy.git",
    ],
)
def test_parse_remote_every_form_of_github_gives_owner_and_name(url: str) -> None:
    assert parse_remote(url) == GITHUB
    assert GITHUB.url == "https://github.com/Owner/Toy"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("git@github.com-work:Owner/Toy.git", "github.com-work"),
        ("git@github-work:Owner/Toy.git", "github-work"),
        ("https://github.com.evil.example/Owner/Toy", "github.com.evil.example"),
        ("https://evil.example/github.com/Owner", "evil.example"),
        ("git@acme.ghe.com:Owner/Toy.git", "acme.ghe.com"),
    ],
)
def test_parse_remote_another_host_stays_another_host(url: str, host: str) -> None:
    """An alias of ~/.ssh/config is not resolved; a host that only looks like GitHub is not GitHub."""
    remote = parse_remote(url)
    assert remote is None or remote.host == host


@pytest.mark.parametrize(
    "url",
    ["", "x", "../toy.git", "/srv/git/toy.git", "file:///srv/toy.git", "https://github.com/Owner", "git@github.com:"],
)
def test_parse_remote_other_forms_give_nothing(url: str) -> None:
    assert parse_remote(url) is None


@pytest.mark.parametrize(
    ("host", "registry"),
    [
        ("github.com", "ghcr.io"),
        ("GitHub.com", "ghcr.io"),
        ("acme.ghe.com", "containers.acme.ghe.com"),
        ("github.corp.example", "containers.github.corp.example"),
    ],
)
def test_github_image_server_gives_its_own_registry(host: str, registry: str) -> None:
    """An Enterprise server's image never goes to ghcr.io, which belongs to others there."""
    assert github_image(host, "Owner/Toy-App").name == f"{registry}/owner/toy-app"


@pytest.mark.parametrize("name", ["my-repo-", ".github", "-toy", "toy..app", "toy___app", "toy_", "tóy"])
def test_github_image_impossible_name_gives_a_reason(name: str) -> None:
    """GitHub allows repository names that no registry accepts (distribution/reference)."""
    image = github_image("github.com", f"owner/{name}")
    assert image.name is None
    assert f"`{name}`" in image.reason


@pytest.mark.parametrize("name", ["toy", "toy--app", "toy__app", "toy.app_x-y", "0"])
def test_github_image_odd_name_that_registries_accept_is_kept(name: str) -> None:
    assert github_image("github.com", f"owner/{name}").name == f"ghcr.io/owner/{name}"


def test_github_image_too_long_name_gives_a_reason() -> None:
    image = github_image("github.com", f"owner/{'x' * 255}")
    assert image.name is None
    assert "255" in image.reason
