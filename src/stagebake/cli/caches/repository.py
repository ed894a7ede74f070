"""Open the repository whose caches an action works on, and read what it holds."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass

from stagebake.cli.command import Command, read_command
from stagebake.errors import InputError
from stagebake.http.credentials import find_login
from stagebake.inventory.cache_tags import name_scopes, parse_cache_tag
from stagebake.inventory.contents import Contents
from stagebake.inventory.read_contents import read_contents
from stagebake.stores.github_packages import HOST, GithubPackages
from stagebake.stores.registry import Registry

VersionListing = GithubPackages | Registry


@dataclass(frozen=True, kw_only=True)
class CacheTarget:
    """Repository of an image: `registry` reads its manifests and blobs, `versions` lists and deletes its versions."""

    command: Command
    image: str
    registry: Registry
    versions: VersionListing

    def read_contents(self) -> Contents:
        """Return everything that the repository holds. Raises RegistryError."""
        return read_contents(self.versions, self.registry)

    def name_scopes(self, contents: Contents) -> dict[str, str]:
        """Return the name of each scope by its suffix; branches are named as far as git knows them here."""
        cache_tags = [parse_cache_tag(tag) for tag in contents.by_tag]
        suffixes = {cache_tag.suffix for cache_tag in cache_tags if cache_tag}
        return name_scopes(suffixes, self.command.default_branch, self.command.checkout.known_branches())


def add_image_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag that names the repository."""
    parser.add_argument("--image", metavar="REF", help="repository of the image and its caches")


def open_target(options: argparse.Namespace, action: str) -> CacheTarget:
    """Return the repository that an action of `cache` works on. Raises InputError where it is not a registry."""
    command = read_command(options)
    settings = command.settings
    if settings.image is None:
        raise InputError(
            f"cache {action}: the image has no name", "set `image` under [tool.stagebake], or pass --image"
        )
    if settings.cache == "gha":
        raise InputError(
            f'cache {action}: the caches are in GitHub\'s cache service (`cache = "gha"`), not in a registry',
            "list them: gh cache list; delete them: gh cache delete",
        )
    if settings.cache == "local":
        raise InputError(
            f"cache {action}: the caches are in the directory {settings.cache_folder}, not in a registry",
            f"list them: du --summarize {settings.cache_folder}/*; delete them: rm -r {settings.cache_folder}/NAME",
        )
    return CacheTarget(
        command=command,
        image=settings.image,
        registry=Registry(settings.image),
        versions=open_versions(settings.image),
    )


def open_versions(image: str) -> VersionListing:
    """Return what lists and deletes the versions of an image.

    On ghcr.io this is GitHub's API, which accepts the token of `docker login`.
    """
    if not image.startswith(f"{HOST}/"):
        return Registry(image)
    token = os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN")
    login = find_login(HOST)
    if not token and login:
        token = login.password or login.identity_token
    return GithubPackages(image, token, os.environ)
