"""What goes into a build that should not, or that nobody has pinned: junk, secrets, moving images. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Collection, Iterator

from stagebake.dockerfile.stages import StageGraph
from stagebake.dockerfile.warnings import find_secret_variables
from stagebake.doctor.finding import ContextCopy, Finding, RepositoryFacts, context_copies
from stagebake.formatting import make_printable

# Folders and files that tools make for themselves, at any depth: a submodule has a .git of its own
_JUNK = (
    ".git", "node_modules", ".next", ".nuxt", ".turbo", ".svelte-kit", ".parcel-cache",
    "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".nox", ".tox", ".venv", ".eggs",
    ".gradle", ".terraform", ".idea", ".vscode", ".DS_Store",
)  # fmt: skip

# What tells people or services something, and no program: files at the top, and the folder .github
_IDLE = (
    "*.md", "LICENSE*", ".github", ".gitignore", ".gitattributes", ".editorconfig", ".dockerignore",
    "docker-compose*.y*ml", "compose*.y*ml", ".pre-commit-config.yaml",
)  # fmt: skip
# These read README and LICENSE while they build a package
_READERS = ("pyproject.toml", "setup.py", "setup.cfg", "Cargo.toml")
_SELDOM = 3

_READS_GIT = re.compile(r"\bgit\s+(?!clone\b)[a-z]|setuptools[_-]scm|hatch-vcs|versioneer")
_PRIVATE = re.compile(r"^(?:\.env(?:\.local|\.\w+\.local)?|id_(?:rsa|ed25519|ecdsa)|\.netrc|\.pgpass)$")


def copied_junk(graph: StageGraph, facts: RepositoryFacts) -> Iterator[Finding]:
    """What tools left in the context differs on each machine, so it makes every COPY that takes it run again."""
    names = _asked_for(graph)
    found = {path: name for path in facts.files if (name := _junk_in(path)) and name not in names}
    for take, paths in _taken(graph, facts, found):
        counts = Counter(found[path] for path in paths)
        listed = ", ".join(f"{name} ({count:,} file{'s' * (count > 1)})" for name, count in sorted(counts.items()))
        yield Finding(
            rule="dockerignore",
            path=graph.path,
            line=take.instruction.line,
            what=f"this takes in {listed}, which differs from machine to machine: no cache matches",
            fix=(f"# {facts.ignore_file}", *(f"**/{name}" for name in sorted(counts))),
            stage=take.stage.name,
            seconds=facts.seconds.get(take.stage.name),
        )


def copied_secrets(graph: StageGraph, facts: RepositoryFacts) -> Iterator[Finding]:
    """A file that holds secrets must not get into an image's layers or caches."""
    found = {path for path in facts.files if _PRIVATE.match(path.rpartition("/")[2])}
    for take, paths in _taken(graph, facts, found):
        names = [make_printable(path) for path in paths]
        yield Finding(
            rule="secret-file",
            path=graph.path,
            line=take.instruction.line,
            what=f"this takes in {', '.join(names)}: what stands there stays in the layers of the image and its caches",
            fix=(f"# {facts.ignore_file}", *names),
        )


def copied_idle_files(graph: StageGraph, facts: RepositoryFacts) -> Iterator[Finding]:
    """Commits that made a COPY of the whole context run again for files that no program reads."""
    idle = tuple(p for p in _IDLE if not (p in ("*.md", "LICENSE*") and facts.files & set(_READERS)))
    everything = tuple(context_copies(graph, facts))
    taken = frozenset[str]().union(*(take.files for take in everything))
    rebuilds = [changed & taken for changed in facts.commits if changed & taken]
    for_nothing = [c for c in rebuilds if all(_idle_pattern(path, idle) for path in c)]
    take = next((take for take in everything if take.whole), None)
    if take is None or len(for_nothing) < _SELDOM:
        return
    counts = Counter(pattern for c in for_nothing for pattern in {_idle_pattern(path, idle) or path for path in c})
    yield Finding(
        rule="idle-files",
        path=graph.path,
        line=take.instruction.line,
        what=f"{len(for_nothing)} of the last {len(rebuilds)} rebuilds were for files that the build hardly reads: "
        + ", ".join(f"{pattern} ({count})" for pattern, count in counts.most_common(5)),
        fix=(f"# {facts.ignore_file}", *sorted(counts)),
        stage=take.stage.name,
        seconds=facts.seconds.get(take.stage.name),
    )


def moving_bases(graph: StageGraph, facts: RepositoryFacts) -> Iterator[Finding]:
    """An image without a digest moves when its tag does, and then everything built on it runs again."""
    told: set[str] = set()
    for stage in graph.needed_stages():
        for image in stage.images:
            if "@" in image.name or image.name in told or image.name in facts.replaced:
                continue
            told.add(image.name)
            yield _moving(graph, image.name, image.line)


def _moving(graph: StageGraph, name: str, line: int) -> Finding:
    tag = re.search(r":([\w.-]+)$", name)
    moves = "moves with each release" if tag is None or tag[1] == "latest" else f"moves whenever `{tag[1]}` does"
    pinned = name if tag else f"{name}:TAG"
    return Finding(
        rule="base-moves",
        path=graph.path,
        line=line,
        what=f"`{name}` {moves}, and then all that is built on it runs again in some push; pin it, and let Dependabot "
        "or Renovate move it in a commit of its own",
        fix=(f"{pinned}@sha256:…", f"# docker buildx imagetools inspect --format '{{{{.Manifest.Digest}}}}' {pinned}"),
    )


def secret_variables(graph: StageGraph, _facts: RepositoryFacts) -> Iterator[Finding]:
    """An ARG or ENV that holds a secret."""
    for instruction, name in find_secret_variables(graph):
        secret = name.lower()
        yield Finding(
            rule="secret",
            path=graph.path,
            line=instruction.line,
            what=f"{instruction.keyword} {name} holds a secret, which stays in the image's history and caches",
            fix=(f"RUN --mount=type=secret,id={secret},env={name} …", f"# build with --secret id={secret},env={name}"),
        )


def _taken(
    graph: StageGraph, facts: RepositoryFacts, paths: Collection[str]
) -> Iterator[tuple[ContextCopy, list[str]]]:
    """The first instruction that takes each of these files."""
    left = set(paths)
    for take in context_copies(graph, facts):
        seen = sorted(left & take.files)
        left.difference_update(seen)
        if seen:
            yield take, seen


def _junk_in(path: str) -> str | None:
    return next((part for part in path.split("/") if part in _JUNK), None)


def _asked_for(graph: StageGraph) -> set[str]:
    """What the build itself uses: one that runs git may want the repository."""
    commands = " ".join(i.command for s in graph.needed_stages() for i in s.instructions if i.keyword == "RUN")
    return {".git"} if _READS_GIT.search(commands) else set()


def _idle_pattern(path: str, idle: tuple[str, ...]) -> str | None:
    top, below, _ = path.partition("/")
    return next((p for p in idle if fnmatch.fnmatchcase(top, p) and (not below or p == ".github")), None)
