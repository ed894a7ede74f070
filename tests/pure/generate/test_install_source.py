"""Command that installs stagebake in the workflow."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from stagebake.errors import InputError
from stagebake.generate.install_source import default_install, install_command

COMMIT = "1234567890" * 4
URL = "https://github.com/acme/stagebake"


@pytest.mark.parametrize("version", ["0.1.0", "1.2rc1", "2.0.post1"])
def test_install_command_of_a_version_pins_it(version: str, tmp_path: Path) -> None:
    assert install_command(version, tmp_path) == f"pip install stagebake=={version}"


@pytest.mark.parametrize("prefix", ["", "git+"])
def test_install_command_of_a_git_address_names_the_commit(prefix: str, tmp_path: Path) -> None:
    assert install_command(f"{prefix}{URL}@{COMMIT}", tmp_path) == f"pip install 'stagebake @ git+{URL}@{COMMIT}'"


def test_install_command_of_a_wheel_checks_its_bytes(tmp_path: Path) -> None:
    wheel = tmp_path / "vendor" / "stagebake-0.1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"wheel")
    digest = hashlib.sha256(b"wheel").hexdigest()
    expected = f'pip install "stagebake @ file://$PWD/vendor/{wheel.name}#sha256={digest}"'
    assert install_command(f"vendor/{wheel.name}", tmp_path) == expected


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (f"{URL}@main", "not a whole commit"),
        (f"{URL}@v1.0", "not a whole commit"),
        (URL, "not a version, a git address or a wheel"),
        ("0.1; rm -rf /", "not a version, a git address or a wheel"),
        ("vendor/stagebake-0.1.0-py3-none-any.whl", "missing file"),
        ("../stagebake-0.1.0-py3-none-any.whl", "not in this repository"),
        ("other-1.0-py3-none-any.whl", "not a wheel of stagebake"),
        ("a$(b)/stagebake-0.1.0-py3-none-any.whl", "characters that a URL changes"),
    ],
)
def test_install_command_of_anything_else_is_an_error(source: str, problem: str, tmp_path: Path) -> None:
    for name in ("other-1.0-py3-none-any.whl", "a$(b)/stagebake-0.1.0-py3-none-any.whl"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    with pytest.raises(InputError, match=problem):
        install_command(source, tmp_path)


@pytest.mark.parametrize(
    ("origin", "source"),
    [
        (None, "0.1.0"),
        ({"url": URL, "vcs_info": {"vcs": "git", "commit_id": COMMIT}}, f"{URL}@{COMMIT}"),
        ({"url": "file:///checkout", "dir_info": {"editable": True}}, f"{URL}@{COMMIT}"),
        ({"url": "file:///elsewhere", "dir_info": {}}, "0.1.0"),
        ({"url": "file:///x/stagebake-0.1.0-py3-none-any.whl", "archive_info": {}}, "0.1.0"),
    ],
)
def test_default_install_is_what_the_installation_came_from(origin: dict[str, object] | None, source: str) -> None:
    def find_remote(folder: Path) -> tuple[str, str] | None:
        return (URL, COMMIT) if folder == Path("/checkout") else None

    text = None if origin is None else json.dumps(origin)
    assert default_install("0.1.0", text, find_remote) == source
