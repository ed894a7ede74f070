"""Write files completely or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from stagebake.errors import InputError
from stagebake.files import (
    read_exact_text,
    read_text,
    refuse_unwritable,
    text_difference,
    user_cache_folder,
    write_file,
)


def test_write_file_new_path_creates_folders_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.txt"
    write_file(path, "ü\n")
    assert path.read_bytes() == "ü\n".encode()
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_write_file_new_file_has_mode_of_umask(tmp_path: Path) -> None:
    """Expect the mode that the umask gives, not the private one of a temporary file."""
    plain = tmp_path / "plain"
    plain.touch()
    write_file(tmp_path / "written", "x")
    assert (tmp_path / "written").stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755], ids=oct)
def test_write_file_existing_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(mode)
    write_file(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == mode


def test_write_file_target_is_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_file(tmp_path / "folder", "x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_write_file_text_not_encodable_keeps_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_file(path, "\ud800")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("a\n", "a\n", []),
        (None, "a\n", ["+a"]),
        (None, "", []),
        ("a\nb\n", "a\nc\n", ["-b", "+c"]),
        ("a", "a\n", ["-a", "+a"]),
        ("a\n", "", ["-a"]),
    ],
    ids=["same", "new-file", "new-and-empty", "changed", "newline-added", "emptied"],
)
def test_text_difference_is_empty_only_without_changes(
    tmp_path: Path, old: str | None, new: str, lines: list[str]
) -> None:
    """Expect a newline at the end of every line of a difference."""
    path = tmp_path / "file"
    if old is not None:
        path.write_text(old)
    found = text_difference(path, new)
    marked = [line for line in found.splitlines() if line[0] in "+-" and not line.startswith(("+++", "---"))]
    assert marked == lines
    assert found == "" or found.endswith("\n")
    assert found.count("(as it is)") == found.count("(as it should be)") == bool(found)


def test_user_cache_folder_follows_the_xdg_base_directories() -> None:
    assert user_cache_folder({"XDG_CACHE_HOME": "/x"}) == Path("/x/stagebake")
    assert user_cache_folder({"XDG_CACHE_HOME": ""}) == Path.home() / ".cache/stagebake"
    assert user_cache_folder({}) == Path.home() / ".cache/stagebake"


def test_user_cache_folder_without_a_home_directory_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", refuse_home)
    assert user_cache_folder({}) is None
    assert user_cache_folder({"XDG_CACHE_HOME": "/x"}) == Path("/x/stagebake")


def test_write_file_keeps_windows_line_endings(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a\r\nb\r\n")
    write_file(path, "a\nc\n")
    assert path.read_bytes() == b"a\r\nc\r\n"


def test_read_text_missing_or_binary_file_raises(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "missing", binary):
        with pytest.raises(InputError, match=f"{path.name}:1: not readable"):
            read_text(path)


def test_refuse_unwritable_folder_raises_with_flag(tmp_path: Path) -> None:
    refuse_unwritable(tmp_path / "new" / "report.json", "--report")
    with pytest.raises(InputError, match="--report: "):
        refuse_unwritable(tmp_path, "--report")


@pytest.mark.parametrize(
    "content",
    [b"FROM a\r\nRUN b\r\n", b"# Pr\xe9pare\nFROM a\n", b"\xef\xbb\xbfFROM a\n", "# größe\n".encode(), b"a\rb\n", b""],
    ids=["crlf", "latin-1", "byte-order-mark", "utf-8", "cr", "empty"],
)
def test_read_exact_text_keeps_every_byte(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "Dockerfile"
    path.write_bytes(content)
    assert read_exact_text(path).encode("utf-8", "surrogateescape") == content
