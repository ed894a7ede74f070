"""Over Dockerfiles, contexts and ignore rules that hypothesis makes: what a stage sees changes its fingerprint, and
nothing else does. What a stage sees is found out here in another, slower way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from hypothesis import given, settings
from hypothesis import strategies as st

from stagebake.dockerfile.ignore_file import parse_patterns
from tests.support.memory_files import changed, prints

PATHS = (
    "a.txt",
    "b.md",
    ".env",
    "src/a.txt",
    "src/b.md",
    "src-x/a.txt",
    "src/deep/a.txt",
    "src/deep/c.log",
    "docs/x.md",
    "docs/sub/y.txt",
)
RULES = ("*.md", "src", "src/deep", "**/*.log", "docs/*", "*", ".env", "/src/*.txt", "src?x", "d[n-p]cs", "a.txt ")
BACK = ("!src/deep/a.txt", "!docs/sub", "!src", "!a.txt", "!**/*.md")
SOURCES = (".", "/", "src", "./src/", "src/deep", "src/../src/deep", "a.txt", "*.txt", "src/*", "docs/*/y.txt", "s*")
EXCLUDES = ("*.md", "deep", "**/*.txt", "a.txt")

Files = dict[str, str]


@dataclass(frozen=True)
class Line:
    """An instruction of a generated stage: its text, what it takes from the context, whether it is a RUN."""

    text: str
    sources: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    runs: bool = False


@dataclass(frozen=True)
class Generated:
    """A stage: the number of the stage it starts from (None for an image), those that it copies from, its lines."""

    base: int | None
    copies: tuple[int, ...]
    lines: tuple[Line, ...]


def copy(sources: Sequence[str], excludes: Sequence[str]) -> Line:
    flags = "".join(f"--exclude={pattern} " for pattern in excludes)
    return Line(f"COPY {flags}{' '.join(sources)} /to/", tuple(sources), tuple(excludes))


def bind(source: str) -> Line:
    return Line(f"RUN --mount=type=bind,source={source},target=/in cat", (source,), runs=True)


PLAIN = tuple(source for source in SOURCES if "*" not in source)
COPIES = st.builds(
    copy, st.lists(st.sampled_from(SOURCES), min_size=1, max_size=2), st.lists(st.sampled_from(EXCLUDES), max_size=2)
)
LINES = st.one_of(COPIES, st.builds(bind, st.sampled_from(PLAIN)), st.just(Line("RUN make", runs=True)))


@st.composite
def stages(draw: st.DrawFn) -> tuple[Generated, ...]:
    made: list[Generated] = []
    for number in range(draw(st.integers(1, 4))):
        earlier = st.integers(0, number - 1) if number else st.nothing()
        base = draw(st.one_of(st.none(), earlier))
        copies = tuple(draw(st.lists(earlier, max_size=2))) if number else ()
        made.append(Generated(base, copies, tuple(draw(st.lists(LINES, max_size=3)))))
    return tuple(made)


FILES = st.dictionaries(st.sampled_from(PATHS), st.sampled_from(("", "one\n", "one\ntwo\n")), min_size=1)
IGNORES = st.lists(st.sampled_from((*RULES, *BACK)), max_size=4).map("\n".join)


def written(made: Iterable[Generated]) -> str:
    return "\n".join(
        "\n".join(
            (
                f"FROM {'busybox' if stage.base is None else f's{stage.base}'} AS s{number}",
                *(f"COPY --from=s{other} /f /f{other}" for other in stage.copies),
                *(line.text for line in stage.lines),
            )
        )
        for number, stage in enumerate(made)
    )


def users(made: Sequence[Generated], first: set[int]) -> set[str]:
    """The names of these stages and of all that take from them."""
    found = set(first)
    for number, stage in enumerate(made):
        if found & {stage.base, *stage.copies}:
            found.add(number)
    return {f"s{number}" for number in found}


def sees(stage: Generated, path: str, rules: str) -> bool:
    """Whether a line of the stage takes a file."""
    if parse_patterns(rules.splitlines()).matches(path):
        return False
    return any(any(taken(path, source, line.excludes) for source in line.sources) for line in stage.lines)


def taken(path: str, source: str, excludes: tuple[str, ...]) -> bool:
    """Whether a source stands for a file, or for a folder above it that does not exclude it."""
    pattern = {".": "", "/": "", "./src/": "src", "src/../src/deep": "src/deep"}.get(source, source)
    wanted = pattern.split("/") if pattern else []
    names = path.split("/")
    if len(names) < len(wanted) or not all(fnmatchcase(*pair) for pair in zip(names, wanted, strict=False)):
        return False
    inside = "/".join(names[len(wanted) :])
    return not inside or not parse_patterns(excludes).matches(inside)


@settings(max_examples=120, deadline=None)
@given(stages(), FILES, IGNORES, st.data())
def test_a_file_changes_the_stages_that_see_it_and_no_others(
    made: tuple[Generated, ...], files: Files, rules: str, data: st.DataObject
) -> None:
    """A new text or another mode: exactly the stages that take the file differ, and those that take from them."""
    path = data.draw(st.sampled_from(sorted(files)))
    text = written(made)
    before = prints(text, files, rules)
    seeing = users(made, {number for number, stage in enumerate(made) if sees(stage, path, rules)})
    assert changed(before, prints(text, {**files, path: "another\n"}, rules)) == seeing
    assert changed(before, prints(text, files, rules, modes={path: 0o755})) == seeing
    assert changed(before, prints(text, dict(reversed(files.items())), rules)) == set()


@settings(max_examples=80, deadline=None)
@given(stages(), FILES, IGNORES, st.sampled_from(PATHS))
def test_a_new_file_changes_the_stages_that_see_it(
    made: tuple[Generated, ...], files: Files, rules: str, path: str
) -> None:
    """A file that comes or goes changes each stage that takes it; and one that no stage takes, and whose folder none
    takes, changes none."""
    there, gone = {**files, path: "new\n"}, {name: text for name, text in files.items() if name != path}
    text = written(made)
    differ = changed(prints(text, gone, rules), prints(text, there, rules))
    assert differ >= users(made, {number for number, stage in enumerate(made) if sees(stage, path, rules)})
    if not any(line.sources for stage in made for line in stage.lines):
        assert differ == set()
    if parse_patterns(rules.splitlines()).matches(path) and "!" not in rules and path.count("/") == 0:
        assert differ == set()


@settings(max_examples=80, deadline=None)
@given(stages(), FILES, IGNORES, IGNORES)
def test_ignore_rules_count_by_what_they_let_in(
    made: tuple[Generated, ...], files: Files, rules: str, others: str
) -> None:
    """Other rules that ignore the same files change nothing; a stage that takes a file that only one of them lets in
    differs."""
    text = written(made)
    differ = changed(prints(text, files, rules), prints(text, files, others))
    moved = {path for path in files if let_in(path, rules) != let_in(path, others)}
    expected = {
        number
        for number, stage in enumerate(made)
        if any(sees(stage, path, rules) != sees(stage, path, others) for path in moved)
    }
    assert differ >= users(made, expected)
    if not moved and not ignores_folders(files, rules, others):
        assert differ == set()


def let_in(path: str, rules: str) -> bool:
    return not parse_patterns(rules.splitlines()).matches(path)


def ignores_folders(files: Mapping[str, str], *rules: str) -> bool:
    """Whether a folder is ignored: with and without its files it may be sent, or not."""
    folders = {"/".join(path.split("/")[:end]) for path in files for end in range(1, path.count("/") + 1)}
    return any(not let_in(folder, text) for folder in folders for text in rules)


@settings(max_examples=80, deadline=None)
@given(stages(), st.data())
def test_an_instruction_changes_its_stage_and_those_above(made: tuple[Generated, ...], data: st.DataObject) -> None:
    """A RUN that is new at the end of a stage changes this stage and what takes from it, and nothing else."""
    number = data.draw(st.integers(0, len(made) - 1))
    stage = made[number]
    longer = Generated(stage.base, stage.copies, (*stage.lines, Line("RUN more", runs=True)))
    after = (*made[:number], longer, *made[number + 1 :])
    assert changed(prints(written(made)), prints(written(after))) == users(made, {number})


@settings(max_examples=80, deadline=None)
@given(stages(), st.sampled_from(("ARG", "ENV", "USER")), st.data())
def test_a_variable_changes_the_runs_below_it(made: tuple[Generated, ...], keyword: str, data: st.DataObject) -> None:
    """Another value of an ARG, ENV or USER changes the stage where a RUN follows; without one, the stages that start
    from it and have a RUN; and what takes from any of these."""
    number = data.draw(st.integers(0, len(made) - 1))
    at = data.draw(st.integers(0, len(made[number].lines)))

    def variant(value: str) -> str:
        stage = made[number]
        line = Line(f"USER {value}" if keyword == "USER" else f"{keyword} WORD={value}")
        with_it = Generated(stage.base, stage.copies, (*stage.lines[:at], line, *stage.lines[at:]))
        return written((*made[:number], with_it, *made[number + 1 :]))

    open_to = {number}
    for other, stage in enumerate(made):
        if stage.base in open_to:
            open_to.add(other)
    running = {
        other
        for other in open_to
        if any(line.runs for line in (made[other].lines[at:] if other == number else made[other].lines))
    }
    assert changed(prints(variant("one")), prints(variant("two"))) == users(made, running)


NOTHING = ("LABEL a=1", 'CMD ["a"]', "EXPOSE 80", "STOPSIGNAL 9", "VOLUME /v", "HEALTHCHECK NONE", "# words", "", "  ")


@settings(max_examples=80, deadline=None)
@given(stages(), FILES, st.sampled_from(NOTHING), st.data())
def test_what_runs_nothing_changes_nothing(
    made: tuple[Generated, ...], files: Files, line: str, data: st.DataObject
) -> None:
    """Labels, commands, comments and empty lines, keywords in lower case, spaces between words."""
    lines = written(made).splitlines()
    at = data.draw(st.integers(1, len(lines)))
    text = "\n".join((*lines[:at], line, *lines[at:]))
    before = prints(written(made), files)
    assert changed(before, prints(text, files)) == set()
    assert changed(before, prints(respaced(lines), files)) == set()


def respaced(lines: Iterable[str]) -> str:
    """The same instructions in other clothes; the words of a RUN stay as they are."""
    pairs = (line.split(" ", 1) for line in lines)
    return "\n\n".join(
        f"  {word.lower()}   {rest if word == 'RUN' else rest.replace(' ', '  ')}  " for word, rest in pairs
    )
