"""Test how settings are read from a file, the environment and flags."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from stagebake.errors import InputError
from stagebake.project.settings import BUDGETS, SETTING_KEYS, Settings, load_settings, misspelt_variables


def load_given(
    root: Path,
    *,
    pyproject: str | None = None,
    own: str | None = None,
    environment: dict[str, str] | None = None,
    **flags: Any,
) -> Settings:
    for name, text in (("pyproject.toml", pyproject), ("stagebake.toml", own)):
        if text is not None:
            (root / name).write_text(text, encoding="utf-8")
    return load_settings(root, environment or {}, flags)


def load_refused(root: Path, **given: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        load_given(root, **given)
    assert caught.value.hint
    return caught.value


def test_setting_keys_match_fields_of_settings() -> None:
    names = [field.name.replace("_", "-") for field in fields(Settings)]
    assert [name for name in names if name not in ("root", "tag", "origins")] == list(SETTING_KEYS)
    assert all(key.meaning for key in SETTING_KEYS.values())


def test_load_settings_of_empty_folder_returns_defaults(tmp_path: Path) -> None:
    assert load_given(tmp_path) == Settings(root=tmp_path)
    assert (Settings().image, Settings().tag, Settings().dockerfile, Settings().context) == (
        None, None, "Dockerfile", ".",
    )  # fmt: skip


def test_load_settings_of_pyproject_without_table_returns_defaults(tmp_path: Path) -> None:
    assert load_given(tmp_path, pyproject='[project]\nname = "x"\n[tool.ruff]\n') == Settings(root=tmp_path)


@pytest.mark.parametrize("name", ["pyproject", "own"])
def test_load_settings_of_file_reads_every_key(tmp_path: Path, name: str) -> None:
    """Read [tool.stagebake] of pyproject.toml, or the top of stagebake.toml."""
    text = """image = "ghcr.io/o/n:1.2"
dockerfile = "docker/Dockerfile"
context = "src"
target = "app"
platforms = ["linux/amd64", "linux/arm64"]
secrets = ["id=token,env=TOKEN"]
ssh = ["default", "deploy=keys/deploy"]
network = "host"
mirror = "mirror.example/ghcr"
budgets = { code = 4.5 }
patience = { read = 90 }
args = { V = "1", N = 2, F = 0.5, ON = true, OFF = false }
doctor = { select = ["secret"], fail-on = ["all"] }

[contexts]
"debian:trixie" = "docker-image://x"
"""
    if name == "pyproject":
        text = "[tool.stagebake]\n" + text.replace("[contexts]", "[tool.stagebake.contexts]")
    settings = load_given(
        tmp_path, pyproject=text if name == "pyproject" else None, own=text if name == "own" else None
    )
    file = "pyproject.toml" if name == "pyproject" else "stagebake.toml"
    assert settings.origins["target"] == f"{file}:{5 if name == 'pyproject' else 4}"
    assert replace(settings, origins={}) == Settings(
        root=tmp_path,
        image="ghcr.io/o/n",
        tag="1.2",
        dockerfile="docker/Dockerfile",
        context="src",
        target="app",
        platforms=("linux/amd64", "linux/arm64"),
        secrets=("id=token,env=TOKEN",),
        ssh=("default", "deploy=keys/deploy"),
        network="host",
        mirror="mirror.example/ghcr",
        budgets={"restore": 2, "code": 4.5, "dependencies": 15, "full": 30},
        patience={"read": 90, "write": 1800},
        args={"V": "1", "N": "2", "F": "0.5", "ON": "true", "OFF": "false"},
        contexts={"debian:trixie": "docker-image://x"},
        doctor={"select": ("secret",), "fail-on": ("all",)},
    )


def test_load_settings_of_both_files_ignores_pyproject(tmp_path: Path) -> None:
    settings = load_given(
        tmp_path, pyproject='[tool.stagebake]\ntarget = "a"\nnetwork = "host"\n', own='target = "b"\n'
    )
    assert (settings.target, settings.network) == ("b", None)


@pytest.mark.parametrize(
    ("file", "environment", "flag", "found"),
    [
        (True, False, False, "file"),
        (True, True, False, "environment"),
        (True, True, True, "flag"),
        (True, False, True, "flag"),
        (False, True, True, "flag"),
        (False, True, False, "environment"),
        (False, False, False, None),
    ],
)
def test_load_settings_of_several_places_prefers_flag_then_variable_then_file(
    tmp_path: Path, file: bool, environment: bool, flag: bool, found: str | None
) -> None:
    """Ignore a flag that is None."""
    settings = load_given(
        tmp_path,
        pyproject='[tool.stagebake]\ntarget = "file"\n' if file else None,
        environment={"STAGEBAKE_TARGET": "environment"} if environment else {},
        target="flag" if flag else None,
    )
    assert settings.target == found


def test_load_settings_of_empty_variable_ignores_it(tmp_path: Path) -> None:
    assert load_given(tmp_path, own='target = "a"\n', environment={"STAGEBAKE_TARGET": ""}).target == "a"


def test_load_settings_of_variables_reads_lists_and_tables(tmp_path: Path) -> None:
    """Split words as a shell does; a table is NAME=VALUE words."""
    settings = load_given(
        tmp_path,
        environment={
            "STAGEBAKE_PLATFORMS": "linux/amd64  linux/arm64",
            "STAGEBAKE_ARGS": "A=1 'B=two words' C=x=y D=",
            "STAGEBAKE_SECRETS": "'id=a,src=my file'",
            "STAGEBAKE_IMAGE": "localhost:5000/x:y",
        },
    )
    assert settings.platforms == ("linux/amd64", "linux/arm64")
    assert settings.args == {"A": "1", "B": "two words", "C": "x=y", "D": ""}
    assert settings.secrets == ("id=a,src=my file",)
    assert (settings.image, settings.tag) == ("localhost:5000/x", "y")


def test_load_settings_of_several_places_merges_tables(tmp_path: Path) -> None:
    """Merge tables name by name, and replace lists."""
    settings = load_given(
        tmp_path,
        own='platforms = ["linux/amd64"]\n[args]\nA = "file"\nB = "file"\nC = "file"\n',
        environment={"STAGEBAKE_ARGS": "B=environment C=environment", "STAGEBAKE_PLATFORMS": "linux/arm64"},
        args={"C": "flag", "D": "flag"},
    )
    assert settings.args == {"A": "file", "B": "environment", "C": "flag", "D": "flag"}
    assert settings.platforms == ("linux/arm64",)


@pytest.mark.parametrize(
    ("file", "text", "where", "words"),
    [
        ("pyproject", '[x]\n\n[tool.stagebake]\nimage = "a"\nplatform = 1\n', "pyproject.toml:5: ", "`platform`"),
        ("own", '\n\ntargets = "a"\n', "stagebake.toml:3: ", "`targets`"),
        ("own", 'target = "a"\n\n[context-s]\n', "stagebake.toml:3: ", "`context-s`"),
        ("own", 'root = "/"\n', "stagebake.toml:1: ", "`root`"),
        ("own", 'tag = "x"\n', "stagebake.toml:1: ", "`tag`"),
        ("own", 'image = "a"\ntarget = 3\n', "stagebake.toml:2: ", "`target` must be a string"),
        ("own", 'image = "a"\nplatforms = "linux"\n', "stagebake.toml:2: ", "`platforms` must be a list of strings"),
        ("own", "platforms = [1]\n", "stagebake.toml:1: ", "`platforms` must be a list of strings"),
        ("own", 'image = "a"\n\nargs = ["A=1"]\n', "stagebake.toml:3: ", "`args` must be a table"),
        ("own", "[args]\nA = [1]\n", "stagebake.toml:1: ", "`args.A` must be a string, a number or a boolean"),
        ("own", "args.A = { b = 1 }\n", "stagebake.toml:1: ", "`args.A` must be a string, a number or a boolean"),
        ("pyproject", "[tool.ruff]\nx = 1\n[tool.stagebake.args]\nA = [1]\n", "pyproject.toml:3: ", "`args.A`"),
        ("own", 'image = "a"\ntarget = = 1\n', "stagebake.toml:2: ", "nvalid value"),
        ("own", 'image = "a"\nimage = "b"\n', "stagebake.toml:2: ", "verwrite"),
        ("own", 'image = "a"\n\ntarget =', "stagebake.toml:3: ", "nvalid value"),
        ("pyproject", '[tool]\nstagebake = "x"\n', "pyproject.toml:2: ", "table"),
        ("pyproject", "tool = 3\n", "pyproject.toml:1: ", "table"),
        ("pyproject", "\n[[tool]]\n", "pyproject.toml:2: ", "table"),
        ("pyproject", "[tool]\nx = 1\nstagebake = { image = 3 }\n", "pyproject.toml:3: ", "`image`"),
        ("pyproject", "x = 1\ntool = { stagebake = { image = 3 } }\n", "pyproject.toml:2: ", "`image`"),
        ("pyproject", "x = 1\ntool.stagebake.image = 3\n", "pyproject.toml:2: ", "`image`"),
        ("pyproject", "[tool.stagebake-x]\nimage = 1\n[tool.stagebake]\nimage = 3\n", "pyproject.toml:4: ", "`image`"),
        ("pyproject", "# [tool.stagebake]\n[x]\nimage = 1\n[tool.stagebake]\nimage = 3\n", "pyproject.toml:5: ", "`im"),
        ("pyproject", "[tool.stagebake.args]\nimage = 1\n[tool.stagebake]\nimage = 3\n", "pyproject.toml:4: ", "`im"),
        ("pyproject", "[tool.stagebake]\n[x]\nplatform = 1\n[tool.stagebake.platform]\n", "pyproject.toml:4: ", "`pl"),
        ("pyproject", '[ tool . "stagebake" ]\n\n"im\\u0061ge" = 3\n', "pyproject.toml:3: ", "`image`"),
        ("own", 'image = """\\\ntarget = 5\\\n"""\n\ntarget = 3\n', "stagebake.toml:5: ", "`target`"),
        ("own", "# target = 1\nplatforms = [\n  1,\n]\n", "stagebake.toml:2: ", "`platforms`"),
    ],
    ids=[
        "misspelt", "misspelt-own", "misspelt-table", "root", "tag", "not-text", "not-list", "not-texts", "not-table",
        "list-in-table", "table-in-table", "table-of-pyproject", "bad-toml", "twice", "bad-at-the-end",
        "stagebake-not-table", "tool-not-table", "tables-not-table", "inline-table", "inline-tables", "dotted",
        "another-table", "comment-above", "key-of-a-subtable", "key-of-another-table", "escaped", "in-a-string",
        "several-lines",
    ],
)  # fmt: skip
def test_load_settings_of_invalid_file_names_file_and_line(
    tmp_path: Path, file: str, text: str, where: str, words: str
) -> None:
    error = load_refused(tmp_path, **{file: text})
    assert error.problem.startswith(where)
    assert words in error.problem


@pytest.mark.parametrize(
    ("key", "meant"),
    [("platform", "platforms"), ("imgae", "image"), ("arg", "args"), ("docker-file", "dockerfile"), ("zzz", None)],
)
def test_load_settings_of_misspelt_key_suggests_the_nearest(tmp_path: Path, key: str, meant: str | None) -> None:
    error = load_refused(tmp_path, own=f'{key} = "x"\n')
    assert error.hint.startswith(f"did you mean `{meant}`? " if meant else "the settings are: ")
    assert "image, dockerfile, context, target" in error.hint


def test_load_settings_of_file_in_other_encoding_raises_input_error(tmp_path: Path) -> None:
    (tmp_path / "stagebake.toml").write_bytes(b'image = "\xff"\n')
    assert load_refused(tmp_path).problem.startswith("stagebake.toml")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("STAGEBAKE_ARGS", "A"),
        ("STAGEBAKE_ARGS", "A=1 =2"),
        ("STAGEBAKE_CONTEXTS", "debian"),
        ("STAGEBAKE_ARGS", "'A=1"),
        ("STAGEBAKE_PLATFORMS", '"linux/amd64'),
    ],
    ids=["no-value", "no-name", "context", "open-quote", "open-quote-in-list"],
)
def test_load_settings_of_invalid_variable_names_it(tmp_path: Path, name: str, text: str) -> None:
    assert load_refused(tmp_path, environment={name: text}).problem.startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("folder", "name"), [("My App", "my-app"), ("a__b.c", "a-b-c"), ("ß", "image"), ("-x-", "x"), ("ÄPP", "pp")]
)
def test_local_image_of_folder_is_a_valid_name(folder: str, name: str) -> None:
    assert Settings(root=Path("/nowhere") / folder).local_image == name


@pytest.mark.parametrize(("name", "guess"), [("regestry", "did you mean `registry`? "), ("s3", "use one of: ")])
def test_load_settings_of_unknown_backend_lists_all(tmp_path: Path, name: str, guess: str) -> None:
    flag = load_refused(tmp_path, cache=name)
    for error in (flag, load_refused(tmp_path, own=f'cache = "{name}"\n')):
        assert f"unknown cache back end `{name}`" in error.problem
        assert error.hint.startswith(guess)
        assert "registry, " in error.hint


@pytest.mark.parametrize(("folder", "words"), [("app/caches", "build context"), ("a,b", "comma"), ('a"b', "quote")])
def test_load_settings_of_unusable_cache_folder_is_refused(tmp_path: Path, folder: str, words: str) -> None:
    """Refuse a folder in the build context, and characters that end an attribute of bake."""
    error = load_refused(tmp_path, own=f"context = 'app'\nfolder = '{folder}'\n")
    assert error.problem.startswith("stagebake.toml:2: ")
    assert words in error.problem


def test_cache_folder_is_relative_to_home_or_root(tmp_path: Path) -> None:
    assert Settings().cache_folder == Path.home() / ".cache/stagebake"
    assert Settings(root=tmp_path, folder="../caches").cache_folder == tmp_path.parent / "caches"


def test_cache_folder_in_an_unknown_home_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "expanduser", refuse_home)
    with pytest.raises(InputError) as caught:
        _ = Settings().cache_folder
    assert caught.value.problem == "folder: the home directory of `~/.cache/stagebake` is unknown"
    assert "HOME" in caught.value.hint


def refuse_home(_path: Path) -> Path:
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize("key", ["cache-mounts", "cache_mounts"])
def test_load_settings_of_cache_mounts_reads_switch_and_limit(tmp_path: Path, key: str) -> None:
    """Accept a hyphen or an underscore in the key."""
    text = f"{key} = true\n{key}-limit = 5_000\n"
    settings = load_given(tmp_path, own=text)
    assert (settings.cache_mounts, settings.cache_mounts_limit) == (True, 5_000)
    assert settings.origins["cache-mounts"] == "stagebake.toml:1"
    off = {"STAGEBAKE_CACHE_MOUNTS": "false", "STAGEBAKE_CACHE_MOUNTS_LIMIT": "7"}
    settings = load_given(tmp_path, own=text, environment=off)
    assert (settings.cache_mounts, settings.cache_mounts_limit) == (False, 7)
    assert not Settings().cache_mounts


def test_load_settings_of_compression_reads_name_and_level(tmp_path: Path) -> None:
    text = 'compression = "zstd"\ncompression-level = 22\n'
    settings = load_given(tmp_path, own=text)
    assert (settings.compression, settings.compression_level) == ("zstd", 22)
    variables = {"STAGEBAKE_COMPRESSION": "gzip", "STAGEBAKE_COMPRESSION_LEVEL": "0"}
    settings = load_given(tmp_path, own=text, environment=variables)
    assert (settings.compression, settings.compression_level) == ("gzip", 0)
    assert (Settings().compression, Settings().compression_level) == ("gzip", None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('compression = "brotli"', "stagebake.toml:1: unknown compression `brotli`"),
        ("compression = 1", "stagebake.toml:1: `compression` must be a string, not `1`"),
        ("compression-level = -1", "stagebake.toml:1: `compression-level` must be a whole number, 0 or more, not `-1`"),
        (
            "compression-level = true",
            "stagebake.toml:1: `compression-level` must be a whole number, 0 or more, not `True`",
        ),
        ("compression-level = 10", "stagebake.toml:1: compression level 10 is not valid for gzip"),
        (
            'compression = "zstd"\ncompression-level = 23',
            "stagebake.toml:2: compression level 23 is not valid for zstd",
        ),
    ],
)
def test_load_settings_of_an_invalid_compression_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    assert load_refused(tmp_path, own=f"{text}\n").problem == problem


@pytest.mark.parametrize("text", ["-1", "3.5", "fast", "\u0663"])
def test_load_settings_of_an_invalid_level_in_a_variable_is_refused(tmp_path: Path, text: str) -> None:
    error = load_refused(tmp_path, environment={"STAGEBAKE_COMPRESSION_LEVEL": text})
    assert error.problem.startswith("STAGEBAKE_COMPRESSION_LEVEL: `compression-level` must be a whole number")


@pytest.mark.parametrize(
    "text", ['cache-mounts = "yes"', "cache-mounts-limit = true", "cache-mounts-limit = 0", 'cache-limit = "1 XB"']
)
def test_load_settings_of_invalid_switch_or_number_is_refused(tmp_path: Path, text: str) -> None:
    error = load_refused(tmp_path, own=text)
    assert error.problem.startswith(f"stagebake.toml:1: `{text.split()[0]}` must be ")


def test_load_settings_of_invalid_switch_in_environment_names_variable(tmp_path: Path) -> None:
    error = load_refused(tmp_path, environment={"STAGEBAKE_CACHE_MOUNTS": "maybe"})
    assert error.problem.startswith("STAGEBAKE_CACHE_MOUNTS:")


@pytest.mark.parametrize("text", ["pull=3", "read=soon"])
def test_load_settings_of_invalid_patience_names_variable(tmp_path: Path, text: str) -> None:
    error = load_refused(tmp_path, environment={"STAGEBAKE_PATIENCE": text})
    name, _, value = text.partition("=")
    assert error.problem == f"STAGEBAKE_PATIENCE: `patience.{name} = {value}` is not valid"
    assert error.hint == "give seconds for any of: read, write"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('folder = "~nobody-of-that-name/x"', "home"),
        ('dockerfile = "a\\u0000b"', "`dockerfile` must be "),
        ('context = "a\\u0000b"', "`context` must be "),
        ('network = "hosst"', "`hosst`"),
        ('platforms = [""]', "`` is not a valid platform"),
        ('platforms = ["linux/amd64", "linux/"]', "`linux/` is not a valid platform"),
        ('platforms = ["arm64"]', "`arm64` is not a valid platform"),
        ('platforms = ["linux/amd64,linux/arm64"]', "is not a valid platform"),
        ('contexts = { x = "" }', "named context `x=` is empty"),
        ('contexts = { "" = "x" }', "named context `=x` is empty"),
    ],
)
def test_load_settings_of_unusable_value_names_file_and_line(tmp_path: Path, text: str, words: str) -> None:
    error = load_refused(tmp_path, own=f"\n{text}\n")
    assert error.problem.startswith("stagebake.toml:2: ")
    assert words in error.problem


@pytest.mark.parametrize(
    ("flags", "origin"),
    [
        ({"secrets": ("token",)}, "--secret: "),
        ({"ssh": ("=key",)}, "--ssh: "),
        ({"contexts": {"x": ""}}, "--context: "),
        ({"cache": "x"}, "--cache: "),
    ],
)
def test_load_settings_of_invalid_flag_names_flag(tmp_path: Path, flags: dict[str, Any], origin: str) -> None:
    """Name the flag, which is singular where the key is plural."""
    assert load_refused(tmp_path, **flags).problem.startswith(origin)


@pytest.mark.parametrize(
    ("text", "environment", "where"),
    [
        ('secrets = ["token"]', {"STAGEBAKE_SECRETS": "id=a,env=A"}, "stagebake.toml:1: "),
        ('secrets = ["id=a,env=A"]', {"STAGEBAKE_SECRETS": "token"}, "STAGEBAKE_SECRETS: "),
        ("budgets = { code = -1 }", {"STAGEBAKE_BUDGETS": "full=9"}, "stagebake.toml:1: "),
    ],
)
def test_load_settings_of_several_places_names_the_invalid_one(
    tmp_path: Path, text: str, environment: dict[str, str], where: str
) -> None:
    assert load_refused(tmp_path, own=text, environment=environment).problem.startswith(where)


def test_load_settings_of_several_places_merges_numbers(tmp_path: Path) -> None:
    """Take numbers that no place gives from the defaults."""
    settings = load_given(
        tmp_path, own="budgets = { code = 7, full = 8 }\n", environment={"STAGEBAKE_BUDGETS": "full=9"}
    )
    assert settings.budgets == {**BUDGETS, "code": 7, "full": 9}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("STAGEBAKE_IMAGES", "STAGEBAKE_IMAGE"),
        ("STAGEBAKE_PLATFORM", "STAGEBAKE_PLATFORMS"),
        ("STAGEBAKE_CACHE_MOUNT", "STAGEBAKE_CACHE_MOUNTS"),
        ("STAGEBAKE_CACHE-MOUNTS", "STAGEBAKE_CACHE_MOUNTS"),
        ("STAGEBAKE_IMAGE", None),
        ("STAGEBAKE_OTHER", None),
        ("STAGEBAK_IMAGE", None),
    ],
)
def test_misspelt_variables_of_similar_name_suggests_setting(name: str, meant: str | None) -> None:
    """Ignore variables whose name is not similar: other tools may own them."""
    warnings = misspelt_variables({name: "x", "PATH": "/bin"})
    assert warnings == ((f"{name} has no effect: did you mean {meant}?",) if meant else ())
    assert misspelt_variables({name: ""}) == ()
