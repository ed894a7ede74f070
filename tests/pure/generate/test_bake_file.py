"""Bake files: their targets, their escapes, and the options of one call."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
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
    is_generated,
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
    ssh=("default", "deploy=keys/deploy"),
    network="host",
    contexts={"debian:trixie-slim": "docker-image://mirror/debian"},
)


def read_string(quoted: str) -> str:
    """Return the text of an HCL string as hcl2.loads returns it: with quotes and escapes."""
    assert quoted[0] == quoted[-1] == '"'
    return re.sub(r"([$%])\1(?=\{)", r"\1", json.loads(quoted, strict=False))


def parse_blocks(hcl: str, kind: str) -> dict[str, dict[str, Any]]:
    """Return the blocks of one kind, by label."""
    found: dict[str, dict[str, Any]] = {}
    for block in hcl2.loads(hcl)[kind]:
        found |= {read_string(label): body for label, body in block.items()}
    return found


def render_targets(graph: StageGraph, settings: Settings = SETTINGS) -> dict[str, dict[str, Any]]:
    return parse_blocks(render_bake_file(graph, settings), "target")


def read_table(table: Mapping[str, Any]) -> dict[str, str]:
    """Return the strings of an HCL object, without the keys that hcl2.loads adds."""
    found: dict[str, str] = {}
    for key, value in table.items():
        if not key.startswith("__"):
            found[read_string(key)] = read_string(value)
    return found


def test_render_bake_file_with_all_settings_equals_the_golden_file() -> None:
    """Compare with a file that a person has read."""
    golden = HERE / "golden" / "docker-bake.hcl"
    assert render_bake_file(FIVE, SETTINGS) == golden.read_text(encoding="utf-8")


def test_render_bake_file_for_this_repository_equals_the_committed_file() -> None:
    """Compare docker-bake.hcl with the settings and example/Dockerfile."""
    settings = load_settings(REPOSITORY, {}, {})
    dockerfile = REPOSITORY / settings.dockerfile
    graph = parse_dockerfile(
        dockerfile.read_text(encoding="utf-8"),
        path=settings.dockerfile,
        target=settings.target,
        args=settings.args,
        platforms=settings.platforms,
        contexts=settings.contexts,
    )
    assert (REPOSITORY / BAKE_FILE).read_text(encoding="utf-8") == render_bake_file(graph, settings)


def test_render_bake_file_with_tables_in_another_order_returns_the_same_bytes() -> None:
    turned = replace(
        SETTINGS,
        args=dict(reversed(list(SETTINGS.args.items()))),
        contexts=dict(reversed(list(SETTINGS.contexts.items()))),
    )
    text = render_bake_file(FIVE, SETTINGS)
    assert render_bake_file(FIVE, SETTINGS) == text
    assert render_bake_file(FIVE, turned) == text


def test_render_bake_file_returns_hcl_with_a_target_for_each_stage() -> None:
    hcl = render_bake_file(FIVE, SETTINGS)
    assert set(parse_blocks(hcl, "target")) == {"_common", *FIVE.names}
    assert set(parse_blocks(hcl, "variable")) == {"IMAGE", "TAGS", "SCOPE", "CACHE", "SAVE"}
    groups = parse_blocks(hcl, "group")
    assert list(map(read_string, groups["default"]["targets"])) == ["runtime"]
    assert list(map(read_string, groups["stages"]["targets"])) == list(FIVE.names)


def test_render_bake_file_gives_only_the_final_target_tags() -> None:
    """Check that all other targets write to the cache only."""
    found = render_targets(FIVE)
    for name in FIVE.names:
        is_final = name == "runtime"
        assert ("tags" in found[name]) is is_final
        assert ("output" in found[name]) is not is_final


def test_render_bake_file_saves_each_stage_in_its_own_ref() -> None:
    """Check that no two targets share a cache ref: the last writer of a ref overwrites the others."""
    found = render_targets(FIVE)
    for name in FIVE.names:
        refs = re.findall(r"ref=([^,]+),", str(found[name]["cache-to"]))
        assert refs == [f"${{IMAGE}}:cache${{SCOPE}}-{name}"]
    assert set(found) == {"_common", *FIVE.names}


def test_render_bake_file_with_plain_settings_writes_only_required_attributes() -> None:
    common = render_targets(FIVE, Settings())["_common"]
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
def test_render_bake_file_with_special_characters_keeps_the_value(value: str) -> None:
    # `${` at the very end is missing here: python-hcl2 cannot read back what bake reads well
    common = render_targets(FIVE, Settings(args={"A": value}, contexts={"c": value}, secrets=(value,)))["_common"]
    assert read_table(common["args"]) == {"A": value}
    assert read_table(common["contexts"]) == {"c": value}
    assert [read_string(text) for text in common["secret"]] == [value]


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\r\nb"], ids=ascii)
def test_render_bake_file_with_line_ends_writes_a_string_on_one_line(value: str) -> None:
    """Escape line ends: HCL refuses them in a quoted string, also a carriage return (`Invalid multi-line string`)."""
    hcl = render_bake_file(FIVE, Settings(args={"A": value}))
    assert "\r" not in hcl
    expected = render_bake_file(FIVE, Settings(args={"A": "ab"}))
    assert len(hcl.split("\n")) == len(expected.split("\n"))


def test_render_bake_file_with_an_image_as_context_name_keeps_the_name() -> None:
    name = "ghcr.io/team/base:1.2@sha256:0"
    contexts = render_targets(FIVE, Settings(contexts={name: "x"}))["_common"]["contexts"]
    assert read_table(contexts) == {name: "x"}


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
def test_target_names_with_dots_and_group_names_are_valid_and_unique(names: list[str], found: list[str]) -> None:
    """Check the names: bake refuses dots, and `default` and `stages` are groups."""
    graph = parse_dockerfile("".join(f"FROM debian AS {name}\n" for name in names))
    assert list(target_names(graph).values()) == found
    assert set(render_targets(graph)) == {"_common", *found}
    assert [read_string(render_targets(graph)[name]["target"]) for name in found] == names


def test_render_bake_file_with_an_unnamed_last_stage_omits_the_target() -> None:
    """Omit the target: BuildKit refuses a number (`target stage "1" could not be found`)."""
    body = render_targets(parse_dockerfile("FROM debian AS base\nFROM base\nRUN true\n"))["stage-1"]
    assert "target" not in body


def test_render_bake_file_with_an_unnamed_inner_stage_skips_it() -> None:
    """Skip the stage: without a name it cannot be built by itself."""
    hcl = render_bake_file(
        parse_dockerfile("FROM debian\nRUN true\nFROM debian AS app\nCOPY --from=0 /a /a\n"), SETTINGS
    )
    assert [read_string(name) for name in parse_blocks(hcl, "group")["stages"]["targets"]] == ["app"]


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
def test_render_bake_file_writes_the_dockerfile_relative_to_the_context(
    context: str, dockerfile: str, written: str
) -> None:
    """Convert the path: settings name both files from the root, bake resolves the Dockerfile from the context."""
    common = render_targets(FIVE, Settings(context=context, dockerfile=dockerfile))["_common"]
    assert (read_string(common["context"]), read_string(common["dockerfile"])) == (context, written)


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
def test_render_call_file_with_forced_stages_filters_them_in_order(
    forced: set[str], key: str | None, value: object
) -> None:
    options = BakeOptions(
        stage="runtime",
        output="type=cacheonly",
        forced=FIVE.force_stages(forced),
    )
    text = render_call_file(FIVE, Settings(), options)
    (body,) = json.loads(text)["target"].values()
    assert body.pop("output") == ["type=cacheonly"]
    assert body == ({key: value} if key else {})


@pytest.mark.parametrize(("compression", "other"), [("gzip", "zstd"), ("zstd", "gzip")])
def test_render_call_file_with_image_layers_asks_for_the_other_compression(compression: str, other: str) -> None:
    settings = replace(SETTINGS, compression=compression, compression_level=9)
    options = BakeOptions(stage="runtime", output="type=cacheonly", save=True, image_layers=True)
    plain = "type=registry,ref=${IMAGE}:cache${SCOPE}-runtime,mode=min,image-manifest=true,oci-mediatypes=true"
    for recompress, more in ((False, ""), (True, ",force-compression=true")):
        text = render_call_file(FIVE, settings, replace(options, recompress=recompress))
        (body,) = json.loads(text)["target"].values()
        assert body["cache-to"] == [f"{plain},compression={other}{more}"]


def test_render_call_file_with_an_unnamed_forced_stage_forces_all() -> None:
    graph = parse_dockerfile("FROM a\nFROM b AS x\nFROM c AS y\n")
    options = BakeOptions(
        stage="y",
        output="type=cacheonly",
        forced=graph.force_stages({"stage-0"}),
    )
    text = render_call_file(graph, Settings(), options)
    assert json.loads(text)["target"]["y"]["no-cache"] is True


def test_render_call_file_filters_stages_by_their_written_names() -> None:
    graph = parse_dockerfile("FROM a AS Py3.12\nFROM b AS other\n", target="py3.12")
    options = BakeOptions(
        stage="py3.12",
        output="type=docker",
        forced=graph.force_stages({"py3.12"}),
    )
    text = render_call_file(graph, Settings(), options)
    assert json.loads(text)["target"] == {"py3_12": {"output": ["type=docker"], "no-cache-filter": ["Py3.12"]}}


@pytest.mark.parametrize(
    ("settings", "image", "cache"),
    [
        (Settings(), "", ""),
        (Settings(compression="gzip", compression_level=9), ",compression-level=9", ",compression-level=9"),
        (Settings(compression="zstd"), ",compression=zstd,oci-mediatypes=true", ",compression=zstd"),
        (
            Settings(compression="zstd", compression_level=0),
            ",compression=zstd,compression-level=0,oci-mediatypes=true",
            ",compression=zstd,compression-level=0",
        ),
    ],
    ids=["default", "gzip-level", "zstd", "zstd-level"],
)
def test_bake_file_compresses_image_and_caches_alike_and_converts_nothing(
    settings: Settings, image: str, cache: str
) -> None:
    targets = render_targets(FIVE, replace(settings, image="ghcr.io/team/app"))
    for stage in ("base", "runtime"):
        (export,) = re.findall(r'"(type=registry[^"]*)"', targets[stage]["cache-to"])
        assert export.endswith(f":cache${{SCOPE}}-{stage},mode=max,image-manifest=true,oci-mediatypes=true{cache}")
    assert targets["base"]["output"] == ['"type=cacheonly"']
    assert targets["runtime"].get("output") == ([f'"type=image{image}"'] if image else None)
    text = render_call_file(FIVE, settings, BakeOptions(stage="runtime", output="type=image,push=true"))
    assert json.loads(text)["target"]["runtime"]["output"] == [f"type=image,push=true{image}"]


@pytest.mark.parametrize("output", ["type=docker", "type=cacheonly"])
def test_render_call_file_compresses_only_an_image(output: str) -> None:
    text = render_call_file(FIVE, Settings(compression="zstd"), BakeOptions(stage="runtime", output=output))
    assert json.loads(text)["target"]["runtime"]["output"] == [output]


def test_bake_file_with_github_cache_service_chooses_no_compression_for_it() -> None:
    """BuildKit's exporter for that service has none to choose (cache/remotecache/gha/gha.go)."""
    settings = Settings(image="ghcr.io/team/app", cache="gha", compression="zstd")
    assert "compression" not in render_targets(FIVE, settings)["base"]["cache-to"]


@pytest.mark.parametrize(("compression", "other"), [("gzip", "zstd"), ("zstd", "gzip")])
def test_render_call_file_recompresses_to_the_other_compression(compression: str, other: str) -> None:
    settings = Settings(image="ghcr.io/team/app", compression=compression, compression_level=7)
    attributes = f",compression={other},force-compression=true"
    image = BakeOptions(stage="runtime", output="type=image,push=true", recompress=True)
    (output,) = json.loads(render_call_file(FIVE, settings, image))["target"]["runtime"]["output"]
    assert output.removesuffix(",oci-mediatypes=true") == f"type=image,push=true{attributes}"
    save = BakeOptions(stage="base", output="type=cacheonly", save=True, recompress=True)
    target = json.loads(render_call_file(FIVE, settings, save))["target"]["base"]
    assert target["output"] == ["type=cacheonly"]
    assert target["cache-to"][0].endswith(f"oci-mediatypes=true{attributes}")


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
def test_bake_variables_have_a_value_for_each_variable(
    settings: Settings, bake_options: BakeOptions, scope: Scope, expected: dict[str, str]
) -> None:
    """Give each variable a value, because bake reads missing ones from the caller's environment."""
    assert bake_variables(settings, bake_options, scope) == expected
    assert set(expected) == set(parse_blocks(render_bake_file(FIVE, settings), "variable"))


@pytest.mark.parametrize(("network", "right"), [(None, False), ("none", False), ("host", True)])
def test_bake_permissions_allow_the_host_network_only_when_set(network: str | None, right: bool) -> None:
    assert ("network.host" in bake_permissions(Settings(network=network))) is right


@pytest.mark.parametrize(
    ("override", "allowed"),
    [
        (None, []),
        ('target "app" {\n  shm-size = "1g"\n}\n', []),
        ('target "app" {\n  entitlements = ["security.insecure"]\n}\n', ["security.insecure"]),
        (
            'target "a" {\n  entitlements = ["network.host"]\n}\ntarget "b" {\n  entitlements = ["device"]\n}\n',
            ["network.host", "device"],
        ),
        ("entitlements = [", []),
        ('target "app" {\n  entitlements = 1\n}\n', []),
    ],
)
def test_bake_permissions_allow_what_the_override_file_asks_for(override: str | None, allowed: list[str]) -> None:
    assert bake_permissions(Settings(), override) == ("fs.read=*", *allowed)


@pytest.mark.parametrize(
    ("settings", "right"),
    [
        (Settings(), False),
        (Settings(ssh=("default",)), True),
        (Settings(ssh=("deploy=keys/deploy",)), False),
        (Settings(ssh=("deploy=keys/deploy", "other")), True),
        (Settings(context="git@github.com:o/n.git"), True),
        (Settings(context="https://github.com/o/n.git"), False),
    ],
    ids=["none", "agent", "key", "key-and-agent", "context-by-ssh", "context-by-https"],
)
def test_bake_permissions_allow_ssh_only_for_the_agent(settings: Settings, right: bool) -> None:
    assert ("ssh" in bake_permissions(settings)) is right


def test_render_bake_file_with_local_caches_writes_a_tag_in_a_folder() -> None:
    """Check the tag of each stage, and a default folder in the home of whoever runs bake."""
    settings = Settings(image="ghcr.io/o/n", cache="local")
    base = render_targets(FIVE, settings)["base"]
    assert '"type=local,dest=${FOLDER}/${IMAGE},tag=cache${SCOPE}-base,mode=max' in base["cache-to"]
    assert render_targets(FIVE, settings)["_common"]["cache-from"].endswith(
        '["type=local,src=${FOLDER}/${IMAGE},${CACHE}"]}'
    )
    variables = parse_blocks(render_bake_file(FIVE, settings), "variable")
    assert read_string(variables["FOLDER"]["default"]) == "${HOME}/.cache/stagebake"
    assert variables["HOME"]["default"] == '""'


def test_bake_variables_with_local_caches_have_the_writable_folder(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path / "x", cache="local", folder="../caches")
    given = bake_variables(settings, BakeOptions(stage="base", output=""), DEFAULT_SCOPE)
    assert given["FOLDER"] == str(tmp_path / "caches")
    assert bake_permissions(settings) == ("fs.read=*", f"fs.write={tmp_path}/caches")
    assert "FOLDER" not in bake_variables(Settings(), BakeOptions(stage="base", output=""), DEFAULT_SCOPE)


def test_render_bake_file_escapes_wide_characters_with_eight_digits() -> None:
    """Write eight digits: HCL's `\\u` takes four, and reads the others as text."""
    assert '"\\U000e0001"' in render_bake_file(FIVE, Settings(args={"A": "\U000e0001"}))


def test_render_bake_file_with_a_tag_in_the_settings_uses_it_by_default() -> None:
    variables = parse_blocks(render_bake_file(FIVE, Settings(image="ghcr.io/o/n", tag="1.2")), "variable")
    assert read_string(variables["TAGS"]["default"]) == "1.2"


@pytest.mark.parametrize(
    "first_line",
    [
        "# Generated by stagebake from Dockerfile; do not edit.",
        "# Written by stagebake from Dockerfile: `nox -s generate` writes it anew, and edits here are lost.",
    ],
    ids=["now", "before"],
)
def test_is_generated_with_headers_of_all_versions_returns_true(first_line: str) -> None:
    assert is_generated(f'{first_line}\n\ngroup "default" {{}}\n')


def test_is_generated_for_a_rendered_file_returns_true() -> None:
    assert is_generated(render_bake_file(FIVE, SETTINGS))


@pytest.mark.parametrize("text", ["", 'target "app" {}\n', "# Generated by hand\n"])
def test_is_generated_for_another_file_returns_false(text: str) -> None:
    assert not is_generated(text)


def test_the_header_names_the_override_file_and_the_command() -> None:
    header = render_bake_file(FIVE, SETTINGS).partition("\n\n")[0]
    assert "do not edit. Put changes in docker-bake.override.hcl" in header
    assert re.search(r"^# +docker buildx bake -f docker-bake.hcl  +build the final stage", header, re.MULTILINE)
