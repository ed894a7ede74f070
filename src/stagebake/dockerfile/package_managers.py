"""Recognize package managers in RUN commands: install command, manifest files, cache folders. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_APT = (
    "--mount=type=cache,target=/var/cache/apt,sharing=locked",
    "--mount=type=cache,target=/var/lib/apt/lists,sharing=locked",
)


@dataclass(frozen=True, kw_only=True)
class PackageManager:
    """A package manager: how its install command looks, the files that say what to install, its cache mounts."""

    name: str
    install: re.Pattern[str]
    manifests: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()

    def named_in(self, text: str) -> tuple[str, ...]:
        """The files that say what to install: those that the command names, else those of the tool."""
        named = _REQUIREMENTS.findall(text) if self.name in ("pip", "uv") else ()
        return tuple(named) or self.manifests


def _tool(name: str, install: str, manifests: str = "", cache: str = "") -> PackageManager:
    mounts = _APT if name == "apt-get" else (f"--mount=type=cache,target={cache}",) if cache else ()
    return PackageManager(
        name=name, install=re.compile(rf"\b{install}"), manifests=tuple(manifests.split()), mounts=mounts
    )


_PNPM = "package.json pnpm-lock.yaml pnpm-workspace.yaml .npmrc"


# The caches' places are those of root, by the tools' own documentation; a tool without one gets no advice on mounts
PACKAGE_MANAGERS = (
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


def is_install(step: str) -> bool:
    """Whether a step, as BuildKit names it, installs packages."""
    return step.startswith("RUN ") and bool(_tools_in(step))


def _tools_in(text: str) -> tuple[PackageManager, ...]:
    """The tools that a command installs packages with; none where it installs none, or the code itself."""
    return () if _NEEDS_CODE.search(text) else tuple(tool for tool in PACKAGE_MANAGERS if tool.install.search(text))
