"""Say in one sentence what each rule of `doctor` finds: the names that settings and comments may use."""

from __future__ import annotations

import re
from collections.abc import Iterable

from stagebake.errors import InputError
from stagebake.formatting import did_you_mean

# Every rule has a row in docs/doctor.md, too
RULE_SUMMARIES = {
    "copy-before-install": "A COPY before an install takes files that the install does not need",
    "arg-early": "An ARG that changes with each build comes before a RUN that does not use it",
    "chown-after-copy": "A RUN of the final stage changes the owner or mode of files that a COPY brought",
    "setup-after-code": "A RUN of the final stage needs nothing of the code, but comes after it",
    "prune-after-copy": "A RUN of the final stage removes files that a COPY brought",
    "run-after-code": "A RUN of the final stage needs the code, so each push needs all layers below",
    "copy-link": "A COPY at the end of the final stage has no --link",
    "heavy-base": "A stage pulls a heavy base of which its commands use nothing",
    "cache-mount": "A RUN installs packages without a cache mount",
    "compile-cache": "A RUN compiles without a cache mount",
    "mount-defeated": "A RUN empties or bypasses the cache that it mounts",
    "docker-clean": "The mount of apt's archives stays empty",
    "mount-hides": "A cache mount hides what an earlier RUN downloaded",
    "apt-update": "A RUN updates the package lists of apt and installs nothing",
    "dockerignore": "A COPY takes generated files, which differ on each machine",
    "idle-files": "Rebuilds were caused by files that the build does not read",
    "secret-file": "A COPY takes files of secrets",
    "secret": "An ARG or ENV holds a secret",
    "unpinned-clone": "A RUN clones a repository without a tag or commit",
    "moving-address": "A RUN downloads from an address whose content changes",
    "os-upgrade": "A RUN upgrades the system",
    "add-checksum": "An ADD from an address has no checksum",
    "version-default": "An ARG for a version has no default",
    "base-moves": "An image has no digest",
}

ALL_RULES = "all"

# BuildKit's build checks have names such as StageNameCasing (docs.docker.com/reference/build-checks)
_BUILD_CHECK = re.compile(r"(?:[A-Z][A-Za-z]+)+")


def refuse_unknown_rules(names: Iterable[str], origin: str) -> None:
    """Raise InputError for a name that is neither a rule's nor has the form of a build check's."""
    for name in names:
        if name not in RULE_SUMMARIES and not _BUILD_CHECK.fullmatch(name):
            raise InputError(
                f"{origin}: unknown rule `{name}`",
                f"{did_you_mean(name, RULE_SUMMARIES)}the rules are: {', '.join(RULE_SUMMARIES)}",
            )
