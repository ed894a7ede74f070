"""StageGraph and Settings to the GitHub workflow that builds and pushes the image; it logs in to ghcr.io."""

from __future__ import annotations

import json
import re
import shlex
import string
from collections.abc import Sequence

from stagebake.dockerfile.stages import StageGraph
from stagebake.project.settings import Settings

WORKFLOW_FILE = ".github/workflows/build-and-push.yml"

# By commit, because a tag can be moved; each commit was seen under this version in several public repositories
ACTIONS = {
    "checkout": "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1  # v7.0.1",
    "python": "actions/setup-python@5fda3b95a4ea91299a34e894583c3862153e4b97  # v7.0.0",
    "qemu": "docker/setup-qemu-action@1f40c72289eff860ee54a304f1438e3cff362e0a  # v4.3.0",
    "buildx": "docker/setup-buildx-action@37fe631027851001ddb9b187196cc803df7f5f0e  # v4.3.0",
    "login": "docker/login-action@dbcb813823bdd20940b903addbd779551569679f  # v4.6.0",
    "script": "actions/github-script@ed597411d8f924073f98dfc5c65a23a2325f34cd  # v8.0.0",
    "keep": "actions/cache@27d5ce7f107fe9357f9df03efb73ab90386fccae  # v5.0.5",
}

# The machine of ubuntu-24.04; for any other platform RUN needs an emulator
_NATIVE = "linux/amd64"


class _Template(string.Template):
    """`%name` is filled in; `${{ … }}` belongs to GitHub."""

    delimiter = "%"


_WORKFLOW = _Template("""\
# Builds the image: what did not change is restored, what did is rebuilt.
# Written by `stagebake init` and yours to edit: `nox -s generate` only keeps the list of stages up to date.
name: Build and push

on:
  push:
    branches: %branches
  pull_request:
    types: [opened, synchronize, reopened, closed]
  schedule:
    - cron: "17 3 * * 1"  # weekly and without caches: what they hold gets no security fixes
  workflow_dispatch:
    inputs:
      branch:
        description: The branch to build
        type: string
        default: %default_branch
      push:
        description: Push the image and save the caches
        type: boolean
        default: true
      force:
        description: The stage to rebuild, with all that depends on it
        type: choice
        default: none
        %options

permissions: {}

concurrency:
  # One at a time for a branch and for a pull request, whose number it goes by: once merged, its ref is the base's.
  # Of those that wait GitHub keeps the last: a run by hand that was cancelled so is to be started again.
  group: ${{ github.workflow }} ${{ github.event.number || inputs.branch || github.ref_name }}
  cancel-in-progress: ${{ github.event_name == 'pull_request' }}  # a push may be saving its caches

jobs:
  build:
    name: Build
    if: github.event.action != 'closed'
    runs-on: ubuntu-24.04
    timeout-minutes: %timeout
    permissions:
      contents: read
      packages: write  # the image and its caches; a fork gets `read` from GitHub whatever stands here
    outputs:
      digest: ${{ steps.build.outputs.digest }}
      tags: ${{ steps.build.outputs.tags }}
      rebuilt: ${{ steps.build.outputs.rebuilt }}
    steps:
%room\
      - uses: %checkout
        with:
          ref: ${{ inputs.branch }}
          persist-credentials: false
      - uses: %python
        with:
          python-version: "3.13"
%qemu\
      - uses: %buildx
        with:
          driver: docker-container  # the runner's own builder cannot export caches
      - uses: %login
        with:
          registry: ghcr.io
          username: ${{ github.actor }}
          password: ${{ secrets.GITHUB_TOKEN }}
%caches\
      - name: Install stagebake
        run: pip install %install
      - name: Build, push, save what ran
        id: build
        env:
          PYTHONDONTWRITEBYTECODE: "1"  # what nox compiles would lie in the build context, another in each run
          FORCE: ${{ github.event_name == 'schedule' && 'all' || inputs.force || 'none' }}
          PUSH: >-
            ${{ github.event_name == 'push' || github.event_name == 'schedule' || inputs.push
            || github.event.pull_request.head.repo.full_name == github.repository
            && github.event.pull_request.user.login != 'dependabot[bot]' }}
%secrets\
        run: |
          case "$FORCE" in
            none) ;;
            all) set -- --no-cache ;;
            *) set -- --no-cache "$FORCE" ;;
          esac
          if [ "$PUSH" = true ]; then set -- --push "$@"; fi
          exec nox -s build -- "$@" --report report.json  # exec: nox hears of it when the run is cancelled

  clean-up:
    name: Remove the caches of a pull request that was closed
    if: github.event.action == 'closed' && github.event.pull_request.head.repo.full_name == github.repository
    runs-on: ubuntu-24.04
    timeout-minutes: 10
    permissions:
      contents: read
      packages: write  # deleting asks for the role Admin in the package's settings as well: docs/adopting.md
    steps:
      - uses: %checkout
        with:
          ref: ${{ github.event.repository.default_branch }}  # the pull request's own may be gone
          persist-credentials: false
      - uses: %python
        with:
          python-version: "3.13"
      - name: Install stagebake
        run: pip install %install
      - name: Remove
        env:
          GITHUB_TOKEN: ${{ secrets.GITHUB_TOKEN }}
          NUMBER: ${{ github.event.number }}
        run: nox -s cache -- purge --scope "pr-$NUMBER"
""")

_ROOM = """\
      - name: Make room on the disk
        run: sudo rm -rf /usr/share/dotnet /usr/local/lib/android /opt/ghc /opt/hostedtoolcache/CodeQL
"""

_SECRET = _Template(
    "          %name: ${{ secrets.%name }}  # zizmor: ignore[secrets-outside-env] each push needs it without approval\n"
)

# What a back end needs beside the registry. GitHub shows the way to its cache service to actions, not to shells.
_CACHES = {
    "registry": "",
    "local": """\
      - name: Restore the caches now, save them at the end
        # No entry of a pull request is shown to any run but its own: nothing of a stranger's comes into a release
        uses: %keep  # zizmor: ignore[cache-poisoning]
        with:
          path: %folder
          key: stagebake-${{ inputs.branch || github.ref_name }}-${{ github.run_id }}-${{ github.run_attempt }}
          restore-keys: |
            stagebake-${{ inputs.branch || github.ref_name }}-
            stagebake-${{ github.event.repository.default_branch }}-
""",
    "gha": """\
      - name: Show the way to the cache service
        uses: %script
        with:
          script: |
            for (const last of ["RUNTIME_TOKEN", "CACHE_URL", "RESULTS_URL", "CACHE_SERVICE_V2"]) {
              const name = `ACTIONS_${last}`;
              if (process.env[name]) core.exportVariable(name, process.env[name]);
            }
""",
}

_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)
# As it is written here, or as a formatter leaves it: with another indentation, over several lines
_OPTIONS = re.compile(r"^(?P<indent> +)options:\s*\[[^\]]*\] +# the stages$", re.MULTILINE)


def render_workflow(
    graph: StageGraph,
    settings: Settings,
    *,
    branches: Sequence[str] = ("main",),
    install: str = "stagebake",
    full_minutes: int = 30,
    make_room: bool = False,
) -> str:
    """The text of the workflow. The same input gives the same bytes.

    `branches` are built when they are pushed, the default branch first. `install` is what pip installs. A full build
    may take `full_minutes`; the job is ended at twice that, because one that is ended saves no cache and the next
    would be as slow. `make_room` removes toolchains of the runner, for images of more than some 15 GB.
    """
    foreign = any(platform != _NATIVE for platform in settings.platforms)
    secrets = (_SECRET.substitute(name=name) for name in _secret_variables(settings))
    return _WORKFLOW.substitute(
        ACTIONS,
        branches=json.dumps(list(branches)),
        default_branch=json.dumps(branches[0]),
        options=_options(graph),
        timeout=2 * full_minutes,
        room=_ROOM if make_room else "",
        caches=_Template(_CACHES[settings.cache]).substitute(ACTIONS, folder=json.dumps(settings.folder)),
        qemu=f"      - uses: {ACTIONS['qemu']}\n" if foreign else "",
        install=shlex.quote(install),
        secrets="".join(secrets),
    )


def update_stage_list(text: str, graph: StageGraph) -> str:
    """A workflow as it was edited since, with the stages that the Dockerfile has now.

    One without the list of stages comes back as it is.
    """
    return _OPTIONS.sub(lambda found: f"{found['indent']}{_options(graph)}", text)


def has_lost_stage_list(text: str) -> bool:
    """Whether a workflow can force a stage, and its list of them cannot be told any more."""
    return "inputs.force" in text and not _OPTIONS.search(text)


def _secret_variables(settings: Settings) -> list[str]:
    """The environment variables that the settings take secrets from (docker/buildx, util/buildflags/secrets.go)."""
    found: list[str] = []
    for secret in settings.secrets:
        parts = dict(part.partition("=")[::2] for part in secret.split(","))
        source = parts.get("src", parts.get("source", parts["id"])) if parts.get("type") == "env" else ""
        found.append(parts.get("env", source))
    return list(dict.fromkeys(name for name in found if _VARIABLE.fullmatch(name)))


def _options(graph: StageGraph) -> str:
    """What can be forced. A stage that is called `none` or `all` cannot be told from none or all of them."""
    words = dict.fromkeys(("none", "all", *graph.names))
    return f"options: {json.dumps(list(words))}  # the stages"
