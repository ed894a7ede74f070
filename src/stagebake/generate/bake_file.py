"""StageGraph and Settings to docker-bake.hcl, and one build's bake_options to the JSON that is laid over it.

The file is an ordinary bake file (https://docs.docker.com/build/bake/reference/): it builds without stagebake.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stagebake.cache.backends import BACKENDS
from stagebake.cache.scopes import Scope, short_stage_name
from stagebake.dockerfile.stages import ForcedStages, Stage, StageGraph
from stagebake.project.image_tags import ImageNames
from stagebake.project.settings import Settings

BAKE_FILE = "docker-bake.hcl"
OVERRIDE_FILE = "docker-bake.override.hcl"
COMMON_TARGET = "_common"

# The HCL specification, "Quoted Template Expressions"; the quote as python-hcl2 keeps it whole
_ESCAPES = {"\\": "\\\\", '"': "\\u0022", "\n": "\\n", "\r": "\\r", "\t": "\\t"}

_OTHER_BLOBS = "compression=zstd,force-compression=true"

_HEADER = """\
# Written by stagebake from {dockerfile}: `nox -s generate` writes it anew, and edits here are lost.
# Your own edits belong into {override}, which is never touched and always honoured.
#
#   docker buildx bake                  build the final stage, reading the composed cache
#   docker buildx bake stages           build every stage
#   SAVE=1 docker buildx bake TARGET    build one stage and save its cache in its own ref
"""


@dataclass(frozen=True, kw_only=True)
class BakeOptions:
    """One bake call: which stage, and what becomes of it.

    `output` is BuildKit's output, `cache` the ref of the cache to read (None for none), `save` whether the stage's own
    cache is written, `names` the image's refs and labels.
    `recompress` makes other blobs of the same layers: a registry that holds a blob with wrong bytes does not take the
    right ones under the same digest.
    """

    stage: str
    output: str
    cache: str | None = None
    forced: ForcedStages = field(default_factory=ForcedStages)
    save: bool = False
    recompress: bool = False
    names: ImageNames | None = None


def render_bake_file(graph: StageGraph, settings: Settings) -> str:
    """The text of docker-bake.hcl. The same input gives the same bytes."""
    targets = target_names(graph)
    nameless = "" if settings.image else "; empty for none: no tags, no caches"
    blocks = [
        _HEADER.format(dockerfile=settings.dockerfile, override=OVERRIDE_FILE),
        _variable("IMAGE", _quoted(settings.image or ""), f"The repository of the image and its caches{nameless}."),
        _variable("TAGS", _quoted(settings.tag or "latest"), "The tags of the image, with commas between."),
        _variable("SCOPE", _quoted(""), "Whose caches: empty for the default branch."),
        *_cache_variables(settings),
        _variable("SAVE", _quoted(""), "Not empty: write the cache of each stage that is built."),
        _block("group", "default", {"targets": _strings([targets[graph.final.name]])}),
        _block("group", "stages", {"targets": _strings(targets.values())}),
        _block("target", COMMON_TARGET, _common(settings)),
    ]
    blocks += [
        _block("target", targets[stage.name], _target(stage, graph, settings)) for stage in graph.buildable_stages
    ]
    return "\n".join(blocks)


def _cache_variables(settings: Settings) -> list[str]:
    backend = BACKENDS[settings.cache]
    merged = _unless_empty(settings, f'"{backend.merged_ref}"', nothing='""')
    found = [_variable("CACHE", merged, "The composed cache that every build reads; empty for none.")]
    if backend.in_folder:
        folder = _literal(settings.folder)
        home, below = ("${HOME}", folder[1:]) if folder.startswith("~/") else ("", folder)
        comment = "Where the caches lie; bake wants it allowed: --allow=fs=FOLDER"
        found.append(_variable("HOME", _quoted(""), "Yours, from the environment."))
        found.append(_variable("FOLDER", f'"{home}{below}"', comment))
    return found


def is_generated(text: str) -> bool:
    """Whether a bake file was written here, so that it may be written anew."""
    return text.startswith(_HEADER.partition(" from ")[0])


def target_names(graph: StageGraph) -> dict[str, str]:
    """Stage that can be built by itself to bake target. Bake takes [A-Za-z0-9_-]+; two names are groups here."""
    names: dict[str, str] = {}
    taken = {"default", "stages", COMMON_TARGET}
    for stage in sorted(graph.buildable_stages, key=lambda s: "." in s.name):
        name = stage.name.replace(".", "_")
        while name in taken:
            name += "_"
        taken.add(name)
        names[stage.name] = name
    return {stage.name: names[stage.name] for stage in graph.buildable_stages}


def bake_variables(settings: Settings, bake_options: BakeOptions, scope: Scope) -> dict[str, str]:
    """The environment of one bake call: a value for every variable of the file."""
    return {
        "IMAGE": settings.image or settings.local_image,
        "TAGS": settings.tag or "latest",
        "SCOPE": scope.suffix,
        "CACHE": bake_options.cache or "",
        "SAVE": "1" if bake_options.save else "",
        **({"FOLDER": str(settings.cache_folder)} if BACKENDS[settings.cache].in_folder else {}),
    }


def render_call_file(graph: StageGraph, settings: Settings, bake_options: BakeOptions) -> str:
    """The JSON bake file of one call. It is a file because bake ignores a filter that `--set` gives it."""
    body: dict[str, Any] = {"output": [bake_options.output]}
    if bake_options.recompress and bake_options.save:
        body["cache-to"] = [f"{_goal(graph[bake_options.stage], settings)},{_OTHER_BLOBS}"]
    elif bake_options.recompress:
        body["output"] = [f"{bake_options.output},{_OTHER_BLOBS}"]
    if bake_options.names:
        body |= {"tags": list(bake_options.names.refs), "labels": bake_options.names.labels}
    if bake_options.forced.covers_all:
        body["no-cache"] = True
    elif bake_options.forced.bake_filter:
        body["no-cache-filter"] = list(bake_options.forced.bake_filter)
    return json.dumps({"target": {target_names(graph)[bake_options.stage]: body}}, indent=2)


def bake_permissions(settings: Settings) -> tuple[str, ...]:
    """What bake is allowed (`--allow`); its question for it is skipped where events are read."""
    network = ("network.host",) if settings.network == "host" else ()
    folder = (f"fs.write={settings.cache_folder}",) if BACKENDS[settings.cache].in_folder else ()
    return ("fs.read=*", *folder, *network)


def _common(settings: Settings) -> dict[str, Any]:
    body: dict[str, Any] = {
        "context": _quoted(settings.context),
        "dockerfile": _quoted(_seen_from_context(settings)),
        "cache-from": f'CACHE == "" ? [] : ["{BACKENDS[settings.cache].reads}"]',
    }
    if settings.args:
        body["args"] = _table(settings.args)
    if settings.contexts:
        body["contexts"] = _table(settings.contexts)
    if settings.platforms:
        body["platforms"] = _strings(settings.platforms)
    if settings.secrets:
        body["secret"] = _strings(settings.secrets)
    if settings.network:
        body["network"] = _quoted(settings.network)
    return body


def _target(stage: Stage, graph: StageGraph, settings: Settings) -> dict[str, Any]:
    final = stage.name == graph.final.name
    body: dict[str, Any] = {
        "inherits": _strings([COMMON_TARGET]),
        **({"target": _quoted(stage.target)} if stage.target else {}),
        "cache-to": _unless_empty(settings, f'["{_goal(stage, settings)}"]', "SAVE"),
    }
    tags = _unless_empty(settings, '[for tag in split(",", TAGS) : "${IMAGE}:${tag}"]')
    return body | ({"tags": tags} if final else {"output": '["type=cacheonly"]'})


def _goal(stage: Stage, settings: Settings) -> str:
    return BACKENDS[settings.cache].export_attribute("cache${SCOPE}-" + short_stage_name(stage.name))


def _seen_from_context(settings: Settings) -> str:
    """Bake looks for a Dockerfile from the context on."""
    if settings.remote_context:
        return settings.dockerfile
    return posixpath.relpath(settings.dockerfile, settings.context)


def _unless_empty(settings: Settings, value: str, *names: str, nothing: str = "[]") -> str:
    """A value, or nothing where one of these variables is empty; IMAGE may be too where no image name is known."""
    empty = " || ".join(f'{name} == ""' for name in (names if settings.image else (*names, "IMAGE")))
    return f"{empty} ? {nothing} : {value}" if empty else value


def _variable(name: str, default: str, comment: str) -> str:
    return f"# {comment}\n" + _block("variable", name, {"default": default})


def _block(kind: str, label: str, body: Mapping[str, Any]) -> str:
    import hcl2  # slow to load, and most verbs write no bake file

    file = hcl2.Builder()
    file.block(kind, [_quoted(label)], **body)
    return hcl2.dumps(file.build())  # type: ignore[no-untyped-call]


def _strings(values: Iterable[str]) -> str:
    """A list on one line."""
    return f"[{', '.join(_quoted(value) for value in values)}]"


def _table(values: Mapping[str, str]) -> dict[str, str]:
    return {_quoted(name): _quoted(value) for name, value in sorted(values.items())}


def _quoted(text: str) -> str:
    """An HCL string of exactly this text."""
    return f'"{_literal(text)}"'


def _literal(text: str) -> str:
    """What stands in an HCL string for this text: templates are taken literally, python-hcl2 keeps \\u0022 whole."""
    escaped = "".join(_ESCAPES.get(c, c if c.isprintable() else _escape(c)) for c in text)
    return re.sub(r"([$%])(?=\{)", r"\1\1", escaped)


def _escape(c: str) -> str:
    return f"\\u{ord(c):04x}" if ord(c) <= 0xFFFF else f"\\U{ord(c):08x}"
