"""Show measured pushes as a Markdown table for each Dockerfile, and keep them as JSON. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict

from benchmarks.full.measure import Cell
from benchmarks.full.scenarios import SCENARIOS
from benchmarks.full.strategies import STRATEGIES

Results = dict[tuple[str, str, str], Cell]
"""Names of the Dockerfile, the scenario and the strategy to what was measured."""

_ALIGNMENTS = "|---|---|---:|---:|---:|---:|---:|---:|"
_HEADINGS = ("before the push", "cache", "to the image", "to the end", "steps", "pulled", "pushed", "written")


def render_tables(results: Results) -> str:
    """Return a table for each Dockerfile, with a row for each push."""
    tables = []
    for dockerfile in dict.fromkeys(key[0] for key in results):
        rows = [render_row(key, cell) for key, cell in sort_results(results) if key[0] == dockerfile]
        lines = [f"Dockerfile {dockerfile}:", "", f"| {' | '.join(_HEADINGS)} |", _ALIGNMENTS]
        tables.append("\n".join([*lines, *rows, ""]))
    return "\n".join(tables)


def sort_results(results: Results) -> list[tuple[tuple[str, str, str], Cell]]:
    """Return the results in the order of the scenarios, then of the strategies."""
    scenarios, strategies = list(SCENARIOS), list(STRATEGIES)
    return sorted(results.items(), key=lambda item: (scenarios.index(item[0][1]), strategies.index(item[0][2])))


def render_row(key: tuple[str, str, str], cell: Cell) -> str:
    """Return the row of a push."""
    _dockerfile, scenario, strategy = key
    cells = [
        SCENARIOS[scenario].title,
        STRATEGIES[strategy].title,
        f"{cell.image_seconds:.1f} s",
        f"{cell.seconds:.1f} s",
        str(sum(cell.steps.values())),
        f"{cell.pulled / 1e6:,.1f} MB",
        f"{cell.pushed / 1e6:,.1f} MB",
        f"{cell.written / 1e6:,.0f} MB",
    ]
    return f"| {' | '.join(cells)} |"


def write_results(results: Results, conditions: str) -> str:
    """Return the results as JSON lines: the conditions of the run, then each push."""
    lines = [conditions, *([*key, asdict(cell)] for key, cell in results.items())]
    return "".join(f"{json.dumps(line)}\n" for line in lines)


def read_results(text: str, conditions: str) -> Results:
    """Return the results of `write_results`. Raise ValueError or TypeError for another text or other conditions."""
    first, *lines = text.splitlines() or [""]
    if json.loads(first) != conditions:
        raise ValueError(f"measured with {json.loads(first)}, not with {conditions}")
    results: Results = {}
    for line in lines:
        dockerfile, scenario, strategy, cell = json.loads(line)
        results[dockerfile, scenario, strategy] = Cell(**cell)
    return results
