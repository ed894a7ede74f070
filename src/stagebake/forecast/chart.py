"""Draw a forecast as an SVG chart: the sum of runner minutes over the pushes, one line per caching strategy. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from xml.sax.saxutils import escape

from stagebake.forecast.strategies import STRATEGIES, Forecast

_WIDTH = 860
_HEIGHT = 420
_LEFT = 70
_RIGHT = _WIDTH - 250
_TOP = 50
_BOTTOM = _HEIGHT - 50
_GRID_STEPS = 4
_LABEL_GAP = 19.0

# Okabe and Ito: people with colour blindness can distinguish these, too
_COLOURS = ("#999999", "#d55e00", "#0072b2", "#009e73")
_TITLE_COLOUR = "#222222"
_TEXT_COLOUR = "#555555"
_GRID_COLOUR = "#dddddd"

_OPENING = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">'
_BACKGROUND = f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>'


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """Scale of the axes: the number of points of a line, and the highest value."""

    points: int
    minutes: float

    def place_point(self, position: int) -> float:
        """Return the x coordinate of a line's point."""
        share = position / max(self.points - 1, 1)
        return _LEFT + (_RIGHT - _LEFT) * share

    def place_minutes(self, minutes: float) -> float:
        """Return the y coordinate of a value."""
        share = minutes / self.minutes
        return _BOTTOM - (_BOTTOM - _TOP) * share


def draw_chart(forecast: Forecast) -> str:
    """Return a complete SVG file without scripts and without fonts to load."""
    names = [strategy.name for strategy in STRATEGIES]
    lines = [_sum_minutes(forecast, name) for name in names]
    totals = [line[-1] for line in lines]
    scale = _Scale(
        points=len(lines[0]),
        minutes=max(totals) or 1.0,
    )
    labels = _place_labels(totals, scale)
    parts = [
        _OPENING,
        _BACKGROUND,
        _draw_title(len(forecast.pushes)),
        *_draw_grid(scale),
        _draw_text("oldest push", _LEFT, _HEIGHT - 16),
        _draw_text("newest", _RIGHT, _HEIGHT - 16, anchor="end"),
    ]
    for name, line, colour, y in zip(names, lines, _COLOURS, labels, strict=True):
        label = f"{name}: {line[-1]:,.0f} min"
        parts.append(_draw_line(line, scale, colour))
        parts.append(_draw_text(label, _RIGHT + 10, y, colour=colour, weight="bold"))
    parts += ["</svg>", ""]
    return "\n".join(parts)


def _draw_title(pushes: int) -> str:
    title = f"Runner minutes over the last {pushes} pushes (computed)"
    return _draw_text(
        title,
        _LEFT,
        26,
        colour=_TITLE_COLOUR,
        size=16,
    )


def _sum_minutes(forecast: Forecast, strategy: str) -> list[float]:
    """Return the minutes up to each push, starting with 0."""
    minutes = [push.seconds[strategy] / 60 for push in forecast.pushes]
    return [0.0, *accumulate(minutes)]


def _draw_grid(scale: _Scale) -> list[str]:
    decimals = 0 if scale.minutes >= 20 else 1
    parts: list[str] = []
    for step in range(_GRID_STEPS + 1):
        share = step / _GRID_STEPS
        minutes = scale.minutes * share
        y = scale.place_minutes(minutes)
        label = f"{minutes:,.{decimals}f}"
        parts.append(_draw_grid_line(f"{y:.1f}"))
        parts.append(_draw_text(label, _LEFT - 8, y + 4, anchor="end"))
    return parts


def _draw_grid_line(y: str) -> str:
    return f'<line x1="{_LEFT}" y1="{y}" x2="{_RIGHT}" y2="{y}" stroke="{_GRID_COLOUR}"/>'


def _draw_line(line: list[float], scale: _Scale, colour: str) -> str:
    points: list[str] = []
    for position, minutes in enumerate(line):
        x = scale.place_point(position)
        y = scale.place_minutes(minutes)
        points.append(f"{x:.1f},{y:.1f}")
    path = " ".join(points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>'


def _place_labels(totals: list[float], scale: _Scale) -> list[float]:
    """Return a y coordinate for the label of each line: near the line's end, and at a distance from other labels."""
    places = [0.0] * len(totals)
    lowest = _BOTTOM + 4.0
    lowest_first = sorted(
        range(len(totals)),
        key=lambda number: totals[number],
    )
    for number in lowest_first:
        end = scale.place_minutes(totals[number])
        places[number] = min(end + 4, lowest)
        lowest = places[number] - _LABEL_GAP
    return places


def _draw_text(
    text: str,
    x: float,
    y: float,
    *,
    colour: str = _TEXT_COLOUR,
    anchor: str = "start",
    size: int = 13,
    weight: str = "normal",
) -> str:
    attributes: Mapping[str, object] = {
        "x": f"{x:.1f}",
        "y": f"{y:.1f}",
        "fill": colour,
        "text-anchor": anchor,
        "font-size": size,
        "font-weight": weight,
    }
    written = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    return f"<text {written}>{escape(text)}</text>"
