"""Follow folder, user and variables through the instructions of a stage."""

from __future__ import annotations

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.doctor.proof.stage_state import StagePlace, is_within, known_numbers, list_places, overlap

TEXT = """\
FROM image AS base
ARG V=1
ENV DIR=/opt/x NAME=$V
WORKDIR /app
FROM base
WORKDIR inner
COPY a $DIR/y/
USER web
COPY --from=base b .
COPY --from=other.test/image:1 /c /c
ADD https://example.test/x /x
"""


def places() -> tuple[StagePlace, ...]:
    graph = parse_dockerfile(TEXT)
    return list_places(graph, graph.final)


def test_list_places_follow_the_stages_below() -> None:
    copy, user, other = places()[2], places()[3], places()[4]
    assert copy.state.folder == "/app/inner"
    assert copy.state.folders == {"/app", "/app/inner"}
    assert copy.target == "/opt/x/y"
    assert (user.state.user, other.state.user) == (None, "web")
    assert other.target == "/app/inner"


def test_find_path_of_an_argument_is_unknown() -> None:
    state = places()[-1].state
    assert state.find_path("$NAME/x") is None
    assert state.find_path("${V}") is None
    assert state.find_path("../y/") == "/app/y"


def test_takes_changing_files_not_from_images_and_addresses() -> None:
    assert [place.takes_changing_files for place in places() if place.is_copy] == [True, True, False, False]


def test_list_places_without_workdir_a_relative_path_is_unknown() -> None:
    graph = parse_dockerfile("FROM image\nCOPY a b\n")
    assert list_places(graph, graph.final)[1].target is None


@pytest.mark.parametrize(
    ("commands", "numbers"),
    [
        (["groupadd --gid 10 web", "useradd --uid=11 --gid web joe"], {"group:web": "10", "user:joe": "11"}),
        (["adduser -D -u 5 -G x joe", "addgroup -g 6 y"], {"user:joe": "5", "group:y": "6"}),
        (["useradd joe", "echo useradd -u 1 x", ""], {}),
    ],
)
def test_known_numbers_of_users_and_groups(commands: list[str], numbers: dict[str, str]) -> None:
    assert known_numbers(commands) == numbers


def test_is_within_and_overlap_compare_whole_names() -> None:
    assert is_within("/app/x", "/app")
    assert is_within("/app", "/")
    assert not is_within("/application", "/app")
    assert overlap("/app", "/app/x")
    assert not overlap("/app", "/apps/x")
