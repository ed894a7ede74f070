"""Recognize package managers in RUN commands: install command and manifest files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.stages import Stage, StageGraph

_REQUIREMENTS = re.compile(r"\s(?:-r|-c|--requirement|--constraint)[\s=]*([\w./-]+)")
# A local package needs the code itself. What -g installs is not listed in any file of the context.
_NEEDS_CODE = re.compile(
    r"\sinstall\s(?:[^&|;\n]*\s)?(?:-e\b|--editable\b|\.{1,2}(?=[\s\[/&;]|$)|\./|\S+\.(?:deb|rpm|whl)\b)"
)
_PNPM_FILES = "package.json pnpm-lock.yaml pnpm-workspace.yaml .npmrc"


_NODE_MANAGERS = ("npm", "yarn", "pnpm", "bun")
_GLOBAL = re.compile(r"\s(?:-g|--global|global)(?=\s|$)")


@dataclass(frozen=True, kw_only=True)
class PackageManager:
    """Package manager: the pattern of its install command, and its manifest files."""

    name: str
    install: re.Pattern[str]
    manifests: tuple[str, ...] = ()

    def find_manifests(self, command: str) -> tuple[str, ...]:
        """Return the files that say what to install: those that the command names, else the usual ones."""
        named = _REQUIREMENTS.findall(command) if self.name in ("pip", "uv") else ()
        if not named and self.name in _NODE_MANAGERS and not _installs_listed(self, command):
            return ()
        return tuple(named) or self.manifests


@dataclass(frozen=True)
class PackageInstall:
    """RUN that installs packages with one or several package managers."""

    stage: Stage
    instruction: Instruction
    managers: tuple[PackageManager, ...]

    @property
    def command(self) -> str:
        return self.instruction.command

    @property
    def short_command(self) -> str:
        """Return the install command without its arguments."""
        first = self.managers[0]
        found = first.install.search(self.command)
        return " ".join(found[0].split()) if found else first.name

    @property
    def manifests(self) -> tuple[str, ...]:
        """Return the files that say what to install."""
        names: list[str] = []
        for manager in self.managers:
            names += manager.find_manifests(self.command)
        return tuple(dict.fromkeys(names))

    def installs_in(self, text: str) -> bool:
        """Return whether this part of the command installs packages."""
        return any(manager.install.search(text) for manager in self.managers)


def find_installs(graph: StageGraph) -> Iterator[PackageInstall]:
    """Find each RUN that installs packages without needing the code, in the stages that are built."""
    needed = graph.needed_stages()
    for stage in graph.stages:
        if stage not in needed:
            continue
        for instruction in stage.instructions:
            managers = find_package_managers(instruction.command) if instruction.keyword == "RUN" else ()
            if managers:
                yield PackageInstall(stage, instruction, managers)


def find_package_managers(command: str) -> tuple[PackageManager, ...]:
    """Return the package managers that a command installs packages with; none where it installs the code itself."""
    if _NEEDS_CODE.search(command):
        return ()
    return tuple(manager for manager in PACKAGE_MANAGERS if manager.install.search(command))


def is_install(step: str) -> bool:
    """Return whether a step, as BuildKit names it, installs packages."""
    return step.startswith("RUN ") and bool(find_package_managers(step))


def _installs_listed(manager: PackageManager, command: str) -> bool:
    """Return whether one of the installs of a command is not a global one, so that it reads manifests."""
    for part in re.split(r"&&|\|\||[;|&\n]", command):
        if manager.install.search(part) and not _GLOBAL.search(part):
            return True
    return False


def _manager(name: str, install: str, manifests: str = "") -> PackageManager:
    return PackageManager(name=name, install=re.compile(rf"\b{install}"), manifests=tuple(manifests.split()))


PACKAGE_MANAGERS = (
    _manager("apt-get", r"apt(?:-get)?\s(?:[^&|;\n]*\s)?install\b"),
    _manager("apk", r"apk\s(?:[^&|;\n]*\s)?add\b"),
    _manager("dnf", r"(?:micro)?(?:dnf|yum)\s(?:[^&|;\n]*\s)?install\b"),
    _manager("uv", r"uv\s+(?:pip\s+install|sync)\b", "pyproject.toml uv.lock"),
    _manager("poetry", r"poetry\s+install\b", "pyproject.toml poetry.lock"),
    _manager("pip", r"(?<!uv )pip3?\s(?:[^&|;\n]*\s)?install\b"),
    _manager("npm", r"npm\s+(?:ci|install|i)\b", "package.json package-lock.json .npmrc"),
    _manager("yarn", r"yarn\s+(?:install\b|--)", "package.json yarn.lock .yarnrc.yml"),
    _manager("pnpm", r"pnpm\s+(?:install|i)\b", _PNPM_FILES),
    _manager("bun", r"bun\s+(?:install|i)\b", "package.json bun.lock bun.lockb bunfig.toml"),
    _manager("pipenv", r"pipenv\s+(?:install|sync)\b", "Pipfile Pipfile.lock"),
    _manager("conda", r"(?:micro)?(?:conda|mamba)\s(?:[^&|;\n]*\s)?(?:install|create|update)\b", "environment.yml"),
    _manager("mvn", r"mvnw?\s(?:[^&|;\n]*\s)?dependency:(?:go-offline|resolve)\b", "pom.xml"),
    _manager("go", r"go\s+mod\s+download\b", "go.mod go.sum"),
    _manager("bundle", r"bundle\s+install\b", "Gemfile Gemfile.lock"),
    _manager("composer", r"composer\s(?:[^&|;\n]*\s)?install\b", "composer.json composer.lock"),
)
