"""Predict what the next build does with each stage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.explain.decision import BlobMissing, CacheMissing, CachesUnreadable, Forced, ParentsDiffer, Reasons
from stagebake.explain.ledger import Ledger, LedgerEntry
from stagebake.explain.plan import AvailableCaches, Plan, PlanInput, make_plan, mark_uncommitted, plan_json
from stagebake.explain.reasons import cause_chain, reason_words
from stagebake.fingerprint.model import Fingerprint, Part

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
        file = OWN_FILES.get(stage.name)
        if file is not None:
            value = files.get(file, "1")
            unknown = Part("unknown", "ADD", "remote")
            parts.append(unknown if value == "?" else Part("file", file, value, 3))
        found[stage.name] = Fingerprint(stage.name, tuple(parts))
    return found


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
ALL_CACHES = AvailableCaches(available=make_evidence(), stages=ALL)


def make_input(prints: Mapping[str, Fingerprint], caches: AvailableCaches = ALL_CACHES) -> PlanInput:
    """Return the input of a plan after a first build that was saved."""
    return PlanInput(graph=GRAPH, prints=prints, ledgers=(make_ledger(FIRST_BUILD),), caches=caches)


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
    plan = make_plan(make_input(make_prints()))
    assert stages_to("restore", plan) == ALL
    assert plan.seconds == 4 * 1.0 + 2.0


def test_plan_changed_file_rebuilds_the_stage_and_its_dependents() -> None:
    """Name the file for the stage that copies it, and the way to it for the others."""
    plan = make_plan(make_input(make_prints(deps="2")))
    assert stages_to("rebuild", plan) == {"deps", "builder", "image"}
    assert stages_to("restore", plan) == {"base", "side"}
    assert read_words(plan, "deps") == ["`deps` changed"]
    (reason,) = read_reasons(plan, "image")
    assert cause_chain(reason) == ("builder", "deps", "deps")
    assert plan.seconds == 1.0 + 10.0 + 10.0 + 10.0 + 2.0


def test_plan_unknown_input_makes_dependents_unknown() -> None:
    unknown = make_prints(deps="?")
    plan = make_plan(replace(make_input(unknown), ledgers=(make_ledger(make_entries(unknown)),)))
    assert stages_to("unknown", plan) == {"deps", "builder", "image"}
    assert stages_to("restore", plan) == {"base", "side"}
    assert read_words(plan, "deps") == ["`ADD`: remote"]


def test_plan_changed_file_on_an_unknown_stage_rebuilds() -> None:
    before = make_entries(make_prints(deps="?"))
    plan = make_plan(replace(make_input(make_prints(deps="?", src="2")), ledgers=(make_ledger(before),)))
    assert stages_to("rebuild", plan) == {"builder", "image"}


@pytest.mark.parametrize("lost", sorted(ALL))
def test_plan_incomplete_cache_restores_neither_the_stage_nor_its_dependents(lost: str) -> None:
    caches = replace(ALL_CACHES, available=make_evidence(*(ALL - {lost})))
    plan = make_plan(make_input(make_prints(), caches))
    assert stages_to("restore", plan) == ALL - GRAPH.with_dependents({lost})


def test_plan_reverted_change_restores_the_older_result() -> None:
    newer = make_entries(make_prints(deps="2"), when=2)
    plan = make_plan(replace(make_input(make_prints()), ledgers=(make_ledger(newer, FIRST_BUILD),)))
    assert stages_to("restore", plan) == ALL


def test_plan_compares_with_the_nearest_saved_build() -> None:
    """Ignore a build that was never saved."""
    unsaved = {
        name: replace(entry, evidence=frozenset())
        for name, entry in make_entries(make_prints(deps="2", src="2"), when=9).items()
    }
    plan = make_plan(replace(make_input(make_prints(src="3")), ledgers=(make_ledger(unsaved, FIRST_BUILD),)))
    assert read_verdicts(plan)["deps"] == "restore"
    assert read_words(plan, "builder") == ["`src` changed"]


def test_plan_renamed_stage_is_restored() -> None:
    """Find the cache under the old stage name: a name is not part of a cache key."""
    stages = dict(make_ledger(FIRST_BUILD).stages)
    stages["wheels"] = stages.pop("deps")
    plan = make_plan(replace(make_input(make_prints()), ledgers=(Ledger(stages=stages),)))
    assert stages_to("restore", plan) == ALL


def test_plan_branch_without_ledger_uses_the_default_branch() -> None:
    plan = make_plan(replace(make_input(make_prints()), ledgers=(Ledger(), make_ledger(FIRST_BUILD))))
    assert stages_to("restore", plan) == ALL


def test_plan_without_caches_rebuilds_all_stages() -> None:
    empty = PlanInput(graph=GRAPH, prints=make_prints(), caches=AvailableCaches(scope="feature/x"))
    plan = make_plan(empty)
    assert stages_to("rebuild", plan) == ALL
    assert read_reasons(plan, "base") == (CacheMissing("feature/x"),)
    assert plan.seconds is None


def test_plan_without_ledger_is_unknown() -> None:
    assert stages_to("unknown", make_plan(replace(make_input(make_prints()), ledgers=()))) == ALL


def test_plan_broken_cache_rebuilds_for_the_missing_blob() -> None:
    available = make_evidence(*(ALL - {"deps"}))
    caches = replace(ALL_CACHES, available=available, broken=frozenset({"deps"}))
    plan = make_plan(make_input(make_prints(), caches))
    assert read_reasons(plan, "deps") == (BlobMissing(),)
    assert read_verdicts(plan)["builder"] == "rebuild"


def test_plan_forced_stage_rebuilds_with_its_dependents() -> None:
    plan = make_plan(replace(make_input(make_prints()), forced=GRAPH.force_stages({"deps"})))
    assert read_reasons(plan, "deps") == (Forced(),)
    assert stages_to("rebuild", plan) == GRAPH.with_dependents({"deps"})


def test_plan_since_a_commit_assumes_the_caches_of_that_commit() -> None:
    plan = make_plan(PlanInput(graph=GRAPH, prints=make_prints(src="2"), since=make_prints()))
    assert stages_to("rebuild", plan) == {"builder", "image"}
    assert read_words(plan, "builder") == ["`src` changed"]


def test_plan_new_combination_of_known_parents_rebuilds() -> None:
    """Rebuild a stage whose inputs were each built before, but never together."""
    first = make_entries(make_prints(deps="2"))
    second = make_entries(make_prints(src="2"), when=2)
    caches = replace(ALL_CACHES, available=make_evidence() | make_evidence(when=2))
    both = make_input(make_prints(deps="2", src="2"), caches)
    plan = make_plan(replace(both, ledgers=(make_ledger(second, first),)))
    assert read_verdicts(plan)["deps"] == "restore"
    assert read_reasons(plan, "builder") == (ParentsDiffer(("deps",)),)


def test_plan_new_stage_beside_a_merged_cache_rebuilds() -> None:
    """Use the ledger, because a merged cache does not name its stages; without a ledger nobody knows."""
    caches = AvailableCaches(available=make_evidence(*(ALL - {"side"})), stages=ALL, merged=True)
    stages = dict(make_ledger(FIRST_BUILD).stages)
    del stages["side"]
    plan_input = make_input(make_prints(), caches)
    plan = make_plan(replace(plan_input, ledgers=(Ledger(stages=stages),)))
    assert read_reasons(plan, "side") == (CacheMissing("main"),)
    assert read_verdicts(make_plan(replace(plan_input, ledgers=())))["side"] == "unknown"


def test_plan_unreadable_caches_are_unknown() -> None:
    """Treat an error of the registry neither as a cache nor as a missing one."""
    caches = AvailableCaches(
        available=make_evidence(*(ALL - {"side"})),
        stages=ALL - {"deps"},
        read_failure="GET answered 429",
    )
    plan = make_plan(make_input(make_prints(), caches))
    assert read_verdicts(plan)["side"] == "unknown"
    assert read_reasons(plan, "side") == (CachesUnreadable("GET answered 429"),)
    unreadable = AvailableCaches(read_failure="no answer")
    assert stages_to("unknown", make_plan(make_input(make_prints(), unreadable))) == ALL


def test_mark_uncommitted_replaces_the_files_of_a_path_by_one_unknown_part() -> None:
    files = (Part("file", "dist/a", "1", 3), Part("file", "dist/b/c", "1", 3), Part("file", "src", "1", 3))
    marked = mark_uncommitted({"app": Fingerprint("app", files)}, {"dist"})
    assert [(part.kind, part.name) for part in marked["app"].parts] == [("unknown", "dist"), ("file", "src")]


def test_plan_json_has_the_documented_keys() -> None:
    """Round seconds to milliseconds; write null for an unknown time."""
    document = json.loads(plan_json(make_plan(make_input(make_prints(deps="2")))))
    assert set(document) == {"stages", "seconds", "warnings"}
    assert all(set(stage) == {"name", "expected", "reasons", "seconds"} for stage in document["stages"])
    deps = next(stage for stage in document["stages"] if stage["name"] == "deps")
    assert deps == {
        "name": "deps",
        "expected": "rebuild",
        "seconds": 10.0,
        "reasons": [{"kind": "file", "what": "`deps` changed", "chain": ["deps"]}],
    }
    assert document["seconds"] == 33.0
    empty = make_plan(PlanInput(graph=GRAPH, prints=make_prints()))
    assert json.loads(plan_json(empty))["seconds"] is None
