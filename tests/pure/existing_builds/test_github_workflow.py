"""Jobs and steps of a workflow."""

from __future__ import annotations

from stagebake.existing_builds.github_workflow import parse_workflow

TEXT = """\
env:
  A: workflow
  B: workflow
jobs:
  build:
    env: {B: job}
    steps:
      - name: One
        id: one
        uses: Acme/Action@v1
        with:
          key: value
        env:
          C: step
      # about two

      -   run: echo two
"""
WORKFLOW = parse_workflow("w.yml", TEXT)
JOB = WORKFLOW.jobs[0]


def test_parse_workflow_reads_jobs_and_steps_with_their_lines() -> None:
    assert (JOB.name, JOB.line) == ("build", 5)
    assert [(step.line, step.action, step.script, step.id) for step in JOB.steps] == [
        (8, "acme/action", "", "one"),
        (17, "", "echo two", ""),
    ]
    assert JOB.steps[0].find_input("key").text == "value"


def test_read_env_gives_the_innermost_value() -> None:
    assert WORKFLOW.read_env(JOB, JOB.steps[0]) == {"A": "workflow", "B": "job", "C": "step"}
    assert WORKFLOW.read_env(JOB) == {"A": "workflow", "B": "job"}


def test_step_source_is_its_text_without_indentation_and_without_the_comment_after_it() -> None:
    first = JOB.steps[0].source
    assert first.startswith("- name: One\n  id: one\n")
    assert first.endswith("    C: step\n")
    assert JOB.steps[1].source == "-   run: echo two\n"


def test_source_of_a_node_is_its_lines() -> None:
    assert WORKFLOW.source_of(WORKFLOW.node.find_field("env")) == "A: workflow\nB: workflow\n"


def test_parse_workflow_of_an_empty_file_has_no_job() -> None:
    assert parse_workflow("w.yml", "").jobs == ()
