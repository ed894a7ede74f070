"""A forecast as a picture: minutes of the runner, summed up over the pushes, a line for each way of caching. Pure."""

from __future__ import annotations

from itertools import accumulate
from xml.sax.saxutils import escape

from stagebake.forecast.strategies import STRATEGIES, Forecast

_WIDTH, _HEIGHT = 860, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 250, 50, 50
# Okabe and Ito: told apart by people who are colour-blind too
_COLOURS = ("#999999", "#d55e00", "#0072b2", "#009e73")
_LABEL_GAP = 19.0


def draw_chart(forecast: Forecast) -> str:
    """An SVG of its own, without scripts and fonts of others."""
    lines = [[0.0, *accumulate(push.seconds[way.name] / 60 for push in forecast.pushes)] for way in STRATEGIES]
    highest = max(max(line) for line in lines) or 1.0
    places = _apart([_y(line[-1], highest) for line in lines])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        _text(_LEFT, 26, f"Runner minutes over the last {len(forecast.pushes)} pushes (computed)", "#222222", size=16),
        *_scale(highest),
        _text(_LEFT, _HEIGHT - 16, "oldest push", "#555555"),
        _text(_WIDTH - _RIGHT, _HEIGHT - 16, "newest", "#555555", anchor="end"),
    ]
    for way, line, colour, place in zip(STRATEGIES, lines, _COLOURS, places, strict=True):
        points = " ".join(f"{_x(at, len(line)):.1f},{_y(minutes, highest):.1f}" for at, minutes in enumerate(line))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts.append(_text(_WIDTH - _RIGHT + 10, place, f"{way.name}: {line[-1]:,.0f} min", colour, weight="bold"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _scale(highest: float) -> list[str]:
    parts = []
    for step in range(5):
        minutes = highest * step / 4
        y = _y(minutes, highest)
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(_text(_LEFT - 8, y + 4, f"{minutes:,.{0 if highest >= 20 else 1}f}", "#555555", anchor="end"))
    return parts


def _x(at: int, count: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * at / max(count - 1, 1)


def _y(minutes: float, highest: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * minutes / highest


def _apart(wanted: list[float]) -> list[float]:
    """Places for the labels, each near its line's end and none on another."""
    placed: dict[int, float] = {}
    limit = _HEIGHT - _BOTTOM + 4.0
    for at in sorted(range(len(wanted)), key=lambda at: -wanted[at]):
        placed[at] = min(wanted[at] + 4, limit)
        limit = placed[at] - _LABEL_GAP
    return [placed[at] for at in range(len(wanted))]


def _text(
    x: float, y: float, text: str, colour: str, *, anchor: str = "start", size: int = 13, weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" font-size="{size}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )
