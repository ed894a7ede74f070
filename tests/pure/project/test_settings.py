"""Settings from a file, the environment and flags."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stagebake.errors import InputError
from stagebake.project.settings import BUDGETS, Settings, load_settings, misspelt_variables, parse_pairs, split_image


def load(
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


def refused(root: Path, **given: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        load(root, **given)
    assert caught.value.remedy
    return caught.value


def test_without_any_settings_there_are_defaults(tmp_path: Path) -> None:
    """No file, no environment, no flag: a Dockerfile in the root, and no image name."""
    assert load(tmp_path) == Settings(root=tmp_path)
    assert (Settings().image, Settings().tag, Settings().dockerfile, Settings().context) == (
        None, None, "Dockerfile", ".",
    )  # fmt: skip


def test_another_tools_pyproject_says_nothing(tmp_path: Path) -> None:
    """A pyproject.toml without the table leaves the defaults."""
    assert load(tmp_path, pyproject='[project]\nname = "x"\n[tool.ruff]\n') == Settings(root=tmp_path)


@pytest.mark.parametrize("name", ["pyproject", "own"])
def test_every_setting_is_read(tmp_path: Path, name: str) -> None:
    """All keys, in [tool.stagebake] of pyproject.toml and at the top of stagebake.toml."""
    text = """image = "ghcr.io/o/n:1.2"
dockerfile = "docker/Dockerfile"
context = "src"
target = "app"
platforms = ["linux/amd64", "linux/arm64"]
secrets = ["id=token,env=TOKEN"]
network = "host"
mirror = "mirror.example/ghcr"
budgets = { code = 4.5 }
patience = { read = 90 }
args = { V = "1", N = 2, F = 0.5, ON = true, OFF = false }

[contexts]
"debian:trixie" = "docker-image://x"
"""
    if name == "pyproject":
        text = "[tool.stagebake]\n" + text.replace("[contexts]", "[tool.stagebake.contexts]")
    settings = load(tmp_path, pyproject=text if name == "pyproject" else None, own=text if name == "own" else None)
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
        network="host",
        mirror="mirror.example/ghcr",
        budgets={"restore": 2, "code": 4.5, "dependencies": 15, "full": 30},
        patience={"read": 90, "write": 1800},
        args={"V": "1", "N": "2", "F": "0.5", "ON": "true", "OFF": "false"},
        contexts={"debian:trixie": "docker-image://x"},
    )


def test_stagebake_toml_goes_before_pyproject(tmp_path: Path) -> None:
    """Where both files speak, stagebake's own is the one that counts."""
    settings = load(tmp_path, pyproject='[tool.stagebake]\ntarget = "a"\nnetwork = "host"\n', own='target = "b"\n')
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
def test_flags_go_before_the_environment_and_that_before_the_file(
    tmp_path: Path, file: bool, environment: bool, flag: bool, found: str | None
) -> None:
    """The nearest word counts; a flag that is None was not given."""
    settings = load(
        tmp_path,
        pyproject='[tool.stagebake]\ntarget = "file"\n' if file else None,
        environment={"STAGEBAKE_TARGET": "environment"} if environment else {},
        target="flag" if flag else None,
    )
    assert settings.target == found


def test_an_empty_variable_says_nothing(tmp_path: Path) -> None:
    """STAGEBAKE_TARGET= is as good as absent."""
    assert load(tmp_path, own='target = "a"\n', environment={"STAGEBAKE_TARGET": ""}).target == "a"


def test_lists_and_tables_from_the_environment(tmp_path: Path) -> None:
    """Words are separated and quoted as in a shell; tables are NAME=VALUE words."""
    settings = load(
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


def test_tables_are_laid_over_each_other(tmp_path: Path) -> None:
    """A name in a nearer table replaces that name alone; lists are replaced whole."""
    settings = load(
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
        ("own", 'image = "a"\ntarget = 3\n', "stagebake.toml:2: ", "`target` is a string"),
        ("own", 'image = "a"\nplatforms = "linux/amd64"\n', "stagebake.toml:2: ", "`platforms` is a list of strings"),
        ("own", "platforms = [1]\n", "stagebake.toml:1: ", "`platforms` is a list of strings"),
        ("own", 'image = "a"\n\nargs = ["A=1"]\n', "stagebake.toml:3: ", "`args` is a table"),
        ("own", "[args]\nA = [1]\n", "stagebake.toml:1: ", "`args.A` is a string, a number or a boolean"),
        ("own", "args.A = { b = 1 }\n", "stagebake.toml:1: ", "`args.A` is a string, a number or a boolean"),
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
        "misspelt", "misspelt-own", "misspelt-table", "root", "tag", "no-string", "no-list", "no-strings", "no-table",
        "list-in-table", "table-in-table", "table-of-pyproject", "bad-toml", "twice", "bad-at-the-end",
        "stagebake-no-table", "tool-no-table", "tables-no-table", "inline-table", "inline-tables", "dotted",
        "another-table", "comment-above", "key-of-a-subtable", "key-of-another-table", "escaped", "in-a-string",
        "several-lines",
    ],
)  # fmt: skip
def test_wrong_settings_and_where(tmp_path: Path, file: str, text: str, where: str, words: str) -> None:
    """What is wrong in a file is said with file and line."""
    error = refused(tmp_path, **{file: text})
    assert error.what.startswith(where)
    assert words in error.what


@pytest.mark.parametrize(
    ("key", "meant"),
    [("platform", "platforms"), ("imgae", "image"), ("arg", "args"), ("docker-file", "dockerfile"), ("zzz", None)],
)
def test_a_misspelt_key_is_guessed(tmp_path: Path, key: str, meant: str | None) -> None:
    """The nearest setting is named, and all of them."""
    error = refused(tmp_path, own=f'{key} = "x"\n')
    assert error.remedy.startswith(f"did you mean `{meant}`? " if meant else "the settings are: ")
    assert "image, dockerfile, context, target" in error.remedy


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    """A settings file in another encoding is the user's mistake, not a bug."""
    (tmp_path / "stagebake.toml").write_bytes(b'image = "\xff"\n')
    assert refused(tmp_path).what.startswith("stagebake.toml")


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
def test_wrong_words_in_the_environment(tmp_path: Path, name: str, text: str) -> None:
    """What is wrong in the environment is said with the variable's name."""
    assert refused(tmp_path, environment={name: text}).what.startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("image", "name", "tag"),
    [
        ("name", "name", None),
        ("owner/name", "owner/name", None),
        ("ghcr.io/owner/name", "ghcr.io/owner/name", None),
        ("ghcr.io/owner/name:1.2", "ghcr.io/owner/name", "1.2"),
        ("localhost:5000/name", "localhost:5000/name", None),
        ("localhost:5000/name:x", "localhost:5000/name", "x"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c", None),
        ("GHCR.io/owner/name", "GHCR.io/owner/name", None),
        ("a.b-c/d_e/f__g/h--i", "a.b-c/d_e/f__g/h--i", None),
        ("name:_X.y-Z", "name", "_X.y-Z"),
        ("name:" + "t" * 128, "name", "t" * 128),
        ("r.io/" + "n" * 250, "r.io/" + "n" * 250, None),
    ],
    ids=[
        "name", "path", "domain", "tag", "port", "port-and-tag", "address", "domain-in-capitals", "separators",
        "tag-of-all", "longest-tag", "longest-name",
    ],
)  # fmt: skip
def test_good_image_names(image: str, name: str, tag: str | None) -> None:
    """Names as registries take them, in their two parts."""
    assert split_image(image) == (name, tag)


@pytest.mark.parametrize(
    "image",
    [
        "", "ghcr.io/Owner/name", "Name", "ghcr.io/owner/name:", "ghcr.io//name", "ghcr.io/owner/", "/name", "-name",
        "name-", "a___b", "a..b", "a.-b", "na me", "name:.x", "name:-x", "name:a/b:c", "name:" + "t" * 129,
        "n" * 256, "r.io/" + "n" * 251, "name@sha256:" + "0" * 64, "https://ghcr.io/owner/name", "name:größe", "größe",
        "ghcr.io:port/name", "name\n", "name:x\n",
    ],
    ids=ascii,
)  # fmt: skip
def test_bad_image_names(image: str) -> None:
    """Names that no registry takes."""
    with pytest.raises(InputError) as caught:
        split_image(image)
    assert image in caught.value.what


def test_capitals_are_mended() -> None:
    """Where lower case would do, it is offered."""
    with pytest.raises(InputError) as caught:
        split_image("ghcr.io/Owner/Name:V1")
    assert "`ghcr.io/owner/name:v1`" in caught.value.remedy.replace("V1", "v1")


@pytest.mark.parametrize(
    ("folder", "name"), [("My App", "my-app"), ("a__b.c", "a-b-c"), ("ß", "image"), ("-x-", "x"), ("ÄPP", "pp")]
)
def test_the_name_of_an_image_that_stays_here(folder: str, name: str) -> None:
    """An image without a name is called like the folder, as a registry would take it."""
    assert Settings(root=Path("/nowhere") / folder).local_image == name


def test_pairs_keep_what_follows_the_first_equals_sign() -> None:
    """A value may hold more of them."""
    assert parse_pairs(["a=b=c", "d="], "--context") == {"a": "b=c", "d": ""}
    with pytest.raises(InputError, match="--context: `x` is not NAME=VALUE"):
        parse_pairs(["x"], "--context")


@pytest.mark.parametrize(("name", "guess"), [("regestry", "did you mean `registry`? "), ("s3", "the places are: ")])
def test_a_place_for_caches_that_is_none(tmp_path: Path, name: str, guess: str) -> None:
    """The nearest back end is named, and all of them; on the command line too."""
    flag = refused(tmp_path, cache=name)
    for error in (flag, refused(tmp_path, own=f'cache = "{name}"\n')):
        assert f"caches cannot lie in `{name}`" in error.what
        assert error.remedy.startswith(guess)
        assert "registry, " in error.remedy


@pytest.mark.parametrize(("folder", "words"), [("app/caches", "build context"), ("a,b", "comma"), ('a"b', "quote")])
def test_a_folder_for_caches_that_cannot_be(tmp_path: Path, folder: str, words: str) -> None:
    """Neither in the build context, nor with what ends an attribute of bake."""
    error = refused(tmp_path, own=f"context = 'app'\nfolder = '{folder}'\n")
    assert error.what.startswith("stagebake.toml:2: ")
    assert words in error.what


def test_the_folder_for_caches_is_seen_from_home_or_the_repository(tmp_path: Path) -> None:
    """`~` is the home folder, and a relative path starts at the settings' file."""
    assert Settings().cache_folder == Path.home() / ".cache/stagebake"
    assert Settings(root=tmp_path, folder="../caches").cache_folder == tmp_path.parent / "caches"


@pytest.mark.parametrize("key", ["cache-mounts", "cache_mounts"])
def test_cache_mounts_are_turned_on_by_one_setting(tmp_path: Path, key: str) -> None:
    """A hyphen or an underscore; the environment goes over the file; the bound is bytes."""
    text = f"{key} = true\n{key}-limit = 5_000\n"
    settings = load(tmp_path, own=text)
    assert (settings.cache_mounts, settings.cache_mounts_limit) == (True, 5_000)
    assert settings.origins["cache-mounts"] == "stagebake.toml:1"
    off = {"STAGEBAKE_CACHE_MOUNTS": "false", "STAGEBAKE_CACHE_MOUNTS_LIMIT": "7"}
    settings = load(tmp_path, own=text, environment=off)
    assert (settings.cache_mounts, settings.cache_mounts_limit) == (False, 7)
    assert not Settings().cache_mounts


@pytest.mark.parametrize("text", ['cache-mounts = "yes"', "cache-mounts-limit = true", "cache-mounts-limit = 0"])
def test_a_switch_and_a_number_are_what_they_are(tmp_path: Path, text: str) -> None:
    """Anything else is refused with its place."""
    error = refused(tmp_path, own=text)
    assert error.what.startswith(f"stagebake.toml:1: `{text.split()[0]}` is ")


def test_a_switch_in_the_environment_is_true_or_false(tmp_path: Path) -> None:
    """A word that is neither is refused with the variable's name."""
    assert refused(tmp_path, environment={"STAGEBAKE_CACHE_MOUNTS": "maybe"}).what.startswith("STAGEBAKE_CACHE_MOUNTS:")


@pytest.mark.parametrize("text", ["pull=3", "read=soon"])
def test_a_patience_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    """It is named with the variable that it stands in."""
    with pytest.raises(InputError, match=r"STAGEBAKE_PATIENCE: patience") as error:
        load(tmp_path, environment={"STAGEBAKE_PATIENCE": text})
    assert error.value.remedy == "give seconds for any of: read, write"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('folder = "~nobody-of-that-name/x"', "home"),
        ('dockerfile = "a\\u0000b"', "`dockerfile` is "),
        ('context = "a\\u0000b"', "`context` is "),
        ('network = "hosst"', "`hosst`"),
        ('platforms = [""]', "`` is no platform"),
        ('platforms = ["linux/amd64", "linux/"]', "`linux/` is no platform"),
        ('platforms = ["arm64"]', "`arm64` is no platform"),
        ('platforms = ["linux/amd64,linux/arm64"]', "is no platform"),
        ('contexts = { x = "" }', "`x=` puts nothing"),
        ('contexts = { "" = "x" }', "`=x` puts nothing"),
    ],
)
def test_values_that_nothing_could_take(tmp_path: Path, text: str, words: str) -> None:
    """They are refused with their place, before anything trips over them."""
    error = refused(tmp_path, own=f"\n{text}\n")
    assert error.what.startswith("stagebake.toml:2: ")
    assert words in error.what


@pytest.mark.parametrize(
    ("flags", "origin"),
    [({"secrets": ("token",)}, "--secret: "), ({"contexts": {"x": ""}}, "--context: "), ({"cache": "x"}, "--cache: ")],
)
def test_a_flag_is_called_as_it_was_given(tmp_path: Path, flags: dict[str, Any], origin: str) -> None:
    """A setting may be called otherwise than its flag, of which each has one value."""
    assert refused(tmp_path, **flags).what.startswith(origin)


@pytest.mark.parametrize(
    ("text", "environment", "where"),
    [
        ('secrets = ["token"]', {"STAGEBAKE_SECRETS": "id=a,env=A"}, "stagebake.toml:1: "),
        ('secrets = ["id=a,env=A"]', {"STAGEBAKE_SECRETS": "token"}, "STAGEBAKE_SECRETS: "),
        ("budgets = { code = -1 }", {"STAGEBAKE_BUDGETS": "full=9"}, "stagebake.toml:1: "),
    ],
)
def test_of_several_places_the_wrong_one_is_named(
    tmp_path: Path, text: str, environment: dict[str, str], where: str
) -> None:
    """What is laid over a wrong setting takes no blame for it."""
    assert refused(tmp_path, own=text, environment=environment).what.startswith(where)


def test_numbers_of_several_places_are_laid_over_each_other(tmp_path: Path) -> None:
    """What the environment does not say stays as the file has it, and the rest is the default."""
    settings = load(tmp_path, own="budgets = { code = 7, full = 8 }\n", environment={"STAGEBAKE_BUDGETS": "full=9"})
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
def test_a_variable_that_is_nearly_a_setting(name: str, meant: str | None) -> None:
    """A misspelt one is named with what was meant; of others nothing is said, for they may be somebody else's."""
    warnings = misspelt_variables({name: "x", "PATH": "/bin"})
    assert warnings == ((f"{name} sets nothing: did you mean {meant}?",) if meant else ())
    assert misspelt_variables({name: ""}) == ()
