"""What the repository says of itself: the facts for `doctor`, and its past pushes for `forecast`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from stagebake.dockerfile.stages import StageGraph, parse_dockerfile
from stagebake.errors import InputError
from stagebake.fingerprint.model import BuildInputs, ImageInfo
from stagebake.fingerprint.stage_inputs import fingerprint_stages
from stagebake.fingerprint.tree_context import GitTrees, TreeContext
from stagebake.forecast.strategies import CommitState, Forecast, replay_pushes
from stagebake.project.git_history import is_shallow, list_commits, path_in_repository, work_tree_top
from stagebake.project.settings import Settings

_UNMOVED = ImageInfo(digest="unmoved", env={}, triggers=())

NO_DOCKERFILE = "without the Dockerfile"
NO_CONTEXT = "without the folder of the context"
UNREADABLE = "with a Dockerfile or an ignore file that BuildKit would refuse"
NO_TIMES = "with a stage of unknown time"


def forecast_past_pushes(settings: Settings, count: int, seconds: Mapping[str, float]) -> Forecast:
    """What the last commits would have cost, each as a push. Raises InputError where no commit can be counted."""
    left_out: Counter[str] = Counter()
    root = work_tree_top(settings.root)
    with GitTrees(root) as trees:
        states = _states(settings, root, trees, count, seconds, left_out)
        pushes = tuple(replay_pushes(states, seconds))
    if not pushes:
        why = ", ".join(f"{number} {reason}" for reason, number in left_out.items()) or "there is none"
        raise InputError(f"no commit of the last {count} can be counted: {why}", "commit the Dockerfile first")
    return Forecast(pushes=pushes, seconds=seconds, left_out=dict(left_out), cut=is_shallow(root))


def _states(
    settings: Settings,
    root: Path,
    trees: GitTrees,
    count: int,
    seconds: Mapping[str, float],
    left_out: Counter[str],
) -> Iterator[CommitState]:
    """The commits that can be counted; what is the same as in the one before is not read again."""
    last: tuple[tuple[str | None, str, str], CommitState | str] | None = None
    for commit in list_commits(root, count):
        snapshot = TreeContext(
            trees=trees,
            revision=commit,
            folder=path_in_repository(settings.root, root, settings.context),
            dockerfile=path_in_repository(settings.root, root, settings.dockerfile),
        )
        key = (snapshot.text, snapshot.tree, snapshot.rules)
        found = last[1] if last and last[0] == key else _state(settings, snapshot, seconds)
        last = (key, found)
        if isinstance(found, str):
            left_out[found] += 1
        else:
            yield CommitState(commit=commit, graph=found.graph, prints=found.prints)


def _state(settings: Settings, snapshot: TreeContext, seconds: Mapping[str, float]) -> CommitState | str:
    """The commit's stages and what they are made of, or why it cannot be counted."""
    if snapshot.text is None:
        return NO_DOCKERFILE
    if not snapshot.tree:
        return NO_CONTEXT
    try:
        graph = parse_dockerfile(
            snapshot.text,
            path=settings.dockerfile,
            target=settings.target,
            args=settings.args,
            platforms=settings.platforms,
            contexts=settings.contexts,
        )
        if not {stage.name for stage in graph.needed_stages()} <= seconds.keys():
            return NO_TIMES
        prints = fingerprint_stages(graph, _inputs(settings, graph, snapshot))
    except InputError:
        return UNREADABLE
    return CommitState(commit=snapshot.revision, graph=graph, prints=prints)


def _inputs(settings: Settings, graph: StageGraph, snapshot: TreeContext) -> BuildInputs:
    images = {image.name: _UNMOVED for stage in graph.stages for image in stage.images}
    return BuildInputs(context=snapshot, images=images | ({graph.syntax: _UNMOVED} if graph.syntax else {}))
