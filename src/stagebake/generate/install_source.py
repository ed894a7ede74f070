"""Choose what the workflow's `pip install` installs: a version, a commit of a git repository, or a wheel."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

from stagebake.errors import InputError

# PEP 440, in the forms that a release has
_VERSION = re.compile(r"\d+(?:\.\d+)*(?:(?:a|b|rc)\d+)?(?:\.post\d+)?(?:\.dev\d+)?")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_GIT_URL = re.compile(r"(?:git\+)?(?P<url>(?:https|ssh)://[^\s@]+(?:@[^\s/@]+/[^\s@]+)?)@(?P<commit>\S+)")

FindRemote = Callable[[Path], tuple[str, str] | None]
"""Return the https or ssh address of a git checkout and its commit; None where it has none."""


def install_command(source: str, root: Path) -> str:
    """Return the shell command that installs `source`, the value of `init --install`.

    `source` is a version, `URL@COMMIT` of a git repository, or the path of a wheel below `root`, whose SHA-256 pip then
    checks (pip.pypa.io, "Secure installs"). Raise InputError for anything else.
    """
    if _VERSION.fullmatch(source):
        return f"pip install {shlex.quote(f'stagebake=={source}')}"
    git = _GIT_URL.fullmatch(source)
    if git:
        if not _COMMIT.fullmatch(git["commit"]):
            raise InputError(
                f"--install {source}: `{git['commit']}` is not a whole commit",
                "name the commit by its 40 characters: a branch or a tag can be moved",
            )
        requirement = f"stagebake @ git+{git['url']}@{git['commit']}"
        return f"pip install {shlex.quote(requirement)}"
    if source.endswith(".whl"):
        return _wheel_command(source, root)
    raise InputError(
        f"--install {source}: not a version, a git address or a wheel",
        "write a version (0.1.0), https://HOST/OWNER/stagebake@COMMIT, or the path of a wheel in this repository",
    )


def _wheel_command(source: str, root: Path) -> str:
    path = (root / source).resolve()
    if not path.is_relative_to(root.resolve()):
        raise InputError(f"--install {source}: not in this repository", "copy the wheel into the repository")
    if not path.is_file():
        raise InputError(f"--install {source}: missing file", "build it with `pip wheel --no-deps stagebake`")
    if not path.name.startswith("stagebake-"):
        raise InputError(f"--install {source}: not a wheel of stagebake", "name a file stagebake-VERSION-….whl")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    relative = path.relative_to(root.resolve()).as_posix()
    if not re.fullmatch(r"[\w./+-]+", relative):
        raise InputError(f"--install {source}: the path has characters that a URL changes", "rename the folder")
    return f'pip install "stagebake @ file://$PWD/{relative}#sha256={digest}"'


def default_install(version: str, direct_url: str | None, find_remote: FindRemote) -> str:
    """Return the source that this installation came from.

    `direct_url` is the text of direct_url.json (packaging.python.org, "Recording the Direct URL Origin"), None for a
    release of an index. An installation from a folder or a file has the commit of its git checkout, or `version`.
    """
    if direct_url is None:
        return version
    origin = json.loads(direct_url)
    url = origin.get("url", "")
    vcs = origin.get("vcs_info", {})
    if vcs.get("vcs") == "git":
        return f"{url}@{vcs['commit_id']}"
    if url.startswith("file://") and "dir_info" in origin:
        remote = find_remote(Path(url.removeprefix("file://")))
        if remote is not None:
            return f"{remote[0]}@{remote[1]}"
    return version
