"""Warnings about secrets and ssh keys that are missing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.project.build_secrets import (
    SecretSource,
    SshSource,
    missing_secret_warnings,
    parse_secret,
    parse_ssh,
)
from stagebake.project.settings import Settings

SECRET_MOUNT = "--mount=type=secret,id=npm"


def read_warnings(
    root: Path,
    run: str = "true",
    *,
    secrets: tuple[str, ...] = (),
    ssh: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    graph = parse_dockerfile(f"FROM a AS app\nRUN {run}\n")
    return missing_secret_warnings(graph, Settings(root=root, secrets=secrets, ssh=ssh), environment or {})


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("id=npm,env=NPM", SecretSource(id="npm", variable="NPM")),
        ("id=npm,src=a", SecretSource(id="npm", file="a")),
        ("id=npm,source=a", SecretSource(id="npm", file="a")),
        ("type=file,id=npm,src=a", SecretSource(id="npm", file="a")),
        ("type=env,id=npm,src=NPM", SecretSource(id="npm", variable="NPM")),
        ("id=NPM,type=env", SecretSource(id="NPM", variable="NPM")),
        ("id=NPM", SecretSource(id="NPM")),
    ],
)
def test_parse_secret_reads_every_form_of_buildx(text: str, source: SecretSource) -> None:
    assert parse_secret(text) == source


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("default", SshSource(id="default")),
        ("deploy=a", SshSource(id="deploy", paths=("a",))),
        ("deploy=a,b", SshSource(id="deploy", paths=("a", "b"))),
    ],
)
def test_parse_ssh_reads_every_form_of_buildx(text: str, source: SshSource) -> None:
    assert parse_ssh(text) == source


@pytest.mark.parametrize("run", ["true", f"{SECRET_MOUNT} npm ci"])
@pytest.mark.parametrize(
    ("secret", "environment", "warning"),
    [
        ("id=npm,env=NPM_TOKEN", {}, "NPM_TOKEN is not set"),
        ("id=npm,env=NPM_TOKEN", {"NPM_TOKEN": ""}, "NPM_TOKEN is empty"),
        ("id=npm,env=NPM_TOKEN", {"NPM_TOKEN": "x"}, None),
        ("id=npm,type=env,src=NPM_TOKEN", {}, "NPM_TOKEN is not set"),
        ("id=npm,src=missing.txt", {}, "missing file missing.txt"),
        ("id=npm,src=token.txt", {}, None),
        ("id=npm", {}, "neither a variable nor a file npm"),
        ("id=npm", {"npm": "x"}, None),
    ],
)
def test_missing_secret_is_a_warning_that_names_its_source_and_the_setting(
    tmp_path: Path, run: str, secret: str, environment: Mapping[str, str], warning: str | None
) -> None:
    (tmp_path / "token.txt").write_text("x", encoding="utf-8")
    found = read_warnings(tmp_path, run, secrets=(secret,), environment=environment)
    assert len(found) == (warning is not None)
    for text in found:
        assert text.startswith("secret `npm` (setting `secrets`): ")
        assert str(warning) in text


def test_missing_secret_with_the_same_id_twice_counts_the_last(tmp_path: Path) -> None:
    secrets = ("id=npm,env=UNSET", "id=npm,env=NPM_TOKEN")
    assert read_warnings(tmp_path, secrets=secrets, environment={"NPM_TOKEN": "x"}) == ()


@pytest.mark.parametrize(
    ("ssh", "environment", "warning"),
    [
        ("default", {}, "SSH_AUTH_SOCK is not set"),
        ("default", {"SSH_AUTH_SOCK": ""}, "SSH_AUTH_SOCK is not set"),
        ("default", {"SSH_AUTH_SOCK": "/nowhere.sock"}, "SSH_AUTH_SOCK names /nowhere.sock, which does not exist"),
        ("default", {"SSH_AUTH_SOCK": "/dev/null"}, None),
        ("deploy=missing", {}, "missing file missing"),
        ("deploy=/dev/null", {}, None),
        ("deploy=/dev/null,missing", {}, "missing file missing"),
    ],
)
def test_missing_ssh_key_is_a_warning_that_names_it(
    tmp_path: Path, ssh: str, environment: Mapping[str, str], warning: str | None
) -> None:
    found = read_warnings(tmp_path, ssh=(ssh,), environment=environment)
    assert len(found) == (warning is not None)
    for text in found:
        assert text.startswith(f"ssh `{ssh.partition('=')[0]}` (setting `ssh`): ")
        assert str(warning) in text


@pytest.mark.parametrize(
    ("run", "warning"),
    [
        (
            "--mount=type=secret,id=npm x",
            "RUN mounts secret `npm`, which is not given; pass it: --secret id=npm,env=NAME",
        ),
        ("--mount=type=secret,target=/root/.npmrc x", "RUN mounts secret `.npmrc`, which is not given"),
        ("--mount=type=ssh x", "RUN mounts ssh `default`, which is not given; pass it: --ssh default"),
        ("--mount=type=ssh,id=deploy x", "RUN mounts ssh `deploy`, which is not given; pass it: --ssh deploy"),
        ("--mount=type=secret,id=$ID x", None),
        ("--mount=type=cache,id=npm x", None),
    ],
)
def test_mount_without_its_secret_or_key_is_a_warning_with_the_line(
    tmp_path: Path, run: str, warning: str | None
) -> None:
    found = read_warnings(tmp_path, run)
    assert len(found) == (warning is not None)
    assert all(text.startswith(f"Dockerfile:2: {warning}") for text in found)


def test_mount_in_a_stage_that_is_not_built_is_no_warning(tmp_path: Path) -> None:
    graph = parse_dockerfile(f"FROM a AS test\nRUN {SECRET_MOUNT} x\nFROM a AS app\n")
    assert missing_secret_warnings(graph, Settings(root=tmp_path), {}) == ()


def test_mount_in_a_trigger_of_a_stage_is_a_warning(tmp_path: Path) -> None:
    graph = parse_dockerfile(f"FROM a AS base\nONBUILD RUN {SECRET_MOUNT} x\nFROM base AS app\n")
    (warning,) = missing_secret_warnings(graph, Settings(root=tmp_path), {})
    assert warning.startswith("Dockerfile:2: RUN mounts secret `npm`")
