"""Explain a build, and record it in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from stagebake.build.result import BuildResult, SavedCache, StageResult
from stagebake.buildkit.events import StepRun
from stagebake.buildkit.versions import Versions
from stagebake.cache.scopes import DEFAULT_SCOPE, Access
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.explain.after_build import (
    BuildRecord,
    BuildScopes,
    explain_rebuilds,
    ledger_entries,
    overhead_seconds,
    record_build,
)
from stagebake.explain.decision import (
    BlobMissing,
    BuildKitChanged,
    CacheMissing,
    Forced,
    InputChanged,
    InputUnknown,
    ParentRebuilt,
    Reasons,
    StepRan,
    TooOld,
)
from stagebake.explain.ledger import Ledger, LedgerEntry
from stagebake.explain.ledger_store import LedgerStore
from stagebake.explain.reasons import cause_chain, reason_lines
from stagebake.fingerprint.fingerprinter import Fingerprinter, Fingerprints
from stagebake.fingerprint.model import Fingerprint, Part

GRAPH = parse_dockerfile("""\
FROM busybox AS base
FROM base AS deps
COPY deps .
FROM busybox
RUN true
FROM deps AS image
COPY --from=2 /a /
""")
NAMES = ("base", "deps", "stage-2", "image")
COPY_DEPS = "COPY deps ."
DEPS_STEP = StepRan(COPY_DEPS)


def make_step(name: str, *, ran: bool) -> StepRun:
    return StepRun(name=name, stage="a", number=2, cached=not ran, ran=ran, running=False, intervals=((0.0, 1.0),))


def make_stage(
    name: str,
    step: str = "",
    *,
    seconds: float = 1.0,
    evidence: str = "",
    partly: bool = False,
) -> StageResult:
    """Return a stage that ran `step`, or was restored without one; `partly` leaves its last step cached."""
    ran = bool(step)
    first_step = make_step(step or "RUN a", ran=ran)
    last_step = make_step("RUN b", ran=ran and not partly)
    cache = SavedCache(ref="r", saved=True, bytes=7, evidence=frozenset({evidence}))
    return StageResult(
        name=name,
        status="rebuilt" if ran else "restored",
        seconds=seconds,
        steps=(first_step, last_step),
        cache=cache if evidence else None,
    )


def make_build(*stages: StageResult, **fields: object) -> BuildResult:
    given = {stage.name: stage for stage in stages}
    result = BuildResult(
        stages=tuple(given.get(name, make_stage(name)) for name in NAMES),
        refs=("image:latest",),
        pushed_image=True,
        digest=None,
        ship_seconds=10.0,
        save_seconds=1.0,
        pulled=0,
        pushed=0,
    )
    return replace(result, **fields)  # type: ignore[arg-type]


def make_prints(deps: str = "1") -> dict[str, Fingerprint]:
    contents = dict.fromkeys(NAMES, "1") | {"deps": deps}
    prints: dict[str, Fingerprint] = {}
    for name, content in contents.items():
        file = Part("file", name, content, 3)
        prints[name] = Fingerprint(name, (file,))
    return prints


def make_ledger(deps: str = "1", **fields: object) -> Ledger:
    """Return the ledger of one build of all stages."""
    stages = {}
    for name, found in make_prints(deps).items():
        stages[name] = (LedgerEntry(fingerprint=found, **fields),)  # type: ignore[arg-type]
    return Ledger(stages=stages)


def explain_build(
    result: BuildResult,
    deps: str = "1",
    ledgers: Sequence[Ledger] = (),
) -> dict[str, Reasons]:
    prints = make_prints(deps)
    return explain_rebuilds(result, GRAPH, prints, ledgers, "main")


def record_entries(result: BuildResult, ledgers: Sequence[Ledger] = ()) -> dict[str, LedgerEntry]:
    prints = make_prints()
    return ledger_entries(result, GRAPH, prints, ledgers, when=5)


DEPS_BUILD = make_build(make_stage("deps", COPY_DEPS))
IMAGE_BUILD = make_build(make_stage("deps", COPY_DEPS), make_stage("image", "COPY x"))


def test_explain_rebuilds_file_differs_from_ledger_names_the_file() -> None:
    """Name the file instead of the step, and lead a child stage to it."""
    reasons = explain_build(IMAGE_BUILD, "2", [make_ledger()])
    assert reason_lines("deps", reasons["deps"]) == ["`deps` changed"]
    (reason,) = reasons["image"]
    assert cause_chain(reason) == ("deps", "deps")
    assert reasons.keys() == {"deps", "image"}


def test_explain_rebuilds_without_ledger_names_the_first_step() -> None:
    reasons = explain_build(DEPS_BUILD, "2")
    assert reasons["deps"] == (DEPS_STEP,)


def test_explain_rebuilds_restored_steps_first_names_the_first_that_ran() -> None:
    steps = (
        make_step("COPY a a", ran=False),
        make_step("RUN b", ran=True),
        make_step("RUN c", ran=True),
    )
    stage = StageResult(name="deps", status="rebuilt", steps=steps)
    reasons = explain_build(make_build(stage))
    assert reasons["deps"] == (StepRan("RUN b"),)


def test_explain_rebuilds_two_parents_ran_names_both() -> None:
    built = make_build(
        make_stage("deps", COPY_DEPS),
        make_stage("stage-2", "RUN true"),
        make_stage("image", "COPY x"),
    )
    reasons = explain_build(built)
    assert reasons["image"] == (
        ParentRebuilt("deps", DEPS_STEP),
        ParentRebuilt("stage-2", StepRan("RUN true")),
    )


def test_explain_rebuilds_missing_cache_names_the_scope() -> None:
    uncached = replace(DEPS_BUILD, uncached=frozenset({"deps"}))
    reasons = explain_rebuilds(uncached, GRAPH, {}, [], "feature/x")
    assert reasons["deps"] == (CacheMissing("feature/x"),)


def test_explain_rebuilds_missing_cache_and_parent_ran_names_the_parent() -> None:
    uncached = replace(IMAGE_BUILD, uncached=frozenset({"deps", "image"}))
    reasons = explain_build(uncached)
    assert reasons["image"] == (ParentRebuilt("deps", CacheMissing("main")),)


def test_explain_rebuilds_lost_blob_is_named_unless_a_file_changed() -> None:
    healed = replace(DEPS_BUILD, healed=("deps",))
    ledgers = [make_ledger()]
    assert explain_build(healed, "1", ledgers)["deps"] == (BlobMissing(),)
    (reason,) = explain_build(healed, "2", ledgers)["deps"]
    assert isinstance(reason, InputChanged)


def test_explain_rebuilds_unknown_input_is_named_after_a_missing_cache() -> None:
    """Name the missing cache first: it explains the rebuild, the unknown input only may."""
    unknown = Part("unknown", "ADD x", "remote")
    prints = {"deps": Fingerprint("deps", (unknown,))}
    reasons = explain_rebuilds(DEPS_BUILD, GRAPH, prints, [], "main")
    assert reasons["deps"] == (InputUnknown(unknown),)
    uncached = replace(DEPS_BUILD, uncached=frozenset({"deps"}))
    reasons = explain_rebuilds(uncached, GRAPH, prints, [], "main")
    assert reasons["deps"] == (CacheMissing("main"),)


@pytest.mark.parametrize(
    ("built_by", "now", "reason"),
    [
        ("0.25.2", "0.35.1", BuildKitChanged("0.25.2", "0.35.1")),
        ("0.35.1", "0.25.2", BuildKitChanged("0.35.1", "0.25.2")),
        ("0.25.2", "0.25.2", DEPS_STEP),
        ("", "0.35.1", DEPS_STEP),
        ("0.25.2", "", DEPS_STEP),
    ],
)
def test_explain_rebuilds_unchanged_stage_that_ran_names_another_buildkit(
    built_by: str, now: str, reason: object
) -> None:
    ledger = make_ledger(versions=Versions(built_by))
    built = replace(DEPS_BUILD, versions=Versions(now))
    assert explain_build(built, "1", [ledger])["deps"] == (reason,)
    (changed,) = explain_build(built, "2", [ledger])["deps"]
    assert isinstance(changed, InputChanged)
    uncached = replace(built, uncached=frozenset({"deps"}))
    assert explain_build(uncached, "1", [ledger])["deps"] == (CacheMissing("main"),)


def test_ledger_entries_have_the_versions_of_the_build() -> None:
    """Compare the next build with the version that last restored the stage, not with the one that first built it."""
    versions = Versions("0.35.1", "0.36.1")
    entries = record_entries(replace(DEPS_BUILD, versions=versions))
    assert {entry.versions for entry in entries.values()} == {versions}
    ledger = make_ledger(versions=Versions("0.25.2")).with_build(entries, None)
    assert {entry.versions for name in NAMES for entry in ledger.find_entries(name)} == {versions}
    unknown = ledger.with_build(record_entries(DEPS_BUILD), None)
    assert {entry.versions for name in NAMES for entry in unknown.find_entries(name)} == {versions}


def test_explain_rebuilds_stage_that_is_too_old_says_so_and_its_dependents_name_it() -> None:
    """Do not name --no-cache for what `max-age` forces; a stage that both force is too old."""
    forced = replace(IMAGE_BUILD, forced=GRAPH.force_stages(("deps",)))
    too_old = {"deps": TooOld(max_age=86_400.0, built=5)}
    reasons = explain_rebuilds(forced, GRAPH, make_prints("1"), [make_ledger()], "main", too_old)
    assert reasons["deps"] == (too_old["deps"],)
    assert reasons["image"] == (ParentRebuilt("deps", too_old["deps"]),)


def test_explain_rebuilds_forced_stage_stays_forced() -> None:
    """Name --no-cache even where inputs changed too, and name the forced parent for a stage that takes from it."""
    forced = replace(IMAGE_BUILD, forced=GRAPH.force_stages(("deps",)))
    reasons = explain_build(forced, "2", [make_ledger()])
    assert reasons["deps"] == (Forced(),)
    assert reasons["image"] == (ParentRebuilt("deps", Forced()),)


def test_ledger_entries_hold_the_time_and_the_cache_of_each_stage() -> None:
    deps = make_stage("deps", COPY_DEPS, seconds=60.0, evidence="d")
    image = make_stage("image", "COPY x", evidence="i")
    entries = record_entries(make_build(deps, image))
    prints = make_prints()
    assert entries["deps"] == LedgerEntry(
        fingerprint=prints["deps"],
        evidence=frozenset({"d"}),
        ran=60.0,
        restored=None,
        bytes=7,
        when=5,
        built=5,
    )
    assert entries["base"].built == 5  # no ledger knows when it ran
    assert entries["base"].ran is None
    assert entries["base"].restored == 1.0


def test_ledger_entries_restored_stage_keeps_the_time_of_its_run() -> None:
    prints = make_prints("1")
    known = Ledger(stages={"base": (LedgerEntry(fingerprint=prints["base"], when=3, built=2),)})
    entries = ledger_entries(make_build(), GRAPH, prints, [Ledger(), known], 5)
    assert (entries["base"].built, entries["base"].when) == (2, 5)


def test_ledger_entries_stage_without_own_cache_has_the_child_cache() -> None:
    """Record for all parents that the cache of a child stage holds their results too."""
    image = make_stage("image", "RUN a", evidence="i")
    entries = record_entries(make_build(image))
    assert entries.keys() == set(NAMES)
    assert all(entry.evidence == {"i"} for entry in entries.values())


def test_ledger_entries_without_saved_cache_have_no_evidence() -> None:
    entries = record_entries(make_build())
    assert not any(entry.evidence for entry in entries.values())


@pytest.mark.parametrize(("partly", "seconds"), [(True, 60.0), (False, 2.0)])
def test_ledger_entries_partial_run_keeps_the_time_of_a_full_run(partly: bool, seconds: float) -> None:
    stage = make_stage("deps", COPY_DEPS, seconds=2.0, partly=partly)
    entries = record_entries(make_build(stage), [make_ledger(ran=60.0)])
    assert entries["deps"].ran == seconds


def test_ledger_entries_stage_without_fingerprint_is_left_out() -> None:
    """Leave out a stage whose files changed during the build."""
    prints = make_prints()
    del prints["deps"]
    entries = ledger_entries(DEPS_BUILD, GRAPH, prints, [], when=1)
    assert "deps" not in entries


def test_overhead_seconds_is_the_time_beside_the_stages() -> None:
    """Subtract three stages of one second, one after the other, from the ten seconds until the image was available."""
    assert overhead_seconds(make_build(), GRAPH) == 10.0 - 3.0


class FixedFingerprinter:
    """Fingerprinter that always finds the same."""

    def fingerprint_folder(self) -> Fingerprints:
        return make_prints("2")


def record_deps_build(first: Future[Fingerprints], home: Path) -> tuple[BuildRecord, Ledger]:
    """Record a build of `deps`; return the record, and the ledger afterwards."""
    access = Access(reads=(DEFAULT_SCOPE,), writes=None)
    store = LedgerStore("image", None, home)
    record = record_build(
        DEPS_BUILD,
        GRAPH,
        cast(Fingerprinter, FixedFingerprinter()),
        first,
        store,
        BuildScopes(access=access, name="main"),
    )
    (ledger,) = store.read_ledgers(access)
    return record, ledger


@pytest.mark.parametrize(
    ("deps", "recorded"),
    [
        ("2", {"base", "deps", "stage-2", "image"}),
        ("1", {"base", "stage-2", "image"}),
    ],
)
def test_record_build_file_changed_meanwhile_leaves_the_stage_out(
    tmp_path: Path, deps: str, recorded: set[str]
) -> None:
    first: Future[Fingerprints] = Future()
    first.set_result(make_prints(deps))
    record, ledger = record_deps_build(first, tmp_path)
    assert record.reasons["deps"] == (DEPS_STEP,)
    assert record.result.warnings == ()
    assert ledger.stages.keys() == recorded


def test_record_build_error_becomes_a_warning(tmp_path: Path) -> None:
    """Warn, and still name the step: the image is already available."""
    first: Future[Fingerprints] = Future()
    first.set_exception(OSError("disk"))
    record, ledger = record_deps_build(first, tmp_path)
    assert record.reasons["deps"] == (DEPS_STEP,)
    assert record.result.warnings == ("cannot explain the rebuilds in detail or update the ledger: disk",)
    assert ledger == Ledger()
