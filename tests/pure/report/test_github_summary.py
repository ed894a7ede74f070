"""Render a build as Markdown for GitHub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from stagebake.build.result import BuildResult, CarriedMount, SavedCache, StageResult, StepCost
from stagebake.buildkit.events import StepRun
from stagebake.dockerfile.stages import StageGraph, parse_dockerfile
from stagebake.errors import BuildFailed
from stagebake.explain.decision import Reasons, StepRan
from stagebake.explain.ledger import Ledger, LedgerEntry
from stagebake.fingerprint.model import Fingerprint
from stagebake.project.settings import BUDGETS
from stagebake.report.github_summary import UsualStage, render_failure, render_summary, usual_stages


def make_step(name: str, *, ran: bool, span: tuple[float, float]) -> StepRun:
    return StepRun(
        name=name,
        stage="x",
        number=1,
        cached=not ran,
        ran=ran,
        running=False,
        intervals=(span,),
    )


COSTS = (
    StepCost(name="COPY . .", line=8, pulled=9_000_000, unpacked=9_000_000, run_seconds=1),
    StepCost(
        name="RUN --mount=type=cache,target=/c npm prune && chown -R <me> /venv",
        line=9,
        pulled=3_100_000_000 - 9_000_000,
        unpacked=3_100_000_000 - 9_000_000,
        pushed=2_500_000,
        pull_seconds=40,
        run_seconds=20,
        push_seconds=3,
    ),
)
RESULT = BuildResult(
    stages=(
        StageResult(name="base", status="restored", seconds=2, steps=(make_step("RUN a", ran=False, span=(100, 102)),)),
        StageResult(
            name="web",
            status="rebuilt",
            seconds=30,
            steps=(make_step('RUN echo "a: b; c #1" && npm run build', ran=True, span=(102.2, 132)),),
            cache=SavedCache(ref="ghcr.io/o/n:cache-web", saved=True, bytes=2_500_000),
            costs=COSTS,
        ),
        StageResult(name="docs", status="unused"),
    ),
    refs=("ghcr.io/o/n:latest", "ghcr.io/o/n:main-1a2b3c4"),
    pushed_image=True,
    digest="sha256:0",
    ship_seconds=40,
    save_seconds=3,
    pulled=1_000,
    pushed=2_500_000,
    warnings=("a cache was not read",),
)
REASONS: dict[str, Reasons] = {"web": (StepRan("RUN a | b <c>"),)}
USUAL = {"base": UsualStage(seconds=602, bytes=3_000_000_000)}
GRAPH = parse_dockerfile("FROM scratch AS docs\nFROM debian AS base\nFROM base AS web\n")


def render_text(
    result: BuildResult = RESULT,
    mirror: str | None = None,
    usual: Mapping[str, UsualStage] | None = None,
    graph: StageGraph = GRAPH,
) -> str:
    return render_summary(result, REASONS, graph, BUDGETS, mirror, usual)


def test_usual_stages_take_the_nearest_ledger_that_knows() -> None:
    entry = LedgerEntry(fingerprint=Fingerprint("base", ()), ran=60.0, bytes=9)
    ledgers = [Ledger(), Ledger(stages={"base": (entry,)})]
    assert usual_stages(ledgers, GRAPH)["base"] == UsualStage(seconds=60.0, bytes=9)
    assert usual_stages([], GRAPH)["base"] == UsualStage()


def test_summary_names_the_rebuilt_stages_and_the_time() -> None:
    assert render_text().startswith("### Rebuilt web in 40.0 s\n")
    restored = tuple(replace(stage, status="restored") for stage in RESULT.stages)
    assert render_text(replace(RESULT, stages=restored)).startswith("### Restored all stages in 40.0 s\n")


def test_summary_has_a_row_for_each_stage() -> None:
    """Show result, reasons, time, size and cache; leave out what is not known."""
    rows = [line for line in render_text(usual=USUAL).splitlines() if line.startswith("| `")]
    assert rows == [
        "| `base` | ✓ restored |  | 2.0 s |  |  | 3.0 GB |  |",
        "| `web` | → rebuilt | <code>changed: RUN a &#124; b &lt;c></code> "
        "| 30.0 s | 3.1 GB | 2.5 MB | 2.5 MB | saved |",
        "| `docs` | unused |  |  |  |  |  |  |",
    ]
    assert "| `base` | ✓ restored |  | 2.0 s |  |  |  |  |" in render_text()


def test_summary_lists_the_steps_that_needed_many_bytes() -> None:
    lines = [line for line in render_text().splitlines() if line.startswith("- ")]
    assert lines == ["- web: 3.1 GB pulled, 2.5 MB pushed for `RUN npm prune && chown -R <me> /venv` (line 9)"]


def test_summary_missed_budget_blames_the_most_expensive_step() -> None:
    late = render_text(replace(RESULT, ship_seconds=301.0))
    assert (
        "of 5 min for a code change. The most expensive step is `RUN npm prune && chown -R <me> /venv` (line 9) in "
        "web: 1 min 3 s, 3.1 GB pulled, 2.5 MB pushed. `stagebake doctor` says what to change in the Dockerfile."
        in late
    )
    assert "most expensive" not in render_text()


@pytest.mark.parametrize(
    ("rebuilt", "step_name", "seconds", "text"),
    [
        ("none", "RUN x", 60, "**1 min 0 s** is within the budget of 2 min for a push without changes."),
        ("none", "RUN x", 130, "**2 min 10 s is over the budget** of 2 min for a push without changes."),
        ("some", "RUN npm run build", 299, "**4 min 59 s** is within the budget of 5 min for a code change."),
        ("some", "RUN npm run build", 301, "**5 min 1 s is over the budget** of 5 min for a code change."),
        ("some", "RUN pip install -e .", 301, "**5 min 1 s is over the budget** of 5 min for a code change."),
        ("some", "COPY npm ci", 301, "**5 min 1 s is over the budget** of 5 min for a code change."),
        ("some", "RUN npm ci", 301, "**5 min 1 s** is within the budget of 15 min for a dependency change."),
        ("some", "RUN npm ci", 901, "**15 min 1 s is over the budget** of 15 min for a dependency change."),
        ("all", "RUN x", 1799, "**29 min 59 s** is within the budget of 30 min for a full build."),
        ("all", "RUN x", 1801, "**30 min 1 s is over the budget** of 30 min for a full build."),
    ],
)
def test_summary_compares_the_time_with_the_budget_of_what_ran(
    rebuilt: str, step_name: str, seconds: float, text: str
) -> None:
    """Take the budget by the steps that ran: one that installs packages makes the push a dependency change."""
    base, web, docs = RESULT.stages
    web = replace(web, steps=(make_step(step_name, ran=rebuilt != "none", span=(0, 1)),))
    stages = {
        "none": (base, replace(web, status="restored"), docs),
        "some": (base, web, docs),
        "all": (replace(base, status="rebuilt"), web, docs),
    }[rebuilt]
    assert text in render_text(replace(RESULT, stages=stages, ship_seconds=seconds))


def test_summary_estimates_the_time_without_caches() -> None:
    """Replace the restore time of each restored stage by the time of its last run."""
    assert "Without caches this push would have taken 10 min 40 s," in render_text(usual=USUAL)


def test_summary_without_caches_counts_parallel_stages_once() -> None:
    graph = parse_dockerfile("FROM a AS left\nFROM a AS right\nFROM left\nCOPY --from=right / /\n")
    stages = tuple(StageResult(name=name, status="restored", seconds=1) for name in graph.names)
    usual = {
        "left": UsualStage(seconds=600),
        "right": UsualStage(seconds=240),
        "stage-2": UsualStage(seconds=59),
    }
    text = render_text(replace(RESULT, stages=stages, ship_seconds=3), usual=usual, graph=graph)
    assert "Without caches this push would have taken 11 min 0 s," in text


def test_summary_unknown_stage_time_makes_no_estimate() -> None:
    assert "Without caches" not in render_text()
    assert "Without caches" not in render_text(usual={"base": UsualStage(bytes=1)})


def test_summary_names_downloads_saved_caches_and_mounts() -> None:
    mounts = (CarriedMount(id="/root/.npm", restored=5_000_000),)
    words = "1.0 kB pulled; caches saved in 3.0 s, 2.5 MB uploaded; cache mount /root/.npm: 5.0 MB restored"
    assert f"\n\n{words}\n\n" in render_text(replace(RESULT, mounts=mounts))


def test_summary_of_a_pushed_image_has_pull_commands() -> None:
    """Add the command for the mirror of the settings, and none for an image that was not pushed."""
    text = render_text(mirror="https://ghcr.nju.edu.cn/")
    assert "```console\ndocker pull ghcr.io/o/n:latest\ndocker pull ghcr.nju.edu.cn/o/n:latest\n```" in text
    assert "docker pull" not in render_text(replace(RESULT, pushed_image=False), "ghcr.nju.edu.cn")


def test_summary_draws_a_timeline_that_mermaid_reads() -> None:
    """Give milliseconds since the first step, a section for each stage, and labels without special characters."""
    _, _, picture = render_text().partition("```mermaid\n")
    assert picture.partition("\n```")[0].splitlines() == [
        "gantt",
        "  dateFormat x",
        "  axisFormat %M:%S",
        "  section base",
        "  RUN a :done, 0, 2000",
        "  section web",
        "  RUN echo a b c 1 npm run build :active, 2200, 32000",
    ]


def test_summary_shows_warnings_and_healed_caches_as_alerts() -> None:
    text = render_text(replace(RESULT, warnings=("no <cache>\nwas read",), healed=("base",)))
    assert text.endswith(
        "\n\n> [!NOTE]\n> The cache of `base` was broken; this build did not use it."
        "\n\n> [!WARNING]\n> no &lt;cache> was read\n"
    )


def test_failure_summary_has_the_message_the_output_and_the_hint() -> None:
    """Show the output literally: fences in it do not end the block."""
    error = BuildFailed("Dockerfile:7: RUN <x>: exit code: 1", "see above", ("line one", "``` two"))
    assert render_failure(error) == (
        "### stagebake failed\n\n> [!CAUTION]\n> Dockerfile:7: RUN &lt;x>: exit code: 1\n\n"
        "```text\nline one\n''' two\n```\n\n→ see above\n"
    )
