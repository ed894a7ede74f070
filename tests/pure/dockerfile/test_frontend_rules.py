"""Refuse what BuildKit refuses; tests/engine/test_frontend.py asks BuildKit about the same texts."""

from __future__ import annotations

import pytest

from stagebake.dockerfile.frontend_rules import is_image_name
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.errors import InputError

_DIGEST = f"sha256:{'0' * 64}"

# Each Dockerfile, the line that BuildKit refuses, and words of the message
REFUSED = {
    # image names
    "ARG V\nFROM debian:${V}-slim\n": (2, "`debian:${V}-slim` gives `debian:-slim`, which is not a valid image name"),
    "ARG V\nFROM debian:${V}\n": (2, "gives `debian:`"),
    "ARG R\nFROM ${R}/debian AS unused\nFROM debian\n": (2, "gives `/debian`"),
    "FROM debian@sha256:0\n": (1, "`debian@sha256:0` is not a valid image name"),
    "FROM Scratch\n": (1, "`Scratch` is not a valid image name"),
    "FROM debian\nCOPY --from=Debian:12 /a /a\n": (2, "`Debian:12`"),
    "FROM debian\nRUN --mount=from=debian:,target=/x true\n": (2, "`debian:`"),
    "FROM debian\nCOPY --from=-1 /a /a\n": (2, "unknown stage number"),
    # platforms
    "FROM --platform=$X debian\n": (1, "--platform=$X gives ``, which is not a valid platform"),
    "FROM --platform=linux/$X debian\n": (1, "gives `linux/`"),
    "FROM --platform=linux/a/b/c debian\n": (1, "gives `linux/a/b/c`"),
    # words of a stage that is built
    'FROM debian\nENV A="x\n': (2, "matching double-quote"),
    "FROM debian\nWORKDIR /${X\n": (2, "missing '}'"),
    "FROM debian\nCOPY a '/b\n": (2, "matching single-quote"),
    "FROM debian\nLABEL a=${X;-y}\n": (2, "unsupported modifier"),
    'FROM debian\nARG X="${Y:z}"\n': (2, "unsupported modifier (:z)"),
    'FROM debian AS a\nARG X="y\nFROM a\n': (2, "matching double-quote"),
    "FROM debian\nCOPY <<EOF /a\n${X;}\nEOF\n": (2, "unsupported modifier"),
    "FROM debian AS a\nONBUILD ENV A='x\nFROM a\n": (2, "matching single-quote"),
    # arguments
    "FROM debian\nCOPY a\n": (2, "COPY requires at least two arguments"),
    "FROM debian\nUSER\n": (2, "USER requires exactly one argument"),
    "FROM debian\nENV =x\n": (2, "ENV has a blank name"),
    "FROM debian\nARG =x\n": (2, "ARG has a blank name"),
    "FROM debian\nSHELL bash\n": (2, "SHELL requires its arguments as a JSON array"),
    "FROM debian\nSHELL []\n": (2, "SHELL requires at least one argument"),
    'FROM debian\nVOLUME [""]\n': (2, "VOLUME has an empty path"),
    "FROM debian\nHEALTHCHECK curl /\n": (2, "HEALTHCHECK has the unknown type `curl`"),
    "FROM debian\nHEALTHCHECK CMD\n": (2, "HEALTHCHECK CMD requires a command"),
    "FROM debian\nHEALTHCHECK NONE x\n": (2, "HEALTHCHECK NONE takes no arguments"),
    "FROM debian\nONBUILD\n": (2, "ONBUILD requires at least one argument"),
    "FROM debian\nONBUILD FROM a\n": (2, "ONBUILD cannot contain FROM"),
    "FROM debian\nONBUILD ONBUILD RUN x\n": (2, "ONBUILD cannot contain ONBUILD"),
    "FROM debian AS a\nONBUILD COPY x\nFROM a\n": (2, "COPY requires at least two arguments"),
    "FROM debian AS a\nONBUILD FETCH x\nFROM a\n": (2, "unknown instruction: FETCH"),
    # stages of one name
    "FROM debian AS a\nFROM debian AS b\nCOPY --from=a /x /x\nFROM debian AS a\nFROM b\n": (3, "comes later"),
    "FROM debian AS a\nFROM a AS a\nCOPY --from=a /x /x\n": (2, "cycle: a → a"),
}

ACCEPTED = {
    "not-built": 'FROM debian AS unused\nENV A="x\nFROM debian\n',
    "cmd": "FROM debian\nCMD echo ${X\n",
    "run": "FROM debian\nRUN echo 'x\n",
    "maintainer": 'FROM debian\nMAINTAINER "x\n',
    "trigger-not-run": "FROM debian\nONBUILD ENV A='x\n",
    "trigger-of-unused": "FROM debian AS a\nONBUILD FETCH x\nFROM a AS unused\nFROM debian\n",
    "quoted-heredoc": "FROM debian\nCOPY <<'EOF' /a\n${X\nEOF\n",
    "health-none": "FROM debian\nHEALTHCHECK none\n",
    "no-platform": "FROM --platform= debian\n",
    "number-with-sign": "FROM debian AS a\nFROM debian\nCOPY --from=+0 /a /a\n",
    "empty-run": "FROM debian\nRUN\n",
    "equal-names": "FROM debian AS a\nFROM a AS a\nFROM a\n",
    "variable-of-the-image": "FROM debian\nENV A=${B-x} C=${D:+y}\n",
}


@pytest.mark.parametrize("text", REFUSED)
def test_parse_dockerfile_what_buildkit_refuses_raises_input_error(text: str) -> None:
    line, words = REFUSED[text]
    with pytest.raises(InputError) as caught:
        parse_dockerfile(text)
    assert caught.value.problem.startswith(f"Dockerfile:{line}: ")
    assert words in caught.value.problem
    assert caught.value.hint


@pytest.mark.parametrize("name", ACCEPTED)
def test_parse_dockerfile_what_buildkit_accepts_raises_nothing(name: str) -> None:
    parse_dockerfile(ACCEPTED[name])


def test_parse_dockerfile_image_name_with_an_empty_part_names_the_argument() -> None:
    with pytest.raises(InputError) as caught:
        parse_dockerfile("ARG V\nFROM golang:${V}-alpine\n")
    assert caught.value.hint.startswith("give ARG V a default value")


@pytest.mark.parametrize(
    "name",
    [
        "debian", "debian:12", "a/b/c:1.0-x_y", "localhost/x", "localhost:5000/x", "HOST/x", "ghcr.io/a__b/c--d:X",
        "[::1]:5000/x", f"debian@{_DIGEST}", f"r.io/a:1@{_DIGEST}", "a.b:5000/c@sha512:" + "f" * 128, "x" * 247,
    ],
)  # fmt: skip
def test_is_image_name_valid_name_is_true(name: str) -> None:
    assert is_image_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "", ":", "debian:", ":12", "debian:-12", "Debian", "a/B", "a//b", "/a", "a/", "a b", "a:b:c", "a.", "a---.b",
        "é", "a@", "a@sha256:0", "a@sha256:" + "A" * 64, "a@md5:" + "0" * 32, "0" * 64, "a:" + "x" * 129, "x" * 256,
        "a\n",
    ],
    ids=ascii,
)  # fmt: skip
def test_is_image_name_other_name_is_false(name: str) -> None:
    assert not is_image_name(name)
