"""Classify a bake call that failed, choose what to do about it, and explain it to the user. Pure.

`classify_failure` reads BuildKit's messages once and returns a `BakeFailure`. `choose_retry` decides by its kind,
`format_failure` turns it into the error that the user sees. Both read its fields only, never a message again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace
from enum import Enum

from stagebake.buildkit.events import StepFailure, Trace, find_failed_stage
from stagebake.buildkit.limits import (
    StepSize,
    explain_large_layer,
    is_disk_full,
    is_layer_too_large,
    is_upload_cut_off,
)
from stagebake.buildkit.stall_timer import Stall
from stagebake.dockerfile.stages import ImageReference, Stage, StageGraph
from stagebake.errors import BuildFailed, InputError, StagebakeError

# BuildKit's message about a step that failed by itself
_STEP_FAILED = "did not complete successfully"
_PUSH_FAILED = "failed to push"
# BuildKit's messages about a blob of an imported cache that is missing, short or altered
_BAD_BLOB = re.compile(
    r"httpReadSeeker|could not fetch content descriptor|unexpected commit digest|unexpected EOF|\b416\b"
)
# Messages about a blob that will be the same in the next attempt
_PERMANENT = re.compile(r"unexpected commit digest|\b416\b|\b404\b|not found", re.IGNORECASE)
_TOO_MANY_REQUESTS = re.compile(r"\b429\b|toomanyrequests|too many requests", re.IGNORECASE)
# Vertexes that read no blob of a cache, whatever message they fail with
_READS_NO_CACHE = re.compile(r"\[internal\] load |resolve image config |ADD |https?://")
# moby/buildkit, cache/refs.go, finalize: a build that is cancelled while it stores a step's result may leave a record
# without content; every build that needs it fails until the engine restarts (seen in 0.25)
_LOST_RESULT = re.compile(r"failed to commit \w+ to \w+ during finalize")
# A registry's messages about an image that it does not have, or not for everyone
_NO_IMAGE = re.compile(r"not found|does not exist|denied|unauthorized|authorization failed", re.IGNORECASE)
# moby/buildkit, frontend/dockerfile/parser/errors.go
_PARSE_ERROR = re.compile(r"dockerfile parse error on line (?P<line>\d+): (?P<reason>.+)", re.IGNORECASE)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# buildx shows the lines that an error refers to (moby/buildkit, solver/errdefs/source.go, Print)
_SOURCE_LINE = re.compile(r"^\S.*:(?P<line>\d+)\n-{20}$", re.MULTILINE)

# Builds before the failure is final; the last one imports no cache
MAX_BUILDS = 5
# Seconds before each further attempt to push, where the registry answers HTTP 429
PUSH_PAUSES = (1.0, 2.0, 4.0)

_STALL_MESSAGES = {
    Stall.READ: "the registry sent no data",
    Stall.WRITE: "the registry accepted no data",
    Stall.IMPORT: "the registry refused the cache",
    Stall.IDLE: "the engine made no progress",
}


_CORRECT_NAMED = "correct what this message from BuildKit or the registry names"
_FREE_DISK = "free disk: docker image prune --all, docker buildx prune; in a workflow use `stagebake init --make-room`"


class FailureKind(Enum):
    """Cause of a failed bake call."""

    STEP = "a step of a stage failed"
    PARSE_ERROR = "BuildKit cannot parse the Dockerfile"
    MISSING_IMAGE = "the Dockerfile names neither a stage nor an image"
    LOST_RESULT = "the engine lost a step's result"
    CACHE = "a cache could not be imported or read"
    PUSH_REFUSED = "the registry answered a push with HTTP 429"
    LAYER_REFUSED = "the registry refused a layer for its size or for the time that it took"
    STALLED = "the call was given up"
    ENGINE = "BuildKit or the registry reports another error"


@dataclass(frozen=True, kw_only=True)
class BakeFailure:
    """Failed bake call.

    `message` is BuildKit's message, `summary` the failure in one line. `vertex` is the part of the build that failed,
    None where BuildKit names none. `stage` is the stage whose step it is, else the final one; `line` is the line that
    buildx shows, else that of a step's stage.
    For CACHE, `blobs` are the bad blobs of the cache that BuildKit names, and `temporary` tells whether the same
    request may succeed later. `image` is the name of a MISSING_IMAGE, `stall` why the call was given up.
    """

    kind: FailureKind
    message: str
    summary: str
    stage: Stage
    vertex: StepFailure | None = None
    line: int | None = None
    image: str = ""
    blobs: frozenset[str] = frozenset()
    temporary: bool = False
    stall: Stall | None = None


def classify_failure(
    graph: StageGraph,
    trace: Trace,
    stall: Stall | None,
    cached_blobs: Set[str],
) -> BakeFailure:
    """Return the cause of a failed bake call.

    `trace` holds its events. `stall` is why the call was given up, if it was. `cached_blobs` are the digests of the
    blobs in the cache that it imported.
    """
    failure = _read_failure(graph, trace, stall)
    if _LOST_RESULT.search(failure.message):
        return replace(failure, kind=FailureKind.LOST_RESULT)
    may_be_cache = bool(cached_blobs) and _STEP_FAILED not in failure.message
    stalled = _classify_stall(failure, may_be_cache)
    if stalled:
        return stalled
    if may_be_cache:
        blamed = _classify_cache_failure(failure, trace.unfinished_blobs, cached_blobs)
        if blamed:
            return blamed
    return _classify_user_failure(graph, failure)


def _read_failure(graph: StageGraph, trace: Trace, stall: Stall | None) -> BakeFailure:
    """Return the failure as STEP or ENGINE, with the place where it happened."""
    vertex = trace.first_failure()
    is_step = vertex is not None and vertex.is_step
    stage = find_failed_stage(graph, vertex) if vertex else graph.final
    line = stage.line if is_step else None
    source_line = _SOURCE_LINE.search(trace.text)
    if source_line:
        line = int(source_line["line"])
    return BakeFailure(
        kind=FailureKind.STEP if is_step else FailureKind.ENGINE,
        message=vertex.message if vertex else trace.text,
        summary=summarize_failure(trace, stall),
        stage=stage,
        vertex=vertex,
        line=line,
        stall=stall,
    )


def _classify_stall(failure: BakeFailure, may_be_cache: bool) -> BakeFailure | None:
    """Return why a call was given up; None where it was not, or failed by itself."""
    match failure.stall:
        case Stall.READ if may_be_cache:
            return replace(failure, kind=FailureKind.CACHE)
        case Stall.IMPORT if may_be_cache:
            return replace(failure, kind=FailureKind.CACHE, temporary=True)
        case Stall.READ | Stall.WRITE | Stall.IDLE:
            return replace(failure, kind=FailureKind.STALLED)
    return None


def _classify_cache_failure(
    failure: BakeFailure,
    unfinished_blobs: Set[str],
    cached_blobs: Set[str],
) -> BakeFailure | None:
    """Return the failure with the bad blobs of the cache, none where the message names none.

    Return None where the message is not about the cache.
    """
    message = failure.message
    vertex = failure.vertex
    if not _BAD_BLOB.search(message):
        return None
    if _PUSH_FAILED in message and "httpReadSeeker" not in message:
        return None
    named = set(_DIGEST.findall(message)) or unfinished_blobs
    if named and not named & cached_blobs:
        return None
    if not named and vertex and _READS_NO_CACHE.match(vertex.name):
        return None
    return replace(
        failure,
        kind=FailureKind.CACHE,
        blobs=frozenset(named & cached_blobs),
        temporary=not _PERMANENT.search(message),
    )


def _classify_user_failure(graph: StageGraph, failure: BakeFailure) -> BakeFailure:
    """Return what the Dockerfile or the registry is responsible for, in more detail than STEP and ENGINE."""
    if failure.kind is FailureKind.ENGINE:
        parse_error = _PARSE_ERROR.search(failure.message)
        if parse_error:
            return replace(
                failure,
                kind=FailureKind.PARSE_ERROR,
                summary=parse_error["reason"],
                line=int(parse_error["line"]),
            )
        if _PUSH_FAILED in failure.message and _TOO_MANY_REQUESTS.search(failure.message):
            return replace(failure, kind=FailureKind.PUSH_REFUSED)
        if _PUSH_FAILED in failure.message and _may_exceed_limit(failure.message):
            return replace(failure, kind=FailureKind.LAYER_REFUSED)
    image = _find_missing_image(graph, failure.vertex) if failure.vertex else None
    if image:
        return replace(failure, kind=FailureKind.MISSING_IMAGE, image=image.name, line=image.line)
    return failure


def _may_exceed_limit(message: str) -> bool:
    return is_layer_too_large(message) or is_upload_cut_off(message)


def _find_missing_image(graph: StageGraph, vertex: StepFailure) -> ImageReference | None:
    """Return the image that BuildKit could not find, where its name may be a misspelt stage."""
    refused = _NO_IMAGE.search(vertex.message)
    for stage in graph.stages:
        for image in stage.images:
            plain_name = not re.search(r"[/:@.]", image.name)
            in_from_line = image.line == stage.line
            if plain_name and f"/{image.name}:latest" in vertex.name and (refused or not in_from_line):
                return image
    return None


def summarize_failure(trace: Trace, stall: Stall | None = None) -> str:
    """Return the failure in one line; `stall` is why the call was given up, if it was."""
    if stall:
        return _STALL_MESSAGES[stall]
    failure = trace.first_failure()
    if failure:
        return " ".join(failure.message.split())
    lines = trace.text.splitlines()
    errors = [line for line in lines if line.startswith("ERROR:")]
    last = (errors or lines or ["buildx printed no message"])[-1]
    return last.removeprefix("ERROR: ")


class Retry(Enum):
    """Reaction to a failed build of the image."""

    FORCE_STAGE = "build again, the failed stage without its earlier results"
    FORCE_ALL = "build again, every stage without its earlier results"
    PAUSE = "build again after a pause"
    PUSH_LATER = "build again after a longer pause each time, so that the registry takes the push"
    DROP_BLOBS = "build again without the bad blobs of the cache"
    NO_CACHE = "build again without importing any cache"
    RAISE = "explain the failure to the user"


@dataclass(frozen=True, kw_only=True)
class RetryState:
    """Reactions so far in one build of the image.

    `builds` counts the failed bake calls since the last PUSH_LATER, `pushes` the PUSH_LATER verdicts. `paused` tells
    that PAUSE was used up, `stalled` that the last call stalled on a download. `forced` are the stages that are built
    without their earlier results, because the engine lost one.
    """

    builds: int = 0
    pushes: int = 0
    paused: bool = False
    stalled: bool = False
    forced: frozenset[str] = frozenset()

    def count_failure(self, failure: BakeFailure, verdict: Retry, all_stages: Set[str]) -> RetryState:
        """Return the state after one more failed call and the reaction to it."""
        if verdict is Retry.PUSH_LATER:
            return RetryState(pushes=self.pushes + 1, forced=self.forced)
        forced = self.forced
        if verdict is Retry.FORCE_STAGE:
            forced |= {failure.stage.name}
        elif verdict is Retry.FORCE_ALL:
            forced = frozenset(all_stages)
        stalled = self.stalled
        if failure.kind is FailureKind.CACHE:
            stalled = failure.stall is Stall.READ
        return replace(
            self,
            builds=self.builds + 1,
            paused=self.paused or verdict is Retry.PAUSE,
            stalled=stalled,
            forced=forced,
        )


def choose_retry(failure: BakeFailure, state: RetryState, all_stages: Set[str]) -> Retry:
    """Return the reaction to a failed build of the image, after the reactions in `state`.

    A lost result of a stage is built again, then that of all stages. A temporary error of the cache gets one more
    chance. Then bad blobs are dropped while enough builds are left to try without them and without any cache.
    """
    builds_left = MAX_BUILDS - state.builds - 1
    match failure.kind:
        case FailureKind.PUSH_REFUSED if state.pushes < len(PUSH_PAUSES):
            return Retry.PUSH_LATER
        case FailureKind.LOST_RESULT if builds_left and state.forced != all_stages:
            return Retry.FORCE_ALL if failure.stage.name in state.forced else Retry.FORCE_STAGE
        case FailureKind.CACHE if builds_left:
            return _choose_cache_retry(failure, state, builds_left)
    return Retry.RAISE


def _choose_cache_retry(failure: BakeFailure, state: RetryState, builds_left: int) -> Retry:
    if failure.temporary and not state.paused:
        return Retry.PAUSE
    if failure.blobs and builds_left > 1:
        return Retry.DROP_BLOBS
    return Retry.NO_CACHE


@dataclass(frozen=True, kw_only=True)
class FailureContext:
    """Inputs of a build that its errors mention: the Dockerfile's stages, the image's refs, the setting `patience`.

    `step_sizes` are the largest results of steps, for LAYER_REFUSED.
    """

    graph: StageGraph
    refs: tuple[str, ...]
    patience: Mapping[str, float]
    step_sizes: tuple[StepSize, ...] = ()


def format_failure(failure: BakeFailure, context: FailureContext) -> StagebakeError:
    """Return the error that explains a failure to the user, with file and line where they are known."""
    return _FORMATTERS[failure.kind](failure, context)


def _format_step(failure: BakeFailure, context: FailureContext) -> StagebakeError:
    log = failure.vertex.log if failure.vertex else ()
    hint = "see the step's output above"
    if is_disk_full((failure.message, *log)):
        hint = _FREE_DISK
    return BuildFailed(_describe_failure(failure, context), hint, log)


def _format_parse_error(failure: BakeFailure, context: FailureContext) -> StagebakeError:
    return InputError(f"{context.graph.path}:{failure.line}: {failure.summary}", "correct that line")


def _format_missing_image(failure: BakeFailure, context: FailureContext) -> StagebakeError:
    place = f"{context.graph.path}:{failure.line}"
    what = f"`{failure.image}` is not a stage, and BuildKit cannot pull it as an image: {failure.message}"
    stages = ", ".join(context.graph.names)
    return InputError(f"{place}: {what}", f"name a stage ({stages}) or an image that BuildKit can pull")


def _format_lost_result(failure: BakeFailure, context: FailureContext) -> StagebakeError:
    hint = "restart the engine, or the builder: a cancelled build left it without a step's result"
    return BuildFailed(_describe_failure(failure, context), hint)


def _format_stall(failure: BakeFailure, context: FailureContext) -> StagebakeError:
    stall = failure.stall or Stall.IDLE
    action = "pushing" if stall is Stall.WRITE else "building"
    refs = ", ".join(context.refs)
    what = f"{action} {refs}: {_STALL_MESSAGES[stall]}"
    seconds = context.patience.get(stall.value)
    if seconds is not None:
        what += f" for {seconds:g} s"
    if stall is Stall.IDLE:
        hint = "restart the engine, or the builder, and build again: BuildKit may wait for a registry without limit"
    else:
        hint = f"build again; for a slow registry, set `patience = {{ {stall.value} = SECONDS }}`"
    return BuildFailed(f"{what}; the build was cancelled", hint)


def _format_engine(failure: BakeFailure, context: FailureContext) -> StagebakeError:
    hint = _CORRECT_NAMED
    if is_disk_full([failure.message]):
        hint = _FREE_DISK
    return BuildFailed(_describe_failure(failure, context), hint)


def _format_refused_layer(failure: BakeFailure, context: FailureContext) -> StagebakeError:
    hint = explain_large_layer(context.step_sizes, failure.message)
    return BuildFailed(_describe_failure(failure, context), hint or _CORRECT_NAMED)


_FORMATTERS: Mapping[FailureKind, Callable[[BakeFailure, FailureContext], StagebakeError]] = {
    FailureKind.STEP: _format_step,
    FailureKind.PARSE_ERROR: _format_parse_error,
    FailureKind.MISSING_IMAGE: _format_missing_image,
    FailureKind.LOST_RESULT: _format_lost_result,
    FailureKind.CACHE: _format_engine,
    FailureKind.PUSH_REFUSED: _format_engine,
    FailureKind.LAYER_REFUSED: _format_refused_layer,
    FailureKind.STALLED: _format_stall,
    FailureKind.ENGINE: _format_engine,
}


def _describe_failure(failure: BakeFailure, context: FailureContext) -> str:
    """Return the place, the name of what failed, and BuildKit's message."""
    place = "" if failure.line is None else f"{context.graph.path}:{failure.line}: "
    if failure.vertex is None:
        return f"{place or 'bake failed: '}{failure.summary}"
    return f"{place}{failure.vertex.name}: {failure.vertex.message}"
