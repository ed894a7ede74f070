"""What a RUN installs and with which tool: the steps that are worth a cache. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stagebake.dockerfile.package_managers import _APT, PackageManager, _tools_in
from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.stages import Stage, StageGraph
from stagebake.doctor.finding import Finding, RepositoryFacts, instructions_up_to

_CACHE_MOUNT = re.compile(r"--mount=(?:\S*,)?type=(?:cache|tmpfs)\b")
# What empties a cache, or goes past it
_DROPPED = re.compile(
    r"\s*(?:--no-cache(?:-dir)?\b|(?:&&|;)\s*(?:rm -rf? /var/lib/apt/lists/?\*?|apt(?:-get)? clean"
    r"|(?:npm|yarn) cache clean(?: --(?:all|force))?|pip3? cache purge)(?=\s*(?:&&|;|$)))"
)
# Variables by which tools keep their caches elsewhere, or none
_ELSEWHERE = re.compile(r"(?i)^(?:pip|uv|poetry|npm_config|yarn|pnpm|bun|go)_?(?:no_)?\w*(?:cache|home)\w*$|^GOPATH$")


@dataclass(frozen=True)
class PackageInstall:
    """A RUN that installs packages, with one tool or several."""

    stage: Stage
    instruction: Instruction
    tools: tuple[PackageManager, ...]

    @property
    def command(self) -> str:
        return self.instruction.command

    @property
    def says(self) -> str:
        """The install command in a few words."""
        found = self.tools[0].install.search(self.command)
        return " ".join(found[0].split()) if found else self.tools[0].name

    @property
    def manifests(self) -> tuple[str, ...]:
        """The files that say what to install."""
        return tuple(dict.fromkeys(name for tool in self.tools for name in tool.named_in(self.command)))

    @property
    def mounts(self) -> tuple[str, ...]:
        """The cache mounts of all its tools."""
        return tuple(dict.fromkeys(mount for tool in self.tools for mount in tool.mounts))

    def installs_in(self, text: str) -> bool:
        """Whether this part of the command installs something."""
        return any(tool.install.search(text) for tool in self.tools)


def find_installs(graph: StageGraph) -> Iterator[PackageInstall]:
    """Every RUN that installs packages and needs no code for it, in the stages that are built."""
    built = {stage.name for stage in graph.needed_stages()}
    for stage in graph.stages:
        for instruction in stage.instructions:
            if stage.name in built and instruction.keyword == "RUN" and (tools := _tools_in(instruction.command)):
                yield PackageInstall(stage, instruction, tools)


def missing_cache_mounts(graph: StageGraph, facts: RepositoryFacts) -> Iterator[Finding]:
    """An install without a cache mount downloads everything again for one changed line."""
    for install in find_installs(graph):
        instruction, stage = install.instruction, install.stage
        if not install.mounts or _CACHE_MOUNT.search(" ".join(instruction.flags)) or _elsewhere(graph, install):
            continue
        yield Finding(
            rule="cache-mount",
            path=graph.path,
            line=instruction.line,
            what=f"`{install.says}` has no cache mount: when it runs again, it downloads every package again",
            fix=with_mounts(install),
            stage=stage.name,
            seconds=facts.seconds.get(stage.name),
        )


def with_mounts(install: PackageInstall) -> tuple[str, ...]:
    """The RUN with the cache mounts of its tools, and without what would empty them."""
    head, *more = (*install.mounts, *install.instruction.flags)
    kept = _DROPPED.sub("", install.command)
    if "\n" not in kept:
        kept = re.sub(r"\s{2,}", " ", kept)
        # Debian's images delete what apt downloads as soon as it is installed
        kept = f"rm -f /etc/apt/apt.conf.d/docker-clean && {kept}" if _APT[0] in install.mounts else kept
    return (f"RUN {head} \\", *(f"    {flag} \\" for flag in more), *f"    {kept}".splitlines())


def separate_apt_updates(graph: StageGraph, facts: RepositoryFacts) -> Iterator[Finding]:
    """An `apt-get update` in a RUN of its own is restored for months, and later installs then ask for what is gone."""
    for stage in graph.needed_stages():
        for instruction in stage.instructions:
            text = instruction.command if instruction.keyword == "RUN" else ""
            if not re.search(r"\bapt(?:-get)?\s+(?:-\S+\s+)*update\b", text) or _mentions_install(text):
                continue
            later = [i for i in find_installs(graph) if _APT[0] in i.mounts and i.instruction.line > instruction.line]
            if later and not _CACHE_MOUNT.search(" ".join(instruction.flags)):
                yield Finding(
                    rule="apt-update",
                    path=graph.path,
                    line=instruction.line,
                    what="`apt-get update` in a RUN of its own: its result is cached, and a later install asks for "
                    "packages that the mirror no longer has",
                    fix=(f"RUN apt-get update && {later[0].command}",),
                    stage=stage.name,
                    seconds=facts.seconds.get(stage.name),
                )


def _mentions_install(text: str) -> bool:
    return bool(re.search(r"\bapt(?:-get)?\s(?:[^&|;\n]*\s)?(?:install|upgrade|dist-upgrade|build-dep|source)\b", text))


def _elsewhere(graph: StageGraph, install: PackageInstall) -> bool:
    """Whether the caches are not where root has them: under a USER, or where a variable puts them."""
    before = [i for _, i in instructions_up_to(graph, install.stage) if i.line < install.instruction.line]
    users = [instruction.args[0].partition(":")[0] for instruction in before if instruction.keyword == "USER"]
    names = [name for instruction in before if instruction.keyword == "ENV" for name in instruction.args[::3]]
    moved = any(_ELSEWHERE.match(name) for name in names) and _APT[0] not in install.mounts
    return moved or (bool(users) and users[-1] not in ("root", "0"))
