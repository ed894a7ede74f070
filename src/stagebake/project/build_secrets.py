"""Find the secrets and ssh keys that a build wants and that are missing.

BuildKit does not refuse them all: a step whose secret or ssh agent is missing runs without it, and the result is
cached.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.stages import StageGraph
from stagebake.project.settings import Settings

AGENT_VARIABLE = "SSH_AUTH_SOCK"

_DEFAULT_SSH_ID = "default"


@dataclass(frozen=True, kw_only=True)
class SecretSource:
    """Source of a secret: an environment variable, or a file.

    `variable` and `file` are both empty where the secret names neither: BuildKit then takes the variable or the file
    that is called like `id`.
    """

    id: str
    variable: str = ""
    file: str = ""


@dataclass(frozen=True, kw_only=True)
class SshSource:
    """Source of the keys for ssh: private keys or the socket of an agent; the agent of SSH_AUTH_SOCK for no paths."""

    id: str
    paths: tuple[str, ...] = ()


def parse_secret(text: str) -> SecretSource:
    """Return the source of a secret as written in the setting (docker/buildx, util/buildflags/secrets.go)."""
    fields: dict[str, str] = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        fields[key.lower()] = value
    variable = fields.get("env", "")
    file = fields.get("src") or fields.get("source", "")
    name = fields.get("id", "")
    if fields.get("type") == "env" and not variable:
        variable = file or name
        file = ""
    return SecretSource(id=name, variable=variable, file=file)


def parse_ssh(text: str) -> SshSource:
    """Return the source of ssh keys as written in the setting (docker/buildx, util/buildflags/ssh.go)."""
    name, equals, paths = text.partition("=")
    return SshSource(
        id=name or _DEFAULT_SSH_ID,
        paths=tuple(paths.split(",")) if equals and paths else (),
    )


def forwards_agent(settings: Settings) -> bool:
    """Return True if a build uses the ssh agent of SSH_AUTH_SOCK.

    A context that git fetches by ssh uses it without the setting, too.
    """
    sources = [parse_ssh(text) for text in settings.ssh]
    if not sources:
        return settings.context.startswith(("git@", "ssh://"))
    return any(not source.paths for source in sources)


def missing_secret_warnings(
    graph: StageGraph,
    settings: Settings,
    environment: Mapping[str, str],
) -> tuple[str, ...]:
    """Return a warning for each secret or ssh key that the settings or a RUN name and that is missing."""
    secrets = {source.id: source for source in map(parse_secret, settings.secrets)}
    keys = {source.id: source for source in map(parse_ssh, settings.ssh)}
    warnings: list[str] = []
    for secret in secrets.values():
        warnings += _check_secret(secret, settings.root, environment)
    for key in keys.values():
        warnings += _check_ssh(key, settings.root, environment)
    warnings += _list_not_given(graph, "secret", _secret_id, secrets, "--secret id={id},env=NAME")
    warnings += _list_not_given(graph, "ssh", _ssh_id, keys, "--ssh {id}")
    return tuple(dict.fromkeys(warnings))


def _check_secret(secret: SecretSource, root: Path, environment: Mapping[str, str]) -> Iterator[str]:
    where = f"secret `{secret.id}` (setting `secrets`)"
    if secret.variable:
        if not environment.get(secret.variable):
            state = "is empty" if secret.variable in environment else "is not set"
            yield f"{where}: the variable {secret.variable} {state}, so RUN gets an empty secret; set the variable"
    elif secret.file:
        if not _path_exists(root, secret.file):
            yield f"{where}: missing file {secret.file}; create it, or name another"
    elif secret.id not in environment and not _path_exists(root, secret.id):
        yield f"{where}: neither a variable nor a file {secret.id} exists; set the variable, or write env= or src="


def _check_ssh(key: SshSource, root: Path, environment: Mapping[str, str]) -> Iterator[str]:
    where = f"ssh `{key.id}` (setting `ssh`)"
    socket = environment.get(AGENT_VARIABLE, "")
    fix = f'run: eval "$(ssh-agent)" && ssh-add; or name a key: --ssh {key.id}=PATH'
    if key.paths:
        for path in key.paths:
            if not _path_exists(root, path):
                yield f"{where}: missing file {path}; name a private key or the socket of an ssh agent"
    elif not socket:
        yield f"{where}: the variable {AGENT_VARIABLE} is not set, so no ssh agent is known; {fix}"
    elif not _path_exists(root, socket):
        yield f"{where}: {AGENT_VARIABLE} names {socket}, which does not exist; {fix}"


def _path_exists(root: Path, path: str) -> bool:
    return (root / Path(path)).exists()


def _list_not_given(
    graph: StageGraph,
    mount_type: str,
    read_id: Callable[[Mapping[str, str]], str],
    given: Iterable[str],
    flags: str,
) -> Iterator[str]:
    """Yield a warning for each mount of a needed stage whose id is not among the given ones."""
    for instruction in _needed_runs(graph):
        for mount in instruction.mounts:
            name = read_id(mount)
            if mount.get("type") != mount_type or name in given or "$" in name:
                continue
            where = f"{graph.path}:{instruction.line}"
            yield f"{where}: RUN mounts {mount_type} `{name}`, which is not given; pass it: {flags.format(id=name)}"


def _needed_runs(graph: StageGraph) -> Iterator[Instruction]:
    for stage in graph.needed_stages():
        for step in stage.steps:
            if step.instruction.keyword == "RUN":
                yield step.instruction


def _secret_id(mount: Mapping[str, str]) -> str:
    """Return the id of a secret mount, by default the name of its file (instructions/commands_runmount.go)."""
    target = mount.get("target") or mount.get("dst") or mount.get("destination") or ""
    return mount.get("id") or posixpath.basename(target)


def _ssh_id(mount: Mapping[str, str]) -> str:
    return mount.get("id") or _DEFAULT_SSH_ID
