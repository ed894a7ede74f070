"""Read past commits from git and forecast each of them as a push."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from stagebake.context.git_tree import GitTrees, TreeContext
from stagebake.dockerfile.stages import StageGraph, parse_dockerfile
from stagebake.errors import InputError
from stagebake.fingerprint.model import BuildInputs, ImageInfo
from stagebake.fingerprint.stage_inputs import fingerprint_stages
from stagebake.forecast.commit_state import CommitState
from stagebake.forecast.push_cost import RunnerModel
from stagebake.forecast.strategies import Forecast, replay_pushes
from stagebake.project.git_history import is_shallow, list_commits, path_in_repository, work_tree_top
from stagebake.project.settings import Settings

_UNCHANGED_IMAGE = ImageInfo(digest="unchanged", env={}, triggers=())

# Reasons why a commit is not counted, as in "Left out: 3 commits, without the Dockerfile."
NO_DOCKERFILE = "without the Dockerfile"
NO_CONTEXT = "without the folder of the context"
UNREADABLE = "with a Dockerfile or an ignore file that BuildKit would refuse"
NO_TIMES = "with a stage of unknown time"


def forecast_past_pushes(settings: Settings, count: int, model: RunnerModel) -> Forecast:
    """Return the forecast of the last `count` commits, each as a push. Raises InputError if none can be counted."""
    root = work_tree_top(settings.root)
    with GitTrees(root) as trees:
        history = _History(settings=settings, root=root, trees=trees, seconds=model.seconds)
        pushes = tuple(replay_pushes(history.read_states(count), model))
    if not pushes:
        reasons = [f"{number} {reason}" for reason, number in history.left_out.items()]
        problem = f"cannot count any of the last {count} commits: {', '.join(reasons) or 'there are no commits'}"
        raise InputError(problem, "commit the Dockerfile first")
    return Forecast(
        pushes=pushes,
        model=model,
        left_out=dict(history.left_out),
        cut=is_shallow(root),
    )


@dataclass(frozen=True, kw_only=True)
class _History:
    """Commits of a repository. `left_out` counts those that cannot be counted as pushes, by reason."""

    settings: Settings
    root: Path
    trees: GitTrees
    seconds: Mapping[str, float]
    left_out: Counter[str] = field(default_factory=Counter)

    def read_states(self, count: int) -> Iterator[CommitState]:
        """Yield the states of the last commits, oldest first.

        A commit that changes neither the Dockerfile nor the context is not read again.
        """
        last_key: tuple[str | None, str, str] | None = None
        found: CommitState | str = NO_DOCKERFILE
        for commit in list_commits(self.root, count):
            snapshot = self._open_snapshot(commit)
            key = (snapshot.text, snapshot.tree, snapshot.rules)
            if key != last_key:
                found = self._read_state(snapshot)
            last_key = key
            if isinstance(found, str):
                self.left_out[found] += 1
            else:
                yield replace(found, commit=commit)

    def _open_snapshot(self, commit: str) -> TreeContext:
        settings = self.settings
        return TreeContext(
            trees=self.trees,
            revision=commit,
            folder=path_in_repository(settings.root, self.root, settings.context),
            dockerfile=path_in_repository(settings.root, self.root, settings.dockerfile),
        )

    def _read_state(self, snapshot: TreeContext) -> CommitState | str:
        """Return the state of a commit, or the reason why it cannot be counted."""
        if snapshot.text is None:
            return NO_DOCKERFILE
        if not snapshot.tree:
            return NO_CONTEXT
        try:
            graph = _parse_graph(self.settings, snapshot.text)
            needed = {stage.name for stage in graph.needed_stages()}
            if not needed <= self.seconds.keys():
                return NO_TIMES
            prints = fingerprint_stages(graph, _build_inputs(graph, snapshot))
        except InputError:
            return UNREADABLE
        return CommitState(commit=snapshot.revision, graph=graph, prints=prints)


def _parse_graph(settings: Settings, text: str) -> StageGraph:
    return parse_dockerfile(
        text,
        path=settings.dockerfile,
        target=settings.target,
        args=settings.args,
        platforms=settings.platforms,
        contexts=settings.contexts,
    )


def _build_inputs(graph: StageGraph, snapshot: TreeContext) -> BuildInputs:
    """Return the inputs of a build of this commit, with images that never change."""
    names = {image.name for stage in graph.stages for image in stage.images}
    if graph.syntax:
        names.add(graph.syntax)
    images = dict.fromkeys(names, _UNCHANGED_IMAGE)
    return BuildInputs(context=snapshot, images=images)
