"""Prepare a repository that has a Dockerfile for `nox -s build`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path

from rich.console import Console

from stagebake.cli.command import Command, read_command
from stagebake.cli.flags import VerbParsers, add_settings
from stagebake.errors import InputError
from stagebake.existing_builds.existing_build import ExistingBuild
from stagebake.existing_builds.find_builds import find_builds, read_builds
from stagebake.generate.init import InitOptions, init_repository
from stagebake.generate.install_source import default_install, install_command
from stagebake.generate.settings_file import has_settings
from stagebake.migration.takeover import Takeover, take_over
from stagebake.project.git import GitCheckout
from stagebake.project.setting_checks import split_image
from stagebake.project.settings import SETTING_KEYS, Settings
from stagebake.report.tables import make_console


def add_init_parser(verbs: VerbParsers) -> None:
    """Add the verb and its flags."""
    verb = verbs.add_parser("init", help="prepare a repository that has a Dockerfile for `nox -s build`")
    verb.set_defaults(run=run_init)
    add_settings(verb)
    verb.add_argument(
        "--from", dest="source", metavar="FILE[:NAME]",
        help="take over this build: a workflow (FILE:LINE), a bake file (FILE:TARGET) or a compose file "
        "(FILE:SERVICE); `none` takes over nothing (default: the only build of the workflows)",
    )  # fmt: skip
    verb.add_argument(
        "--install", metavar="SPEC",
        help="what the workflow installs: a version, a git address https://HOST/OWNER/NAME@COMMIT, or a wheel in the "
        "repository (default: what this installation came from)",
    )  # fmt: skip
    verb.add_argument("--dry-run", action="store_true", help="print all files as a difference and write nothing")
    verb.add_argument("--yes", action="store_true", help="overwrite without asking")
    verb.add_argument(
        "--branch", action="append", default=[], metavar="NAME",
        help="build the pushes of this branch, too, not only of the default branch; repeatable",
    )  # fmt: skip
    verb.add_argument(
        "--make-room",
        action="store_true",
        help="add a step to the workflow that frees about 25 GB of the runner's disk",
    )


def run_init(options: argparse.Namespace) -> int:
    """Write the files that are missing; ask before overwriting a file; return 0."""
    command = read_command(options)
    console = make_console()
    takeover = _choose_takeover(command, console)
    command = replace(command, settings=_add_settings(command.settings, takeover))
    branches = tuple(dict.fromkeys((command.default_branch, *takeover.parts.branches, *options.branch)))
    return init_repository(
        command.graph,
        command.settings,
        console,
        InitOptions(
            overwrite=options.yes,
            dry_run=options.dry_run,
            branches=branches,
            make_room=options.make_room,
            install=install_command(options.install or _own_source(), command.settings.root),
        ),
        takeover,
    )


def _own_source() -> str:
    """Return the source that this installation of stagebake came from."""
    own = distribution("stagebake")
    return default_install(own.version, own.read_text("direct_url.json"), _find_remote)


def _find_remote(folder: Path) -> tuple[str, str] | None:
    """Return the address and the commit of a git checkout that has a remote at GitHub."""
    try:
        commit = GitCheckout(folder).current_commit()
    except InputError:
        return None
    if commit.source is None or commit.revision is None:
        return None
    return commit.source, commit.revision


def _choose_takeover(command: Command, console: Console) -> Takeover:
    """Return what to take over: of the build that --from names, or of the only build that workflows contain.

    A repository that has settings is not migrated again. Raises InputError for a --from that names no build.
    """
    source = command.options.source
    if source == "none" or (source is None and has_settings(command.settings.root)):
        return Takeover()
    image = command.default_image.name
    repository = image.partition("/")[2] if image else None
    build = _named_build(command, source, repository) if source else _only_build(command, repository, console)
    return take_over(build, image) if build else Takeover()


def _named_build(command: Command, source: str, repository: str | None) -> ExistingBuild:
    root = command.settings.root
    path = source if (root / source).is_file() else source.rpartition(":")[0] or source
    builds = read_builds(root, path, repository)
    named = [entry.build for entry in builds if source in entry.names]
    usable = [build for build in named if not build.problem]
    if len(usable) == 1:
        return usable[0]
    if len(named) == 1:
        raise InputError(f"{named[0].place}: {named[0].kind}: {named[0].problem}", "take over another build, or none")
    names = ", ".join(entry.names[-1] for entry in builds) or "none"
    raise InputError(f"--from {source}: names no single build; builds in {path}: {names}", "name one of them")


def _only_build(command: Command, repository: str | None, console: Console) -> ExistingBuild | None:
    """Return the only build of the workflows, else the only other one; say why others are not taken over."""
    found = find_builds(command.settings.root, repository)
    for problem in found.problems:
        console.print(f"not read: {problem}")
    for entry in found.builds:
        if entry.build.problem:
            console.print(f"not taken over: {entry.build.place}: {entry.build.kind}: {entry.build.problem}")
    usable = [entry for entry in found.builds if not entry.build.problem]
    in_workflows = [entry for entry in usable if entry.build.context]
    chosen = in_workflows or usable
    if len(chosen) > 1:
        names = ", ".join(entry.names[-1] for entry in chosen)
        console.print(f"nothing is taken over, because there are several builds; choose one with --from: {names}")
    return chosen[0].build if len(chosen) == 1 else None


def _add_settings(settings: Settings, takeover: Takeover) -> Settings:
    """Return the settings with what is taken over, where nothing gives them. Raise InputError for a bad value."""
    values = {}
    for key, value in takeover.settings.items():
        if key not in settings.origins:
            SETTING_KEYS[key].check(value, takeover.place)
            values[key] = value
    if "image" in values:
        split_image(values["image"], takeover.place)
    return replace(settings, **values)
