"""Derive the image's name from a repository: which registry belongs to its server, and is the name one it accepts?"""

from __future__ import annotations

import re
from dataclasses import dataclass

# distribution/reference, regexp.go: a path component of a repository's name, and the length of the whole name
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_MAX_NAME = 255

# git's URL forms (git-scm.com/docs/git-fetch, "GIT URLS"): scheme://[user@]host[:port]/path and [user@]host:path
_URL = re.compile(r"^(?:\w[\w+.-]*)://(?:[^@/]*@)?(?P<host>[^:/@]+)(?::\d+)?/+(?P<path>.+)$")
_SCP = re.compile(r"^(?:[^@/:]+@)?(?P<host>[^:/@]+):/*(?P<path>[^/:].*)$")


@dataclass(frozen=True, kw_only=True)
class DefaultImage:
    """Name that the repository gives its image, without a tag; where `name` is None, `reason` says why."""

    name: str | None = None
    reason: str = ""


NO_IMAGE = DefaultImage(reason="git has no remote at github.com to take it from")


@dataclass(frozen=True, kw_only=True)
class Remote:
    """Repository on a server of GitHub, read from the URL of a git remote."""

    host: str
    owner_and_name: str

    @property
    def url(self) -> str:
        """Return the address of the repository's page, without credentials."""
        return f"https://{self.host}/{self.owner_and_name}"


def parse_remote(url: str) -> Remote | None:
    """Read the host and OWNER/NAME from a remote's URL; return None for a URL of another form.

    `ssh.github.com` is GitHub's host for SSH over port 443 (docs.github.com, "Using SSH over the HTTPS port").
    """
    found = _URL.match(url) if "://" in url else _SCP.match(url)
    if found is None:
        return None
    host = found["host"].lower()
    if host in ("ssh.github.com", "www.github.com"):
        host = "github.com"
    path = found["path"].rstrip("/").removesuffix(".git").strip("/")
    if not re.fullmatch(r"[^/\s]+/[^/\s]+", path):
        return None
    return Remote(host=host, owner_and_name=path)


def is_github_host(host: str) -> bool:
    """Return True for github.com and for hosts of GHE.com.

    The host of a GitHub Enterprise Server is known only where its workflows run (GITHUB_SERVER_URL).
    """
    return host == "github.com" or host.endswith(".ghe.com")


def github_image(host: str, owner_and_name: str) -> DefaultImage:
    """Name the image of a repository on github.com, on GHE.com or on a GitHub Enterprise Server.

    The registry is ghcr.io, `containers.SUBDOMAIN.ghe.com` on GHE.com, and `containers.HOSTNAME` on a server with
    subdomain isolation (docs.github.com/packages/working-with-a-github-packages-registry).
    """
    host = host.lower()
    registry = "ghcr.io" if host == "github.com" else f"containers.{host}"
    return _checked_image(registry, owner_and_name)


def _checked_image(registry: str, owner_and_name: str) -> DefaultImage:
    """Join registry and repository, if the result is a name that registries accept."""
    path = owner_and_name.lower()
    for component in path.split("/"):
        if not _COMPONENT.fullmatch(component):
            return DefaultImage(reason=f"no registry accepts `{component}` (of `{owner_and_name}`) in an image's name")
    name = f"{registry}/{path}"
    if len(name) > _MAX_NAME:
        return DefaultImage(reason=f"`{name}` has more than {_MAX_NAME} characters")
    return DefaultImage(name=name)
