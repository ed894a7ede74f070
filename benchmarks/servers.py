"""Start the engine and the registries of a benchmark in a temporary folder, and stop them at its end."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.archive import Base, make_busybox
from tests.support.chosen_builder import CHOSEN_BUILDER
from tests.support.engine import Engine
from tests.support.project import BUSYBOX, Project
from tests.support.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Servers:
    """Folder and engine of a benchmark, and the only image of the engine; `stack` stops everything at the end."""

    folder: Path
    base: Base
    engine: Engine
    stack: ExitStack

    def start_registry(self, folder: Path) -> Registry:
        """Return an empty registry with its data in the folder."""
        registry = Registry(folder)
        self.stack.callback(registry.stop)
        return registry

    def create_project(self, name: str) -> Project:
        """Return a project with its own registry."""
        return Project(
            folder=self.folder / "project",
            name=name,
            engine=self.engine,
            registry=self.start_registry(self.folder),
        )


@contextmanager
def start_servers(make_base: Callable[[Path], Base] | None = None) -> Iterator[Servers]:
    """Yield the servers; `make_base` makes the only image that the engine has (default: busybox)."""
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="sb-", dir="/tmp")  # a socket's path must be short
        folder = Path(stack.enter_context(temporary))
        base = make_base(folder) if make_base else make_busybox(BUSYBOX, folder)
        engine = Engine(folder / "engine", folder, (base,), builder=CHOSEN_BUILDER)
        stack.callback(engine.stop)
        yield Servers(folder=folder, base=base, engine=engine, stack=stack)
