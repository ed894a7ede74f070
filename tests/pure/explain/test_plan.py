"""Predict what the next build does with each stage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from stagebake.buildkit.versions import Versions
from stagebake.dockerfile.stages import ForcedStages, parse_dockerfile
from stagebake.explain.decision import (
    BlobMissing,
    CacheMissing,
    CachesUnreadable,
    Forced,
    ParentsDiffer,
    Reasons,
    TooOld,
)
from stagebake.explain.ledger import Ledger, LedgerEntry
from stagebake.explain.plan import (
    AvailableCaches,
    Plan,
    PlanInput,
    add_traffic,
    make_plan,
    mark_uncommitted,
    plan_json,
)
from stagebake.explain.reasons import cause_chain, reason_words
from stagebake.fingerprint.model import Fingerprint, Part
from stagebake.transfer.step_layers import Layer, LayeredStep
from stagebake.transfer.step_traffic import Traffic

GRAPH = parse_dockerfile("""\
FROM busybox AS base
FROM base AS deps
COPY deps .
FROM base AS side
COPY side .
FROM deps AS builder
COPY src .
FROM base AS image
COPY --from=builder /a /
COPY --from=side /b /
""")
OWN_FILES = {"deps": "deps", "side": "side", "builder": "src"}
ALL = frozenset(GRAPH.names)


def make_prints(**files: str) -> dict[str, Fingerprint]:
    """Return the fingerprints of all stages: the file that each copies ("?" if unknown), and its parents."""
    found: dict[str, Fingerprint] = {}
    for stage in GRAPH.needed_stages():
        parts = [Part("stage", parent, found[parent].digest) for parent in stage.parents]
        if stage.name in OWN_FILES:
            parts.append(make_file(OWN_FILES[stage.name], files))
        found[stage.name] = Fingerprint(stage.name, tuple(parts))
    return found


def make_file(name: str, contents: Mapping[str, str]) -> Part:
    content = contents.get(name, "1")
    if content == "?":
        return Part("unknown", "ADD", "remote")
    return Part("file", name, content, 3)


def make_entries(prints: Mapping[str, Fingerprint], when: int = 1) -> dict[str, LedgerEntry]:
    """Return the entries of a build in which every stage ran for ten seconds and was saved."""
    entries: dict[str, LedgerEntry] = {}
    for name, found in prints.items():
        entries[name] = LedgerEntry(
            fingerprint=found,
            evidence=frozenset({f"{name}{when}"}),
            ran=10.0,
            restored=1.0,
            when=when,
        )
    return entries


def make_ledger(*builds: Mapping[str, LedgerEntry]) -> Ledger:
    """Return the ledger of these builds, newest first."""
    stages = {name: tuple(entries[name] for entries in builds) for name in ALL}
    return Ledger(stages=stages, overhead=2.0)


def make_evidence(*names: str, when: int = 1) -> frozenset[str]:
    """Return the evidence of the caches of these stages, of all without a name."""
    return frozenset(f"{name}{when}" for name in names or ALL)


FIRST_BUILD = make_entries(make_prints())
FIRST_LEDGER = make_ledger(FIRST_BUILD)
ALL_CACHES = AvailableCaches(available=make_evidence(), stages=ALL)


def predict(
    prints: Mapping[str, Fingerprint] | None = None,
    ledgers: Sequence[Ledger] = (FIRST_LEDGER,),
    caches: AvailableCaches = ALL_CACHES,
    forced: frozenset[str] = frozenset(),
    buildkit: str = "",
) -> Plan:
    """Return the plan after a first build that was saved."""
    plan_input = PlanInput(
        graph=GRAPH,
        prints=prints or make_prints(),
        ledgers=ledgers,
        caches=caches,
        forced=GRAPH.force_stages(forced),
        buildkit=buildkit,
    )
    return make_plan(plan_input)


def test_plan_stage_that_is_too_old_is_rebuilt_with_its_dependents() -> None:
    too_old = {"deps": TooOld(max_age=86_400.0, built=1_795_132_800)}
    forced = GRAPH.force_stages(too_old)
    plan = make_plan(
        PlanInput(
            graph=GRAPH,
            prints=make_prints(),
            ledgers=(FIRST_LEDGER,),
            caches=ALL_CACHES,
            forced=forced,
            too_old=too_old,
        )
    )
    reasons = {stage.name: stage.reasons for stage in plan.stages if stage.verdict == "rebuild"}
    assert reasons.keys() == forced.with_dependents
    assert reasons["deps"] == (too_old["deps"],)


def read_verdicts(plan: Plan) -> dict[str, str]:
    return {stage.name: stage.verdict for stage in plan.stages}


def stages_to(verdict: str, plan: Plan) -> set[str]:
    return {stage.name for stage in plan.stages if stage.verdict == verdict}


def read_reasons(plan: Plan, name: str) -> Reasons:
    return next(stage.reasons for stage in plan.stages if stage.name == name)


def read_words(plan: Plan, name: str) -> list[str]:
    return [reason_words(reason) for reason in read_reasons(plan, name)]


def test_plan_unchanged_inputs_restore_all_stages() -> None:
    """Expect the time that restoring the longest path took, and the overhead."""
    plan = predict()
    assert stages_to("restore", plan) == ALL
    assert plan.seconds == 4 * 1.0 + 2.0


def test_plan_changed_file_rebuilds_the_stage_and_its_dependents() -> None:
    """Name the file for the stage that copies it, and the way to it for the others."""
    plan = predict(make_prints(deps="2"))
    assert stages_to("rebuild", plan) == {"deps", "builder", "image"}
    assert stages_to("restore", plan) == {"base", "side"}
    assert read_words(plan, "deps") == ["`deps` changed"]
    (reason,) = read_reasons(plan, "image")
    assert cause_chain(reason) == ("builder", "deps", "deps")
    assert plan.seconds == 1.0 + 10.0 + 10.0 + 10.0 + 2.0


def test_plan_unknown_input_makes_dependents_unknown() -> None:
    unknown = make_prints(deps="?")
    ledger = make_ledger(make_entries(unknown))
    plan = predict(unknown, [ledger])
    assert stages_to("unknown", plan) == {"deps", "builder", "image"}
    assert stages_to("restore", plan) == {"base", "side"}
    assert read_words(plan, "deps") == ["`ADD`: remote"]


def test_plan_changed_file_on_an_unknown_stage_rebuilds() -> None:
    before = make_entries(make_prints(deps="?"))
    now = make_prints(deps="?", src="2")
    plan = predict(now, [make_ledger(before)])
    assert stages_to("rebuild", plan) == {"builder", "image"}


@pytest.mark.parametrize("lost", sorted(ALL))
def test_plan_incomplete_cache_restores_neither_the_stage_nor_its_dependents(lost: str) -> None:
    complete = ALL - {lost}
    caches = replace(ALL_CACHES, available=make_evidence(*complete))
    plan = predict(caches=caches)
    assert stages_to("restore", plan) == ALL - GRAPH.with_dependents({lost})


def test_plan_reverted_change_restores_the_older_result() -> None:
    newer = make_entries(make_prints(deps="2"), when=2)
    plan = predict(ledgers=[make_ledger(newer, FIRST_BUILD)])
    assert stages_to("restore", plan) == ALL


def test_plan_compares_with_the_nearest_saved_build() -> None:
    """Ignore a build that was never saved."""
    unsaved: dict[str, LedgerEntry] = {}
    for name, entry in make_entries(make_prints(deps="2", src="2"), when=9).items():
        unsaved[name] = replace(entry, evidence=frozenset())
    ledger = make_ledger(unsaved, FIRST_BUILD)
    plan = predict(make_prints(src="3"), [ledger])
    assert read_verdicts(plan)["deps"] == "restore"
    assert read_words(plan, "builder") == ["`src` changed"]


def test_plan_renamed_stage_is_restored() -> None:
    """Find the cache under the old stage name: a name is not part of a cache key."""
    stages = dict(FIRST_LEDGER.stages)
    stages["wheels"] = stages.pop("deps")
    plan = predict(ledgers=[Ledger(stages=stages)])
    assert stages_to("restore", plan) == ALL


def test_plan_branch_without_ledger_uses_the_default_branch() -> None:
    plan = predict(ledgers=[Ledger(), FIRST_LEDGER])
    assert stages_to("restore", plan) == ALL


def test_plan_without_caches_rebuilds_all_stages() -> None:
    plan = predict(ledgers=[], caches=AvailableCaches(scope="feature/x"))
    assert stages_to("rebuild", plan) == ALL
    assert read_reasons(plan, "base") == (CacheMissing("feature/x"),)
    assert plan.seconds is None


def test_plan_without_ledger_is_unknown() -> None:
    assert stages_to("unknown", predict(ledgers=[])) == ALL


def test_plan_broken_cache_rebuilds_for_the_missing_blob() -> None:
    complete = ALL - {"deps"}
    caches = replace(
        ALL_CACHES,
        available=make_evidence(*complete),
        broken=frozenset({"deps"}),
    )
    plan = predict(caches=caches)
    assert read_reasons(plan, "deps") == (BlobMissing(),)
    assert read_verdicts(plan)["builder"] == "rebuild"


def test_plan_forced_stage_rebuilds_with_its_dependents() -> None:
    plan = predict(forced=frozenset({"deps"}))
    assert read_reasons(plan, "deps") == (Forced(),)
    assert stages_to("rebuild", plan) == GRAPH.with_dependents({"deps"})


def test_plan_since_a_commit_assumes_the_caches_of_that_commit() -> None:
    plan_input = PlanInput(
        graph=GRAPH,
        prints=make_prints(src="2"),
        since=make_prints(),
    )
    plan = make_plan(plan_input)
    assert stages_to("rebuild", plan) == {"builder", "image"}
    assert read_words(plan, "builder") == ["`src` changed"]


def test_plan_new_combination_of_known_parents_rebuilds() -> None:
    """Rebuild a stage whose inputs were each built before, but never together."""
    first = make_entries(make_prints(deps="2"))
    second = make_entries(make_prints(src="2"), when=2)
    evidence = make_evidence() | make_evidence(when=2)
    plan = predict(
        make_prints(deps="2", src="2"),
        ledgers=[make_ledger(second, first)],
        caches=replace(ALL_CACHES, available=evidence),
    )
    assert read_verdicts(plan)["deps"] == "restore"
    assert read_reasons(plan, "builder") == (ParentsDiffer(("deps",)),)


def test_plan_new_stage_beside_a_merged_cache_rebuilds() -> None:
    """Use the ledger, because a merged cache does not name its stages; without a ledger it is unknown."""
    known = ALL - {"side"}
    caches = AvailableCaches(
        available=make_evidence(*known),
        stages=ALL,
        merged=True,
    )
    ledger = Ledger(stages={name: FIRST_LEDGER.stages[name] for name in known})
    plan = predict(ledgers=[ledger], caches=caches)
    assert read_reasons(plan, "side") == (CacheMissing("main"),)
    without_ledger = predict(ledgers=[], caches=caches)
    assert read_verdicts(without_ledger)["side"] == "unknown"


def test_plan_unreadable_caches_are_unknown() -> None:
    """Treat an error of the registry neither as a cache nor as a missing one."""
    readable = ALL - {"side"}
    caches = AvailableCaches(
        available=make_evidence(*readable),
        stages=ALL - {"deps"},
        read_failure="GET answered 429",
    )
    plan = predict(caches=caches)
    assert read_verdicts(plan)["side"] == "unknown"
    assert read_reasons(plan, "side") == (CachesUnreadable("GET answered 429"),)
    nothing_read = predict(caches=AvailableCaches(read_failure="no answer"))
    assert stages_to("unknown", nothing_read) == ALL


def test_mark_uncommitted_replaces_the_files_of_a_path_by_one_unknown_part() -> None:
    files = (
        Part("file", "dist/a", "1", 3),
        Part("file", "dist/b/c", "1", 3),
        Part("file", "src", "1", 3),
    )
    prints = {"app": Fingerprint("app", files)}
    marked = mark_uncommitted(prints, {"dist"})
    kinds = [(part.kind, part.name) for part in marked["app"].parts]
    assert kinds == [("unknown", "dist"), ("file", "src")]


def test_make_plan_with_another_buildkit_has_a_note_of_the_restored_stages() -> None:
    """Keep the verdicts. A change of the inputs explains more than the version, and an unknown version nothing."""
    entries = make_entries(make_prints())
    old = {name: replace(entry, versions=Versions("0.25.2", "0.29.1")) for name, entry in entries.items()}
    ledger = make_ledger(old)
    same = predict(make_prints(), [ledger], buildkit="0.25.2")
    newer = predict(make_prints(), [ledger], buildkit="0.35.1")
    assert same.notes == predict(make_prints(), [ledger]).notes == ()
    assert newer.stages == same.stages
    (note,) = newer.notes
    assert note.startswith("BuildKit 0.25.2 → 0.35.1 since base, deps, ")
    (note,) = predict(make_prints(deps="2"), [ledger], buildkit="0.35.1").notes
    assert note.startswith("BuildKit 0.25.2 → 0.35.1 since base, side last built")
    assert json.loads(plan_json(newer))["notes"] == list(newer.notes)


def test_plan_json_has_the_documented_keys() -> None:
    """Round seconds to milliseconds."""
    plan = predict(make_prints(deps="2"))
    document = json.loads(plan_json(plan))
    assert set(document) == {"stages", "seconds", "bytes", "warnings", "notes"}
    for stage in document["stages"]:
        assert set(stage) == {"name", "expected", "reasons", "seconds", "bytes", "steps"}
    stages = {stage["name"]: stage for stage in document["stages"]}
    assert stages["deps"] == {
        "name": "deps",
        "expected": "rebuild",
        "seconds": 10.0,
        "reasons": [{"kind": "file", "what": "`deps` changed", "chain": ["deps"]}],
        "bytes": None,
        "steps": [],
    }
    assert document["seconds"] == 33.0


def layer_steps() -> dict[str, tuple[LayeredStep, ...]]:
    """Return the layers of the steps: the image of `base` has 100 bytes, and every COPY makes 10."""
    found = {}
    for stage in GRAPH.stages:
        steps = []
        for number, step in enumerate(stage.steps):
            size = 10 if number else 100
            is_own = number or stage.name == "base"
            layers = (Layer(f"{stage.name} {number}", size),) if is_own else ()
            steps.append(LayeredStep(stage=stage.name, step=step, layers=layers))
        found[stage.name] = tuple(steps)
    return found


def moved_by_stage(plan: Plan) -> dict[str, tuple[int, int] | None]:
    found: dict[str, tuple[int, int] | None] = {}
    for stage in plan.stages:
        found[stage.name] = (stage.moved.pulled, stage.moved.pushed) if stage.moved else None
    return found


def test_add_traffic_tells_what_the_running_steps_move() -> None:
    plan = predict(make_prints(src="2"))
    foretold = add_traffic(plan, GRAPH, layer_steps(), ForcedStages(), pushes=True)
    assert moved_by_stage(foretold) == {
        "base": (0, 0), "deps": (0, 0), "side": (0, 0), "builder": (110, 10), "image": (10, 20)
    }  # fmt: skip
    assert foretold.moved == Traffic(pulled=120, pushed=30)
    document = json.loads(plan_json(foretold))
    assert document["bytes"] == {"pulled": 120, "pushed": 30}
    steps = {stage["name"]: stage["steps"] for stage in document["stages"]}
    assert steps["builder"] == [{"step": "COPY src .", "line": 7, "bytes": {"pulled": 110, "pushed": 10}}]
    local = add_traffic(plan, GRAPH, layer_steps(), ForcedStages(), pushes=False)
    assert local.moved == Traffic(pulled=120, pushed=0)


def test_add_traffic_forced_stage_runs_all_its_steps() -> None:
    plan = predict(forced=frozenset({"image"}))
    foretold = add_traffic(plan, GRAPH, layer_steps(), GRAPH.force_stages(["image"]), pushes=True)
    assert foretold.moved == Traffic(pulled=130, pushed=20)


def test_add_traffic_stage_that_may_run_leaves_its_readers_unknown() -> None:
    """The file of `side` cannot be known before the build."""
    ledger = make_ledger(make_entries(make_prints(side="?")))
    plan = predict(make_prints(src="2", side="?"), ledgers=[ledger])
    foretold = add_traffic(plan, GRAPH, layer_steps(), ForcedStages(), pushes=True)
    moved = moved_by_stage(foretold)
    assert (moved["builder"], moved["side"], moved["image"]) == ((110, 10), None, None)


def test_add_traffic_stage_without_known_layers_has_none() -> None:
    layered = layer_steps()
    del layered["side"]
    foretold = add_traffic(predict(make_prints(src="2")), GRAPH, layered, ForcedStages(), pushes=True)
    assert moved_by_stage(foretold)["builder"] == (110, 10)
    assert moved_by_stage(foretold)["image"] is None
    assert foretold.moved is None


def test_plan_json_unknown_time_is_null() -> None:
    plan = predict(ledgers=[], caches=AvailableCaches())
    assert json.loads(plan_json(plan))["seconds"] is None
