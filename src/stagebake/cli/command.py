"""Read what a verb works on from the repository, the environment and the flags."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from stagebake.cache.backends import CacheRepository
from stagebake.cache.cache_refs import read_stage_caches
from stagebake.cache.scopes import DEFAULT_SCOPE, Access, Trigger, access_for
from stagebake.ci.ci_run import CiRun, trust_checkout
from stagebake.ci.github_run import GITHUB_ACTIONS, read_github_run
from stagebake.ci.other_ci import read_other_ci
from stagebake.cli.flags import read_settings
from stagebake.context.hash_memory import hash_memory_file
from stagebake.dockerfile.stages import ForcedStages, StageGraph, parse_dockerfile
from stagebake.dockerfile.warnings import force_warnings, namesake_warnings
from stagebake.errors import InputError, RegistryError
from stagebake.explain.decision import TooOld
from stagebake.explain.ledger_store import LedgerStore
from stagebake.explain.max_age import choose_refresh, find_too_old
from stagebake.explain.stage_times import given_stage_times, ledger_stage_times
from stagebake.files import read_exact_text, read_text, user_cache_folder
from stagebake.fingerprint.fingerprinter import Fingerprinter
from stagebake.fingerprint.source_policy import source_policy_file
from stagebake.generate.bake_file import OVERRIDE_FILE
from stagebake.naming.image_name import DefaultImage
from stagebake.naming.image_refs import ChosenNames, NamingInput, choose_names
from stagebake.naming.image_tags import CommitInfo
from stagebake.project.build_secrets import missing_secret_warnings
from stagebake.project.default_arguments import find_default_arguments
from stagebake.project.git import GitCheckout
from stagebake.project.settings import Settings, misspelt_variables
from stagebake.stores.choose import BuildStores, choose_stores
from stagebake.stores.image_labels import read_image_labels
from stagebake.transfer.step_layers import LayeredStages, nearest_stage_caches, read_step_layers


@dataclass(frozen=True)
class Command:
    """Run of a verb: its flags, the settings with the flags, the git checkout, and the run of GitHub Actions if any.

    Everything else is read when it is needed first.
    """

    options: argparse.Namespace
    settings: Settings
    checkout: GitCheckout
    ci_run: CiRun | None
    default_image: DefaultImage

    @cached_property
    def dockerfile_text(self) -> str:
        """Return the text of the Dockerfile. Raises InputError."""
        path = self.settings.root / self.settings.dockerfile
        try:
            return read_exact_text(path)
        except FileNotFoundError:
            raise InputError(f"{path}: missing Dockerfile", "set `dockerfile` under [tool.stagebake]") from None
        except OSError as error:
            problem = f"{path}:1: not readable: {error.strerror}"
            raise InputError(problem, "set `dockerfile` under [tool.stagebake] to the path of a Dockerfile") from None

    @cached_property
    def graph(self) -> StageGraph:
        return self.parse_text(self.dockerfile_text)

    def parse_text(self, text: str) -> StageGraph:
        """Return the stages of a Dockerfile with this text, built with the settings. Raises InputError."""
        return _parse_graph(self.settings, text)

    @cached_property
    def override_text(self) -> str | None:
        """Return the text of docker-bake.override.hcl, or None where the user has no such file."""
        path = self.settings.root / OVERRIDE_FILE
        return read_text(path) if path.is_file() else None

    @cached_property
    def forced_stages(self) -> ForcedStages:
        """Return the stages that --no-cache forces: those it names, or all for its bare form."""
        if self._forces_all:
            return self.graph.force_stages(self.graph.names)
        names: list[str] = []
        for written in self.options.no_cache or ():
            stage = self.graph.find_stage(written, "--no-cache")
            names.append(stage.name)
        return self.graph.force_stages(names)

    @property
    def input_warnings(self) -> tuple[str, ...]:
        """Return warnings about unused variables, equal stage names, missing secrets, and what --no-cache adds."""
        warnings = (
            *_list_missing_home(),
            *misspelt_variables(os.environ),
            *namesake_warnings(self.graph),
            *missing_secret_warnings(self.graph, self.settings, os.environ),
        )
        if self._forces_all:
            return warnings
        return (*warnings, *force_warnings(self.graph, self.forced_stages))

    @property
    def _forces_all(self) -> bool:
        """Return whether --no-cache is given in its bare form."""
        return bool(self.options.no_cache == [])

    @property
    def on_github(self) -> bool:
        """Return True in a run of GitHub Actions."""
        return self.ci_run is not None and self.ci_run.system == GITHUB_ACTIONS

    @property
    def trigger(self) -> Trigger:
        """Return what the CI run builds, or the current branch of git if the CI does not tell."""
        if self.ci_run and (self.on_github or self.ci_run.trigger != Trigger()):
            return self.ci_run.trigger
        return Trigger(branch=self.checkout.current_branch())

    @property
    def default_branch(self) -> str:
        if self.ci_run and self.ci_run.default_branch:
            return self.ci_run.default_branch
        return self.checkout.default_branch()

    @cached_property
    def access(self) -> Access:
        """Return the scopes whose caches are read and written.

        --scope chooses the scope of another branch. Untrusted code cannot get more rights by it.
        """
        trigger = self.trigger
        branch = self.options.scope
        if branch and trigger.trusted:
            trigger = Trigger(branch=branch)
        return access_for(trigger, self.default_branch, push=self.options.push)

    @property
    def scope_name(self) -> str:
        """Return the branch or pull request whose caches are read first."""
        return self.access.reads[0].name or self.default_branch

    @cached_property
    def build_stores(self) -> BuildStores:
        """Return the stores of the image and of its caches."""
        return choose_stores(
            self.settings.cache,
            image=self.settings.image,
            local_name=self.settings.local_image,
            folder=lambda: self.settings.cache_folder,
            environment=os.environ,
        )

    def choose_image_names(self) -> ChosenNames:
        """Return the refs and labels of the image that `build` makes. Raises InputError."""
        given = NamingInput(
            image=self.settings.image or self.settings.local_image,
            tag=self.settings.tag,
            push=self.options.push,
            trigger=self.trigger,
            default_branch=self.default_branch,
            commit=self._find_commit(),
            bake_files={str(path): read_text(path) for path in self.options.bake_file},
        )
        return choose_names(given, self._read_image_labels, self.checkout.is_ancestor)

    def _find_commit(self) -> CommitInfo:
        """Return the checked-out commit; the CI's variables say what git does not know."""
        commit = self.checkout.current_commit()
        if self.ci_run is None:
            return commit
        return replace(
            commit,
            revision=commit.revision or self.ci_run.revision,
            source=self.ci_run.source or commit.source,
        )

    @cached_property
    def too_old(self) -> dict[str, TooOld]:
        """Return the stages that this push refreshes because of `max-age`; none but on the default branch."""
        max_ages = self._find_max_ages()
        if not max_ages or self.access.writes != DEFAULT_SCOPE or self._forces_all:
            return {}
        (ledger, *_) = self.ledger_store.read_ledgers(self.access)
        too_old = find_too_old(self.graph, ledger, max_ages, time.time())
        return choose_refresh(too_old, all_at_once=self.options.refresh)

    def _find_max_ages(self) -> dict[str, float]:
        """Return `max-age` with the names of the graph. Raises InputError for an unknown stage."""
        origin = self.settings.origins.get("max-age", "max-age")
        max_ages: dict[str, float] = {}
        for written, seconds in self.settings.max_age.items():
            name = written and self.graph.find_stage(written, origin).name
            max_ages[name] = seconds
        return max_ages

    @cached_property
    def stages_to_force(self) -> ForcedStages:
        """Return the stages that --no-cache and `max-age` force."""
        return self.graph.force_stages((*self.forced_stages.named, *self.too_old))

    def _read_image_labels(self, tag: str) -> Mapping[str, str] | None:
        """Read the labels of an image; a registry that fails counts as empty, and the build reports it."""
        registry = self.build_stores.images
        if registry is None:
            return None
        try:
            return read_image_labels(registry, tag)
        except RegistryError:
            return None

    @property
    def ledger_store(self) -> LedgerStore:
        return self._open_ledgers(self.build_stores.caches)

    def _open_ledgers(self, caches: CacheRepository | None) -> LedgerStore:
        folder = user_cache_folder(os.environ)
        name = self.settings.image or str(self.settings.root.resolve())
        return LedgerStore(name, caches, folder)

    def stage_times(self) -> dict[str, float]:
        """Return the build seconds of stages, as far as they are known.

        Flags come first, then the ledger on this machine, then the ledger beside the caches.
        """
        needed = {stage.name for stage in self.graph.needed_stages()}
        times = given_stage_times(self.options.seconds, self.options.times, self.graph)
        for caches in (None, self.build_stores.caches):
            if needed <= times.keys():
                break
            ledgers = self._open_ledgers(caches).read_ledgers(self.access)
            times = ledger_stage_times(ledgers) | times
        return times

    def cached_step_layers(self) -> LayeredStages:
        """Return the layers of each stage's steps in the stage caches; nothing where these cannot be read."""
        repository = self.build_stores.caches
        if repository is None:
            return {}
        caches = read_stage_caches(repository, self.graph, self.access)
        return read_step_layers(self.graph, nearest_stage_caches(caches))

    def create_fingerprinter(self, text: str) -> Fingerprinter:
        """Return a Fingerprinter for a Dockerfile with this text, on each platform of the settings."""
        settings = self.settings
        variants = [replace(settings, platforms=(platform,)) for platform in settings.platforms]
        graphs = [_parse_graph(variant, text) for variant in variants or [settings]]
        return Fingerprinter(
            graphs=graphs,
            settings=settings,
            override=self.override_text,
            memory=hash_memory_file(settings.root / settings.context, os.environ),
            source_policy=source_policy_file(os.environ, settings.root),
        )


def read_command(options: argparse.Namespace) -> Command:
    """Return the command for this folder.

    Without an `image` setting, the image is named after the repository on GitHub.
    """
    checkout = GitCheckout(Path())
    settings = read_settings(options)
    _refuse_missing_context(settings)
    ci_run = _read_ci_run(checkout)
    image = (ci_run and ci_run.image) or checkout.default_image()
    if settings.image is None:
        settings = settings.with_image(image.name)
    return Command(options, settings, checkout, ci_run, image)


def _read_ci_run(checkout: GitCheckout) -> CiRun | None:
    """Return the CI run that this process belongs to; one whose checkout is of another commit is not trusted."""
    run = read_github_run(os.environ) or read_other_ci(os.environ)
    if run is None or run.revision is None:
        return run
    head = checkout.current_commit().revision
    holds_revision = head is not None and checkout.is_ancestor(run.revision, head)
    return trust_checkout(run, head, holds_revision=holds_revision)


def _list_missing_home() -> tuple[str, ...]:
    """Return a warning for a user without a home directory."""
    if user_cache_folder(os.environ) is not None:
        return ()
    return (
        "HOME is not set, and this user has no home directory: no ledger is kept on this machine; set HOME or "
        "XDG_CACHE_HOME",
    )


def _refuse_missing_context(settings: Settings) -> None:
    if not settings.remote_context and not (settings.root / settings.context).is_dir():
        origin = settings.origins.get("context", "context")
        raise InputError(f"{origin}: missing folder `{settings.context}`", "name the folder that COPY copies from")


def _parse_graph(settings: Settings, text: str) -> StageGraph:
    return parse_dockerfile(
        text,
        path=settings.dockerfile,
        target=settings.target,
        target_origin=settings.origins.get("target"),
        args={**find_default_arguments(os.environ), **settings.args},
        platforms=settings.platforms,
        contexts=settings.contexts,
    )
