"""Test that a stage's fingerprint changes with what the stage sees, and with nothing else.

Hypothesis makes the Dockerfiles, contexts and ignore rules. What a stage sees is computed here in another, slower way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from hypothesis import given, settings
from hypothesis import strategies as st

from stagebake.dockerfile.copy_sources import parent_folders
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
    """Instruction of a generated stage: its text, what it takes from the context, and True for a RUN."""

    text: str
    sources: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    runs: bool = False


@dataclass(frozen=True)
class Generated:
    """Generated stage: the stage that it starts from (None for an image), those that it copies from, its lines."""

    base: int | None
    copies: tuple[int, ...]
    lines: tuple[Line, ...]


Stages = tuple[Generated, ...]


def make_copy(sources: Sequence[str], excludes: Sequence[str]) -> Line:
    flags = [f"--exclude={pattern}" for pattern in excludes]
    text = " ".join(["COPY", *flags, *sources, "/to/"])
    return Line(text, tuple(sources), tuple(excludes))


def make_bind(source: str) -> Line:
    text = f"RUN --mount=type=bind,source={source},target=/in cat"
    return Line(text, (source,), runs=True)


PLAIN = tuple(source for source in SOURCES if "*" not in source)
COPIES = st.builds(
    make_copy,
    st.lists(st.sampled_from(SOURCES), min_size=1, max_size=2),
    st.lists(st.sampled_from(EXCLUDES), max_size=2),
)
BINDS = st.builds(make_bind, st.sampled_from(PLAIN))
MAKE = Line("RUN make", runs=True)
LINES = st.one_of(COPIES, BINDS, st.just(MAKE))


@st.composite
def draw_stages(draw: st.DrawFn) -> Stages:
    made: list[Generated] = []
    for number in range(draw(st.integers(1, 4))):
        earlier = st.integers(0, number - 1) if number else st.nothing()
        base = draw(st.one_of(st.none(), earlier))
        copies = tuple(draw(st.lists(earlier, max_size=2))) if number else ()
        lines = tuple(draw(st.lists(LINES, max_size=3)))
        made.append(Generated(base, copies, lines))
    return tuple(made)


TEXTS = ("", "one\n", "one\ntwo\n")
FILES = st.dictionaries(st.sampled_from(PATHS), st.sampled_from(TEXTS), min_size=1)
ANY_RULES = st.sampled_from(RULES + BACK)
IGNORES = st.lists(ANY_RULES, max_size=4).map("\n".join)


def write_dockerfile(made: Stages) -> str:
    """Return the Dockerfile of these stages; their names are `s` and their number."""
    lines: list[str] = []
    for number, stage in enumerate(made):
        base = "busybox" if stage.base is None else f"s{stage.base}"
        lines.append(f"FROM {base} AS s{number}")
        lines += [f"COPY --from=s{other} /f /f{other}" for other in stage.copies]
        lines += [line.text for line in stage.lines]
    return "\n".join(lines)


def with_line(made: Stages, number: int, at: int, line: Line) -> Stages:
    """Return the stages with a line inserted in one of them."""
    stage = made[number]
    lines = list(stage.lines)
    lines.insert(at, line)
    stages = list(made)
    stages[number] = replace(stage, lines=tuple(lines))
    return tuple(stages)


def with_users(made: Stages, first: set[int]) -> set[str]:
    """Return the names of these stages and of all stages that take from them."""
    found = set(first)
    for number, stage in enumerate(made):
        if found & {stage.base, *stage.copies}:
            found.add(number)
    return stage_names(found)


def stage_names(numbers: Iterable[int]) -> set[str]:
    return {f"s{number}" for number in numbers}


def sees_file(stage: Generated, path: str, rules: str) -> bool:
    """Return True if a line of the stage takes a file."""
    if not is_included(path, rules):
        return False
    takes: list[bool] = []
    for line in stage.lines:
        takes += [is_taken(path, source, line.excludes) for source in line.sources]
    return any(takes)


def seeing_stages(made: Stages, path: str, rules: str) -> set[int]:
    """Return the numbers of the stages that take a file."""
    return {number for number, stage in enumerate(made) if sees_file(stage, path, rules)}


def is_taken(path: str, source: str, excludes: tuple[str, ...]) -> bool:
    """Return True if a source names a file, or a folder above it without excluding the file."""
    pattern = {".": "", "/": "", "./src/": "src", "src/../src/deep": "src/deep"}.get(source, source)
    wanted = pattern.split("/") if pattern else []
    names = path.split("/")
    if len(names) < len(wanted):
        return False
    for name, part in zip(names, wanted, strict=False):
        if not fnmatchcase(name, part):
            return False
    inside = "/".join(names[len(wanted) :])
    return not inside or not parse_patterns(excludes).matches(inside)


@settings(max_examples=120, deadline=None)
@given(draw_stages(), FILES, IGNORES, st.data())
def test_fingerprint_of_changed_file_differs_for_stages_that_see_it(
    made: Stages, files: Files, rules: str, data: st.DataObject
) -> None:
    """Change exactly the stages that take the file, and those that take from them, for a new text or mode."""
    path = data.draw(st.sampled_from(sorted(files)))
    text = write_dockerfile(made)
    before = prints(text, files, rules)
    seeing = with_users(made, seeing_stages(made, path, rules))
    other_text = prints(text, {**files, path: "another\n"}, rules)
    other_mode = prints(text, files, rules, modes={path: 0o755})
    other_order = prints(text, dict(reversed(files.items())), rules)
    assert changed(before, other_text) == seeing
    assert changed(before, other_mode) == seeing
    assert changed(before, other_order) == set()


@settings(max_examples=80, deadline=None)
@given(draw_stages(), FILES, IGNORES, st.sampled_from(PATHS))
def test_fingerprint_of_new_file_differs_for_stages_that_see_it(
    made: Stages, files: Files, rules: str, path: str
) -> None:
    """Change no stage for a file that no stage takes, if no stage takes its folder either."""
    there = {**files, path: "new\n"}
    gone = dict(files)
    gone.pop(path, None)
    text = write_dockerfile(made)
    before = prints(text, gone, rules)
    after = prints(text, there, rules)
    differ = changed(before, after)
    assert differ >= with_users(made, seeing_stages(made, path, rules))
    if not any(line.sources for stage in made for line in stage.lines):
        assert differ == set()
    is_excluded_for_sure = not is_included(path, rules) and "!" not in rules
    if is_excluded_for_sure and "/" not in path:
        assert differ == set()


@settings(max_examples=80, deadline=None)
@given(draw_stages(), FILES, IGNORES, IGNORES)
def test_fingerprint_with_other_ignore_rules_differs_by_included_files(
    made: Stages, files: Files, rules: str, others: str
) -> None:
    """Change nothing for other rules that ignore the same files."""
    text = write_dockerfile(made)
    before = prints(text, files, rules)
    after = prints(text, files, others)
    differ = changed(before, after)
    moved: set[str] = set()
    expected: set[int] = set()
    for path in files:
        if is_included(path, rules) == is_included(path, others):
            continue
        moved.add(path)
        expected |= seeing_stages(made, path, rules)
        expected |= seeing_stages(made, path, others)
    assert differ >= with_users(made, expected)
    if not moved and not ignores_folders(files, rules, others):
        assert differ == set()


def is_included(path: str, rules: str) -> bool:
    return not parse_patterns(rules.splitlines()).matches(path)


def ignores_folders(files: Mapping[str, str], *rules: str) -> bool:
    """Return True if a folder is ignored: it may be sent or not, depending on its files."""
    for path in files:
        for folder in parent_folders(path):
            if not all(is_included(folder, text) for text in rules):
                return True
    return False


@settings(max_examples=80, deadline=None)
@given(draw_stages(), st.data())
def test_fingerprint_with_new_instruction_differs_for_stage_and_its_users(made: Stages, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(made) - 1))
    at_the_end = len(made[number].lines)
    after = with_line(made, number, at_the_end, Line("RUN more", runs=True))
    before = prints(write_dockerfile(made))
    assert changed(before, prints(write_dockerfile(after))) == with_users(made, {number})


@settings(max_examples=80, deadline=None)
@given(draw_stages(), st.sampled_from(("ARG", "ENV", "USER")), st.data())
def test_fingerprint_with_changed_variable_differs_for_later_runs(
    made: Stages, keyword: str, data: st.DataObject
) -> None:
    """Change the stage if a RUN follows the ARG, ENV or USER; the stages that start from it if they have a RUN; and
    all stages that take from any of these.
    """
    number = data.draw(st.integers(0, len(made) - 1))
    at = data.draw(st.integers(0, len(made[number].lines)))

    def write_variant(value: str) -> str:
        line = Line(f"USER {value}" if keyword == "USER" else f"{keyword} WORD={value}")
        return write_dockerfile(with_line(made, number, at, line))

    open_to = {number}
    for other, stage in enumerate(made):
        if stage.base in open_to:
            open_to.add(other)
    running: set[int] = set()
    for other in open_to:
        lines = made[other].lines
        if other == number:
            lines = lines[at:]
        if any(line.runs for line in lines):
            running.add(other)
    before = prints(write_variant("one"))
    after = prints(write_variant("two"))
    assert changed(before, after) == with_users(made, running)


NOTHING = ("LABEL a=1", 'CMD ["a"]', "EXPOSE 80", "STOPSIGNAL 9", "VOLUME /v", "HEALTHCHECK NONE", "# words", "", "  ")


@settings(max_examples=80, deadline=None)
@given(draw_stages(), FILES, st.sampled_from(NOTHING), st.data())
def test_fingerprint_with_instruction_that_runs_nothing_is_equal(
    made: Stages, files: Files, line: str, data: st.DataObject
) -> None:
    """Ignore labels, commands, comments, empty lines, the case of keywords, and spaces between words."""
    lines = write_dockerfile(made).splitlines()
    at = data.draw(st.integers(1, len(lines)))
    lines_after = list(lines)
    lines_after.insert(at, line)
    text = "\n".join(lines_after)
    before = prints(write_dockerfile(made), files)
    assert changed(before, prints(text, files)) == set()
    assert changed(before, prints(change_spaces(lines), files)) == set()


def change_spaces(lines: Iterable[str]) -> str:
    """Return the same instructions with other spaces and keywords in lower case; the words of a RUN stay."""
    changed_lines: list[str] = []
    for line in lines:
        word, rest = line.split(" ", 1)
        if word != "RUN":
            rest = rest.replace(" ", "  ")
        changed_lines.append(f"  {word.lower()}   {rest}  ")
    return "\n\n".join(changed_lines)


def test_fingerprint_of_stage_that_is_not_built_may_be_invalid() -> None:
    """BuildKit reads only the stages that the final stage needs."""
    text = 'FROM scratch AS broken\nENV A="x\nFROM scratch AS app\nRUN true\n'
    found = prints(text)
    assert [part.kind for part in found["broken"].parts if part.kind == "unknown"] == ["unknown"]
    assert not [part for part in found["app"].parts if part.kind == "unknown"]
