"""Know the tools that keep a cache of downloads or of compiled code: their commands, folders and variables.

The folders are those of root in each tool's documentation and in Docker's official images.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.stages import ImageReference, Stage, StageGraph
from stagebake.doctor.reading.shell_commands import ShellCommand, read_commands

APT_ARCHIVES = "/var/cache/apt"
APT_LISTS = "/var/lib/apt/lists"


@dataclass(frozen=True, kw_only=True)
class CacheTool:
    """Tool with a cache: which commands use it, where it is, and what moves, disables or empties it.

    `uses` matches the arguments of a command. `folders` are the default ones; `moved_by` maps a variable to the folders
    below its value. `image_folders` are those of images whose name has that word. `is_store` says that later commands
    need the folder's content, rather than being faster with it. `empties` matches commands that empty the cache,
    `bypasses` a flag of `uses` that does not use it, `disabled_by` variables with the same effect.
    """

    name: str
    uses: re.Pattern[str]
    folders: tuple[str, ...]
    moved_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    image_folders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_store: bool = False
    compiles: bool = False
    locked: bool = False
    empties: re.Pattern[str] | None = None
    bypasses: tuple[str, ...] = ()
    disabled_by: tuple[str, ...] = ()

    def is_used_by(self, command: ShellCommand) -> bool:
        """Return whether a command uses the cache."""
        return bool(self.uses.match(join_arguments(command)))

    def is_emptied_by(self, command: ShellCommand) -> bool:
        """Return whether a command empties the cache, as `npm cache clean`; `rm` is not looked at."""
        return self.empties is not None and bool(self.empties.match(join_arguments(command)))

    def bypass_flags(self, command: ShellCommand) -> tuple[str, ...]:
        """Return the flags of a command with which it does not use the cache."""
        return tuple(word for word in command.arguments if word in self.bypasses)

    def mount_flags(self, folders: Iterable[str]) -> tuple[str, ...]:
        """Return the flags of a RUN that mount these folders."""
        sharing = ",sharing=locked" if self.locked else ""
        return tuple(f"--mount=type=cache,target={folder}{sharing}" for folder in folders)


# Images without the compilers that have other folders elsewhere
_PLAIN_IMAGE = re.compile(
    r"(?:^|/)(?:alpine|debian|ubuntu|fedora|rockylinux|almalinux|centos|python|node|ruby|php|openjdk|eclipse-temurin"
    r"|buildpack-deps|amazoncorretto|cuda|jdk)(?:[:@-]|$)"
)


def join_arguments(command: ShellCommand) -> str:
    """Return a command as its program without folder, and its arguments, with one space between them."""
    return " ".join((command.program, *command.arguments[1:]))


def find_tool_commands(tool: CacheTool, instruction: Instruction) -> tuple[ShellCommand, ...]:
    """Return the commands of a RUN that use the cache of a tool."""
    if instruction.keyword != "RUN":
        return ()
    return tuple(command for command in read_commands(instruction) if tool.is_used_by(command))


def find_cache_folders(tool: CacheTool, graph: StageGraph, stage: Stage, line: int) -> tuple[str, ...]:
    """Return where a RUN at that line finds the cache of a tool; nothing where this is unknown or the cache is off."""
    folders = _default_folders(tool, root_image(graph, stage))
    for instruction in graph.inherited_instructions(stage):
        if instruction.keyword not in ("ENV", "ARG") or instruction.line >= line:
            continue
        for name, value in _list_values(instruction):
            if name.upper() in tool.disabled_by and value.strip("\"'").lower() not in ("", "0", "false", "off", "no"):
                return ()
            below = tool.moved_by.get(name.upper())
            if below is not None:
                folder = value.strip("\"'").rstrip("/")
                if "$" in folder or not folder.startswith("/"):
                    return ()
                folders = tuple(f"{folder}{part}" for part in below) or folders
    return folders


def root_image(graph: StageGraph, stage: Stage) -> str:
    """Return the image that a stage is made from, through the stages below it; "" for scratch."""
    base = graph.base_stage(stage)
    while base is not None:
        stage = base
        base = graph.base_stage(stage)
    return stage.base.name if isinstance(stage.base, ImageReference) else ""


def runs_as_root(graph: StageGraph, stage: Stage, line: int) -> bool:
    """Return whether the RUN at that line runs as root, as far as the Dockerfile says."""
    user = "root"
    for instruction in graph.inherited_instructions(stage):
        if instruction.keyword == "USER" and instruction.line < line:
            user = instruction.args[0].partition(":")[0]
    return user in ("root", "0")


def _default_folders(tool: CacheTool, image: str) -> tuple[str, ...]:
    for word, folders in tool.image_folders.items():
        if word in image:
            return folders
    if tool.image_folders and not _PLAIN_IMAGE.search(image):
        return ()  # an image of someone's own may have the tool anywhere
    return tool.folders


def _list_values(instruction: Instruction) -> list[tuple[str, str]]:
    if instruction.keyword == "ENV":
        return list(instruction.assignments)
    return [(name, default) for name, default in instruction.declarations if default is not None]


def _tool(name: str, uses: str, folders: str, **options: object) -> CacheTool:
    return CacheTool(name=name, uses=re.compile(uses), folders=tuple(folders.split()), **options)  # type: ignore[arg-type]


APT = _tool(
    "apt-get",
    r"apt(?:-get)? (?:\S+ )*?(?:install|upgrade|dist-upgrade|full-upgrade|build-dep)\b",
    f"{APT_ARCHIVES} {APT_LISTS}",
    locked=True,
    empties=re.compile(r"apt(?:-get)? (?:-\S+ )*(?:auto)?clean\b"),
)
APK = _tool("apk", r"apk (?:\S+ )*?add\b", "/var/cache/apk", bypasses=("--no-cache",))

CACHE_TOOLS = (
    APT,
    _tool(
        "pip",
        r"(?:pip3?(?:\.\d+)?|python3?(?:\.\d+)? -m pip) (?:\S+ )*?(?:install|wheel|download)\b",
        "/root/.cache/pip",
        moved_by={"PIP_CACHE_DIR": ("",), "XDG_CACHE_HOME": ("/pip",)},
        empties=re.compile(r"pip3? cache (?:purge|remove)"),
        bypasses=("--no-cache-dir", "--no-cache"),
        disabled_by=("PIP_NO_CACHE_DIR",),
    ),
    _tool(
        "uv",
        r"uv (?:\S+ )*?(?:pip install|pip sync|sync|tool install)\b",
        "/root/.cache/uv",
        moved_by={"UV_CACHE_DIR": ("",), "XDG_CACHE_HOME": ("/uv",)},
        empties=re.compile(r"uv cache (?:clean|prune)"),
        bypasses=("--no-cache", "--no-cache-dir", "-n"),
        disabled_by=("UV_NO_CACHE",),
    ),
    _tool(  # the folder above has the virtual environments as well, which the image needs
        "poetry",
        r"poetry (?:\S+ )*?(?:install|sync)\b",
        "/root/.cache/pypoetry/cache /root/.cache/pypoetry/artifacts",
        moved_by={
            "POETRY_CACHE_DIR": ("/cache", "/artifacts"),
            "XDG_CACHE_HOME": ("/pypoetry/cache", "/pypoetry/artifacts"),
        },
        empties=re.compile(r"poetry cache clear"),
        bypasses=("--no-cache",),
    ),
    _tool(
        "pipenv",
        r"pipenv (?:\S+ )*?(?:install|sync)\b",
        "/root/.cache/pip /root/.cache/pipenv",
        moved_by={"PIPENV_CACHE_DIR": ("",), "PIP_CACHE_DIR": ("",), "XDG_CACHE_HOME": ("/pipenv", "/pip")},
        disabled_by=("PIP_NO_CACHE_DIR",),
    ),
    _tool(
        "npm",
        r"npm (?:-\S+ )*(?:ci|install|i)\b",
        "/root/.npm",
        moved_by={"NPM_CONFIG_CACHE": ("",)},
        empties=re.compile(r"npm cache (?:clean|rm)"),
    ),
    _tool(
        "yarn",
        r"yarn(?: install\b| --\S+| global add\b|$)",
        "/usr/local/share/.cache/yarn",
        moved_by={"YARN_CACHE_FOLDER": ("",)},
        empties=re.compile(r"yarn cache clean"),
    ),
    _tool(
        "pnpm",
        r"pnpm (?:-\S+ )*(?:install|i|fetch|add|deploy)\b",
        "/root/.local/share/pnpm/store",
        moved_by={"PNPM_HOME": ("/store",), "NPM_CONFIG_STORE_DIR": ("",), "XDG_DATA_HOME": ("/pnpm/store",)},
        empties=re.compile(r"pnpm store prune"),
        is_store=True,
    ),
    _tool(
        "bun",
        r"bun (?:-\S+ )*(?:install|i|add)\b",
        "/root/.bun/install/cache",
        moved_by={"BUN_INSTALL_CACHE_DIR": ("",), "BUN_INSTALL": ("/install/cache",)},
        empties=re.compile(r"bun pm cache rm"),
        bypasses=("--no-cache",),
    ),
    _tool(
        "go",
        r"(?:xx-)?go (?:build|install|test|run|generate|vet|list|get|mod (?:download|tidy|verify|vendor))\b",
        "/root/go/pkg/mod",
        image_folders={"golang": ("/go/pkg/mod",)},
        moved_by={"GOPATH": ("/pkg/mod",), "GOMODCACHE": ("",)},
        empties=re.compile(r"go clean (?:-\S+ )*-modcache"),
        is_store=True,
    ),
    _tool(
        "go build",
        r"(?:xx-)?go (?:build|install|test|run|generate|vet)\b",
        "/root/.cache/go-build",
        image_folders={"golang": ("/root/.cache/go-build",)},
        moved_by={"GOCACHE": ("",), "XDG_CACHE_HOME": ("/go-build",)},
        empties=re.compile(r"go clean (?:-\S+ )*-cache"),
        compiles=True,
    ),
    _tool(
        "cargo",
        r"(?:xx-|just-)?cargo (?!--version|-V|new|init|fmt|chef prepare)(?:chef )?\S+",
        "/root/.cargo/registry /root/.cargo/git",
        image_folders={
            "rust": ("/usr/local/cargo/registry", "/usr/local/cargo/git"),
            "cargo-chef": ("/usr/local/cargo/registry", "/usr/local/cargo/git"),
        },
        moved_by={"CARGO_HOME": ("/registry", "/git")},
        is_store=True,
        compiles=True,
    ),
    _tool(
        "mvn",
        r"mvnw?(?: \S+|$)",  # every call: what one downloads into a layer, the mount of another would hide
        "/root/.m2/repository",
        is_store=True,
        compiles=True,
    ),
    _tool(
        "gradle",
        r"gradlew?(?: \S+|$)",
        "/root/.gradle",
        image_folders={"gradle": ("/home/gradle/.gradle",)},
        moved_by={"GRADLE_USER_HOME": ("",)},
        is_store=True,
        compiles=True,
    ),
    _tool(
        "nuget",
        r"dotnet (?:restore|build|publish|test|pack|run|tool|msbuild|ef)\b",
        "/root/.nuget/packages",
        moved_by={"NUGET_PACKAGES": ("",)},
        empties=re.compile(r"dotnet nuget locals \S+ --clear"),
        is_store=True,
        compiles=True,
    ),
    _tool(
        "composer",
        r"(?:composer|php \S*composer(?:\.phar)?) (?:-\S+ )*(?:install|update|require|create-project)\b",
        "/root/.composer/cache",
        image_folders={"composer": ("/tmp/cache",)},  # noqa: S108 - the folder of Docker's image `composer`
        moved_by={"COMPOSER_HOME": ("/cache",), "COMPOSER_CACHE_DIR": ("",)},
        empties=re.compile(r"composer (?:clear-?cache|cc)\b"),
        bypasses=("--no-cache",),
    ),
    _tool(
        "mix",
        r"(?:\S+ )?mix (?:do )?deps\.get\b",
        "/root/.hex",
        moved_by={"HEX_HOME": ("",)},
    ),
    _tool(
        "conda",
        r"(?:conda|mamba) (?:\S+ )*?(?:install|create|update)\b",
        "/opt/conda/pkgs",
        moved_by={"CONDA_PKGS_DIRS": ("",)},
        empties=re.compile(r"(?:conda|mamba) clean"),
    ),
    _tool(
        "dnf",
        r"(?:dnf|yum) (?:\S+ )*?(?:install|update|upgrade)\b",
        "/var/cache/dnf",
        locked=True,
        empties=re.compile(r"(?:dnf|yum) (?:-\S+ )*clean"),
    ),
)
