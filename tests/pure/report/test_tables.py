"""Show builds, plans and deleted caches to people and machines."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import replace

import pytest
from rich.console import Console

from stagebake.build.result import BuildResult, CarriedMount, SavedCache, StageResult, StepCost
from stagebake.buildkit.events import StepRun
from stagebake.buildkit.versions import Versions
from stagebake.cache.prune import KeptVersion, PurgeResult
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.explain.changes import Change
from stagebake.explain.decision import InputChanged, InputUnknown, ParentRebuilt, Reasons, StepRan
from stagebake.explain.plan import Plan, PlannedStage
from stagebake.fingerprint.model import Part
from stagebake.report.tables import build_report_json, mount_words, show_build, show_plan, show_purged
from stagebake.transfer.step_traffic import StepTraffic

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|4\d|9\d|10\d)(?:;\d+)*m")


def make_step(name: str, *, ran: bool, span: tuple[float, float] = (0, 1.23456)) -> StepRun:
    return StepRun(
        name=name,
        stage="base",
        number=1,
        cached=not ran,
        ran=ran,
        running=False,
        intervals=(span,),
    )


COST = StepCost(
    name="COPY src src",
    line=7,
    pulled=31_000_000,
    unpacked=30_000_000,
    pushed=2_500_000,
    pull_seconds=1.5,
    run_seconds=0.25,
    push_seconds=0.125,
)
RESULT = BuildResult(
    stages=(
        StageResult(name="base", status="restored", seconds=0.5, steps=(make_step("RUN a", ran=False),)),
        StageResult(
            name="app",
            status="rebuilt",
            seconds=1.23456,
            steps=(make_step("COPY src src", ran=True),),
            cache=SavedCache(ref="ghcr.io/o/n:cache-app", saved=True, bytes=2_500_000),
            costs=(COST,),
        ),
        StageResult(
            name="web",
            status="rebuilt",
            cache=SavedCache(ref="ghcr.io/o/n:cache-web", saved=False, bytes=0),
        ),
        StageResult(name="docs", status="unused"),
    ),
    refs=("ghcr.io/o/n:latest", "ghcr.io/o/n:main-1a2b3c4"),
    pushed_image=True,
    digest="sha256:0",
    ship_seconds=12.34567,
    save_seconds=3.2,
    pulled=1_000,
    pushed=2_500_000,
    healed=("base",),
    mounts=(CarriedMount(id="/root/.npm", restored=1_000),),
    warnings=("a cache was not read",),
    versions=Versions("0.35.1", "0.36.1"),
)
REASONS: dict[str, Reasons] = {"app": (StepRan("COPY   src\n src"), ParentRebuilt("base"))}

FILE = Part("file", "a[b]", "sha1:1")
CHANGED = InputChanged(Change(effect="changed", part=FILE, old=FILE, new=FILE))
REMOTE = InputUnknown(Part("unknown", "ADD x", "remote"))
COPY_STEP = parse_dockerfile("FROM scratch AS deps\nCOPY a[b] .\n")["deps"].steps[1]
TRAFFIC = StepTraffic(stage="deps", step=COPY_STEP, pulled=12_000_000, pushed=3)
PLAN = Plan(
    stages=(
        PlannedStage(name="base", verdict="restore", seconds=0.25),
        PlannedStage(name="deps", verdict="rebuild", reasons=(CHANGED,), seconds=60.0, traffic=(TRAFFIC,)),
        PlannedStage(name="image", verdict="unknown", reasons=(REMOTE,)),
    ),
    seconds=61.0,
)
BUDGETS = {"restore": 0.5, "code": 5.0, "full": 30.0}


def print_build(
    result: BuildResult = RESULT,
    reasons: Mapping[str, Reasons] = REASONS,
    **console: object,
) -> str:
    out = io.StringIO()
    show_build(result, reasons, Console(file=out, width=100, **console))  # type: ignore[arg-type]
    return out.getvalue()


def print_plan(plan: Plan) -> str:
    out = io.StringIO()
    show_plan(plan, BUDGETS, Console(file=out))
    return out.getvalue()


def print_purged(purged: PurgeResult, *, dry_run: bool = False) -> list[str]:
    out = io.StringIO()
    show_purged(purged, "image", Console(file=out), dry_run=dry_run)
    return out.getvalue().splitlines()


def test_report_json_has_the_documented_keys() -> None:
    document = json.loads(build_report_json(RESULT, REASONS))
    assert document.keys() == {
        "stages", "image", "tags", "digest", "seconds", "bytes", "healed", "mounts", "versions", "warnings",
    }  # fmt: skip
    assert document["versions"] == {"buildkit": "0.35.1", "buildx": "0.36.1"}
    assert set(document["seconds"]) == {"ship", "save"}
    assert document["mounts"] == [{"id": "/root/.npm", "restored": 1_000, "saved": None}]
    assert set(document["bytes"]) == {"pulled", "pushed"}
    for stage in document["stages"]:
        assert set(stage) == {"name", "status", "seconds", "reasons", "steps", "cache", "bytes", "costs"}
        assert stage["status"] in ("restored", "rebuilt", "unused")
        assert all(set(entry) == {"name", "cached", "seconds", "intervals"} for entry in stage["steps"])
        assert all(set(reason) == {"kind", "what"} for reason in stage["reasons"])
    assert set(document["stages"][1]["cache"]) == {"ref", "saved", "bytes"}


def test_report_json_has_seconds_in_milliseconds_and_sizes_in_bytes() -> None:
    document = json.loads(build_report_json(RESULT, REASONS))
    assert (document["image"], document["digest"]) == ("ghcr.io/o/n:latest", "sha256:0")
    assert document["seconds"] == {"ship": 12.346, "save": 3.2}
    assert document["bytes"] == {"pulled": 1_000, "pushed": 2_500_000}
    assert (document["healed"], document["warnings"]) == (["base"], ["a cache was not read"])
    base, app, _, docs = document["stages"]
    assert base["steps"] == [{"name": "RUN a", "cached": True, "seconds": 1.235, "intervals": [[0, 1.235]]}]
    assert (app["status"], app["seconds"], app["steps"][0]["cached"]) == ("rebuilt", 1.235, False)
    assert [reason["kind"] for reason in app["reasons"]] == ["step", "parent"]
    assert app["cache"] == {"ref": "ghcr.io/o/n:cache-app", "saved": True, "bytes": 2_500_000}
    assert (docs["cache"], docs["steps"], docs["reasons"]) == (None, [], [])


def test_report_json_has_what_each_stage_and_step_moved() -> None:
    base, app, _, _ = json.loads(build_report_json(RESULT, REASONS))["stages"]
    moved = {"pulled": 31_000_000, "unpacked": 30_000_000, "pushed": 2_500_000}
    assert app["bytes"] == moved
    seconds = {"pull": 1.5, "run": 0.25, "push": 0.125}
    assert app["costs"] == [{"step": "COPY src src", "line": 7, "bytes": moved, "seconds": seconds}]
    assert (base["bytes"], base["costs"]) == ({"pulled": 0, "unpacked": 0, "pushed": 0}, [])


def test_report_json_unknown_digest_is_null() -> None:
    assert json.loads(build_report_json(replace(RESULT, digest=None), REASONS))["digest"] is None


def test_show_build_has_a_line_for_each_stage() -> None:
    """Show result, seconds, reasons and cache."""
    output = print_build().splitlines()
    assert output[0].split() == ["stage", "result", "seconds", "pulled", "pushed", "why", "cache"]
    lines = {line.split()[0]: line for line in output if line[:1].strip()}
    assert "restored" in lines["base"]
    words = ("rebuilt", "1.2", "31.0 MB", "changed: COPY src src", "saved, 2.5 MB new")
    assert all(word in lines["app"] for word in words)
    assert "not saved" in lines["web"]
    assert "unused" in lines["docs"]


def test_show_build_ends_with_totals_healed_caches_and_warnings() -> None:
    text = print_build()
    assert "app: 31.0 MB pulled, 30.0 MB unpacked, 2.5 MB pushed for `COPY src src` (line 7)\n" in text
    assert "ghcr.io/o/n:latest in 12.3 s, 1.0 kB pulled, caches saved in 3.2 s" in text
    assert "healed: the cache of base was broken" in text
    assert "warning: a cache was not read" in text


def test_show_build_without_terminal_prints_no_escape_codes() -> None:
    assert "\x1b" not in print_build(force_terminal=False)


def test_show_build_on_a_terminal_prints_colour() -> None:
    assert COLOUR.search(print_build(force_terminal=True, color_system="standard", _environ={"TERM": "xterm"}))


def test_show_build_no_color_prints_no_colour() -> None:
    """Follow NO_COLOR (no-color.org): bold and dim are not colours."""
    text = print_build(force_terminal=True, _environ={"NO_COLOR": "1", "TERM": "xterm-256color"})
    assert not COLOUR.search(text)


@pytest.mark.parametrize("text", ["[red]", "[/]", "[bold]x[/bold]", "a\\", "[link=x]", ":smile:"])
def test_show_build_prints_markup_in_names_literally(text: str) -> None:
    result = BuildResult(
        stages=(StageResult(name=f"s{text}", status="rebuilt"),),
        refs=(f"i{text}",),
        pushed_image=False,
        digest=None,
        ship_seconds=1,
        save_seconds=0,
        pulled=0,
        pushed=0,
        healed=(f"h{text}",),
        warnings=(f"w{text}",),
    )
    output = print_build(result, {f"s{text}": (StepRan(f"RUN {text}"),)})
    for wanted in (f"s{text}", f"RUN {text}", f"i{text}", f"h{text}", f"w{text}"):
        assert wanted in output


def test_mount_words_name_restored_and_saved_bytes() -> None:
    both = CarriedMount(id="/c", restored=2_000, saved=3_000)
    assert mount_words(both) == "cache mount /c: 2.0 kB restored, 3.0 kB saved"
    assert "cache mount /root/.npm: 1.0 kB restored\n" in print_build()


def test_show_plan_has_a_line_for_each_stage() -> None:
    """Show verdict, seconds and reasons."""
    lines = print_plan(PLAN).splitlines()
    assert lines[0].split() == ["stage", "expected", "seconds", "pulled", "pushed", "why"]
    assert lines[1].split() == ["base", "restore", "0.2", "?", "?"]
    assert lines[2].split() == ["deps", "rebuild", "60.0", "12.0", "MB", "3", "B", "`a[b]`", "changed"]
    assert "cannot be known: `ADD x`: remote" in lines[3]


def test_show_plan_ends_with_the_notes() -> None:
    plan = Plan(stages=(PlannedStage(name="base", verdict="restore"),), seconds=1.0, notes=("another BuildKit",))
    assert print_plan(plan).splitlines()[-1] == "note: another BuildKit"


def test_show_plan_names_the_step_that_needs_the_bytes() -> None:
    assert print_plan(PLAN).splitlines()[4] == "deps: 12.0 MB pulled, 3 B pushed for `COPY a[b] .` (line 2)"


def test_show_plan_compares_the_expected_time_with_the_budgets() -> None:
    within = "expected 1 min 1 s, within the budget for code (5 min), full (30 min)"
    assert print_plan(PLAN).splitlines()[5] == within
    assert "expected 30 min 1 s, over every budget" in print_plan(Plan(stages=(), seconds=1801.0))
    assert "expected time unknown" in print_plan(Plan(stages=(), seconds=None))


def test_show_plan_unknown_restore_time_meets_no_budget() -> None:
    text = print_plan(Plan(stages=(PlannedStage(name="base", verdict="restore"),), seconds=0.0))
    assert "expected at least 0.0 s; unknown restore time of base" in text
    assert "within" not in text


def test_show_purged_names_deleted_and_kept_tags() -> None:
    kept = KeptVersion(tags=frozenset({"c", "b"}), why="in use")
    purged = PurgeResult(tags=("a",), kept=(kept,))
    assert print_purged(purged) == ["deleted image:a", "kept image:b, c (in use)"]
    assert print_purged(purged, dry_run=True)[0] == "would delete image:a"
    assert print_purged(PurgeResult(tags=())) == ["image: no matching caches"]
