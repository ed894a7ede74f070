"""Keep the download caches of real pip and npm across empty engines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.archive import Base
from tests.support.installers import NPM, PIP, make_installers
from tests.support.project import Outcome, Project
from tests.support.proxy import Exchange
from tests.support.shapes import draw
from tests.support.shop import Shop

INSTALLERS = "127.0.0.1:1/installers:1"
DOCKERFILE = f"""\
FROM installers:1 AS tools
ENV HOME=/root

FROM tools AS python-deps
ARG SHOP
COPY requirements.txt .
RUN --mount=type=cache,target=/root/.cache/pip \\
    {PIP} install --no-compile --no-python-version-warning --disable-pip-version-check --root-user-action=ignore \\
    --trusted-host 127.0.0.1 --index-url $SHOP/simple --target /site -r requirements.txt

FROM tools AS node-deps
WORKDIR /src
COPY package.json package-lock.json ./
RUN --mount=type=cache,target=/root/.npm {NPM} ci --no-audit --no-fund --no-update-notifier

FROM busybox:1 AS runtime
COPY --from=python-deps /site /site
COPY --from=node-deps /src/node_modules /node_modules
COPY code.txt /
{draw("runtime")}
"""


@pytest.fixture(scope="module")
def installers(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return make_installers(INSTALLERS, tmp_path_factory.mktemp("installers"))


@pytest.fixture
def shop() -> Iterator[Shop]:
    serving = Shop()
    yield serving
    serving.stop()


def write(project: Project, shop: Shop, *names: str, code: str = "1\n") -> None:
    """Write the repository with these packages for pip and for npm."""
    project.write({"requirements.txt": "".join(f"py{name}\n" for name in names), "code.txt": code})
    project.write(shop.lock([f"js{name}" for name in names]))


def push(project: Project, installers: Base, shop: Shop) -> tuple[Outcome, list[str], list[Exchange]]:
    """Push from an empty engine; return the outcome, the fetched packages, and the registry's exchanges."""
    project.engine.empty()
    project.engine.docker("image", "load", "--quiet", "--input", str(installers.archive))
    shop.fetched.clear()
    with project.registry.proxy.watched() as seen:
        outcome = project.build("--push", STAGEBAKE_NETWORK="host", STAGEBAKE_ARGS=f"SHOP={shop.url}")
    return outcome, shop.fetched, seen


def test_mounts_of_pip_and_npm_make_them_fetch_only_a_new_package(
    project: Project, installers: Base, shop: Shop
) -> None:
    """Add one package of 21 to each: only these two are fetched. A change of code then fetches nothing.

    No byte of a mount moves for the change of code.
    """
    names = [f"{number:02}" for number in range(20)]
    project.write({"Dockerfile": DOCKERFILE})
    project.settings("cache-mounts = true\n")
    text = (project.folder / "stagebake.toml").read_text(encoding="utf-8")
    project.write({"stagebake.toml": f'{text}"installers:1" = "docker-image://{INSTALLERS}"\n'})
    write(project, shop, *names)
    first, fetched, _ = push(project, installers, shop)
    assert len(fetched) == len(set(fetched)) == 40
    assert {mount["id"] for mount in first.report["mounts"]} == {"/root/.cache/pip", "/root/.npm"}

    write(project, shop, *names, "new")
    second, fetched, _ = push(project, installers, shop)
    assert sorted(fetched) == ["jsnew-1.0.0.tgz", "pynew-1.0-py3-none-any.whl"]
    assert second.ran == {"python-deps", "node-deps", "runtime"}
    assert all(mount["restored"] and mount["saved"] for mount in second.report["mounts"])
    assert {"/site/py00.py", "/site/pynew.py", "/node_modules/jsnew/package.json"} <= files(project)

    write(project, shop, *names, "new", code="2\n")
    third, fetched, seen = push(project, installers, shop)
    assert third.ran == {"runtime"}
    assert fetched == []
    assert third.report["mounts"] == []
    moved = {blob for tag in project.tags() if "mount" in tag for blob in blobs(project, tag)}
    assert moved
    assert not [exchange for exchange in seen if "mount" in exchange.path or moved & set(exchange.path.split("/"))]


def files(project: Project) -> set[str]:
    return set(project.registry.files(project.name, "latest"))


def blobs(project: Project, tag: str) -> set[str]:
    manifest = project.registry.read_manifest(project.name, tag)
    return {manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}
