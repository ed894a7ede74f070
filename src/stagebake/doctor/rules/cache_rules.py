"""Find RUN instructions that download or compile without a cache mount."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.stages import Stage, StageGraph
from stagebake.doctor.facts import RepositoryFacts
from stagebake.doctor.finding import Finding
from stagebake.doctor.reading.cache_tools import (
    APT,
    APT_LISTS,
    CACHE_TOOLS,
    CacheTool,
    find_cache_folders,
    find_tool_commands,
    join_arguments,
    root_image,
    runs_as_root,
)
from stagebake.doctor.reading.shell_commands import ShellCommand, read_commands, read_script, runs_heredoc, write_run
from stagebake.doctor.reading.subject import Subject
from stagebake.doctor.rules.mount_rules import keep_cache

_APT_UPDATE = re.compile(r"\bapt(?:-get)?\s+(?:-\S+\s+)*update\b")
_SCRIPTS = re.compile(r"(?:make|mage|task|just|ninja|bash|sh|\./\S+|\S+\.sh)(?:\s|$)")
_KEEPS_ARCHIVES = re.compile(r"docker-clean|Keep-Downloaded-Packages")
_REMOVE_DOCKER_CLEAN = "rm -f /etc/apt/apt.conf.d/docker-clean"
_ONE_JOB = "on runners that live for one job, set `cache-mounts = true` as well"
_CARGO_TARGET = (
    "; for the compiled code, mount `target` as well, and copy the program out of it in the same RUN: nothing of "
    "a mount is in the image"
)
_MOUNT_TYPES = ("cache", "tmpfs", "bind")


@dataclass(frozen=True)
class MissingMount:
    """RUN of a stage that uses a tool, and the folders of the tool's cache that it does not mount.

    `family` is the lowest stage below it that uses the tool, or its own: what that stage downloads is in its layers.
    """

    stage: Stage
    instruction: Instruction
    tool: CacheTool
    folders: tuple[str, ...]
    command: ShellCommand
    family: str


def find_missing_cache_mounts(subject: Subject) -> Iterator[Finding]:
    """Find each RUN that downloads or compiles without a cache mount.

    One finding has all RUNs of a stage with the same tools, and all with the same store of downloads.
    What is in a mount is in no layer. So a mount of downloads that later commands need, as Go's modules, is proposed
    for all RUNs with that tool or for none.
    """
    graph, facts = subject.graph, subject.facts
    missing = [found for found in _list_missing(graph, facts) if _is_worth_it(found)]
    reported: set[int] = set()
    groups: dict[tuple[str, ...], list[MissingMount]] = {}
    for first in missing:
        if first.instruction.line in reported:
            continue
        group = _collect_group(first, missing)
        reported |= {found.instruction.line for found in group}
        tools = sorted({found.tool.name for found in group})
        groups.setdefault((first.stage.name, *tools), []).extend(group)
    for group in groups.values():
        yield _report_group(group, graph, facts)


def _fills_folder(graph: StageGraph, missing: MissingMount) -> bool:
    """Return whether a COPY puts files where the mount would be, which would hide them."""
    for instruction in graph.inherited_instructions(missing.stage):
        if instruction.keyword not in ("COPY", "ADD") or instruction.line >= missing.instruction.line:
            continue
        target = posixpath.normpath(instruction.args[-1])
        for folder in missing.folders:
            if target.startswith(folder) or (target != "/" and f"{folder}/".startswith(f"{target}/")):
                return True
    return False


def _list_missing(graph: StageGraph, facts: RepositoryFacts) -> list[MissingMount]:
    found: list[MissingMount] = []
    for tool in CACHE_TOOLS:
        of_tool = [missing for stage in _needed(graph) for missing in _find_in_stage(tool, graph, stage, facts)]
        blocked = {missing.family for missing in of_tool if not missing.folders or _fills_folder(graph, missing)}
        if tool.is_store and _is_copied_elsewhere(graph, of_tool):
            continue
        for missing in of_tool:  # where one of the RUNs cannot have the mount of a store, none may have it
            if missing.folders and not (missing.family in blocked and tool.is_store):
                found.append(missing)
    return sorted(found, key=lambda missing: missing.instruction.line)


def _needed(graph: StageGraph) -> list[Stage]:
    return sorted(graph.needed_stages(), key=lambda stage: stage.index)


def _find_in_stage(
    tool: CacheTool,
    graph: StageGraph,
    stage: Stage,
    facts: RepositoryFacts,
) -> Iterator[MissingMount]:
    """Find the RUNs that use a tool without its mounts; one for which no mount can be proposed has no folders."""
    base = graph.base_stage(stage)
    seen = any(word in root_image(graph, stage) for word in tool.image_folders)
    if base is not None:
        seen = seen or any(find_tool_commands(tool, each) for each in graph.inherited_instructions(base))
    for instruction in stage.instructions:
        commands = find_tool_commands(tool, instruction)
        commands = tuple(command for command in commands if not _is_local(command))
        if not commands and not (seen and _may_run_tool(tool, instruction)):
            continue
        seen = True
        folders = find_cache_folders(tool, graph, stage, instruction.line)
        if not runs_as_root(graph, stage, instruction.line) or _uses_unknown_cache(tool, facts):
            folders = ()
        if tool is APT and APT_LISTS in folders and not _owns_package_lists(graph, instruction):
            folders = tuple(folder for folder in folders if folder != APT_LISTS)
        unmounted = tuple(folder for folder in folders if not _is_mounted(folder, instruction))
        if unmounted or not folders:
            command = (commands or read_commands(instruction))[0]
            yield MissingMount(stage, instruction, tool, unmounted, command, _find_family(tool, graph, stage))


def _find_family(tool: CacheTool, graph: StageGraph, stage: Stage) -> str:
    """Return the name of the lowest stage, of this one and those below its FROM, that uses a tool."""
    family = stage.name
    below = graph.base_stage(stage)
    while below is not None:
        if any(find_tool_commands(tool, instruction) for instruction in below.instructions):
            family = below.name
        below = graph.base_stage(below)
    return family


def _is_local(command: ShellCommand) -> bool:
    """Return whether an install downloads nothing: of files that are there, or without dependencies."""
    if command.program not in ("pip", "pip3", "uv", "apt", "apt-get", "dnf", "yum"):
        return False
    if {"--no-deps", "--no-index"} & set(command.arguments) and "-r" not in command.arguments:
        return True
    position = command.operands.index("install") + 1 if "install" in command.operands else 0
    names = command.operands[position:]
    reads_list = any(word.startswith(("-r", "--requirement", "-c")) for word in command.arguments)
    is_file = [word.startswith(("/", "./")) and not word.endswith((".txt", "/", "]")) for word in names]
    return not reads_list and bool(names) and (all(is_file) or names == ("pip",))


def _find_script(instruction: Instruction) -> str:
    """Return the script or make that a RUN starts."""
    texts = [" ".join(command.arguments) for command in read_commands(instruction)]
    return next((found[0].strip() for found in map(_SCRIPTS.match, texts) if found), "RUN")


def _may_run_tool(tool: CacheTool, instruction: Instruction) -> bool:
    """Return whether a RUN starts a script or make, which may run the tool; only where a tool has a store to mount."""
    if instruction.keyword != "RUN" or tool.name not in ("go", "go build", "cargo", "mvn", "gradle", "nuget"):
        return False
    return any(_SCRIPTS.match(" ".join(command.arguments)) for command in read_commands(instruction))


def _uses_unknown_cache(tool: CacheTool, facts: RepositoryFacts) -> bool:
    """Return whether files of the repository move the cache: Yarn from version 2 on has it elsewhere."""
    return tool.name == "yarn" and any(posixpath.basename(path) == ".yarnrc.yml" for path in facts.files)


def _owns_package_lists(graph: StageGraph, instruction: Instruction) -> bool:
    """Return whether a RUN updates the package lists for itself only.

    A mount covers the lists of the layer below, and leaves none for an install in a later RUN that does not update.
    """
    if not _APT_UPDATE.search(read_script(instruction)):
        return False
    for stage in graph.stages:
        for other in stage.instructions:
            uses_lists = other is not instruction and find_tool_commands(APT, other)
            if uses_lists and not _APT_UPDATE.search(read_script(other)):
                return False
    return True


def _is_mounted(folder: str, instruction: Instruction) -> bool:
    """Return whether a RUN mounts a folder or one above it."""
    for mount in instruction.mounts:
        target = mount.get("target") or mount.get("dst") or mount.get("destination") or ""
        is_covered = f"{folder}/".startswith(target.rstrip("/") + "/")
        if target and (is_covered or "$" in target) and mount.get("type", "bind") in _MOUNT_TYPES:
            return True
    return False


def _is_copied_elsewhere(graph: StageGraph, missing: list[MissingMount]) -> bool:
    """Return whether a COPY takes the cache from a stage, as `COPY --from=deps /go/pkg`."""
    folders = {folder for found in missing for folder in found.folders}
    for stage in graph.stages:
        for instruction in stage.instructions:
            if instruction.keyword != "COPY" or instruction.flag_value("from") is None:
                continue
            for source in instruction.args[:-1]:
                path = posixpath.normpath(source)
                if any(f"{folder}/".startswith(f"{path}/") or path.startswith(f"{folder}/") for folder in folders):
                    return path != "/"
    return False


def _is_worth_it(missing: MissingMount) -> bool:
    """Return whether a mount helps: not where one is there already whose folder a variable may have moved."""
    own = [mount for mount in missing.instruction.mounts if mount.get("type") in ("cache", "tmpfs")]
    return not own or (missing.tool.is_store and missing.tool.compiles)


def _collect_group(first: MissingMount, missing: list[MissingMount]) -> list[MissingMount]:
    """Return what the RUN of the first one misses, and every RUN with the same store, through all of these."""
    lines = {first.instruction.line}
    while True:
        here = [found for found in missing if found.instruction.line in lines and found.tool.is_store]
        stores = {(found.tool.name, found.family) for found in here}
        more = {found.instruction.line for found in missing if (found.tool.name, found.family) in stores}
        if more <= lines:
            break
        lines |= more
    return [found for found in missing if found.instruction.line in lines]


def _report_group(group: list[MissingMount], graph: StageGraph, facts: RepositoryFacts) -> Finding:
    first = group[0]
    by_line: dict[int, list[MissingMount]] = {}
    for found in group:
        by_line.setdefault(found.instruction.line, []).append(found)
    lines: list[str] = []
    for of_run in by_line.values():
        lines += _add_mounts(of_run, graph)
    compiles = any(found.tool.compiles for found in group)
    return Finding(
        rule="compile-cache" if compiles else "cache-mount",
        path=graph.path,
        line=first.instruction.line,
        problem=_describe_group(group, list(by_line)),
        fix=tuple(lines),
        stage=first.stage.name,
        seconds=facts.seconds.get(first.stage.name),
        lines=tuple(line for line in list(by_line)[1:] if _compiles(by_line[line])),
    )


def _compiles(of_run: list[MissingMount]) -> bool:
    """Return whether a RUN misses a mount of compiled code, rather than of downloads that an earlier RUN has made."""
    return any(not found.tool.is_store for found in of_run)


def _describe_group(group: list[MissingMount], lines: list[int]) -> str:
    names = list(dict.fromkeys(_short_name(found) for found in group if found.instruction.line == lines[0]))
    listed = " and ".join(f"`{name}`" for name in names)
    others = "" if len(lines) == 1 else f" (and line{'s' * (len(lines) > 2)} {', '.join(map(str, lines[1:]))})"
    verb = "have" if len(names) > 1 or len(lines) > 1 else "has"
    again = "every package is downloaded again whenever it runs"
    if any(found.tool.compiles and not found.tool.is_store for found in group):
        again = "every dependency is downloaded and compiled again whenever it runs"
    extra = _CARGO_TARGET if any(found.tool.name == "cargo" for found in group) else ""
    return f"{listed}{others} {verb} no cache mount, so {again}{extra}; {_ONE_JOB}"


def _short_name(found: MissingMount) -> str:
    """Return the command of a tool without most of its arguments."""
    matched = found.tool.uses.match(join_arguments(found.command))
    text = matched[0] if matched else _find_script(found.instruction)
    words = text.split()
    return text if len(words) <= 3 else f"{words[0]} {words[-1]}"


def _add_mounts(of_run: list[MissingMount], graph: StageGraph) -> tuple[str, ...]:
    """Return the RUN with the mounts, without what empties or bypasses them; nothing where that is not certain."""
    instruction = of_run[0].instruction
    flags: list[str] = []
    script: str | None = read_script(instruction)
    if instruction.json or (instruction.heredocs and not runs_heredoc(instruction)):
        script = instruction.full_text.partition(" ")[2] if not instruction.flags and not instruction.heredocs else None
    for found in of_run:
        flags += found.tool.mount_flags(found.folders)
        if script is not None and not instruction.json:
            script = keep_cache(script, found.tool, found.folders)
    if script is None:
        return ()
    if any(found.tool is APT for found in of_run) and not _keeps_archives(graph, of_run[0]):
        script = _remove_docker_clean(script, heredoc=runs_heredoc(instruction))
    return write_run(instruction, script, add_flags=dict.fromkeys(flags))


def _keeps_archives(graph: StageGraph, found: MissingMount) -> bool:
    """Return whether an instruction up to this one removes docker-clean, with which Debian's images delete archives."""
    for instruction in graph.inherited_instructions(found.stage):
        if instruction.line <= found.instruction.line and _KEEPS_ARCHIVES.search(instruction.full_text):
            return True
    return False


def _remove_docker_clean(script: str, *, heredoc: bool) -> str:
    if not heredoc:
        return f"{_REMOVE_DOCKER_CLEAN} && {script}"
    first, line_break, rest = script.partition("\n")
    if first.startswith("set "):
        return f"{first}\n{_REMOVE_DOCKER_CLEAN}\n{rest}"
    return f"{_REMOVE_DOCKER_CLEAN}\n{first}{line_break}{rest}"
