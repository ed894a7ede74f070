"""What a RUN installs and with which tool: the steps that are worth a cache. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stagebake.dockerfile import Stage, StageGraph
from stagebake.rules.finding import Facts, Finding, command, line_up
from stagebake.syntax import Instruction

_APT = (
    "--mount=type=cache,target=/var/cache/apt,sharing=locked",
    "--mount=type=cache,target=/var/lib/apt/lists,sharing=locked",
)


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A package manager: how its install command looks, the files that say what to install, its cache mounts."""

    name: str
    install: re.Pattern[str]
    manifests: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()

    def named_in(self, text: str) -> tuple[str, ...]:
        """The files that say what to install: those that the command names, else those of the tool."""
        named = _REQUIREMENTS.findall(text) if self.name in ("pip", "uv") else ()
        return tuple(named) or self.manifests


def _tool(name: str, install: str, manifests: str = "", cache: str = "") -> Tool:
    mounts = _APT if name == "apt-get" else (f"--mount=type=cache,target={cache}",) if cache else ()
    return Tool(name=name, install=re.compile(rf"\b{install}"), manifests=tuple(manifests.split()), mounts=mounts)


_PNPM = "package.json pnpm-lock.yaml pnpm-workspace.yaml .npmrc"

# The caches' places are those of root, by the tools' own documentation; a tool without one gets no advice on mounts
TOOLS = (
    _tool("apt-get", r"apt(?:-get)?\s(?:[^&|;\n]*\s)?install\b"),
    _tool("apk", r"apk\s(?:[^&|;\n]*\s)?add\b"),
    _tool("dnf", r"(?:micro)?(?:dnf|yum)\s(?:[^&|;\n]*\s)?install\b"),
    _tool("uv", r"uv\s+(?:pip\s+install|sync)\b", "pyproject.toml uv.lock", "/root/.cache/uv"),
    _tool("poetry", r"poetry\s+install\b", "pyproject.toml poetry.lock", "/root/.cache/pypoetry"),
    _tool("pip", r"(?<!uv )pip3?\s(?:[^&|;\n]*\s)?install\b", cache="/root/.cache/pip"),
    _tool("npm", r"npm\s+(?:ci|install|i)\b", "package.json package-lock.json .npmrc", "/root/.npm"),
    _tool("yarn", r"yarn\s+(?:install\b|--)", "package.json yarn.lock .yarnrc.yml", "/usr/local/share/.cache/yarn"),
    _tool("pnpm", r"pnpm\s+(?:install|i)\b", _PNPM, "/root/.local/share/pnpm/store"),
    _tool("bun", r"bun\s+(?:install|i)\b", "package.json bun.lock bun.lockb bunfig.toml", "/root/.bun/install/cache"),
    _tool("pipenv", r"pipenv\s+(?:install|sync)\b", "Pipfile Pipfile.lock", "/root/.cache/pipenv"),
    _tool("conda", r"(?:micro)?(?:conda|mamba)\s(?:[^&|;\n]*\s)?(?:install|create|update)\b", "environment.yml"),
    _tool("mvn", r"mvnw?\s(?:[^&|;\n]*\s)?dependency:(?:go-offline|resolve)\b", "pom.xml"),
    _tool("go", r"go\s+mod\s+download\b", "go.mod go.sum", "/go/pkg/mod"),
    _tool("bundle", r"bundle\s+install\b", "Gemfile Gemfile.lock"),
    _tool("composer", r"composer\s(?:[^&|;\n]*\s)?install\b", "composer.json composer.lock"),
)

_REQUIREMENTS = re.compile(r"\s(?:-r|-c|--requirement|--constraint)[\s=]*([\w./-]+)")
# Of a local package the files themselves are installed, and -g installs what no file of the context names
_NEEDS_CODE = re.compile(
    r"\sinstall\s(?:[^&|;\n]*\s)?(?:-e\b|--editable\b|\.{1,2}(?=[\s\[/&;]|$)|\./|\S+\.(?:deb|rpm|whl)\b)"
)
_CACHE_MOUNT = re.compile(r"--mount=(?:\S*,)?type=(?:cache|tmpfs)\b")
# What empties a cache, or goes past it
_DROPPED = re.compile(
    r"\s*(?:--no-cache(?:-dir)?\b|(?:&&|;)\s*(?:rm -rf? /var/lib/apt/lists/?\*?|apt(?:-get)? clean"
    r"|(?:npm|yarn) cache clean(?: --(?:all|force))?|pip3? cache purge)(?=\s*(?:&&|;|$)))"
)
# Variables by which tools keep their caches elsewhere, or none
_ELSEWHERE = re.compile(r"(?i)^(?:pip|uv|poetry|npm_config|yarn|pnpm|bun|go)_?(?:no_)?\w*(?:cache|home)\w*$|^GOPATH$")


@dataclass(frozen=True)
class Install:
    """A RUN that installs packages, with one tool or several."""

    stage: Stage
    instruction: Instruction
    tools: tuple[Tool, ...]

    @property
    def command(self) -> str:
        return command(self.instruction)

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


def installs(graph: StageGraph) -> Iterator[Install]:
    """Every RUN that installs packages and needs no code for it, in the stages that are built."""
    built = {stage.name for stage in graph.needed()}
    for stage in graph.stages:
        for instruction in stage.instructions:
            if stage.name in built and instruction.keyword == "RUN" and (tools := _tools_in(command(instruction))):
                yield Install(stage, instruction, tools)


def is_install(step: str) -> bool:
    """Whether a step, as BuildKit names it, installs packages."""
    return step.startswith("RUN ") and bool(_tools_in(step))


def _tools_in(text: str) -> tuple[Tool, ...]:
    """The tools that a command installs packages with; none where it installs none, or the code itself."""
    return () if _NEEDS_CODE.search(text) else tuple(tool for tool in TOOLS if tool.install.search(text))


def cache_mounts(graph: StageGraph, facts: Facts) -> Iterator[Finding]:
    """An install without a cache mount downloads everything again for one changed line."""
    for install in installs(graph):
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


def with_mounts(install: Install) -> tuple[str, ...]:
    """The RUN with the cache mounts of its tools, and without what would empty them."""
    head, *more = (*install.mounts, *install.instruction.flags)
    kept = _DROPPED.sub("", install.command)
    if "\n" not in kept:
        kept = re.sub(r"\s{2,}", " ", kept)
        # Debian's images delete what apt downloads as soon as it is installed
        kept = f"rm -f /etc/apt/apt.conf.d/docker-clean && {kept}" if _APT[0] in install.mounts else kept
    return (f"RUN {head} \\", *(f"    {flag} \\" for flag in more), *f"    {kept}".splitlines())


def apt_updates(graph: StageGraph, facts: Facts) -> Iterator[Finding]:
    """An `apt-get update` in a RUN of its own is restored for months, and later installs then ask for what is gone."""
    for stage in graph.needed():
        for instruction in stage.instructions:
            text = command(instruction) if instruction.keyword == "RUN" else ""
            if not re.search(r"\bapt(?:-get)?\s+(?:-\S+\s+)*update\b", text) or _mentions_install(text):
                continue
            later = [i for i in installs(graph) if _APT[0] in i.mounts and i.instruction.line > instruction.line]
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


def _elsewhere(graph: StageGraph, install: Install) -> bool:
    """Whether the caches are not where root has them: under a USER, or where a variable puts them."""
    before = [i for _, i in line_up(graph, install.stage) if i.line < install.instruction.line]
    users = [instruction.args[0].partition(":")[0] for instruction in before if instruction.keyword == "USER"]
    names = [name for instruction in before if instruction.keyword == "ENV" for name in instruction.args[::3]]
    moved = any(_ELSEWHERE.match(name) for name in names) and _APT[0] not in install.mounts
    return moved or (bool(users) and users[-1] not in ("root", "0"))
