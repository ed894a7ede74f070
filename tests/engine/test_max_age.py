"""Refresh a stage whose result is too old: on a push of the default branch, and nowhere else."""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import replace

from stagebake.cache.manifest import LEDGER_TYPE, build_artifact, layer_sizes
from stagebake.cache.scopes import DEFAULT_SCOPE
from stagebake.explain.ledger import Ledger, parse_ledger, serialize_ledger
from stagebake.stores.registry import Registry
from tests.support.project import Outcome, Project
from tests.support.shapes import changed

DAY = 86_400


def test_push_with_a_stage_that_is_too_old_refreshes_it_with_its_dependents(shipped: Project) -> None:
    """Make two results old: plan and push name the older one, the next push the other; a branch refreshes nothing."""
    today = int(time.time())
    age_results(shipped, {"node-deps": today - 9 * DAY, "python-deps": today - 8 * DAY})
    shipped.settings('max-age = { python-deps = "7d", node-deps = "7d" }\n')
    before = shipped.pushed()
    assert expected(shipped.stagebake("plan", "--json")) == set()
    assert expected(shipped.stagebake("plan", "--push", "--scope=feature", "--json")) == set()
    assert expected(shipped.stagebake("plan", "--push", "--json")) == {"node-deps", "builder", "runtime"}

    first = shipped.build("--push")
    assert changed(before, shipped.pushed()) == first.ran == {"node-deps", "builder", "runtime"}
    day = time.strftime("%Y-%m-%d", time.gmtime(today - 9 * DAY))
    assert f"older than 7 days (built {day})" in first.stdout
    assert shipped.build("--push").ran == {"python-deps", "runtime"}
    assert shipped.build("--push").ran == set()


def age_results(project: Project, built: dict[str, int]) -> None:
    """Set when the results of stages were built (seconds since 1970) in the ledger of the default branch."""
    with closing(Registry(project.image)) as registry:
        manifest = registry.read_manifest(DEFAULT_SCOPE.ledger_tag)
        assert manifest is not None
        (content,) = registry.read_blobs(layer_sizes(manifest)).values()
        assert isinstance(content, bytes)
        ledger = parse_ledger(content)
        stages = dict(ledger.stages)
        for name, when in built.items():
            stages[name] = tuple(replace(entry, built=when) for entry in stages[name])
        aged = Ledger(stages=stages, overhead=ledger.overhead)
        registry.push_manifest(build_artifact(serialize_ledger(aged), LEDGER_TYPE), DEFAULT_SCOPE.ledger_tag)


def expected(plan: Outcome) -> set[str]:
    """Return the stages that a plan rebuilds."""
    assert plan.exit_code == 0, plan.stderr
    return {stage["name"] for stage in json.loads(plan.stdout)["stages"] if stage["expected"] == "rebuild"}
