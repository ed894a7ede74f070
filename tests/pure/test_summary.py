"""A result as GitHub shows it: the step summary, and the notes beside lines of the Dockerfile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stagebake import github, summary
from stagebake.config import BUDGETS
from stagebake.errors import BuildFailed
from stagebake.events import Step
from stagebake.outcome import BuildResult, Reason, SavedCache, StageResult
from stagebake.summary import Usual


def step(name: str, *, ran: bool, span: tuple[float, float]) -> Step:
    return Step(name=name, stage="x", number=1, cached=not ran, ran=ran, running=False, intervals=(span,))


RESULT = BuildResult(
    stages=(
        StageResult(name="base", status="restored", seconds=2, steps=(step("RUN a", ran=False, span=(100, 102)),)),
        StageResult(
            name="web",
            status="rebuilt",
            seconds=30,
            reasons=(Reason("step", "RUN a | b <c>"),),
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
USUAL = {"base": Usual(seconds=602, bytes=3_000_000_000)}


def test_the_table() -> None:
    """A row for each stage: what became of it, why, how long, how large; what is not known is left out."""
    rows = [line for line in summary.render(RESULT, BUDGETS, None, USUAL).splitlines() if line.startswith("| `")]
    assert rows == [
        "| `base` | ✓ restored |  | 2.0 s | 3.0 GB |  |",
        "| `web` | → rebuilt | <code>changed: RUN a &#124; b &lt;c></code> | 30.0 s | 2.5 MB | saved |",
        "| `docs` | unused |  |  |  |  |",
    ]
    assert "| `base` | ✓ restored |  | 2.0 s |  |  |" in summary.render(RESULT, BUDGETS)


@pytest.mark.parametrize(
    ("rebuilt", "seconds", "text"),
    [
        ("none", 60, "**1 min 0 s** is within the budget of a push that changes nothing, 2 min."),
        ("none", 130, "**2 min 10 s is over the budget** of a push that changes nothing, 2 min."),
        ("some", 299, "**4 min 59 s** is within the budget of a change of code, 5 min."),
        ("some", 301, "**5 min 1 s** is within the budget of a change of dependencies, 15 min."),
        ("some", 901, "**15 min 1 s is over the budget** of a change of dependencies, 15 min."),
        ("all", 1799, "**29 min 59 s** is within the budget of a full build, 30 min."),
        ("all", 1801, "**30 min 1 s is over the budget** of a full build, 30 min."),
    ],
)
def test_the_budget_is_that_of_what_ran(rebuilt: str, seconds: float, text: str) -> None:
    """What ran says which budgets the push may claim, and the tightest that it keeps is named."""
    base, web, docs = RESULT.stages
    stages = {
        "none": (base, replace(web, status="restored"), docs),
        "some": RESULT.stages,
        "all": (replace(base, status="rebuilt"), web, docs),
    }[rebuilt]
    assert text in summary.render(replace(RESULT, stages=stages, ship_seconds=seconds), BUDGETS)


def test_what_it_would_have_cost_without_caches() -> None:
    """The time of the restored stages as they last ran is added, and that of restoring them taken off."""
    assert "Without caches it would have taken 10 min 40 s" in summary.render(RESULT, BUDGETS, None, USUAL)


def test_what_is_not_known_is_not_guessed() -> None:
    """Where one restored stage was never seen running, nothing is said of a build without caches."""
    assert "Without caches" not in summary.render(RESULT, BUDGETS)
    assert "Without caches" not in summary.render(RESULT, BUDGETS, None, {"base": Usual(bytes=1)})


def test_the_pull_command_of_the_mirror() -> None:
    """With a mirror in the settings there is a pull command for it too; for an image that stayed here there is none."""
    text = summary.render(RESULT, BUDGETS, "ghcr.nju.edu.cn/")
    assert "```console\ndocker pull ghcr.io/o/n:latest\ndocker pull ghcr.nju.edu.cn/o/n:latest\n```" in text
    assert "docker pull" not in summary.render(replace(RESULT, pushed_image=False), BUDGETS, "ghcr.nju.edu.cn")


def test_the_timeline() -> None:
    """Milliseconds since the first step, a section for each stage, and no sign in a name that Mermaid would read."""
    text = summary.render(RESULT, BUDGETS)
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
    """Each warning is an alert of its own."""
    assert "> [!WARNING]\n> a cache was not read\n" in summary.render(RESULT, BUDGETS)


def test_a_failed_build_has_a_summary_too() -> None:
    """What failed and where, what to do next, and the end of the step's output, which cannot end its block."""
    error = BuildFailed("Dockerfile:7: RUN <x>: exit code: 1", "see above", ("line one", "``` two"))
    assert summary.failure(error) == (
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
    assert github.annotation("error", message, {}) == command


def test_annotations_below_the_top_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a folder of a larger repository, the file is named as the repository has it."""
    (tmp_path / "services/api").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "services/api")
    environment = {"GITHUB_WORKSPACE": str(tmp_path)}
    assert github.annotation("warning", "Dockerfile:7: x", environment).startswith(
        "::warning file=services/api/Dockerfile,line=7::"
    )
