"""StageGraph and Settings to docker-bake.hcl."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import hcl2
import pytest

from stagebake.cache.scopes import DEFAULT_SCOPE, Scope
from stagebake.dockerfile.stages import StageGraph, parse_dockerfile
from stagebake.generate.bake_file import (
    BAKE_FILE,
    BakeOptions,
    bake_permissions,
    bake_variables,
    render_bake_file,
    render_call_file,
    target_names,
)
from stagebake.project.settings import Settings, load_settings

HERE = Path(__file__).parents[1]
REPOSITORY = HERE.parent.parent

FIVE = parse_dockerfile((HERE / "dockerfiles" / "five-stages.Dockerfile").read_text(encoding="utf-8"))
SETTINGS = Settings(
    image="ghcr.io/team/app",
    platforms=("linux/amd64",),
    args={"PYTHON": "3.13", "GREETING": 'say "hi"'},
    secrets=("id=token,env=TOKEN",),
    network="host",
    contexts={"debian:trixie-slim": "docker-image://mirror/debian"},
)


def text_of(quoted: str) -> str:
    """The text that an HCL string stands for: hcl2.loads gives it as written, quotes, escapes and all."""
    assert quoted[0] == quoted[-1] == '"'
    return re.sub(r"([$%])\1(?=\{)", r"\1", json.loads(quoted, strict=False))


def blocks(hcl: str, kind: str) -> dict[str, dict[str, Any]]:
    """The blocks of one kind, by label."""
    found: dict[str, dict[str, Any]] = {}
    for block in hcl2.loads(hcl)[kind]:
        found |= {text_of(label): body for label, body in block.items()}
    return found


def targets(graph: StageGraph, settings: Settings = SETTINGS) -> dict[str, dict[str, Any]]:
    return blocks(render_bake_file(graph, settings), "target")


def test_the_golden_file() -> None:
    """The bake file of five stages and all settings, as it was read by a person."""
    assert render_bake_file(FIVE, SETTINGS) == (HERE / "golden" / "docker-bake.hcl").read_text(encoding="utf-8")


def test_the_committed_bake_file_is_what_render_gives() -> None:
    """docker-bake.hcl of this repository is up to date with its settings and example/Dockerfile."""
    settings = load_settings(REPOSITORY, {}, {})
    graph = parse_dockerfile(
        (REPOSITORY / settings.dockerfile).read_text(encoding="utf-8"),
        path=settings.dockerfile,
        target=settings.target,
        args=settings.args,
        platforms=settings.platforms,
        contexts=settings.contexts,
    )
    assert (REPOSITORY / BAKE_FILE).read_text(encoding="utf-8") == render_bake_file(graph, settings)


def test_the_same_input_gives_the_same_bytes() -> None:
    """Neither the order of tables nor the call changes anything."""
    turned = Settings(
        **{
            **vars(SETTINGS),
            "args": dict(reversed(list(SETTINGS.args.items()))),
            "contexts": dict(reversed(list(SETTINGS.contexts.items()))),
        }
    )
    assert render_bake_file(FIVE, SETTINGS) == render_bake_file(FIVE, SETTINGS) == render_bake_file(FIVE, turned)


def test_the_file_parses_back() -> None:
    """What is written is HCL, with a target for every stage and the two groups."""
    hcl = render_bake_file(FIVE, SETTINGS)
    assert set(blocks(hcl, "target")) == {"_common", *FIVE.names}
    assert set(blocks(hcl, "variable")) == {"IMAGE", "TAGS", "SCOPE", "CACHE", "SAVE"}
    groups = blocks(hcl, "group")
    assert [text_of(name) for name in groups["default"]["targets"]] == ["runtime"]
    assert [text_of(name) for name in groups["stages"]["targets"]] == list(FIVE.names)


def test_only_the_final_stage_makes_an_image() -> None:
    """The final target has tags; the others go into the cache and nowhere else."""
    for name, body in targets(FIVE).items():
        if name != "_common":
            assert ("tags" in body, "output" in body) == (name == "runtime", name != "runtime")


def test_each_stage_writes_its_own_ref() -> None:
    """No two targets share the ref of a cache: the last writer of a ref wins."""
    refs = [
        re.findall(r"ref=([^,]+),", str(body["cache-to"])) for name, body in targets(FIVE).items() if name != "_common"
    ]
    assert refs == [[f"${{IMAGE}}:cache${{SCOPE}}-{name}"] for name in FIVE.names]


def test_what_is_not_set_is_not_written() -> None:
    """Plain settings leave context, Dockerfile and cache, and no more."""
    common = targets(FIVE, Settings())["_common"]
    assert {key for key in common if not key.startswith("__")} == {"context", "dockerfile", "cache-from"}


@pytest.mark.parametrize(
    "value",
    [
        'say "hi"', '"', "${HOME}", "%{if}", "$${HOME}", "$$${HOME}", "%%{if}", "$", "%", "$%{x}", "{}", "\\",
        "\\n", "\\\\", '\\"', "a\nb", "a\tb", "a\r\nb", "größe 枝 😀", "\\u0022", "'", "`", "a, b", "# no comment",
        "//", "/* */", "", " ", "<<EOF\nx\nEOF", "$(x)", "a=b", "\u2028", "\x01\x7f",
    ],
    ids=ascii,
)  # fmt: skip
def test_hard_values_survive(value: str) -> None:
    """Whatever an argument or a context holds, exactly that is written."""
    # `${` at the very end is missing here: python-hcl2 cannot read back what bake reads well
    common = targets(FIVE, Settings(args={"A": value}, contexts={"c": value}, secrets=(value,)))["_common"]
    assert {text_of(key): text_of(text) for key, text in common["args"].items() if not key.startswith("__")} == {
        "A": value
    }
    assert text_of(next(text for key, text in common["contexts"].items() if not key.startswith("__"))) == value
    assert [text_of(text) for text in common["secret"]] == [value]


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\r\nb"], ids=ascii)
def test_a_string_stands_on_one_line(value: str) -> None:
    """HCL takes no line end in a quoted string, and a carriage return is one (`Invalid multi-line string`)."""
    hcl = render_bake_file(FIVE, Settings(args={"A": value}))
    assert "\r" not in hcl
    assert len(hcl.split("\n")) == len(render_bake_file(FIVE, Settings(args={"A": "ab"})).split("\n"))


def test_hard_names_survive() -> None:
    """The name of a context is an image, with slashes, colons and all."""
    name = "ghcr.io/team/base:1.2@sha256:0"
    contexts = targets(FIVE, Settings(contexts={name: "x"}))["_common"]["contexts"]
    assert [text_of(key) for key in contexts if not key.startswith("__")] == [name]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["base"], ["base"]),
        (["py3.12"], ["py3_12"]),
        (["a.b", "a_b"], ["a_b_", "a_b"]),
        (["a.b", "a_b", "a_b_"], ["a_b__", "a_b", "a_b_"]),
        (["a.b.c", "a.b_c"], ["a_b_c", "a_b_c_"]),
        (["default", "stages"], ["default_", "stages_"]),
        (["default", "default_"], ["default_", "default__"]),
    ],
    ids=lambda value: "+".join(value),
)
def test_names_of_targets(names: list[str], found: list[str]) -> None:
    """Bake takes no dots, `default` and `stages` are groups, and no two stages share a target."""
    graph = parse_dockerfile("".join(f"FROM debian AS {name}\n" for name in names))
    assert list(target_names(graph).values()) == found
    assert set(targets(graph)) == {"_common", *found}
    assert [text_of(targets(graph)[name]["target"]) for name in found] == names


def test_an_unnamed_last_stage_is_built_without_a_target() -> None:
    """BuildKit knows no number as a target (`target stage "1" could not be found`); the last stage needs none."""
    body = targets(parse_dockerfile("FROM debian AS base\nFROM base\nRUN true\n"))["stage-1"]
    assert "target" not in body


def test_an_unnamed_stage_in_between_is_no_target() -> None:
    """A stage that has no name cannot be built by itself, so `bake stages` must not try to."""
    hcl = render_bake_file(
        parse_dockerfile("FROM debian\nRUN true\nFROM debian AS app\nCOPY --from=0 /a /a\n"), SETTINGS
    )
    assert [text_of(name) for name in blocks(hcl, "group")["stages"]["targets"]] == ["app"]


@pytest.mark.parametrize(
    ("context", "dockerfile", "written"),
    [
        (".", "Dockerfile", "Dockerfile"),
        ("example", "example/Dockerfile", "Dockerfile"),
        ("src", "docker/Dockerfile", "../docker/Dockerfile"),
        (".", "docker/app.Dockerfile", "docker/app.Dockerfile"),
        ("https://github.com/o/n.git", "Dockerfile", "Dockerfile"),
    ],
)
def test_the_dockerfile_is_seen_from_the_context(context: str, dockerfile: str, written: str) -> None:
    """Settings name both from the root; bake looks for the Dockerfile from the context on."""
    common = targets(FIVE, Settings(context=context, dockerfile=dockerfile))["_common"]
    assert (text_of(common["context"]), text_of(common["dockerfile"])) == (context, written)


@pytest.mark.parametrize(
    ("forced", "key", "value"),
    [
        (set(), None, None),
        ({"runtime"}, "no-cache-filter", ["runtime"]),
        ({"runtime", "builder"}, "no-cache-filter", ["builder", "runtime"]),
        ({"base", "python-deps", "node-deps", "builder", "runtime"}, "no-cache", True),
    ],
    ids=["none", "one", "in-order", "all"],
)
def test_forced_stages_stand_in_the_override(forced: set[str], key: str | None, value: object) -> None:
    """A filter names the forced stages in the Dockerfile's order; forcing all needs none."""
    text = render_call_file(
        FIVE, Settings(), BakeOptions(stage="runtime", output="type=cacheonly", forced=FIVE.force_stages(forced))
    )
    (body,) = json.loads(text)["target"].values()
    assert body.pop("output") == ["type=cacheonly"]
    assert body == ({key: value} if key else {})


def test_forcing_an_unnamed_stage_forces_all() -> None:
    """An unnamed stage cannot stand in a filter."""
    graph = parse_dockerfile("FROM a\nFROM b AS x\nFROM c AS y\n")
    text = render_call_file(
        graph, Settings(), BakeOptions(stage="y", output="type=cacheonly", forced=graph.force_stages({"stage-0"}))
    )
    assert json.loads(text)["target"]["y"]["no-cache"] is True


def test_a_filter_names_stages_as_written() -> None:
    """The override is laid over the target of the stage, and the filter takes the Dockerfile's own names."""
    graph = parse_dockerfile("FROM a AS Py3.12\nFROM b AS other\n", target="py3.12")
    text = render_call_file(
        graph, Settings(), BakeOptions(stage="py3.12", output="type=docker", forced=graph.force_stages({"py3.12"}))
    )
    assert json.loads(text)["target"] == {"py3_12": {"output": ["type=docker"], "no-cache-filter": ["Py3.12"]}}


@pytest.mark.parametrize(
    ("settings", "bake_options", "scope", "expected"),
    [
        (
            SETTINGS,
            BakeOptions(stage="runtime", output="x"),
            DEFAULT_SCOPE,
            {"IMAGE": "ghcr.io/team/app", "TAGS": "latest", "SCOPE": "", "CACHE": "", "SAVE": ""},
        ),
        (
            Settings(image="r.io/a", tag="1"),
            BakeOptions(stage="base", output="x", cache="r.io/a@sha256:0", save=True),
            Scope("x"),
            {"IMAGE": "r.io/a", "TAGS": "1", "SCOPE": Scope("x").suffix, "CACHE": "r.io/a@sha256:0", "SAVE": "1"},
        ),
        (
            Settings(root=Path("/nowhere/My App")),
            BakeOptions(stage="base", output="x"),
            DEFAULT_SCOPE,
            {"IMAGE": "my-app", "TAGS": "latest", "SCOPE": "", "CACHE": "", "SAVE": ""},
        ),
    ],
    ids=["plain", "everything", "no-image"],
)
def test_variables(settings: Settings, bake_options: BakeOptions, scope: Scope, expected: dict[str, str]) -> None:
    """Every variable of the file has a value, so that nothing of the caller's environment slips in."""
    assert bake_variables(settings, bake_options, scope) == expected
    assert set(expected) == set(blocks(render_bake_file(FIVE, settings), "variable"))


@pytest.mark.parametrize(("network", "right"), [(None, False), ("none", False), ("host", True)])
def test_rights(network: str | None, right: bool) -> None:
    """Host network is allowed where the settings ask for it, and only there."""
    assert ("network.host" in bake_permissions(Settings(network=network))) is right


def test_local_caches_are_tags_of_a_folder_per_image() -> None:
    """Each stage has a tag in the folder, whose default is seen from the home of whoever runs bake."""
    settings = Settings(image="ghcr.io/o/n", cache="local")
    base = targets(FIVE, settings)["base"]
    assert '"type=local,dest=${FOLDER}/${IMAGE},tag=cache${SCOPE}-base,mode=max' in base["cache-to"]
    assert targets(FIVE, settings)["_common"]["cache-from"].endswith('["type=local,src=${FOLDER}/${IMAGE},${CACHE}"]}')
    variables = blocks(render_bake_file(FIVE, settings), "variable")
    assert text_of(variables["FOLDER"]["default"]) == "${HOME}/.cache/stagebake"
    assert variables["HOME"]["default"] == '""'


def test_a_call_says_where_local_caches_lie_and_may_write_there(tmp_path: Path) -> None:
    """Bake gets the folder as it is on this machine, and the right to write it."""
    settings = Settings(root=tmp_path / "x", cache="local", folder="../caches")
    given = bake_variables(settings, BakeOptions(stage="base", output=""), DEFAULT_SCOPE)
    assert given["FOLDER"] == str(tmp_path / "caches")
    assert bake_permissions(settings) == ("fs.read=*", f"fs.write={tmp_path}/caches")
    assert "FOLDER" not in bake_variables(Settings(), BakeOptions(stage="base", output=""), DEFAULT_SCOPE)


def test_a_character_beyond_the_basic_plane_has_eight_digits() -> None:
    """HCL's `\\u` takes four digits; what follows would be read as text."""
    assert '"\\U000e0001"' in render_bake_file(FIVE, Settings(args={"A": "\U000e0001"}))


def test_the_tag_of_the_settings_is_the_default_of_tags() -> None:
    """A plain bake gives the image the tag that its name has in the settings."""
    variables = blocks(render_bake_file(FIVE, Settings(image="ghcr.io/o/n", tag="1.2")), "variable")
    assert text_of(variables["TAGS"]["default"]) == "1.2"
