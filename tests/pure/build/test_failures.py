"""Classify failed bake calls, choose what to do about them, and explain them."""

from __future__ import annotations

import json
from collections.abc import Set
from dataclasses import replace

import pytest

from stagebake.build.failures import (
    MAX_BUILDS,
    PUSH_PAUSES,
    BakeFailure,
    FailureContext,
    FailureKind,
    Retry,
    RetryState,
    choose_retry,
    classify_failure,
    format_failure,
    summarize_failure,
)
from stagebake.buildkit.events import StepFailure, Trace
from stagebake.buildkit.limits import StepSize
from stagebake.buildkit.stall_timer import Stall
from stagebake.dockerfile.stages import StageGraph, parse_dockerfile
from stagebake.errors import StagebakeError

BLOB, OTHER = ("sha256:" + letter * 64 for letter in "ab")
KNOWN = frozenset({BLOB})
URL = f"http://host/v2/name/blobs/{BLOB}"
LOST = "failed to commit 17fhb to upok3 during finalize: failed to stat active key: snapshot 17fhb does not exist"
READING = "failed to copy: httpReadSeeker: failed open: unexpected status from GET request to {}: {}"
PUSHING = "failed to push host/name:latest: {}"
METADATA = "[internal] load metadata for docker.io/library/debian:latest"
GRAPH = parse_dockerfile("FROM debian AS base\n\nFROM base AS app\nRUN true\nCOPY a b\n", path="docker/Dockerfile")
SHOWN = ("Dockerfile:5", "-" * 20, "   5 | >>> COPY a b", "-" * 20, "ERROR: failed to solve: no such file")


def failed_trace(message: str, name: str = "[app 1/2] COPY a b") -> Trace:
    trace = Trace()
    event = {"digest": "1", "name": name, "started": "2026-01-01T10:00:00Z", "error": message}
    trace.feed_line(json.dumps({"vertexes": [event]}))
    return trace


def classify_trace(trace: Trace, stall: Stall | None = None, known: Set[str] = KNOWN) -> BakeFailure:
    return classify_failure(GRAPH, trace, stall, known)


def explain_trace(trace: Trace, graph: StageGraph = GRAPH, stall: Stall | None = None) -> StagebakeError:
    patience = {"read": 60.0, "write": 600.0}
    context = FailureContext(graph=graph, refs=("host/name:1",), patience=patience)
    failure = classify_failure(graph, trace, stall, frozenset())
    return format_failure(failure, context)


@pytest.mark.parametrize(
    ("message", "temporary"),
    [
        (READING.format(URL, "503 Service Unavailable"), True),
        (READING.format(URL, "429 Too Many Requests"), True),
        (READING.format(URL, "403 Forbidden"), True),
        (f"failed to copy: httpReadSeeker: failed open: failed to do request: Get {URL!r}: EOF", True),
        (f"failed to copy: {BLOB}: unexpected EOF", True),
        (READING.format(URL, "404 Not Found"), False),
        (READING.format(URL, "416 Requested Range Not Satisfiable"), False),
        (f"failed to copy: httpReadSeeker: failed open: could not fetch content descriptor {BLOB}: not found", False),
        (f'failed commit on ref "layer-{BLOB}": unexpected commit digest {OTHER}, expected {BLOB}', False),
    ],
)
def test_classify_failure_bad_blob_of_the_cache_is_named(message: str, temporary: bool) -> None:
    """Read from the message whether the same request may succeed later."""
    failure = classify_trace(failed_trace(message))
    assert (failure.kind, failure.blobs, failure.temporary) == (FailureKind.CACHE, KNOWN, temporary)


@pytest.mark.parametrize(
    "message",
    [
        f'process "/bin/sh -c echo unexpected EOF {BLOB}" did not complete successfully: exit code: 1',
        f'process "/bin/sh -c curl {URL} # httpReadSeeker" did not complete successfully: exit code: 22',
        READING.format(URL.replace(BLOB, OTHER), "503 Service Unavailable"),
        PUSHING.format("unexpected status from PUT request: 416 Requested Range Not Satisfiable"),
        f'failed to compute cache key: failed to calculate checksum of ref {BLOB}: "/b": not found',
    ],
    ids=["its words", "its command", "a base image", "the push", "no such file"],
)
def test_classify_failure_other_failure_does_not_blame_the_cache(message: str) -> None:
    """Do not repeat such a build, whatever it prints."""
    assert classify_trace(failed_trace(message)).kind is FailureKind.STEP


def test_classify_failure_without_imported_cache_does_not_blame_the_cache() -> None:
    """Expect the same failure from another attempt without a cache."""
    assert classify_trace(failed_trace(READING.format(URL, "503")), known=frozenset()).kind is FailureKind.STEP
    assert classify_trace(failed_trace(""), Stall.READ, frozenset()).kind is FailureKind.STALLED


@pytest.mark.parametrize(
    ("stall", "kind", "temporary"),
    [
        (Stall.READ, FailureKind.CACHE, False),
        (Stall.IMPORT, FailureKind.CACHE, True),
        (Stall.WRITE, FailureKind.STALLED, False),
        (Stall.IDLE, FailureKind.STALLED, False),
    ],
)
def test_classify_failure_call_that_was_given_up_tells_why(stall: Stall, kind: FailureKind, temporary: bool) -> None:
    """Another attempt without the cache avoids a stalled download, and does not help against a stalled upload."""
    failure = classify_trace(failed_trace("context canceled"), stall)
    assert (failure.kind, failure.blobs, failure.temporary) == (kind, frozenset(), temporary)
    assert failure.stall is stall


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (PUSHING.format("toomanyrequests: slow down"), FailureKind.PUSH_REFUSED),
        (PUSHING.format("unexpected status: 429 Too Many Requests"), FailureKind.PUSH_REFUSED),
        (PUSHING.format("denied: no"), FailureKind.ENGINE),
        ("toomanyrequests: slow down", FailureKind.ENGINE),
    ],
)
def test_classify_failure_http_429_on_a_push_is_push_refused(message: str, kind: FailureKind) -> None:
    """Another refusal is not repeated, nor is HTTP 429 on another request."""
    assert classify_trace(failed_trace(message, "exporting to image")).kind is kind


def test_classify_failure_step_that_prints_http_429_is_a_step() -> None:
    message = 'process "/bin/sh -c echo failed to push: 429" did not complete successfully: exit code: 1'
    assert classify_trace(failed_trace(message)).kind is FailureKind.STEP


def test_classify_failure_blob_without_name_is_the_unfinished_one() -> None:
    trace = Trace()
    trace.feed_line(json.dumps({"statuses": [{"id": BLOB, "vertex": "1", "current": 1}]}))
    trace.feed_line(json.dumps({"vertexes": [{"digest": "1", "name": "x", "error": "short read: unexpected EOF"}]}))
    failure = classify_trace(trace)
    assert (failure.kind, failure.blobs, failure.temporary) == (FailureKind.CACHE, KNOWN, True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (METADATA, "failed to do request: unexpected EOF"),
        ("[app 1/2] ADD https://host/file /", "invalid response status 416"),
    ],
)
def test_classify_failure_request_outside_the_cache_does_not_blame_the_cache(name: str, message: str) -> None:
    """Base image metadata and files from the web are never in a cache."""
    assert classify_trace(failed_trace(message, name)).kind is not FailureKind.CACHE


@pytest.mark.parametrize(("name", "stage"), [("[deps 2/2] RUN b", "deps"), ("exporting to image", "app")])
def test_classify_failure_lost_result_names_the_stage(name: str, stage: str) -> None:
    """Name the final stage where no step met the lost result. Do not blame the cache."""
    graph = parse_dockerfile("FROM a AS deps\nRUN b\nFROM a AS app\nCOPY --from=deps b c\n")
    trace = failed_trace(LOST, name)
    failure = classify_failure(graph, trace, None, KNOWN)
    assert (failure.kind, failure.stage.name) == (FailureKind.LOST_RESULT, stage)
    trace.feed_line("Dockerfile:2")
    trace.feed_line("-" * 20)
    error = explain_trace(trace, graph)
    assert error.problem.startswith("Dockerfile:2: ")
    assert "restart the engine" in error.hint
    other = failed_trace("snapshot 17fhb does not exist", name)
    assert classify_failure(graph, other, None, KNOWN).kind is not FailureKind.LOST_RESULT


def make_failure(
    kind: FailureKind,
    *,
    blobs: frozenset[str] = frozenset(),
    temporary: bool = False,
    stall: Stall | None = None,
) -> BakeFailure:
    """Return a failure of the stage `app`."""
    return BakeFailure(
        kind=kind,
        message="no",
        summary="no",
        stage=GRAPH["app"],
        blobs=blobs,
        temporary=temporary,
        stall=stall,
    )


STAGES = frozenset(GRAPH.names)
LAST = MAX_BUILDS - 1
PUSHES = len(PUSH_PAUSES)
APP = frozenset({"app"})
BASE = frozenset({"base"})

TEMPORARY = make_failure(FailureKind.CACHE, blobs=KNOWN, temporary=True)
BAD_BLOB = make_failure(FailureKind.CACHE, blobs=KNOWN)
NO_BLOB = make_failure(FailureKind.CACHE)
STALLED_READ = make_failure(FailureKind.CACHE, stall=Stall.READ)
STALLED_IMPORT = make_failure(FailureKind.CACHE, stall=Stall.IMPORT)
LOST_RESULT = make_failure(FailureKind.LOST_RESULT)
PUSH_REFUSED = make_failure(FailureKind.PUSH_REFUSED)


@pytest.mark.parametrize(
    ("failure", "state", "verdict"),
    [
        (TEMPORARY, RetryState(), Retry.PAUSE),
        (TEMPORARY, RetryState(builds=3), Retry.PAUSE),
        (TEMPORARY, RetryState(builds=1, paused=True), Retry.DROP_BLOBS),
        (TEMPORARY, RetryState(builds=3, paused=True), Retry.NO_CACHE),
        (BAD_BLOB, RetryState(), Retry.DROP_BLOBS),
        (BAD_BLOB, RetryState(builds=2), Retry.DROP_BLOBS),
        (BAD_BLOB, RetryState(builds=3), Retry.NO_CACHE),
        (BAD_BLOB, RetryState(builds=LAST), Retry.RAISE),
        (NO_BLOB, RetryState(), Retry.NO_CACHE),
        (NO_BLOB, RetryState(builds=LAST), Retry.RAISE),
        (LOST_RESULT, RetryState(), Retry.FORCE_STAGE),
        (LOST_RESULT, RetryState(forced=BASE), Retry.FORCE_STAGE),
        (LOST_RESULT, RetryState(forced=APP), Retry.FORCE_ALL),
        (LOST_RESULT, RetryState(forced=STAGES), Retry.RAISE),
        (LOST_RESULT, RetryState(builds=LAST), Retry.RAISE),
        (PUSH_REFUSED, RetryState(), Retry.PUSH_LATER),
        (PUSH_REFUSED, RetryState(builds=LAST, pushes=PUSHES - 1), Retry.PUSH_LATER),
        (PUSH_REFUSED, RetryState(pushes=PUSHES), Retry.RAISE),
    ],
)
def test_choose_retry_failure_and_state_decide(
    failure: BakeFailure,
    state: RetryState,
    verdict: Retry,
) -> None:
    assert choose_retry(failure, state, STAGES) is verdict


@pytest.mark.parametrize(
    "kind",
    [
        FailureKind.STEP,
        FailureKind.PARSE_ERROR,
        FailureKind.MISSING_IMAGE,
        FailureKind.STALLED,
        FailureKind.ENGINE,
    ],
)
def test_choose_retry_failure_of_the_build_itself_is_raised(kind: FailureKind) -> None:
    assert choose_retry(make_failure(kind), RetryState(), STAGES) is Retry.RAISE


@pytest.mark.parametrize(
    ("failure", "state", "verdict", "after"),
    [
        (
            TEMPORARY,
            RetryState(),
            Retry.PAUSE,
            RetryState(builds=1, paused=True),
        ),
        (
            BAD_BLOB,
            RetryState(stalled=True),
            Retry.DROP_BLOBS,
            RetryState(builds=1),
        ),
        (
            STALLED_READ,
            RetryState(),
            Retry.NO_CACHE,
            RetryState(builds=1, stalled=True),
        ),
        (
            STALLED_IMPORT,
            RetryState(),
            Retry.NO_CACHE,
            RetryState(builds=1),
        ),
        (
            LOST_RESULT,
            RetryState(stalled=True),
            Retry.FORCE_STAGE,
            RetryState(builds=1, stalled=True, forced=APP),
        ),
        (
            LOST_RESULT,
            RetryState(builds=1),
            Retry.FORCE_ALL,
            RetryState(builds=2, forced=STAGES),
        ),
        (
            PUSH_REFUSED,
            RetryState(builds=3, pushes=1, paused=True, stalled=True, forced=STAGES),
            Retry.PUSH_LATER,
            RetryState(pushes=2, forced=STAGES),
        ),
    ],
)
def test_count_failure_reaction_changes_the_state(
    failure: BakeFailure,
    state: RetryState,
    verdict: Retry,
    after: RetryState,
) -> None:
    """Count builds from 0 again after each push; keep forced stages."""
    assert state.count_failure(failure, verdict, STAGES) == after


@pytest.mark.parametrize(
    ("name", "shown", "what"),
    [
        ("[app 2/2] COPY a b", SHOWN, "docker/Dockerfile:5: COPY a b: no"),
        ("[app 2/2] COPY a b", (), "docker/Dockerfile:3: COPY a b: no"),
        ("[internal] load metadata for host/x", SHOWN, "docker/Dockerfile:5: [internal] load metadata for host/x: no"),
        ("exporting to image", (), "exporting to image: no"),
        (None, SHOWN, "docker/Dockerfile:5: failed to solve: no such file"),
        (None, SHOWN[-1:], "bake failed: failed to solve: no such file"),
    ],
)
def test_format_failure_place_is_the_line_that_buildx_shows(
    name: str | None, shown: tuple[str, ...], what: str
) -> None:
    """Take the stage's line where buildx shows none. Some failures are not in the events."""
    trace = failed_trace("no", name) if name else Trace()
    for line in shown:
        trace.feed_line(f"{line}\n")
    assert explain_trace(trace).problem == what


def test_format_failure_step_shows_the_end_of_its_output() -> None:
    vertex = StepFailure(
        name="RUN x",
        stage="app",
        is_step=True,
        message="exit code: 1",
        log=("a", "b"),
    )
    failure = replace(make_failure(FailureKind.STEP), vertex=vertex, line=4)
    context = FailureContext(graph=GRAPH, refs=(), patience={})
    error = format_failure(failure, context)
    assert (error.problem, error.log) == ("docker/Dockerfile:4: RUN x: exit code: 1", ("a", "b"))


@pytest.mark.parametrize(
    ("message", "exit_code"),
    [("dial tcp: i/o timeout", 1), ("429 Too Many Requests", 1), ("not found", 2), ("pull access denied", 2)],
)
def test_format_failure_only_a_missing_image_is_invalid_input(message: str, exit_code: int) -> None:
    """Do not blame the FROM line for a registry that cannot be reached."""
    assert explain_trace(failed_trace(message, METADATA)).exit_code == exit_code


@pytest.mark.parametrize("named", [True, False])
def test_format_failure_parse_error_is_invalid_input(named: bool) -> None:
    """Return exit code 2 with file and line, whether BuildKit names a vertex or not."""
    message = "failed to solve: dockerfile parse error on line 4: COPY requires at least two arguments"
    trace = failed_trace(message, "[internal] load build definition from Dockerfile") if named else Trace()
    trace.feed_line(f"ERROR: {message}\n")
    error = explain_trace(trace)
    assert (error.exit_code, error.problem) == (2, "docker/Dockerfile:4: COPY requires at least two arguments")


@pytest.mark.parametrize(
    ("stall", "what", "hint"),
    [
        (Stall.READ, "building host/name:1: the registry sent no data for 60 s", "patience = { read = SECONDS }"),
        (Stall.WRITE, "pushing host/name:1: the registry accepted no data for 600 s", "patience = { write = SECONDS }"),
        (Stall.IDLE, "building host/name:1: the engine made no progress", "restart the engine"),
    ],
)
def test_format_failure_stall_says_what_was_waited_for(stall: Stall, what: str, hint: str) -> None:
    error = explain_trace(failed_trace("context canceled"), stall=stall)
    assert error.problem == f"{what}; the build was cancelled"
    assert hint in error.hint


@pytest.mark.parametrize(
    ("lines", "summary"),
    [
        ((), "buildx printed no message"),
        (("one", "two"), "two"),
        (("ERROR: first", "ERROR: second", "third"), "second"),
    ],
)
def test_summarize_failure_without_vertex_takes_the_last_error(lines: tuple[str, ...], summary: str) -> None:
    trace = Trace()
    for line in lines:
        trace.feed_line(line)
    assert summarize_failure(trace) == summary


@pytest.mark.parametrize(
    "message",
    [
        PUSHING.format("unexpected status from PUT request to https://host/: 413 Request Entity Too Large"),
        "failed to push ghcr.io/owner/app:latest: failed to do request: EOF",
    ],
)
def test_format_failure_refused_layer_names_the_largest_step(message: str) -> None:
    failure = classify_trace(failed_trace(message, "exporting to image"), known=frozenset())
    assert failure.kind is FailureKind.LAYER_REFUSED
    size = StepSize(step="RUN true", stage="app", bytes=12_000_000_000)
    context = FailureContext(graph=GRAPH, refs=(), patience={}, step_sizes=(size,))
    error = format_failure(failure, context)
    assert message in error.problem
    assert "stage app, `RUN true` (12.0 GB uncompressed)" in error.hint


def test_classify_failure_other_push_failure_is_no_limit() -> None:
    message = PUSHING.format("failed to do request: EOF")
    assert classify_trace(failed_trace(message, "exporting to image"), known=frozenset()).kind is FailureKind.ENGINE


@pytest.mark.parametrize("name", ["[app 1/2] COPY a b", "exporting to image"])
def test_format_failure_full_disk_says_how_to_free_some(name: str) -> None:
    error = explain_trace(failed_trace("write /var/lib/docker/x: no space left on device", name))
    assert "docker image prune" in error.hint
    assert "--make-room" in error.hint
