"""After a build, when the image is out: says why, and writes the ledger. Neither can fail the build."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

from stagebake import account
from stagebake.dockerfile import StageGraph
from stagebake.ledger import Ledger
from stagebake.outcome import BuildResult
from stagebake.recall import Ledgers
from stagebake.scan import Prints, Scan
from stagebake.scopes import Access

# Long enough for a registry that is slow to tell of a base image
_PATIENCE = 30.0


def record(
    result: BuildResult,
    graph: StageGraph,
    scan: Scan,
    before: Future[Prints],
    ledgers: Ledgers,
    access: Access,
    scope: str,
) -> tuple[BuildResult, Sequence[Ledger]]:
    """The result with its reasons in words, and what was known before; `before` are the first fingerprints.

    The ledger hears only of stages that are still as they were then: what was built is certain for these alone.
    """
    known: Sequence[Ledger] = ()
    try:
        known = ledgers.read(access)
        first, now = before.result(_PATIENCE), scan.of_folder()
        certain = {name: found for name, found in now.items() if found.digest == first[name].digest}
        explained = account.explained(result, graph, now, known, scope)
        built = account.results(result, graph, certain, known, int(time.time()))
        failed = ledgers.write(access, built, account.rest(result, graph))
        return replace(explained, warnings=(*result.warnings, *failed)), known
    except Exception as error:  # the image is out: whatever is wrong here must not say otherwise
        said = f"why stages were rebuilt is not known in detail, nor written down: {error or type(error).__name__}"
        return replace(result, warnings=(*result.warnings, said)), known
