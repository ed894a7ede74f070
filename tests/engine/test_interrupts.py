"""Interrupt builds in each phase: all processes end, nothing is half written, and the next build is right.

Each test knows the phase from what really happens: a request is held, or the step's process exists.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.engine import Engine
from tests.support.faults import BUILDKIT, STAGEBAKE, unsound
from tests.support.project import Project
from tests.support.proxy import Fault
from tests.support.registry import Registry
from tests.support.shapes import draw
from tests.support.signals import interruptible

PATIENCE = 60.0
# Seconds from the signal to the end of stagebake and all its processes; it gives buildx 15 s
BOUND = 30.0

# Unique number of seconds: other tests, which may run now, sleep for another time
LONG = f"sleep {86400 + os.getpid()}"
DOCKERFILE = f"""\
FROM busybox:1 AS base
{draw("base")}
FROM base AS app
COPY step.sh /
RUN sh /step.sh && head -c16 /dev/urandom | md5sum > /app.txt
FROM base AS image
COPY --from=app /step.sh /app.txt /
{draw("image")}
"""


@dataclass
class Gate:
    """Hold the matching requests, after `spared` of them, until `opened` is set; then break them off."""

    meant: str
    spared: int = 0
    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, method: str, path: str) -> Fault | None:
        if not re.fullmatch(self.meant, f"{method} {path.partition('?')[0]}"):
            return None
        with self.lock:
            self.spared -= 1
            if self.spared >= 0:
                return None
        self.reached.set()
        self.opened.wait(10 * PATIENCE)
        return Fault(reset=True)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Moment of the interrupt, and what stagebake then says it was doing."""

    doing: str
    agent: str = BUILDKIT
    request: str = ""
    """Method and path of the request that is held; without one, the step runs on and on."""
    spared: int = 0
    """How many such requests go well before."""


PHASES = {
    "reading": Phase(doing="reading the caches", agent=STAGEBAKE, request="GET /v2/.*/manifests/cache-app"),
    "composing": Phase(doing="reading the caches", agent=STAGEBAKE, request="PUT /v2/.*/manifests/sha256:.*"),
    "importing": Phase(doing="building", request="HEAD /v2/.*/manifests/sha256:.*"),
    # The first is the cache's config
    "pulling-a-layer": Phase(doing="building", request="GET /v2/.*/blobs/sha256:.*", spared=1),
    "running": Phase(doing="building"),
    "pushing-a-layer": Phase(doing="building", request="(PATCH|PUT) /v2/.*/blobs/uploads/.*"),
    "pushing-the-image": Phase(doing="building", request="PUT /v2/.*/manifests/.*"),
    "saving-a-stage": Phase(doing="saving app", request="PUT /v2/.*/manifests/cache-app"),
    "moving-a-generation": Phase(doing="saving app", agent=STAGEBAKE, request="PUT /v2/.*/manifests/cache1-app"),
    "merging-again": Phase(doing="saving the merged cache", agent=STAGEBAKE, request="PUT /v2/.*/manifests/cache"),
    "writing-the-ledger": Phase(
        doing="saving the ledger", agent=STAGEBAKE, request=r"PUT /v2/.*/manifests/cache\.ledger"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Signal:
    """Signal for a process alone or, as from a terminal, for its whole group."""

    number: int
    group: bool = False

    def send(self, process: subprocess.Popen[bytes]) -> None:
        (os.killpg if self.group else os.kill)(process.pid, self.number)


TERMINAL = Signal(number=signal.SIGINT, group=True)
INTERRUPT = Signal(number=signal.SIGINT)
TERMINATE = Signal(number=signal.SIGTERM)
KILL = Signal(number=signal.SIGKILL)
STAGEBAKE_BUILD = ("stagebake", "build")


@pytest.fixture(scope="module")
def small_push(tmp_path_factory: pytest.TempPathFactory, engine: Engine, registry: Registry) -> str:
    """Push the three stages once; return the name of the image."""
    folder = tmp_path_factory.mktemp("small") / "project"
    folder.mkdir()
    project = Project(folder=folder, name="small", engine=engine, registry=registry)
    project.git("init", "--quiet", "--initial-branch=main")
    fill(project)
    project.build("--push")
    return project.name


@pytest.fixture
def small(small_push: str, project: Project) -> Project:
    """Return the three stages, pushed, and an empty engine."""
    fill(project)
    project.registry.copy(small_push, project.name)
    return project


def fill(project: Project) -> None:
    project.write({"Dockerfile": DOCKERFILE, "step.sh": "true\n"})
    project.settings()


@contextmanager
def started(project: Project, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start `python -m COMMAND` as leader of a process group, with its own folder for temporary files."""
    temporary(project).mkdir(exist_ok=True)
    with interruptible(), (project.folder.parent / "said.txt").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=project.folder,
            env={**project.engine.environment(), "TMPDIR": str(temporary(project))},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def temporary(project: Project) -> Path:
    return project.folder.parent / "temporary"


def said(project: Project) -> str:
    return (project.folder.parent / "said.txt").read_text(encoding="utf-8")


def wait_for(what: str, there: Callable[[], object], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.02)


def processes(found: Callable[[Path], bool]) -> list[int]:
    """Return the processes of this machine, containers included, for which `found` is true."""
    numbers = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            numbers += [int(folder.name)] if found(folder) else []
    return numbers


def clients(project: Project) -> list[int]:
    """Return the processes that work for the project: stagebake, docker, buildx."""
    name = f"DOCKER_HOST={project.engine.host}\0".encode()
    return processes(lambda folder: name in (folder / "environ").read_bytes())


def end_orphans(project: Project) -> None:
    """End what SIGKILL has left behind; the engine then ends the step."""
    for client in clients(project):
        os.kill(client, signal.SIGKILL)
    wait_for("the end of the orphans", lambda: not (steps() or clients(project)), BOUND)


def steps() -> list[int]:
    """Return the step that never ends, in its container."""
    return processes(lambda folder: (folder / "cmdline").read_bytes() == LONG.replace(" ", "\0").encode() + b"\0")


def interrupt(project: Project, phase: Phase, sign: Signal, *command: str) -> int:
    """Interrupt a build of changed sources in this phase; return its exit code once all its processes are gone."""
    with begun(project, phase, *command) as process:
        sign.send(process)
        start = time.monotonic()
        code = process.wait(BOUND)
        wait_for("the end of its processes", lambda: not (steps() or clients(project)), BOUND)
        print(f"{phase.doing}: all is over after {time.monotonic() - start:.1f} s")
    return code


@contextmanager
def begun(project: Project, phase: Phase, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a pushing build and wait until it has reached this phase, where it is held."""
    gate = Gate(phase.request, phase.spared)
    arguments = (*command, "--push", f"--report={project.folder.parent}/report.json")
    with project.registry.proxy.faults(gate, phase.agent), started(project, *arguments) as process:
        try:
            reached = gate.reached.is_set if phase.request else steps
            wait_for(f"the phase; {phase.doing}", lambda: reached() or process.poll() is not None)
            assert process.poll() is None, said(project)
            yield process
        finally:
            gate.opened.set()


def change(project: Project, number: int, phase: Phase) -> None:
    """Write sources that no build has seen; the last step of `app` never ends where the phase needs that."""
    project.write({"step.sh": f"# {number}\n" + ("true\n" if phase.request else f"exec {LONG}\n")})


def assert_whole(project: Project) -> None:
    """Check that nothing in the registry is broken and no draft of a file is left."""
    assert unsound(project) == set()
    report = project.folder.parent / "report.json"
    assert not report.exists() or json.loads(report.read_text(encoding="utf-8"))
    assert not list(project.folder.parent.rglob(".*.json.*"))


def assert_next_is_right(project: Project, base: str) -> None:
    """Check that the next build ships its own sources and restores the rest."""
    project.build("--push")
    values = project.pushed()
    sources = (project.folder / "step.sh").read_bytes()
    assert project.registry.files(project.name, "latest")["/step.sh"] == sources
    assert values["base"] == base
    assert_whole(project)


def assert_saved(project: Project) -> None:
    """Check that an empty engine restores all that was shipped."""
    values = project.pushed()
    project.engine.empty()
    assert project.build("--push").ran == set()
    assert project.pushed() == values


@pytest.mark.xdist_group("interrupts")
@pytest.mark.parametrize("name", PHASES)
def test_build_interrupted_ends_all_processes_and_the_next_build_is_right(small: Project, name: str) -> None:
    """Send ^C as a terminal does, then SIGTERM: exit codes 130 and 143, and a message that names the phase.

    No process is left on this machine or in the engine, no file or ref is half written. Where the image was already
    pushed, the next build saves its caches.
    """
    phase, before = PHASES[name], small.pushed()
    late = phase.doing.startswith("saving")
    for number, (sign, code) in enumerate([(TERMINAL, 130), (TERMINATE, 143)]):
        change(small, number, phase)
        assert interrupt(small, phase, sign, *STAGEBAKE_BUILD) == code, said(small)
        assert_told(small, phase)
        assert not list(temporary(small).iterdir())
        assert_whole(small)
        if not late:
            assert small.pushed() == before
    if late:
        before = small.pushed()
    else:
        small.write({"step.sh": "true # at last\n"})
    assert_next_is_right(small, before["base"])
    assert (small.pushed() == before) == late
    if late:
        assert_saved(small)


def test_build_interrupted_alone_several_times_ends_once(small: Project) -> None:
    """Send SIGINT to stagebake's process only, as a supervisor does; more of them change nothing."""
    change(small, 1, PHASES["running"])
    with begun(small, PHASES["running"], *STAGEBAKE_BUILD) as process:
        for _ in range(3):
            INTERRUPT.send(process)
        assert process.wait(BOUND) == 130
        wait_for("the end of its processes", lambda: not (steps() or clients(small)), BOUND)
    assert_told(small, PHASES["running"])


def test_build_signal_to_another_thread_ends_the_build(small: Project) -> None:
    """Send SIGINT to a thread that is not the main one: the main thread, which waits, still hears of it.

    signal(7): the kernel chooses the thread, and takes the one that is named.
    """
    change(small, 1, PHASES["importing"])
    with begun(small, PHASES["importing"], *STAGEBAKE_BUILD) as process:
        time.sleep(1)  # until all output of buildx is read
        threads = {int(path.name) for path in Path(f"/proc/{process.pid}/task").iterdir()}
        os.kill(max(threads - {process.pid}), signal.SIGINT)
        assert process.wait(BOUND) == 130
    assert_told(small, PHASES["importing"])


@pytest.mark.xdist_group("kills")
@pytest.mark.parametrize("name", PHASES)
def test_build_after_a_killed_build_is_right(small: Project, name: str) -> None:
    """Kill stagebake with SIGKILL:

    no ref is half written, and the next build is right while the first one's work still goes on.
    """
    phase, before = PHASES[name], small.pushed()
    change(small, 1, phase)
    with begun(small, phase, *STAGEBAKE_BUILD) as process:
        KILL.send(process)
        assert process.wait(BOUND) == -signal.SIGKILL
        assert_whole(small)
    small.write({"step.sh": "true # at last\n"})
    try:
        assert_next_is_right(small, before["base"])
    finally:
        end_orphans(small)
    assert_saved(small)


@pytest.mark.parametrize("below", ["", "FROM early AS app\n"], ids=["in-the-stage", "in-the-stage-below"])
def test_build_on_a_lost_step_result_builds_the_stage_again(project: Project, below: str) -> None:
    """Remove the result of a step that the engine still lists, as a cancelled build may leave it.

    Every plain build would fail. stagebake builds the stage again, or all stages, and warns; the next build has nothing
    to say.
    """
    if not project.engine.has_own_buildkit:
        pytest.skip("only the engine keeps its results where another program (ctr) can remove one")
    first = f"FROM busybox:1 AS early\n{draw('early')}\nCOPY code.txt /\n"
    project.write({"Dockerfile": first, "code.txt": "1\n"})
    project.settings()
    assert project.stagebake("generate").exit_code == 0
    project.bake("--set=*.output=type=cacheonly")
    project.engine.lose_steps()
    project.write({"Dockerfile": f"{first}{below}{draw('app')}\n"})
    outcome = project.stagebake("build", "--push")
    assert outcome.exit_code == 0, outcome.stderr
    (warning,) = outcome.report["warnings"]
    assert warning.startswith("rebuilt early, app: " if below else "rebuilt early: ")
    values = project.pushed()
    assert project.build("--push").ran == set()
    assert project.pushed() == values
    assert_saved(project)


@pytest.mark.parametrize(
    ("sign", "code"), [(TERMINAL, 130), (INTERRUPT, 130), (TERMINATE, 143)], ids=["^C", "INT", "TERM"]
)
def test_nox_interrupted_lets_stagebake_end_its_work(small: Project, sign: Signal, code: int) -> None:
    """Interrupt `nox -s build` by ^C, and by a signal to nox alone, as GitHub Actions cancels a run."""
    phase, before = PHASES["running"], small.pushed()
    small.write({"noxfile.py": "from stagebake.sessions import *\n"})
    change(small, 1, phase)
    assert interrupt(small, phase, sign, "nox", "-s", "build", "--") == code, said(small)
    assert_told(small, phase)
    assert_whole(small)
    assert small.pushed() == before


def assert_told(project: Project, phase: Phase) -> None:
    assert f"interrupted while {phase.doing}: " in said(project)
    assert "Traceback" not in said(project)
