"""Compare how stagebake and BuildKit read the Dockerfiles of a folder: acceptance, targets, arguments.

Prints every disagreement, then how many files agree. `nox -s bench -- agreement FOLDER` needs a running engine; it
downloads nothing, as an empty folder replaces each image.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.errors import InputError
from tests.support import frontend

KINDS = ("acceptance", "targets", "arguments")
# BuildKit reads the whole Dockerfile before it looks an image up
LOOKED_UP = "failed to resolve source metadata"


def main() -> int:
    """Print the disagreements; return 1 if there are any."""
    paths = sorted(path for path in Path(sys.argv[1]).rglob("*") if path.is_file())
    counts: Counter[str] = Counter()
    refused = 0
    with tempfile.TemporaryDirectory() as folder:
        buildkit = frontend.Frontend(run_command, Path(folder))
        for path in paths:
            text = path.read_text(encoding="utf-8", errors="replace")
            refused += is_refused(text)
            for kind, difference in find_differences(buildkit, text):
                print(f"{path}: {kind}: {difference}", flush=True)
                counts[kind] += 1
    for kind in KINDS:
        print(f"{kind}: {len(paths) - counts[kind]} of {len(paths)} files agree")
    print(f"stagebake refuses {refused} of them")
    return 1 if counts else 0


def is_refused(text: str) -> bool:
    """Return whether stagebake refuses a Dockerfile."""
    try:
        parse_dockerfile(text)
    except InputError:
        return True
    return False


def run_command(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder."""
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def find_differences(buildkit: frontend.Frontend, text: str) -> list[tuple[str, str]]:
    """Return each kind of disagreement about a Dockerfile, with what differs."""
    case = frontend.Case(text)
    try:
        graph = case.graph
    except InputError as error:
        return confirm_refusal(buildkit, case, error)
    try:
        targets = buildkit.ask("targets", case, ())
        outline = buildkit.ask("outline", case, frontend.list_images(graph))
    except frontend.Refused as error:
        return [("acceptance", f"BuildKit refuses it: {last_line(error)}")]
    differences = []
    theirs, ours = frontend.described_targets(targets), frontend.described_stages(graph)
    if theirs != ours:
        differences.append(("targets", f"BuildKit: {theirs}; stagebake: {ours}"))
    names = frontend.args_differences(outline, graph, text)
    if names:
        differences.append(("arguments", ", ".join(names)))
    return differences


def confirm_refusal(buildkit: frontend.Frontend, case: frontend.Case, refusal: InputError) -> list[tuple[str, str]]:
    """Return a disagreement unless BuildKit refuses the Dockerfile as well."""
    try:
        buildkit.ask("outline", case, frontend.possible_images(case.text))
    except frontend.Refused as error:
        if LOOKED_UP not in str(error):
            return []
    return [("acceptance", f"stagebake refuses it: {refusal.problem}")]


def last_line(error: Exception) -> str:
    """Return the last line of a message."""
    return str(error).strip().rpartition("\n")[2]


if __name__ == "__main__":
    sys.exit(main())
