"""Find what makes an image change, be downloaded or reveal secrets without need."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.stages import ImageReference, Stage, StageGraph
from stagebake.dockerfile.warnings import list_secret_variables
from stagebake.doctor.facts import RepositoryFacts
from stagebake.doctor.finding import Finding


def find_moving_images(graph: StageGraph, facts: RepositoryFacts) -> Iterator[Finding]:
    """Find each image without a digest: when its tag moves, all stages that depend on it are rebuilt."""
    seen = set(facts.replaced)
    for stage in graph.needed_stages():
        for image in stage.images:
            if "@" in image.name or image.name in seen:
                continue
            seen.add(image.name)
            yield _report_moving_image(image, graph.path)


def _report_moving_image(image: ImageReference, path: str) -> Finding:
    name = image.name
    tag = re.search(r":([\w.-]+)$", name)
    when = "with each release"
    if tag is not None and tag[1] != "latest":
        when = f"whenever tag `{tag[1]}` moves"
    pinned = name if tag else f"{name}:TAG"
    return Finding(
        rule="base-moves",
        path=path,
        line=image.line,
        problem=f"`{name}` changes {when}, and the next push rebuilds every stage that depends on it; "
        "pin the digest, and let Dependabot or Renovate update it in a separate commit",
        fix=(
            f"{pinned}@sha256:…",
            f"# docker buildx imagetools inspect --format '{{{{.Manifest.Digest}}}}' {pinned}",
        ),
    )


def find_secret_variables(graph: StageGraph, _facts: RepositoryFacts) -> Iterator[Finding]:
    """Find each ARG or ENV that looks like a secret."""
    for variable in list_secret_variables(graph):
        yield Finding(
            rule="secret",
            path=graph.path,
            line=variable.instruction.line,
            problem=variable.problem,
            fix=(f"RUN {variable.mount_flag} …", f"# build with {variable.build_flag}"),
        )


def find_unlinked_copies(graph: StageGraph, _facts: RepositoryFacts) -> Iterator[Finding]:
    """Find each COPY at the end of the final stage that could use --link.

    Without --link BuildKit downloads all layers below a COPY to add the files to them; with it, none
    (docs.docker.com/reference/dockerfile, "COPY --link"; measured in `tests/engine/test_link.py`).
    """
    stage = graph.final
    unlinked = [copy for copy in _list_last_copies(stage) if _can_be_linked(stage, copy)]
    first_base = graph.inherited_instructions(stage)[0].args[0]
    if not unlinked or first_base == "scratch":
        return
    yield Finding(
        rule="copy-link",
        path=graph.path,
        line=unlinked[0].line,
        problem="when a copied file changes, BuildKit downloads all layers below this COPY to add the file to them; "
        "with --link the COPY is an independent layer (do not use it where the destination contains a symbolic link "
        "of the base image)",
        fix=tuple(re.sub(r"^(\w+)\s+(?:--link=false\s+)?", r"\1 --link ", copy.text) for copy in unlinked),
        stage=stage.name,
    )


def _list_last_copies(stage: Stage) -> list[Instruction]:
    """Return the COPY and ADD instructions after the last instruction that needs the layers below it."""
    copies: list[Instruction] = []
    for instruction in stage.instructions:
        if instruction.keyword in ("RUN", "WORKDIR", "FROM", "ONBUILD"):
            copies = []
        elif instruction.keyword in ("COPY", "ADD"):
            copies.append(instruction)
    return copies


def _can_be_linked(stage: Stage, copy: Instruction) -> bool:
    """Return whether --link helps: the files change, and their owner is a number.

    BuildKit looks up an owner's name in the layers below. Files of an image or from the network do not change.
    """
    owner = copy.flag_value("chown") or "0"
    if copy.has_switch("link") or not re.fullmatch(r"\d+(?::\d+)?", owner):
        return False
    if any("://" in word for word in copy.args[:-1]):
        return False
    sources = next(step.sources for step in stage.steps if step.instruction is copy)
    return not any(isinstance(source, ImageReference) for source in sources)
