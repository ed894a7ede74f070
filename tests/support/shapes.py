"""Collect Dockerfiles of all shapes. Each stage draws a random value, which tells whether the stage ran again."""

from __future__ import annotations

from collections.abc import Mapping


def draw(name: str) -> str:
    """Return a step that writes a new value into /NAME.txt each time it runs."""
    return f"RUN head -c16 /dev/urandom | md5sum > /{name}.txt"


FIVE: Mapping[str, str] = {
    "Dockerfile": f"""\
FROM busybox:1 AS base
{draw("base")}
WORKDIR /app

FROM base AS python-deps
COPY requirements.txt .
{draw("python-deps")}

FROM base AS node-deps
COPY package.json package-lock.json ./
{draw("node-deps")}

FROM node-deps AS builder
COPY src src
{draw("builder")}

FROM base AS runtime
COPY --from=python-deps /python-deps.txt /
COPY --from=builder /node-deps.txt /builder.txt /
{draw("runtime")}
CMD ["cat", "/builder.txt"]
""",
    "requirements.txt": "torch\n",
    "package.json": "{}\n",
    "package-lock.json": "{}\n",
    "src/page.ts": "export default 1\n",
}
STAGES = ("base", "python-deps", "node-deps", "builder", "runtime")


TWO: Mapping[str, str] = {
    "Dockerfile": f"""\
FROM busybox:1 AS base
{draw("base")}

FROM base AS image
COPY source.txt /
{draw("image")}
""",
    "source.txt": "one\n",
}


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    """Return the stages whose values differ between two images."""
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


SHAPES: Mapping[str, Mapping[str, str]] = {
    "one-stage": {
        "Dockerfile": f"""\
FROM busybox:1
COPY notes.md /notes.md
{draw("only")}
""",
        "notes.md": "one\n",
    },
    "eight-with-a-diamond": {
        "Dockerfile": f"""\
FROM busybox:1 AS root
{draw("root")}
FROM root AS left
{draw("left")}
FROM root AS right
{draw("right")}
FROM left AS joined
COPY --from=right /right.txt /
{draw("joined")}
FROM busybox:1 AS tools
{draw("tools")}
FROM joined AS tested
COPY --from=tools /tools.txt /
{draw("tested")}
FROM joined AS docs
COPY notes.md /notes.md
{draw("docs")}
FROM root AS image
COPY --from=tested /left.txt /right.txt /joined.txt /tools.txt /tested.txt /
COPY --from=docs /docs.txt /
{draw("image")}
""",
        "notes.md": "eight\n",
    },
    "dots-and-heredocs": {
        "Dockerfile": """\
# syntax is the built-in one
FROM busybox:1 AS base.1
RUN <<EOF
set -e
head -c16 /dev/urandom | md5sum > /base.txt
EOF
COPY <<first.txt <<"second.txt" /texts/
one
FROM nothing AS heredoc
first.txt
two ${HOME}
second.txt

FROM busybox:1 AS base_1
RUN head -c16 /dev/urandom \\
    # a comment in a continued line
    | md5sum > /other.txt

FROM base.1 AS app-2.0
COPY --from=base_1 /other.txt /
RUN head -c16 /dev/urandom | md5sum > /app.txt
""",
    },
    "copy-from-an-image": {
        "Dockerfile": f"""\
FROM busybox:1 AS app
COPY --from=example.test/tools:1 /tools.txt /
{draw("app")}
FROM app
{draw("final")}
""",
    },
    "numbers-and-no-names": {
        "Dockerfile": f"""\
FROM busybox:1
{draw("zero")}
FROM busybox:1 AS never-used
RUN exit 1
FROM busybox:1
{draw("two")}
FROM busybox:1
COPY --from=0 /zero.txt /
COPY --from=2 /two.txt /
{draw("three")}
""",
    },
    "mixed-case": {
        "Dockerfile": f"""\
from busybox:1 as Base
{draw("base")}
FROM base AS Side
{draw("side")}
FROM base AS Final
COPY --from=SIDE /side.txt /
run --mount=from=BASE,target=/base cp /base/base.txt /copied.txt
{draw("final")}
""",
    },
    "arguments": {
        "Dockerfile": f"""\
ARG VERSION=1
ARG IMAGE=busybox:${{VERSION}}
FROM ${{IMAGE}} AS base
ARG VERSION
RUN echo $VERSION > /version.txt
{draw("base")}
FROM ${{NEVER:-base}} AS app
ARG GREETING="hello world"
RUN echo $GREETING > /greeting.txt
{draw("app")}
""",
    },
    "mounts": {
        "Dockerfile": f"""\
FROM busybox:1 AS source
{draw("source")}
FROM busybox:1 AS cached
RUN --mount=type=cache,target=/cache --mount=type=tmpfs,target=/scratch {draw("cached").removeprefix("RUN ")}
FROM busybox:1 AS app
RUN --mount=type=bind,from=source,source=/source.txt,target=/in/source.txt \\
    --mount=from=cached,target=/in/cached cp /in/source.txt /in/cached/cached.txt /
{draw("app")}
""",
    },
    "links": {
        "Dockerfile": f"""\
FROM busybox:1 AS base
{draw("base")}
FROM busybox:1 AS side
COPY --link notes.md /notes.md
{draw("side")}
FROM base AS app
COPY --link --from=side /side.txt /
COPY --link --chmod=755 notes.md /notes/
{draw("app")}
""",
        "notes.md": "links\n",
    },
}
