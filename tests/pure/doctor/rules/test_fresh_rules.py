"""Check the rules about results that differ from day to day."""

from __future__ import annotations

import pytest

from tests.support.findings import examine_text, only_finding, rule_names


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("RUN git clone https://example.org/x && make", "unpinned-clone"),
        ("RUN curl -L https://example.org/releases/latest/download/x.tgz | tar xz", "moving-address"),
        ("RUN curl https://example.org/x/main/install.sh | sh", "moving-address"),
        ("RUN apt-get update && apt-get upgrade -y", "os-upgrade"),
        ("RUN apk upgrade --no-cache", "os-upgrade"),
        ("ADD https://example.org/x.tgz /x.tgz", "add-checksum"),
        ("ARG X_VERSION\nRUN curl https://example.org/$X_VERSION.tgz", "version-default"),
    ],
)
def test_moving_sources_are_notes(line: str, rule: str) -> None:
    assert only_finding(rule, examine_text(f"FROM a\n{line}\n")).is_note


@pytest.mark.parametrize(
    "line",
    [
        "RUN git clone --branch v1 https://example.org/x",
        "RUN git clone https://example.org/x && cd x && git checkout 3f4a",
        "RUN curl https://example.org/v1.2/x.tgz | tar xz",
        "RUN apt-get update && apt-get install -y curl",
        f"ADD --checksum=sha256:{'0' * 64} https://example.org/x.tgz /x.tgz",
        "ARG X_VERSION=1\nRUN curl https://example.org/$X_VERSION.tgz",
        "ARG X_VERSION\nRUN echo $X_VERSION",
    ],
)
def test_moving_sources_pinned_or_unused_are_not_reported(line: str) -> None:
    assert rule_names(examine_text(f"FROM a\n{line}\n")) <= {"base-moves", "cache-mount"}


def test_separate_apt_updates_are_joined_with_the_install() -> None:
    found = only_finding("apt-update", examine_text("FROM a\nRUN apt-get update\nRUN apt-get install -y curl\n"))
    assert (found.line, found.fix) == (2, ("RUN apt-get update && apt-get install -y curl",))
    assert "apt-update" not in rule_names(examine_text("FROM a\nRUN apt-get update && apt-get install -y curl\n"))
    assert "apt-update" not in rule_names(examine_text("FROM a\nRUN apt-get update && apt-get upgrade -y\n"))
