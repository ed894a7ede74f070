"""Reports that `build --report` wrote."""

from __future__ import annotations

import json

import pytest

from stagebake.report.report_file import InvalidReport, parse_report
from tests.support.example_reports import START, make_report


def test_parse_report_reads_stages_times_and_bytes() -> None:
    report = parse_report(make_report(code=10.0))
    assert report.rebuilt == ("builder", "runtime")
    assert (report.started, report.finished) == (START, START + 17)
    assert (report.ship, report.save, report.pulled, report.pushed) == (17.0, 3.0, 2_400_000_000, 34_000_000)
    assert report.stages[2].reasons == ("file changed: `app/<page>.tsx` +1 line",)
    assert [stage.saved for stage in report.stages] == [None, None, True, False, None]


def test_parse_report_of_an_older_version_leaves_missing_fields_empty() -> None:
    document = json.loads(make_report())
    for stage in document["stages"]:
        del stage["bytes"]
        for step in stage["steps"]:
            del step["intervals"]
    del document["versions"], document["bytes"], document["warnings"]
    report = parse_report(json.dumps(document))
    assert (report.started, report.finished, report.buildkit, report.pulled) == (None, None, "", 0)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"stages": [{}], "image": 1, "seconds": {}}'])
def test_parse_report_of_anything_else_raises(text: str) -> None:
    with pytest.raises(InvalidReport):
        parse_report(text)
