"""Test how a folder on disk is read as a build context, and how its hashes are remembered."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from stagebake.context.entries import ContextEntry
from stagebake.context.folder import ContextFolder, git_blob_id
from stagebake.context.hash_memory import hash_memory_file
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.errors import InputError
from stagebake.fingerprint.model import BuildInputs
from stagebake.fingerprint.stage_inputs import fingerprint_stages
from tests.support.memory_files import BUSYBOX

FILES = int(os.environ.get("STAGEBAKE_FILES", "10000"))  # 50000: as many as a large repository has
WARM = 12  # the fingerprints may take at most as long as this many listings of the folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with a few files."""
    folder = tmp_path / "context"
    files = {"a.txt": "a\nb\n", "src/b.txt": "b", "src/skip/c.log": "c", "out/d.txt": "d"}
    for name, text in files.items():
        write_file(folder / name, text)
    return folder


def write_file(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def read_entry(root: Path, name: str, memory: Path | None = None) -> ContextEntry:
    folder = ContextFolder(root, memory=memory)
    return folder.read_entries([name])[name]


def wait_until_settled(root: Path) -> None:
    """Wait until every further change of a file changes its times."""
    newest = max(path.lstat().st_ctime for path in root.rglob("*"))
    left = newest + 2.1 - time.time()
    time.sleep(max(0.0, left))


def test_context_folder_with_ignore_file_lists_included_paths(root: Path) -> None:
    """List folders, too, and an ignored folder if something in it is included again."""
    (root / ".dockerignore").write_text("out\n**/*.log\nsrc\n!src/b.txt\n.dockerignore\n", encoding="utf-8")
    assert ContextFolder(root).paths == ("a.txt", "src", "src/b.txt")


def test_context_folder_with_own_ignore_file_of_dockerfile_ignores_the_general_one(root: Path) -> None:
    """Read NAME.dockerignore beside the Dockerfile instead of .dockerignore."""
    (root / ".dockerignore").write_text("*\n", encoding="utf-8")
    own = root.parent / "Dockerfile.dev.dockerignore"
    own.write_text("*\n!a.txt\n", encoding="utf-8")
    folder = ContextFolder(root, root.parent / "Dockerfile.dev")
    assert folder.paths == ("a.txt",)
    assert (folder.rules_name, folder.rules) == ("Dockerfile.dev.dockerignore", "*\n!a.txt\n")


def test_context_folder_with_invalid_pattern_names_the_ignore_file(root: Path) -> None:
    (root / ".dockerignore").write_text("[a\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        _ = ContextFolder(root).paths
    assert str(root / ".dockerignore") in caught.value.problem


def test_context_folder_that_is_missing_raises_input_error(root: Path) -> None:
    with pytest.raises(InputError) as caught:
        _ = ContextFolder(root / "nowhere").paths
    assert str(root / "nowhere") in caught.value.problem


def test_read_entries_describes_files_links_folders_and_pipes(root: Path) -> None:
    """Count no lines of a binary file, and do not read a pipe."""
    (root / "link").symlink_to("src/b.txt")
    (root / "binary").write_bytes(b"\0\n")
    os.mkfifo(root / "pipe")
    (root / "src").chmod(0o700)
    (root / "a.txt").chmod(0o755)
    folder = ContextFolder(root)
    found = folder.read_entries(folder.paths)
    assert found["a.txt"] == ContextEntry(git_blob_id(b"a\nb\n"), mode=0o755, size=4, lines=2)
    assert found["binary"].lines is None
    assert found["link"] == ContextEntry("link src/b.txt", mode=None)
    assert found["src"] == ContextEntry("folder", mode=0o700)
    assert found["pipe"].digest.startswith("device")


def test_git_blob_id_of_empty_file_is_that_of_git() -> None:
    assert git_blob_id(b"") == "sha1:e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


@pytest.mark.parametrize("name", ["a.txt", "src"])
def test_read_entries_of_path_with_new_extended_attribute_differs(root: Path, name: str) -> None:
    before = read_entry(root, name)
    try:
        os.setxattr(root / name, "user.word", b"1")
    except (OSError, AttributeError):
        pytest.skip("this file system, or system, has no extended attributes of the user's")
    assert read_entry(root, name) != before


def test_read_entries_with_memory_hashes_changed_files_only(root: Path) -> None:
    """Take the hash of a file from the memory while size, times and inode are the same."""
    wait_until_settled(root)
    file = root.parent / "memory.json"
    first = ContextFolder(root, memory=file).read_entries(["a.txt", "src/b.txt"])
    kept = json.loads(file.read_text(encoding="utf-8"))
    kept["files"]["a.txt"][1] = "sha1:remembered"
    file.write_text(json.dumps(kept), encoding="utf-8")
    assert read_entry(root, "a.txt", file).digest == "sha1:remembered"
    stat = (root / "a.txt").stat()
    (root / "a.txt").write_text("x\ny\n", encoding="utf-8")
    os.utime(root / "a.txt", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert read_entry(root, "a.txt", file).digest == git_blob_id(b"x\ny\n")
    assert read_entry(root, "src/b.txt", file) == first["src/b.txt"]


def test_read_entries_of_new_file_does_not_remember_it(root: Path) -> None:
    """Forget a file that may change again within the same tick of the clock."""
    (root / "a.txt").write_text("young\n", encoding="utf-8")
    file = root.parent / "memory.json"
    read_entry(root, "a.txt", file)
    document = json.loads(file.read_text(encoding="utf-8"))
    assert "a.txt" not in document["files"]


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
def test_read_entries_with_damaged_memory_hashes_again(root: Path, content: str) -> None:
    file = root.parent / "memory.json"
    file.write_text(content, encoding="utf-8")
    assert read_entry(root, "a.txt", file).digest == git_blob_id(b"a\nb\n")


def test_hash_memory_file_of_each_folder_is_in_the_users_cache(root: Path) -> None:
    """Use XDG_CACHE_HOME, else ~/.cache."""
    moved, usual = hash_memory_file(root, {"XDG_CACHE_HOME": "/x"}), hash_memory_file(root, {})
    assert moved
    assert usual
    assert moved.parent == Path("/x/stagebake")
    assert usual.parent == Path.home() / ".cache/stagebake"
    assert usual != hash_memory_file(root / "src", {})


def count_files(root: Path) -> int:
    """Walk through a folder and stat once for each file; return the number of files."""
    count = 0
    for _, _, names in os.walk(root):
        for _ in names:
            os.lstat(root)
        count += len(names)
    return count


def test_fingerprints_of_large_remembered_folder_take_little_time(tmp_path: Path) -> None:
    """Take no longer than to list the folder a few times."""
    root = tmp_path / "large"
    file = tmp_path / "memory.json"
    for number in range(FILES // 100):
        folder = root / f"src/part{number % 20}/folder{number}"
        for name in range(100):
            write_file(folder / f"{name}.ts", f"{number}\n")
    (root / ".dockerignore").write_text("**/*.log\n.git\n**/.env*\n!**/.env.example\ndist/**\n*.md\n", encoding="utf-8")
    wait_until_settled(root)
    graph = parse_dockerfile("FROM busybox AS a\nCOPY . .\nRUN make\n")

    def measure_fingerprints() -> float:
        start = time.process_time()
        context = ContextFolder(root, memory=file)
        inputs = BuildInputs(context=context, images={"busybox": BUSYBOX})
        found = fingerprint_stages(graph, inputs)["a"]
        files = [part for part in found.parts if part.kind == "file" and part.mode == 0o644]
        assert found.digest
        assert len(files) == FILES + 1
        return time.process_time() - start

    start = time.process_time()
    assert count_files(root) == FILES + 1
    listing = time.process_time() - start
    measure_fingerprints()
    assert measure_fingerprints() < WARM * listing
