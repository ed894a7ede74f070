"""What the repository says of itself: the facts for `doctor`, and its past pushes for `forecast`."""

from __future__ import annotations

import json
import math
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from stagebake import dockerfile, forecast, history, reading, syntax
from stagebake.config import Settings
from stagebake.context import Folder
from stagebake.dockerfile import StageGraph
from stagebake.errors import InputError
from stagebake.fingerprint import Image, Inputs
from stagebake.forecast import Forecast, State
from stagebake.history import Objects, Snapshot
from stagebake.ledger import Ledger
from stagebake.rules.finding import Facts

_UNMOVED = Image(digest="unmoved", env={}, triggers=())

NO_DOCKERFILE = "without the Dockerfile"
NO_CONTEXT = "without the folder of the context"
UNREADABLE = "with a Dockerfile or an ignore file that BuildKit would refuse"
NO_TIMES = "with a stage of unknown time"


def facts(settings: Settings, seconds: Mapping[str, float], commits: int) -> Facts:
    """What is in the context, and what the last commits changed there."""
    root = settings.root / settings.context
    if not root.is_dir():
        return Facts(seconds=seconds, replaced=frozenset(settings.contexts))
    context = Folder(root, settings.root / settings.dockerfile)
    folders = {posixpath.dirname(path) for path in context.paths}
    matcher = syntax.patterns(context.rules.splitlines())
    changes = history.changes(root, commits)
    return Facts(
        files=frozenset(context.paths) - folders,
        commits=tuple(frozenset(path for path in changed if not matcher.matches(path)) for changed in changes),
        seconds=seconds,
        replaced=frozenset(settings.contexts),
        ignore_file=_ignore_file(settings),
    )


def _ignore_file(settings: Settings) -> str:
    own = f"{settings.dockerfile}.dockerignore"
    inside = posixpath.normpath(posixpath.join(settings.context, ".dockerignore"))
    return own if (settings.root / own).is_file() else inside


def past(settings: Settings, count: int, seconds: Mapping[str, float]) -> Forecast:
    """What the last commits would have cost, each as a push. Raises InputError where no commit can be counted."""
    left_out: Counter[str] = Counter()
    root = history.top(settings.root)
    with Objects(root) as objects:
        states = _states(settings, root, objects, count, seconds, left_out)
        pushes = tuple(forecast.pushes(states, seconds))
    if not pushes:
        why = ", ".join(f"{number} {reason}" for reason, number in left_out.items()) or "there is none"
        raise InputError(f"no commit of the last {count} can be counted: {why}", "commit the Dockerfile first")
    return Forecast(pushes=pushes, seconds=seconds, left_out=dict(left_out), cut=history.shallow(root))


def _states(
    settings: Settings,
    root: Path,
    objects: Objects,
    count: int,
    seconds: Mapping[str, float],
    left_out: Counter[str],
) -> Iterator[State]:
    """The commits that can be counted; what is the same as in the one before is not read again."""
    last: tuple[tuple[str | None, str, str], State | str] | None = None
    for commit in history.commits(root, count):
        snapshot = Snapshot(
            objects=objects,
            commit=commit,
            folder=history.place(settings.root, root, settings.context),
            dockerfile=history.place(settings.root, root, settings.dockerfile),
        )
        key = (snapshot.text, snapshot.tree, snapshot.rules)
        found = last[1] if last and last[0] == key else _state(settings, snapshot, seconds)
        last = (key, found)
        if isinstance(found, str):
            left_out[found] += 1
        else:
            yield State(commit=commit, graph=found.graph, prints=found.prints)


def _state(settings: Settings, snapshot: Snapshot, seconds: Mapping[str, float]) -> State | str:
    """The commit's stages and what they are made of, or why it cannot be counted."""
    if snapshot.text is None:
        return NO_DOCKERFILE
    if not snapshot.tree:
        return NO_CONTEXT
    try:
        graph = dockerfile.parse(
            snapshot.text,
            path=settings.dockerfile,
            target=settings.target,
            args=settings.args,
            platforms=settings.platforms,
            contexts=settings.contexts,
        )
        if not {stage.name for stage in graph.needed()} <= seconds.keys():
            return NO_TIMES
        prints = reading.take(graph, _inputs(settings, graph, snapshot))
    except InputError:
        return UNREADABLE
    return State(commit=snapshot.commit, graph=graph, prints=prints)


def _inputs(settings: Settings, graph: StageGraph, snapshot: Snapshot) -> Inputs:
    images = {image.name: _UNMOVED for stage in graph.stages for image in stage.images}
    return Inputs(context=snapshot, images=images | ({graph.syntax: _UNMOVED} if graph.syntax else {}))


def seconds(words: list[str], report: Path | None, graph: StageGraph) -> dict[str, float]:
    """The times of stages: those of a build's report, and over them `STAGE=SECONDS` words."""
    times = _reported(report) if report else {}
    for word in (word for text in words for word in text.split(",")):
        name, _, number = word.partition("=")
        stage = graph.find(name, "--seconds").name
        try:
            times[stage] = _time(number)
        except ValueError:
            raise InputError(f"--seconds: `{word}` is not STAGE=SECONDS", "write base=60,builder=150") from None
    return times


def _time(number: Any) -> float:
    """Seconds. Raises ValueError for what is no time."""
    if not math.isfinite(seconds := float(number)) or seconds < 0:
        raise ValueError(f"{number} is no time")
    return seconds


def _reported(path: Path) -> dict[str, float]:
    """What the stages took that the build of a --report ran."""
    try:
        stages = json.loads(path.read_text(encoding="utf-8"))["stages"]
        return {stage["name"]: _time(stage["seconds"]) for stage in stages if stage["status"] == "rebuilt"}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a report of a build: {error}", "write one: build --report FILE.json") from None


def learned(ledgers: Iterable[Ledger]) -> dict[str, float]:
    """What the last builds took for each stage that they ran; of the nearest ledger that knows."""
    times: dict[str, float] = {}
    for ledger in ledgers:
        for name, results in ledger.stages.items():
            ran = next((result.ran for result in results if result.ran is not None), None)
            if ran is not None:
                times.setdefault(name, ran)
    return times


def need_all(graph: StageGraph, times: Mapping[str, float]) -> dict[str, float]:
    """The times, which have every stage that is built. Raises InputError that names those without."""
    names = [stage.name for stage in graph.needed()]
    if missing := [name for name in names if name not in times]:
        raise InputError(
            f"it is not known how long {', '.join(missing)} take{'s' * (len(missing) == 1)}",
            f"say it: --seconds {','.join(f'{name}=SECONDS' for name in missing)}; or --times with a build's --report",
        )
    return {name: times[name] for name in (*names, *(times.keys() - names))}
