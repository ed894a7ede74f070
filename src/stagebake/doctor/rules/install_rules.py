"""Find RUN instructions that install packages and download more than they need, or outdated ones."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stagebake.dockerfile.package_managers import APT_MOUNTS, PackageInstall, find_installs
from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.stages import StageGraph
from stagebake.doctor.facts import RepositoryFacts
from stagebake.doctor.finding import Finding

# Commands and flags that empty a cache or bypass it
_CACHE_REMOVAL = re.compile(
    r"\s*(?:--no-cache(?:-dir)?\b|(?:&&|;)\s*(?:rm -rf? /var/lib/apt/lists/?\*?|apt(?:-get)? clean"
    r"|(?:npm|yarn) cache clean(?: --(?:all|force))?|pip3? cache purge)(?=\s*(?:&&|;|$)))"
)
# Variables that move or disable the cache of a package manager
_CACHE_VARIABLE = re.compile(
    r"(?i)^(?:pip|uv|poetry|npm_config|yarn|pnpm|bun|go)_?(?:no_)?\w*(?:cache|home)\w*$|^GOPATH$"
)
_APT_UPDATE = re.compile(r"\bapt(?:-get)?\s+(?:-\S+\s+)*update\b")
_APT_INSTALL = re.compile(r"\bapt(?:-get)?\s(?:[^&|;\n]*\s)?(?:install|upgrade|dist-upgrade|build-dep|source)\b")


def find_missing_cache_mounts(graph: StageGraph, facts: RepositoryFacts) -> Iterator[Finding]:
    """Find each install without a cache mount: one changed line downloads every package again."""
    for install in find_installs(graph):
        command = install.short_command
        if not install.mounts or _has_cache_mount(install.instruction) or _uses_other_cache(graph, install):
            continue
        yield Finding(
            rule="cache-mount",
            path=graph.path,
            line=install.instruction.line,
            problem=f"`{command}` has no cache mount, so it downloads every package again whenever it runs",
            fix=_add_cache_mounts(install),
            stage=install.stage.name,
            seconds=facts.seconds.get(install.stage.name),
        )


def _has_cache_mount(instruction: Instruction) -> bool:
    return any(mount.get("type") in ("cache", "tmpfs") for mount in instruction.mounts)


def _uses_other_cache(graph: StageGraph, install: PackageInstall) -> bool:
    """Return whether the cache is not in root's folders: after USER, or where a variable moves it."""
    user = "root"
    moved = False
    for instruction in graph.inherited_instructions(install.stage):
        if instruction.line >= install.instruction.line:
            continue
        if instruction.keyword == "USER":
            user = instruction.args[0].partition(":")[0]
        elif instruction.keyword == "ENV":
            moved = moved or any(_CACHE_VARIABLE.match(name) for name, _ in instruction.assignments)
    if user not in ("root", "0"):
        return True
    return moved and not _uses_apt(install)


def _uses_apt(install: PackageInstall) -> bool:
    return APT_MOUNTS[0] in install.mounts


def _add_cache_mounts(install: PackageInstall) -> tuple[str, ...]:
    """Return the RUN with the cache mounts of its package managers, without the commands that empty them."""
    first, *more = (*install.mounts, *install.instruction.flags)
    command = _CACHE_REMOVAL.sub("", install.command)
    if "\n" not in command:
        command = re.sub(r"\s{2,}", " ", command)
        if _uses_apt(install):
            # Debian's images delete what apt downloads as soon as it is installed
            command = f"rm -f /etc/apt/apt.conf.d/docker-clean && {command}"
    flags = [f"    {flag} \\" for flag in more]
    commands = f"    {command}".splitlines()
    return (f"RUN {first} \\", *flags, *commands)


def find_separate_apt_updates(graph: StageGraph, facts: RepositoryFacts) -> Iterator[Finding]:
    """Find each `apt-get update` in a separate RUN: its cached package list gets old, and later installs fail."""
    apt_installs = [install for install in find_installs(graph) if _uses_apt(install)]
    for stage in graph.needed_stages():
        for instruction in stage.instructions:
            later = [install for install in apt_installs if install.instruction.line > instruction.line]
            if not later or not _only_updates(instruction) or _has_cache_mount(instruction):
                continue
            yield Finding(
                rule="apt-update",
                path=graph.path,
                line=instruction.line,
                problem="`apt-get update` in a separate RUN is cached, so a later install uses an old package list and "
                "asks the mirror for packages that it no longer has",
                fix=(f"RUN apt-get update && {later[0].command}",),
                stage=stage.name,
                seconds=facts.seconds.get(stage.name),
            )


def _only_updates(instruction: Instruction) -> bool:
    """Return whether a RUN updates apt's package list and installs nothing."""
    if instruction.keyword != "RUN":
        return False
    command = instruction.command
    return bool(_APT_UPDATE.search(command)) and not _APT_INSTALL.search(command)
