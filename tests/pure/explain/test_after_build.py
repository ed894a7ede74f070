"""What a build says of itself afterwards, and what the ledger remembers of it."""

from __future__ import annotations

from dataclasses import replace

from stagebake.build.events import StepRun
from stagebake.build.result import BuildResult, RebuildReason, SavedCache, StageResult
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.explain.after_build import explain_result, ledger_entries, overhead_seconds
from stagebake.explain.ledger import Ledger, LedgerEntry
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


def step(*, ran: bool) -> StepRun:
    return StepRun(name="RUN a", stage="a", number=2, cached=not ran, ran=ran, running=False, intervals=((0.0, 1.0),))


def stage(
    name: str, *reasons: RebuildReason, seconds: float = 1.0, evidence: str = "", partly: bool = False
) -> StageResult:
    return StageResult(
        name=name,
        status="rebuilt" if reasons else "restored",
        seconds=seconds,
        reasons=reasons,
        steps=(step(ran=bool(reasons)), step(ran=bool(reasons) and not partly)),
        cache=SavedCache(ref="r", saved=True, bytes=7, evidence=frozenset({evidence})) if evidence else None,
    )


def build(*stages: StageResult, **more: object) -> BuildResult:
    given = {s.name: s for s in stages}
    result = BuildResult(
        stages=tuple(given.get(name, stage(name)) for name in NAMES),
        refs=("image:latest",), pushed_image=True, digest=None, ship_seconds=10.0, save_seconds=1.0, pulled=0, pushed=0,
    )  # fmt: skip
    return replace(result, **more)  # type: ignore[arg-type]


def prints(deps: str = "1") -> dict[str, Fingerprint]:
    return {
        name: Fingerprint(name, (Part("file", "deps", deps, 3),) if name == "deps" else (Part("file", name, "1"),))
        for name in NAMES
    }


def book(deps: str = "1", **more: float) -> Ledger:
    return Ledger(stages={name: (LedgerEntry(fingerprint=found, **more),) for name, found in prints(deps).items()})  # type: ignore[arg-type]


def why(result: BuildResult, name: str) -> list[tuple[str, str]]:
    return [(r.kind, r.what) for s in result.stages if s.name == name for r in s.reasons]


STEP, PARENT = RebuildReason("step", "COPY deps ."), RebuildReason("parent", "deps")


def test_what_changed_takes_the_place_of_the_step() -> None:
    """Where the ledger knows what the stage was made from, the reason names the file, and the chain leads to it."""
    told = explain_result(build(stage("deps", STEP), stage("image", PARENT)), GRAPH, prints("2"), [book()], "main")
    assert why(told, "deps") == [("file", "`deps` changed")]
    assert why(told, "image") == [("parent", "deps")]
    (reason,) = told.stages[-1].reasons
    assert reason.chain == ("deps", "deps")
    assert why(told, "base") == []


def test_without_a_ledger_the_step_is_the_reason() -> None:
    """Nothing is known of earlier builds: what ran first is said, as ever."""
    told = explain_result(build(stage("deps", STEP)), GRAPH, prints("2"), [], "main")
    assert why(told, "deps") == [("step", "COPY deps .")]


def test_a_missing_cache_is_named_with_its_scope() -> None:
    """No cache of the stage, or one that was left out; but what changed comes first."""
    missing = RebuildReason("cache", "no cache of this stage yet")
    assert why(explain_result(build(stage("deps", missing)), GRAPH, {}, [], "feature/x"), "deps") == [
        ("cache", "no cache in scope feature/x")
    ]
    healed = build(stage("deps", STEP), healed=("deps",))
    assert why(explain_result(healed, GRAPH, prints(), [book()], "main"), "deps") == [
        ("cache", "cache left out: blob missing")
    ]
    assert why(explain_result(healed, GRAPH, prints("2"), [book()], "main"), "deps") == [("file", "`deps` changed")]


def test_forced_stays_forced() -> None:
    """--no-cache is the reason, whatever else changed."""
    told = explain_result(
        build(stage("deps", RebuildReason("forced", "--no-cache"))), GRAPH, prints("2"), [book()], "main"
    )
    assert why(told, "deps") == [("forced", "--no-cache")]


def test_what_the_ledger_remembers() -> None:
    """Of a stage that ran its time and what its cache holds; of one that was restored the time of that."""
    ran = stage("deps", STEP, seconds=60.0, evidence="d")
    found = ledger_entries(build(ran, stage("image", PARENT, evidence="i")), GRAPH, prints(), [], when=5)
    deps, base = found["deps"], found["base"]
    assert (deps.ran, deps.restored, deps.bytes, deps.when) == (60.0, None, 7, 5)
    assert deps.evidence == {"d"}
    assert (base.ran, base.restored) == (None, 1.0)


def test_a_stage_is_known_by_the_cache_of_what_stands_on_it() -> None:
    """A cache holds all that it was made from: so a stage without one of its own, or a restored one, is not lost."""
    found = ledger_entries(build(stage("image", STEP, evidence="i")), GRAPH, prints(), [], when=5)
    assert {name: result.evidence for name, result in found.items()} == {name: {"i"} for name in NAMES}
    nothing = ledger_entries(build(), GRAPH, prints(), [], when=5)
    assert not any(result.evidence for result in nothing.values())


def test_half_a_run_is_not_taken_for_a_whole_one() -> None:
    """Where only the last step ran, the stage still takes as long as it once did."""
    partly = build(stage("deps", STEP, seconds=2.0, partly=True))
    assert ledger_entries(partly, GRAPH, prints(), [book(ran=60.0)], when=1)["deps"].ran == 60.0
    whole = build(stage("deps", STEP, seconds=2.0))
    assert ledger_entries(whole, GRAPH, prints(), [book(ran=60.0)], when=1)["deps"].ran == 2.0


def test_a_stage_without_a_certain_fingerprint_is_left_out() -> None:
    """Files that changed while the build began: the ledger hears nothing of the stage."""
    certain = {name: found for name, found in prints().items() if name != "deps"}
    assert "deps" not in ledger_entries(build(stage("deps", STEP)), GRAPH, certain, [], when=1)


def test_the_time_beside_the_stages() -> None:
    """Ten seconds until the image was out, three stages of one second each after the other."""
    assert overhead_seconds(build(), GRAPH) == 10.0 - 3.0


def test_the_summary_hears_what_stages_usually_take() -> None:
    """The nearest ledger that knows a time or a size says it."""
    known = usual_stages([Ledger(), book(ran=60.0, bytes=9)], GRAPH)
    assert known["deps"] == UsualStage(seconds=60.0, bytes=9)
    assert usual_stages([], GRAPH)["deps"] == UsualStage()
