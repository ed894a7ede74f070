"""Let a RUN keep what it downloads in cache mounts: add the mounts, and take out what empties or bypasses them.

A cache mount is in no layer. So what a command removes from a mounted folder was never in the image, and to leave the
command out is safe. A mount that is added takes what the command leaves in that folder out of the image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stagebake.dockerfile.package_managers import find_package_managers
from stagebake.dockerfile.stages import Stage
from stagebake.doctor.fixes.edit import Edit
from stagebake.doctor.proof.document import Document
from stagebake.doctor.proof.run_source import RunSource, split_run, split_words
from stagebake.doctor.proof.stage_state import StagePlace, is_within

# Folders that may be mounted without the folders of other tools: those of root in each tool's documentation
_FOLDERS = {
    "apt-get": ("/var/cache/apt", "/var/lib/apt/lists"),
    "uv": ("/root/.cache/uv",),
    "poetry": ("/root/.cache/pypoetry",),
    "pip": ("/root/.cache/pip",),
    "pipenv": ("/root/.cache/pipenv",),
    "npm": ("/root/.npm",),
    "yarn": ("/usr/local/share/.cache/yarn",),
    "pnpm": ("/root/.local/share/pnpm/store",),
    "bun": ("/root/.bun/install/cache",),
}

_DEFEATED_RULES = ("mount-defeated", "cache-mount")
_MOUNT_RULES = ("cache-mount",)
_DOCKER_CLEAN = "/etc/apt/apt.conf.d/docker-clean"
_KEEP_PACKAGES = f"rm -f {_DOCKER_CLEAN}"
_INSTALL = re.compile(r"apt(?:-get)?\s(?:[^&|;\n]*\s)?(?:install|upgrade|dist-upgrade|build-dep)\b")
_NO_CACHE_DIR = re.compile(r"\s+--no-cache-dir\b")
_UPDATE = re.compile(r"\bapt(?:-get)?\s+(?:-\S+\s+)*update\b")
_CACHE_COMMANDS = {
    ("npm", "cache", "clean"): "/root/.npm",
    ("pip", "cache", "purge"): "/root/.cache/pip",
    ("pip3", "cache", "purge"): "/root/.cache/pip",
    ("apt-get", "clean"): "/var/cache/apt",
    ("apt", "clean"): "/var/cache/apt",
}
# Variables that move or switch off the cache of a package manager
_CACHE_VARIABLE = re.compile(r"(?i)^(?:pip|uv|poetry|npm_config|yarn|pnpm|bun|go|xdg)_?(?:no_)?\w*(?:cache|home)\w*$")


def propose_mounts(document: Document, stage: Stage) -> Iterator[Edit]:
    """Return an edit for each RUN that empties its cache mounts, or that installs packages without one."""
    for place in document.list_places(stage):
        if place.keyword != "RUN" or place.state.shell:
            continue
        source = split_run(place.instruction, document.find_lines(place.instruction))
        if source is None:
            continue
        targets = _list_targets(place)
        if targets:
            yield from _keep_mounted(document, place, source, targets)
            yield from _keep_packages(document, stage, place, source)
        else:
            yield from _add_mounts(document, place, source)


def _list_targets(place: StagePlace) -> tuple[str, ...]:
    """Return the folders of the cache mounts of a RUN."""
    found = []
    for mount in place.instruction.mounts:
        target = mount.get("target") or mount.get("dst") or mount.get("destination") or ""
        path = place.state.find_path(target) if mount.get("type") == "cache" and target else None
        if path is not None:
            found.append(path)
    return tuple(found)


def _keep_mounted(document: Document, place: StagePlace, source: RunSource, targets: tuple[str, ...]) -> Iterator[Edit]:
    changed = _spare_caches(source, place, targets)
    if changed is None:
        return
    yield Edit(
        rules=_DEFEATED_RULES,
        line=place.instruction.line,
        title="leave out what empties its cache mounts, which are in no layer anyway",
        replacements=(document.replace_lines(place.instruction, changed),),
    )


def _keep_packages(document: Document, stage: Stage, place: StagePlace, source: RunSource) -> Iterator[Edit]:
    """Return the edit that lets apt keep its packages in a mounted folder; Debian's images configure it not to."""
    is_mounted = any(is_within("/var/cache/apt/archives", target) for target in _list_targets(place))
    installs = [command for command in source.commands if _INSTALL.match(command)]
    above = document.graph.inherited_instructions(stage)
    is_kept = any("docker-clean" in each.full_text for each in above if each.line <= place.instruction.line)
    if not is_mounted or not installs or is_kept or place.state.user not in (None, "root", "0"):
        return
    lines = _insert_after_head(document.find_lines(place.instruction), source.head, f"{_KEEP_PACKAGES} && ")
    yield Edit(
        rules=("docker-clean", *_MOUNT_RULES),
        line=place.instruction.line,
        title="let apt keep what it downloads in the mounted folder",
        replacements=(document.replace_lines(place.instruction, lines),),
        changes=f"{_DOCKER_CLEAN} is not in the image any more",
    )


def _spare_caches(source: RunSource, place: StagePlace, targets: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the lines of a RUN without what empties or bypasses the caches in these folders; None without any."""
    commands = list(source.commands)
    kept = []
    for number, command in enumerate(source.commands):
        words = split_words(command, place.state.variables)
        if words is None or not _empties_only(words, targets):
            kept.append(number)
        if words is None or not _is_pip(words):
            commands[number] = _drop_operands(command, words, targets)
        elif any(is_within("/root/.cache/pip", target) for target in targets):
            commands[number] = _NO_CACHE_DIR.sub("", command)
    if not kept or (len(kept) == len(commands) and tuple(commands) == source.commands):
        return None
    return RunSource(source.head, tuple(commands), source.joints).keep_commands(kept)


def _is_pip(words: tuple[str, ...]) -> bool:
    """Return whether a command is pip's, or pip of a virtual environment."""
    program = words[0].rpartition("/")[2]
    return program in ("pip", "pip3") or (program.startswith("python") and words[1:3] == ("-m", "pip"))


def _empties_only(words: tuple[str, ...], targets: tuple[str, ...]) -> bool:
    """Return whether all that a command does is to empty mounted folders."""
    for command, folder in _CACHE_COMMANDS.items():
        rest = words[len(command) :]
        if words[: len(command)] == command and all(word.startswith("-") for word in rest):
            return any(is_within(folder, target) for target in targets)
    paths = _removed_paths(words)
    return bool(paths) and all(_is_mounted(path, targets) for path in paths)


def _removed_paths(words: tuple[str, ...]) -> list[str]:
    is_removal = words[0] == "rm" and any(word in ("-rf", "-fr", "-r", "-Rf", "-f") for word in words)
    return [word for word in words[1:] if not word.startswith("-")] if is_removal else []


def _is_mounted(path: str, targets: tuple[str, ...]) -> bool:
    plain = path.split("*", 1)[0].rstrip("/")
    return path.startswith("/") and ".." not in path and any(is_within(plain, target) for target in targets)


def _drop_operands(command: str, words: tuple[str, ...] | None, targets: tuple[str, ...]) -> str:
    """Return an `rm` without the paths that are in mounted folders, where it has others, too."""
    paths = _removed_paths(words) if words else []
    mounted = [path for path in paths if _is_mounted(path, targets)]
    if len(mounted) == len(paths):
        return command
    for path in mounted:
        command = re.sub(rf"\s+{re.escape(path)}(?=\s|$)", "", command, count=1)
    return command


def _add_mounts(document: Document, place: StagePlace, source: RunSource) -> Iterator[Edit]:
    names = [manager.name for manager in find_package_managers(place.instruction.command)]
    folders = tuple(folder for name in names for folder in _FOLDERS.get(name, ()))
    if not folders or place.state.user not in (None, "root", "0") or place.instruction.mounts or _moves_cache(place):
        return
    uses_apt = "apt-get" in names
    if (uses_apt and _needs_layer_lists(document)) or "go" in names:
        return
    lines = _spare_caches(source, place, folders) or source.keep_commands(range(len(source.commands)))
    if uses_apt:
        lines = _insert_after_head(lines, source.head, f"{_KEEP_PACKAGES} && ")
    yield Edit(
        rules=_MOUNT_RULES,
        line=place.instruction.line,
        title="add cache mounts, so that the next run does not download every package again",
        replacements=(document.replace_lines(place.instruction, _mount_lines(lines, folders)),),
        changes=_describe_changes(names, place, folders),
    )


def _needs_layer_lists(document: Document) -> bool:
    """Return whether a RUN installs with the package lists that an earlier RUN left in a layer."""
    for stage in document.graph.stages:
        for instruction in stage.instructions:
            command = instruction.command if instruction.keyword == "RUN" else ""
            install = _INSTALL.search(command)
            if install is not None and not _UPDATE.search(command[: install.start()]):
                return True
    return False


def _insert_after_head(lines: tuple[str, ...], head: str, text: str) -> tuple[str, ...]:
    joined = "\n".join(lines)
    return tuple(f"{joined[: len(head)]}{text}{joined[len(head) :]}".split("\n"))


def _moves_cache(place: StagePlace) -> bool:
    """Return whether a variable moves the cache, or says where home is."""
    names = {*place.state.variables, *place.state.unsure}
    return any(_CACHE_VARIABLE.match(name) or name == "HOME" for name in names)


def _mount_lines(lines: tuple[str, ...], folders: tuple[str, ...]) -> tuple[str, ...]:
    """Return the lines of a RUN with the mount of each folder on a line of its own."""
    sharing = dict.fromkeys(_FOLDERS["apt-get"], ",sharing=locked")
    mounts = [f"--mount=type=cache,target={folder}{sharing.get(folder, '')} \\" for folder in folders]
    found = re.match(r"[ \t]*RUN[ \t]*", lines[0], re.IGNORECASE)
    start = found[0].rstrip() if found else "RUN"
    rest = lines[0][len(found[0]) if found else 0 :]
    more = [f"    {mount}" for mount in mounts[1:]]
    if rest.strip() != "\\":
        more.append(f"    {rest}")
    return (f"{start} {mounts[0]}", *more, *lines[1:])


def _describe_changes(names: list[str], place: StagePlace, folders: tuple[str, ...]) -> str:
    """Return what is not in the image any more; nothing where pip was told not to keep a cache."""
    if all(name in ("pip", "apk") for name in names) and _skips_all_caches(place.instruction.command):
        return ""
    text = f"what the command leaves in {' and '.join(folders)} is not in the image any more"
    if "apt-get" in names:
        text += f", and neither is {_DOCKER_CLEAN}, which makes apt delete what it downloads"
    return text


def _skips_all_caches(command: str) -> bool:
    return len(re.findall(r"\bpip3?\s", command)) == len(_NO_CACHE_DIR.findall(command))
