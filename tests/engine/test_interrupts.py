"""A build that is interrupted: its work ends, nothing is left half written, and the next build is right.

The phase is told by what really happens: the request that is under way is held, or the step's process is there.
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
# From the signal to the end of stagebake and of all that it started; it grants buildx 15 s
BOUND = 30.0

# No other tests sleep for as long, not even those that another process runs now
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
    """Holds the requests that are meant, after `spared` that go well, until it is opened; then they are broken off."""

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
    """When a build is interrupted, and what it then says it was doing."""

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
    "composing-anew": Phase(doing="saving the merged cache", agent=STAGEBAKE, request="PUT /v2/.*/manifests/cache"),
    "writing-the-ledger": Phase(
        doing="saving the ledger", agent=STAGEBAKE, request=r"PUT /v2/.*/manifests/cache\.ledger"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Signal:
    """A way to end a process: to itself, or as a terminal does to its whole group."""

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
    """The name under which the three stages were pushed once."""
    folder = tmp_path_factory.mktemp("small") / "project"
    folder.mkdir()
    project = Project(folder=folder, name="small", engine=engine, registry=registry)
    project.git("init", "--quiet", "--initial-branch=main")
    fill(project)
    project.build("--push")
    return project.name


@pytest.fixture
def small(small_push: str, project: Project) -> Project:
    """The three stages, pushed, and an engine that remembers nothing."""
    fill(project)
    project.registry.copy(small_push, project.name)
    return project


def fill(project: Project) -> None:
    project.write({"Dockerfile": DOCKERFILE, "step.sh": "true\n"})
    project.settings()


@contextmanager
def started(project: Project, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m COMMAND`, leader of a process group, with a folder of its own for what is temporary."""
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
    """The processes of this machine of which that is so; those in containers are among them."""
    numbers = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            numbers += [int(folder.name)] if found(folder) else []
    return numbers


def clients(project: Project) -> list[int]:
    """What runs for the project: stagebake, docker, buildx."""
    name = f"DOCKER_HOST={project.engine.host}\0".encode()
    return processes(lambda folder: name in (folder / "environ").read_bytes())


def end_orphans(project: Project) -> None:
    """Ends what SIGKILL has left behind; the engine then ends the step."""
    for client in clients(project):
        os.kill(client, signal.SIGKILL)
    wait_for("the end of the orphans", lambda: not (steps() or clients(project)), BOUND)


def steps() -> list[int]:
    """The step that never ends by itself, in its container."""
    return processes(lambda folder: (folder / "cmdline").read_bytes() == LONG.replace(" ", "\0").encode() + b"\0")


def interrupt(project: Project, phase: Phase, sign: Signal, *command: str) -> int:
    """Interrupts a build of changed sources in this phase; returns its exit code once all that it started is gone."""
    with begun(project, phase, *command) as process:
        sign.send(process)
        start = time.monotonic()
        code = process.wait(BOUND)
        wait_for("the end of its processes", lambda: not (steps() or clients(project)), BOUND)
        print(f"{phase.doing}: all is over after {time.monotonic() - start:.1f} s")
    return code


@contextmanager
def begun(project: Project, phase: Phase, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A pushing build that has come to this phase, and gets no further."""
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
    """Sources that no build has seen yet; the last step of `app` is long where the phase wants that."""
    project.write({"step.sh": f"# {number}\n" + ("true\n" if phase.request else f"exec {LONG}\n")})


def assert_whole(project: Project) -> None:
    """Nothing in the registry is broken, and no draft of a file is left."""
    assert unsound(project) == set()
    report = project.folder.parent / "report.json"
    assert not report.exists() or json.loads(report.read_text(encoding="utf-8"))
    assert not list(project.folder.parent.rglob(".*.json.*"))


def assert_next_is_right(project: Project, base: str) -> None:
    """The next build ships its own sources and restores the rest."""
    project.build("--push")
    values = project.pushed()
    sources = (project.folder / "step.sh").read_bytes()
    assert project.registry.files(project.name, "latest")["/step.sh"] == sources
    assert values["base"] == base
    assert_whole(project)


def assert_saved(project: Project) -> None:
    """An engine that remembers nothing restores all of what was shipped."""
    values = project.pushed()
    project.engine.empty()
    assert project.build("--push").ran == set()
    assert project.pushed() == values


@pytest.mark.xdist_group("interrupts")
@pytest.mark.parametrize("name", PHASES)
def test_an_interrupt_ends_the_work_and_the_next_build_is_right(small: Project, name: str) -> None:
    """^C of a terminal, then SIGTERM: 130 and 143, no process is left on this machine or in the engine, no file and no
    ref is half written, and the message says what was under way. Where the image was out, the next build saves it."""
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


def test_an_interrupt_of_stagebake_alone(small: Project) -> None:
    """SIGINT to its process only, as a supervisor sends it, is as good as ^C; more of them change nothing."""
    change(small, 1, PHASES["running"])
    with begun(small, PHASES["running"], *STAGEBAKE_BUILD) as process:
        for _ in range(3):
            INTERRUPT.send(process)
        assert process.wait(BOUND) == 130
        wait_for("the end of its processes", lambda: not (steps() or clients(small)), BOUND)
    assert_told(small, PHASES["running"])


def test_a_signal_that_wakes_nobody(small: Project) -> None:
    """The main thread hears of a signal that comes just before it waits, although nothing wakes it: one that another
    thread gets is such a one (signal(7): the kernel chooses, and takes the thread that is named)."""
    change(small, 1, PHASES["importing"])
    with begun(small, PHASES["importing"], *STAGEBAKE_BUILD) as process:
        time.sleep(1)  # until all that buildx has to say is read
        threads = {int(path.name) for path in Path(f"/proc/{process.pid}/task").iterdir()}
        os.kill(max(threads - {process.pid}), signal.SIGINT)
        assert process.wait(BOUND) == 130
    assert_told(small, PHASES["importing"])


@pytest.mark.xdist_group("kills")
@pytest.mark.parametrize("name", PHASES)
def test_the_build_after_one_that_was_killed_is_right(small: Project, name: str) -> None:
    """SIGKILL, after which nothing can be put in order: no ref is half written, and the next build is right although
    the other's work is still under way."""
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
def test_a_step_that_the_engine_has_lost(project: Project, below: str) -> None:
    """A cancelled build may leave the result of a step that is known and is not there, on which every build fails:
    the stage is built anew, or all are, a warning says so, and the next build finds nothing wrong."""
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
def test_nox_lets_stagebake_end_its_work(small: Project, sign: Signal, code: int) -> None:
    """`nox -s build`: ^C, and a signal to nox alone, as when a run of GitHub Actions is cancelled."""
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
