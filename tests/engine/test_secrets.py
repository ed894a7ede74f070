"""Hand a secret to the step that mounts it; stagebake, the engine and the registry keep nothing of it."""

from __future__ import annotations

import hashlib
import lzma
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import archive
from tests.support.project import Outcome, Project
from tests.support.shapes import draw

CANARY = "canary-5f0c2b7e91"
DIGEST = "RUN --mount=type=secret,id=token md5sum < /run/secrets/token > /digest.txt"
DOCKERFILE = f"""\
FROM busybox:1 AS base
{draw("base")}
FROM base AS app
{DIGEST}
FROM base AS image
COPY --from=app /digest.txt /
{draw("image")}
"""
FAILING = DOCKERFILE + "RUN --mount=type=secret,id=token test -s /run/secrets/token && echo it is there && exit 9\n"
SSH = f"""\
FROM busybox:1 AS app
{draw("app")}
RUN --mount=type=ssh if test -S "$SSH_AUTH_SOCK"; then echo -n forwarded; else echo -n none; fi > /agent.txt
"""
MD5 = hashlib.md5(CANARY.encode(), usedforsecurity=False).hexdigest()


def given(project: Project, way: str) -> tuple[tuple[str, ...], str]:
    """Return the flags and settings that pass the secret in this way."""
    file = project.folder.parent / "token"
    file.write_text(CANARY, encoding="utf-8")
    return {
        "flag": (("--secret", "id=token,env=WORD"), ""),
        "flag-with-file": (("--secret", f"id=token,src={file}"), ""),
        "settings": ((), 'secrets = ["id=token,env=WORD"]\n'),
        "environment": ((), ""),
    }[way]


def run(project: Project, way: str, dockerfile: str) -> Outcome:
    flags, settings = given(project, way)
    project.write({"Dockerfile": dockerfile})
    project.settings(settings)
    project.stagebake("generate", WORD=CANARY)
    more = {"STAGEBAKE_SECRETS": "id=token,env=WORD", **on_github(project)} if way == "environment" else {}
    return project.stagebake("build", "--push", *flags, WORD=CANARY, **more)


def on_github(project: Project) -> dict[str, str]:
    """Return the variables of a push to the default branch in GitHub Actions, with its result files."""
    files = {name: str(project.folder.parent / name) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    return {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/main", **files}


def written(project: Project) -> Iterator[tuple[str, bytes]]:
    """Yield all files of the project, beside it and in the user's cache folder, except the secret's own file."""
    for folder in (project.folder.parent, Path(project.engine.environment()["HOME"], ".cache")):
        for path in folder.rglob("*"):
            if path.is_file() and path.name != "token":
                yield str(path), unpacked(path.read_bytes())


def kept(project: Project) -> Iterator[tuple[str, bytes]]:
    """Yield every manifest and blob of the repository, as stored and decompressed."""
    for tag in project.tags():
        pending = [tag]
        while pending:
            reference = pending.pop()
            document = project.registry.read_manifest(project.name, reference)
            yield f"{tag}: {reference}", project.registry.get(f"{project.name}/manifests/{reference}")
            pending += [entry["digest"] for entry in document.get("manifests", [])]
            for blob in [document["config"], *document["layers"]] if "layers" in document else []:
                content = project.registry.get(f"{project.name}/blobs/{blob['digest']}")
                yield f"{tag}: {blob['digest']}", unpacked(content)
                if blob["mediaType"].endswith("xz"):
                    yield f"{tag}: unpacked", lzma.decompress(content)
                if "tar" in blob["mediaType"]:
                    with archive.open_layer(content) as layer:
                        for member in layer.getmembers():
                            file = layer.extractfile(member) if member.isfile() else None
                            yield f"{tag}: {member.name}", file.read() if file else member.name.encode()


def unpacked(content: bytes) -> bytes:
    """Decompress the content of a ledger."""
    return lzma.decompress(content) if content.startswith(b"\xfd7zXZ") else content


def assert_unseen(project: Project, outcome: Outcome) -> None:
    """Check that nothing that can be read afterwards holds the secret."""
    for name, content in (*written(project), *kept(project)):
        assert CANARY.encode() not in content, name
    assert CANARY not in outcome.stdout + outcome.stderr
    assert CANARY not in project.engine.docker("buildx", "history", "ls", "--format", "json")


@pytest.mark.parametrize("way", ["flag", "flag-with-file", "settings", "environment"])
def test_secret_passed_in_any_way_reaches_its_step_and_is_stored_nowhere(project: Project, way: str) -> None:
    """Pass it by --secret, in the settings or, on GitHub, in STAGEBAKE_SECRETS.

    The summary, refs, layers, labels, history and output do not hold it.
    """
    outcome = run(project, way, DOCKERFILE)
    assert outcome.exit_code == 0, outcome.stderr
    assert project.pushed()["digest"].split()[0] == MD5
    assert outcome.report["warnings"] == []
    assert (project.folder.parent / "GITHUB_STEP_SUMMARY").exists() == (way == "environment")
    assert_unseen(project, outcome)


def test_secret_of_a_failing_step_is_not_in_the_error(project: Project) -> None:
    """Show the step's own output without the secret."""
    outcome = run(project, "settings", FAILING)
    assert outcome.exit_code == 1
    assert "it is there" in outcome.stderr
    assert_unseen(project, outcome)


def test_secret_that_is_missing_fails_the_build_and_is_named(project: Project) -> None:
    project.write({"Dockerfile": DOCKERFILE.replace("id=token", "id=token,required=true")})
    project.settings()
    outcome = project.stagebake("build", "--push", WORD=CANARY)
    assert outcome.exit_code == 1
    assert "token" in outcome.stderr
    assert_unseen(project, outcome)


def test_secret_in_arg_or_env_is_warned_about_without_its_value(project: Project) -> None:
    """Name the line, and the instruction to use instead."""
    dockerfile = DOCKERFILE.replace(
        "FROM base AS image\n", "FROM base AS image\nARG NPM_TOKEN\nENV API_KEY=of-canary\n"
    )
    project.write({"Dockerfile": dockerfile})
    project.settings()
    outcome = project.stagebake("build", "--secret", "id=token,env=WORD", WORD=CANARY)
    assert outcome.exit_code == 0, outcome.stderr
    token, key = outcome.report["warnings"]
    assert token.startswith("Dockerfile:6: ARG NPM_TOKEN looks like a secret")
    assert key.startswith("Dockerfile:7: ENV API_KEY looks like a secret")
    assert "RUN --mount=type=secret,id=npm_token" in token
    assert "--secret id=npm_token,env=NPM_TOKEN" in token
    assert all(warning in outcome.stdout for warning in (token, key))
    assert "of-canary" not in "".join((token, key))


@pytest.mark.parametrize("environment", [{}, {"UNSET_WORD": ""}], ids=["unset", "empty"])
def test_secret_without_a_value_is_a_warning_of_plan_and_build(project: Project, environment: dict[str, str]) -> None:
    project.write({"Dockerfile": DOCKERFILE})
    project.settings('secrets = ["id=token,env=UNSET_WORD"]\n')
    outcome = project.stagebake("build", **environment)
    assert outcome.exit_code == 0, outcome.stderr
    (warning,) = outcome.report["warnings"]
    assert "UNSET_WORD" in warning
    assert "setting `secrets`" in warning
    assert "UNSET_WORD" in project.stagebake("plan", **environment).stdout


def test_secret_in_a_missing_file_is_named_when_the_build_fails(project: Project) -> None:
    project.write({"Dockerfile": DOCKERFILE})
    project.settings('secrets = ["id=token,src=missing.txt"]\n')
    outcome = project.stagebake("build")
    assert outcome.exit_code == 1
    assert "warning: secret `token` (setting `secrets`): missing file missing.txt" in outcome.stderr


@pytest.mark.parametrize("way", ["flag", "settings"])
def test_ssh_agent_reaches_the_step_that_mounts_it(project: Project, way: str) -> None:
    project.write({"Dockerfile": SSH})
    project.settings('ssh = ["default"]\n' if way == "settings" else "")
    flags = ("--ssh", "default") if way == "flag" else ()
    with listen(project.folder.parent / "agent.sock") as socket_path:
        project.build("--push", *flags, SSH_AUTH_SOCK=socket_path)
    assert project.pushed()["agent"] == "forwarded"


def test_ssh_mount_without_an_agent_is_a_warning(project: Project) -> None:
    project.write({"Dockerfile": SSH})
    project.settings()
    outcome = project.stagebake("build", "--push", "--scope", "main")
    assert outcome.exit_code == 0, outcome.stderr
    (warning,) = outcome.report["warnings"]
    assert warning == "Dockerfile:3: RUN mounts ssh `default`, which is not given; pass it: --ssh default"
    assert project.pushed()["agent"] == "none"


def test_ssh_agent_that_is_not_running_is_named_when_the_build_fails(project: Project) -> None:
    project.write({"Dockerfile": SSH})
    project.settings('ssh = ["default"]\n')
    outcome = project.stagebake("build", SSH_AUTH_SOCK="")
    assert outcome.exit_code == 1
    assert "SSH_AUTH_SOCK is not set" in outcome.stderr


@contextmanager
def listen(path: Path) -> Iterator[str]:
    """Listen on a socket that passes for the one of an ssh agent."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield str(path)
