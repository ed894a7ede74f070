"""Find what each push of code runs at the end of the final stage without need.

A RUN there needs every layer below it, and its own layer is pushed again each time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from stagebake.dockerfile.package_managers import find_package_managers
from stagebake.dockerfile.stages import StageGraph
from stagebake.doctor.finding import Finding
from stagebake.doctor.reading.final_tail import (
    CopiedPath,
    TailRun,
    covers,
    is_prune,
    is_setup,
    list_paths,
    touched_copies,
)
from stagebake.doctor.reading.shell_commands import (
    ShellCommand,
    is_plain_list,
    read_script,
    rewrite_commands,
    runs_heredoc,
    write_run,
)
from stagebake.doctor.reading.subject import Subject

# More findings of one kind are reported as one
_MAX_SEPARATE = 3
_OWNER = re.compile(r"[\w.-]+(?::[\w.-]*)?")
_NUMERIC_MODE = re.compile(r"0?[0-7]{3,4}")
_MAKES_USER = frozenset({"useradd", "adduser", "groupadd", "addgroup"})


def find_late_owner_changes(subject: Subject) -> Iterator[Finding]:
    """Find each `chown -R` or `chmod -R` over files that a COPY brought: it stores them a second time.

    Many of them are one finding, in the first line of them.
    """
    found = list(_list_owner_changes(subject))
    if len(found) <= _MAX_SEPARATE:
        yield from found
        return
    lines = [finding.line for finding in found]
    yield replace(
        found[0],
        problem=f"{found[0].problem}; so do lines {', '.join(map(str, lines[1:]))}",
        lines=tuple(lines[1:]),
    )


def _list_owner_changes(subject: Subject) -> Iterator[Finding]:
    graph, facts = subject.graph, subject.facts
    for run in subject.tail.runs:
        for command in run.commands:
            copies = touched_copies(run, command)
            if not _changes_owners(run, command):
                continue
            flag = _copy_flag(command) if _covers_copies(run, command, copies) else None
            yield Finding(
                rule="chown-after-copy",
                path=graph.path,
                line=run.instruction.line,
                problem=_describe_owner_change(command, copies, flag),
                fix=_set_in_copies(run, command, copies, flag),
                stage=graph.final.name,
                seconds=facts.seconds.get(graph.final.name),
            )
            break


def _changes_owners(run: TailRun, command: ShellCommand) -> bool:
    """Return whether a command is a recursive chown or chmod over files that a COPY brought."""
    if command.program not in ("chown", "chmod"):
        return False
    if any(word.startswith("--from") for word in command.arguments):  # only files of one owner
        return False
    is_recursive = any(re.fullmatch(r"-[a-zA-Z]*R[a-zA-Z]*|--recursive", word) for word in command.arguments)
    return is_recursive and bool(touched_copies(run, command))


def _covers_copies(run: TailRun, command: ShellCommand, copies: tuple[CopiedPath, ...]) -> bool:
    """Return whether a command changes all files of these COPYs, rather than some folders in them."""
    paths = list(list_paths(run, command))
    return all(copy.path is not None and any(covers(path, copy.path) for path in paths) for copy in copies)


def _copy_flag(command: ShellCommand) -> str | None:
    """Return the flag of COPY that does what a chown or chmod does; None for what no flag can do."""
    first = command.operands[0] if command.operands else ""
    if command.program == "chmod":
        return f"--chmod={first}" if _NUMERIC_MODE.fullmatch(first) else None
    if not _OWNER.fullmatch(first):
        return None
    user, colon, group = first.partition(":")
    # chown USER keeps the group, which is root's in a COPY; chown USER: takes the user's own group
    return f"--chown={user}:{group or (user if colon else 'root')}"


def _describe_owner_change(command: ShellCommand, copies: tuple[CopiedPath, ...], flag: str | None) -> str:
    lines = ", ".join(str(copy.instruction.line) for copy in copies)
    many = "s" if len(copies) > 1 else ""
    how = f"write `COPY {flag}` instead" if flag else "do it in the stage that makes the files, or in the COPY"
    return (
        f"`{command.program} -R` stores files that the COPY in line{many} {lines} brings a second time, "
        f"and each push of code does it again, with every layer below; {how}"
    )


def _set_in_copies(
    run: TailRun,
    command: ShellCommand,
    copies: tuple[CopiedPath, ...],
    flag: str | None,
) -> tuple[str, ...]:
    """Return the users that the RUN makes, the COPYs with the flag, and the rest of the RUN."""
    script = read_script(run.instruction)
    if flag is None or run.instruction.json or not is_plain_list(script) or _holds_other_files(run, command):
        return ()
    keyword = flag.partition("=")[0].removeprefix("--")
    if any(copy.instruction.flag_value(keyword) is not None for copy in copies):
        return ()
    users = [other for other in run.commands if other.program in _MAKES_USER]
    folders = " ".join(command.operands[1:])
    first = [user.text for user in users]
    first.append(f"mkdir -p {folders} && {command.program} {command.operands[0]} {folders}")
    separator = "\n" if runs_heredoc(run.instruction) else " && "
    lines = [*write_run(run.instruction, separator.join(first))]
    lines += [re.sub(r"^(\w+)\s+", rf"\1 {flag} ", copy.instruction.text, count=1) for copy in copies]
    covered = {command.start, *(user.start for user in users)}
    rest = rewrite_commands(script, dict.fromkeys(covered, ""))
    if rest.strip():
        lines += write_run(run.instruction, rest)
    return tuple(lines)


def _holds_other_files(run: TailRun, command: ShellCommand) -> bool:
    """Return whether something else than COPYs of the tail may have put files where a command changes the owner."""
    paths = list(list_paths(run, command))
    if any("$" in path or "*" in path for path in paths):
        return True
    return any(covers(path, other) or covers(other, path) for path in paths for other in run.other_paths)


def find_late_setup(subject: Subject) -> Iterator[Finding]:
    """Find the RUNs of the tail that only make users, folders or links, and need nothing of the code."""
    graph, facts = subject.graph, subject.facts
    runs = [run for run in subject.tail.runs if _can_move(run, graph)]
    if not runs:
        return
    first = runs[0].first_copy.instruction
    lines = [run.instruction.line for run in runs]
    written = [line for run in runs for line in write_run(run.instruction, read_script(run.instruction))]
    which = "this RUN needs" if len(runs) == 1 else f"the RUNs in lines {', '.join(map(str, lines))} need"
    them = "it" if len(runs) == 1 else "them"
    comes = "comes" if len(runs) == 1 else "come"
    yield Finding(
        rule="setup-after-code",
        path=graph.path,
        line=lines[0],
        problem=f"{which} nothing of the code, but {comes} after the COPY in line {first.line}, so each push of code "
        f"runs {them} again, with every layer below; move {them} above that COPY",
        fix=(*written, first.text),
        stage=graph.final.name,
        seconds=facts.seconds.get(graph.final.name),
        lines=tuple(lines[1:]),
    )


def _can_move(run: TailRun, graph: StageGraph) -> bool:
    movable = bool(run.commands) and all(is_setup(run, command) for command in run.commands)
    return movable and not run.has_new_environment and not _in_other_stage(run, graph)


def _in_other_stage(run: TailRun, graph: StageGraph) -> bool:
    """Return whether the COPY is in a stage below the one of the RUN, or either has a heredoc that does not move."""
    first = run.first_copy
    moves = not first.instruction.heredocs and not (run.instruction.heredocs and not runs_heredoc(run.instruction))
    return first.place.stage is not graph.final or run.place.stage is not graph.final or not moves


def find_late_removals(subject: Subject) -> Iterator[Finding]:
    """Find each RUN of the tail that removes what a COPY brought: the files stay in the layer below."""
    graph, facts = subject.graph, subject.facts
    for run in subject.tail.runs:
        for command in run.commands:
            removed = touched_copies(run, command)
            prunes = command.program != "rm"
            is_single = not prunes and not any(re.match(r"-\w*[rR]", word) for word in command.arguments)
            if is_single or not is_prune(command) or not (prunes or removed) or not _takes_from_stage(run):
                continue
            yield Finding(
                rule="prune-after-copy",
                path=graph.path,
                line=run.instruction.line,
                problem=f"`{command.text}` hides files, but their layer is in the image all the same, and each push of "
                "code does it again with every layer below; remove them in the stage that makes them, before the COPY",
                stage=graph.final.name,
                seconds=facts.seconds.get(graph.final.name),
            )
            break


def _removes_folders(command: ShellCommand) -> bool:
    return is_prune(command) and (command.program != "rm" or any(word.startswith("-") for word in command.arguments))


def _takes_from_stage(run: TailRun) -> bool:
    return any(copy.instruction.flag_value("from") is not None for copy in run.copies)


def find_late_runs(subject: Subject) -> Iterator[Finding]:
    """Find the RUNs of the tail that do need the code, and say what prevents an end of nothing but COPY --link."""
    graph, facts = subject.graph, subject.facts
    runs = [run for run in subject.tail.runs if _needs_code(run)]
    if not runs:
        return
    lines = [run.instruction.line for run in runs]
    first = runs[0].first_copy.instruction
    many = len(lines) > 1
    listed = ", ".join(map(str, lines))
    yield Finding(
        rule="run-after-code",
        path=graph.path,
        line=lines[0],
        problem=f"the final stage runs commands in line{'s' if many else ''} {listed} after the COPY in line "
        f"{first.line}, so each push of code needs every layer below and pushes a new one; run them in another stage, "
        "take the result with COPY --from, and end with nothing but COPY --link",
        stage=graph.final.name,
        seconds=facts.seconds.get(graph.final.name),
        lines=tuple(lines[1:]),
    )


def _needs_code(run: TailRun) -> bool:
    """Return whether none of the other rules of the tail is about this RUN."""
    if all(is_setup(run, command) for command in run.commands):
        return run.has_new_environment
    is_install = bool(find_package_managers(run.instruction.command))
    others = [command for command in run.commands if not is_setup(run, command)]
    covered = [command for command in others if _changes_owners(run, command) or _removes_folders(command)]
    if covered:
        covered += [command for command in others if command.program == "chmod" and command not in covered]
    return not is_install and len(covered) < len(others)
