"""Find what gives another result on another day: a cache keeps the old one, and a rebuild brings a new one unasked."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stagebake.dockerfile.parser import Instruction
from stagebake.doctor.finding import Finding
from stagebake.doctor.reading.cache_tools import APT, find_tool_commands, join_arguments
from stagebake.doctor.reading.shell_commands import read_commands, read_script, write_run
from stagebake.doctor.reading.subject import Subject

_APT_UPDATE = re.compile(r"\bapt(?:-get)?\s+(?:-\S+\s+)*update\b")
_APT_INSTALL = re.compile(r"\bapt(?:-get)?\s(?:[^&|;\n]*\s)?(?:install|upgrade|dist-upgrade|build-dep|source)\b")
_CLONE = re.compile(r"git (?:-\S+ \S+ )*clone\b")
_PINS_CLONE = re.compile(r"git (?:\S+ )*?(?:checkout|reset|fetch|switch)\b|--branch\b|(?<=\s)-b\s|--revision\b")
_MOVING_ADDRESS = re.compile(
    r"https?://[^\s\"';|&)]*?(?:/latest/|/master/|/main/|/HEAD/|/nightly/|[-_/]latest(?:[-._][\w.-]*)?(?=[\s\"';|&)]|$))"
)
_UPGRADE = re.compile(
    r"(?:apt(?:-get)? (?:-\S+ )*(?:dist-|full-)?upgrade|apk (?:-\S+ )*upgrade"
    r"|(?:dnf|yum) (?:-\S+ )*(?:update|upgrade)(?! \S))\b"
)
_VERSION = re.compile(r"(?:^|_)VERSION$", re.IGNORECASE)


def find_moving_sources(subject: Subject) -> Iterator[Finding]:
    """Find clones without a commit or tag, moving addresses, and upgrades of the system."""
    graph = subject.graph
    for stage in graph.needed_stages():
        for instruction in stage.instructions:
            if instruction.keyword == "RUN":
                yield from _examine_run(instruction, graph.path)
            elif instruction.keyword == "ADD":
                yield from _examine_add(instruction, graph.path)


def _examine_run(instruction: Instruction, path: str) -> Iterator[Finding]:
    texts = [join_arguments(command) for command in read_commands(instruction)]
    clones = [text for text in texts if _CLONE.match(text)]
    if clones and not any(_PINS_CLONE.search(text) for text in texts):
        yield _note(
            "unpinned-clone",
            instruction,
            path,
            "`git clone` without a tag or commit takes what is newest when it runs; a cache keeps that for months, and "
            "the next rebuild brings another; name a tag with --branch, or check out a commit",
        )
    moving = _MOVING_ADDRESS.search(instruction.full_text)
    if moving:
        yield _note(
            "moving-address",
            instruction,
            path,
            f"`{moving[0]}` has other content with each release, and a cached step does not notice; name a version",
        )
    if any(_UPGRADE.match(text) for text in texts):
        yield _note(
            "os-upgrade",
            instruction,
            path,
            "an upgrade of the system is cached like any step, so it does not bring newer packages, and stores those "
            "that it replaces twice; use a newer base image",
        )


def _examine_add(instruction: Instruction, path: str) -> Iterator[Finding]:
    remote = [word for word in instruction.args[:-1] if re.match(r"https?://", word) and not word.endswith(".git")]
    if remote and instruction.flag_value("checksum") is None:
        yield _note(
            "add-checksum",
            instruction,
            path,
            f"BuildKit downloads `{remote[0]}` at each build to see whether it changed; with --checksum it does not",
        )


def find_missing_versions(subject: Subject) -> Iterator[Finding]:
    """Find each ARG for a version without a default that a RUN, a COPY or a FROM uses."""
    graph = subject.graph
    for stage in graph.needed_stages():
        for position, instruction in enumerate(stage.instructions):
            if instruction.keyword != "ARG":
                continue
            for name, default in instruction.declarations:
                is_given = name in graph.args or graph.variables.get(name)
                is_missing = default is None and _VERSION.search(name) and not is_given
                if is_missing and _is_fetched(name, stage.instructions[position:]):
                    yield _note(
                        "version-default",
                        instruction,
                        graph.path,
                        f"ARG {name} chooses what is downloaded, but has no default, so a build without it gets "
                        "another result or fails; give it a default",
                    )


def _is_fetched(name: str, later: tuple[Instruction, ...]) -> bool:
    """Return whether a download names the variable."""
    for instruction in later:
        uses = re.search(rf"\$\{{?{name}\b", instruction.full_text)
        if (
            uses
            and re.search(r"https?://|\b(?:install|add|clone)\b", instruction.full_text)
            and instruction.keyword != "ARG"
        ):
            return True
    return False


def _note(rule: str, instruction: Instruction, path: str, problem: str) -> Finding:
    return Finding(rule=rule, path=path, line=instruction.line, problem=problem, is_note=True)


def find_separate_apt_updates(subject: Subject) -> Iterator[Finding]:
    """Find each `apt-get update` in a separate RUN: its cached package list gets old, and later installs fail."""
    graph, facts = subject.graph, subject.facts
    for stage in graph.needed_stages():
        for position, instruction in enumerate(stage.instructions):
            if not _only_updates(instruction) or instruction.mounts:
                continue
            installs = [other for other in stage.instructions[position:] if find_tool_commands(APT, other)]
            if not installs:
                continue
            update = read_script(instruction).rstrip()
            yield Finding(
                rule="apt-update",
                path=graph.path,
                line=instruction.line,
                problem="`apt-get update` in a separate RUN is cached, so a later install uses an old package list and "
                "asks the mirror for packages that it no longer has",
                fix=write_run(installs[0], f"{update} && {read_script(installs[0])}"),
                stage=stage.name,
                seconds=facts.seconds.get(stage.name),
                is_note=True,
            )


def _only_updates(instruction: Instruction) -> bool:
    """Return whether a RUN updates apt's package list and installs nothing."""
    if instruction.keyword != "RUN":
        return False
    command = instruction.command
    return bool(_APT_UPDATE.search(command)) and not _APT_INSTALL.search(command)
