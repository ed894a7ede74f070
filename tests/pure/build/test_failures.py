"""Whose fault a failed build is: the cache's, or its own."""

from __future__ import annotations

import json

import pytest

from stagebake.build.events import Trace
from stagebake.build.failures import CacheFault, explain_failure, find_cache_fault, lost_result_stage, too_many_requests
from stagebake.dockerfile.stages import parse_dockerfile

BLOB, OTHER = ("sha256:" + letter * 64 for letter in "ab")
KNOWN = frozenset({BLOB})
URL = f"http://host/v2/name/blobs/{BLOB}"
LOST = "failed to commit 17fhb to upok3 during finalize: failed to stat active key: snapshot 17fhb does not exist"
READING = "failed to copy: httpReadSeeker: failed open: unexpected status from GET request to {}: {}"


def failed(message: str, name: str = "[app 1/2] COPY a b") -> Trace:
    trace = Trace()
    event = {"digest": "1", "name": name, "started": "2026-01-01T10:00:00Z", "error": message}
    trace.feed_line(json.dumps({"vertexes": [event]}))
    return trace


@pytest.mark.parametrize(
    ("message", "passing"),
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
def test_the_cache_s_fault(message: str, passing: bool) -> None:
    """The blob is named; whether asking again may help is told by the words."""
    assert find_cache_fault(failed(message), None, KNOWN) == CacheFault(KNOWN, passing=passing)


@pytest.mark.parametrize(
    "message",
    [
        f'process "/bin/sh -c echo unexpected EOF {BLOB}" did not complete successfully: exit code: 1',
        f'process "/bin/sh -c curl {URL} # httpReadSeeker" did not complete successfully: exit code: 22',
        READING.format(URL.replace(BLOB, OTHER), "503 Service Unavailable"),
        "failed to push host/name:latest: unexpected status from PUT request: 416 Requested Range Not Satisfiable",
        f'failed to compute cache key: failed to calculate checksum of ref {BLOB}: "/b": not found',
    ],
    ids=["its words", "its command", "a base image", "the push", "no such file"],
)
def test_the_build_s_own_fault(message: str) -> None:
    """Such a build is not tried again, whatever words it prints."""
    assert find_cache_fault(failed(message), None, KNOWN) is None


def test_no_cache_is_to_blame_where_none_was_read() -> None:
    """Then whatever it was will be so again."""
    assert find_cache_fault(failed(READING.format(URL, "503")), None, frozenset()) is None
    assert find_cache_fault(failed(""), "read", frozenset()) is None


def test_a_call_that_was_given_up() -> None:
    """A download that stalled is had without the cache; an upload that stalled is no fault of it."""
    cancelled = failed("context canceled")
    assert find_cache_fault(cancelled, "read", KNOWN) == CacheFault(frozenset(), passing=False)
    assert find_cache_fault(cancelled, "import", KNOWN) == CacheFault(frozenset(), passing=True)
    assert find_cache_fault(cancelled, "write", KNOWN) is None


def test_a_registry_that_wants_the_image_later() -> None:
    """429 is repeated; another refusal is not, nor a step that prints the same."""
    push = "failed to push host/name:latest: {}"
    assert too_many_requests(failed(push.format("toomanyrequests: slow down")))
    assert too_many_requests(failed(push.format("unexpected status: 429 Too Many Requests")))
    assert not too_many_requests(failed(push.format("denied: no")))
    assert not too_many_requests(failed("toomanyrequests: slow down"))


def test_a_blob_that_is_not_named() -> None:
    """It is the one of which not all has come."""
    trace = Trace()
    trace.feed_line(json.dumps({"statuses": [{"id": BLOB, "vertex": "1", "current": 1}]}))
    trace.feed_line(json.dumps({"vertexes": [{"digest": "1", "name": "x", "error": "short read: unexpected EOF"}]}))
    assert find_cache_fault(trace, None, KNOWN) == CacheFault(KNOWN, passing=True)


GRAPH = parse_dockerfile("FROM debian AS base\n\nFROM base AS app\nRUN true\nCOPY a b\n", path="docker/Dockerfile")
SHOWN = ("Dockerfile:5", "-" * 20, "   5 | >>> COPY a b", "-" * 20, "ERROR: failed to solve: no such file")


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
def test_where_it_failed(name: str | None, shown: tuple[str, ...], what: str) -> None:
    """The line is the one that buildx shows at the end, else the stage's; not every failure is in the events."""
    trace = failed("no", name) if name else Trace()
    for line in shown:
        trace.feed_line(f"{line}\n")
    assert explain_failure(GRAPH, trace).what == what


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("[internal] load metadata for docker.io/library/debian:latest", "failed to do request: unexpected EOF"),
        ("[app 1/2] ADD https://host/file /", "invalid response status 416"),
    ],
)
def test_what_no_cache_holds_is_no_fault_of_it(name: str, message: str) -> None:
    """A base image's metadata and a file of the web come from elsewhere: nothing is built again without the cache."""
    assert find_cache_fault(failed(message, name), None, KNOWN) is None


METADATA = "[internal] load metadata for docker.io/library/debian:latest"


@pytest.mark.parametrize(
    ("message", "exit_code"),
    [("dial tcp: i/o timeout", 1), ("429 Too Many Requests", 1), ("not found", 2), ("pull access denied", 2)],
)
def test_a_registry_that_is_out_is_not_the_user_s_mistake(message: str, exit_code: int) -> None:
    """Only where the registry says that there is no such image is the FROM line wrong."""
    assert explain_failure(GRAPH, failed(message, METADATA)).exit_code == exit_code


@pytest.mark.parametrize("named", [True, False])
def test_what_only_buildkit_refuses_to_parse_is_input(named: bool) -> None:
    """With or without a vertex: exit code 2, with file and line."""
    said = "failed to solve: dockerfile parse error on line 4: COPY requires at least two arguments"
    trace = failed(said, "[internal] load build definition from Dockerfile") if named else Trace()
    trace.feed_line(f"ERROR: {said}\n")
    error = explain_failure(GRAPH, trace)
    assert (error.exit_code, error.what) == (2, "docker/Dockerfile:4: COPY requires at least two arguments")


@pytest.mark.parametrize(("name", "stage"), [("[deps 2/2] RUN b", "deps"), ("exporting to image", "app")])
def test_what_the_engine_has_lost(name: str, stage: str) -> None:
    """The stage is told whose step met it, the final one where no step did; nothing of it is the cache's fault."""
    graph = parse_dockerfile("FROM a AS deps\nRUN b\nFROM a AS app\nCOPY --from=deps b c\n")
    trace = failed(LOST, name)
    found = lost_result_stage(graph, trace)
    assert found is not None
    assert found.name == stage
    assert find_cache_fault(trace, None, KNOWN) is None
    trace.feed_line("Dockerfile:2")
    trace.feed_line("-" * 20)
    explained = explain_failure(graph, trace)
    assert explained.what.startswith("Dockerfile:2: ")
    assert "restart the engine" in explained.remedy
    assert lost_result_stage(graph, failed("snapshot 17fhb does not exist", name)) is None
