"""Test the pure parts of the full-size benchmark: content, Dockerfiles, and how results are kept and shown."""

from __future__ import annotations

import io
import itertools
import tarfile
import zlib
from collections.abc import Callable, Iterator
from xml.etree import ElementTree

import pytest

from benchmarks.full.measure import Cell
from benchmarks.full.picture import draw_picture
from benchmarks.full.project_files import DOCKERFILES, render_application
from benchmarks.full.scenarios import SCENARIOS
from benchmarks.full.sizes import ImageSizes, make_archive, make_binary, make_text
from benchmarks.full.strategies import STRATEGIES
from benchmarks.full.tables import Results, read_results, render_tables, write_results
from stagebake.dockerfile.stages import parse_dockerfile

SIZES = ImageSizes(scale=0.001, work=0)
CONDITIONS = "scale 0.1, registries on the same machine"


@pytest.mark.parametrize(("make_content", "ratio"), [(make_binary, 0.66), (make_text, 0.3)])
def test_content_has_its_size_and_compresses_as_real_content(
    make_content: Callable[[str, float], Iterator[bytes]], ratio: float
) -> None:
    content = b"".join(make_content("key", 1.5))
    assert len(content) == pytest.approx(1_500_000, rel=0.05)
    assert len(zlib.compress(content)) / len(content) == pytest.approx(ratio, abs=0.03)
    assert content[:1000] == next(make_content("key", 1.5))[:1000]
    assert content[:1000] != next(make_content("other", 9.5))[:1000]


def test_make_archive_splits_content_into_members_of_one_size() -> None:
    archive = b"".join(make_archive([b"a" * 700, b"b" * 700], 512))
    with tarfile.open(fileobj=io.BytesIO(archive + bytes(1024))) as content:
        assert [member.size for member in content] == [512, 512]
    assert len(archive) == 2 * (512 + 512)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfiles_have_the_five_stages(name: str) -> None:
    graph = parse_dockerfile(DOCKERFILES[name](SIZES))
    assert graph.names == ("base", "python-deps", "node-deps", "builder", "runtime")
    assert (graph["node-deps"].base == "base") is (name != "slim")


def test_scenarios_change_files_that_the_application_has() -> None:
    application = render_application(SIZES)
    for scenario in SCENARIOS.values():
        for name, text in scenario.files(SIZES).items():
            assert application[name] != text.encode()


def test_results_are_read_as_they_were_written() -> None:
    results = make_results()
    assert read_results(write_results(results, CONDITIONS), CONDITIONS) == results


def test_results_of_other_conditions_are_refused() -> None:
    text = write_results(make_results(), CONDITIONS)
    with pytest.raises(ValueError, match=r"measured with scale 0\.1, .* not with scale 1"):
        read_results(text, "scale 1")


def test_table_and_picture_show_every_push() -> None:
    results = make_results()
    rows = [line for line in render_tables(results).splitlines() if line.startswith("| ")]
    assert len(rows) == len(results) + len(DOCKERFILES)
    assert "| code | stagebake | 1.5 s | 2.5 s | 3 | 4.0 MB | 5,000.0 MB | 6 MB |" in rows
    drawing = ElementTree.fromstring(draw_picture(results, CONDITIONS))  # noqa: S314 (our own text)
    bars = [element for element in drawing if element.get("fill-opacity")]
    assert len(bars) == len(results)


def make_results() -> Results:
    """Return a result for each push."""
    cell = Cell(
        image_seconds=1.5, seconds=2.5, steps={"builder": 2, "runtime": 1}, pulled=4_000_000, pushed=5_000_000_000,
        written=6_000_000,
    )  # fmt: skip
    return dict.fromkeys(itertools.product(DOCKERFILES, SCENARIOS, STRATEGIES), cell)
