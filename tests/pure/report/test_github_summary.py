"""A result as GitHub shows it: the step summary, and the notes beside lines of the Dockerfile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from stagebake.build.events import StepRun
from stagebake.build.result import BuildResult, CarriedMount, SavedCache, StageResult
from stagebake.ci.github_run import workflow_command
from stagebake.dockerfile.stages import StageGraph, parse_dockerfile
from stagebake.errors import BuildFailed
from stagebake.explain.decision import Reasons, StepRan
from stagebake.project.settings import BUDGETS
from stagebake.report.github_summary import UsualStage, render_failure, render_summary


def step(name: str, *, ran: bool, span: tuple[float, float]) -> StepRun:
    return StepRun(name=name, stage="x", number=1, cached=not ran, ran=ran, running=False, intervals=(span,))


RESULT = BuildResult(
    stages=(
        StageResult(name="base", status="restored", seconds=2, steps=(step("RUN a", ran=False, span=(100, 102)),)),
        StageResult(
            name="web",
            status="rebuilt",
            seconds=30,
            steps=(step('RUN echo "a: b; c #1" && npm run build', ran=True, span=(102.2, 132)),),
            cache=SavedCache(ref="ghcr.io/o/n:cache-web", saved=True, bytes=2_500_000),
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


def render(
    result: BuildResult,
    budgets: Mapping[str, float],
    mirror: str | None = None,
    usual: Mapping[str, UsualStage] | None = None,
    graph: StageGraph = GRAPH,
) -> str:
    return render_summary(result, REASONS, graph, budgets, mirror, usual)


def test_the_table() -> None:
    """A row for each stage: what became of it, why, how long, how large; what is not known is left out."""
    rows = [line for line in render(RESULT, BUDGETS, None, USUAL).splitlines() if line.startswith("| `")]
    assert rows == [
        "| `base` | ✓ restored |  | 2.0 s | 3.0 GB |  |",
        "| `web` | → rebuilt | <code>changed: RUN a &#124; b &lt;c></code> | 30.0 s | 2.5 MB | saved |",
        "| `docs` | unused |  |  |  |  |",
    ]
    assert "| `base` | ✓ restored |  | 2.0 s |  |  |" in render(RESULT, BUDGETS)


@pytest.mark.parametrize(
    ("rebuilt", "step_name", "seconds", "text"),
    [
        ("none", "RUN x", 60, "**1 min 0 s** is within the budget of a push that changes nothing, 2 min."),
        ("none", "RUN x", 130, "**2 min 10 s is over the budget** of a push that changes nothing, 2 min."),
        ("some", "RUN npm run build", 299, "**4 min 59 s** is within the budget of a change of code, 5 min."),
        ("some", "RUN npm run build", 301, "**5 min 1 s is over the budget** of a change of code, 5 min."),
        ("some", "RUN pip install -e .", 301, "**5 min 1 s is over the budget** of a change of code, 5 min."),
        ("some", "COPY npm ci", 301, "**5 min 1 s is over the budget** of a change of code, 5 min."),
        ("some", "RUN npm ci", 301, "**5 min 1 s** is within the budget of a change of dependencies, 15 min."),
        ("some", "RUN npm ci", 901, "**15 min 1 s is over the budget** of a change of dependencies, 15 min."),
        ("all", "RUN x", 1799, "**29 min 59 s** is within the budget of a full build, 30 min."),
        ("all", "RUN x", 1801, "**30 min 1 s is over the budget** of a full build, 30 min."),
    ],
)
def test_the_budget_is_that_of_what_ran(rebuilt: str, step_name: str, seconds: float, text: str) -> None:
    """What ran says which kind of push it was; where packages were installed, it was one of dependencies."""
    base, web, docs = RESULT.stages
    web = replace(web, steps=(step(step_name, ran=rebuilt != "none", span=(0, 1)),))
    stages = {
        "none": (base, replace(web, status="restored"), docs),
        "some": (base, web, docs),
        "all": (replace(base, status="rebuilt"), web, docs),
    }[rebuilt]
    assert text in render(replace(RESULT, stages=stages, ship_seconds=seconds), BUDGETS)


def test_what_it_would_have_cost_without_caches() -> None:
    """The restored stages take the time of their last run in the place of that of restoring them."""
    assert "Without caches it would have taken 10 min 40 s" in render(RESULT, BUDGETS, None, USUAL)


def test_without_caches_stages_run_side_by_side() -> None:
    """Two stages that do not wait for each other cost the time of the longer one."""
    graph = parse_dockerfile("FROM a AS left\nFROM a AS right\nFROM left\nCOPY --from=right / /\n")
    stages = tuple(StageResult(name=name, status="restored", seconds=1) for name in graph.names)
    usual = {"left": UsualStage(seconds=600), "right": UsualStage(seconds=240), "stage-2": UsualStage(seconds=59)}
    text = render(replace(RESULT, stages=stages, ship_seconds=3), BUDGETS, None, usual, graph)
    assert "Without caches it would have taken 11 min 0 s" in text


def test_what_was_moved() -> None:
    """What was downloaded, what the caches took, and what was carried of cache mounts."""
    mounts = (CarriedMount(id="/root/.npm", restored=5_000_000),)
    assert (
        "\n\n1.0 kB pulled; caches saved in 3.0 s, 2.5 MB of them new; cache mount /root/.npm: 5.0 MB restored\n\n"
    ) in render(replace(RESULT, mounts=mounts), BUDGETS)


def test_what_is_not_known_is_not_guessed() -> None:
    """Where one restored stage was never seen running, nothing is said of a build without caches."""
    assert "Without caches" not in render(RESULT, BUDGETS)
    assert "Without caches" not in render(RESULT, BUDGETS, None, {"base": UsualStage(bytes=1)})


def test_the_pull_command_of_the_mirror() -> None:
    """With a mirror in the settings there is a pull command for it too; for an image that stayed here there is none."""
    text = render(RESULT, BUDGETS, "https://ghcr.nju.edu.cn/")
    assert "```console\ndocker pull ghcr.io/o/n:latest\ndocker pull ghcr.nju.edu.cn/o/n:latest\n```" in text
    assert "docker pull" not in render(replace(RESULT, pushed_image=False), BUDGETS, "ghcr.nju.edu.cn")


def test_the_timeline() -> None:
    """Milliseconds since the first step, a section for each stage, and no sign in a name that Mermaid would read."""
    text = render(RESULT, BUDGETS)
    _, _, picture = text.partition("```mermaid\n")
    assert picture.partition("\n```")[0].splitlines() == [
        "gantt",
        "  dateFormat x",
        "  axisFormat %M:%S",
        "  section base",
        "  RUN a :done, 0, 2000",
        "  section web",
        "  RUN echo a b c 1 npm run build :active, 2200, 32000",
    ]


def test_warnings_stand_out() -> None:
    """Each warning, and each cache that was healed, is an alert of its own, taken literally."""
    text = render(replace(RESULT, warnings=("no <cache>\nwas read",), healed=("base",)), BUDGETS)
    assert text.endswith(
        "\n\n> [!NOTE]\n> The cache of `base` was broken and is left out.\n\n> [!WARNING]\n> no &lt;cache> was read\n"
    )


def test_a_failed_build_has_a_summary_too() -> None:
    """What failed and where, what to do next, and the end of the step's output, which cannot end its block."""
    error = BuildFailed("Dockerfile:7: RUN <x>: exit code: 1", "see above", ("line one", "``` two"))
    assert render_failure(error) == (
        "### The image was not built\n\n> [!CAUTION]\n> Dockerfile:7: RUN &lt;x>: exit code: 1\n\n"
        "```text\nline one\n''' two\n```\n\n→ see above\n"
    )


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ("Dockerfile:7: RUN x: exit code: 1", "::error file=Dockerfile,line=7::Dockerfile:7: RUN x: exit code: 1"),
        ("no engine\nstart it, 100%", "::error::no engine%0Astart it, 100%25"),
        ("a,b/Dockerfile:3: x", "::error file=a%2Cb/Dockerfile,line=3::a,b/Dockerfile:3: x"),
    ],
)
def test_annotations(message: str, command: str) -> None:
    """A message that names file and line stands beside that line; signs of the command are escaped."""
    assert workflow_command("error", message, {}) == command


def test_annotations_below_the_top_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a folder of a larger repository, the file is named as the repository has it."""
    (tmp_path / "services/api").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "services/api")
    environment = {"GITHUB_WORKSPACE": str(tmp_path)}
    assert workflow_command("warning", "Dockerfile:7: x", environment).startswith(
        "::warning file=services/api/Dockerfile,line=7::"
    )
