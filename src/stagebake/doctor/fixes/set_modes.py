"""Let COPY set the mode of single files: `COPY --chmod=755 run.sh /` instead of `RUN chmod +x /run.sh` after it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from stagebake.dockerfile.stages import Stage
from stagebake.doctor.fixes.edit import Edit, Replacement
from stagebake.doctor.proof.document import Document
from stagebake.doctor.proof.run_source import split_run, split_words
from stagebake.doctor.proof.stage_state import StagePlace, overlap

_RULES = ("run-after-code", "setup-after-code", "chown-after-copy")
_OCTAL = re.compile(r"0?[0-7]{3}")
_EXECUTABLE = ("+x", "a+x", "ugo+x")
# Between the COPY and the RUN, these do not read the mode
_PASSED = (
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER",
    "VOLUME", "WORKDIR",
)  # fmt: skip


def propose_modes(document: Document, stage: Stage) -> Iterator[Edit]:
    """Return an edit for each RUN that sets the mode of files which a COPY above it brings one by one."""
    places = document.list_places(stage)
    for number, place in enumerate(places):
        if place.keyword != "RUN" or place.state.shell or place.state.user not in (None, "root", "0"):
            continue
        source = split_run(place.instruction, document.find_lines(place.instruction))
        if source is None:
            continue
        above = _list_passed(places[:number])
        copies = _find_copies(document, above, split_words(source.commands[0], place.state.variables), place)
        if not copies:
            continue
        kept = range(1, len(source.commands))
        rest = document.replace_lines(place.instruction, source.keep_commands(kept))
        yield Edit(
            rules=_RULES,
            line=place.instruction.line,
            title="let COPY set the mode, so that no RUN needs the layers below for it",
            replacements=(*copies, rest if kept else document.remove(place.instruction)),
        )


def _list_passed(places: tuple[StagePlace, ...]) -> tuple[StagePlace, ...]:
    """Return the instructions since the last one that may read a mode."""
    passed: list[StagePlace] = []
    for place in reversed(places):
        if place.keyword not in _PASSED:
            break
        passed.insert(0, place)
    return tuple(passed)


def _find_copies(
    document: Document,
    above: tuple[StagePlace, ...],
    words: tuple[str, ...] | None,
    place: StagePlace,
) -> tuple[Replacement, ...]:
    """Return the COPYs with the mode that a `chmod` sets; nothing where one of its files is not known."""
    if not words or words[0] != "chmod" or len(words) < 3 or any(word.startswith("-") for word in words[1:]):
        return ()
    changed: list[Replacement] = []
    for word in words[2:]:
        path = place.state.find_path(word)
        copies = [copy for copy in above if copy.is_copy and path and (not copy.target or overlap(copy.target, path))]
        mode = _choose_mode(document, copies[0], path, words[1]) if path and len(copies) == 1 else None
        if mode is None:
            return ()
        instruction = copies[0].instruction
        lines = document.set_flag(document.find_lines(instruction), instruction, "chmod", mode)
        changed.append(document.replace_lines(instruction, lines))
    lines_changed = [part.first for part in changed]
    return tuple(changed) if len(set(lines_changed)) == len(lines_changed) else ()


def _choose_mode(document: Document, copy: StagePlace, path: str, written: str) -> str | None:
    """Return the mode for `--chmod`, which missing parent folders of the file get, too; None where it is not known."""
    instruction = copy.instruction
    flags = {flag.partition("=")[0] for flag in instruction.flags}
    if copy.keyword != "COPY" or not flags <= {"--chown"} or copy.sources or instruction.heredocs:
        return None
    file = _only_file(document, copy, path)
    found = document.find_mode(file) if file is not None else None
    if found is None:
        return None
    mode = f"{found | 0o111:o}" if written in _EXECUTABLE else written
    if not _OCTAL.fullmatch(mode):
        return None
    has_parent = posixpath.dirname(path) in ("/", *copy.state.folders)
    return mode if has_parent or mode.lstrip("0") == "755" else None


def _only_file(document: Document, copy: StagePlace, path: str) -> str | None:
    """Return the file of the context that is at this path after the COPY, where it is all that the COPY brings."""
    *sources, written = copy.instruction.args
    if len(sources) != 1:
        return None
    file = posixpath.normpath(sources[0]).lstrip("/")
    target = copy.target or ""
    is_in_folder = written.endswith(("/", ".")) or target in copy.state.folders
    if is_in_folder:
        target = posixpath.join(target, posixpath.basename(file))
    return file if file in document.files and target == path else None
