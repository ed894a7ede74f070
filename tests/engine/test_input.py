"""Show what a user sees for input that is not valid and for missing programs, with the exit code."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.support.project import Outcome, Project
from tests.support.shapes import FIVE, STAGES


def assert_refused(outcome: Outcome, where: str, *words: str, exit_code: int = 2) -> None:
    """Check that the message names file and line, the problem and a hint, without a traceback."""
    assert outcome.exit_code == exit_code, outcome.stdout + outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert f"error: {where}" in outcome.stderr
    assert "→" in outcome.stderr
    for word in words:
        assert word in outcome.stderr


@pytest.mark.parametrize(
    ("dockerfile", "where", "word"),
    [
        (None, "Dockerfile", "missing Dockerfile"),
        ("", "Dockerfile:1", ""),
        ("RUN true\n", "Dockerfile:1", "FROM"),
        ("FROM busybox:1 AS\n", "Dockerfile:1", "FROM"),
        ("FROM busybox:1\nCOPY <<EOF /x\nnever ended\n", "Dockerfile:2", "heredoc"),
        ("FROM busybox:1\nHEALTHCHECK\nRUNN true\n", "Dockerfile:3", "RUNN"),
        ("FROM busybox:1 AS base\nFROM busybox:1\nCOPY --from=bsae /x /x\n", "Dockerfile:3", "did you mean `base`"),
        ("FROM busybox:1\nCOPY --from=7 /x /x\n", "Dockerfile:2", "0 to 0"),
        (
            "FROM busybox:1 AS a\nCOPY --from=b /x /x\nFROM busybox:1 AS b\nCOPY --from=a /x /x\n",
            "Dockerfile:1",
            "a → b → a",
        ),
        (
            "ARG V\nFROM busybox:${V}\n",
            "Dockerfile:2",
            "`busybox:${V}` gives `busybox:`, which is not a valid image name",
        ),
        ("FROM busybox:1 AS base\nFROM BASE\n", "Dockerfile:2", "BASE"),
        ("FROM busybox:1 AS a\nCOPY --from=b /x /x\nFROM busybox:1 AS b\nFROM a\n", "Dockerfile:2", "b"),
        ("FROM busybox:1 AS a\nCOPY --from=a /x /x\n", "Dockerfile:", "a → a"),
        ("ARG X=a\nFROM busybox:1 AS a\nFROM a\nCOPY --from=$X /x /x\n", "Dockerfile:4", "variable"),
        ("FROM ${NOWHERE}\n", "Dockerfile:1", "NOWHERE"),
        ("FROM busybox:1 AS 1st\n", "Dockerfile:1", "`1st`"),
        ("FROM busybox:1\nCOPY x\n", "Dockerfile:2", "at least two arguments"),
        ("FROM busybox:1\nWORKDIR\n", "Dockerfile:2", "exactly one argument"),
        ("FROM --foo=bar busybox:1\n", "Dockerfile:1", "unknown flag"),
    ],
)
def test_build_of_an_invalid_dockerfile_exits_2_with_file_and_line(
    repository: Project, dockerfile: str | None, where: str, word: str
) -> None:
    repository.settings()
    if dockerfile is not None:
        repository.write({"Dockerfile": dockerfile})
    assert_refused(repository.stagebake("build"), where, word)


@pytest.mark.parametrize(
    ("settings", "where", "word"),
    [
        ('dockerfil = "Dockerfile"\n', "stagebake.toml:1", "did you mean `dockerfile`"),
        ('image = "ghcr.io/Owner/Name"\n', "stagebake.toml:1", "ghcr.io/owner/name"),
        ('image = "ghcr.io/o/n"\nplatforms = "linux/amd64"\n', "stagebake.toml:2", "a list of strings"),
        ('image = "ghcr.io/o/n\n', "stagebake.toml:1", ""),
        ('dockerfile = "docker/Dockerfile"\n', "", "docker/Dockerfile"),
        ('\ncontext = "nowhere"\n', "stagebake.toml:2", "missing folder `nowhere`"),
        ('\ntarget = "runtme"\n', "stagebake.toml:2", "did you mean `runtime`"),
    ],
)
def test_build_with_an_invalid_setting_exits_2_with_file_and_line(
    repository: Project, settings: str, where: str, word: str
) -> None:
    repository.write({**FIVE, "stagebake.toml": settings})
    assert_refused(repository.stagebake("build"), where, word)


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (("--target", "runtme"), "did you mean `runtime`"),
        (("--image", "Ghcr.io/Not A Name"), "the image name `Ghcr.io/Not A Name` is not valid"),
        (("--context", "busybox"), "NAME=VALUE"),
    ],
)
def test_build_with_an_invalid_flag_exits_2_with_a_hint(repository: Project, flags: tuple[str, ...], word: str) -> None:
    repository.write(FIVE)
    repository.settings()
    assert_refused(repository.stagebake("build", *flags), "", word)


def test_build_with_an_unknown_flag_exits_2(repository: Project) -> None:
    outcome = repository.stagebake("build", "--pusch")
    assert outcome.exit_code == 2
    assert "Traceback" not in outcome.stderr


def test_build_copy_from_an_unknown_name_lists_the_stages(project: Project) -> None:
    """Ask the registry for `COPY --from=tools`: it has no such image."""
    project.write({"Dockerfile": "FROM busybox:1 AS base\nFROM base AS app\nCOPY --from=tools /x /x\n"})
    project.settings()
    assert_refused(project.stagebake("build"), "Dockerfile:3", "`tools`", "base")


@pytest.mark.parametrize("verb", ["build", "generate", "init"])
def test_every_verb_with_an_invalid_dockerfile_shows_the_same_message(repository: Project, verb: str) -> None:
    repository.write({"Dockerfile": "FROM busybox:1 AS base\nFROM BASE\n"})
    repository.settings()
    assert_refused(repository.stagebake(verb), "Dockerfile:2")


def test_build_without_an_engine_exits_4_and_says_how_to_start_it(repository: Project) -> None:
    repository.write(FIVE)
    repository.settings()
    outcome = repository.stagebake("build", DOCKER_HOST=f"unix://{repository.folder}/nothing.sock")
    said = f"Cannot connect to the Docker daemon at unix://{repository.folder}/nothing.sock\n"
    assert_refused(outcome, said, "start", exit_code=4)


def test_build_without_docker_on_path_exits_4_and_says_where_to_get_it(repository: Project) -> None:
    repository.write(FIVE)
    repository.settings()
    programs = repository.folder.parent / "programs"
    programs.mkdir()
    (programs / "git").symlink_to(str(shutil.which("git")))
    assert_refused(repository.stagebake("build", PATH=str(programs)), "", "install", exit_code=4)


@pytest.mark.parametrize(
    ("flags", "environment", "origin"),
    [(("--builder=nowhere",), {}, "--builder"), ((), {"BUILDX_BUILDER": "nowhere"}, "BUILDX_BUILDER")],
)
def test_build_with_an_unknown_builder_exits_2_before_it_reads_caches(
    repository: Project, flags: tuple[str, ...], environment: dict[str, str], origin: str
) -> None:
    repository.write(FIVE)
    repository.settings()
    outcome = repository.stagebake("build", *flags, **environment)
    assert_refused(outcome, f"{origin}: buildx has no builder `nowhere`", "docker buildx ls")
    assert "reading the caches" not in outcome.stderr


def test_build_without_buildx_exits_4_and_says_where_to_get_it(repository: Project) -> None:
    repository.write(FIVE)
    repository.settings()
    programs = repository.folder.parent / "programs"
    programs.mkdir()
    (programs / "docker").write_text(_DOCKER_WITHOUT_BUILDX.format(docker=shutil.which("docker")), encoding="utf-8")
    (programs / "docker").chmod(0o755)
    outcome = repository.stagebake("build", PATH=f"{programs}:/usr/bin:/bin")
    assert_refused(outcome, "", "buildx", exit_code=4)


_DOCKER_WITHOUT_BUILDX = """\
#!/bin/sh
case "$1" in
    buildx) echo "docker: 'buildx' is not a docker command." >&2; exit 1 ;;
    *) exec {docker} "$@" ;;
esac
"""


def test_build_with_a_failing_step_exits_1_after_one_attempt(project: Project) -> None:
    """Show the step's own output and its line. A broken step is not taken for a broken cache."""
    project.write(
        {
            "Dockerfile": (
                "FROM busybox:1 AS base\n"
                "RUN true\n"
                "FROM base AS app\n"
                "RUN echo ready && \\\n"
                f"    echo sha256:{'0' * 64}: unexpected EOF && \\\n"
                "    head -c4 /dev/urandom | md5sum && exit 7\n"
            )
        }
    )
    project.settings()
    outcome = project.stagebake("build", "--push")
    assert_refused(outcome, "Dockerfile:4", "ready", "exit code: 7", exit_code=1)
    assert outcome.stderr.count("building …") == 1
    assert len(project.engine.docker("buildx", "history", "ls", "--format", "{{.Ref}}").split()) == 1
    assert project.tags() == set()


def test_build_copy_of_a_missing_file_exits_1_with_its_line(project: Project) -> None:
    project.write({"Dockerfile": "FROM busybox:1 AS app\n\nCOPY nowhere.txt /\n"})
    project.settings()
    assert_refused(project.stagebake("build"), "Dockerfile:3", "nowhere.txt", exit_code=1)


def test_generate_for_an_unknown_target_exits_2_and_lists_the_stages(repository: Project) -> None:
    repository.write(FIVE)
    repository.settings()
    assert_refused(repository.stagebake("generate", "--target", "tests"), "", ", ".join(STAGES))


@pytest.mark.parametrize(
    ("text", "rule", "line", "note"),
    [
        (
            "# syntax=docker/dockerfile:1\nFROM busybox:1\nrun true\n",
            "base-moves",
            2,
            "could not fetch",
        ),
        ("FROM busybox:1\nCOPY --unknown a /a\n", "BuildError", 2, ""),
        ("FROM busybox:1 AS app\nRUN true\nFROM busybox:1\n", "base-moves", 3, "`app` was not examined"),
    ],
    ids=["frontend-missing", "refused", "other-target"],
)
def test_doctor_shows_what_buildkit_finds_and_what_it_left_out(
    repository: Project, text: str, rule: str, line: int, note: str
) -> None:
    repository.write({"Dockerfile": text})
    answer = json.loads(repository.stagebake("doctor", "--json").stdout)
    assert (rule, line) in {(finding["rule"], finding["line"]) for finding in answer["findings"]}
    assert note in " ".join(answer["notes"])
