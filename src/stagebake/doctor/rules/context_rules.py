"""Find files of the build context that should not get into the build: generated files, unused files, secrets."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import chain

from stagebake.dockerfile.stages import StageGraph
from stagebake.doctor.facts import RepositoryFacts
from stagebake.doctor.finding import Finding
from stagebake.doctor.reading.context_copies import ContextCopy, list_rebuilds
from stagebake.doctor.reading.shell_commands import read_commands
from stagebake.doctor.reading.subject import Subject
from stagebake.formatting import make_printable

# Folders and files that tools generate, at any depth: a submodule has its own .git
_GENERATED = (
    ".git", "node_modules", ".next", ".nuxt", ".turbo", ".svelte-kit", ".parcel-cache",
    "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".nox", ".tox", ".venv", ".eggs",
    ".gradle", ".terraform", ".idea", ".vscode", ".DS_Store",
)  # fmt: skip

# Files at the top of the context, and the folder .github, that people or services read but programs do not
_UNUSED = (
    "*.md", "LICENSE*", ".github", ".gitignore", ".gitattributes", ".editorconfig", ".dockerignore",
    "docker-compose*.y*ml", "compose*.y*ml", ".pre-commit-config.yaml",
)  # fmt: skip
_PACKAGE_TEXTS = ("*.md", "LICENSE*")
# The tools of these files read README and LICENSE when they build a package
_PACKAGE_FILES = ("pyproject.toml", "setup.py", "setup.cfg", "Cargo.toml")
_MIN_UNUSED_REBUILDS = 3
_MIN_UNUSED_SHARE = 0.05

_READS_GIT = re.compile(r"\bgit\s+(?!clone\b)[a-z]|setuptools[_-]scm|hatch-vcs|versioneer")
_VERSIONED_BUILD = re.compile(
    r"(?:make|mage|just|task|bash|sh|\./\S+|\S+\.sh|(?:xx-)?cargo|(?:xx-)?go build|mvn|gradle|mix|dotnet"
    r"|pip3? install (?:\S+ )*\.|python3? (?:setup\.py|-m build)|(?:uv|poetry) build)(?:\s|$)"
)
_SECRET_FILE = re.compile(r"^(?:\.env(?:\.local|\.\w+\.local)?|id_(?:rsa|ed25519|ecdsa)|\.netrc|\.pgpass)$")


def find_copied_junk(subject: Subject) -> Iterator[Finding]:
    """Find generated files that a COPY takes: they differ on each machine, so the COPY runs again on each."""
    graph, facts = subject.graph, subject.facts
    generated = _find_generated_files(facts.files - facts.tracked)
    if _runs_git(graph) or _lets_git_in(facts):
        generated = {path: name for path, name in generated.items() if name != ".git"}
    for copy, paths in _assign_to_copies(generated, subject):
        counts = Counter(generated[path] for path in paths)
        listed = _list_counts(counts)
        keyword = copy.instruction.keyword
        unsure = _may_read_git(graph)
        ignore_lines = [f"**/{name}" for name in sorted(counts) if not (unsure and name == ".git")]
        yield Finding(
            rule="dockerignore",
            path=graph.path,
            line=copy.instruction.line,
            problem=f"this {keyword} includes {listed}; these differ on each machine, so no cache matches"
            + _doubt(counts),
            fix=(f"# {facts.ignore_file}", *ignore_lines) if ignore_lines else (),
            stage=copy.stage.name,
            seconds=facts.seconds.get(copy.stage.name),
        )


def _doubt(counts: Counter[str]) -> str:
    """Return what to check before .git is ignored: build tools read it without any command of git."""
    if ".git" not in counts:
        return ""
    return (
        "; keep .git only if the build reads the version from it, as vergen in a build.rs, setuptools-scm, Go's "
        "-buildvcs or Maven's git plugin do, and then copy it after the installs"
    )


def _may_read_git(graph: StageGraph) -> bool:
    """Return whether the build runs make, a script or a compiler, which may read the version from git."""
    for stage in graph.needed_stages():
        for instruction in stage.instructions:
            if instruction.keyword != "RUN":
                continue
            if any(_VERSIONED_BUILD.match(" ".join(command.arguments)) for command in read_commands(instruction)):
                return True
    return False


def _lets_git_in(facts: RepositoryFacts) -> bool:
    """Return whether the ignore file has a line such as `!.git`."""
    return any(re.match(r"!(?:/|\*\*/)?\.git(?:/|$)", rule.strip()) for rule in facts.ignore_rules)


def _runs_git(graph: StageGraph) -> bool:
    """Return whether the build runs git, or a tool that reads the version from git."""
    for stage in graph.needed_stages():
        for instruction in stage.instructions:
            is_run = instruction.keyword == "RUN"
            if is_run and _READS_GIT.search(instruction.command):
                return True
    return False


def _find_generated_files(paths: Collection[str]) -> dict[str, str]:
    """Return the paths that a tool has generated, each with the name by which it is recognized."""
    found = {}
    for path in paths:
        for part in path.split("/"):
            if part in _GENERATED:
                found[path] = part
                break
    return found


def _list_counts(counts: Counter[str]) -> str:
    """Return the names with their numbers of files."""
    listed = []
    for name in sorted(counts):
        count = counts[name]
        unit = "file" if count == 1 else "files"
        listed.append(f"{name} ({count:,} {unit})")
    return ", ".join(listed)


def find_copied_secrets(subject: Subject) -> Iterator[Finding]:
    """Find files of secrets that a COPY takes into the layers of an image."""
    graph, facts = subject.graph, subject.facts
    secret_files = [path for path in facts.files - facts.tracked if _SECRET_FILE.match(posixpath.basename(path))]
    for copy, paths in _assign_to_copies(secret_files, subject):
        names = [make_printable(path) for path in paths]
        keyword = copy.instruction.keyword
        listed = ", ".join(names)
        yield Finding(
            rule="secret-file",
            path=graph.path,
            line=copy.instruction.line,
            problem=f"this {keyword} includes {listed}; the content stays in the layers of the image and in its caches",
            fix=(f"# {facts.ignore_file}", *names),
        )


def find_unused_files(subject: Subject) -> Iterator[Finding]:
    """Find files that programs do not read, where a COPY of the whole context ran again for nothing else."""
    graph, facts = subject.graph, subject.facts
    copies = subject.copies
    whole = next((copy for copy in copies if copy.copies_everything), None)
    rebuilds = list_rebuilds(copies, facts)
    needless = _find_needless_rebuilds(rebuilds, _list_unused_patterns(facts))
    if whole is None or len(needless) < max(_MIN_UNUSED_REBUILDS, _MIN_UNUSED_SHARE * len(rebuilds)):
        return
    counts = Counter(chain.from_iterable(needless))
    most_frequent = [f"{pattern} ({count})" for pattern, count in counts.most_common(5)]
    share = f"{len(needless)} of the last {len(rebuilds)} rebuilds"
    yield Finding(
        rule="idle-files",
        path=graph.path,
        line=whole.instruction.line,
        problem=f"{share} were only for files that the build probably does not use: {', '.join(most_frequent)}",
        fix=(f"# {facts.ignore_file}", *sorted(counts)),
        stage=whole.stage.name,
        seconds=facts.seconds.get(whole.stage.name),
    )


def _find_needless_rebuilds(
    rebuilds: Iterable[frozenset[str]],
    patterns: tuple[str, ...],
) -> list[set[str]]:
    """Return, for each rebuild that only unused files caused, the patterns that match these files."""
    needless = []
    for changed in rebuilds:
        matches: set[str] = set()
        for path in changed:
            found = _match_unused(path, patterns)
            if found is None:
                break
            matches.add(found)
        else:
            needless.append(matches)
    return needless


def _list_unused_patterns(facts: RepositoryFacts) -> tuple[str, ...]:
    """Return the patterns of unused files; without README and LICENSE where a package may include them."""
    if facts.files.isdisjoint(_PACKAGE_FILES):
        return _UNUSED
    return tuple(pattern for pattern in _UNUSED if pattern not in _PACKAGE_TEXTS)


def _match_unused(path: str, patterns: tuple[str, ...]) -> str | None:
    """Return the pattern that a file at the top of the context matches, or `.github` for a file in that folder."""
    top, _, rest = path.partition("/")
    for pattern in patterns:
        is_file_or_github = not rest or pattern == ".github"
        if is_file_or_github and fnmatch.fnmatchcase(top, pattern):
            return pattern
    return None


def _assign_to_copies(
    paths: Collection[str],
    subject: Subject,
) -> Iterator[tuple[ContextCopy, list[str]]]:
    """Return the instructions that take these files, and the files of each; a file counts for the first one only."""
    remaining = set(paths)
    for copy in subject.copies:
        found = remaining & copy.files
        remaining -= found
        if found:
            yield copy, sorted(found)
