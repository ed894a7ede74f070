"""Make a repository with a Dockerfile, and run stagebake in it as a user does."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.support import archive
from tests.support.engine import NO_REGISTRY, Engine
from tests.support.registry import Registry

BUSYBOX = f"{NO_REGISTRY}/busybox:1"
TOOLS = f"{NO_REGISTRY}/tools:1"
BASES = {"busybox:1": BUSYBOX, "example.test/tools:1": TOOLS}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Exit code, output and report of one run of stagebake; `report` is empty where it wrote none."""

    exit_code: int
    stdout: str
    stderr: str
    report: Mapping[str, Any] = field(default_factory=dict)

    def stages(self, status: str) -> set[str]:
        """Return the stages that have this status in the report."""
        return {stage["name"] for stage in self.report["stages"] if stage["status"] == status}

    @property
    def ran(self) -> set[str]:
        return self.stages("rebuilt")


@dataclass(frozen=True, kw_only=True)
class Project:
    """Git repository on the branch main, and its image's repository in the registry.

    `hosted` replace the base images; None means those that the engine has.
    """

    folder: Path
    name: str
    engine: Engine
    registry: Registry
    hosted: Mapping[str, str] | None = None

    @property
    def contexts(self) -> Mapping[str, str]:
        """Return what replaces the base images that the Dockerfiles name."""
        images = self.hosted or {name: self.engine.base_reference(local) for name, local in BASES.items()}
        return {name: f"docker-image://{image}" for name, image in images.items()}

    @property
    def image(self) -> str:
        return f"{self.registry.host}/{self.name}"

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def commit(self) -> None:
        """Commit all files."""
        self.git("add", "--all")
        self.git("-c", "user.name=test", "-c", "user.email=test@stagebake.test", "commit", "--quiet", "-m", "work")

    def git(self, *arguments: str) -> None:
        answer = self.engine.run("git", *arguments, folder=self.folder)
        assert answer.returncode == 0, answer.stderr

    def settings(self, text: str = "") -> None:
        """Write stagebake.toml: what a machine without Docker Hub and without a network for RUN needs."""
        contexts = "".join(f'"{name}" = "{value}"\n' for name, value in self.contexts.items())
        self.write({"stagebake.toml": f'image = "{self.image}"\nnetwork = "none"\n{text}[contexts]\n{contexts}'})

    def hosting(self, tag: str) -> Project:
        """Return the same project with the engine's present base images pushed to the registry."""
        hosted = {}
        for name, local in BASES.items():
            reference = f"{self.registry.host}/{self.name}-{name.partition(':')[0].partition('/')[2] or 'base'}:{tag}"
            self.engine.docker("image", "tag", local, reference)
            self.engine.docker("image", "push", "--quiet", reference)
            self.engine.docker("image", "rm", reference)
            hosted[name] = reference
        return replace(self, hosted=hosted)

    def environment(self) -> dict[str, str]:
        """Return the same as `settings`, as environment variables."""
        contexts = " ".join(f"{name}={value}" for name, value in self.contexts.items())
        return {"STAGEBAKE_IMAGE": self.image, "STAGEBAKE_NETWORK": "none", "STAGEBAKE_CONTEXTS": contexts}

    def stagebake(self, verb: str, *arguments: str, **environment: str) -> Outcome:
        """Run `stagebake VERB ARGUMENTS`, whatever its exit code."""
        report = self.folder.parent / "report.json"
        report.unlink(missing_ok=True)
        more = (f"--report={report}",) if verb == "build" else ()
        outcome = self._stagebake(verb, *more, *arguments, environment=environment)
        return replace(outcome, report=json.loads(report.read_text(encoding="utf-8"))) if report.exists() else outcome

    def nox(self, *arguments: str, **environment: str) -> Outcome:
        """Run `nox ARGUMENTS`, whatever its exit code."""
        return self._python("nox", *arguments, environment=environment)

    def build(self, *arguments: str, **environment: str) -> Outcome:
        """Build without a warning; a test that expects one calls `stagebake`."""
        outcome = self.stagebake("build", *arguments, **environment)
        assert outcome.exit_code == 0, outcome.stdout + outcome.stderr
        assert not outcome.report["warnings"], outcome.report["warnings"]
        return outcome

    def release(self, *arguments: str, **environment: str) -> Outcome:
        """Push `latest` from a detached HEAD, which saves no cache; check that this is the only warning."""
        outcome = self.stagebake("build", "--push", f"--image={self.image}:latest", *arguments, **environment)
        assert outcome.exit_code == 0, outcome.stdout + outcome.stderr
        assert [warning.partition(":")[0] for warning in outcome.report["warnings"]] == ["no cache is saved"]
        return outcome

    def bake(self, *arguments: str, **environment: str) -> tuple[str, str]:
        """Run `docker buildx bake` without stagebake; return its output and its progress."""
        command = ("docker", "buildx", "bake", "--progress=plain", *arguments)
        answer = self.engine.run(*command, folder=self.folder, **environment)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout, answer.stderr

    def pushed(self, tag: str = "latest") -> dict[str, str]:
        """Return the values in the image that the registry has: name of the text file to its content."""
        return _values(self.registry.files(self.name, tag))

    def loaded(self) -> dict[str, str]:
        """Return the values in the image that the engine has."""
        file = self.folder.parent / "image.tar"
        self.engine.docker("image", "save", f"--output={file}", f"{self.image}:latest")
        return _values(archive.saved(file))

    def solves(self) -> int:
        """Return how many builds the engine has run since it was emptied."""
        return len(self.engine.docker("buildx", "history", "ls", "--format={{.Ref}}").split())

    def tags(self) -> set[str]:
        return self.registry.tags(self.name)

    def _stagebake(self, *arguments: str, environment: Mapping[str, str]) -> Outcome:
        preloaded = self.engine.preloaded
        if preloaded is None:
            return self._python("stagebake", *arguments, environment=environment)
        answer = preloaded.run(arguments, self.folder, {**self.engine.environment(), **environment})
        return Outcome(exit_code=answer.returncode, stdout=answer.stdout, stderr=answer.stderr)

    def _python(self, module: str, *arguments: str, environment: Mapping[str, str]) -> Outcome:
        command = (sys.executable, "-m", module, *arguments)
        answer = self.engine.run(*command, folder=self.folder, **environment)
        return Outcome(exit_code=answer.returncode, stdout=answer.stdout, stderr=answer.stderr)


def _values(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return each /NAME.txt with its content; files in deeper folders are not values."""
    return {
        path.removeprefix("/").removesuffix(".txt"): content.decode().strip()
        for path, content in files.items()
        if path.endswith(".txt") and path.count("/") == 1
    }
