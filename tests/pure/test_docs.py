"""Check what the pages say against the code: links, paths, commands, quoted messages, and the tables of names."""

from __future__ import annotations

import argparse
import ast
import re
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from stagebake.__main__ import main
from stagebake.cli.verbs.build import add_build_parser
from stagebake.doctor.examine import RULES
from stagebake.project.settings import SETTING_KEYS
from stagebake.sessions import VERBS
from tests.support.chosen_builder import BUILDER_VARIABLE
from tests.support.workflows import WORKFLOWS

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "stagebake"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "example" / "README.md"])

LINK = re.compile(r"\]\(([^)\s]+)\)")
# Code spans of one line; fenced blocks are removed first
SPAN = re.compile(r"`` (.+?) ``|`([^`\n]+)`")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
PATH = re.compile(r"\b(?:src|tests|docs|benchmarks|example)/[\w./-]*\w")
SESSION = re.compile(r"nox (?:-f \S+ )?-s ([\w-]+)")
# In a quoted message `…` and a single capital (X, N) are what differs from one message to the next
VARIABLE_PART = re.compile(r"…|\b[A-Z]\b")
LABEL = re.compile(r"^(?:error|warning|healed): ")
# Words of BuildKit, quoted beside ours
FOREIGN = ("failed to push", "exporting to image", "failed to commit", "RUN ", "unexpected EOF")


def test_docs_every_link_leads_to_a_file_and_a_heading() -> None:
    broken = [f"{page.name}: {link}" for page in PAGES for link in read_links(page) if not leads_somewhere(page, link)]
    assert not broken


def test_docs_readme_links_every_page() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in read_links(ROOT / "README.md")}
    assert set(ROOT.glob("docs/*.md")) <= linked


def test_docs_every_named_path_exists() -> None:
    named = [(page, path) for page in PAGES for path in PATH.findall(page.read_text(encoding="utf-8"))]
    missing = [f"{page.name}: {path}" for page, path in named if not path_exists(path)]
    assert not missing


def test_docs_every_named_session_exists() -> None:
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    known = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} | VERBS.keys()
    named = {(page.name, name) for page in PAGES for name in SESSION.findall(page.read_text(encoding="utf-8"))}
    assert not {(page, name) for page, name in named if name not in known}


def test_docs_every_named_benchmark_exists() -> None:
    named = {name for page in PAGES for name in re.findall(r"-s bench -- (\w+)", page.read_text(encoding="utf-8"))}
    assert named
    known = {path.stem for path in ROOT.glob("benchmarks/*")}
    assert not named - known


@pytest.mark.parametrize(("heading", "column"), [("What you see", 0), ("Tested faults", -1)])
def test_troubleshooting_every_quoted_message_is_in_the_code(heading: str, column: int) -> None:
    quotes = list(read_quotes(read_section("docs/troubleshooting.md", heading), column))
    assert quotes
    unknown = [quote for quote in quotes if not is_message(quote)]
    assert not unknown, "update docs/troubleshooting.md: src/stagebake has no such messages"


def test_docs_sample_output_has_the_words_of_the_code() -> None:
    lines = [line for page in PAGES for block in read_blocks(page) for line in block.splitlines()]
    messages = [line for line in lines if line.startswith(("error: ", "warning: ", "expected "))]
    headings = {heading for line in lines if line.startswith("stage  ") for heading in line.split()}
    assert messages
    assert headings
    assert not [line for line in messages if not fits_template(LABEL.sub("", line))]
    assert headings <= set(read_messages().splitlines())


def test_backends_page_shows_the_steps_that_init_writes() -> None:
    written = {line.strip() for text in WORKFLOWS.values() for line in text.splitlines()}
    blocks = read_blocks(ROOT / "docs/backends.md", "yaml")
    shown = {line.strip() for block in blocks for line in block.splitlines()}
    written |= {line.partition("  # zizmor")[0] for line in written}
    assert len(blocks) == 2
    assert shown <= written


def test_doctor_page_lists_every_rule() -> None:
    listed = [row[0].strip("`") for row in read_rows((ROOT / "docs/doctor.md").read_text(encoding="utf-8"))]
    known = {text for path in SOURCE.glob("doctor/**/*.py") for text in read_strings(path)}
    assert len(listed) == len(set(listed)) >= len(RULES)
    assert set(listed) <= known


def test_contributing_names_every_package_and_module() -> None:
    table = read_rows(read_section("CONTRIBUTING.md", "Find your way").partition("\n### ")[0])
    rows = {row[0].strip("`/"): row[2] for row in table}
    folders = {path.parent.name: modules_in(path.parent) for path in SOURCE.glob("*/__init__.py")}
    for path in SOURCE.glob("*/*/__init__.py"):
        folders[path.parent.parent.name] += modules_in(path.parent)
    missing = [
        f"{package}/{name}"
        for package, names in folders.items()
        for name in names
        if f"`{name}`" not in rows.get(package, "")
    ]
    assert not missing, "add them to the table of packages in CONTRIBUTING.md"
    named = {name for row in rows.values() for name in re.findall(r"`([a-z_]+)`", row)}
    assert named <= {name for names in folders.values() for name in names}


def test_contributing_table_has_the_order_of_the_layers() -> None:
    table = read_rows(read_section("CONTRIBUTING.md", "Find your way").partition("\n### ")[0])
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = document["tool"]["importlinter"]["contracts"][0]["layers"]
    height = {package: at for at, layer in enumerate(layers) for package in layer.split(" | ")}
    heights = [height[row[0].strip("`/")] for row in table]
    assert heights == sorted(heights)


def test_contributing_recipes_name_what_the_code_has() -> None:
    recipes = read_section("CONTRIBUTING.md", "Where do I change ...?")
    spans = [spaced or plain for spaced, plain in SPAN.findall(recipes)]
    modules = [span for span in spans if re.fullmatch(r"(?:[a-z_]+/)+[a-z_-]+\.(?:py|yml)|\w+\.py", span)]
    assert modules
    assert not [name for name in modules if not ((SOURCE / name).exists() or (ROOT / name).exists())]
    code = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    names = [span for span in spans if re.fullmatch(r"_?[A-Z]\w+", span)]
    assert names
    assert not [name for name in names if not re.search(rf"\b{name}\b", code)]


def test_readme_settings_table_has_every_key() -> None:
    rows = read_rows(read_section("README.md", "Settings"))
    listed = [key for row in rows for key in re.findall(r"`([\w-]+)`", row[0])]
    assert sorted(listed) == sorted(SETTING_KEYS)


def test_docs_and_messages_name_only_variables_that_exist() -> None:
    known = {*(key.variable_name for key in SETTING_KEYS.values()), BUILDER_VARIABLE}
    texts = [page.read_text(encoding="utf-8") for page in PAGES] + [read_messages()]
    named = {name for text in texts for name in re.findall(r"\bSTAGEBAKE_[A-Z]\w*", text)}
    assert named
    assert named <= known


@pytest.mark.parametrize(
    "verb",
    ["build", "plan", "doctor", "forecast", "generate", "cache ls", "cache verify", "cache prune", "cache purge"],
)
def test_docs_commands_use_only_flags_that_exist(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, _, action = verb.partition(" ")
    with pytest.raises(SystemExit):
        main([*verb.split(), "--help"])
    known = set(re.findall(r"--[a-z][\w-]*", capsys.readouterr().out))
    command = re.compile(rf"nox -s {name} -- {action}([^`#\n]*)")
    used = {
        flag for page in PAGES for rest in command.findall(page.read_text(encoding="utf-8")) for flag in rest.split()
    }
    assert not {flag for flag in used if flag.startswith("--")} - known


def test_readme_names_every_flag_of_build() -> None:
    parser = argparse.ArgumentParser()
    add_build_parser(parser.add_subparsers())
    flags = re.findall(r"\[(--[\w-]+)", parser_help(parser))
    section = read_section("README.md", "Settings")
    assert {flag for flag in flags if f"`{flag}" not in section} == set()


def test_readme_shows_every_verb() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not {verb for verb in VERBS if f"nox -s {verb}" not in text}


def read_links(page: Path) -> list[str]:
    """Return the targets of the page's links within the repository."""
    found = LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8")))
    return [link for link in found if "://" not in link]


def leads_somewhere(page: Path, link: str) -> bool:
    """Return whether the linked file exists and has the linked heading."""
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    if not target.exists():
        return False
    return not anchor or anchor in read_anchors(target)


def read_anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def modules_in(folder: Path) -> list[str]:
    """Return the names of a package's modules."""
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


def path_exists(path: str) -> bool:
    """Return whether a path that a page names is in the repository; the image of the example is not."""
    return (ROOT / path).exists() or path == "example/Dockerfile"


def read_blocks(page: Path, language: str = r"\w*") -> list[str]:
    """Return the fenced blocks of a page, those of one language if it is given."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def read_section(page: str, heading: str) -> str:
    """Return the text under a heading of level two, up to the next one."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def read_rows(text: str) -> list[list[str]]:
    """Return the cells of each row of the tables in a text, without their headings."""
    lines = text.splitlines()
    rules = {at for at, line in enumerate(lines) if line.startswith("|--")}
    rows = {at for at, line in enumerate(lines) if line.startswith("|")} - rules - {at - 1 for at in rules}
    return [[cell.strip() for cell in lines[at].strip("|").split("|")] for at in sorted(rows)]


def read_quotes(section: str, column: int) -> Iterator[str]:
    """Return the messages that one column of a section's tables quotes, without those of BuildKit."""
    for row in read_rows(section):
        for spaced, plain in SPAN.findall(row[column]):
            quote = spaced or plain
            if " " in quote and not any(words in quote for words in FOREIGN):
                yield quote


def is_message(quote: str) -> bool:
    """Return whether the code has each fixed part of a quoted message, in one string or joined from two."""
    parts = [part.strip(" :") for part in VARIABLE_PART.split(LABEL.sub("", quote))]
    return all(part in read_messages() or is_joined(part) for part in parts)


def is_joined(part: str) -> bool:
    """Return whether the code makes these words of two strings."""
    words = part.split()
    halves = [(" ".join(words[:at]), " ".join(words[at:])) for at in range(1, len(words))]
    return any(left in read_messages() and right in read_messages() for left, right in halves)


def fits_template(text: str) -> bool:
    """Return whether an f-string of the code with some words of its own can make this text."""
    templates = (line for line in read_messages().splitlines() if re.search(r"\w{3}", line.replace("{}", "")))
    patterns = (".*".join(map(re.escape, template.split("{}"))) for template in templates)
    return any(re.fullmatch(pattern, text) for pattern in patterns)


@cache
def read_messages() -> str:
    """Return all strings of the code, one a line."""
    return "\n".join(text for path in sorted(SOURCE.rglob("*.py")) for text in read_strings(path))


def read_strings(path: Path) -> Iterator[str]:
    """Return the strings of a module, `{}` for each value that an f-string takes in; no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(join_parts(node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def join_parts(values: Iterable[ast.expr]) -> Iterator[str]:
    """Return the fixed parts of an f-string, and `{}` for each of the others."""
    for value in values:
        yield str(value.value) if isinstance(value, ast.Constant) else "{}"


def parser_help(parser: argparse.ArgumentParser) -> str:
    """Return the usage line of the `build` verb."""
    actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return str(actions[0].choices["build"].format_usage())
