"""Collect from the statuses of one bake call which layers BuildKit pulled and unpacked, and for which step. Pure.

A status `sha256:…` reports a download and `extracting sha256:…` an unpacking (moby/buildkit, util/progress and
cache/refs.go). Both belong to the vertex whose result is fetched, which is a restored step or a FROM, and not to the
step that needs it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stagebake.buildkit.event_fields import read_count, read_seconds, text_field

_BLOB = re.compile(r"^(?P<extracting>extracting )?(?P<blob>sha256:[0-9a-f]{64})$")


@dataclass(frozen=True, kw_only=True)
class LayerPull:
    """Layer that came from a registry: the name of the vertex that it belongs to, and its compressed bytes.

    `intervals` are the times (seconds since 1970) of the download and of the unpacking.
    """

    blob: str
    vertex: str
    bytes: int
    unpacked: bool
    intervals: tuple[tuple[float, float], ...]


@dataclass
class _Progress:
    """Progress of one layer."""

    vertex: str
    bytes: int = 0
    unpacked: bool = False
    intervals: dict[float, float] = field(default_factory=dict)


class PullLog:
    """Collect the layers of one bake call; call `read_status` with each status."""

    def __init__(self) -> None:
        self._layers: dict[str, _Progress] = {}

    def read_status(self, event: Mapping[str, Any], vertex: str) -> None:
        """Read one status of BuildKit; `vertex` is the name of the vertex that reports it."""
        found = _BLOB.match(text_field(event, "id"))
        if found is None:
            return
        layer = self._layers.setdefault(found["blob"], _Progress(vertex))
        if found["extracting"]:
            layer.unpacked = True
        else:
            layer.bytes = max(layer.bytes, read_count(event, "current"))
        start, end = read_seconds(event, "started"), read_seconds(event, "completed")
        if start is not None and end is not None:
            layer.intervals[start] = max(start, end)

    @property
    def bytes(self) -> int:
        """Return the compressed bytes of all layers that came from a registry."""
        return sum(layer.bytes for layer in self._layers.values())

    def pulls(self) -> tuple[LayerPull, ...]:
        """Return the layers that came from a registry; one that was only unpacked was on the machine before."""
        found = []
        for blob, layer in self._layers.items():
            if layer.bytes:
                found.append(
                    LayerPull(
                        blob=blob,
                        vertex=layer.vertex,
                        bytes=layer.bytes,
                        unpacked=layer.unpacked,
                        intervals=tuple(layer.intervals.items()),
                    )
                )
        return tuple(found)
