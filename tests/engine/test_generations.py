"""The last results of each stage stay: what comes back is restored, and what is older than these is rebuilt."""

from __future__ import annotations

from stagebake.cache.scopes import GENERATIONS
from tests.support.project import Project
from tests.support.shapes import FIVE, changed

CHANGES = 7
MEBIBYTE = 1 << 20
CODE = {"builder", "runtime"}


def push(project: Project, source: str) -> tuple[dict[str, str], set[str]]:
    """Pushes these sources from an engine that remembers nothing; returns the values and the stages that ran."""
    project.write({"src/page.ts": source})
    project.engine.empty()
    outcome = project.build("--push")
    return project.pushed(), outcome.ran


def test_a_revert_restores_and_what_is_older_is_rebuilt(shipped: Project) -> None:
    """Three results of a stage are kept: going back to any of them runs nothing, in any order and again. A fourth takes
    the place of the oldest, which is then rebuilt."""
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


def test_two_contents_that_alternate_restore(shipped: Project) -> None:
    """Two people who push in turn to one scope, each with their own requirements: from the second time on all is
    restored, with what each had before."""
    known: dict[str, dict[str, str]] = {}
    for turn in range(2):
        for text in ("ours\n", "theirs\n"):
            shipped.write({"requirements.txt": text})
            shipped.engine.empty()
            outcome = shipped.build("--push")
            assert outcome.ran == ({"python-deps", "runtime"} if turn == 0 else set())
            assert shipped.pushed() == known.setdefault(text, shipped.pushed())


def test_what_was_forced_does_not_lose_to_an_older_result(shipped: Project) -> None:
    """The same sources have two results, of before and of after --no-cache: after a change and its revert the forced
    one comes back."""
    before = shipped.pushed()
    shipped.build("--push", "--no-cache", "builder")
    forced = shipped.pushed()
    assert changed(before, forced) == CODE
    push(shipped, "second")
    assert push(shipped, FIVE["src/page.ts"]) == (forced, set())


def test_what_stands_beside_a_forced_stage_is_not_lost(shipped: Project) -> None:
    """`runtime` is made anew behind a forced `builder`, its COPY of `python-deps` too, which comes out the same: so the
    result for the sources before is still true, and a revert restores it."""
    before = shipped.pushed()
    push(shipped, "second")
    shipped.build("--push", "--no-cache", "builder")
    assert push(shipped, FIVE["src/page.ts"]) == (before, set())


def test_the_composed_cache_does_not_grow(shipped: Project) -> None:
    """Over seven changes of sources the composed config and the number of refs stay what they are after the third."""
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
