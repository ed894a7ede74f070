"""Lines of the instructions that changed since a stored result."""

from __future__ import annotations

from stagebake.forecast.changed_steps import changed_since
from tests.pure.forecast.states import commit_state

DOCKERFILE = """\
FROM a AS app
ARG VERSION=1
RUN one
COPY lock .
RUN two
COPY --link src .
"""
FILES = {"Dockerfile": DOCKERFILE, "lock": "1", "src/page": "1"}


def lines_of(*stored: dict[str, str], **changes: str) -> set[int] | None:
    """Return the changed lines after pushes of these changes."""
    prints = [commit_state(FILES, **earlier).prints["app"] for earlier in stored]
    lines = changed_since(prints, commit_state(FILES, **changes).prints["app"])
    return None if lines is None else set(lines)


def test_changed_since_nothing_stored_is_every_step() -> None:
    assert lines_of() is None


def test_changed_since_a_file_is_the_line_of_its_copy() -> None:
    assert lines_of({}, lock="2") == {4}
    assert lines_of({}, src_page="2") == {6}


def test_changed_since_an_argument_is_the_line_of_the_next_step() -> None:
    assert lines_of({}, Dockerfile=DOCKERFILE.replace("=1", "=2")) == {3}


def test_changed_since_several_results_takes_the_longest_unchanged_beginning() -> None:
    assert lines_of({"lock": "3"}, {"lock": "2", "src_page": "2"}, lock="2", src_page="3") == {6}
