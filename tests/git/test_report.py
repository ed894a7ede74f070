"""Test the page that `stagebake report` writes."""

from __future__ import annotations

import pytest

from tests.git.conftest import CreateRepository
from tests.support.example_reports import START, make_report
from tests.support.repository import Repository


@pytest.fixture
def repository(create_repository: CreateRepository) -> Repository:
    """Return a repository with two reports and a budget of its own."""
    made = create_repository({"Dockerfile": "FROM debian AS app\n", "stagebake.toml": "[budgets]\ncode = 4\n"})
    made.checkout()
    made.write_file("new.json", make_report(start=START + 60, image="ghcr.io/acme/shop:new"))
    made.write_file("old.json", make_report(image="ghcr.io/acme/shop:old"))
    return made


def test_report_shows_the_newest_build_first_and_the_budgets(repository: Repository) -> None:
    answer = repository.stagebake("report", "new.json", "old.json", "--html=page.html")
    assert answer.returncode == 0, answer.stderr
    page = (repository.folder / "page.html").read_text(encoding="utf-8")
    assert "<h1>ghcr.io/acme/shop:new</h1>" in page
    assert "The last 2 builds" in page
    assert "code 4 min" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Dockerfile", "--html=page.html"), "error: Dockerfile:1: not a report of a build"),
        (("missing.json", "--html=page.html"), "error: missing.json"),
        (("new.json", "--html=."), "error: "),
    ],
)
def test_report_of_something_else_is_an_error(repository: Repository, arguments: tuple[str, ...], message: str) -> None:
    answer = repository.stagebake("report", *arguments)
    assert answer.returncode == 2, answer.stderr
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr
