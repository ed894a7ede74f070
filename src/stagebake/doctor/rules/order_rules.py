"""Find what is copied too early in a Dockerfile: when it changes, the installs after it run again."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from stagebake.dockerfile.package_managers import PackageInstall, find_installs
from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.stages import StageGraph
from stagebake.doctor.facts import RepositoryFacts
from stagebake.doctor.finding import Finding
from stagebake.doctor.reading.context_copies import ContextCopy, list_rebuilds
from stagebake.doctor.reading.push_model import is_manifest, list_chain, map_to_context, takes_settled_files
from stagebake.doctor.reading.shell_commands import (
    ShellCommand,
    is_plain_list,
    only_installs,
    read_script,
    runs_heredoc,
    split_commands,
    write_run,
)
from stagebake.doctor.reading.subject import Subject
from stagebake.formatting import make_printable

# A COPY of some files is reported from this many rebuilds on, and only where it caused this share of all
_MIN_CAUSED = 5
_MIN_SHARE = 0.2
# So many files of one folder are copied one by one
_MAX_NAMED = 4

_WORKSPACE_PACKAGE = re.compile(r"^(?!.*node_modules/).*/package\.json$")
# Files that the install scripts of Node.js packages read: patches, Yarn itself, hooks of pnpm, the schema of Prisma
_NODE_EXTRAS = re.compile(
    r"(?:^|/)(?:patches/[^/]+|\.yarn/(?:releases|plugins|patches)/[^/]+|\.pnpmfile\.cjs|prisma/schema\.prisma)$"
)
_INSTALL_SCRIPTS = re.compile(
    r"(?:^|/)(?:prisma|patches|scripts?|hooks|\.yarn|\.husky|vendor|packages|crates|libs?)/?$"
)
_REQUIREMENTS = re.compile(r"(?:^|/)(?:requirements|constraints)[^/]*\.(?:txt|in)$|(?:^|/)requirements/[^/]+\.txt$")
# Commands whose effect the rest of a RUN needs
_STATE = frozenset({"cd", "export", "set", "source", ".", "pushd", "umask"})
# Installs that also install the code itself, and the flag with which they do not
_WITHOUT_CODE = (
    (re.compile(r"\bpoetry\s+install\b"), " --no-root", re.compile(r"--no-root\b")),
    (re.compile(r"\buv\s+sync\b"), " --no-install-project", re.compile(r"--no-install-(?:project|workspace)\b")),
    (re.compile(r"\bcomposer\s+install\b"), " --no-scripts --no-autoloader", re.compile(r"--no-autoloader\b")),
)


def find_early_copies(subject: Subject) -> Iterator[Finding]:
    """Find each COPY before an install that does not need all copied files.

    A COPY of the whole context is always reported. Any other is reported only if its files caused many rebuilds.
    """
    graph, facts = subject.graph, subject.facts
    copies = subject.copies
    rebuilds = list_rebuilds(copies, facts)
    reported: set[int] = set()
    for install in find_installs(graph):
        for copy in _list_copies_before(install, copies, graph):
            needed = _find_needed_files(install, copy, facts)
            if needed is None and _has_manifests(install, copies, graph, facts):
                needed = frozenset()
            if copy.instruction.line in reported or needed is None or _runs_copied_code(install, copy):
                continue
            early = _EarlyCopy(copy, install, needed, rebuilds)
            if early.is_reported:
                reported.add(copy.instruction.line)
                yield Finding(
                    rule="copy-before-install",
                    path=graph.path,
                    line=copy.instruction.line,
                    problem=_describe_early_copy(early),
                    fix=_reorder_lines(early),
                    stage=install.stage.name,
                    seconds=facts.seconds.get(install.stage.name),
                    lines=(install.instruction.line,),
                )


@dataclass(frozen=True)
class _EarlyCopy:
    """COPY before an install. `needed` are the copied files that the install needs, `rebuilds` the commits to judge."""

    copy: ContextCopy
    install: PackageInstall
    needed: frozenset[str]
    rebuilds: tuple[frozenset[str], ...]

    @cached_property
    def not_needed(self) -> frozenset[str]:
        """Return the copied files that the install does not need."""
        return self.copy.files - self.needed

    @cached_property
    def caused(self) -> tuple[frozenset[str], ...]:
        """Return the rebuilds in which a file changed that the install does not need."""
        return tuple(changed for changed in self.rebuilds if changed & self.not_needed)

    @property
    def is_reported(self) -> bool:
        """Return whether the COPY is broad enough, or changes often enough, for a finding."""
        if self.copy.copies_everything:
            return True
        count = len(self.caused)
        often = count >= _MIN_CAUSED and count >= _MIN_SHARE * len(self.rebuilds)
        return often and not _names_source(self.install, self.copy) and not self._may_be_read

    @property
    def _may_be_read(self) -> bool:
        """Return whether install scripts may read the copied files: a schema, patches, scripts of the repository."""
        if not self.install.manifests:
            return False
        other_lists = all(is_manifest(path) for path in self.copy.files)
        chosen_files = bool(self.needed) and self.copy.files >= set(
            self.copy.sources
        )  # named one by one for the install
        return other_lists or chosen_files or any(_INSTALL_SCRIPTS.search(source) for source in self.copy.sources)


def _list_copies_before(
    install: PackageInstall,
    copies: Iterable[ContextCopy],
    graph: StageGraph,
) -> Iterator[ContextCopy]:
    """Return the COPY and ADD instructions before the install among those that its stage consists of."""
    inherited = graph.inherited_instructions(install.stage)
    lines = {instruction.line for instruction in inherited}
    for copy in copies:
        line = copy.instruction.line
        is_before = line in lines and line < install.instruction.line
        if is_before and copy.instruction.keyword != "RUN":
            yield copy


def _has_manifests(
    install: PackageInstall,
    copies: Iterable[ContextCopy],
    graph: StageGraph,
    facts: RepositoryFacts,
) -> bool:
    """Return whether another COPY before the install brings the files that say what to install."""
    return any(_find_needed_files(install, copy, facts) for copy in _list_copies_before(install, copies, graph))


def _runs_copied_code(install: PackageInstall, copy: ContextCopy) -> bool:
    """Return whether commands up to the last install run or read files of the repository that are not manifests."""
    commands = split_commands(read_script(install.instruction))
    installing = [number for number, command in enumerate(commands) if install.installs_in(command.text)]
    for command in commands[: installing[-1] + 1] if installing else commands:
        if command.program in _STATE:
            continue
        for word in command.arguments:
            name = word.removeprefix("./")
            is_file = name in copy.files or (f"{name}" != word and "/" in word)
            if is_file and posixpath.basename(name) not in _manifest_names(install) and not _REQUIREMENTS.search(name):
                return True
    return False


def _manifest_names(install: PackageInstall) -> set[str]:
    return {posixpath.basename(name) for name in install.manifests}


def _find_needed_files(
    install: PackageInstall,
    copy: ContextCopy,
    facts: RepositoryFacts,
) -> frozenset[str] | None:
    """Return the copied files that say what to install; None where they are unknown."""
    if not install.manifests:
        return frozenset()
    copied = facts.files & copy.files
    found: set[str] = set()
    for name in install.manifests:
        found.update(_find_file(name, copied))
    if "package.json" in install.manifests:  # the packages of a workspace say what to install, too
        extras = [path for path in copied if _WORKSPACE_PACKAGE.search(path) or _NODE_EXTRAS.search(path)]
        found.update(extras if found else ())
    if any(name.endswith((".txt", ".in")) for name in install.manifests):  # one list of requirements reads others
        folders = {posixpath.dirname(path) for path in found}
        found.update(path for path in copied if posixpath.dirname(path) in folders and _REQUIREMENTS.search(path))
    return frozenset(found) if found else None


def _find_file(name: str, files: frozenset[str]) -> list[str]:
    """Return the file, if any, that a command names by its path in the image: the one with the longest common end."""
    tail = posixpath.normpath(name).lstrip("./")
    while tail:
        same = [path for path in files if f"/{path}".endswith(f"/{tail}")]
        if same:
            return sorted(same, key=lambda path: (path.count("/"), path))[:1]
        _, _, tail = tail.partition("/")
    return []


def _names_source(install: PackageInstall, copy: ContextCopy) -> bool:
    """Return whether the install command names a source of the COPY."""
    names = [posixpath.basename(source) for source in copy.sources if source]
    return any(name in install.command for name in names)


def _describe_early_copy(early: _EarlyCopy) -> str:
    copy = early.copy.instruction
    written = " ".join((copy.keyword, *copy.args))
    install = early.install
    message = (
        f"`{written}` comes before `{install.short_command}` (line {install.instruction.line}), "
        "so a change to any of its files runs the install again"
    )
    if early.caused:
        share = f"{len(early.caused)} of the last {len(early.rebuilds)} rebuilds"
        message += f"; it caused {share} (most often {_list_frequent_files(early)})"
    return message


def _list_frequent_files(early: _EarlyCopy) -> str:
    """Return the three files that caused the most rebuilds."""
    counts: Counter[str] = Counter()
    for changed in early.caused:
        counts.update(changed & early.not_needed)
    by_frequency = sorted(counts, key=lambda path: (-counts[path], path))
    names = [make_printable(path) for path in by_frequency[:3]]
    return ", ".join(names)


def _reorder_lines(early: _EarlyCopy) -> tuple[str, ...]:
    """Return the install with only the files that it needs, then the COPY, then the rest of the RUN.

    An install that also installs the code runs again after the COPY, when it finds the packages there. Return nothing
    where the RUN does not divide.
    """
    install = early.install
    divided = _divide_run(install)
    between = _list_between(early)
    if divided is None or between is None:
        return ()
    installing, rest = divided
    for pattern, flag, has_flag in _WITHOUT_CODE:
        if pattern.search(installing) and not has_flag.search(installing):
            installing = pattern.sub(lambda found, flag=flag: found[0] + flag, installing)  # type: ignore[misc]
            rest = read_script(install.instruction)
    lines = [
        *_copy_needed_files(early.copy, early.needed),
        *(instruction.text for instruction in between),
        *write_run(install.instruction, installing),
        early.copy.instruction.text,
    ]
    if rest:
        lines += write_run(install.instruction, rest)
    return tuple(lines)


def _list_between(early: _EarlyCopy) -> tuple[Instruction, ...] | None:
    """Return the instructions between the COPY and the install that the install may need; None where they do not move.

    A RUN that may need the code, and a WORKDIR, which would change where the COPY puts its files, do not.
    """
    first, last = early.copy.instruction.line, early.install.instruction.line
    between = [each for each in early.install.stage.instructions if first < each.line < last]
    for instruction in between:
        is_opaque = instruction.keyword == "RUN" and not only_installs(instruction)
        if is_opaque or instruction.keyword in ("WORKDIR", "FROM") or instruction.heredocs:
            return None
    return tuple(each for each in between if each.keyword not in ("COPY", "ADD", "LABEL"))


def _divide_run(install: PackageInstall) -> tuple[str, str] | None:
    """Return the script of a RUN up to its last install, and the rest, "" where it has none; None if it is no list."""
    instruction = install.instruction
    if instruction.json or (instruction.heredocs and not runs_heredoc(instruction)):
        return None
    script = read_script(instruction)
    commands = split_commands(script)
    installing = [number for number, command in enumerate(commands) if install.installs_in(command.text)]
    last = installing[-1] if installing else len(commands) - 1
    after = commands[last + 1 :]
    if not after or all(_only_cleans(command) for command in after):
        return script, ""
    if not is_plain_list(script):
        return None
    state = [command.text for command in commands[: last + 1] if command.program in _STATE]
    separator = "\n" if runs_heredoc(instruction) else " && "
    rest = separator.join((*state, script[after[0].start :].rstrip("\n")))
    return script[: commands[last].end], rest


def _only_cleans(command: ShellCommand) -> bool:
    return command.program == "rm" or re.search(r"\b(?:clean|purge|prune)\b", command.text) is not None


def _copy_needed_files(copy: ContextCopy, needed: frozenset[str]) -> Iterator[str]:
    """Return a COPY for the files of each folder, to where the original COPY puts them."""
    root = _find_copied_root(copy)
    destination = copy.instruction.args[-1]
    flags = [flag for flag in copy.instruction.flags if flag.startswith(("--chown", "--chmod", "--from", "--link"))]
    words = " ".join(("COPY", *flags))
    names_by_folder: dict[str, list[str]] = {}
    for path in sorted(needed):
        folder = posixpath.dirname(path)
        names_by_folder.setdefault(folder, []).append(make_printable(path))
    for folder in sorted(names_by_folder):
        names = names_by_folder[folder]
        inner = posixpath.relpath(folder or ".", root)
        target = posixpath.normpath(posixpath.join(destination, inner))
        listed = " ".join(names) if len(names) <= _MAX_NAMED or not folder else folder
        yield f"{words} {listed} {target.rstrip('/')}/"


def _find_copied_root(copy: ContextCopy) -> str:
    """Return the folder whose content the COPY takes; the context where it takes several sources."""
    source, *others = copy.sources
    if others or "*" in source:
        return "."
    return source.strip("/") or "."


def find_early_stage_copies(subject: Subject) -> Iterator[Finding]:
    """Find each COPY of built code from another stage before an install that does not need it."""
    graph, facts = subject.graph, subject.facts
    model = subject.model
    reported: set[int] = set()
    for install in find_installs(graph):
        before = None
        for place in list_chain(graph, install.stage):
            instruction = place.step.instruction
            if instruction is install.instruction:
                break
            if before is None and _takes_code(instruction) and model.is_code_step(place):
                mapped = map_to_context(place.step, graph, subject.copies)
                if mapped is None and not takes_settled_files(place.step, graph, place.stage):
                    before = instruction
        if before is None or before.line in reported or not _is_independent(install, before):
            continue
        reported.add(before.line)
        yield _report_stage_copy(before, install, graph, facts)


def _takes_code(instruction: Instruction) -> bool:
    return instruction.keyword == "COPY" and instruction.flag_value("from") is not None


def _is_independent(install: PackageInstall, copy: Instruction) -> bool:
    """Return whether an install needs nothing of what a COPY brings, but for files that say what to install."""
    written = copy.args[-1].rstrip("/")
    if not written or re.match(r"/(?:etc|usr/bin|bin|usr/local/bin|opt)\b", written):
        return False
    names = {posixpath.basename(word.rstrip("/")) for word in copy.args} - {"", ".", ".."}
    for command in split_commands(read_script(install.instruction)):
        if _only_cleans(command):
            continue
        for word in command.words:
            if not names.isdisjoint(word.split("/")) or word.startswith(("./", "../")) or command.program == "sh":
                return False
    return True


def _report_stage_copy(
    copy: Instruction,
    install: PackageInstall,
    graph: StageGraph,
    facts: RepositoryFacts,
) -> Finding:
    return Finding(
        rule="copy-before-install",
        path=graph.path,
        line=copy.line,
        problem=f"`{copy.text.partition(chr(10))[0]}` takes what another stage builds, and comes before "
        f"`{install.short_command}` (line {install.instruction.line}), so each change of the code installs again; "
        + ("install first" if not install.manifests else "copy what the install reads, install, then copy the rest"),
        fix=_install_first(copy, install),
        stage=install.stage.name,
        seconds=facts.seconds.get(install.stage.name),
        lines=(install.instruction.line,),
    )


def _install_first(copy: Instruction, install: PackageInstall) -> tuple[str, ...]:
    """Return the install above the COPY, after a COPY of the manifests where the folder that has them is known."""
    divided = _divide_run(install)
    source, *others = copy.args[:-1]
    if divided is None or divided[1] or copy.heredocs:
        return ()
    run = write_run(install.instruction, divided[0])
    if not install.manifests:
        return (*run, copy.text)
    if others or not re.search(r"(?:^|/)out/full/?$", source):
        return ()
    manifests = copy.text.replace("/full", "/json", 1)
    return (manifests, *run, copy.text)
