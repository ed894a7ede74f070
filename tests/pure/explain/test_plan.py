"""What is expected of each stage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.explain.ledger import Ledger, LedgerEntry
from stagebake.explain.plan import AvailableCaches, Plan, PlanInput, make_plan, plan_json
from stagebake.explain.reasons import cause_chain, reason_json
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
OWN = {"deps": "deps", "side": "side", "builder": "src"}
ALL = frozenset(GRAPH.names)


def prints(**files: str) -> dict[str, Fingerprint]:
    """The fingerprints of all stages, each with the file that it copies and the stages it takes from."""
    found: dict[str, Fingerprint] = {}
    for stage in GRAPH.needed_stages():
        parts = [Part("stage", parent, found[parent].digest) for parent in stage.parents]
        if stage.name in OWN:
            value = files.get(OWN[stage.name], "1")
            parts.append(
                Part("unknown", "ADD", "nobody knows") if value == "?" else Part("file", OWN[stage.name], value, 3)
            )
        found[stage.name] = Fingerprint(stage.name, tuple(parts))
    return found


def book(of: Mapping[str, Fingerprint], when: int = 1) -> Ledger:
    """A ledger of one build in which every stage ran for ten seconds, and was saved."""
    return Ledger(
        stages={
            name: (
                LedgerEntry(
                    fingerprint=found, evidence=frozenset({f"{name}{when}"}), ran=10.0, restored=1.0, when=when
                ),
            )
            for name, found in of.items()
        },
        overhead=2.0,
    )


def stage_cache(*names: str, when: int = 1) -> frozenset[str]:
    return frozenset(f"{name}{when}" for name in names or ALL)


def asked(now: Mapping[str, Fingerprint], available: frozenset[str] | None = None) -> PlanInput:
    caches = AvailableCaches(available=stage_cache() if available is None else available, stages=ALL)
    return PlanInput(graph=GRAPH, prints=now, ledgers=(book(prints()),), caches=caches)


def verdicts(made: Plan) -> dict[str, str]:
    return {stage.name: stage.verdict for stage in made.stages}


def said(made: Plan, stage: str) -> list[tuple[str, str]]:
    reasons = next(expected.reasons for expected in made.stages if expected.name == stage)
    documents = [reason_json(reason) for reason in reasons]
    return [(document["kind"], document["what"]) for document in documents]


def test_nothing_changed_restores_all() -> None:
    """Every fingerprint in the ledger, every cache there: all is restored, in the time that restoring took."""
    made = make_plan(asked(prints()))
    assert set(verdicts(made).values()) == {"restore"}
    assert made.seconds == 4 * 1.0 + 2.0


def test_a_change_rebuilds_what_stands_on_it() -> None:
    """The stage whose file changed says which, what takes from it names the way, the others are restored."""
    made = make_plan(asked(prints(deps="2")))
    assert verdicts(made) == {
        "base": "restore", "deps": "rebuild", "side": "restore", "builder": "rebuild", "image": "rebuild"
    }  # fmt: skip
    assert said(made, "deps") == [("file", "`deps` changed")]
    assert said(made, "image") == [("parent", "builder")]
    (reason,) = made.stages[-1].reasons
    assert cause_chain(reason) == ("builder", "deps", "deps")
    assert made.seconds == 1.0 + 10.0 + 10.0 + 10.0 + 2.0


def test_an_unknown_is_never_restored() -> None:
    """Where something cannot be known, neither the stage nor what takes from it is said to be restored."""
    unknown = prints(deps="?")
    question = replace(asked(unknown), ledgers=(book(unknown),))
    made = make_plan(question)
    assert verdicts(made) == {
        "base": "restore", "deps": "unknown", "side": "restore", "builder": "unknown", "image": "unknown"
    }  # fmt: skip
    assert said(made, "deps") == [("unknown", "`ADD`: nobody knows")]


def test_a_certain_change_beats_an_unknown() -> None:
    """A stage on an unknown one whose own file changed is rebuilt."""
    made = make_plan(replace(asked(prints(deps="?", src="2")), ledgers=(book(prints(deps="?")),)))
    assert verdicts(made)["builder"] == "rebuild"
    assert verdicts(made)["image"] == "rebuild"


@pytest.mark.parametrize("lost", sorted(ALL))
def test_what_the_caches_lack_is_not_restored(lost: str) -> None:
    """A piece of a stage's cache is gone: neither it nor anything that takes from it is restored."""
    made = make_plan(asked(prints(), stage_cache(*(ALL - {lost}))))
    restored = {name for name, verdict in verdicts(made).items() if verdict == "restore"}
    assert restored == ALL - GRAPH.with_dependents({lost})


def test_an_older_result_is_restored_too() -> None:
    """A revert: the ledger and the caches have the state before the last one."""
    older, newer = prints(), prints(deps="2")
    stages = {name: (*book(newer, 2).find_entries(name), *book(older).find_entries(name)) for name in ALL}
    question = PlanInput(
        graph=GRAPH,
        prints=older,
        ledgers=(Ledger(stages=stages),),
        caches=AvailableCaches(available=stage_cache(), stages=ALL),
    )
    assert set(verdicts(make_plan(question)).values()) == {"restore"}


def test_what_changed_is_told_from_the_nearest_saved_state() -> None:
    """An attempt that was built here and never saved is not what a change is told from."""
    attempt = {n: (LedgerEntry(fingerprint=f, ran=1.0, when=9),) for n, f in prints(deps="2", src="2").items()}
    stages = {name: (*attempt[name], *book(prints()).find_entries(name)) for name in ALL}
    made = make_plan(replace(asked(prints(src="3")), ledgers=(Ledger(stages=stages),)))
    assert verdicts(made)["deps"] == "restore"
    assert said(made, "builder") == [("file", "`src` changed")]


def test_a_stage_with_another_name_is_the_same_stage() -> None:
    """The ledger knows it by its old name: a name is in no cache key."""
    known = book(prints())
    renamed = Ledger(stages={{"deps": "wheels"}.get(name, name): known.find_entries(name) for name in ALL})
    assert set(verdicts(make_plan(replace(asked(prints()), ledgers=(renamed,)))).values()) == {"restore"}


def test_the_default_branch_s_ledger_serves_a_branch() -> None:
    """The branch's own ledger knows nothing of a stage, the next one does."""
    question = replace(asked(prints()), ledgers=(Ledger(), book(prints())))
    assert set(verdicts(make_plan(question)).values()) == {"restore"}


def test_without_caches_and_without_a_ledger() -> None:
    """Nothing there: all is rebuilt for want of a cache. Caches without a ledger: nobody knows."""
    nothing = PlanInput(graph=GRAPH, prints=prints(), caches=AvailableCaches(scope="feature/x"))
    made = make_plan(nothing)
    assert set(verdicts(made).values()) == {"rebuild"}
    assert said(made, "base") == [("cache", "no cache in scope feature/x")]
    assert made.seconds is None
    made = make_plan(replace(asked(prints()), ledgers=()))
    assert set(verdicts(made).values()) == {"unknown"}


def test_a_broken_cache_is_named() -> None:
    """Something of the stage's cache was left out, so it is rebuilt for that."""
    question = asked(prints(), stage_cache("base", "side", "builder", "image"))
    made = make_plan(replace(question, caches=replace(question.caches, broken=frozenset({"deps"}))))
    assert said(made, "deps") == [("cache", "cache not used: blob missing in the registry")]
    assert verdicts(made)["builder"] == "rebuild"


def test_forcing() -> None:
    """--no-cache rebuilds the stage and what takes from it, whatever the caches have."""
    made = make_plan(replace(asked(prints()), forced=GRAPH.force_stages({"deps"})))
    assert said(made, "deps") == [("forced", "--no-cache")]
    assert {n for n, v in verdicts(made).items() if v == "rebuild"} == GRAPH.with_dependents({"deps"})


def test_since_a_commit() -> None:
    """Against another commit the caches do not count: what is the same is restored, what differs is named."""
    question = PlanInput(graph=GRAPH, prints=prints(src="2"), since=prints())
    made = make_plan(question)
    assert {n for n, v in verdicts(made).items() if v == "rebuild"} == {"builder", "image"}
    assert said(made, "builder") == [("file", "`src` changed")]


def test_a_stage_on_other_results_than_ever() -> None:
    """Each of its parents is as it once was, but not together: it is rebuilt, and says so."""
    first, second = prints(deps="2"), prints(src="2")
    stages = {name: (*book(second, 2).find_entries(name), *book(first).find_entries(name)) for name in ALL}
    both = PlanInput(
        graph=GRAPH,
        prints=prints(deps="2", src="2"),
        ledgers=(Ledger(stages=stages),),
        caches=AvailableCaches(available=stage_cache() | stage_cache(when=2), stages=ALL),
    )
    made = make_plan(both)
    assert verdicts(made)["deps"] == "restore"
    assert said(made, "builder") == [("stage", "last built with a different `deps`")]


def test_a_stage_that_is_new_beside_a_composed_cache() -> None:
    """It names no stages, but the ledger would know of one that was ever built; without a ledger nobody does."""
    caches = AvailableCaches(available=stage_cache(*(ALL - {"side"})), stages=ALL, merged=True)
    known = Ledger(stages={name: book(prints()).find_entries(name) for name in ALL - {"side"}})
    made = make_plan(replace(asked(prints()), caches=caches, ledgers=(known,)))
    assert said(made, "side") == [("cache", "no cache in scope main")]
    assert verdicts(make_plan(replace(asked(prints()), caches=caches, ledgers=())))["side"] == "unknown"


def test_the_json() -> None:
    """The names of the interface, seconds rounded to milliseconds, null where a time is not known."""
    document = json.loads(plan_json(make_plan(asked(prints(deps="2")))))
    assert set(document) == {"stages", "seconds", "warnings"}
    assert all(set(stage) == {"name", "expected", "reasons", "seconds"} for stage in document["stages"])
    deps = next(stage for stage in document["stages"] if stage["name"] == "deps")
    assert deps == {
        "name": "deps", "expected": "rebuild", "seconds": 10.0,
        "reasons": [{"kind": "file", "what": "`deps` changed", "chain": ["deps"]}],
    }  # fmt: skip
    assert document["seconds"] == 33.0
    empty = make_plan(PlanInput(graph=GRAPH, prints=prints()))
    assert json.loads(plan_json(empty))["seconds"] is None


def test_what_could_not_be_looked_at_is_unknown() -> None:
    """A registry that did not answer, for a ref or for a blob, neither has the cache nor lacks it."""
    caches = AvailableCaches(
        available=stage_cache(*(ALL - {"side"})), stages=ALL - {"deps"}, read_failure="GET answered 429"
    )
    made = make_plan(replace(asked(prints()), caches=caches))
    assert verdicts(made)["side"] == "unknown"
    assert said(made, "side") == [("unknown", "caches not readable: GET answered 429")]
    assert set(
        verdicts(make_plan(replace(asked(prints()), caches=AvailableCaches(read_failure="silent")))).values()
    ) == {"unknown"}
