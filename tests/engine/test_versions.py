"""Push from two BuildKits in turn: the engine's own one and the one that STAGEBAKE_TEST_BUILDER names."""

from __future__ import annotations

import pytest

from tests.engine.conftest import committed
from tests.support.project import Outcome, Project
from tests.support.shapes import STAGES, changed

OWN, CHOSEN = "default", ""
EDITS = {"src/page.ts": {"builder", "runtime"}, "requirements.txt": {"python-deps", "runtime"}}


@pytest.mark.parametrize("first", [OWN, CHOSEN], ids=["own-first", "chosen-first"])
def test_push_by_two_versions_in_turn_runs_only_what_changed(project: Project, first: str) -> None:
    """Each reads what the other saved, on an empty builder: nothing runs again, whichever of them is newer."""
    if project.engine.has_own_buildkit:
        pytest.skip("needs another BuildKit than the engine's: see CONTRIBUTING.md")
    shared = committed(project.hosting("first"))
    other = CHOSEN if first == OWN else OWN
    assert push(shared, first).ran == set(STAGES)
    for reader, (file, stages) in zip((other, first), EDITS.items(), strict=True):
        before = shared.pushed()
        assert push(shared, reader).ran == set()
        assert shared.pushed() == before
        shared.write({file: "changed\n"})
        assert push(shared, reader).ran == stages
        assert changed(before, shared.pushed()) == stages
    assert push(shared, other).ran == set()


def push(project: Project, builder: str) -> Outcome:
    """Push from an empty builder; "" is the chosen one."""
    if builder == OWN:
        project.engine.docker("buildx", "prune", f"--builder={OWN}", "--all", "--force")
        return project.build("--push", f"--builder={OWN}")
    project.engine.empty()
    return project.build("--push")
