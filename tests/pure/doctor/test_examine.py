"""Each rule of `doctor`: what it finds, at which line, with which lines to use, and what it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.doctor import examine
from stagebake.doctor.build_checks import parse_build_checks
from stagebake.doctor.examine import findings_json, findings_text
from stagebake.doctor.finding import Finding, RepositoryFacts
from stagebake.errors import EngineError
from stagebake.fingerprint.context import ContextFolder

DOCKERFILES = sorted((Path(__file__).parents[1] / "dockerfiles").glob("*.Dockerfile"))
EXAMPLE = Path(__file__).parents[3] / "example" / "Dockerfile"


REPLACE = ("copy-before-install", "arg-early", "copy-link", "cache-mount", "apt-update")


def examined(text: str, *, files: str = "", commits: tuple[str, ...] = (), **facts: object) -> tuple[Finding, ...]:
    """What is found; `files` and each of `commits` are paths with spaces between."""
    known = RepositoryFacts(
        files=frozenset(files.split()),
        commits=tuple(frozenset(changed.split()) for changed in commits),
        **facts,  # type: ignore[arg-type]
    )
    found = examine.examine(parse_dockerfile(text), known, skip=("base-moves",))
    for finding in found:
        if finding.rule in REPLACE:
            parse_dockerfile("\n".join(("FROM a", *finding.fix)))  # the lines to use are lines of a Dockerfile
    return found


def only(rule: str, findings: tuple[Finding, ...]) -> Finding:
    """The one finding of that rule."""
    (found,) = (finding for finding in findings if finding.rule == rule)
    return found


def rules(findings: tuple[Finding, ...]) -> set[str]:
    return {finding.rule for finding in findings}


NPM = """\
FROM node:24 AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/root/.npm npm ci && npm run build
"""


def test_the_whole_context_before_an_install() -> None:
    """COPY . . before npm ci: the lines to use copy what npm reads, install, and only then copy the rest."""
    found = only("copy-before-install", examined(NPM, files="package.json package-lock.json src/a.ts"))
    assert (found.line, found.stage) == (3, "build")
    assert found.fix == (
        "COPY package-lock.json package.json ./",
        "RUN --mount=type=cache,target=/root/.npm npm ci",
        "COPY . .",
        "RUN --mount=type=cache,target=/root/.npm npm run build",
    )


def test_history_says_how_often_a_copy_was_the_reason() -> None:
    """The finding counts the rebuilds for files that the install does not need, and names the worst of these."""
    commits = ("src/a.ts", "src/a.ts src/b.ts", "package.json", "src/c.ts package.json", "elsewhere/x")
    found = only("copy-before-install", examined(NPM, files="package.json src/a.ts", commits=commits))
    assert "the reason for 4 of the last 5 rebuilds (most often src/a.ts" in found.what


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("FROM x AS a\nCOPY package.json package-lock.json ./\nRUN npm ci\nCOPY . .\n", "package.json src/a.ts"),
        ("FROM x AS a\nCOPY . .\nRUN pip install .\n", "pyproject.toml a.py"),
        ("FROM x AS a\nCOPY . .\nRUN pip install -e .[dev]\n", "pyproject.toml a.py"),
        ("FROM x AS a\nCOPY . .\nRUN make\n", "Makefile"),
        ("FROM x AS a\nCOPY prisma prisma\nRUN npm ci\n", "package.json prisma/schema.prisma"),
        ("FROM x AS a\nCOPY . .\nRUN apt-get update && apt-get install ./mine.deb\n", "mine.deb"),
        ("FROM x AS a\nCOPY --from=y / /\nRUN apk add git\n", "a.py"),
        ("FROM x AS a\nCOPY . .\nRUN npm ci\nFROM x AS b\n", "package.json src/a.ts"),
    ],
    ids=["ordered", "pip-code", "pip-editable", "make", "schema", "deb", "from-stage", "stage-not-built"],
)
def test_a_copy_that_is_in_its_place(text: str, files: str) -> None:
    """What an install needs, what installs nothing, and what is not built is left alone."""
    assert "copy-before-install" not in rules(examined(text, files=files))


def test_a_narrow_copy_that_changes_often() -> None:
    """A folder that no install names comes too early once a fifth of the rebuilds were for it."""
    text = "FROM x AS a\nCOPY scripts scripts\nRUN apt-get update && apt-get install -y git\nCOPY src src\n"
    quiet = ("src/a",) * 30 + ("scripts/x",) * 5
    assert "copy-before-install" not in rules(examined(text, files="scripts/x src/a", commits=quiet))
    restless = ("src/a",) * 15 + ("scripts/x",) * 5
    found = only("copy-before-install", examined(text, files="scripts/x src/a", commits=restless))
    assert "5 of the last 20 rebuilds" in found.what
    assert found.fix == ("RUN apt-get update && apt-get install -y git", "COPY scripts scripts")


def test_requirements_in_a_folder_keep_their_place() -> None:
    """The files that the command names are copied to where the broad COPY would have put them."""
    text = "FROM python:3.13\nCOPY server /app\nRUN pip install -r /app/requirements/base.txt\n"
    found = examined(text, files="server/requirements/base.txt server/main.py", commits=("server/main.py",) * 5)
    assert only("copy-before-install", found).fix[0] == "COPY server/requirements/base.txt /app/requirements/"


def test_the_packages_of_a_workspace() -> None:
    """All package.json of a workspace are copied first, each to its place."""
    files = "package.json yarn.lock packages/a/package.json packages/a/x.ts node_modules/b/package.json"
    found = only("copy-before-install", examined("FROM a\nCOPY . /app/\nRUN yarn install\n", files=files))
    assert found.fix == (
        "COPY package.json yarn.lock /app/",
        "COPY packages/a/package.json /app/packages/a/",
        "RUN yarn install",
        "COPY . /app/",
    )


def test_two_tools_in_one_run() -> None:
    """What the second of them reads is needed as well."""
    text = "FROM a\nCOPY Gemfile Gemfile.lock ./\nRUN apt-get update && apt-get install -y gcc && bundle install\n"
    found = examined(text, files="Gemfile Gemfile.lock", commits=("Gemfile.lock",) * 9)
    assert "copy-before-install" not in rules(found)


def test_a_copy_in_the_stage_below() -> None:
    """A stage inherits the COPY of the stage that it starts from."""
    text = "FROM node:24 AS code\nCOPY . .\nFROM code AS deps\nRUN npm ci\n"
    assert only("copy-before-install", examined(text, files="package.json")).line == 2


ARGUMENT = """\
FROM debian AS a
ARG GIT_SHA
ENV REVISION=$GIT_SHA
RUN make deps
RUN make VERSION=$GIT_SHA
"""


@pytest.mark.parametrize("default", ["", "=", "=unknown", '="dev-build"', "=HEAD"])
def test_a_default_that_stands_in_for_a_value(default: str) -> None:
    """An ARG with a stopgap gets its value from each build."""
    assert only("arg-early", examined(f"FROM a\nARG BUILD_HASH{default}\nRUN npm run x\n")).line == 2


def test_an_argument_that_each_commit_changes() -> None:
    """It is in the environment of the RUN of line 4, which does not use it, and belongs before line 5."""
    found = only("arg-early", examined(ARGUMENT))
    assert found.line == 2
    assert "line 4" in found.what
    assert "before line 5" in found.what
    assert found.fix == ("RUN make deps", "ARG GIT_SHA", "RUN make VERSION=$GIT_SHA")


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nRUN make\nARG GIT_SHA\nLABEL revision=$GIT_SHA\n",
        "FROM a\nARG GIT_SHA\nRUN make VERSION=$GIT_SHA\nRUN make more\n",
        "FROM a\nARG GIT_SHA\nENV REVISION=$GIT_SHA\nRUN echo $REVISION\n",
        "FROM a\nARG NODE_MAJOR=22\nRUN make\n",
        "ARG BUILD_DATE\nFROM a\nRUN make\n",
        "FROM a\nARG COMMIT\nRUN <<EOF\necho $COMMIT\nEOF\n",
        "FROM a\nARG OPENSSL_COMMIT=3f4a\nRUN make\nRUN get $OPENSSL_COMMIT\n",
    ],
    ids=["at-the-end", "used-at-once", "through-env", "seldom-changes", "before-from", "in-a-heredoc", "pinned"],
)
def test_an_argument_in_its_place(text: str) -> None:
    """An ARG that is used by the next RUN, or comes after all, costs nothing."""
    assert "arg-early" not in rules(examined(text))


def test_copies_that_could_be_layers_by_themselves() -> None:
    """The COPY lines at the end of the final stage are told together; those before a RUN need what is below anyway."""
    text = (
        "FROM debian AS build\nRUN make\nFROM debian AS app\nCOPY etc /etc\nRUN x\n"
        "COPY --from=build /a /a\nCOPY --chown=10:10 b /b\nCOPY --chown=web c /c\n"
    )
    found = only("copy-link", examined(text))
    assert found.line == 6
    assert found.fix == ("COPY --link --from=build /a /a", "COPY --link --chown=10:10 b /b")


@pytest.mark.parametrize(
    "text",
    [
        "FROM debian AS a\nCOPY --link b /b\n",
        "FROM scratch\nCOPY b /b\n",
        "FROM debian\nCOPY b /b\nRUN c\n",
        "FROM debian\nCOPY --from=busybox:1 /bin/sh /bin/sh\n",
        "FROM debian\nADD https://example.org/x /x\n",
    ],
    ids=["linked", "nothing-below", "run-after", "image", "remote"],
)
def test_copies_that_gain_nothing_by_link(text: str) -> None:
    """Where nothing is below, or something after needs it, or the source does not change, --link saves nothing."""
    assert "copy-link" not in rules(examined(text))


@pytest.mark.parametrize(
    ("run", "fix"),
    [
        (
            "RUN apt-get update && apt-get install -y curl && rm -rf /var/lib/apt/lists/*",
            (
                "RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \\",
                "    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \\",
                "    rm -f /etc/apt/apt.conf.d/docker-clean && apt-get update && apt-get install -y curl",
            ),
        ),
        (
            "RUN pip install --no-cache-dir -r requirements.txt",
            ("RUN --mount=type=cache,target=/root/.cache/pip \\", "    pip install -r requirements.txt"),
        ),
        (
            "RUN --network=host npm ci",
            ("RUN --mount=type=cache,target=/root/.npm \\", "    --network=host \\", "    npm ci"),
        ),
        (
            "RUN set -e; \\\n  yarn install --frozen-lockfile; \\\n  yarn cache clean --all;",
            (
                "RUN --mount=type=cache,target=/usr/local/share/.cache/yarn \\",
                "    set -e; yarn install --frozen-lockfile;",
            ),
        ),
        (
            "RUN pip3 install uv && uv pip install --system -r requirements.txt --no-cache-dir",
            (
                "RUN --mount=type=cache,target=/root/.cache/uv \\",
                "    --mount=type=cache,target=/root/.cache/pip \\",
                "    pip3 install uv && uv pip install --system -r requirements.txt",
            ),
        ),
        ("RUN uv sync --locked", ("RUN --mount=type=cache,target=/root/.cache/uv \\", "    uv sync --locked")),
    ],
    ids=["apt-get", "pip", "npm-with-a-flag", "yarn-cleaned", "uv-by-pip", "uv"],
)
def test_an_install_without_a_cache_mount(run: str, fix: tuple[str, ...]) -> None:
    """The lines to use have the tool's cache mount, and nothing that would empty or evade it."""
    found = only("cache-mount", examined(f"FROM a AS base\n{run}\n", seconds={"base": 41.0}))
    assert (found.line, found.seconds, found.fix) == (2, 41.0, fix)


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nRUN --mount=type=cache,target=/root/.npm npm ci\n",
        "FROM a\nUSER app\nRUN npm ci\n",
        "FROM a AS b\nUSER 1000:1000\nFROM b\nRUN pip install x\n",
        "FROM a\nENV POETRY_CACHE_DIR=/tmp/poetry\nRUN poetry install\n",
        "FROM a\nENV PIP_NO_CACHE_DIR=1\nRUN pip install x\n",
        "FROM a\nRUN apk add --no-cache git\n",
        "FROM a\nRUN npm run install-hooks\n",
        "FROM a\nRUN echo 'apt is fine' && make install\n",
    ],
    ids=["mounted", "user", "user-below", "elsewhere", "none-wanted", "apk", "script", "make-install"],
)
def test_no_cache_mount_is_asked_for(text: str) -> None:
    """A mounted cache, a user whose home is not known, and commands that only look like an install are left alone."""
    assert "cache-mount" not in rules(examined(text))


def test_an_update_by_itself() -> None:
    """apt-get update in a RUN of its own is joined with the install that follows."""
    found = only("apt-update", examined("FROM a\nRUN apt-get update\nRUN apt-get install -y curl\n"))
    assert (found.line, found.fix) == (2, ("RUN apt-get update && apt-get install -y curl",))
    assert "apt-update" not in rules(examined("FROM a\nRUN apt-get update && apt-get install -y curl\n"))
    assert "apt-update" not in rules(examined("FROM a\nRUN apt-get update && apt-get upgrade -y\n"))


@pytest.mark.parametrize(
    ("install", "manifest"),
    [
        ("bun install --frozen-lockfile", "bun.lock"),
        ("pipenv install --deploy", "Pipfile"),
        ("micromamba create -f environment.yml", "environment.yml"),
        ("mvn -B dependency:go-offline", "pom.xml"),
    ],
)
def test_less_usual_tools_install_too(install: str, manifest: str) -> None:
    """The whole context before them: first goes the file that says what to install."""
    found = only("copy-before-install", examined(f"FROM a\nCOPY . .\nRUN {install}\n", files=f"{manifest} src/a"))
    assert found.fix == (f"COPY {manifest} ./", f"RUN {install}", "COPY . .")


def test_the_git_file_of_a_submodule(tmp_path: Path) -> None:
    """The line to use keeps it out as well as that of the repository."""
    text = "FROM a\nCOPY . .\n"
    found = only("dockerignore", examined(text, files="vendor/part/.git vendor/part/x"))
    (tmp_path / "vendor/part").mkdir(parents=True)
    (tmp_path / "vendor/part/.git").touch()
    (tmp_path / ".dockerignore").write_text("\n".join(found.fix))
    assert "vendor/part/.git" not in ContextFolder(tmp_path).paths


def test_what_tools_left_in_the_context() -> None:
    """Junk that a COPY takes in is counted, and the lines for the ignore file keep it out."""
    files = ".git/HEAD .git/config node_modules/a/b.js app/__pycache__/x.pyc app/x.py"
    found = only("dockerignore", examined("FROM a\nCOPY . .\n", files=files))
    assert found.line == 2
    assert ".git (2 files), __pycache__ (1 file), node_modules (1 file)" in found.what
    assert found.fix == ("# .dockerignore", "**/.git", "**/__pycache__", "**/node_modules")


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("FROM a\nCOPY app app\n", ".git/HEAD app/x.py node_modules/a.js"),
        ("FROM a\nCOPY . .\nRUN git describe\n", ".git/HEAD app/x.py"),
        ("FROM a\nCOPY . .\n", "app/x.py"),
    ],
    ids=["not-taken", "used", "not-there"],
)
def test_junk_that_does_not_matter(text: str, files: str) -> None:
    """What no COPY takes, what the build uses, and what is not there is not mentioned."""
    assert "dockerignore" not in rules(examined(text, files=files))


def test_files_that_no_program_reads() -> None:
    """Rebuilds for the README and the workflows alone are counted; with a pyproject.toml the README may be read."""
    commits = ("README.md",) * 3 + (".github/workflows/x.yml", "src/a", "src/a README.md")
    found = only("idle-files", examined("FROM a\nCOPY . .\n", files="src/a README.md", commits=commits))
    assert "4 of the last 6 rebuilds" in found.what
    assert found.fix == ("# .dockerignore", "*.md", ".github")
    python = examined("FROM a\nCOPY . .\n", files="pyproject.toml README.md", commits=commits)
    assert "idle-files" not in rules(python)
    pages = examined("FROM a\nCOPY . .\n", files="posts/one.md", commits=("posts/one.md",) * 9)
    assert "idle-files" not in rules(pages)


def test_secrets_by_name() -> None:
    """An ARG that holds a secret, and a file of secrets that a COPY takes in."""
    found = examined("FROM a\nARG NPM_TOKEN\nCOPY . .\n", files="app/.env app/x.py")
    assert only("secret", found).line == 2
    assert only("secret", found).fix[0] == "RUN --mount=type=secret,id=npm_token,env=NPM_TOKEN …"
    assert only("secret-file", found).fix == ("# .dockerignore", "app/.env")


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("ONBUILD ENV API_KEY=abc", [2]),
        ("ONBUILD ARG \\\n  API_KEY", [2]),
        ("ONBUILD ENV MODE=x", []),
        ("ONBUILD ENV API_KEY", []),
        ("ONBUILD RUNN API_KEY", []),
        ("ONBUILD", []),
    ],
)
def test_secrets_of_the_images_that_start_from_it(line: str, lines: list[int]) -> None:
    """What an ONBUILD carries is read as any other, once; one that BuildKit will refuse tells nothing."""
    text = f"FROM a AS base\n{line}\nFROM b AS app\n"
    assert [found.line for found in examined(text) if found.rule == "secret"] == lines


def test_an_arg_before_the_first_from_is_told_where_a_stage_takes_it() -> None:
    """Only what a stage declares is in its history."""
    assert "secret" not in rules(examined("ARG API_KEY=abc\nFROM a\n"))
    assert only("secret", examined("ARG API_KEY=abc\nFROM a\nARG API_KEY\n")).line == 3


def test_an_empty_secret_tells_nothing() -> None:
    """An ENV that is empty holds no secret."""
    assert "secret" not in rules(examined('FROM a\nENV API_KEY="" OTHER_TOKEN=\n'))
    assert only("secret", examined("FROM a\nENV API_KEY=abc\n")).line == 2


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("node", "`node` moves with each release"),
        ("node:latest", "`node:latest` moves with each release"),
        ("registry.test:5000/node", "moves with each release"),
        ("node:24-slim", "moves whenever `24-slim` does"),
    ],
)
def test_a_base_without_a_digest(image: str, says: str) -> None:
    """An image is told of once, at the first line that names it."""
    graph = parse_dockerfile(f"FROM {image} AS a\nRUN x\nFROM {image} AS b\nCOPY --from=a /x /x\n")
    (found,) = (f for f in examine.examine(graph, RepositoryFacts()) if f.rule == "base-moves")
    assert found.line == 1
    assert says in found.what


def test_a_base_that_is_pinned_or_replaced() -> None:
    """A digest, and an image in whose place the settings put something, are left alone."""
    graph = parse_dockerfile("FROM a@sha256:0 AS a\nFROM tools:1 AS b\nCOPY --from=a /x /x\n")
    assert "base-moves" not in rules(examine.examine(graph, RepositoryFacts(replaced=frozenset({"tools:1"}))))


ANSWER = {
    "warnings": [
        {
            "ruleName": "SecretsUsedInArgOrEnv",
            "detail": 'ARG "NPM_TOKEN"',
            "location": {"ranges": [{"start": {"line": 2}}]},
        },
        {
            "ruleName": "MaintainerDeprecated",
            "detail": "Maintainer instruction is deprecated",
            "url": "https://docs.docker.com/x/",
            "location": {"ranges": [{"start": {"line": 3}}]},
        },
    ]
}


def test_buildkits_own_checks_stand_in_the_same_list() -> None:
    """They come by line among the others; one that both found is told once, with our lines."""
    theirs = parse_build_checks(json.dumps(ANSWER), "", "Dockerfile")
    found = examine.examine(
        parse_dockerfile("FROM a@sha256:0\nARG NPM_TOKEN\nMAINTAINER me\n"), RepositoryFacts(), theirs
    )
    assert [(f.line, f.rule, f.origin) for f in found] == [
        (2, "secret", "stagebake"),
        (3, "MaintainerDeprecated", "BuildKit"),
    ]


def test_no_answer_of_buildkit_is_said() -> None:
    """Where no builder answers, the error tells what it said."""
    with pytest.raises(EngineError, match="Cannot connect to the Docker daemon"):
        parse_build_checks("", "ERROR: Cannot connect to the Docker daemon\n", "Dockerfile")


def test_the_text_for_people() -> None:
    """Place, what is wrong, rule, cost and the lines to use; then what could not be looked at."""
    finding = Finding(
        rule="copy-link", path="Dockerfile", line=7, what="it is so", fix=("COPY --link a b",), stage="app", seconds=90
    )
    assert findings_text((finding,), ("BuildKit was not asked",)) == (
        "Dockerfile:7: it is so [copy-link]\n"
        "  costs 1 min 30 s each time: what stage app last took\n"
        "    COPY --link a b\n\n"
        "1 finding\nnote: BuildKit was not asked\n"
    )
    assert json.loads(findings_json((finding,)))["findings"][0]["line"] == 7
    assert findings_text(()).startswith("nothing to say")


def test_the_example_is_left_alone_but_for_two() -> None:
    """The example follows its own advice: it may say that its base moves and that copies are not linked."""
    files = "package.json package-lock.json requirements.txt app/page.tsx lib/score.ts trainer/audio.py"
    known = RepositoryFacts(files=frozenset(files.split()), commits=(frozenset({"app/page.tsx"}),) * 50)
    found = examine.examine(parse_dockerfile(EXAMPLE.read_text(encoding="utf-8"), target="runtime"), known)
    assert rules(found) <= {"base-moves", "copy-link"}


@pytest.mark.parametrize("path", DOCKERFILES, ids=[path.stem for path in DOCKERFILES])
def test_dockerfiles_of_all_shapes(path: Path) -> None:
    """No shape breaks a rule, none is accused of what it does not have, and the same is found each time."""
    graph = parse_dockerfile(path.read_text(encoding="utf-8"), path=path.name)
    known = RepositoryFacts(files=frozenset({"package.json", "requirements.txt", "src/a.ts"}))
    found = examine.examine(graph, known)
    assert rules(found) <= {"base-moves", "copy-link"}
    assert found == examine.examine(graph, known)


def test_a_file_s_name_starts_no_line_of_a_log() -> None:
    """What a name holds is no command to the runner that prints it."""
    facts = RepositoryFacts(files=frozenset({"a\n::error::x/.env"}))
    text = findings_text(examine.examine(parse_dockerfile("FROM a@sha256:1\nCOPY . .\n"), facts))
    assert "::error::x/.env" in text
    assert not any(line.startswith("::") for line in text.splitlines())
