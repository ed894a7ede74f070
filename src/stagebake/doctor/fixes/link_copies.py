"""Add --link to the last COPY instructions of the final stage, where what BuildKit then does differently can be said.

A linked COPY makes its layer without the layers below. So it cannot look up an owner's name, and the folders on the way
to its destination get its owner and mode 755, whatever they had (measured on BuildKit 0.25; moby/buildkit,
frontend/dockerfile/dockerfile2llb/convert_copy.go: with --chmod the flag has no effect).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping

from stagebake.dockerfile.stages import Stage
from stagebake.doctor.fixes.edit import Edit, Replacement
from stagebake.doctor.fixes.move_up import is_folder_copy
from stagebake.doctor.proof.command_effects import find_effect
from stagebake.doctor.proof.document import Document
from stagebake.doctor.proof.run_source import split_run, split_words
from stagebake.doctor.proof.stage_state import StagePlace, is_within, known_numbers

_RULES = ("copy-link",)
_NEEDS_LAYERS = ("RUN", "WORKDIR", "ONBUILD", "FROM")
# Folders that root owns in every image, with mode 755, and that are no symbolic links
_OF_ROOT = (
    "/etc", "/home", "/opt", "/srv", "/usr", "/usr/bin", "/usr/lib", "/usr/local", "/usr/local/bin", "/usr/local/etc",
    "/usr/local/lib", "/usr/local/share", "/usr/sbin", "/usr/share", "/usr/src", "/var", "/var/lib",
)  # fmt: skip
# Folders with another mode, or that are symbolic links in many images
_REFUSED = (
    "/tmp", "/var/tmp", "/root", "/bin", "/lib", "/lib64", "/sbin", "/run", "/var/run", "/var/lock",  # noqa: S108
)  # fmt: skip
# Users of official images (nodejs/docker-node)
_IMAGE_USERS = {"node": {"user:node": "1000", "group:node": "1000"}}
_ROOT = "0:0"


def propose_links(document: Document, stage: Stage) -> Iterator[Edit]:
    """Return one edit that adds --link to the last COPYs of a stage, for the line of the first of them."""
    places = document.list_places(stage)
    if not _has_layers_below(document, stage):
        return
    numbers = _find_numbers(document, stage)
    owners = _find_owners(document, places, numbers)
    replacements: list[Replacement] = []
    for place in _list_last_copies(places):
        changed = _link_copy(document, place, numbers, owners)
        if changed is not None:
            replacements.append(changed)
    if replacements:
        yield Edit(
            rules=_RULES,
            line=replacements[0].first,
            title="add --link, so that BuildKit does not pull the layers below to add these files",
            replacements=tuple(replacements),
            changes="the folders on the way to a linked file get the owner of its COPY and mode 755, and a symbolic "
            "link among them becomes a folder",
        )


def _has_layers_below(document: Document, stage: Stage) -> bool:
    start = document.graph.inherited_instructions(stage)[0]
    return bool(start.args) and start.args[0] != "scratch"


def _list_last_copies(places: tuple[StagePlace, ...]) -> tuple[StagePlace, ...]:
    """Return the COPYs after the last instruction that needs the layers below it."""
    last: list[StagePlace] = []
    for place in places:
        if place.keyword in _NEEDS_LAYERS:
            last = []
        elif place.is_copy:
            last.append(place)
    return tuple(last)


def _find_numbers(document: Document, stage: Stage) -> Mapping[str, str]:
    """Return the numbers of the users and groups that the Dockerfile or a well-known base image creates."""
    numbers = {"user:root": "0", "group:root": "0"}
    chain = document.graph.inherited_instructions(stage)
    image = posixpath.basename(chain[0].args[0]).partition("@")[0].partition(":")[0]
    numbers |= _IMAGE_USERS.get(image, {})
    for instruction in chain:
        if instruction.keyword == "RUN":
            commands = re.split(r"&&|;|\n", instruction.command)
            numbers |= known_numbers(command.strip() for command in commands)
    return numbers


def _find_owners(
    document: Document, places: tuple[StagePlace, ...], numbers: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """Return the folders whose owner a WORKDIR or `chown` sets, in order, each with its owner as numbers."""
    owners: list[tuple[str, str]] = []
    for place in places:
        if place.keyword == "WORKDIR":
            folder = place.state.find_path(" ".join(place.instruction.args))
            if folder is not None and all(folder != known for known, _ in owners):
                owners.append((folder, _number_owner(place.state.user or "root", numbers) or ""))
        elif place.keyword == "RUN":
            owners += _owners_by_run(document, place, numbers)
    return tuple(owners)


def _owners_by_run(document: Document, place: StagePlace, numbers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    source = split_run(place.instruction, document.find_lines(place.instruction))
    for command in source.commands if source else ():
        effect = find_effect(split_words(command, place.state.variables), place.state)
        if effect is None:
            continue
        for folder in effect.folders:
            yield folder, _ROOT
        if effect.tree is not None and effect.tree.tool == "chown":
            owner = _number_owner(effect.tree.value, numbers) or ""
            for path in effect.tree.paths:
                yield path, owner


def _number_owner(owner: str, numbers: Mapping[str, str]) -> str | None:
    """Return `UID:GID` of an owner; None where a number is unknown. BuildKit takes a lone UID for the group, too."""
    user, _, group = owner.partition(":")
    uid = user if user.isdigit() else numbers.get(f"user:{user}")
    if not group:
        gid = uid if user.isdigit() else numbers.get(f"group:{user}")
    else:
        gid = group if group.isdigit() else numbers.get(f"group:{group}")
    return f"{uid}:{gid}" if uid and gid else None


def _link_copy(
    document: Document,
    place: StagePlace,
    numbers: Mapping[str, str],
    owners: tuple[tuple[str, str], ...],
) -> Replacement | None:
    instruction = place.instruction
    given = instruction.flag_value("chown")
    owner = _number_owner(given or _ROOT, numbers)
    target = place.target
    if instruction.has_switch("link") or instruction.has_switch("chmod") or not place.takes_changing_files:
        return None
    if owner is None or target is None or not _fits_owner(document, place, owner, owners):
        return None
    lines = document.find_lines(instruction)
    if given is not None and not re.fullmatch(r"\d+(:\d+)?", given):
        lines = document.set_flag(lines, instruction, "chown", owner)
    return document.replace_lines(instruction, document.set_flag(lines, instruction, "link", None))


def _fits_owner(document: Document, place: StagePlace, owner: str, owners: tuple[tuple[str, str], ...]) -> bool:
    """Return whether no folder on the way to the destination is known to have another owner."""
    target = place.target or "/"
    folders = [target] if is_folder_copy(document, place) or target in place.state.folders else []
    while target != "/":
        target = posixpath.dirname(target)
        folders.append(target)
    for folder in folders[:-1] if folders[-1] == "/" else folders:
        if folder in _REFUSED or (folder in _OF_ROOT and owner != _ROOT):
            return False
        known = [found for path, found in owners if path == folder or (is_within(folder, path) and found)]
        if known and known[-1] != owner:
            return False
    return True
