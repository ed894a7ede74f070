"""Move a RUN or a WORKDIR above the COPY instructions that change, where the image stays the same.

What a moved `chown -R` or `chmod -R` does to copied files, flags of COPY do. The rules of COPY were measured on
BuildKit 0.25: an existing destination folder keeps its owner and mode, folders and files within it get those of the
source or of `--chown` and `--chmod`, and so do missing parent folders of the destination.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from stagebake.dockerfile.stages import Stage
from stagebake.doctor.fixes.edit import Edit, Replacement
from stagebake.doctor.proof.command_effects import CommandEffect, TreeChange, find_effect, is_system_path
from stagebake.doctor.proof.document import Document
from stagebake.doctor.proof.run_source import RunSource, split_run, split_words
from stagebake.doctor.proof.stage_state import StagePlace, StageState, is_within, overlap

_METADATA = ("CMD", "ENTRYPOINT", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD", "STOPSIGNAL", "VOLUME")
_PACKAGE_TOOL = re.compile(r"\b(?:apt|apt-get|apk|dpkg|dnf|microdnf|yum)\b|/var/(?:lib/apt|cache)")
# Folders of programs and of the libraries that they load; a COPY of one program into them is named in full
_TOOL_FOLDERS = frozenset({
    "/", "/bin", "/sbin", "/lib", "/lib64", "/usr", "/usr/bin", "/usr/lib", "/usr/local", "/usr/local/bin", "/usr/sbin",
})  # fmt: skip
_TOOLS = frozenset({"sh", "bash", "busybox", "chown", "chmod", "ln", "mkdir", "useradd", "groupadd", "apk", "apt-get"})
_OWNER_RULES = ("chown-after-copy", "run-after-code")
_SETUP_RULES = ("setup-after-code", "run-after-code")


def propose_moves(document: Document, stage: Stage) -> Iterator[Edit]:
    """Return an edit for each RUN and WORKDIR of a stage that can be above a COPY of changing files."""
    places = document.list_places(stage)
    for number, place in enumerate(places):
        if place.keyword == "RUN":
            move = _plan_move(document, places, number)
            if move is not None:
                yield _write_move(document, stage, move)
        elif place.keyword == "WORKDIR":
            yield from _move_workdir(document, places, number)


@dataclass(frozen=True, kw_only=True)
class _Move:
    """Plan to move commands of a RUN above the instruction `target`, and the COPYs that it passes."""

    place: StagePlace
    source: RunSource
    moved: dict[int, CommandEffect]
    target: StagePlace
    passed: tuple[StagePlace, ...]

    @property
    def trees(self) -> Iterator[TreeChange]:
        for effect in self.moved.values():
            if effect.tree is not None:
                yield effect.tree


def _plan_move(document: Document, places: tuple[StagePlace, ...], number: int) -> _Move | None:
    place = places[number]
    source = split_run(place.instruction, document.find_lines(place.instruction))
    if source is None or place.state.shell or _has_other_inputs(place):
        return None
    moved = _choose_commands(source, place.state)
    if not moved:
        return None
    effects = tuple(moved.values())
    target = number
    for above in range(number - 1, -1, -1):
        if not _may_pass(document, places[above], effects) or not _has_same_effects(source, moved, places[above]):
            break
        if places[above].takes_changing_files:
            target = above
    passed = tuple(each for each in places[target:number] if each.is_copy)
    if target == number:
        return None
    return _Move(place=place, source=source, moved=moved, target=places[target], passed=passed)


def _has_other_inputs(place: StagePlace) -> bool:
    """Return whether a RUN reads more than the folders below it, or runs as another user than root."""
    mounts = {mount.get("type", "bind") for mount in place.instruction.mounts}
    return not mounts <= {"cache", "tmpfs"} or place.state.user not in (None, "root", "0")


def _choose_commands(source: RunSource, state: StageState) -> dict[int, CommandEffect]:
    """Return the commands that may run earlier than the others of their RUN, by number, with their effects."""
    chosen: dict[int, CommandEffect] = {}
    touched: list[str] = []
    for number, command in enumerate(source.commands):
        words = split_words(command, state.variables)
        effect = find_effect(words, state)
        if effect is not None and not any(overlap(one, path) for one in effect.writes for path in touched):
            chosen[number] = effect
            continue
        confined = find_confines(words, state)
        if confined is None:
            break
        touched += confined
    if all(not effect.writes for effect in chosen.values()) or _splits_packages(source, chosen):
        return {}
    return chosen


def _splits_packages(source: RunSource, chosen: dict[int, CommandEffect]) -> bool:
    """Return whether a command that stays removes, in a layer of its own, what a moved one has installed."""
    if not any(effect.installs for effect in chosen.values()):
        return False
    kept = [command for number, command in enumerate(source.commands) if number not in chosen]
    return any(_PACKAGE_TOOL.search(command) for command in kept)


def find_confines(words: tuple[str, ...] | None, state: StageState) -> tuple[str, ...] | None:
    """Return the folders that a command works in; None where it may change or read others."""
    if not words or state.folder is None:
        return None
    if words[:2] in (("npm", "prune"), ("pnpm", "prune"), ("npm", "cache")):
        return (state.folder, "/root", "/tmp")  # noqa: S108
    return None


def _has_same_effects(source: RunSource, moved: dict[int, CommandEffect], above: StagePlace) -> bool:
    """Return whether the commands mean the same before an instruction as after it."""
    for number, effect in moved.items():
        words = split_words(source.commands[number], above.state.variables)
        if find_effect(words, above.state) != effect:
            return False
    return True


def _may_pass(document: Document, above: StagePlace, effects: tuple[CommandEffect, ...]) -> bool:
    """Return whether commands with these effects give the same image before an instruction as after it."""
    if above.keyword in _METADATA:
        return True
    if above.keyword in ("ENV", "ARG"):
        names = {name for name, _ in above.instruction.assignments or ()} if above.keyword == "ENV" else set()
        return "PATH" not in names and not any(effect.installs for effect in effects)
    if above.keyword == "WORKDIR":
        folder = above.state.find_path(" ".join(above.instruction.args))
        known = folder in above.state.folders
        return folder is not None and (known or not any(_touches(effect, folder) for effect in effects))
    if not above.is_copy:
        return False
    return all(_may_pass_copy(document, above, effect) for effect in effects)


def _touches(effect: CommandEffect, path: str) -> bool:
    return any(overlap(path, written) for written in effect.writes)


def _may_pass_copy(document: Document, copy: StagePlace, effect: CommandEffect) -> bool:
    target = copy.target
    if target is None or _brings_tools(target, effect):
        return False
    if effect.installs and is_system_path(target):
        return False
    if effect.installs or not _touches(effect, target):
        return True
    if effect.tree is not None:
        return _may_change_tree(document, copy, effect.tree)
    plain = not any(copy.instruction.has_switch(flag) for flag in ("chown", "chmod", "link"))
    return bool(effect.folders) and plain and copy.keyword == "COPY"


def _brings_tools(target: str, effect: CommandEffect) -> bool:
    """Return whether a COPY may bring the programs that the command needs, or the names of users and groups."""
    named = effect.tree is not None and re.search("[a-z]", effect.tree.value) is not None
    is_accounts = named and overlap(target, "/etc")
    return target in _TOOL_FOLDERS or posixpath.basename(target) in _TOOLS or is_accounts


def _may_change_tree(document: Document, copy: StagePlace, tree: TreeChange) -> bool:
    """Return whether flags of the COPY do to its files what the command does."""
    target = copy.target or "/"
    if copy.keyword != "COPY" or copy.instruction.has_switch("link") or _writes_heredoc(copy):
        return False
    if not all(is_within(target, path) for path in tree.paths if overlap(path, target)):
        return False
    if target in tree.paths and not tree.recursive:
        return is_folder_copy(document, copy) and target in copy.state.folders
    if not tree.recursive:
        return False
    if not all(_is_proven_folder(document, copy, path) for path in tree.paths if is_within(target, path)):
        return False
    return _find_flag(copy, tree) is not None


def _writes_heredoc(copy: StagePlace) -> bool:
    return bool(copy.instruction.heredocs)


def _is_proven_folder(document: Document, copy: StagePlace, path: str) -> bool:
    """Return whether a tree is a folder, and its parent is there before the COPY: otherwise COPY would make it."""
    is_folder = copy.target != path or path in copy.state.folders or is_folder_copy(document, copy)
    parent = posixpath.dirname(path)
    owned = copy.instruction.flag_value("chown") or copy.instruction.flag_value("chmod")
    return is_folder and (not owned or parent == "/" or any(is_within(each, parent) for each in copy.state.folders))


def is_folder_copy(document: Document, copy: StagePlace) -> bool:
    """Return whether the destination of a COPY is certainly a folder."""
    *sources, written = copy.instruction.args
    if written.endswith("/") or len(sources) > 1 or sources[0] in (".", "./"):
        return True
    source = sources[0]
    origin = next((each for each in copy.sources if isinstance(each, str)), None)
    if origin is None:
        prefix = posixpath.normpath(source).lstrip("/") + "/"
        return any(path.startswith(prefix) for path in document.files)
    if copy.state.find_path(source) is None or not source.startswith("/"):
        return source.endswith("/")
    return document.mentions_below(document.graph[origin], posixpath.normpath(source))


def _find_flag(copy: StagePlace, tree: TreeChange) -> tuple[str, str] | None:
    """Return the flag of COPY, and its value, that changes the files as a recursive command does."""
    if tree.tool == "chmod":
        return ("chmod", tree.value)
    user, colon, group = tree.value.partition(":")
    if colon and group:
        return ("chown", tree.value)
    if colon:
        return None
    # `chown USER` keeps the group
    old = copy.instruction.flag_value("chown")
    if old is None:
        return ("chown", f"{user}:0") if not copy.sources else None
    _, _, old_group = old.partition(":")
    return ("chown", f"{user}:{old_group}") if old_group else None


def _write_move(document: Document, stage: Stage, move: _Move) -> Edit:
    instruction = move.place.instruction
    lines = list(_write_moved_run(move))
    kept = _list_kept(move.source, move.moved)
    replacements = [_change_copy(document, copy, tuple(move.trees)) for copy in move.passed]
    if kept:
        replacements.append(document.replace_lines(instruction, move.source.keep_commands(kept)))
    else:
        lines = [*document.find_comment(instruction), *lines]
        replacements.append(document.remove(instruction))
    replacements.append(document.insert_above(move.target.instruction, tuple(lines)))
    changed = any(part is not None and part.lines for part in replacements[: len(move.passed)])
    title = f"move it above line {move.target.instruction.line}, so that a push of code does not run it again"
    if changed:
        title = f"let COPY set what it changes, and run it only once above line {move.target.instruction.line}"
    return Edit(
        rules=_OWNER_RULES if changed else (*_SETUP_RULES, "chown-after-copy"),
        line=instruction.line,
        title=title,
        replacements=tuple(part for part in replacements if part is not None),
    )


def _list_kept(source: RunSource, moved: dict[int, CommandEffect]) -> list[int]:
    """Return the numbers of the commands that stay; options of the shell stay for them, too."""
    kept = [number for number in range(len(source.commands)) if number not in moved]
    options = [number for number in moved if source.commands[number].startswith("set ")]
    return sorted(kept + options) if kept else []


def _write_moved_run(move: _Move) -> tuple[str, ...]:
    """Return the RUN with the moved commands; what changes a folder makes it first where it may be missing there."""
    known = set(move.target.state.folders)
    commands = list(move.source.commands)
    for number, effect in move.moved.items():
        known.update(effect.folders)
        if effect.tree is None:
            continue
        passed = [copy.target or "" for copy in move.passed]
        missing = [
            path
            for path in effect.tree.paths
            if not any(is_within(folder, path) for folder in known) and any(is_within(each, path) for each in passed)
        ]
        if missing:
            written = commands[number].split()[-len(effect.tree.paths) :]
            names = [word for word, path in zip(written, effect.tree.paths, strict=True) if path in missing]
            commands[number] = f"mkdir -p {' '.join(names)} && {commands[number]}"
            known.update(missing)
    source = RunSource(move.source.head, tuple(commands), move.source.joints)
    return source.keep_commands(tuple(move.moved))


def _change_copy(document: Document, copy: StagePlace, trees: tuple[TreeChange, ...]) -> Replacement | None:
    """Return a COPY with the flags for the trees that its files are in; None where it has none."""
    lines = document.find_lines(copy.instruction)
    changed = lines
    for tree in trees:
        if not tree.recursive or not any(is_within(copy.target or "", path) for path in tree.paths):
            continue
        flag = _find_flag(copy, tree)
        if flag is not None:
            changed = document.set_flag(changed, copy.instruction, *flag)
    return document.replace_lines(copy.instruction, changed) if changed != lines else None


def _move_workdir(document: Document, places: tuple[StagePlace, ...], number: int) -> Iterator[Edit]:
    """Return the edit that moves a WORKDIR above the COPYs before it, none of which depends on it."""
    place = places[number]
    folder = place.state.find_path(" ".join(place.instruction.args))
    if folder is None or folder in place.state.folders or not place.instruction.args[0].startswith(("/", "$")):
        return
    target = number
    for above in range(number - 1, -1, -1):
        if not _may_pass_workdir(places[above], folder):
            break
        if places[above].takes_changing_files:
            target = above
    if target == number:
        return
    line = places[target].instruction.line
    yield Edit(
        rules=("copy-link", *_SETUP_RULES),
        line=place.instruction.line,
        title=f"move it above line {line}: it makes a folder, and needs all layers below when it runs after the COPY",
        replacements=(
            document.remove(place.instruction),
            document.insert_above(
                places[target].instruction,
                (*document.find_comment(place.instruction), *document.find_lines(place.instruction)),
            ),
        ),
    )


def _may_pass_workdir(above: StagePlace, folder: str) -> bool:
    if above.keyword in _METADATA:
        return True
    if above.keyword != "COPY" or not above.instruction.args[-1].startswith("/"):
        return False
    target = above.target
    owned = above.instruction.flag_value("chown") or above.instruction.flag_value("chmod")
    linked = above.instruction.has_switch("link")
    return target is not None and not (overlap(target, folder) and (owned or linked))
