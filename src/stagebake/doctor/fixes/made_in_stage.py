"""Do in the stage that makes the files what a RUN does to them after they were copied from there."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from stagebake.dockerfile.stages import Stage
from stagebake.doctor.fixes.edit import Edit
from stagebake.doctor.proof.document import Document
from stagebake.doctor.proof.run_source import split_run, split_words
from stagebake.doctor.proof.stage_state import StagePlace, StageState, is_within, overlap

_RULES = ("prune-after-copy", "run-after-code", "chown-after-copy")
_PRUNE = (("npm", "prune"), ("pnpm", "prune"))


@dataclass(frozen=True, kw_only=True)
class _Task:
    """Command of a RUN as the stage `origin` can run it: `text`, what it does, and what differs in the image."""

    number: int
    origin: Stage
    text: str
    changes: str


def propose_tasks(document: Document, stage: Stage) -> Iterator[Edit]:
    """Return an edit for each RUN with a command that the stage which makes the files can run."""
    places = document.list_places(stage)
    for number, place in enumerate(places):
        if place.keyword != "RUN" or place.state.shell:
            continue
        lines = document.find_lines(place.instruction)
        source = split_run(place.instruction, lines)
        if source is None:
            continue
        task = _find_task(document, places[:number], place, source.commands)
        if task is None:
            continue
        kept = [each for each in range(len(source.commands)) if each != task.number]
        last = task.origin.instructions[-1]
        removal = document.replace_lines(place.instruction, source.keep_commands(kept))
        yield Edit(
            rules=_RULES,
            line=place.instruction.line,
            title=f"run `{task.text}` in stage `{task.origin.name}`, which makes these files, rather than on a copy",
            replacements=(
                removal if kept else document.remove(place.instruction),
                document.insert_below(last, (f"RUN {task.text}",)),
            ),
            changes=task.changes,
        )


def _find_task(
    document: Document, above: tuple[StagePlace, ...], place: StagePlace, commands: tuple[str, ...]
) -> _Task | None:
    for number, command in enumerate(commands):
        words = split_words(command, place.state.variables)
        if words is None:
            continue
        found = None
        if words[:2] in _PRUNE:
            found = _prune_in_stage(document, above, place, words)
        elif words[0] == "chmod":
            found = _chmod_in_stage(document, above, place, words)
        elif words[0] == "rm":
            found = _remove_in_stage(document, above, place, words)
        if found is not None:
            origin, text, changes = found
            return _Task(number=number, origin=origin, text=text, changes=changes)
    return None


def _prune_in_stage(
    document: Document, above: tuple[StagePlace, ...], place: StagePlace, words: tuple[str, ...]
) -> tuple[Stage, str, str] | None:
    """Return the stage that has the packages, and the command there."""
    folder = place.state.folder
    if folder is None or any(not word.startswith("-") for word in words[2:]):
        return None
    copies = [copy for copy in above if _takes_from(copy) and _brings_modules(copy, folder)]
    if not copies:
        return None
    copy = copies[-1]
    origin = document.graph[_takes_from(copy) or ""]
    source = copy.state.find_path(copy.instruction.args[0])
    if source is None or not _is_only_copied(document, origin, place):
        return None
    if posixpath.basename(source) == "node_modules":
        source = posixpath.dirname(source)
    state = _end_state(document, origin)
    if state.user not in (None, "root", "0") or _has_own_shell(origin):
        return None
    text = shlex.join(words)
    if state.folder != source:
        text = f"cd {source} && {text}"
    changes = (
        f"`{shlex.join(words)}` prunes what stage `{origin.name}` installed, before other files of {folder} are copied "
        "there; the pruned folders have the owner of their COPY"
    )
    return origin, text, changes


def _brings_modules(copy: StagePlace, folder: str) -> bool:
    target = copy.target
    source = copy.state.find_path(copy.instruction.args[0]) if len(copy.instruction.args) == 2 else None
    if source is None or target is None:
        return False
    if posixpath.basename(source) == "node_modules":
        return target == posixpath.join(folder, "node_modules")
    return target == folder and posixpath.basename(source) not in ("dist", "build", "standalone", "out")


def _chmod_in_stage(
    document: Document, above: tuple[StagePlace, ...], place: StagePlace, words: tuple[str, ...]
) -> tuple[Stage, str, str] | None:
    """Return the stage that makes the files below the one path of a chmod, and the command there."""
    flags = [word for word in words[1:] if word.startswith("-")]
    operands = [word for word in words[1:] if not word.startswith("-")]
    if len(operands) != 2 or flags not in ([], ["-R"]) or not operands[1].startswith("/"):
        return None
    found = _find_origin(document, above, place, operands[1])
    if found is None:
        return None
    origin, source, copy = found
    text = " ".join(("chmod", *flags, operands[0], source))
    return origin, text, f"files below {copy.target} that stage `{origin.name}` does not make keep their modes"


def _remove_in_stage(
    document: Document, above: tuple[StagePlace, ...], place: StagePlace, words: tuple[str, ...]
) -> tuple[Stage, str, str] | None:
    """Return the stage that makes the files of one path that is removed, and the command there."""
    flags = [word for word in words[1:] if word.startswith("-")]
    operands = [word for word in words[1:] if not word.startswith("-")]
    if len(operands) != 1 or not set(flags) <= {"-r", "-f", "-rf", "-fr"}:
        return None
    path = place.state.find_path(operands[0])
    found = _find_origin(document, above, place, path) if path else None
    if found is None or path == found[2].target:
        return None
    origin, source, copy = found
    text = " ".join(("rm", *flags, source))
    return origin, text, f"what the base image has at {path} stays, and so does what it has below {copy.target}"


def _find_origin(
    document: Document, above: tuple[StagePlace, ...], place: StagePlace, path: str
) -> tuple[Stage, str, StagePlace] | None:
    """Return the stage that a path was copied from, its path there, and the only COPY that brings it."""
    plain = path.split("*", 1)[0].rstrip("/")
    copies = [copy for copy in above if copy.is_copy and copy.target and overlap(copy.target, plain)]
    if len(copies) != 1 or any(copy.is_copy and copy.target is None for copy in above):
        return None
    copy = copies[0]
    name = _takes_from(copy)
    target = copy.target or ""
    source = copy.state.find_path(copy.instruction.args[0]) if len(copy.instruction.args) == 2 else None
    if name is None or source is None or not is_within(plain, target) or not copy.instruction.args[0].startswith("/"):
        return None
    origin = document.graph[name]
    if not _is_only_copied(document, origin, place) or copy.instruction.has_switch("chmod") or _has_own_shell(origin):
        return None
    if _end_state(document, origin).user not in (None, "root", "0"):
        return None
    return origin, posixpath.normpath(source + path.removeprefix(target)), copy


def _takes_from(copy: StagePlace) -> str | None:
    """Return the stage that a COPY takes from."""
    return next((each for each in copy.sources if isinstance(each, str)), None) if copy.keyword == "COPY" else None


def _is_only_copied(document: Document, origin: Stage, place: StagePlace) -> bool:
    """Return whether only the stage of this instruction takes files from the stage, and none starts from it."""
    for stage in document.graph.stages:
        uses = [step for step in stage.steps if origin.name in step.sources]
        own = place.instruction in stage.instructions
        if any(step.instruction.keyword != "COPY" for step in uses) or (uses and not own):
            return False
    return True


def _has_own_shell(origin: Stage) -> bool:
    """Return whether commands do not run in the usual shell at the end of a stage."""
    return any(instruction.keyword == "SHELL" for instruction in origin.instructions)


def _end_state(document: Document, stage: Stage) -> StageState:
    last = document.list_places(stage)[-1]
    return last.state.after(last.instruction)
