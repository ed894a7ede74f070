"""Run the pushes of one strategy with one Dockerfile, each on an emptied engine, and measure them."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.full.base_images import Hub
from benchmarks.full.project_files import DOCKERFILES, render_application
from benchmarks.full.scenarios import SCENARIOS, Scenario
from benchmarks.full.sizes import ImageSizes
from benchmarks.full.strategies import Strategy
from tests.support.project import Project
from tests.support.proxy import Link, Proxy
from tests.support.registry import Registry
from tests.support.service import CacheService


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Measured push: seconds to the image and to the end, steps that ran by stage, and bytes.

    `pulled` and `pushed` passed the proxies of the registries and of GitHub's cache service. `written` went to the
    disk of the engine.
    """

    image_seconds: float
    seconds: float
    steps: Mapping[str, int]
    pulled: int
    pushed: int
    written: int


@dataclass(frozen=True, kw_only=True)
class StrategyProject:
    """Repository that is pushed with one kind of cache, the proxies that count, and variables for the build."""

    strategy: Strategy
    project: Project
    proxies: tuple[Proxy, ...]
    environment: Mapping[str, str]


@dataclass(kw_only=True)
class Bench:
    """Base images, folder for the registries, and the line between the engine and the registries (None: no limit).

    `edition` is that of the base images that were pushed last.
    """

    hub: Hub
    folder: Path
    link: Link | None = None
    edition: str = ""

    def measure_pushes(
        self, dockerfile: str, strategies: Mapping[str, Strategy], names: Collection[str]
    ) -> Iterator[tuple[str, str, Cell]]:
        """Yield the name of each scenario and strategy with what was measured.

        Pushes with all strategies before the next scenario. A first push that is not measured fills the registry from
        an engine that still has the steps of the strategy before.
        """
        self._move_base("first edition")
        with self._open_projects(dockerfile, strategies) as projects:
            for scenario_name, scenario in SCENARIOS.items():
                if scenario_name not in names and scenario_name != "first":
                    continue
                if scenario.moves_base:
                    self._move_base("second edition")
                for strategy_name, opened in projects.items():
                    self._change_project(opened.project, scenario)
                    if scenario_name in names:
                        yield scenario_name, strategy_name, self._measure_push(opened, scenario)
                    else:
                        opened.strategy.push_image(opened.project, scenario, opened.environment)

    def _measure_push(self, opened: StrategyProject, scenario: Scenario) -> Cell:
        """Push on an engine that has nothing but busybox."""
        engine = opened.project.engine
        engine.empty()
        written = engine.written_bytes()
        with ExitStack() as stack:
            seen = [stack.enter_context(proxy.watched()) for proxy in opened.proxies]
            pushed = opened.strategy.push_image(opened.project, scenario, opened.environment)
        exchanges = [exchange for one_proxy in seen for exchange in one_proxy]
        return Cell(
            image_seconds=pushed.image_seconds,
            seconds=pushed.seconds,
            steps=pushed.steps,
            pulled=sum(exchange.sent for exchange in exchanges if exchange.method == "GET"),
            pushed=sum(exchange.received for exchange in exchanges),
            written=engine.written_bytes() - written,
        )

    def _move_base(self, edition: str) -> None:
        """Let the tags of the base images lead to this edition."""
        if self.edition != edition:
            self.hub.registry.proxy.link = None
            self.hub.push_images(edition)
            self.hub.registry.proxy.link = self.link
            self.edition = edition

    def _change_project(self, project: Project, scenario: Scenario) -> None:
        """Write the files of a scenario and commit, if none has changed too."""
        project.write(scenario.files(self.hub.sizes))
        project.git("add", "--all")
        identity = ("-c", "user.name=bench", "-c", "user.email=bench@stagebake.test")
        project.git(*identity, "commit", "--quiet", "--allow-empty", "--message=push")

    @contextmanager
    def _open_projects(
        self, dockerfile: str, strategies: Mapping[str, Strategy]
    ) -> Iterator[Mapping[str, StrategyProject]]:
        """Yield a repository for each strategy, with an empty registry; remove all at the end."""
        folder = self.folder / "pushes"
        folder.mkdir()
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, folder)
            registry = Registry(folder)
            stack.callback(registry.stop)
            registry.proxy.link = self.link
            projects = {}
            for name, strategy in strategies.items():
                project_folder = folder / name / "project"
                project_folder.mkdir(parents=True)
                project = Project(
                    folder=project_folder,
                    name=name,
                    engine=self.hub.engine,
                    registry=registry,
                    hosted=self.hub.images,
                )
                _write_project(project, dockerfile, self.hub.sizes)
                projects[name] = self._open_project(strategy, project, stack)
            yield projects

    def _open_project(self, strategy: Strategy, project: Project, stack: ExitStack) -> StrategyProject:
        """Return a project with what its strategy needs; `stack` stops it."""
        proxies = [project.registry.proxy, self.hub.registry.proxy]
        environment: Mapping[str, str] = strategy.environment
        if strategy.uses_service:
            service = CacheService(project.folder.parent / "service")
            stack.callback(service.stop)
            service.proxy.link = self.link
            proxies.append(service.proxy)
            environment = {**environment, **service.environment("refs/heads/main")}
        return StrategyProject(
            strategy=strategy,
            project=project,
            proxies=tuple(proxies),
            environment=environment,
        )


def _write_project(project: Project, dockerfile: str, sizes: ImageSizes) -> None:
    for name, content in render_application(sizes).items():
        path = project.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    project.write({"Dockerfile": DOCKERFILES[dockerfile](sizes)})
    project.settings()
    project.git("init", "--quiet", "--initial-branch=main")
