"""What a build says of itself afterwards, and what the ledger remembers of it."""

from __future__ import annotations

from dataclasses import replace

from stagebake import account, summary
from stagebake.dockerfile import parse
from stagebake.events import Step
from stagebake.fingerprint import Fingerprint, Part
from stagebake.ledger import Ledger, Result
from stagebake.outcome import BuildResult, Reason, SavedCache, StageResult
from stagebake.summary import Usual

GRAPH = parse("""\
FROM busybox AS base
FROM base AS deps
COPY deps .
FROM busybox
RUN true
FROM deps AS image
COPY --from=2 /a /
""")
NAMES = ("base", "deps", "stage-2", "image")


def step(*, ran: bool) -> Step:
    return Step(name="RUN a", stage="a", number=2, cached=not ran, ran=ran, running=False, intervals=((0.0, 1.0),))


def stage(name: str, *reasons: Reason, seconds: float = 1.0, evidence: str = "", partly: bool = False) -> StageResult:
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
    return Ledger(stages={name: (Result(fingerprint=found, **more),) for name, found in prints(deps).items()})  # type: ignore[arg-type]


def why(result: BuildResult, name: str) -> list[tuple[str, str]]:
    return [(r.kind, r.what) for s in result.stages if s.name == name for r in s.reasons]


STEP, PARENT = Reason("step", "COPY deps ."), Reason("parent", "deps")


def test_what_changed_takes_the_place_of_the_step() -> None:
    """Where the ledger knows what the stage was made from, the reason names the file, and the chain leads to it."""
    told = account.explained(build(stage("deps", STEP), stage("image", PARENT)), GRAPH, prints("2"), [book()], "main")
    assert why(told, "deps") == [("file", "`deps` changed")]
    assert why(told, "image") == [("parent", "deps")]
    (reason,) = told.stages[-1].reasons
    assert reason.chain == ("deps", "deps")
    assert why(told, "base") == []


def test_without_a_ledger_the_step_is_the_reason() -> None:
    """Nothing is known of earlier builds: what ran first is said, as ever."""
    told = account.explained(build(stage("deps", STEP)), GRAPH, prints("2"), [], "main")
    assert why(told, "deps") == [("step", "COPY deps .")]


def test_a_missing_cache_is_named_with_its_scope() -> None:
    """No cache of the stage, or one that was left out; but what changed comes first."""
    missing = Reason("cache", "no cache of this stage yet")
    assert why(account.explained(build(stage("deps", missing)), GRAPH, {}, [], "feature/x"), "deps") == [
        ("cache", "no cache in scope feature/x")
    ]
    healed = build(stage("deps", STEP), healed=("deps",))
    assert why(account.explained(healed, GRAPH, prints(), [book()], "main"), "deps") == [
        ("cache", "cache left out: blob missing")
    ]
    assert why(account.explained(healed, GRAPH, prints("2"), [book()], "main"), "deps") == [("file", "`deps` changed")]


def test_forced_stays_forced() -> None:
    """--no-cache is the reason, whatever else changed."""
    told = account.explained(build(stage("deps", Reason("forced", "--no-cache"))), GRAPH, prints("2"), [book()], "main")
    assert why(told, "deps") == [("forced", "--no-cache")]


def test_what_the_ledger_remembers() -> None:
    """Of a stage that ran its time and what its cache holds; of one that was restored the time of that."""
    ran = stage("deps", STEP, seconds=60.0, evidence="d")
    found = account.results(build(ran, stage("image", PARENT, evidence="i")), GRAPH, prints(), [], when=5)
    deps, base = found["deps"], found["base"]
    assert (deps.ran, deps.restored, deps.bytes, deps.when) == (60.0, None, 7, 5)
    assert deps.evidence == {"d"}
    assert (base.ran, base.restored) == (None, 1.0)


def test_a_stage_is_known_by_the_cache_of_what_stands_on_it() -> None:
    """A cache holds all that it was made from: so a stage without one of its own, or a restored one, is not lost."""
    found = account.results(build(stage("image", STEP, evidence="i")), GRAPH, prints(), [], when=5)
    assert {name: result.evidence for name, result in found.items()} == {name: {"i"} for name in NAMES}
    nothing = account.results(build(), GRAPH, prints(), [], when=5)
    assert not any(result.evidence for result in nothing.values())


def test_half_a_run_is_not_taken_for_a_whole_one() -> None:
    """Where only the last step ran, the stage still takes as long as it once did."""
    partly = build(stage("deps", STEP, seconds=2.0, partly=True))
    assert account.results(partly, GRAPH, prints(), [book(ran=60.0)], when=1)["deps"].ran == 60.0
    whole = build(stage("deps", STEP, seconds=2.0))
    assert account.results(whole, GRAPH, prints(), [book(ran=60.0)], when=1)["deps"].ran == 2.0


def test_a_stage_without_a_certain_fingerprint_is_left_out() -> None:
    """Files that changed while the build began: the ledger hears nothing of the stage."""
    certain = {name: found for name, found in prints().items() if name != "deps"}
    assert "deps" not in account.results(build(stage("deps", STEP)), GRAPH, certain, [], when=1)


def test_the_time_beside_the_stages() -> None:
    """Ten seconds until the image was out, three stages of one second each after the other."""
    assert account.rest(build(), GRAPH) == 10.0 - 3.0


def test_the_summary_hears_what_stages_usually_take() -> None:
    """The nearest ledger that knows a time or a size says it."""
    known = summary.usual([Ledger(), book(ran=60.0, bytes=9)], GRAPH)
    assert known["deps"] == Usual(seconds=60.0, bytes=9)
    assert summary.usual([], GRAPH)["deps"] == Usual()
