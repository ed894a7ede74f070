"""Explain a build, and record it in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from stagebake.build.events import StepRun
from stagebake.build.result import BuildResult, SavedCache, StageResult
from stagebake.cache.scopes import DEFAULT_SCOPE, Access
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.explain.after_build import explain_rebuilds, ledger_entries, overhead_seconds, record_build
from stagebake.explain.decision import (
    BlobMissing,
    CacheMissing,
    Forced,
    InputChanged,
    InputUnknown,
    ParentRebuilt,
    Reasons,
    StepRan,
)
from stagebake.explain.ledger import Ledger, LedgerEntry
from stagebake.explain.ledger_store import LedgerStore
from stagebake.explain.reasons import cause_chain, reason_lines
from stagebake.fingerprint.fingerprinter import Fingerprinter, Fingerprints
from stagebake.fingerprint.model import Fingerprint, Part
from stagebake.report.github_summary import UsualStage, usual_stages

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
IMAGE_AFTER_DEPS = ParentRebuilt("deps", DEPS_STEP)


def make_step(name: str, *, ran: bool) -> StepRun:
    return StepRun(name=name, stage="a", number=2, cached=not ran, ran=ran, running=False, intervals=((0.0, 1.0),))


def make_stage(
    name: str, step: str = "", *, seconds: float = 1.0, evidence: str = "", partly: bool = False
) -> StageResult:
    """Return a stage that ran `step`, or was restored without one; `partly` leaves its last step cached."""
    ran = bool(step)
    return StageResult(
        name=name,
        status="rebuilt" if ran else "restored",
        seconds=seconds,
        steps=(make_step(step or "RUN a", ran=ran), make_step("RUN b", ran=ran and not partly)),
        cache=SavedCache(ref="r", saved=True, bytes=7, evidence=frozenset({evidence})) if evidence else None,
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
    files = {name: Part("file", name, "1") for name in NAMES}
    files["deps"] = Part("file", "deps", deps, 3)
    return {name: Fingerprint(name, (file,)) for name, file in files.items()}


def make_ledger(deps: str = "1", **fields: float) -> Ledger:
    """Return the ledger of one build of all stages."""
    stages = {}
    for name, found in make_prints(deps).items():
        stages[name] = (LedgerEntry(fingerprint=found, **fields),)  # type: ignore[arg-type]
    return Ledger(stages=stages)


def explain(
    result: BuildResult, deps: str = "1", ledgers: Sequence[Ledger] = (), scope: str = "main"
) -> dict[str, Reasons]:
    return explain_rebuilds(result, GRAPH, make_prints(deps), ledgers, scope)


def test_explain_rebuilds_file_differs_from_ledger_names_the_file() -> None:
    """Name the file instead of the step, and lead a child stage to it."""
    built = make_build(make_stage("deps", COPY_DEPS), make_stage("image", "RUN a"))
    reasons = explain(built, "2", [make_ledger()])
    assert reason_lines("deps", reasons["deps"]) == ["`deps` changed"]
    (reason,) = reasons["image"]
    assert cause_chain(reason) == ("deps", "deps")
    assert reasons.keys() == {"deps", "image"}


def test_explain_rebuilds_without_ledger_names_the_first_step() -> None:
    assert explain(make_build(make_stage("deps", COPY_DEPS)), "2")["deps"] == (DEPS_STEP,)


def test_explain_rebuilds_restored_steps_first_names_the_first_that_ran() -> None:
    steps = (make_step("COPY a a", ran=False), make_step("RUN b", ran=True), make_step("RUN c", ran=True))
    stage = StageResult(name="deps", status="rebuilt", steps=steps)
    assert explain(make_build(stage))["deps"] == (StepRan("RUN b"),)


def test_explain_rebuilds_two_parents_ran_names_both() -> None:
    built = make_build(make_stage("deps", COPY_DEPS), make_stage("stage-2", "RUN true"), make_stage("image", "COPY x"))
    assert explain(built)["image"] == (IMAGE_AFTER_DEPS, ParentRebuilt("stage-2", StepRan("RUN true")))


def test_explain_rebuilds_missing_cache_names_the_scope() -> None:
    uncached = make_build(make_stage("deps", COPY_DEPS), uncached=frozenset({"deps"}))
    assert explain_rebuilds(uncached, GRAPH, {}, [], "feature/x")["deps"] == (CacheMissing("feature/x"),)


def test_explain_rebuilds_missing_cache_and_parent_ran_names_the_parent() -> None:
    uncached = frozenset({"deps", "image"})
    built = make_build(make_stage("deps", COPY_DEPS), make_stage("image", "COPY x"), uncached=uncached)
    assert explain(built)["image"] == (ParentRebuilt("deps", CacheMissing("main")),)


def test_explain_rebuilds_lost_blob_is_named_unless_a_file_changed() -> None:
    healed = make_build(make_stage("deps", COPY_DEPS), healed=("deps",))
    assert explain(healed, "1", [make_ledger()])["deps"] == (BlobMissing(),)
    (reason,) = explain(healed, "2", [make_ledger()])["deps"]
    assert isinstance(reason, InputChanged)


def test_explain_rebuilds_unknown_input_is_named_after_a_missing_cache() -> None:
    """Name the missing cache first: it explains the rebuild, the unknown input only may."""
    unknown = Part("unknown", "ADD x", "remote")
    prints = {**make_prints(), "deps": Fingerprint("deps", (unknown,))}
    built = make_build(make_stage("deps", COPY_DEPS))
    assert explain_rebuilds(built, GRAPH, prints, [], "main")["deps"] == (InputUnknown(unknown),)
    uncached = replace(built, uncached=frozenset({"deps"}))
    assert explain_rebuilds(uncached, GRAPH, prints, [], "main")["deps"] == (CacheMissing("main"),)


def test_explain_rebuilds_forced_stage_stays_forced() -> None:
    """Name --no-cache, whatever else changed, and name the forced parent for a stage that takes from it."""
    built = make_build(
        make_stage("deps", COPY_DEPS), make_stage("image", "COPY x"), forced=GRAPH.force_stages(("deps",))
    )
    reasons = explain(built, "2", [make_ledger()])
    assert reasons["deps"] == (Forced(),)
    assert reasons["image"] == (ParentRebuilt("deps", Forced()),)


def test_ledger_entries_hold_the_time_and_the_cache_of_each_stage() -> None:
    deps = make_stage("deps", COPY_DEPS, seconds=60.0, evidence="d")
    image = make_stage("image", "COPY x", evidence="i")
    found = ledger_entries(make_build(deps, image), GRAPH, make_prints(), [], when=5)
    deps_entry, base_entry = found["deps"], found["base"]
    assert (deps_entry.ran, deps_entry.restored, deps_entry.bytes, deps_entry.when) == (60.0, None, 7, 5)
    assert deps_entry.evidence == {"d"}
    assert (base_entry.ran, base_entry.restored) == (None, 1.0)


def test_ledger_entries_stage_without_own_cache_has_the_child_cache() -> None:
    """Record for all parents that the cache of a child stage holds their results too."""
    found = ledger_entries(make_build(make_stage("image", "RUN a", evidence="i")), GRAPH, make_prints(), [], when=5)
    assert {name: entry.evidence for name, entry in found.items()} == {name: {"i"} for name in NAMES}
    nothing_saved = ledger_entries(make_build(), GRAPH, make_prints(), [], when=5)
    assert not any(entry.evidence for entry in nothing_saved.values())


def test_ledger_entries_partial_run_keeps_the_time_of_a_full_run() -> None:
    partly = make_build(make_stage("deps", COPY_DEPS, seconds=2.0, partly=True))
    assert ledger_entries(partly, GRAPH, make_prints(), [make_ledger(ran=60.0)], when=1)["deps"].ran == 60.0
    full = make_build(make_stage("deps", COPY_DEPS, seconds=2.0))
    assert ledger_entries(full, GRAPH, make_prints(), [make_ledger(ran=60.0)], when=1)["deps"].ran == 2.0


def test_ledger_entries_stage_without_fingerprint_is_left_out() -> None:
    """Leave out a stage whose files changed during the build."""
    prints = make_prints()
    del prints["deps"]
    assert "deps" not in ledger_entries(make_build(make_stage("deps", COPY_DEPS)), GRAPH, prints, [], when=1)


def test_overhead_seconds_is_the_time_beside_the_stages() -> None:
    """Subtract three stages of one second, one after the other, from the ten seconds until the image was available."""
    assert overhead_seconds(make_build(), GRAPH) == 10.0 - 3.0


def test_usual_stages_take_the_nearest_ledger_that_knows() -> None:
    known = usual_stages([Ledger(), make_ledger(ran=60.0, bytes=9)], GRAPH)
    assert known["deps"] == UsualStage(seconds=60.0, bytes=9)
    assert usual_stages([], GRAPH)["deps"] == UsualStage()


class FixedFingerprinter:
    """Fingerprinter that always finds the same."""

    def fingerprint_folder(self) -> Fingerprints:
        return make_prints("2")


def record(first: Future[Fingerprints], home: Path) -> tuple[Reasons, tuple[str, ...], dict[str, LedgerEntry]]:
    """Record a build of `deps`; return its reasons, the warnings and the ledger entries afterwards."""
    access = Access(reads=(DEFAULT_SCOPE,), writes=None)
    store = LedgerStore("image", None, home)
    built = make_build(make_stage("deps", COPY_DEPS))
    fingerprinter = cast(Fingerprinter, FixedFingerprinter())
    found = record_build(built, GRAPH, fingerprinter, first, store, access, "main")
    (ledger,) = store.read_ledgers(access)
    return found.reasons["deps"], found.result.warnings, {name: entries[0] for name, entries in ledger.stages.items()}


@pytest.mark.parametrize(("deps", "recorded"), [("2", set(NAMES)), ("1", set(NAMES) - {"deps"})])
def test_record_build_file_changed_meanwhile_leaves_the_stage_out(
    tmp_path: Path, deps: str, recorded: set[str]
) -> None:
    first: Future[Fingerprints] = Future()
    first.set_result(make_prints(deps))
    reasons, warnings, entries = record(first, tmp_path)
    assert reasons == (DEPS_STEP,)
    assert warnings == ()
    assert entries.keys() == recorded


def test_record_build_error_becomes_a_warning(tmp_path: Path) -> None:
    """Warn, and still name the step: the image is already available."""
    first: Future[Fingerprints] = Future()
    first.set_exception(OSError("disk"))
    reasons, warnings, entries = record(first, tmp_path)
    assert reasons == (DEPS_STEP,)
    assert warnings == ("cannot explain the rebuilds in detail or update the ledger: disk",)
    assert entries == {}
