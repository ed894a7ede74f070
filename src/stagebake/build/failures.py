"""What a bake call that failed says: whose fault it is, and how the user hears of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from stagebake.build.events import Trace, find_failed_stage
from stagebake.dockerfile.stages import Stage, StageGraph
from stagebake.errors import BuildFailed, InputError, StagebakeError

# What BuildKit says when a blob of an imported cache cannot be had, is short or altered
_OF_A_BLOB = re.compile(
    r"httpReadSeeker|could not fetch content descriptor|unexpected commit digest|unexpected EOF|\b416\b"
)
# What a blob is that will be no other when it is asked for again
_FOR_GOOD = re.compile(r"unexpected commit digest|\b416\b|\b404\b|not found", re.IGNORECASE)
_BUSY = re.compile(r"\b429\b|toomanyrequests|too many requests", re.IGNORECASE)
# What takes no blob of a cache, whatever goes wrong with it
_FROM_ELSEWHERE = re.compile(r"\[internal\] load |resolve image config |ADD |https?://")
# moby/buildkit, cache/refs.go, finalize: a build that is cancelled while it keeps a step's result may leave one that is
# known and is not there, and every build that meets it fails until the engine is started anew (seen in 0.25)
_LOST = re.compile(r"failed to commit \w+ to \w+ during finalize")
# What a registry says of an image that it does not have, or not for everyone
_NO_IMAGE = re.compile(r"not found|does not exist|denied|unauthorized|authorization failed", re.IGNORECASE)
# moby/buildkit, frontend/dockerfile/parser/errors.go
_UNPARSED = re.compile(r"dockerfile parse error on line (?P<line>\d+): (?P<why>.+)", re.IGNORECASE)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# Above its last words buildx shows the lines that an error is of (moby/buildkit, solver/errdefs/source.go, Print)
_SOURCE = re.compile(r"^\S.*:(?P<line>\d+)\n-{20}$", re.MULTILINE)

_STALLED = {
    "read": "the registry sent nothing any more",
    "write": "the registry took nothing any more",
    "import": "the registry refused it",
    "idle": "the engine did nothing any more",
}


@dataclass(frozen=True)
class CacheFault:
    """The cache is to blame: these blobs of it, or none that can be told. `passing`: asking again may help."""

    blobs: frozenset[str]
    passing: bool


def find_cache_fault(trace: Trace, gave_up: str | None, known: Set[str]) -> CacheFault | None:
    """What is wrong with the cache, of which these blobs are `known`, that a build failed.

    None where a step failed by itself, the image could not be pushed, or anything else was wrong. `gave_up` is what a
    Watch says.
    """
    message = _message(trace)
    if "did not complete successfully" in message or gave_up in ("write", "idle") or not known:
        return None
    if gave_up:
        return CacheFault(frozenset(), passing=gave_up == "import")
    named = frozenset(_DIGEST.findall(message)) or trace.unfinished_blobs
    pushing = "failed to push" in message and "httpReadSeeker" not in message
    if pushing or not _OF_A_BLOB.search(message) or (named and not named & known):
        return None
    if not named and (failed := trace.first_failure()) and _FROM_ELSEWHERE.match(failed.name):
        return None
    return CacheFault(named & known, passing=not _FOR_GOOD.search(message))


def stalled_build(refs: Iterable[str], gave_up: str, patience: Mapping[str, float]) -> BuildFailed:
    """The failure of a build that waited for a registry, or for an engine that waits for one, in vain."""
    goal = "pushing" if gave_up == "write" else "building"
    remedy = (
        "BuildKit may wait for a registry for ever: restart the engine, or the builder, and build again"
        if gave_up == "idle"
        else f"try again; `patience = {{ {gave_up} = SECONDS }}` in the settings says how long is waited"
    )
    waited = f" for {patience[gave_up]:g} s" if gave_up in patience else ""
    return BuildFailed(f"{goal} {', '.join(refs)}: {_STALLED[gave_up]}{waited}, and the build was cancelled", remedy)


def lost_result_stage(graph: StageGraph, trace: Trace) -> Stage | None:
    """The stage that met a step's result which the engine has lost; None where that is not what is wrong."""
    if not _LOST.search(_message(trace)):
        return None
    failed = trace.first_failure()
    return find_failed_stage(graph, failed) if failed else graph.final


def too_many_requests(trace: Trace) -> bool:
    """Whether the registry wanted the image later (429). BuildKit repeats what 5xx answers, but not this."""
    message = _message(trace)
    return "failed to push" in message and bool(_BUSY.search(message))


def explain_failure(graph: StageGraph, trace: Trace) -> StagebakeError:
    """The failure as the user's: with file and line where a step failed."""
    failure, source = trace.first_failure(), _SOURCE.search(trace.text)
    where = f"{graph.path}:{source['line']}" if source else None
    if not (failure and failure.is_step) and (unparsed := _UNPARSED.search(_message(trace))):
        return InputError(f"{graph.path}:{unparsed['line']}: {unparsed['why']}", "correct that line")
    if failure is None:
        return BuildFailed(f"{where or 'bake failed'}: {failure_summary(trace)}", "correct what it names")
    for stage in graph.stages:
        for image in stage.images:
            told = image.line != stage.line or _NO_IMAGE.search(failure.message)
            if told and f"/{image.name}:latest" in failure.name and not re.search(r"[/:@.]", image.name):
                return InputError(
                    f"{graph.path}:{image.line}: `{image.name}` is no stage, and cannot be had as an image: "
                    f"{failure.message}",
                    f"name a stage ({', '.join(graph.names)}) or an image that can be reached",
                )
    what = f"{failure.name}: {failure.message}"
    placed = f"{where}: {what}" if where else what
    if _LOST.search(failure.message):
        return BuildFailed(placed, "a build that was cancelled has left this: restart the engine, or the builder")
    if not failure.is_step:
        return BuildFailed(placed, "these are the engine's and the registry's own words")
    return BuildFailed(
        f"{where or f'{graph.path}:{find_failed_stage(graph, failure).line}'}: {what}",
        "the end of what the step printed stands above",
        failure.log,
    )


def failure_summary(trace: Trace, gave_up: str | None = None) -> str:
    """The failure in one line; `gave_up` is what a Watch says."""
    if gave_up:
        return _STALLED[gave_up]
    if failure := trace.first_failure():
        return " ".join(failure.message.split())
    errors = [line for line in trace.text.splitlines() if line.startswith("ERROR:")]
    return (errors or trace.text.splitlines() or ["no word from buildx"])[-1].removeprefix("ERROR: ")


def _message(trace: Trace) -> str:
    failure = trace.first_failure()
    return failure.message if failure else trace.text
