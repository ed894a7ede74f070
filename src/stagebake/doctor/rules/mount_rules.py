"""Find cache mounts that are useless: emptied or bypassed in their own RUN, or over what an earlier layer left."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator

from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.stages import Stage, StageGraph
from stagebake.doctor.facts import RepositoryFacts
from stagebake.doctor.finding import Finding
from stagebake.doctor.reading.cache_tools import (
    APK,
    APT,
    APT_ARCHIVES,
    CACHE_TOOLS,
    CacheTool,
    find_cache_folders,
    find_tool_commands,
)
from stagebake.doctor.reading.shell_commands import (
    ShellCommand,
    read_commands,
    read_script,
    rewrite_commands,
    runs_heredoc,
    split_commands,
    splits_safely,
    write_run,
)
from stagebake.doctor.reading.subject import Subject

_BRACES = re.compile(r"^(.*?)\{([^{}]*)\}(.*)$")
_DOCKER_CLEAN = re.compile(r"docker-clean|Keep-Downloaded-Packages")
_NOT_DEBIAN = re.compile(
    r"alpine|busybox|scratch|fedora|centos|rocky|alma|ubi\d|amazonlinux|opensuse|archlinux|wolfi|chainguard|distroless"
)
_TOOLS = (*CACHE_TOOLS, APK)


def find_defeated_mounts(subject: Subject) -> Iterator[Finding]:
    """Find each RUN that empties or bypasses the cache that it mounts itself."""
    graph, facts = subject.graph, subject.facts
    for stage in graph.needed_stages():
        for instruction in stage.instructions:
            targets = list_cache_targets(instruction)
            if not targets or instruction.json:
                continue
            defeats = list(dict.fromkeys(_list_defeats(instruction, targets)))
            if not defeats:
                continue
            script = _keep_all(read_script(instruction), instruction, targets)
            yield Finding(
                rule="mount-defeated",
                path=graph.path,
                line=instruction.line,
                problem=f"`{'`, `'.join(defeats)}` makes the cache mount of the same RUN useless: it empties or "
                "bypasses the cache, and nothing of a mount is in the image anyway",
                fix=() if script is None else write_run(instruction, script),
                stage=stage.name,
                seconds=facts.seconds.get(stage.name),
            )


def find_docker_clean(subject: Subject) -> Iterator[Finding]:
    """Find each mount of apt's archives that stays empty, because Debian's images delete archives after an install.

    The file /etc/apt/apt.conf.d/docker-clean does that in the images of Debian and Ubuntu (debuerreotype).
    """
    graph, facts = subject.graph, subject.facts
    for stage in graph.needed_stages():
        for instruction in stage.instructions:
            mounts_archives = any(target.startswith(APT_ARCHIVES) for target in list_cache_targets(instruction))
            if not mounts_archives or not find_tool_commands(APT, instruction):
                continue
            if _is_known_to_keep(graph, stage, instruction) or _NOT_DEBIAN.search(_image_names(graph, stage)):
                continue
            yield _report_docker_clean(graph, stage, instruction, facts)


def _report_docker_clean(graph: StageGraph, stage: Stage, instruction: Instruction, facts: RepositoryFacts) -> Finding:
    script = read_script(instruction)
    separator = "\n" if runs_heredoc(instruction) else " && "
    fixed = f"rm -f /etc/apt/apt.conf.d/docker-clean{separator}{script}"
    return Finding(
        rule="docker-clean",
        path=graph.path,
        line=instruction.line,
        problem=f"the mount of {APT_ARCHIVES} stays empty: `docker-clean` in the images of Debian and Ubuntu deletes "
        "each package as soon as it is installed",
        fix=write_run(instruction, fixed),
        stage=stage.name,
        seconds=facts.seconds.get(stage.name),
    )


def _is_known_to_keep(graph: StageGraph, stage: Stage, instruction: Instruction) -> bool:
    chain = graph.inherited_instructions(stage)
    return any(_DOCKER_CLEAN.search(other.full_text) for other in chain if other.line <= instruction.line)


def _image_names(graph: StageGraph, stage: Stage) -> str:
    chain = graph.inherited_instructions(stage)
    return " ".join(start.args[0] for start in chain if start.keyword == "FROM")


def list_cache_targets(instruction: Instruction) -> tuple[str, ...]:
    """Return the folders of the cache mounts of a RUN."""
    targets = []
    for mount in instruction.mounts:
        target = mount.get("target") or mount.get("dst") or mount.get("destination")
        if mount.get("type") == "cache" and target:
            targets.append(target.rstrip("/"))
    return tuple(targets)


def keep_cache(script: str, tool: CacheTool, folders: Iterable[str]) -> str | None:
    """Return the script without what empties or bypasses a tool's cache; None where that cannot be taken out."""
    commands = split_commands(script)
    texts = {}
    for number, command in enumerate(commands):
        if not _empties(command, tool, folders):
            continue
        if not splits_safely(commands, number):
            return None
        texts[command.start] = _shorten_removal(command, folders)
    script = rewrite_commands(script, texts) if texts else script
    return _drop_bypasses(script, tool)


def _empties(command: ShellCommand, tool: CacheTool, folders: Iterable[str]) -> bool:
    if command.program == "rm":
        return any(_covers(operand, folder) for operand in command.operands for folder in folders)
    return tool.is_emptied_by(command)


def _covers(operand: str, folder: str) -> bool:
    """Return whether `rm` of this word removes something in the folder, or the folder."""
    for path in _expand_braces(operand.strip("\"'")):
        plain = posixpath.normpath(path.rstrip("*") or "/")
        is_above = path.endswith("*") and f"{folder}/".startswith(plain.rstrip("/") + "/")
        if plain == folder or plain.startswith(f"{folder}/") or is_above or folder.startswith(f"{plain}/"):
            return plain != "/"
    return False


def _expand_braces(word: str) -> Iterator[str]:
    found = _BRACES.match(word)
    if found is None:
        yield word
        return
    for choice in found[2].split(","):
        yield from _expand_braces(f"{found[1]}{choice}{found[3]}")


def _shorten_removal(command: ShellCommand, folders: Iterable[str]) -> str:
    """Return an `rm` without the words for the mounted folders; "" where nothing else is removed."""
    if command.program != "rm":
        return ""
    kept = []
    for operand in command.operands:
        for path in _expand_braces(operand):
            if not any(_covers(path, folder) for folder in folders):
                kept.append(path)
    if not kept:
        return ""
    options = [word for word in command.words if word not in command.operands]
    return " ".join((*options, *kept))


def _drop_bypasses(script: str, tool: CacheTool) -> str:
    """Return the script without the flags with which the tool's own commands do not use its cache."""
    for command in reversed(split_commands(script)):
        if not tool.is_used_by(command):
            continue
        text = command.text
        for flag in tool.bypass_flags(command):
            text = re.sub(rf"\s+{re.escape(flag)}(?![\w-])", "", text)
        script = script[: command.start] + text + script[command.end :]
    return script


def _list_defeats(instruction: Instruction, targets: tuple[str, ...]) -> Iterator[str]:
    """Return the commands and flags of a RUN that empty or bypass one of its cache mounts."""
    for command in read_commands(instruction):
        if command.program == "rm" and any(_covers(word, target) for word in command.operands for target in targets):
            yield command.text
        for tool in _TOOLS:
            if not _mounts_cache(tool, targets):
                continue
            if tool.is_emptied_by(command):
                yield command.text
            elif tool.is_used_by(command):
                yield from tool.bypass_flags(command)


def _mounts_cache(tool: CacheTool, targets: tuple[str, ...]) -> bool:
    """Return whether one of the mounts is the tool's cache, by its last folders, wherever a variable moves it."""
    all_folders = [tool.folders, *tool.image_folders.values()]
    for folder in (folder for folders in all_folders for folder in folders):
        if any(target == folder or folder.startswith(f"{target}/") for target in targets):
            return True
    return False


def _keep_all(script: str, instruction: Instruction, targets: tuple[str, ...]) -> str | None:
    if instruction.heredocs and not runs_heredoc(instruction):
        return None
    kept: str | None = script
    for tool in _TOOLS:
        if kept is not None and (_mounts_cache(tool, targets) or tool is APT):
            kept = keep_cache(kept, tool, targets)
    return kept


def find_hiding_mounts(subject: Subject) -> Iterator[Finding]:
    """Find each mount of a tool's downloads where an earlier RUN put downloads into a layer, without the mount."""
    graph, facts = subject.graph, subject.facts
    reported: set[int] = set()
    for stage in graph.needed_stages():
        for tool in CACHE_TOOLS:
            if not tool.is_store:
                continue
            found = _find_hidden(tool, graph, stage)
            if found is None or found[0].line in reported:
                continue
            filling, hiding = found
            reported.add(filling.line)
            yield Finding(
                rule="mount-hides",
                path=graph.path,
                line=filling.line,
                problem=f"this RUN downloads for {tool.name} into a layer, but the cache mount in line {hiding.line} "
                "hides that folder, so everything is downloaded again there; mount the same folder in both",
                stage=stage.name,
                seconds=facts.seconds.get(stage.name),
                lines=(hiding.line,),
            )


def _find_hidden(tool: CacheTool, graph: StageGraph, stage: Stage) -> tuple[Instruction, Instruction] | None:
    """Return the RUN that fills a folder in its layer, and the later one that mounts a cache over it."""
    filling = None
    for instruction in graph.inherited_instructions(stage):
        if not find_tool_commands(tool, instruction):
            continue
        folders = find_cache_folders(tool, graph, stage, instruction.line)
        targets = list_cache_targets(instruction)
        is_mounted = any(f"{folder}/".startswith(f"{target}/") for folder in folders for target in targets)
        if is_mounted and filling is not None:
            return filling, instruction
        if folders and not instruction.mounts and filling is None:
            filling = instruction
    return None
