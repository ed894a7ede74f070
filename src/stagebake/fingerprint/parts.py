"""Make the parts of a fingerprint from instructions, files and other stages."""

from __future__ import annotations

import hashlib

from stagebake.context.entries import ContextEntry
from stagebake.dockerfile.parser import Instruction
from stagebake.dockerfile.variables import redact_credentials
from stagebake.fingerprint.model import Fingerprint, Part

_MAX_NAME = 72


def instruction_part(instruction: Instruction, value: object) -> Part:
    """Return the part of an instruction; `value` is what it says after expansion, compared by its repr."""
    text = repr((instruction.keyword, instruction.json, value))
    content = text.encode("utf-8", "surrogateescape")
    return Part(
        kind="instruction",
        name=_short_text(instruction),
        value=f"sha256:{hashlib.sha256(content).hexdigest()}",
        line=instruction.line,
    )


def stage_part(parent: Fingerprint, line: int) -> Part:
    """Return the part of a stage that an instruction takes from; unknown if anything in that stage is."""
    if parent.unknown:
        names = ", ".join(part.name for part in parent.unknown)
        return Part("unknown", parent.stage, names, line)
    return Part(
        kind="stage",
        name=parent.stage,
        value=parent.digest,
        line=line,
    )


def file_part(path: str, entry: ContextEntry, line: int) -> Part:
    """Return the part of a file, link or folder of the build context."""
    if not entry.digest:
        return Part("unknown", path, "it cannot be read", line)
    return Part(
        kind="file",
        name=path,
        value=entry.digest,
        line=line,
        mode=entry.mode,
        size=entry.size,
        lines=entry.lines,
    )


def unknown_part(name: str, reason: str, line: int) -> Part:
    """Return a part of unknown value. The name may be text of the Dockerfile: credentials in it are removed."""
    return Part("unknown", redact_credentials(name), reason, line)


def _short_text(instruction: Instruction) -> str:
    """Return the text of an instruction for people, without the flags of a RUN."""
    _, *words = instruction.text.split()
    if instruction.keyword == "RUN":
        words = words[len(instruction.flags) :]
    text = " ".join([instruction.keyword, *words])
    text = redact_credentials(text)
    if len(text) <= _MAX_NAME:
        return text
    return f"{text[: _MAX_NAME - 1]}…"
