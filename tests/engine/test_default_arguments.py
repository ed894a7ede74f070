"""Compare the plan with the build where buildx passes build arguments by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.project import Project
from tests.support.shapes import draw

PROXY = "http://proxy.corp.example:3128"
NAMES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "FTP_PROXY", "ALL_PROXY", "all_proxy")
EVERY_PROXY = {"httpProxy": PROXY, "httpsProxy": PROXY, "noProxy": "a.example", "ftpProxy": PROXY, "allProxy": PROXY}


def declare(*names: str) -> str:
    """Return a Dockerfile with a stage that declares these arguments, and a stage that declares none."""
    arguments = "".join(f"ARG {name}\n" for name in names)
    plain = f"FROM busybox:1 AS plain\n{draw('plain')}\n"
    return f"{plain}FROM busybox:1 AS app\n{arguments}{draw('app')}\nCOPY --from=plain /plain.txt /\n"


def write_config(project: Project, proxies: dict[str, Any]) -> str:
    """Write a docker configuration; return its folder."""
    folder = project.folder.parent / "docker"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"proxies": proxies}), encoding="utf-8")
    return str(folder)


def plan_stages(project: Project, **environment: str) -> dict[str, str]:
    outcome = project.stagebake("plan", "--push", "--scope=main", "--json", **environment)
    assert outcome.exit_code == 0, outcome.stderr
    return {stage["name"]: stage["expected"] for stage in json.loads(outcome.stdout)["stages"]}


@pytest.mark.parametrize("name", NAMES)
def test_plan_with_proxies_of_docker_rebuilds_the_stages_that_buildkit_runs(project: Project, name: str) -> None:
    """Declare one proxy argument: the stage runs again where buildx passes it, and the plan says so."""
    project.write({"Dockerfile": declare(name)})
    project.settings()
    project.build("--push", "--scope=main", DOCKER_CONFIG=write_config(project, {}))
    config = write_config(project, {"default": EVERY_PROXY})
    planned = plan_stages(project, DOCKER_CONFIG=config)
    project.engine.empty()
    ran = project.build("--push", "--scope=main", DOCKER_CONFIG=config).ran
    assert {stage for stage, verdict in planned.items() if verdict == "rebuild"} == ran
    assert ran == ({"app"} if name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "FTP_PROXY") else set())


@pytest.mark.parametrize(
    ("dockerfile", "environment"),
    [
        (declare(), {"SOURCE_DATE_EPOCH": "1700000000"}),
        (declare("SOURCE_DATE_EPOCH"), {"SOURCE_DATE_EPOCH": ""}),
        (declare("TARGETPLATFORM"), {"DOCKER_DEFAULT_PLATFORM": "linux/arm64"}),
    ],
    ids=["epoch", "empty-epoch", "default-platform"],
)
def test_plan_with_a_variable_that_buildx_reads_is_right(
    project: Project, dockerfile: str, environment: dict[str, str]
) -> None:
    project.write({"Dockerfile": dockerfile})
    project.settings()
    project.build("--push", "--scope=main")
    planned = plan_stages(project, **environment)
    project.engine.empty()
    ran = project.build("--push", "--scope=main", **environment).ran
    assert ran <= {stage for stage, verdict in planned.items() if verdict == "rebuild"}
