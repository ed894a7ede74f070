"""Show the progress of a build."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from stagebake.buildkit.events import Trace
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.report.progress import BuildProgress, interrupt_note

GRAPH = parse_dockerfile("FROM a AS base\nRUN [x]\nFROM base AS app\nRUN y\n")
STARTED = '{"digest": "d", "name": "[base 2/2] RUN [x]", "started": "2026-01-01T10:00:00Z"}'
COMPLETED = f'{STARTED[:-1]}, "completed": "2026-01-01T10:00:02Z"}}'
EVENTS = (
    f'{{"vertexes": [{STARTED}]}}',
    f'{{"vertexes": [{STARTED}]}}',
    f'{{"vertexes": [{COMPLETED}]}}',
    "{}",
)


def show_progress(**console: object) -> str:
    """Return what is printed while one step of `base` runs."""
    out = io.StringIO()
    progress = BuildProgress(GRAPH, Console(file=out, width=100, **console))  # type: ignore[arg-type]
    trace = Trace()
    with progress.track_build():
        for line in EVENTS:
            trace.feed_line(line)
            progress("building", trace)
    return out.getvalue()


def test_progress_without_terminal_prints_start_and_end_of_a_step_once() -> None:
    assert show_progress().splitlines() == [
        "building …",
        "  base 2: RUN [x] …",
        "  base 2: RUN [x] 2.0 s",
    ]


def test_progress_on_a_terminal_shows_the_running_step() -> None:
    text = show_progress(force_terminal=True, _environ={"TERM": "xterm"})
    assert "building …" in text
    assert "RUN [x]" in text


def interrupt_build() -> None:
    progress = BuildProgress(GRAPH, Console(file=io.StringIO()))
    with progress.track_build():
        progress("building", Trace())
        raise KeyboardInterrupt


def test_progress_interrupt_gets_a_note_on_what_it_ended() -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        interrupt_build()
    assert caught.value.__notes__ == [interrupt_note("building")]


@pytest.mark.parametrize(
    ("activity", "state"),
    [
        ("", "interrupted: the build is cancelled"),
        ("building", "interrupted while building: the build is cancelled"),
        ("saving app", "interrupted while saving app: the image is complete, but not all caches are saved"),
    ],
)
def test_interrupt_note_names_the_state_and_the_next_command(activity: str, state: str) -> None:
    first, second = interrupt_note(activity).splitlines()
    assert first == state
    assert second.startswith("  → run the build again")
