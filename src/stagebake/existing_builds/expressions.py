"""Replace the parts of a value that are known before a workflow runs. Pure.

GitHub writes them as `${{ … }}` (docs.github.com, "Evaluate expressions in workflows and actions"), a shell as `$NAME`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_EXPRESSION = re.compile(r"\$\{\{\s*(?P<path>[\w.-]+)\s*\}\}")
_ANY_EXPRESSION = re.compile(r"\$\{\{.*?\}\}", re.DOTALL)
_SECRET = re.compile(r"\$\{\{\s*secrets\.(?P<name>\w+)\s*\}\}")
_SHELL_NAME = re.compile(r"\$(?:\{(?P<braced>\w+)\}|(?P<bare>[A-Za-z_]\w*))")

# A variable may contain another one, and that one a third
_MOST_STEPS = 5

# Variables of GitHub Actions whose values are expressions, too
_GITHUB_VARIABLES = {
    "GITHUB_SHA": "${{ github.sha }}",
    "GITHUB_REF_NAME": "${{ github.ref_name }}",
    "GITHUB_RUN_ID": "${{ github.run_id }}",
    "GITHUB_RUN_NUMBER": "${{ github.run_number }}",
    "GITHUB_ACTOR": "${{ github.actor }}",
    "GITHUB_REPOSITORY": "${{ github.repository }}",
    "GITHUB_REPOSITORY_OWNER": "${{ github.repository_owner }}",
}


@dataclass(frozen=True, kw_only=True)
class KnownValues:
    """Values that are known before a run: the variables of `env`, and the repository as OWNER/NAME if any."""

    env: Mapping[str, str] = field(default_factory=dict)
    repository: str | None = None

    def replace_known(self, text: str) -> str:
        """Return the text with known expressions replaced; unknown ones stay."""
        for _ in range(_MOST_STEPS):
            replaced = _EXPRESSION.sub(self._replace_expression, text)
            if replaced == text:
                break
            text = replaced
        return text

    def replace_shell(self, text: str) -> str:
        """Return an argument of a shell command with known variables replaced; unknown ones stay as `$NAME`."""
        return self.replace_known(_SHELL_NAME.sub(self._replace_variable, text))

    def _replace_variable(self, found: re.Match[str]) -> str:
        name = found["braced"] or found["bare"]
        return self.env.get(name) or _GITHUB_VARIABLES.get(name) or found[0]

    def _replace_expression(self, found: re.Match[str]) -> str:
        path = found["path"]
        if path.startswith("env."):
            return self.env.get(path.removeprefix("env."), found[0])
        if self.repository is None:
            return found[0]
        owner, _, name = self.repository.partition("/")
        repository = {
            "github.repository": self.repository,
            "github.repository_owner": owner,
            "github.event.repository.name": name,
        }
        return repository.get(path, found[0])


def has_expression(text: str) -> bool:
    """Return True where a part of the text is known only when the workflow runs."""
    return bool(_ANY_EXPRESSION.search(text))


def has_shell_variable(text: str) -> bool:
    """Return True where the text has a variable or a command substitution of a shell."""
    without = _ANY_EXPRESSION.sub("", text)
    return bool(_SHELL_NAME.search(without)) or any(word in without for word in ("${", "$(", "`"))


def secret_name(text: str) -> str | None:
    """Return the name of the secret that the text consists of, None for any other text."""
    found = _SECRET.fullmatch(text.strip())
    return found["name"] if found else None


def has_secret(text: str) -> bool:
    """Return True where the text contains the value of a secret."""
    return bool(re.search(r"\$\{\{(?:(?!\}\}).)*\bsecrets\.", text))
