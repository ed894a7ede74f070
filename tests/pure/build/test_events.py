"""Lines of rawjson folded into what each stage did."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from stagebake.build.events import StepRun, Trace, covered_seconds, timestamp_seconds

BASE = "2026-01-01T10:00:"
BLOB = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


def at(second: float) -> str:
    return f"{BASE}{second:012.9f}Z"


def vertex(name: str, *span: float, digest: str | None = None, **more: Any) -> str:
    """A line that names a step, says when it began, and when it ended."""
    event: dict[str, Any] = {"digest": digest or f"sha256:{name}", "name": name, **more}
    event |= {key: at(second) for key, second in zip(("started", "completed"), span, strict=False)}
    return json.dumps({"vertexes": [event]})


def log(name: str, text: bytes) -> str:
    return json.dumps({"logs": [{"vertex": f"sha256:{name}", "stream": 1, "data": base64.b64encode(text).decode()}]})


def status(identity: str, current: int, total: int = 100) -> str:
    return json.dumps({"statuses": [{"id": identity, "vertex": "sha256:x", "current": current, "total": total}]})


def fed(*lines: str) -> Trace:
    trace = Trace()
    for line in lines:
        trace.feed_line(line + "\n")
    return trace


def only(*lines: str) -> StepRun:
    (step,) = fed(*lines).step_runs()
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
def test_names_of_steps(name: str, stage: str | None, number: int, text: str) -> None:
    """BuildKit writes [platform stage n/m] text, with n padded to the width of m; a sole stage goes unnamed."""
    step = only(vertex(name, 0, 1))
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
def test_what_is_no_step(name: str) -> None:
    """What BuildKit does for itself belongs to no stage."""
    assert fed(vertex(name, 0, 1)).step_runs() == ()


def test_cached_is_sticky() -> None:
    """A restored step is named again, without the word, while its layers are pulled: it did not run."""
    step = only(
        vertex("[base 1/1] RUN x", 1, 1, cached=True),
        vertex("[base 1/1] RUN x", 2),
        vertex("[base 1/1] RUN x", 2, 5),
    )
    assert (step.cached, step.ran, step.running) == (True, False, False)
    assert step.seconds == pytest.approx(3)


def test_cached_counts_when_it_comes_late() -> None:
    """A step that began and then turns out to be cached did not run."""
    step = only(vertex("[base 1/1] RUN x", 1), vertex("[base 1/1] RUN x", 1, 2, cached=True))
    assert (step.cached, step.ran) == (True, False)


def test_cached_holds_over_another_digest() -> None:
    """Digests change within a call; the name is what tells steps apart."""
    step = only(
        vertex("[base 1/1] RUN x", 1, 1, cached=True, digest="sha256:1"),
        vertex("[base 1/1] RUN x", 2, 3, digest="sha256:2"),
    )
    assert step.cached


def test_a_step_that_ran() -> None:
    """A step that began and was never called cached ran, for the time from its start to its end."""
    step = only(vertex("[base 1/1] RUN x"), vertex("[base 1/1] RUN x", 1), vertex("[base 1/1] RUN x", 1, 2.5))
    assert (step.cached, step.ran, step.running) == (False, True, False)
    assert step.seconds == pytest.approx(1.5)


def test_a_step_that_is_only_named_did_not_run() -> None:
    """BuildKit names all steps first; one that never begins did nothing."""
    step = only(vertex("[base 1/1] RUN x"))
    assert (step.cached, step.ran, step.running, step.seconds) == (False, False, False, 0)


def test_running() -> None:
    """A step is running between its start and its end."""
    name = "[base 1/1] RUN x"
    assert only(vertex(name, 1)).running
    assert not only(vertex(name, 1), vertex(name, 1, 2)).running
    assert only(vertex(name, 1, 2), vertex(name, 3)).running


def test_a_from_line_never_ran() -> None:
    """Pulling a base image is not running a step, though its time counts."""
    step = only(vertex("[base 1/2] FROM docker.io/library/debian", 0, 4))
    assert (step.is_from, step.ran) == (True, False)
    assert step.seconds == pytest.approx(4)


def test_steps_keep_the_order_in_which_they_are_named() -> None:
    """Steps come in the order of their first event."""
    trace = fed(vertex("[b 1/1] RUN x"), vertex("[a 1/1] RUN y"), vertex("[b 1/1] RUN x", 1, 2))
    assert [step.stage for step in trace.step_runs()] == ["b", "a"]


def test_an_event_of_many_parts() -> None:
    """One line may hold vertexes, statuses and logs; null stands for none."""
    trace = fed(json.dumps({"vertexes": None, "statuses": None, "logs": None, "warnings": [{}]}), "{}")
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
def test_time_is_counted_once(intervals: tuple[tuple[float, float], ...], length: float) -> None:
    """A moment that lies in several intervals counts once."""
    assert covered_seconds(intervals) == length


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ("1970-01-01T00:00:01Z", 1),
        ("1970-01-01T00:00:01.5Z", 1.5),
        ("1970-01-01T00:00:01.12345Z", 1.12345),
        ("1970-01-01T00:00:01.123456789Z", 1.123456),
        ("1970-01-01T02:00:01+02:00", 1),
    ],
)
def test_timestamps_of_go(timestamp: str, expected: float) -> None:
    """RFC 3339 with any number of digits and any offset."""
    assert timestamp_seconds(timestamp) == pytest.approx(expected, abs=1e-6)


def test_the_failure_is_the_step_that_failed_itself() -> None:
    """Steps that were cancelled because of it do not count, even when they are told first."""
    failure = fed(
        vertex("[web 1/1] RUN y", 1, 2, error='process "/bin/sh -c y" did not complete successfully: context canceled'),
        vertex("[app 2/2] RUN x", 1, 2, error='process "/bin/sh -c x" did not complete successfully: exit code: 7'),
        log("[app 2/2] RUN x", b"no such file\n"),
        log("[web 1/1] RUN y", b"never mind\n"),
    ).first_failure()
    assert failure is not None
    assert (failure.name, failure.stage, failure.is_step) == ("RUN x", "app", True)
    assert failure.message.endswith("exit code: 7")
    assert failure.log == ("no such file",)


def test_the_log_of_a_failure_is_its_last_forty_lines() -> None:
    """Output comes in base64, in pieces that end anywhere, within a character too."""
    text = "".join(f"zeile ü {i}\n" for i in range(100)).encode()
    cuts = [text[i : i + 7] for i in range(0, len(text), 7)]
    name = "[app 1/1] RUN x"
    failure = fed(
        vertex(name, 1), *(log(name, cut) for cut in cuts), vertex(name, 1, 2, error="exit code: 1")
    ).first_failure()
    assert failure is not None
    assert failure.log == tuple(f"zeile ü {i}" for i in range(60, 100))


def test_output_that_is_no_utf8_does_not_break_the_log() -> None:
    """Steps may print any bytes."""
    name = "[app 1/1] RUN x"
    failure = fed(vertex(name, 1), log(name, b"a\xff\n"), vertex(name, 1, 2, error="exit code: 1")).first_failure()
    assert failure is not None
    assert failure.log == ("a\ufffd",)


def test_a_failure_outside_all_stages() -> None:
    """What BuildKit cannot do for itself is a failure of no stage."""
    failure = fed(
        vertex("[internal] load metadata for docker.io/library/debain", 1, 2, error="not found")
    ).first_failure()
    assert failure is not None
    assert (failure.is_step, failure.message, failure.log) == (False, "not found", ())


def test_a_cache_that_cannot_be_read_is_no_failure() -> None:
    """BuildKit builds on without a cache; what it said of it is kept apart."""
    trace = fed(
        vertex("importing cache manifest from ghcr.io/team/app:cache", 1, 2, error="invalid layer index 9"),
        vertex("[base 1/1] RUN x", 2, 3),
    )
    assert trace.first_failure() is None
    assert trace.import_errors() == ("invalid layer index 9",)


def test_a_build_without_errors_has_no_failure() -> None:
    """No error, no failure."""
    trace = fed(vertex("[base 1/1] RUN x", 1, 2))
    assert (trace.first_failure(), trace.import_errors()) == (None, ())


def test_an_error_is_not_forgotten() -> None:
    """A step that is named again after its error still failed."""
    name = "[base 1/1] RUN x"
    assert fed(vertex(name, 1, 2, error="exit code: 1"), vertex(name, 1, 2)).first_failure() is not None


def test_pulled_bytes_are_counted_once_for_each_blob() -> None:
    """Progress grows, is told more than once, and by several steps; the largest number of each blob counts."""
    trace = fed(status(BLOB, 10), status(BLOB, 60), status(BLOB, 60), status(OTHER, 5), status(BLOB, 40))
    assert trace.pulled == 65


@pytest.mark.parametrize(
    "identity", ["transferring context:", "extracting " + BLOB, "sha256:abc", "resolve docker.io/library/debian"]
)
def test_other_progress_is_not_pulled(identity: str) -> None:
    """Only the progress of a blob is a pull."""
    assert fed(status(identity, 10)).pulled == 0


def test_what_is_no_event_is_text() -> None:
    """BuildKit ends with its error as plain text; lists and numbers are no events either."""
    trace = fed(vertex("[base 1/1] RUN x"), "Dockerfile:3", "  3 | >>> RUN x", "", "[1]", "ERROR: failed to solve: x")
    assert trace.text == "Dockerfile:3\n  3 | >>> RUN x\n\n[1]\nERROR: failed to solve: x"


def test_a_log_of_a_step_that_nobody_named_is_passed_over() -> None:
    """Logs may come before their step, or for one of another call."""
    assert fed(log("[base 1/1] RUN x", b"x")).step_runs() == ()


def test_what_ran_in_an_attempt_before_still_counts_as_run() -> None:
    """The engine has its result, so the next attempt finds it cached; what failed or was cut off did not run."""
    before = fed(
        vertex("[app 1/3] RUN a", 1, 2),
        vertex("[app 2/3] RUN b", 2, 3, error="cut off"),
        vertex("[app 3/3] RUN c", 3),
    )
    after = Trace(before)
    for number, name in enumerate("abc", 1):
        after.feed_line(vertex(f"[app {number}/3] RUN {name}", 4, 5, cached=True))
    assert [(step.name, step.ran, step.cached) for step in after.step_runs()] == [
        ("RUN a", True, False),
        ("RUN b", False, True),
        ("RUN c", False, True),
    ]
