"""What comes too early in a Dockerfile: whatever changes makes all that follows it run again. Pure."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.stages import ImageReference, Stage, StageGraph
from stagebake.doctor.finding import ContextCopy, Finding, RepositoryFacts, context_copies, instructions_up_to
from stagebake.doctor.install_rules import PackageInstall, find_installs
from stagebake.formatting import make_printable

# A COPY that is not the whole context comes too early only if history says so
_SELDOM = 5
_OFTEN = 0.2

# Arguments that each build, or each commit, gives another value
_RESTLESS = re.compile(
    r"(?:^|_)(?:(?:BUILD|GIT|VCS|COMMIT|SOURCE)_?(?:SHA|REF|HASH|ID|COMMIT|REV|REVISION|DESCRIBE)|SHA|COMMIT|REVISION"
    r"|BUILD_?(?:DATE|TIME|TIMESTAMP|NUMBER|NO|NUM)|TIMESTAMP|CACHE_?BUST(?:ER)?|GITHUB_(?:SHA|REF|RUN_ID|RUN_NUMBER))$",
    re.IGNORECASE,
)
# Any other default is a version that somebody has pinned
_STOPGAP = re.compile(
    r"[\"']?(?:|dev\S*|head|latest|local|main|master|none|null|undefined|unknown|0*)[\"']?", re.IGNORECASE
)
# They only label the image, or hand a value on: they may stand anywhere before it is used
_LABELS = ("ARG", "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "STOPSIGNAL", "VOLUME")


def early_copies(graph: StageGraph, facts: RepositoryFacts) -> Iterator[Finding]:
    """A COPY of files that an install after it does not need, and that change more often than what it does need."""
    told: set[int] = set()
    rebuilds = _rebuilds(graph, facts)
    for install in find_installs(graph):
        for take in _before(graph, facts, install):
            if take.instruction.line not in told and (found := _too_early(graph, facts, take, install, rebuilds)):
                told.add(take.instruction.line)
                yield found


def _before(graph: StageGraph, facts: RepositoryFacts, install: PackageInstall) -> Iterator[ContextCopy]:
    """What takes files from the context and comes before the install in what its stage is made of."""
    line_up_to = {i.line for _, i in instructions_up_to(graph, install.stage) if i.line < install.instruction.line}
    return (
        take
        for take in context_copies(graph, facts)
        if take.instruction.line in line_up_to and take.instruction.keyword != "RUN"
    )


def _too_early(
    graph: StageGraph,
    facts: RepositoryFacts,
    take: ContextCopy,
    install: PackageInstall,
    rebuilds: tuple[frozenset[str], ...],
) -> Finding | None:
    needed = _manifests(facts, take, install)
    if needed is None:
        return None
    guilty = [changed for changed in rebuilds if changed & take.files - needed]
    often = len(guilty) >= _SELDOM and len(guilty) >= _OFTEN * len(rebuilds)
    if not take.whole and (not often or _wants(install, take)):
        return None
    return Finding(
        rule="copy-before-install",
        path=graph.path,
        line=take.instruction.line,
        what=f"{_says(take)} comes before `{install.says}` (line {install.instruction.line}), which then runs again "
        f"when any of these files changes{_guilt(guilty, rebuilds, take, needed)}",
        fix=_reordered(take, install, needed),
        stage=install.stage.name,
        seconds=facts.seconds.get(install.stage.name),
    )


def _says(take: ContextCopy) -> str:
    return f"`{' '.join((take.instruction.keyword, *take.instruction.args))}`"


def _rebuilds(graph: StageGraph, facts: RepositoryFacts) -> tuple[frozenset[str], ...]:
    """The commits that changed a file which the build takes."""
    taken = frozenset[str]().union(*(take.files for take in context_copies(graph, facts)))
    return tuple(changed for changed in facts.commits if changed & taken)


def _guilt(
    guilty: list[frozenset[str]], rebuilds: tuple[frozenset[str], ...], take: ContextCopy, needed: set[str]
) -> str:
    """How often it did so, and which files did it most."""
    if not guilty:
        return ""
    counts = Counter(path for changed in guilty for path in changed & take.files - needed)
    worst = ", ".join(
        make_printable(path) for path, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:3]
    )
    return f"; it was the reason for {len(guilty)} of the last {len(rebuilds)} rebuilds (most often {worst})"


def _wants(install: PackageInstall, take: ContextCopy) -> bool:
    """Whether the install command names what the COPY takes."""
    return any(posixpath.basename(pattern) in install.command for pattern in take.sources if pattern)


def _manifests(facts: RepositoryFacts, take: ContextCopy, install: PackageInstall) -> set[str] | None:
    """The files of the COPY that say what to install; None where they cannot be told."""
    if not install.manifests:
        return set()
    found: set[str] = set()
    for name in install.manifests:
        found.update(_named(name, facts.files & take.files))
    if "package.json" in install.manifests:  # the packages of a workspace say what to install, too
        found.update(
            path for path in facts.files & take.files if re.search(r"^(?!.*node_modules/).*/package\.json$", path)
        )
    return found or None


def _named(name: str, files: frozenset[str]) -> list[str]:
    """The file that a command in the image names: the one of which most of the path is the same."""
    parts = posixpath.normpath(name).lstrip("./").split("/")
    for tail in ("/".join(parts[at:]) for at in range(len(parts))):
        same = [path for path in files if path == tail or path.endswith(f"/{tail}")]
        if same:
            return [min(same, key=lambda path: (path.count("/"), path))]
    return []


def _reordered(take: ContextCopy, install: PackageInstall, needed: set[str]) -> tuple[str, ...]:
    """The install first, with the files that it needs; then the COPY, and what the RUN did beside."""
    parts = re.split(r"\s+&&\s+", install.command) if not install.instruction.heredocs else [install.command]
    last = max((i for i, part in enumerate(parts) if install.installs_in(part)), default=0)
    flags = "".join(f"{flag} " for flag in install.instruction.flags)
    first = [f"RUN {flags}{' && '.join(parts[: last + 1])}"]
    rest = [f"RUN {flags}{' && '.join(parts[last + 1 :])}"] if parts[last + 1 :] else []
    return (*_copies(take, needed), *first, take.instruction.text, *rest)


def _copies(take: ContextCopy, needed: set[str]) -> Iterator[str]:
    """A COPY of each folder's files, to where the broad one would have put them."""
    folders = sorted({posixpath.dirname(path) for path in needed})
    below = take.sources[0].strip("/") if len(take.sources) == 1 and "*" not in take.sources[0] else ""
    target = take.instruction.args[-1]
    for folder in folders:
        names = sorted(path for path in needed if posixpath.dirname(path) == folder)
        inner = posixpath.relpath(folder or ".", below or ".")
        yield f"COPY {' '.join(map(make_printable, names))} {posixpath.normpath(posixpath.join(target, inner))}/"


@dataclass(frozen=True)
class _Variable:
    """An ARG or ENV of a stage whose value changes with each build."""

    name: str
    at: int


def early_arguments(graph: StageGraph, facts: RepositoryFacts) -> Iterator[Finding]:
    """An ARG that each commit changes is in the environment of every RUN after it, used or not.

    docs.docker.com/reference/dockerfile, "Impact on build caching".
    """
    for stage in graph.needed_stages():
        for variable in _restless(stage):
            idle, used = _idle(stage, variable)
            if idle:
                yield _early_argument(graph, facts, stage, variable, idle, used)


def _restless(stage: Stage) -> Iterator[_Variable]:
    for at, instruction in enumerate(stage.instructions):
        if instruction.keyword == "ARG":
            pairs = [word.partition("=")[::2] for word in instruction.args]
            yield from (_Variable(n, at) for n, value in pairs if _RESTLESS.search(n) and _STOPGAP.fullmatch(value))


def _idle(stage: Stage, variable: _Variable) -> tuple[list[Instruction], Instruction | None]:
    """The RUNs that have the variable in their environment before any uses it, and the one that does."""
    names = {variable.name}
    idle: list[Instruction] = []
    for instruction in stage.instructions[variable.at + 1 :]:
        mentions = any(re.search(rf"\b{re.escape(name)}\b", instruction.full_text) for name in names)
        if instruction.keyword == "ENV" and mentions:
            names.update(instruction.args[::3])
        elif mentions and instruction.keyword not in _LABELS:
            return idle, instruction
        elif instruction.keyword == "RUN":
            idle.append(instruction)
    return idle, None


def _early_argument(
    graph: StageGraph,
    facts: RepositoryFacts,
    stage: Stage,
    variable: _Variable,
    idle: list[Instruction],
    used: Instruction | None,
) -> Finding:
    declared = stage.instructions[variable.at]
    where = f"before line {used.line}, the first that uses it" if used else "to the end of the stage"
    return Finding(
        rule="arg-early",
        path=graph.path,
        line=declared.line,
        what=f"ARG {variable.name} has another value in each build, and the RUN of line {idle[0].line} has it in its "
        f"environment without using it; move the ARG, and an ENV made of it, {where}",
        fix=(idle[-1].text.splitlines()[0], declared.text, *([used.text.splitlines()[0]] if used else [])),
        stage=stage.name,
        seconds=facts.seconds.get(stage.name),
    )


def unlinked_copies(graph: StageGraph, facts: RepositoryFacts) -> Iterator[Finding]:
    """Without --link a COPY is laid on all that is below it, which is downloaded for that; with it, nothing is.

    docs.docker.com/reference/dockerfile, "COPY --link"; `tests/engine/test_link.py` measures it.
    """
    stage = graph.final
    last = (i for i in _last_copies(stage) if not i.has_switch("link") and _moves(stage, i))
    unlinked = [instruction for instruction in last if _linkable(instruction)]
    if not unlinked or instructions_up_to(graph, stage)[0][1].args[0] == "scratch":
        return
    yield Finding(
        rule="copy-link",
        path=graph.path,
        line=unlinked[0].line,
        what="when one of these files changes, all layers below the COPY are downloaded to lay it on them; with "
        "--link it is a layer by itself (not for a destination that goes through a symbolic link of the base)",
        fix=tuple(re.sub(r"^(\w+)\s+(?:--link=false\s+)?", r"\1 --link ", i.text) for i in unlinked),
        stage=stage.name,
    )


def _last_copies(stage: Stage) -> tuple[Instruction, ...]:
    """The COPY and ADD after the last instruction that needs what is below it."""
    runs = [at for at, i in enumerate(stage.instructions) if i.keyword in ("RUN", "WORKDIR", "FROM", "ONBUILD")]
    return tuple(i for i in stage.instructions[runs[-1] :] if i.keyword in ("COPY", "ADD"))


def _linkable(instruction: Instruction) -> bool:
    """A name in --chown is looked up in the files below, so that they are needed."""
    owner = instruction.flag_value("chown") or "0"
    return bool(re.fullmatch(r"\d+(?::\d+)?", owner))


def _moves(stage: Stage, instruction: Instruction) -> bool:
    """Whether it takes what changes: files or a stage, neither an image nor something from the network."""
    sources = next(step.sources for step in stage.steps if step.instruction is instruction)
    remote = any("://" in word for word in instruction.args[:-1])
    return not remote and not any(isinstance(source, ImageReference) for source in sources)
