"""Names of the rules, and the sentence of each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stagebake.doctor.output.rule_summaries import RULE_SUMMARIES, refuse_unknown_rules
from stagebake.errors import InputError

PAGE = Path(__file__).parents[4] / "docs/doctor.md"


def test_rule_summaries_have_the_rules_of_the_page() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("\n## Rules\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE)
    assert set(listed) == RULE_SUMMARIES.keys()


def test_rule_summaries_are_sentences_without_a_full_stop() -> None:
    assert all(summary[0].isupper() and not summary.endswith(".") for summary in RULE_SUMMARIES.values())


def test_refuse_unknown_rules_knows_rules_and_build_checks() -> None:
    refuse_unknown_rules(["secret", "StageNameCasing"], "flags")
    with pytest.raises(InputError, match="flags: unknown rule `stagenamecasing`"):
        refuse_unknown_rules(["stagenamecasing"], "flags")
