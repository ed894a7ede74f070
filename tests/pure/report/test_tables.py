"""A result as people and machines read it."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import pytest
from rich.console import Console

from stagebake.build.events import StepRun, Trace
from stagebake.build.result import BuildResult, CarriedMount, SavedCache, StageResult
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.explain.decision import ParentRebuilt, Reasons, StepRan
from stagebake.formatting import format_size
from stagebake.report.progress import BuildProgress
from stagebake.report.tables import build_report_json, mount_words, show_build

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|4\d|9\d|10\d)(?:;\d+)*m")


def step(name: str, *, ran: bool, span: tuple[float, float] = (0, 1.23456)) -> StepRun:
    return StepRun(name=name, stage="base", number=1, cached=not ran, ran=ran, running=False, intervals=(span,))


RESULT = BuildResult(
    stages=(
        StageResult(name="base", status="restored", seconds=0.5, steps=(step("RUN a", ran=False),)),
        StageResult(
            name="app",
            status="rebuilt",
            seconds=1.23456,
            steps=(step("COPY src src", ran=True),),
            cache=SavedCache(ref="ghcr.io/o/n:cache-app", saved=True, bytes=2_500_000),
        ),
        StageResult(name="web", status="rebuilt", cache=SavedCache(ref="ghcr.io/o/n:cache-web", saved=False, bytes=0)),
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
)


REASONS: dict[str, Reasons] = {"app": (StepRan("COPY   src\n src"), ParentRebuilt("base"))}


def shown(result: BuildResult, reasons: dict[str, Reasons] = REASONS, **console: object) -> str:
    out = io.StringIO()
    show_build(result, reasons, Console(file=out, width=100, **console))  # type: ignore[arg-type]
    return out.getvalue()


def test_the_names_in_the_json() -> None:
    """The report for machines has exactly the names of the interface, at every level."""
    document = json.loads(build_report_json(RESULT, REASONS))
    assert set(document) == {"stages", "image", "tags", "digest", "seconds", "bytes", "healed", "mounts", "warnings"}
    assert set(document["seconds"]) == {"ship", "save"}
    assert document["mounts"] == [{"id": "/root/.npm", "restored": 1_000, "saved": None}]
    assert set(document["bytes"]) == {"pulled", "pushed"}
    for stage in document["stages"]:
        assert set(stage) == {"name", "status", "seconds", "reasons", "steps", "cache"}
        assert stage["status"] in ("restored", "rebuilt", "unused")
        assert all(set(entry) == {"name", "cached", "seconds"} for entry in stage["steps"])
        assert all(set(reason) == {"kind", "what"} for reason in stage["reasons"])
    assert set(document["stages"][1]["cache"]) == {"ref", "saved", "bytes"}


def test_the_values_in_the_json() -> None:
    """Times in seconds, rounded to milliseconds, sizes in bytes, and what was there is there."""
    document = json.loads(build_report_json(RESULT, REASONS))
    assert (document["image"], document["digest"]) == ("ghcr.io/o/n:latest", "sha256:0")
    assert document["seconds"] == {"ship": 12.346, "save": 3.2}
    assert document["bytes"] == {"pulled": 1_000, "pushed": 2_500_000}
    assert (document["healed"], document["warnings"]) == (["base"], ["a cache was not read"])
    base, app, _, docs = document["stages"]
    assert base["steps"] == [{"name": "RUN a", "cached": True, "seconds": 1.235}]
    assert (app["status"], app["seconds"], app["steps"][0]["cached"]) == ("rebuilt", 1.235, False)
    assert app["cache"] == {"ref": "ghcr.io/o/n:cache-app", "saved": True, "bytes": 2_500_000}
    assert (docs["cache"], docs["steps"], docs["reasons"]) == (None, [], [])


def test_a_build_without_a_digest() -> None:
    """What is not known is null."""
    assert json.loads(build_report_json(replace(RESULT, digest=None), REASONS))["digest"] is None


def test_every_stage_stands_in_the_table() -> None:
    """A line for each stage: what became of it, how long it took, why, and what was saved."""
    lines = {line.split()[0]: line for line in shown(RESULT).splitlines() if line[:1].strip()}
    assert "restored" in lines["base"]
    assert all(word in lines["app"] for word in ("rebuilt", "1.2", "changed: COPY src src", "saved, 2.5 MB new"))
    assert "not saved" in lines["web"]
    assert "unused" in lines["docs"]


def test_the_last_lines() -> None:
    """The image and the time, what was healed, and the warnings."""
    text = shown(RESULT)
    assert "ghcr.io/o/n:latest in 12.3 s, 1.0 kB pulled, caches saved in 3.2 s" in text
    assert "healed: the cache of base was broken" in text
    assert "warning: a cache was not read" in text


def test_without_a_terminal_there_are_no_escape_codes() -> None:
    """What goes into a file or a log is plain text."""
    assert "\x1b" not in shown(RESULT, force_terminal=False)


def test_on_a_terminal_there_is_colour() -> None:
    """A terminal that can show it gets colour."""
    assert COLOUR.search(shown(RESULT, force_terminal=True, color_system="standard", _environ={"TERM": "xterm"}))


def test_no_color_is_obeyed() -> None:
    """With NO_COLOR a terminal gets none (no-color.org); bold and dim are no colours."""
    text = shown(RESULT, force_terminal=True, _environ={"NO_COLOR": "1", "TERM": "xterm-256color"})
    assert not COLOUR.search(text)


@pytest.mark.parametrize("text", ["[red]", "[/]", "[bold]x[/bold]", "a\\", "[link=x]", ":smile:"])
def test_markup_in_names_is_text(text: str) -> None:
    """Names of stages, steps, images and warnings are shown as they are."""
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
    out = shown(result, {f"s{text}": (StepRan(f"RUN {text}"),)})
    for wanted in (f"s{text}", f"RUN {text}", f"i{text}", f"h{text}", f"w{text}"):
        assert wanted in out


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (1, "1 B"), (999, "999 B"), (1_000, "1.0 kB"), (1_234, "1.2 kB"), (999_949, "999.9 kB"),
        (999_999, "1.0 MB"), (1_000_000, "1.0 MB"), (2_500_000, "2.5 MB"), (1_000_000_000, "1.0 GB"),
        (2_340_000_000_000, "2340.0 GB"),
    ],
)  # fmt: skip
def test_size(count: int, text: str) -> None:
    """Bytes in the unit that people would choose, in powers of 1000."""
    assert format_size(count) == text


def test_progress_without_a_terminal_says_each_step_once() -> None:
    """In a log there is a line when a step begins and one when it ends, however many events there are."""
    out = io.StringIO()
    progress = BuildProgress(
        parse_dockerfile("FROM a AS base\nRUN [x]\nFROM base AS app\nRUN y\n"), Console(file=out, width=100)
    )
    trace = Trace()
    name = '{"vertexes": [{"digest": "d", "name": "[base 2/2] RUN [x]", "started": "2026-01-01T10:00:00Z"'
    with progress.running():
        for line in (f"{name}}}]}}", f"{name}}}]}}", f'{name}, "completed": "2026-01-01T10:00:02Z"}}]}}', "{}"):
            trace.feed_line(line)
            progress("building", trace)
    assert out.getvalue().splitlines() == ["building …", "  base 2: RUN [x] …", "  base 2: RUN [x] 2.0 s"]


def test_a_cache_mount_says_what_was_moved() -> None:
    """Restored, saved, or both, with the bytes; the words of the console."""
    assert mount_words(CarriedMount(id="/c", restored=2_000, saved=3_000)) == (
        "cache mount /c: 2.0 kB restored, 3.0 kB saved"
    )
    assert "cache mount /root/.npm: 1.0 kB restored\n" in shown(RESULT)
