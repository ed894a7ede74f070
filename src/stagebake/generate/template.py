"""Fill in a YAML template whose markers are comments, so that linters can open the template itself.

    # [note] TEXT                      leave this line out
    KEY: SAMPLE  # [set NAME]          write the value NAME instead of the sample
    # [if NAME] LINES # [end]          keep the lines where the condition NAME holds
    # [each NAME] LINES # [end]        repeat the lines for each entry of the list NAME;
                                       NAME in capitals is the entry
    # [lines NAME]                     write the YAML text NAME here, with the marker's indentation

Every marker but `set` has a line for itself. Blocks do not nest.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence

_NOTE = re.compile(r"^ *# \[note\].*\n", re.MULTILINE)
_SAMPLE = re.compile(r"^(?P<key> *(- )?[\w-]+: ).*  # \[set (?P<name>\w+)\]$", re.MULTILINE)
_BLOCK = r"^ *# \[{word} (?P<name>\w+)\]\n(?P<lines>.*?)^ *# \[end\]\n"
_OPTIONAL = re.compile(_BLOCK.format(word="if"), re.MULTILINE | re.DOTALL)
_LINES = re.compile(r"^(?P<indent> *)# \[lines (?P<name>\w+)\]\n", re.MULTILINE)
_REPEATED = re.compile(_BLOCK.format(word="each"), re.MULTILINE | re.DOTALL)


def fill_template(
    template: str,
    *,
    values: Mapping[str, str],
    conditions: Mapping[str, bool],
    lists: Mapping[str, Sequence[str]],
    texts: Mapping[str, str],
) -> str:
    """Return the template's text with values, optional lines, repeated lines, and texts of several lines.

    Values are inserted as they are, so they have to be YAML. Raises KeyError for a name that is not given.
    """

    def keep_lines(block: re.Match[str]) -> str:
        if conditions[block["name"]]:
            return block["lines"]
        return ""

    def repeat_lines(block: re.Match[str]) -> str:
        name = block["name"]
        lines = block["lines"]
        copies: list[str] = []
        for entry in lists[name]:
            copies.append(lines.replace(name.upper(), entry))
        return "".join(copies)

    def insert_lines(marker: re.Match[str]) -> str:
        return textwrap.indent(texts[marker["name"]], marker["indent"])

    def set_value(sample: re.Match[str]) -> str:
        value = values[sample["name"]]
        return sample["key"] + value

    text = _NOTE.sub("", template)
    text = _OPTIONAL.sub(keep_lines, text)
    text = _REPEATED.sub(repeat_lines, text)
    text = _SAMPLE.sub(set_value, text)
    return _LINES.sub(insert_lines, text)
