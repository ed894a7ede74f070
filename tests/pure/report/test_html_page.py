"""HTML page of builds."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from stagebake.project.settings import BUDGETS
from stagebake.report.html_page import render_page
from stagebake.report.report_file import parse_report
from tests.support.example_reports import START, make_report

VOID = {"meta", "link", "br"}


class TagChecker(HTMLParser):
    """Check that each element is closed, and collect attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def check_page(*reports: str) -> TagChecker:
    checker = TagChecker()
    checker.feed(render_page([parse_report(report) for report in reports], BUDGETS))
    assert checker.open == []
    return checker


def test_render_page_shows_stages_reasons_and_warnings_as_text() -> None:
    """Show what contains marks as it is: a file name cannot add an element."""
    page = check_page(make_report())
    assert "app/<page>.tsx" in page.text
    assert "a warning <with> marks" in page.text
    assert {"2.4 GB", "34.0 MB", "0.35.1"} <= set(re.findall(r"[\d.]+ GB|[\d.]+ MB|0\.35\.1", page.text))


def test_render_page_places_each_step_in_the_time_of_the_build() -> None:
    page = check_page(make_report(code=13.0))
    places = [value for name, value in page.attributes if name == "style"]
    assert places == [
        "left:0.00%;width:20.00%",
        "left:20.00%;width:5.00%",
        "left:25.00%;width:65.00%",
        "left:90.00%;width:10.00%",
    ]


def test_render_page_of_one_build_has_no_trend() -> None:
    assert "The last" not in check_page(make_report()).text


def test_render_page_of_several_builds_shows_the_newest_and_their_trend() -> None:
    page = check_page(*(make_report(start=START + 1000 * number, code=10.0 * number) for number in range(1, 4)))
    assert "The last 3 builds" in page.text
    widths = [value for name, value in page.attributes if name == "style" and value and value.startswith("width")]
    assert len(widths) == 6
    assert "width:92.50%" in widths


def test_render_page_without_any_step_has_no_timeline() -> None:
    page = check_page(make_report(stages=[]))
    assert "Timeline" not in page.text
    assert "no step ran" in page.text


def test_render_page_requests_nothing_and_runs_nothing() -> None:
    text = render_page([parse_report(make_report())], BUDGETS)
    assert "<script" not in text
    assert not re.findall(r"(?:src|href)=\"(?!data:,)", text)
    assert "url(" not in text
    assert "default-src 'none'" in text
