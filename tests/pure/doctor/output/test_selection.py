"""Choose findings by settings, flags and comments in the Dockerfile."""

from __future__ import annotations

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.doctor.finding import Finding
from stagebake.doctor.output.selection import RuleChoice, choose_rules, read_ignore_comments, silence_findings
from stagebake.errors import InputError

TEXT = """\
FROM a AS b
# stagebake: ignore=cache-mount,secret the registry is next door

# another comment
RUN x
RUN <<EOF
# stagebake:ignore=apt-update
y
EOF
"""


def finding(rule: str, line: int = 1) -> Finding:
    return Finding(rule=rule, path="Dockerfile", line=line, problem="the problem")


@pytest.mark.parametrize(
    ("choice", "reported"),
    [
        (RuleChoice(), {"secret", "copy-link", "UndefinedVar"}),
        (RuleChoice(select=("all",)), {"secret", "copy-link", "UndefinedVar"}),
        (RuleChoice(select=("secret", "UndefinedVar")), {"secret", "UndefinedVar"}),
        (RuleChoice(select=("secret", "copy-link"), ignore=("secret",)), {"copy-link"}),
        (RuleChoice(ignore=("copy-link", "UndefinedVar")), {"secret"}),
    ],
)
def test_rule_choice_reports_selected_rules_without_ignored_ones(choice: RuleChoice, reported: set[str]) -> None:
    findings = [finding(rule) for rule in ("secret", "copy-link", "UndefinedVar")]
    assert {each.rule for each in findings if choice.is_reported(each)} == reported


@pytest.mark.parametrize(
    ("fail_on", "fails"), [((), False), (("secret",), False), (("secret", "copy-link"), True), (("all",), True)]
)
def test_rule_choice_fails_on_named_rules_and_all(fail_on: tuple[str, ...], fails: bool) -> None:
    choice = RuleChoice(fail_on=fail_on)
    assert choice.fails_on([finding("copy-link")]) is fails
    assert not choice.fails_on([])


@pytest.mark.parametrize("place", ["select", "ignore", "fail_on"])
def test_choose_rules_unknown_name_is_refused(place: str) -> None:
    lists: dict[str, tuple[str, ...]] = {"select": (), "ignore": (), "fail_on": (), place: ("copy-lnk",)}
    with pytest.raises(InputError) as refused:
        choose_rules("pyproject.toml:7", **lists)
    assert refused.value.problem == "pyproject.toml:7: unknown rule `copy-lnk`"
    assert refused.value.hint.startswith("did you mean `copy-link`? ")


def test_read_ignore_comments_above_and_within_an_instruction() -> None:
    above, within = read_ignore_comments(TEXT, parse_dockerfile(TEXT))
    assert (above.target, above.rules, above.reason) == (5, ("cache-mount", "secret"), "the registry is next door")
    assert (within.line, within.target, within.rules, within.reason) == (7, 6, ("apt-update",), "")


def test_read_ignore_comments_unknown_rule_is_refused_with_its_line() -> None:
    text = "# stagebake: ignore=cash-mount x\nFROM a\n"
    with pytest.raises(InputError, match="Dockerfile:1: unknown rule `cash-mount`"):
        read_ignore_comments(text, parse_dockerfile(text))


@pytest.mark.parametrize(
    "comment", ["# stagebake ignores this", "# stagebake: ignore", "RUN # stagebake: ignore=secret"]
)
def test_read_ignore_comments_other_text_is_none(comment: str) -> None:
    text = f"FROM a\n{comment}\nRUN x\n"
    assert read_ignore_comments(text, parse_dockerfile(text)) == ()


def test_silence_findings_drops_the_named_rules_of_the_instruction() -> None:
    comments = read_ignore_comments(TEXT, parse_dockerfile(TEXT))
    findings = (finding("cache-mount", 5), finding("copy-link", 5), finding("cache-mount", 6), finding("apt-update", 6))
    kept, notes = silence_findings(findings, comments, "Dockerfile")
    assert kept == (finding("copy-link", 5), finding("cache-mount", 6))
    assert notes == ("Dockerfile:7: this comment gives no reason; write one after the name of the rule",)


def test_silence_findings_comment_without_effect_is_noted() -> None:
    comments = read_ignore_comments(TEXT, parse_dockerfile(TEXT))
    kept, notes = silence_findings((finding("apt-update", 6),), comments, "Dockerfile")
    assert kept == ()
    assert "Dockerfile:2: this comment ignores nothing; remove it" in notes
