"""Read a Dockerfile and its facts only once."""

from __future__ import annotations

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.doctor.facts import RepositoryFacts
from stagebake.doctor.reading.subject import Subject


def test_subject_reads_each_part_once() -> None:
    subject = Subject(parse_dockerfile("FROM a\nCOPY . .\n"), RepositoryFacts(files=frozenset({"x"})))
    assert subject.copies is subject.copies
    assert subject.model is subject.model
    assert subject.tail.copies[0].instruction is subject.copies[0].instruction
