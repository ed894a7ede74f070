"""Chart of a forecast."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree

import pytest

from stagebake.forecast.chart import draw_chart
from tests.pure.forecast.states import STRATEGY_NAMES, create_forecast

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("seconds", [(60.0, 5.0, 700.0), (0.0,), (0.0, 0.0)])
def test_draw_chart_ends_lines_at_totals_and_separates_labels(seconds: tuple[float, ...]) -> None:
    chart = draw_chart(create_forecast(*seconds))
    root = ElementTree.fromstring(chart)  # noqa: S314
    lines = root.findall(f"{SVG}polyline")
    assert len(lines) == len(STRATEGY_NAMES)
    for line in lines:
        points = line.attrib["points"].split()
        assert len(points) == len(seconds) + 1

    places: dict[str, float] = {}
    for element in root.iter(f"{SVG}text"):
        text = str(element.text)
        if ": " in text and text.endswith(" min"):
            places[text] = float(element.attrib["y"])
    total = sum(seconds) / 60
    assert f"stagebake: {total:,.0f} min" in places
    assert len(places) == len(STRATEGY_NAMES)
    for upper, lower in itertools.pairwise(sorted(places.values())):
        assert lower - upper >= 15
