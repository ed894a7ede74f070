"""Keep the last results of each stage: a return to one of them restores it, an older one is rebuilt."""

from __future__ import annotations

from stagebake.cache.scopes import GENERATIONS
from tests.support.project import Project
from tests.support.shapes import FIVE, changed

CHANGES = 7
MEBIBYTE = 1 << 20
CODE = {"builder", "runtime"}


def push(project: Project, source: str) -> tuple[dict[str, str], set[str]]:
    """Push these sources from an empty engine; return the values and the stages that ran."""
    project.write({"src/page.ts": source})
    project.engine.empty()
    outcome = project.build("--push")
    return project.pushed(), outcome.ran


def test_push_revert_restores_the_last_three_results_only(shipped: Project) -> None:
    """Return to any of the three kept results, in any order: nothing runs.

    A fourth result replaces the oldest, which is then rebuilt.
    """
    assert GENERATIONS == 3
    first = FIVE["src/page.ts"]
    known = {first: shipped.pushed()}
    for source in ("second", "third"):
        known[source], ran = push(shipped, source)
        assert ran == CODE
    for source in (first, "second", first, "third"):
        assert push(shipped, source) == (known[source], set())

    _, ran = push(shipped, "fourth")
    assert ran == CODE
    assert push(shipped, "third") == (known["third"], set())
    values, ran = push(shipped, first)
    assert ran == CODE
    assert changed(known[first], values) == CODE


def test_push_of_two_alternating_contents_restores_both(shipped: Project) -> None:
    """Push two versions of the requirements in turn: from the second time on each restores its own result."""
    known: dict[str, dict[str, str]] = {}
    for turn in range(2):
        for text in ("ours\n", "theirs\n"):
            shipped.write({"requirements.txt": text})
            shipped.engine.empty()
            outcome = shipped.build("--push")
            assert outcome.ran == ({"python-deps", "runtime"} if turn == 0 else set())
            assert shipped.pushed() == known.setdefault(text, shipped.pushed())


def test_push_revert_after_a_forced_build_restores_the_forced_result(shipped: Project) -> None:
    """Force a stage, change a file, revert it: the forced result comes back, not the older one."""
    before = shipped.pushed()
    shipped.build("--push", "--no-cache", "builder")
    forced = shipped.pushed()
    assert changed(before, forced) == CODE
    push(shipped, "second")
    assert push(shipped, FIVE["src/page.ts"]) == (forced, set())


def test_push_revert_restores_a_result_that_a_forced_build_also_made(shipped: Project) -> None:
    """Force `builder` on changed sources: `runtime` runs again and its COPY of `python-deps` has the same result.

    So the result for the first sources is still valid, and a revert restores it.
    """
    before = shipped.pushed()
    push(shipped, "second")
    shipped.build("--push", "--no-cache", "builder")
    assert push(shipped, FIVE["src/page.ts"]) == (before, set())


def test_push_of_many_changes_keeps_the_merged_cache_small(shipped: Project) -> None:
    """Change the sources seven times: after the third the merged config and the number of refs no longer grow."""
    sizes, refs = [], []
    for number in range(CHANGES):
        shipped.write({"src/page.ts": f"{number}\n"})
        shipped.build("--push")
        config = shipped.registry.read_manifest(shipped.name, "cache")["config"]
        sizes.append(config["size"])
        refs.append(len(shipped.tags()))
    print(f"\nbytes of the composed config: {', '.join(map(str, sizes))}")
    settled = sizes[GENERATIONS]
    assert max(sizes[GENERATIONS:]) <= 1.1 * settled < MEBIBYTE / 20
    assert len(set(refs[GENERATIONS:])) == 1
