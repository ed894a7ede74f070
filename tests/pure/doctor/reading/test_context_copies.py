"""Find the instructions that take files from the build context."""

from __future__ import annotations

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.doctor.facts import RepositoryFacts
from stagebake.doctor.reading.context_copies import find_context_copies, list_rebuilds

FACTS = RepositoryFacts(
    files=frozenset({"a.txt", "docs/b.md", "src/c.ts"}),
    commits=(frozenset({"src/c.ts", "src/gone.ts"}), frozenset({"docs/b.md"}), frozenset({"other/x"})),
)


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("COPY src /src", {"src/c.ts", "src/gone.ts"}),
        ("COPY --exclude=**/*.ts . /x", {"a.txt", "docs/b.md", "other/x"}),
        ("RUN --mount=type=bind,source=docs,target=/d make", {"docs/b.md"}),
        ("ADD a.txt https://example.org/x /x/", {"a.txt"}),
        ("COPY [a /x", set()),
    ],
    ids=["folder", "exclude", "bind-mount", "address", "invalid-pattern"],
)
def test_find_context_copies_gives_known_files_of_each_instruction(line: str, files: set[str]) -> None:
    graph = parse_dockerfile(f"FROM x\n{line}\n")
    assert [copy.files for copy in find_context_copies(graph, FACTS)] == [files]


@pytest.mark.parametrize("line", ["COPY --from=y a /a", "COPY $A /a", "RUN make", "RUN --mount=type=cache,target=/c x"])
def test_find_context_copies_other_sources_are_left_out(line: str) -> None:
    graph = parse_dockerfile(f"FROM x\n{line}\n")
    assert list(find_context_copies(graph, FACTS)) == []


@pytest.mark.parametrize(("source", "everything"), [(".", True), ("./", True), ("*", True), ("src", False)])
def test_copies_everything_source_is_the_context(source: str, everything: bool) -> None:
    (copy,) = find_context_copies(parse_dockerfile(f"FROM x\nCOPY {source} /x\n"), FACTS)
    assert copy.copies_everything == everything


def test_list_rebuilds_keeps_only_commits_that_changed_copied_files() -> None:
    copies = find_context_copies(parse_dockerfile("FROM x\nCOPY src /src\n"), FACTS)
    assert list_rebuilds(tuple(copies), FACTS) == (frozenset({"src/c.ts", "src/gone.ts"}),)
