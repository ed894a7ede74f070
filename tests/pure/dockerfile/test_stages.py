"""Parse Dockerfiles, and compare the result with what BuildKit makes of the same text."""

from __future__ import annotations

import contextlib
import tomllib
from pathlib import Path
from typing import Any

import pytest

from stagebake.dockerfile.stages import StageGraph, parse_dockerfile
from stagebake.errors import InputError

FILES = Path(__file__).parents[1] / "dockerfiles"
EXPECTED: dict[str, dict[str, Any]] = tomllib.loads((FILES / "expected.toml").read_text(encoding="utf-8"))


def graph_of(name: str) -> StageGraph:
    facts = EXPECTED[name]
    return parse_dockerfile(
        (FILES / f"{name}.Dockerfile").read_text(encoding="utf-8"),
        args=facts.get("args"),
        platforms=(facts["platform"],) if "platform" in facts else (),
    )


def refused(text: str, **settings: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        parse_dockerfile(text, path="docker/Dockerfile", **settings)
    return caught.value


def test_expected_table_names_every_dockerfile() -> None:
    assert {path.stem for path in FILES.glob("*.Dockerfile")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_parse_dockerfile_any_shape_gives_stages_parents_and_images(name: str) -> None:
    """Expect exactly these stages in order, each with the stages and images that it takes from."""
    found = {
        stage.name: (stage.parents, tuple(image.name for image in stage.images)) for stage in graph_of(name).stages
    }
    stages = EXPECTED[name]["stages"]
    assert found == {
        stage: (tuple(facts.get("parents", ())), tuple(facts.get("images", ()))) for stage, facts in stages.items()
    }
    assert list(found) == list(stages)


@pytest.mark.parametrize("name", EXPECTED)
def test_parse_dockerfile_without_target_ends_with_last_stage(name: str) -> None:
    assert graph_of(name).final.name == list(EXPECTED[name]["stages"])[-1]


@pytest.mark.parametrize("name", EXPECTED)
def test_needed_stages_any_shape_come_after_their_parents(name: str) -> None:
    """Expect the final stage last, and the same order each time."""
    graph = graph_of(name)
    order = [stage.name for stage in graph.needed_stages()]
    assert order[-1] == graph.final.name
    assert len(order) == len(set(order))
    for position, stage in enumerate(order):
        assert set(graph[stage].parents) <= set(order[:position])
    assert order == [stage.name for stage in graph_of(name).needed_stages()]


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("unused", {"base", "app", "last"}),
        ("unnamed", {"stage-2"}),
        ("target-arch", {"bin-arm64", "app"}),
        ("five-stages", {"base", "python-deps", "node-deps", "builder", "runtime"}),
        ("onbuild", {"build", "base", "app"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_needed_stages_unused_stage_is_left_out(name: str, needed: set[str]) -> None:
    assert {stage.name for stage in graph_of(name).needed_stages()} == needed


@pytest.mark.parametrize(
    ("name", "changed", "dependents"),
    [
        ("diamond", {"top"}, {"top", "left", "right", "bottom"}),
        ("diamond", {"right"}, {"right", "bottom"}),
        ("diamond", set(), set()),
        ("five-stages", {"node-deps"}, {"node-deps", "builder", "runtime"}),
        ("five-stages", {"python-deps", "builder"}, {"python-deps", "builder", "runtime"}),
        ("unused", {"lint"}, {"lint", "lint-report"}),
        ("numbered", {"stage-0"}, {"stage-0", "stage-2"}),
        ("run-mounts", {"tools"}, {"tools", "app"}),
        ("deep", {"s0"}, {f"s{i}" for i in range(12)}),
    ],
    ids=lambda value: "+".join(sorted(value)) if isinstance(value, set) else value,
)
def test_with_dependents_includes_indirect_dependents(name: str, changed: set[str], dependents: set[str]) -> None:
    assert graph_of(name).with_dependents(changed) == dependents


def test_parse_dockerfile_target_in_any_case_is_final() -> None:
    """Expect only the stages that the target needs."""
    graph = parse_dockerfile("FROM a AS Base\nFROM base AS App\nFROM app AS docs\n", target="APP")
    assert graph.final.name == "app"
    assert [stage.name for stage in graph.needed_stages()] == ["base", "app"]


def test_stage_target_keeps_name_as_written() -> None:
    """Compare names in lower case, and keep the written form beside."""
    stage = parse_dockerfile("FROM a AS Base\n").stages[0]
    assert (stage.name, stage.target, stage.has_name) == ("base", "Base", True)


def test_stage_without_name_is_called_by_number() -> None:
    """Call it stage-N, as BuildKit does in its events."""
    stages = parse_dockerfile("FROM a\nFROM b\n").stages
    assert [(stage.name, stage.index, stage.has_name) for stage in stages] == [
        ("stage-0", 0, False),
        ("stage-1", 1, False),
    ]


@pytest.mark.parametrize("target", ["0", "stage-0"])
def test_parse_dockerfile_unnamed_target_is_refused(target: str) -> None:
    """Refuse it, since BuildKit finds targets by written names only (`target stage "0" could not be found`)."""
    error = refused("FROM a\nFROM b AS last\n", target=target)
    assert target in error.problem


def test_find_stage_any_case_or_number_finds_it() -> None:
    """Find unnamed stages by their number; list all stages for an unknown name."""
    graph = parse_dockerfile("FROM a\nFROM b AS Last\n")
    assert [graph.find_stage(name, "--no-cache").name for name in ("stage-0", "Stage-0", "LAST")] == [
        "stage-0",
        "stage-0",
        "last",
    ]
    with pytest.raises(InputError, match="--no-cache: unknown stage `stage-1`") as caught:
        graph.find_stage("stage-1", "--no-cache")
    assert "stage-0, last" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "named", "affected", "bake_filter"),
    [
        ("FROM a AS X\nFROM b AS Y\nFROM x AS Z\n", {"x"}, {"x", "z"}, ("X", "Z")),
        ("FROM a\nFROM b AS y\nFROM c AS z\n", {"stage-0"}, {"stage-0", "y", "z"}, None),
        ("FROM a AS x\nFROM b AS y\nFROM x\n", {"x"}, {"x", "y", "stage-2"}, None),
        ("FROM a AS x\nFROM b\nFROM x AS z\n", {"x"}, {"x", "z"}, ("x", "z")),
        ("FROM a AS x\nFROM x AS y\n", {"x"}, {"x", "y"}, None),
        ("FROM a\nFROM b AS y\n", set(), set(), ()),
    ],
    ids=["named", "unnamed", "unnamed-dependent", "unnamed-beside", "every-stage", "none"],
)
def test_force_stages_names_written_or_missing_gives_filter_or_all(
    text: str, named: set[str], affected: set[str], bake_filter: tuple[str, ...] | None
) -> None:
    """Give bake the written names in the Dockerfile's order; force all stages where one to force has no name."""
    forced = parse_dockerfile(text).force_stages(named)
    assert forced.with_dependents == affected
    assert forced.covers_all == (bake_filter is None)
    assert forced.bake_filter == (bake_filter or ())


@pytest.mark.parametrize(
    ("text", "named", "directly", "added"),
    [
        ("FROM a AS x\nFROM x AS y\nFROM b AS z\n", {"x"}, {"x"}, set()),
        ("FROM a AS x\nFROM x\nFROM b AS z\n", {"x"}, {"x", "stage-1", "z"}, {"z"}),
    ],
    ids=["named", "unnamed-dependent"],
)
def test_force_stages_unnamed_dependent_forces_every_stage_directly(
    text: str, named: set[str], directly: set[str], added: set[str]
) -> None:
    """Count dependents as forced by --no-cache itself only where all stages are forced for one without a name."""
    graph = parse_dockerfile(text)
    forced = graph.force_stages(named)
    assert {name for name in graph.names if forced.is_forced(name)} == directly
    assert forced.added == added


def test_stage_images_have_name_and_line() -> None:
    stage = parse_dockerfile("FROM debian\nRUN true\nCOPY --from=nginx:1 /a /a\n").stages[0]
    assert [(image.name, image.line) for image in stage.images] == [("debian", 1), ("nginx:1", 3)]


def test_parse_dockerfile_windows_line_endings_change_nothing() -> None:
    text = "FROM debian AS base\r\nRUN <<EOF\r\nFROM x AS fake\r\nEOF\r\nFROM base AS app\r\n"
    assert parse_dockerfile(text).names == ("base", "app")


def test_parse_dockerfile_mount_from_number_is_an_image() -> None:
    """Count stages for COPY only: `from=0` of a mount is an image called 0."""
    stage = parse_dockerfile("FROM a\nFROM b\nRUN --mount=from=0,target=/x true\n").stages[1]
    assert stage.parents == ()
    assert [image.name for image in stage.images] == ["b", "0"]


def test_parse_dockerfile_mount_key_in_upper_case_is_read() -> None:
    """Read `From=tools` of a mount as `from=tools`, as BuildKit does."""
    graph = parse_dockerfile("FROM a AS tools\nFROM b AS app\nRUN --mount=type=bind,From=tools,target=/x true\n")
    assert graph["app"].parents == ("tools",)


def test_parse_dockerfile_from_in_other_case_is_not_the_stage() -> None:
    """Take `FROM Base` for an image, as BuildKit does, or refuse it."""
    with contextlib.suppress(InputError):
        assert parse_dockerfile("FROM debian AS Base\nFROM Base AS app\n")["app"].parents == ()


def test_parse_dockerfile_copy_from_later_stage_hides_image() -> None:
    """Look at all stages for COPY --from, so that a later stage hides an image of that name."""
    graph = parse_dockerfile("FROM a AS x\nCOPY --from=nginx /a /a\nFROM b AS nginx\nFROM c AS last\n")
    assert graph["x"].parents == ("nginx",)


@pytest.mark.parametrize(
    "line", ["COPY --from=late /a /a", "COPY --from=1 /a /a", "RUN --mount=from=late,target=/x true"]
)
def test_parse_dockerfile_needed_stage_with_later_source_is_refused(line: str) -> None:
    """BuildKit: `cannot copy from stage "late", it needs to be defined before current stage`."""
    error = refused(f"FROM a AS early\n{line}\nFROM b AS late\nFROM early AS last\n")
    assert error.problem.startswith("docker/Dockerfile:2:")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "no FROM instruction"),
        ("# only a comment\nARG A=1\n", 1, "no FROM instruction"),
        ("ARG A=1\nRUN true\nFROM a\n", 2, "RUN before the first FROM"),
        ("FROM a\n\nFROM b AS 1st\n", 3, "`1st` is not a valid stage name"),
        ("FROM a AS x/y\n", 1, "`x/y` is not a valid stage name"),
        ("FROM a AS $X\n", 1, "`$X` is not a valid stage name"),
        ("FROM\n", 1, "one or three"),
        ("FROM a AS\n", 1, "one or three"),
        ("FROM a\nFROM a named b\n", 2, "one or three"),
        ("FROM a AS b c\n", 1, "one or three"),
        ("FROM a AS x\nCOPY --from=y /a /a\nFROM x AS y\n", 1, "cycle: x → y → x|cycle: y → x → y"),
        ("FROM a AS other\nFROM a AS x\nCOPY --from=x /a /a\n", 2, "cycle: x → x"),
        ("FROM a\nFROM b\nCOPY --from=2 /a /a\n", 3, "the stages are 0 to 1"),
        ("FROM a AS builder\nFROM b\nCOPY --from=buidler /a /a\n", 3, "unknown stage `buidler`"),
        ("FROM a AS builder\nFROM b\nRUN --mount=from=bulider,target=/x true\n", 3, "unknown stage `bulider`"),
        ("ARG X\nFROM ${X}\n", 2, "`FROM ${X}` is empty"),
        ('FROM a\nFROM ""\n', 2, "is empty"),
        ("FROM a\nFROM ${X:?unset}\n", 2, "unset"),
        ("FROM a\nFROM ${X\n", 2, "${X"),
        ("ARG X=${Y:?unset}\nFROM a\n", 1, "unset"),
        ("FROM a AS b\nFROM c\nCOPY --from=${S} /a /a\n", 3, "expand variables in `from=${S}`"),
        ("FROM a AS b\nFROM c\nRUN --mount=type=bind,from=$S,target=/x true\n", 3, "expand variables in `from=$S`"),
        ("FROM a\nRUN true\nFETCH x\n", 3, "unknown instruction: FETCH"),
        ("FROM a\n\nRUN <<EOF\necho\n", 3, "unterminated heredoc"),
        ("FROM a\nENV X\n", 2, "ENV must have two arguments"),
        ("# escape=x\nFROM a\n", 1, "invalid"),
    ],
    ids=[
        "empty-file", "only-arg", "run-before-from", "name-of-digit", "name-with-slash", "name-of-variable",
        "from-alone", "from-as-alone", "from-without-as", "from-of-four", "circle", "circle-of-one",
        "number-too-large", "misspelt-copy", "misspelt-mount", "from-empty", "from-quotes", "from-demands",
        "from-unclosed", "arg-demands", "variable-in-copy", "variable-in-mount", "unknown-instruction",
        "open-heredoc", "bad-env", "bad-escape",
    ],
)  # fmt: skip
def test_parse_dockerfile_invalid_text_raises_input_error_with_line(text: str, line: int, words: str) -> None:
    """Refuse what BuildKit refuses: begin with path and line, and give a hint."""
    error = refused(text)
    assert error.problem.startswith(f"docker/Dockerfile:{line}: ")
    assert any(word in error.problem for word in words.split("|"))
    assert error.hint
    assert error.exit_code == 2


def test_parse_dockerfile_unknown_target_suggests_similar_stage() -> None:
    error = refused("FROM a AS base\nFROM base AS builder\n", target="bulider")
    assert error.problem.startswith("docker/Dockerfile")
    assert "unknown stage `bulider`" in error.problem
    assert error.hint == "did you mean `builder`? the stages are: base, builder"


@pytest.mark.parametrize("reference", ["nginx", "builder2/x", "builder:1", "build.er", f"builder@sha256:{'0' * 64}"])
def test_parse_dockerfile_reference_like_an_image_is_an_image(reference: str) -> None:
    """Refuse only a bare word that is almost the name of a stage."""
    stage = parse_dockerfile(f"FROM a AS builder\nFROM b AS app\nCOPY --from={reference} /a /a\n")["app"]
    assert stage.images[-1].name == reference


def test_parse_dockerfile_named_context_is_not_a_misspelt_stage() -> None:
    text = "FROM a AS assets\nFROM b AS app\nCOPY --from=asset /a /a\n"
    assert parse_dockerfile(text, contexts={"asset": "./assets"})["app"].images[-1].name == "asset"
    refused(text)


@pytest.mark.parametrize("reference", ["²", "٣", "9" * 5000], ids=ascii)
def test_parse_dockerfile_other_digits_are_no_stage_number(reference: str) -> None:
    """BuildKit takes only ASCII digits for a number, and these for an image name that is not valid."""
    error = refused(f"FROM debian AS a\nCOPY --from={reference} /a /a\n")
    assert f"`{reference}` is not a valid image name" in error.problem


def test_parse_dockerfile_official_image_is_not_a_misspelt_stage() -> None:
    text = "FROM php AS composer-deps\nCOPY --from=composer /usr/bin/composer /usr/bin/\n"
    assert parse_dockerfile(text)["composer-deps"].images[-1].name == "composer"


def test_parse_dockerfile_equal_names_base_is_the_last_one_above() -> None:
    """FROM finds the last stage of that name above it; COPY --from and the target find the last of all."""
    text = "FROM a AS x\nFROM x AS y\nFROM b AS X\nFROM scratch\nCOPY --from=x /a /a\nCOPY --from=y /b /b\n"
    graph = parse_dockerfile(text)
    assert [(stage.name, stage.target, stage.line) for stage in graph.stages] == [
        ("stage-0", None, 1),
        ("y", "y", 2),
        ("x", "X", 3),
        ("stage-3", None, 4),
    ]
    assert graph["y"].parents == ("stage-0",)
    assert graph.final.parents == ("x", "y")
    assert parse_dockerfile(text, target="x").final.line == 3


def test_force_stages_equal_names_are_forced_together() -> None:
    """BuildKit forces every stage of a name that is in `no-cache-filter`."""
    text = "FROM a AS x\nFROM x AS y\nFROM b AS x\nFROM c AS z\nCOPY --from=x / /\nCOPY --from=y / /\nFROM z AS end\n"
    forced = parse_dockerfile(f"FROM q AS other\n{text}").force_stages(["x"])
    assert forced.bake_filter == ("x", "y", "z", "end")
    assert forced.is_forced("stage-1")
