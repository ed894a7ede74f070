"""Parse YAML into nodes that know their lines. Pure.

Scalars stay as they are written, so that the key `on` is no boolean (YAML 1.1) and versions are no numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class InvalidYaml(ValueError):
    """Text that is not valid YAML; `line` counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


@dataclass(frozen=True, kw_only=True)
class YamlNode:
    """Scalar, list or table of a YAML document. `line` is its first line, `end` the last; both count from 1.

    `text` is set for a scalar, `entries` for a list, `fields` for a table. `column` counts from 0.
    """

    line: int
    end: int
    column: int
    text: str = ""
    entries: tuple[YamlNode, ...] = ()
    fields: Mapping[str, YamlNode] = field(default_factory=dict)

    def find_field(self, *path: str) -> YamlNode:
        """Return the node at a path of keys; an empty scalar where it is missing."""
        node = self
        for key in path:
            node = node.fields.get(key, _EMPTY)
        return node

    def list_words(self) -> tuple[str, ...]:
        """Return the texts of a list; a scalar is a list of one."""
        if self.text:
            return (self.text,)
        return tuple(entry.text for entry in self.entries if entry.text)


_EMPTY = YamlNode(line=0, end=0, column=0)


def parse_yaml(text: str) -> YamlNode:
    """Return the only document of a YAML text. Raise InvalidYaml."""
    import yaml  # only `init` reads YAML

    try:
        node = yaml.compose(text if text.endswith("\n") else f"{text}\n", Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InvalidYaml(mark.line + 1 if mark else 1, error.problem or "not valid YAML") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InvalidYaml(1, str(error).partition("\n")[0]) from None
    if node is None:
        return _EMPTY
    return _convert_node(node, {}, set())


def _convert_node(node: Any, known: dict[int, YamlNode], open_nodes: set[int]) -> YamlNode:
    """Return a node of PyYAML as ours. An alias is the node that it names; one that contains itself is not valid."""
    identity = id(node)
    if identity in known:
        return known[identity]
    if identity in open_nodes:
        raise InvalidYaml(node.start_mark.line + 1, "an alias contains itself")
    open_nodes.add(identity)
    entries: list[YamlNode] = []
    fields: dict[str, YamlNode] = {}
    if node.id == "sequence":
        entries = [_convert_node(entry, known, open_nodes) for entry in node.value]
    if node.id == "mapping":
        for key, value in node.value:
            fields[str(key.value)] = _convert_node(value, known, open_nodes)
    converted = YamlNode(
        line=node.start_mark.line + 1,
        end=_last_line(node),
        column=node.start_mark.column,
        text=str(node.value) if node.id == "scalar" else "",
        entries=tuple(entries),
        fields=fields,
    )
    open_nodes.discard(identity)
    known[identity] = converted
    return converted


def _last_line(node: Any) -> int:
    """Return the last line of a node. The mark after a block is at the start of what follows it."""
    is_block = node.style in ("|", ">") if node.id == "scalar" else not node.flow_style
    if is_block:
        return max(int(node.end_mark.line), int(node.start_mark.line) + 1)
    return int(node.end_mark.line) + 1
