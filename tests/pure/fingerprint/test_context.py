"""A folder on disk as a build context: what is in it, how it is hashed, and what is remembered of that."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.errors import InputError
from stagebake.fingerprint.context import ContextFolder, git_blob_id
from stagebake.fingerprint.hash_memory import hash_memory_file
from stagebake.fingerprint.model import BuildInputs
from stagebake.fingerprint.stage_inputs import fingerprint_stages
from tests.support.memory_files import BUSYBOX

FILES = int(os.environ.get("STAGEBAKE_FILES", "10000"))  # 50000: as many as a large repository has
WARM = 12  # how often the folder could be listed in the time that all its fingerprints take


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    for name, text in {"a.txt": "a\nb\n", "src/b.txt": "b", "src/skip/c.log": "c", "out/d.txt": "d"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def settle(root: Path) -> None:
    """Waits until the files are no longer so young that a change could leave their times as they are."""
    newest = max(path.lstat().st_ctime for path in root.rglob("*"))
    time.sleep(max(0.0, newest + 2.1 - time.time()))


def test_the_paths_are_what_the_rules_let_in(root: Path) -> None:
    """Folders count, and a folder that is ignored is there for what is let in again."""
    (root / ".dockerignore").write_text("out\n**/*.log\nsrc\n!src/b.txt\n.dockerignore\n", encoding="utf-8")
    assert ContextFolder(root).paths == ("a.txt", "src", "src/b.txt")


def test_the_dockerfile_s_own_rules_come_first(root: Path) -> None:
    """NAME.dockerignore beside the Dockerfile is read in the place of .dockerignore."""
    (root / ".dockerignore").write_text("*\n", encoding="utf-8")
    own = root.parent / "Dockerfile.dev.dockerignore"
    own.write_text("*\n!a.txt\n", encoding="utf-8")
    folder = ContextFolder(root, root.parent / "Dockerfile.dev")
    assert folder.paths == ("a.txt",)
    assert (folder.rules_name, folder.rules) == ("Dockerfile.dev.dockerignore", "*\n!a.txt\n")


def test_a_bad_rule_is_named(root: Path) -> None:
    """What BuildKit refuses is refused with the file's name."""
    (root / ".dockerignore").write_text("[a\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        _ = ContextFolder(root).paths
    assert str(root / ".dockerignore") in caught.value.problem


def test_a_folder_that_is_not_there_is_named(root: Path) -> None:
    """A context that cannot be read is the user's to mend."""
    with pytest.raises(InputError) as caught:
        _ = ContextFolder(root / "nowhere").paths
    assert str(root / "nowhere") in caught.value.problem


def test_entries_tell_content_mode_and_target(root: Path) -> None:
    """A file by git's blob id with its lines, none of a binary one; a link by where it points; a folder by its mode;
    a pipe is not read."""
    (root / "link").symlink_to("src/b.txt")
    (root / "binary").write_bytes(b"\0\n")
    os.mkfifo(root / "pipe")
    (root / "src").chmod(0o700)
    (root / "a.txt").chmod(0o755)
    folder = ContextFolder(root)
    found = folder.read_entries(folder.paths)
    assert (found["a.txt"].digest, found["a.txt"].mode, found["a.txt"].lines) == (git_blob_id(b"a\nb\n"), 0o755, 2)
    assert found["binary"].lines is None
    assert (found["link"].digest, found["link"].mode) == ("link src/b.txt", None)
    assert (found["src"].digest, found["src"].mode) == ("folder", 0o700)
    assert found["pipe"].digest.startswith("device")
    assert git_blob_id(b"") == "sha1:e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"  # as every git repository has it


def test_extended_attributes_count(root: Path) -> None:
    """They are in BuildKit's content hash."""
    before = ContextFolder(root).read_entries(["a.txt", "src"])
    for name in ("a.txt", "src"):
        try:
            os.setxattr(root / name, "user.word", b"1")
        except (OSError, AttributeError):
            pytest.skip("this file system, or system, has no extended attributes of the user's")
    after = ContextFolder(root).read_entries(["a.txt", "src"])
    assert after["a.txt"] != before["a.txt"]
    assert after["src"] != before["src"]


def test_what_was_hashed_is_remembered(root: Path) -> None:
    """A second look takes a file's hash from the memory as long as size, times and inode are the same."""
    settle(root)
    file = root.parent / "memory.json"
    first = ContextFolder(root, memory=file).read_entries(["a.txt", "src/b.txt"])
    kept = json.loads(file.read_text(encoding="utf-8"))
    kept["files"]["a.txt"][1] = "sha1:remembered"
    file.write_text(json.dumps(kept), encoding="utf-8")
    assert ContextFolder(root, memory=file).read_entries(["a.txt"])["a.txt"].digest == "sha1:remembered"
    stat = (root / "a.txt").stat()
    (root / "a.txt").write_text("x\ny\n", encoding="utf-8")
    os.utime(root / "a.txt", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert ContextFolder(root, memory=file).read_entries(["a.txt"])["a.txt"].digest == git_blob_id(b"x\ny\n")
    assert ContextFolder(root, memory=file).read_entries(["src/b.txt"])["src/b.txt"] == first["src/b.txt"]


def test_a_young_file_is_not_remembered(root: Path) -> None:
    """One that was just written may change again within the same tick of the clock."""
    (root / "a.txt").write_text("young\n", encoding="utf-8")
    file = root.parent / "memory.json"
    ContextFolder(root, memory=file).read_entries(["a.txt"])
    assert "a.txt" not in json.loads(file.read_text(encoding="utf-8"))["files"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"version": 0, "files": {}}',
        '{"version": 1}',
        '{"version": 1, "files": {"a.txt": 5}}',
        '{"version": 1, "files": {"a.txt": []}}',
        '{"version": 1, "files": []}',
    ],
)
def test_a_broken_memory_is_no_memory(root: Path, content: str) -> None:
    """It costs time and nothing else."""
    file = root.parent / "memory.json"
    file.write_text(content, encoding="utf-8")
    assert ContextFolder(root, memory=file).read_entries(["a.txt"])["a.txt"].digest == git_blob_id(b"a\nb\n")


def test_each_folder_has_a_memory_in_the_user_s_cache(root: Path) -> None:
    """Below XDG_CACHE_HOME, else in ~/.cache."""
    assert hash_memory_file(root, {"XDG_CACHE_HOME": "/x"}).parent == Path("/x/stagebake")
    assert hash_memory_file(root, {}).parent == Path.home() / ".cache/stagebake"
    assert hash_memory_file(root, {}) != hash_memory_file(root / "src", {})


def test_a_large_context_is_read_quickly(tmp_path: Path) -> None:
    """Once its files are remembered, the fingerprints take no longer than to list the folder a few times."""
    root, file = tmp_path / "large", tmp_path / "memory.json"
    for number in range(FILES // 100):
        folder = root / f"src/part{number % 20}/folder{number}"
        folder.mkdir(parents=True)
        for name in range(100):
            (folder / f"{name}.ts").write_bytes(b"%d\n" % number)
    (root / ".dockerignore").write_text("**/*.log\n.git\n**/.env*\n!**/.env.example\ndist/**\n*.md\n", encoding="utf-8")
    settle(root)
    graph = parse_dockerfile("FROM busybox AS a\nCOPY . .\nRUN make\n")

    def read() -> float:
        start = time.process_time()
        inputs = BuildInputs(context=ContextFolder(root, memory=file), images={"busybox": BUSYBOX})
        found = fingerprint_stages(graph, inputs)["a"]
        assert found.digest
        assert sum(part.kind == "file" and part.mode == 0o644 for part in found.parts) == FILES + 1
        return time.process_time() - start

    start = time.process_time()
    assert sum(len(names) for _, _, names in os.walk(root) if [os.lstat(root) for _ in names]) == FILES + 1
    listing = time.process_time() - start
    read()
    assert read() < WARM * listing
