"""Fold lines of rawjson into what each stage did."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stagebake.buildkit.events import StepRun, Trace, covered_seconds
from stagebake.dockerfile.stages import parse_dockerfile

BASE = "2026-01-01T10:00:"
BLOB = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


def format_time(second: float) -> str:
    return f"{BASE}{second:012.9f}Z"


def vertex_line(name: str, *span: float, digest: str | None = None, **more: Any) -> str:
    """Return a line that names a step and, where given, when it started and completed."""
    event: dict[str, Any] = {"digest": digest or f"sha256:{name}", "name": name, **more}
    event |= {key: format_time(second) for key, second in zip(("started", "completed"), span, strict=False)}
    return json.dumps({"vertexes": [event]})


def log_line(name: str, text: bytes) -> str:
    return json.dumps({"logs": [{"vertex": f"sha256:{name}", "stream": 1, "data": base64.b64encode(text).decode()}]})


def status_line(identity: str, current: int, total: int = 100) -> str:
    return json.dumps({"statuses": [{"id": identity, "vertex": "sha256:x", "current": current, "total": total}]})


def feed_lines(*lines: str) -> Trace:
    trace = Trace()
    for line in lines:
        trace.feed_line(line + "\n")
    return trace


def only_step(*lines: str) -> StepRun:
    (step,) = feed_lines(*lines).step_runs()
    return step


@pytest.mark.parametrize(
    ("name", "stage", "number", "text"),
    [
        ("[base 1/2] RUN x", "base", 1, "RUN x"),
        ("[stage-1 2/3] COPY a b", "stage-1", 2, "COPY a b"),
        ("[2/3] RUN x", None, 2, "RUN x"),
        ("[linux/amd64 base 1/2] RUN x", "base", 1, "RUN x"),
        ("[linux/arm/v7 base 1/2] RUN x", "base", 1, "RUN x"),
        ("[linux/amd64 1/2] RUN x", None, 1, "RUN x"),
        ("[linux/amd64->arm64 build 2/2] RUN x", "build", 2, "RUN x"),
        ("[linux/amd64->arm/v7 build 2/2] RUN x", "build", 2, "RUN x"),
        ("[deps.py3_12-x 1/1] RUN x", "deps.py3_12-x", 1, "RUN x"),
        ("[base  7/10] RUN x", "base", 7, "RUN x"),
        ("[base 10/10] RUN x", "base", 10, "RUN x"),
        ("[ 7/10] RUN x", None, 7, "RUN x"),
        ("[linux/amd64 base   7/100] RUN x", "base", 7, "RUN x"),
        ("[linux/amd64  7/10] RUN x", None, 7, "RUN x"),
        ("[kid 1/2] ONBUILD COPY a b", "kid", 1, "ONBUILD COPY a b"),
        ("[base 1/2] RUN echo [a 1/2] b", "base", 1, "RUN echo [a 1/2] b"),
        ("[base 1/2] RUN echo 1\necho 2", "base", 1, "RUN echo 1\necho 2"),
        ("[base 1/2] FROM docker.io/library/debian@sha256:0", "base", 1, "FROM docker.io/library/debian@sha256:0"),
    ],
)
def test_step_runs_name_is_split_into_stage_number_and_text(
    name: str, stage: str | None, number: int, text: str
) -> None:
    """BuildKit writes `[platform stage n/m] text`, with n padded to the width of m; a sole stage may have no name."""
    step = only_step(vertex_line(name, 0, 1))
    assert (step.stage, step.number, step.name) == (stage, number, text)


@pytest.mark.parametrize(
    "name",
    [
        "[internal] load build context",
        "[internal] load metadata for docker.io/library/debian:trixie",
        "[linux/amd64 internal] load metadata for docker.io/library/debian:trixie",
        "[context busybox:1] load metadata for stagebake.test/busybox:1",
        "[context assets] load from client",
        "[auth] team/base:pull token for ghcr.io",
        "exporting to image",
        "importing cache manifest from ghcr.io/team/app:cache",
        "resolve image config for docker-image://docker.io/docker/dockerfile:1",
    ],
)
def test_step_runs_vertexes_of_buildkit_itself_are_left_out(name: str) -> None:
    """BuildKit's own work belongs to no stage."""
    assert feed_lines(vertex_line(name, 0, 1)).step_runs() == ()


def test_step_runs_cached_step_stays_cached_while_it_is_pulled() -> None:
    """BuildKit names a restored step again, without the word, while it pulls the layers."""
    step = only_step(
        vertex_line("[base 1/1] RUN x", 1, 1, cached=True),
        vertex_line("[base 1/1] RUN x", 2),
        vertex_line("[base 1/1] RUN x", 2, 5),
    )
    assert (step.cached, step.ran, step.running) == (True, False, False)
    assert step.seconds == pytest.approx(3)


def test_step_runs_step_that_is_cached_late_did_not_run() -> None:
    """Start a step that then turns out to be cached."""
    step = only_step(vertex_line("[base 1/1] RUN x", 1), vertex_line("[base 1/1] RUN x", 1, 2, cached=True))
    assert (step.cached, step.ran) == (True, False)


def test_step_runs_cached_step_with_another_digest_stays_cached() -> None:
    """Digests change within a call, so names identify steps."""
    step = only_step(
        vertex_line("[base 1/1] RUN x", 1, 1, cached=True, digest="sha256:1"),
        vertex_line("[base 1/1] RUN x", 2, 3, digest="sha256:2"),
    )
    assert step.cached


def test_step_runs_started_step_ran_until_its_end() -> None:
    """BuildKit never calls the step cached."""
    step = only_step(
        vertex_line("[base 1/1] RUN x"), vertex_line("[base 1/1] RUN x", 1), vertex_line("[base 1/1] RUN x", 1, 2.5)
    )
    assert (step.cached, step.ran, step.running) == (False, True, False)
    assert step.seconds == pytest.approx(1.5)


def test_step_runs_named_step_did_not_run() -> None:
    """BuildKit names all steps first."""
    step = only_step(vertex_line("[base 1/1] RUN x"))
    assert (step.cached, step.ran, step.running, step.seconds) == (False, False, False, 0)


def test_step_runs_started_step_is_running_until_it_completes() -> None:
    """Start, complete and start a step again."""
    name = "[base 1/1] RUN x"
    assert only_step(vertex_line(name, 1)).running
    assert not only_step(vertex_line(name, 1), vertex_line(name, 1, 2)).running
    assert only_step(vertex_line(name, 1, 2), vertex_line(name, 3)).running


def test_step_runs_pulled_from_line_did_not_run() -> None:
    """Count the time of pulling a base image."""
    step = only_step(vertex_line("[base 1/2] FROM docker.io/library/debian", 0, 4))
    assert (step.is_from, step.ran) == (True, False)
    assert step.seconds == pytest.approx(4)


def test_step_runs_keep_the_order_of_their_first_events() -> None:
    """Name the steps of two stages, then run one."""
    trace = feed_lines(vertex_line("[b 1/1] RUN x"), vertex_line("[a 1/1] RUN y"), vertex_line("[b 1/1] RUN x", 1, 2))
    assert [step.stage for step in trace.step_runs()] == ["b", "a"]


def test_feed_line_event_with_null_parts_is_read() -> None:
    """BuildKit writes null for an empty list."""
    trace = feed_lines(json.dumps({"vertexes": None, "statuses": None, "logs": None, "warnings": [{}]}), "{}")
    assert (trace.step_runs(), trace.pulled, trace.text) == ((), 0, "")


@pytest.mark.parametrize(
    ("intervals", "length"),
    [
        ((), 0),
        (((1, 3),), 2),
        (((1, 3), (2, 4)), 3),
        (((2, 4), (1, 3)), 3),
        (((1, 9), (2, 3), (4, 5)), 8),
        (((1, 2), (2, 3)), 2),
        (((1, 2), (5, 7)), 3),
        (((1, 1),), 0),
        (((1, 3), (1, 3)), 2),
    ],
    ids=["none", "one", "overlap", "unsorted", "inside", "touching", "apart", "empty", "twice"],
)
def test_covered_seconds_overlapping_intervals_count_once(
    intervals: tuple[tuple[float, float], ...], length: float
) -> None:
    """Compare the covered time of several intervals."""
    assert covered_seconds(intervals) == length


def test_first_failure_leaves_out_cancelled_steps() -> None:
    """BuildKit may report a cancelled step before the one that failed."""
    failure = feed_lines(
        vertex_line(
            "[web 1/1] RUN y", 1, 2, error='process "/bin/sh -c y" did not complete successfully: context canceled'
        ),
        vertex_line(
            "[app 2/2] RUN x", 1, 2, error='process "/bin/sh -c x" did not complete successfully: exit code: 7'
        ),
        log_line("[app 2/2] RUN x", b"no such file\n"),
        log_line("[web 1/1] RUN y", b"never mind\n"),
    ).first_failure()
    assert failure is not None
    assert (failure.name, failure.stage, failure.is_step) == ("RUN x", "app", True)
    assert failure.message.endswith("exit code: 7")
    assert failure.log == ("no such file",)


def test_first_failure_log_is_its_last_forty_lines() -> None:
    """BuildKit splits the output anywhere, also within a character."""
    text = "".join(f"zeile ü {i}\n" for i in range(100)).encode()
    cuts = [text[i : i + 7] for i in range(0, len(text), 7)]
    name = "[app 1/1] RUN x"
    failure = feed_lines(
        vertex_line(name, 1), *(log_line(name, cut) for cut in cuts), vertex_line(name, 1, 2, error="exit code: 1")
    ).first_failure()
    assert failure is not None
    assert failure.log == tuple(f"zeile ü {i}" for i in range(60, 100))


def test_first_failure_log_replaces_bytes_that_are_not_utf8() -> None:
    """Steps may print any bytes."""
    name = "[app 1/1] RUN x"
    failure = feed_lines(
        vertex_line(name, 1), log_line(name, b"a\xff\n"), vertex_line(name, 1, 2, error="exit code: 1")
    ).first_failure()
    assert failure is not None
    assert failure.log == ("a\ufffd",)


def test_first_failure_outside_all_stages_is_not_a_step() -> None:
    """BuildKit itself may fail, as when it loads metadata."""
    failure = feed_lines(
        vertex_line("[internal] load metadata for docker.io/library/debain", 1, 2, error="not found")
    ).first_failure()
    assert failure is not None
    assert (failure.is_step, failure.message, failure.log) == (False, "not found", ())


def test_import_errors_unreadable_cache_is_not_a_failure() -> None:
    """BuildKit continues without the cache."""
    trace = feed_lines(
        vertex_line("importing cache manifest from ghcr.io/team/app:cache", 1, 2, error="invalid layer index 9"),
        vertex_line("[base 1/1] RUN x", 2, 3),
    )
    assert trace.first_failure() is None
    assert trace.import_errors() == ("invalid layer index 9",)


def test_first_failure_without_errors_is_none() -> None:
    """Run a step without an error."""
    trace = feed_lines(vertex_line("[base 1/1] RUN x", 1, 2))
    assert (trace.first_failure(), trace.import_errors()) == (None, ())


def test_first_failure_step_named_again_still_failed() -> None:
    """BuildKit may name a failed step again, without the error."""
    name = "[base 1/1] RUN x"
    assert (
        feed_lines(vertex_line(name, 1, 2, error="exit code: 1"), vertex_line(name, 1, 2)).first_failure() is not None
    )


def test_pulled_counts_the_bytes_of_each_blob_once() -> None:
    """Progress is reported repeatedly and by several steps; the largest number of each blob counts."""
    trace = feed_lines(
        status_line(BLOB, 10),
        status_line(BLOB, 60),
        status_line(BLOB, 60),
        status_line(OTHER, 5),
        status_line(BLOB, 40),
    )
    assert trace.pulled == 65


@pytest.mark.parametrize(
    "identity", ["transferring context:", "extracting " + BLOB, "sha256:abc", "resolve docker.io/library/debian"]
)
def test_pulled_progress_of_other_things_is_zero(identity: str) -> None:
    """Only the progress of a blob is a pull."""
    assert feed_lines(status_line(identity, 10)).pulled == 0


def test_pulled_counts_the_layers_of_the_attempt_before() -> None:
    before = feed_lines(status_line(BLOB, 10))
    trace = Trace(before)
    trace.feed_line(status_line(OTHER, 5))
    assert trace.pulled == 15


def test_export_seconds_cover_the_exports_of_images() -> None:
    trace = feed_lines(vertex_line("exporting to image", 2, 5), vertex_line("exporting cache to registry", 5, 9))
    assert trace.export_seconds == pytest.approx(3)


def test_feed_line_other_output_is_kept_as_text() -> None:
    """BuildKit ends with its error as plain text; JSON that is not an object is text too."""
    trace = feed_lines(
        vertex_line("[base 1/1] RUN x"), "Dockerfile:3", "  3 | >>> RUN x", "", "[1]", "ERROR: failed to solve: x"
    )
    assert trace.text == "Dockerfile:3\n  3 | >>> RUN x\n\n[1]\nERROR: failed to solve: x"


def test_feed_line_log_of_an_unknown_step_is_ignored() -> None:
    """Logs may arrive before their step."""
    assert feed_lines(log_line("[base 1/1] RUN x", b"x")).step_runs() == ()


def test_step_runs_what_ran_in_an_earlier_attempt_still_counts_as_run() -> None:
    """Find a result cached in the next attempt. A step that failed or was interrupted did not run."""
    before = feed_lines(
        vertex_line("[app 1/3] RUN a", 1, 2),
        vertex_line("[app 2/3] RUN b", 2, 3, error="cut off"),
        vertex_line("[app 3/3] RUN c", 3),
    )
    after = Trace(before)
    for number, name in enumerate("abc", 1):
        after.feed_line(vertex_line(f"[app {number}/3] RUN {name}", 4, 5, cached=True))
    assert [(step.name, step.ran, step.cached) for step in after.step_runs()] == [
        ("RUN a", True, False),
        ("RUN b", False, True),
        ("RUN c", False, True),
    ]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        (
            "FROM a AS x\nRUN one\nFROM x AS y\nRUN b\nFROM c AS x\nRUN two\nCOPY --from=y / /\n",
            ["RUN one"],
            ["RUN two"],
        ),
        ("FROM a AS x\nRUN one\nFROM c AS x\nRUN two\n", [], ["RUN one", "RUN two"]),
    ],
    ids=["both-built", "last-built"],
)
def test_steps_by_stage_equal_names_are_told_apart_by_their_steps(text: str, first: list[str], last: list[str]) -> None:
    """BuildKit writes the same name for both; it builds only those that the final stage needs."""
    trace = feed_lines(vertex_line("[x 2/2] RUN one", 0, 1), vertex_line("[x 2/2] RUN two", 0, 1))
    steps = trace.steps_by_stage(parse_dockerfile(text))
    assert [step.name for step in steps["stage-0"]] == first
    assert [step.name for step in steps["x"]] == last


RECORDED = Path(__file__).parent / "recorded"
VERSIONS = ("0.25", "0.28", "0.33-dev")
# What was recorded: the second push of these two stages to a registry, on an empty builder, after a change of a file;
# 0.25 in Docker 28.5 and 0.28.1 through buildx 0.29, the third (a build of August 2026) through buildx 0.36.1
TWO_STAGES = parse_dockerfile("""\
FROM busybox:1 AS base
RUN head -c16 /dev/urandom | md5sum > /base.txt
FROM base AS image
COPY source.txt /
RUN head -c16 /dev/urandom | md5sum > /image.txt
""")


def read_recorded(version: str, call: str) -> list[str]:
    """Return the lines of one call: `ship` builds and pushes the image, `save` exports the cache of its stage."""
    return (RECORDED / f"{version}-{call}.jsonl").read_text(encoding="utf-8").splitlines()


def summarize_trace(trace: Trace) -> object:
    """Return all that is read from a trace; none of it may raise."""
    return (
        trace.step_runs(),
        trace.steps_by_stage(TWO_STAGES),
        trace.first_failure(),
        trace.import_errors(),
        trace.finished_names,
        trace.unfinished_blobs,
        trace.pulled,
        trace.layer_pulls(),
        trace.export_seconds,
        trace.exported,
        trace.is_downloading,
        trace.is_uploading,
        trace.is_working,
        trace.is_idle,
        trace.has_exported,
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_step_runs_of_each_recorded_version_are_the_same(version: str) -> None:
    """Restore `base` and pull its layer, run `image`; then save it without running anything."""
    ship = feed_lines(*read_recorded(version, "ship"))
    steps = ship.steps_by_stage(TWO_STAGES)
    assert [(step.name[:4], step.ran) for step in steps["base"]] == [("RUN ", False)]
    assert [(step.name[:4], step.ran) for step in steps["image"]] == [("COPY", True), ("RUN ", True)]
    assert all(step.seconds > 0 for step in (*steps["base"], *steps["image"]))
    assert ship.pulled == sum(pull.bytes for pull in ship.layer_pulls()) > 0
    assert ship.export_seconds > 0
    assert (ship.first_failure(), ship.import_errors(), ship.unfinished_blobs, ship.text) == (None, (), frozenset(), "")
    assert (ship.is_idle, ship.has_exported) == (True, True)

    save = feed_lines(*read_recorded(version, "save"))
    assert not any(step.ran for step in save.step_runs())
    assert save.exported


@pytest.mark.parametrize("version", VERSIONS)
def test_feed_line_never_reports_an_upload_or_a_step_after_the_recorded_end(version: str) -> None:
    for call in ("ship", "save"):
        trace = feed_lines(*read_recorded(version, call))
        assert (trace.is_uploading, trace.is_downloading, trace.is_working) == (False, False, False)


def test_is_uploading_push_without_a_vertex_is_open_until_it_completes() -> None:
    status = {"id": "pushing layers", "started": format_time(1)}
    trace = feed_lines(json.dumps({"statuses": [status]}))
    assert trace.is_uploading
    trace.feed_line(json.dumps({"statuses": [{**status, "vertex": "", "completed": format_time(2)}]}))
    assert not trace.is_uploading


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=5,
)
EVENT_KEYS = ("vertexes", "statuses", "logs", "warnings")
FIELDS = (
    "id", "vertex", "digest", "name", "started", "completed", "timestamp", "current", "total", "cached", "error",
    "inputs", "data", "stream", "progressGroup",
)  # fmt: skip


@given(
    version=st.sampled_from(VERSIONS),
    call=st.sampled_from(["ship", "save"]),
    replaced=st.lists(st.tuples(st.integers(0), st.sampled_from(FIELDS), JSON), max_size=8),
    dropped=st.lists(st.tuples(st.integers(0), st.sampled_from(FIELDS)), max_size=8),
    inserted=st.lists(st.tuples(st.integers(0), st.sampled_from(EVENT_KEYS) | st.text(), JSON), max_size=4),
)
@settings(deadline=None, max_examples=50)
def test_feed_line_changed_events_never_raise(
    version: str,
    call: str,
    replaced: list[tuple[int, str, object]],
    dropped: list[tuple[int, str]],
    inserted: list[tuple[int, str, object]],
) -> None:
    """Drop and replace fields of recorded events, and insert other events."""
    events = [json.loads(line) for line in read_recorded(version, call)]
    items = [item for event in events for key in event for item in event[key]]
    for index, name, value in replaced:
        items[index % len(items)][name] = value
    for index, name in dropped:
        items[index % len(items)].pop(name, None)
    for index, key, value in inserted:
        events.insert(index % len(events), {key: value})
    summarize_trace(feed_lines(*map(json.dumps, events)))


@given(
    version=st.sampled_from(VERSIONS),
    added=st.lists(st.tuples(st.integers(0), st.text(min_size=16), JSON), max_size=8),
    unknown=st.lists(st.tuples(st.integers(0), JSON), max_size=4),
)
@settings(deadline=None, max_examples=50)
def test_feed_line_unknown_fields_change_nothing(
    version: str, added: list[tuple[int, str, object]], unknown: list[tuple[int, object]]
) -> None:
    """Add fields to recorded events, and events of an unknown kind."""
    lines = read_recorded(version, "ship")
    events = [json.loads(line) for line in lines]
    items = [item for event in events for key in event for item in event[key]]
    for index, name, value in added:
        items[index % len(items)][name] = value
    for index, value in unknown:
        events[index % len(events)]["later"] = value
    assert summarize_trace(feed_lines(*map(json.dumps, events))) == summarize_trace(feed_lines(*lines))


@given(line=st.text() | JSON.map(json.dumps) | st.binary().map(lambda data: data.decode(errors="replace")))
def test_feed_line_any_text_is_read(line: str) -> None:
    summarize_trace(feed_lines(line))


@pytest.mark.parametrize(
    "line",
    ["[" * 100_000, '{"vertexes": [{"digest": "a", "name": "b", "started": "0001-01-01T00:00:00Z"}]}', "{}", "null"],
)
def test_feed_line_extreme_events_are_read(line: str) -> None:
    summarize_trace(feed_lines(line))
