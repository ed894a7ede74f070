"""Draw measured pushes as an SVG chart: a column for each Dockerfile, a bar for each push. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks.full.measure import Cell
from benchmarks.full.scenarios import SCENARIOS
from benchmarks.full.strategies import STRATEGIES
from benchmarks.full.tables import Results

# Okabe and Ito: people with colour blindness can distinguish these, too
_COLOURS = {
    "none": "#999999",
    "inline": "#d55e00",
    "max": "#0072b2",
    "gha": "#cc79a7",
    "stagebake": "#009e73",
    "zstd": "#56b4e9",
}
_TITLES = {
    "as-it-is": "Dockerfile as it is",
    "mended": "mended: linked copies, no step after them",
    "slim": "mended, web stages on a small image",
}
_LEGEND = "Full colour: until the image is in the registry. Pale: until the caches are. Down: pulled, up: pushed."
_TEXT_COLOUR = "#333333"
_LEFT = 150
_COLUMN = 330
_BAR = 140  # of the longest push; the rest of a column is for its label
_ROW = 16
_GAP = 26
_TOP = 78


@dataclass(frozen=True)
class _Layout:
    """Names of what is drawn, in order; a group of rows for each scenario, with a row for each strategy."""

    dockerfiles: list[str]
    scenarios: list[str]
    strategies: list[str]

    @property
    def width(self) -> int:
        return _LEFT + len(self.dockerfiles) * _COLUMN

    @property
    def height(self) -> int:
        return self.group_top(len(self.scenarios)) + 10

    def group_top(self, scenario: int) -> int:
        """Return the y coordinate of a scenario's heading."""
        return _TOP + scenario * (len(self.strategies) * _ROW + _GAP)

    def row_top(self, scenario: int, strategy: int) -> int:
        """Return the y coordinate of a bar."""
        return self.group_top(scenario) + _GAP - 8 + strategy * _ROW


def draw_picture(results: Results, conditions: str) -> str:
    """Return a complete SVG file without scripts and without fonts to load."""
    dockerfiles, scenarios, strategies = ({key[part] for key in results} for part in range(3))
    layout = _Layout(
        dockerfiles=[name for name in _TITLES if name in dockerfiles],
        scenarios=[name for name in SCENARIOS if name in scenarios],
        strategies=[name for name in STRATEGIES if name in strategies],
    )
    size = f"{layout.width} {layout.height}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" font-family="sans-serif">',
        f'<rect width="{layout.width}" height="{layout.height}" fill="#ffffff"/>',
        _draw_text(f"Seconds of a push (measured; {conditions})", 12, 24, size=16),
        _draw_text(_LEGEND, 12, 42),
        *_draw_headings(layout),
        *_draw_pushes(layout, results),
    ]
    return "\n".join([*parts, "</svg>", ""])


def _draw_headings(layout: _Layout) -> Iterator[str]:
    """Yield the names of the columns, the groups and the rows."""
    for column, dockerfile in enumerate(layout.dockerfiles):
        yield _draw_text(_TITLES[dockerfile], _LEFT + column * _COLUMN, _TOP - 8, weight="bold")
    for group, scenario in enumerate(layout.scenarios):
        yield _draw_text(_plain(SCENARIOS[scenario].title), 12, layout.group_top(group) + 14, weight="bold")
        for row, strategy in enumerate(layout.strategies):
            yield _draw_text(
                _plain(STRATEGIES[strategy].title), _LEFT - 8, layout.row_top(group, row) + 10, anchor="end"
            )


def _draw_pushes(layout: _Layout, results: Results) -> Iterator[str]:
    longest = max((cell.seconds for cell in results.values()), default=1.0)
    for (dockerfile, scenario, strategy), cell in results.items():
        x = _LEFT + layout.dockerfiles.index(dockerfile) * _COLUMN
        y = layout.row_top(layout.scenarios.index(scenario), layout.strategies.index(strategy))
        yield from _draw_push(cell, x, y, _BAR / longest, _COLOURS[strategy])


def _draw_push(cell: Cell, x: float, y: float, pixels_per_second: float, colour: str) -> list[str]:
    """Return the bar of a push and its label: the seconds to the end, and the bytes."""
    image, whole = cell.image_seconds * pixels_per_second, cell.seconds * pixels_per_second
    label = f"{cell.seconds:,.1f} s, {cell.pulled / 1e6:,.0f} MB down, {cell.pushed / 1e6:,.0f} up"
    return [
        f'<rect x="{x}" y="{y}" width="{whole:.1f}" height="{_ROW - 4}" fill="{colour}" fill-opacity="0.35"/>',
        f'<rect x="{x}" y="{y}" width="{image:.1f}" height="{_ROW - 4}" fill="{colour}"/>',
        _draw_text(label, x + whole + 5, y + 10, size=10),
    ]


def _draw_text(text: str, x: float, y: float, *, size: int = 12, anchor: str = "start", weight: str = "normal") -> str:
    attributes = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text {attributes} fill="{_TEXT_COLOUR}">{escape(text)}</text>'


def _plain(title: str) -> str:
    """Return a title without the marks of Markdown."""
    return title.replace("`", "")
