"""List what happens before each push: a change of files, of the base image, or a forced stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.full.project_files import render_lock, render_requirements
from benchmarks.full.sizes import ImageSizes


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Change before a push: `files` to write, another edition of the base images, or a stage to force."""

    title: str
    files: Callable[[ImageSizes], Mapping[str, str]] = lambda _sizes: {}
    moves_base: bool = False
    forced: tuple[str, ...] = ()


# In this order, each on what the pushes before it have left
SCENARIOS = {
    "first": Scenario(title="first push"),
    "nothing": Scenario(title="nothing changed"),
    "code": Scenario(title="code", files=lambda _sizes: {"app/page.tsx": "export default 2\n"}),
    "npm": Scenario(
        title="npm: one more package",
        files=lambda sizes: {"package-lock.json": render_lock(sizes, "zod")},
    ),
    "python": Scenario(
        title="Python: another version",
        files=lambda sizes: {"kokoro-local/requirements.txt": render_requirements(sizes, "0.9.4")},
    ),
    "base": Scenario(title="base image moved", moves_base=True),
    "forced": Scenario(title="`python-deps` forced", forced=("python-deps", "runtime")),
}
