"""Files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from stagebake.files import text_difference, user_cache_folder, write_file


def test_a_new_file_and_its_folders(tmp_path: Path) -> None:
    """A file is written with the folders that lead to it, and nothing stays beside it."""
    path = tmp_path / "a" / "b" / "file.txt"
    write_file(path, "ü\n")
    assert path.read_bytes() == "ü\n".encode()
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_a_new_file_has_the_mode_of_any_other(tmp_path: Path) -> None:
    """A new file gets the mode that the umask leaves, not the private one of a temporary file."""
    plain = tmp_path / "plain"
    plain.touch()
    write_file(tmp_path / "written", "x")
    assert (tmp_path / "written").stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755], ids=oct)
def test_the_mode_is_kept(tmp_path: Path, mode: int) -> None:
    """A file that is overwritten keeps its mode."""
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(mode)
    write_file(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == mode


def test_no_leftovers_where_the_target_is_a_folder(tmp_path: Path) -> None:
    """What cannot be put in its place leaves nothing behind."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_file(tmp_path / "folder", "x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_the_old_file_stays_where_the_new_one_cannot_be_written(tmp_path: Path) -> None:
    """A text that cannot be encoded leaves the old file as it was, and nothing beside it."""
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
def test_difference(tmp_path: Path, old: str | None, new: str, lines: list[str]) -> None:
    """The difference is empty exactly where nothing would change; else every line ends in a newline."""
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
