"""Follow docs/adopting.md in a repository that has a Dockerfile and a common workflow, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from stagebake.generate.workflow import WORKFLOW_FILE
from tests.act.runner import REPOSITORY, Runner
from tests.support.project import Project
from tests.support.shapes import FIVE, STAGES

pytestmark = pytest.mark.engine

USUAL = Path(__file__).parents[1] / "support/usual-workflow.yml"


def test_init_beside_a_common_workflow_makes_pushes_use_caches(project: Project, tmp_path: Path) -> None:
    """Run `stagebake init` only: the next push saves the caches, and the one after it uses them."""
    project.write({**FIVE, WORKFLOW_FILE: USUAL.read_text(encoding="utf-8")})
    project.git("remote", "add", "origin", f"https://github.com/{REPOSITORY}.git")
    project.commit()
    contexts = (f"--context={name}={value}" for name, value in project.contexts.items())
    answer = project.stagebake(
        *("init", "--yes", "--install=0.1.0"),
        *(f"--image={project.image}", *contexts),
    )
    assert answer.exit_code == 0, answer.stderr
    settings = (project.folder / "stagebake.toml").read_text(encoding="utf-8")
    project.write({"stagebake.toml": f'{settings}network = "none"\n'})
    project.commit()
    assert 'branches: ["main", "feature/exercise-template"]' in (project.folder / WORKFLOW_FILE).read_text()

    (tmp_path / "runner").mkdir()
    runner = Runner(project, tmp_path / "runner")
    assert runner.push().rebuilt == set(STAGES)
    revision = project.engine.run("git", "rev-parse", "HEAD", folder=project.folder).stdout.strip()
    assert {"latest", f"main-{revision[:7]}"} <= project.tags()
    labels = project.registry.config(project.name, "latest")["config"]["Labels"]
    assert labels["org.opencontainers.image.source"] == f"https://github.com/{REPOSITORY}"
    assert labels["org.opencontainers.image.revision"] == revision
    assert "org.opencontainers.image.created" in labels

    project.engine.empty()
    project.write({"src/page.ts": "export default 2\n"})
    project.commit()
    assert runner.push().rebuilt == {"builder", "runtime"}
