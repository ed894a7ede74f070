"""Choose which environment variables reach `docker buildx bake`. Pure.

docs/environment.md has the table of all variables that docker, buildx and BuildKit's client read, with what stagebake
does with each. Most of them are the user's choice and are passed on. The exceptions are here: under these, bake would
read other files or give other answers than stagebake expects.
"""

from __future__ import annotations

from collections.abc import Mapping

# docker/buildx, commands/bake.go and bake/bake.go: other bake files than those that stagebake names, paths relative to
# the bake file (it is in a temporary folder), and no variables from the environment (stagebake sets them there).
# util/confutil/metadata.go, build/utils.go: more in the metadata file, and no output where a target names none.
# util/confutil/exp.go: features under which caches were not read (docker/buildx#3109)
REMOVED_VARIABLES = frozenset(
    {
        "BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP",
        "BUILDX_BAKE_FILE",
        "BUILDX_BAKE_FILE_RELATIVE_PATHS",
        "BUILDX_BAKE_PATH_SEPARATOR",
        "BUILDX_EXPERIMENTAL",
        "BUILDX_METADATA_WARNINGS",
        "BUILDX_NO_DEFAULT_LOAD",
    }
)
# util/confutil/metadata.go: the metadata file is read for the digest only, and the provenance in it is large
FIXED_VARIABLES: Mapping[str, str] = {"BUILDX_METADATA_PROVENANCE": "disabled"}


def bake_environment(environment: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a bake call: that of stagebake, without what would change the call.

    `variables` are the values of the bake file's variables; they replace those of the same name.
    """
    kept = {name: value for name, value in environment.items() if name not in REMOVED_VARIABLES}
    return {**kept, **variables, **FIXED_VARIABLES}
