"""Chart of a forecast."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree

import pytest

from stagebake.forecast.chart import draw_chart
from tests.pure.forecast.states import STRATEGY_NAMES, create_forecast


@pytest.mark.parametrize("seconds", [(60.0, 5.0, 700.0), (0.0,), (0.0, 0.0)])
def test_draw_chart_ends_lines_at_totals_and_separates_labels(seconds: tuple[float, ...]) -> None:
    root = ElementTree.fromstring(draw_chart(create_forecast(*seconds)))  # noqa: S314
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert [len(line.attrib["points"].split()) for line in lines] == [len(seconds) + 1] * len(STRATEGY_NAMES)
    labels = {text.text: float(text.attrib["y"]) for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert f"stagebake: {sum(seconds) / 60:,.0f} min" in labels
    places = sorted(y for text, y in labels.items() if text and " min" in text and ":" in text)
    assert all(after - before >= 15 for before, after in itertools.pairwise(places))
