"""What each way of caching costs over a row of pushes, and how it is told."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.explain.ledger import Ledger, LedgerEntry
from stagebake.explain.stage_times import ledger_stage_times
from stagebake.fingerprint.context import git_blob_id
from stagebake.fingerprint.model import BuildInputs, ContextEntry, Fingerprint, ImageInfo
from stagebake.fingerprint.stage_inputs import fingerprint_stages
from stagebake.forecast.chart import draw_chart
from stagebake.forecast.strategies import (
    CommitState,
    Forecast,
    PushForecast,
    build_seconds,
    forecast_json,
    forecast_rows,
    forecast_table,
    replay_pushes,
    stages_run_inline,
)
from stagebake.project.settings import BUDGETS
from tests.support.shapes import FIVE, STAGES

SECONDS = {"base": 100.0, "python-deps": 600.0, "node-deps": 200.0, "builder": 150.0, "runtime": 50.0}
WAYS = ("no cache", "type=inline, last image", "one mode=max ref", "stagebake")


@dataclass(frozen=True)
class Texts:
    """A build context of texts."""

    files: Mapping[str, str]
    rules: str = ""
    rules_name: str = ""
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def paths(self) -> list[str]:
        folders = {path.rpartition("/")[0] for path in self.files} - {""}
        return sorted({*self.files, *folders})

    def read_entries(self, paths: object) -> Mapping[str, ContextEntry]:
        return {
            path: ContextEntry(git_blob_id(self.files[path].encode()), 0o644)
            if path in self.files
            else ContextEntry("folder", 0o755)
            for path in self.paths
        }


def state(files: Mapping[str, str], **changes: str) -> CommitState:
    """A commit; `changes` are files by their names with `_` for what no name of Python may have."""
    known = {name.replace(".", "_").replace("/", "_").replace("-", "_"): name for name in files}
    whole = {**files, **{known[name]: text for name, text in changes.items()}}
    graph = parse_dockerfile(whole["Dockerfile"])
    image = ImageInfo(digest="sha256:0", env={}, triggers=())
    inputs = BuildInputs(context=Texts(whole), images={use.name: image for s in graph.stages for use in s.images})
    return CommitState(commit="c", graph=graph, prints=fingerprint_stages(graph, inputs))


def ran(*states: CommitState) -> list[dict[str, set[str]]]:
    """Of each push, by way of caching, what runs."""
    return [{way: set(stages) for way, stages in p.ran.items()} for p in replay_pushes(states, SECONDS)]


def test_the_first_push_finds_nothing() -> None:
    """Whatever the way of caching, the first push runs every stage that is needed."""
    (first,) = ran(state(FIVE))
    assert first == {key: set(STAGES) for key in WAYS}


def test_nothing_changed() -> None:
    """Every cache restores all of it, also where a file changed that no stage takes."""
    last = ran(state(FIVE), state({**FIVE, "notes.md": "x"}))[-1]
    assert last == {"no cache": set(STAGES), **{way: set() for way in WAYS[1:]}}


def test_a_change_of_code() -> None:
    """Inline has no layers of node-deps, so it runs for the builder; python-deps comes before the change."""
    last = ran(state(FIVE), state(FIVE, src_page_ts="2"))[-1]
    assert last["type=inline, last image"] == {"node-deps", "builder", "runtime"}
    assert last["one mode=max ref"] == last["stagebake"] == {"builder", "runtime"}


def test_a_change_of_requirements() -> None:
    """All that the final stage copies after the change has to be made anew where only its layers are cached."""
    last = ran(state(FIVE), state(FIVE, requirements_txt="numpy"))[-1]
    assert last["type=inline, last image"] == {"python-deps", "node-deps", "builder", "runtime"}
    assert last["stagebake"] == {"python-deps", "runtime"}


def test_a_linked_copy_stands_on_nothing() -> None:
    """A COPY --link after the change is restored; one that changed itself makes its stage run."""
    linked = {**FIVE, "Dockerfile": FIVE["Dockerfile"].replace("COPY --from", "COPY --link --from")}
    last = ran(state(linked), state(linked, requirements_txt="numpy"))[-1]
    assert last["type=inline, last image"] == {"python-deps", "runtime"}
    last = ran(state(linked), state(linked, src_page_ts="2"))[-1]
    assert last["type=inline, last image"] == {"node-deps", "builder", "runtime"}


def test_a_change_at_the_end_of_the_final_stage() -> None:
    """Nothing that it copied before needs to be there."""
    last = ran(state(FIVE), state(FIVE, Dockerfile=FIVE["Dockerfile"] + "RUN true\n"))[-1]
    assert last == {"no cache": set(STAGES), **{way: {"runtime"} for way in WAYS[1:]}}


def test_a_change_of_the_lowest_stage() -> None:
    """Everything stands on it."""
    last = ran(state(FIVE), state(FIVE, Dockerfile=FIVE["Dockerfile"].replace("WORKDIR /app", "RUN true")))[-1]
    assert last == {key: set(STAGES) for key in WAYS}


def test_an_argument_counts_where_the_next_run_is() -> None:
    """A build argument's new value leaves a COPY between the ARG and the RUN alone."""
    text = (
        "FROM a AS tools\nRUN t\nFROM a AS more\nRUN m\nFROM a AS app\nARG VERSION={}\n"
        "COPY --from=tools /t /t\nRUN x\nCOPY --from=more /m /m\n"
    )
    graphs = [parse_dockerfile(text.format(version)) for version in (1, 2)]
    inputs = BuildInputs(context=None)
    pair = [CommitState(commit="c", graph=graph, prints=fingerprint_stages(graph, inputs)) for graph in graphs]
    assert stages_run_inline(*pair) == {"more", "app"}


def test_generations_find_what_was_reverted() -> None:
    """A change that is taken back is restored by stagebake alone; one older than its generations is not."""
    one, *others = (state(FIVE, src_page_ts=str(number)) for number in range(4))
    last = ran(one, others[0], one)[-1]
    assert last["one mode=max ref"] == {"builder", "runtime"}
    assert last["stagebake"] == set()
    assert ran(one, *others, one)[-1]["stagebake"] == {"builder", "runtime"}


def test_a_stage_that_is_not_needed_costs_nothing() -> None:
    """Only what the final stage is made of is counted."""
    one = state({**FIVE, "Dockerfile": "FROM a AS lint\nRUN x\nFROM a AS runtime\nRUN y\n"})
    assert ran(one)[0] == {key: {"runtime"} for key in WAYS}


@pytest.mark.parametrize(
    ("stages", "seconds"),
    [
        (set(STAGES), 100 + 600 + 50),
        ({"node-deps", "builder", "runtime"}, 200 + 150 + 50),
        ({"python-deps", "builder", "runtime"}, 600 + 50),
        (set(), 0),
    ],
)
def test_stages_run_side_by_side(stages: set[str], seconds: float) -> None:
    """The time is that of the longest way through the stages that run."""
    assert build_seconds(state(FIVE).graph, frozenset(stages), SECONDS) == seconds


def of(*seconds: float, left_out: Mapping[str, int] | None = None) -> Forecast:
    """Pushes that take so long under stagebake, and twice as long otherwise."""
    pushes = tuple(
        PushForecast(
            commit="c",
            ran={way: frozenset({"base"}) for way in WAYS},
            seconds={way: time if way == "stagebake" else 2 * time for way in WAYS},
        )
        for time in seconds
    )
    return Forecast(pushes=pushes, seconds={"base": 100.0}, left_out=left_out or {})


def test_a_row_sums_up_a_way_of_caching() -> None:
    """Total, median, the time that nine in ten do not exceed, and the share within each budget, which may be met."""
    row = forecast_rows(of(*range(10, 110, 10), 120.0), {"short": 1.0, "long": 2.0})[-1]
    assert (row.way, row.total, row.median, row.p90, row.most) == ("stagebake", 670, 60, 100, 120)
    assert row.kept == {"short": 6 / 11, "long": 1.0}


def test_the_table_says_that_it_is_computed() -> None:
    """It names the times that it rests on and the commits that it leaves out."""
    text = forecast_table(of(60.0, left_out={"without the Dockerfile": 3}), BUDGETS)
    assert "| 1 push |" in text
    assert "| stagebake | 1.0 | 1 min 0 s | 1 min 0 s | 1 min 0 s | 100% | 100% | 100% | 100% |" in text
    assert "Computed, not measured, with these times of the stages: base 1 min 40 s." in text
    assert "Left out: 3 commits, without the Dockerfile." in text


def test_the_forecast_for_machines() -> None:
    """Each push with what runs and how long, by way of caching."""
    document = json.loads(forecast_json(of(60.0), BUDGETS))
    assert document["ways"][-1]["total"] == 60
    assert document["pushes"][0]["ran"]["stagebake"] == ["base"]


@pytest.mark.parametrize("seconds", [(60.0, 5.0, 700.0), (0.0,), (0.0, 0.0)])
def test_the_picture(seconds: tuple[float, ...]) -> None:
    """A well-formed SVG with a line that ends at each way's total, and labels that do not lie on each other."""
    root = ElementTree.fromstring(draw_chart(of(*seconds)))  # noqa: S314
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert [len(line.attrib["points"].split()) for line in lines] == [len(seconds) + 1] * len(WAYS)
    labels = {text.text: float(text.attrib["y"]) for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert f"stagebake: {sum(seconds) / 60:,.0f} min" in labels
    places = sorted(y for text, y in labels.items() if text and " min" in text and ":" in text)
    assert all(after - before >= 15 for before, after in itertools.pairwise(places))


def test_times_from_the_ledgers() -> None:
    """The nearest ledger that knows what a stage took says it; a stage that was only ever restored has no time."""

    def ledger(**ran: float | None) -> Ledger:
        return Ledger(
            stages={name: (LedgerEntry(fingerprint=Fingerprint(name, ()), ran=time),) for name, time in ran.items()}
        )

    near, far = ledger(base=10.0, builder=None), ledger(base=99.0, builder=20.0, lint=None)
    assert ledger_stage_times((near, far)) == {"base": 10.0, "builder": 20.0}
