"""Find each COPY at the end of the final stage that could use --link, and say what is in its way.

Without --link BuildKit downloads all layers below a COPY to add the files to them; with it, none
(docs.docker.com/reference/dockerfile, "COPY --link"; measured in `tests/engine/test_link.py`). It pays only if every
instruction after the first changing COPY is independent of the layers below.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.stages import ImageReference, StageGraph
from stagebake.doctor.finding import Finding
from stagebake.doctor.reading.cache_tools import root_image
from stagebake.doctor.reading.final_tail import FinalTail, covers, is_linked_folder, is_setup
from stagebake.doctor.reading.push_model import StepPlace
from stagebake.doctor.reading.shell_commands import ShellCommand, read_commands
from stagebake.doctor.reading.subject import Subject

_NUMBERS = re.compile(r"\d+(?::\d+)?")
_NAMES = re.compile(r"([a-zA-Z_][\w.-]*)(?::([\w.-]+))?")
# Users of official images, by a word in the name of the image
_KNOWN_USERS = {
    "node": {"node": ("1000", "1000")},
    "bun": {"bun": ("1000", "1000")},
    "distroless": {"nonroot": ("65532", "65532")},
}
_OPTIONS_WITH_VALUE = frozenset({
    "-b", "-c", "-d", "-e", "-f", "-g", "-h", "-k", "-p", "-s", "-u", "-G", "-K", "--base-dir", "--comment",
    "--expiredate", "--firstuid", "--gecos", "--gid", "--groups", "--home", "--home-dir", "--inactive", "--ingroup",
    "--password", "--shell", "--skel", "--uid",
})  # fmt: skip
# A --chown beside --link changes the owner of the folders above as well
_SYSTEM_FOLDERS = re.compile(r"^/(?:usr|etc|lib|opt|var)(?:/|$)")
# Folders that are not root's, or have special modes: --link makes their parents again, as root's with mode 755
_OWNED_PARENTS = re.compile(r"^/(?:tmp|home/[^/]+|root|var/www|var/lib/[^/]+|var/tmp|run|srv/[^/]+)(?:/|$)")


@dataclass(frozen=True)
class _LinkedCopy:
    """COPY with --link and, where it had an owner by name, with the owner's numbers; "" where these are unknown."""

    instruction: Instruction
    text: str


def find_unlinked_copies(subject: Subject) -> Iterator[Finding]:
    """Find the COPYs of the tail that could all have --link, and what has to move or change for that."""
    graph = subject.graph
    tail = subject.tail
    first_base = graph.inherited_instructions(graph.final)[0].args[0]
    if not tail.steps or first_base == "scratch" or tail.copies[0].place.stage is not graph.final:
        return
    users = _read_users(graph)
    owned = _list_owned_paths(graph, tail)
    linked = [_link_copy(place, users, owned, tail) for place in tail.steps if _is_copy(place)]
    if _needs_layers(tail) or any(copy is None for copy in linked):
        return
    changed = [copy for copy in linked if copy and not copy.instruction.has_switch("link")]
    if not changed:
        return
    folders = [place.step.instruction for place in tail.steps if place.step.instruction.keyword == "WORKDIR"]
    texts = [copy.text for copy in changed]
    yield Finding(
        rule="copy-link",
        path=graph.path,
        line=changed[0].instruction.line,
        problem=_describe_links(changed, folders),
        fix=(*(folder.text for folder in folders), *texts) if all(texts) else (),
        stage=graph.final.name,
        lines=tuple(copy.instruction.line for copy in changed[1:]) + tuple(folder.line for folder in folders),
    )


def _describe_links(changed: list[_LinkedCopy], folders: list[Instruction]) -> str:
    message = (
        "when a copied file changes, BuildKit downloads all layers below this COPY to add the file to them; "
        "with --link each COPY is an independent layer"
    )
    if folders:
        message += (
            f"; the WORKDIR in line {folders[0].line} is a layer that needs all below it, so move it above the COPY"
        )
    if any(_NAMES.fullmatch(copy.instruction.flag_value("chown") or "") for copy in changed):
        message += (
            "; --link needs the numbers of the owner, because it does not read the image's /etc/passwd, and gives the "
            "folders above the same owner"
        )
    unknown = {copy.instruction.flag_value("chown") for copy in changed if not copy.text}
    if unknown:
        names = ", ".join(f"`{name}`" for name in sorted(filter(None, unknown)))
        message += f"; the numbers of {names} are not in the Dockerfile: give them to useradd, or ask `id`"
    modes = [str(copy.instruction.line) for copy in changed if copy.instruction.flag_value("chmod") is not None]
    if modes:
        message += (
            f"; BuildKit ignores --link beside --chmod (line {', '.join(modes)}): set the mode where the file comes "
            "from, or move that COPY above those of the code"
        )
    return f"{message} (not where the destination goes through a symbolic link of the base image)"


def _is_copy(place: StepPlace) -> bool:
    return place.step.instruction.keyword in ("COPY", "ADD")


def _needs_layers(tail: FinalTail) -> bool:
    """Return whether a RUN needs the layers, but for one that only prepares the system and can move up."""
    if any(place.step.instruction.keyword == "ONBUILD" for place in tail.steps):
        return True
    return any(run.has_new_environment or not all(is_setup(run, each) for each in run.commands) for run in tail.runs)


def _link_copy(
    place: StepPlace,
    users: Mapping[str, tuple[str, str]],
    owned: list[str],
    tail: FinalTail,
) -> _LinkedCopy | None:
    """Return the COPY with --link; None where it would need the layers below all the same, or change the image."""
    instruction = place.step.instruction
    if instruction.has_switch("link"):
        return _LinkedCopy(instruction, instruction.text)
    path = next((copy.path for copy in tail.copies if copy.place == place), _plain_destination(instruction))
    owner = instruction.flag_value("chown")
    if any(isinstance(source, ImageReference) for source in place.step.sources) or not _takes_link(path, owner, owned):
        return None
    text = re.sub(r"^(\w+)\s+(?:--link=false\s+)?", r"\1 --link ", instruction.text)
    if owner is None or _NUMBERS.fullmatch(owner):
        return _LinkedCopy(instruction, text)
    numbers = _owner_numbers(owner, users)
    return _LinkedCopy(instruction, text.replace(f"--chown={owner}", f"--chown={numbers}") if numbers else "")


def _takes_link(path: str | None, owner: str | None, owned: list[str]) -> bool:
    """Return whether a COPY to this path gives the same files with --link: its folders are root's, and no links."""
    if path is None or path == "/" or "$" in path or is_linked_folder(path) or _OWNED_PARENTS.match(path):
        return False
    if owner is None:
        return not any(covers(folder, path) for folder in owned)
    return "$" not in owner and not _SYSTEM_FOLDERS.match(path)


def _list_owned_paths(graph: StageGraph, tail: FinalTail) -> list[str]:
    """Return the folders whose owner or mode a RUN above the tail sets."""
    first = tail.steps[0].step.instruction.line
    paths: list[str] = []
    for instruction in graph.inherited_instructions(graph.final):
        if instruction.keyword != "RUN" or instruction.line >= first:
            continue
        for command in read_commands(instruction):
            if command.program in ("chown", "chmod", "chgrp", "install"):
                paths += [posixpath.normpath(word) for word in command.operands if word.startswith("/")]
    return paths


def _plain_destination(instruction: Instruction) -> str | None:
    written = instruction.args[-1]
    return posixpath.normpath(written) if written.startswith("/") and "$" not in written else None


def _read_users(graph: StageGraph) -> dict[str, tuple[str, str]]:
    """Return the numbers of user and group by name, as far as useradd and the base image say them; "" is unknown."""
    image = root_image(graph, graph.final)
    users: dict[str, tuple[str, str]] = {"root": ("0", "0")}
    for word, known in _KNOWN_USERS.items():
        if word == image.rpartition("/")[2].partition(":")[0] or word in image.split("/"):
            users.update(known)
    groups: dict[str, str] = {}
    for instruction in graph.inherited_instructions(graph.final):
        commands = read_commands(instruction) if instruction.keyword == "RUN" else ()
        for command in commands:
            if command.program in ("groupadd", "addgroup"):
                groups[_created_name(command)] = _option_value(command, ("-g", "--gid"))
            elif command.program in ("useradd", "adduser"):
                number = _option_value(command, ("-u", "--uid"))
                group = _option_value(command, ("-g", "--gid", "-G", "--ingroup"))
                own_group = number if command.program == "useradd" and not group else ""
                users[_created_name(command)] = (number, groups.get(group, group if group.isdigit() else own_group))
    for name, number in groups.items():
        user, _ = users.get(name, ("", ""))
        users[name] = (user, number)
    return users


def _owner_numbers(owner: str, users: Mapping[str, tuple[str, str]]) -> str | None:
    """Return the numbers for `user:group` or `user`; None where one of them is not known."""
    name, colon, group = owner.partition(":")
    user = name if name.isdigit() else users.get(name, ("", ""))[0]
    number = group if group.isdigit() else users.get(group or name, ("", ""))[1]
    if name in users and not colon:
        number = users[name][1]
    return f"{user}:{number}" if user.isdigit() and number.isdigit() else None


def _created_name(command: ShellCommand) -> str:
    """Return the name of the user or group that a command makes: the first word that belongs to no option."""
    words = iter(command.arguments[1:])
    for word in words:
        if word in _OPTIONS_WITH_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            return word
    return ""


def _option_value(command: ShellCommand, names: tuple[str, ...]) -> str:
    """Return the value of the first of these options; "" where it is missing."""
    arguments = command.arguments
    for number, word in enumerate(arguments):
        if word in names and number + 1 < len(arguments):
            return arguments[number + 1]
        name, _, value = word.partition("=")
        if value and name in names:
            return value
    return ""
