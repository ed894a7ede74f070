"""Compare the page of environment variables with what is removed, and with what buildx reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stagebake.buildkit.environment import FIXED_VARIABLES, REMOVED_VARIABLES, bake_environment
from stagebake.cache.scopes import DEFAULT_SCOPE
from stagebake.generate.bake_file import BakeOptions, bake_variables
from stagebake.project.settings import Settings

PAGE = Path(__file__).parents[3] / "docs" / "environment.md"
DECISIONS = {"used", "removed", "set", "no effect"}
ROW = re.compile(r"^\| (?P<names>`.+?`) \| (?P<decision>[a-z ]+) \|", re.MULTILINE)

# docker/buildx 0.36.1, without its tests: the variables that these read
#   git grep -hoE '"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+"' v0.36.1 -- '*.go' ':!*_test.go' ':!tests' ':!vendor'
BUILDX = """
ACTIONS_CACHE_SERVICE_V2 ACTIONS_CACHE_URL ACTIONS_RESULTS_URL ACTIONS_RUNTIME_TOKEN BAKE_ALLOW_REMOTE_FS_ACCESS
BUILDKIT_HOST BUILDKIT_INLINE_BUILDINFO_ATTRS BUILDKIT_INLINE_CACHE BUILDKIT_MULTI_PLATFORM BUILDKIT_PROGRESS
BUILDKIT_SYNTAX BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP BUILDX_BAKE_ENTITLEMENTS_FS BUILDX_BAKE_FILE
BUILDX_BAKE_FILE_RELATIVE_PATHS BUILDX_BAKE_GIT_AUTH_HEADER BUILDX_BAKE_GIT_AUTH_TOKEN BUILDX_BAKE_GIT_SSH
BUILDX_BAKE_PATH_SEPARATOR BUILDX_BUILDER BUILDX_CONFIG BUILDX_CPU_PROFILE BUILDX_DAP_USER_AGENT BUILDX_DEFAULT_POLICY
BUILDX_EXPERIMENTAL BUILDX_GIT_CHECK_DIRTY BUILDX_GIT_INFO BUILDX_GIT_LABELS BUILDX_MEM_PROFILE
BUILDX_METADATA_PROVENANCE BUILDX_METADATA_WARNINGS BUILDX_NO_DEFAULT_ATTESTATIONS BUILDX_NO_DEFAULT_LOAD
BUILDX_NO_DEFAULT_OCI_ARTIFACT BUILDX_SEND_GIT_QUERY_AS_INPUT DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND
DOCKER_DEFAULT_PLATFORM EXPERIMENTAL_BUILDKIT_SOURCE_POLICY GITHUB_ACTIONS KUBECONFIG SUDO_COMMAND SUDO_GID SUDO_UID
WSL_DISTRO_NAME
"""
# The same of its libraries: BuildKit's client, the docker CLI, compose, OpenTelemetry, gRPC
LIBRARIES = """
BUILDKIT_COLORS BUILDKIT_NO_CLIENT_TOKEN BUILDKIT_TTY_LOG_LINES COMPOSE_CONVERT_WINDOWS_PATHS COMPOSE_DISABLE_ENV_FILE
COMPOSE_FILE COMPOSE_PATH_SEPARATOR COMPOSE_PROFILES COMPOSE_PROJECT_NAME COSIGN_PASSWORD DEBUG DOCKER_API_VERSION
DOCKER_AUTH_CONFIG DOCKER_BUILDKIT DOCKER_CERT_PATH DOCKER_CLI_DISABLE_COMPLETION_DESCRIPTION DOCKER_CLI_HINTS
DOCKER_CLI_HOOKS DOCKER_CLI_PLUGIN_SOCKET DOCKER_CLI_PLUGIN_USE_DIAL_STDIO DOCKER_CONFIG DOCKER_CONTEXT
DOCKER_CUSTOM_HEADERS DOCKER_HOST DOCKER_TLS DOCKER_TLS_VERIFY GODEBUG GRPC_GO_LOG_FORMATTER
GRPC_GO_LOG_SEVERITY_LEVEL GRPC_GO_LOG_VERBOSITY_LEVEL NORAW NO_COLOR PROGRESS_NO_TRUNC SOURCE_DATE_EPOCH
SSH_AUTH_SOCK TRACEPARENT TRACESTATE TTY_DISPLAY_RATE XDG_CONFIG_HOME XDG_DATA_HOME XDG_RUNTIME_DIR
"""


def read_decisions() -> dict[str, str]:
    """Return what the page says of each variable."""
    decisions: dict[str, str] = {}
    for row in ROW.finditer(PAGE.read_text(encoding="utf-8")):
        for name in re.findall(r"`([^`]+)`", row["names"]):
            assert name not in decisions, f"{name} is listed twice"
            decisions[name] = row["decision"].strip()
    return decisions


@pytest.mark.parametrize("name", [*BUILDX.split(), *LIBRARIES.split()])
def test_environment_page_decides_each_variable_that_buildx_reads(name: str) -> None:
    assert read_decisions().get(name) in DECISIONS


def test_environment_page_says_what_is_removed_and_what_is_set() -> None:
    decisions = read_decisions()
    assert {name for name, decision in decisions.items() if decision == "removed"} == REMOVED_VARIABLES
    options = BakeOptions(stage="app", output="type=cacheonly")
    settings = Settings(cache="local")
    own = bake_variables(settings, options, DEFAULT_SCOPE).keys() | FIXED_VARIABLES.keys()
    assert {name for name, decision in decisions.items() if decision == "set"} == own


def test_bake_environment_removes_and_sets_variables_and_keeps_the_others() -> None:
    given = {"PATH": "/bin", "CACHE": "old", "BUILDX_BUILDER": "mine", **dict.fromkeys(REMOVED_VARIABLES, "1")}
    assert bake_environment(given, {"CACHE": "new"}) == {
        "PATH": "/bin",
        "CACHE": "new",
        "BUILDX_BUILDER": "mine",
        **FIXED_VARIABLES,
    }
