"""Write the five-stage project: the Dockerfile of the seed in its shape, its mended forms, and the application. Pure.

The steps install nothing from outside: the tools of the base images write packages of the right sizes, and `sleep`
takes the time of the work. So the figures do not depend on package registries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.full.sizes import ImageSizes, make_binary, make_text

CUDA_IMAGE = "nvidia/cuda:12.1.1-cudnn8-runtime-ubuntu22.04"
NODE_IMAGE = "node:20-slim"

_STAGES = """\
FROM {cuda} AS base
ENV LANG=en_US.UTF-8
RUN sleep {apt_seconds} && echo "ffmpeg 7:4.4 binary {apt}" | install-packages /usr/lib/apt
RUN echo nodejs:x:1001: >>/etc/group && echo nextjs:x:1001:1001::/home/nextjs:/bin/sh >>/etc/passwd

FROM base AS python-deps
ENV VENV=/opt/kokoro-venv
RUN echo "pip 24.0 text {pip}" | install-packages $VENV/lib && mkdir $VENV/bin && cp /bin/busybox $VENV/bin/python
RUN sleep {torch_seconds} && echo "torch 2.3.0+cu121 binary {torch}" | install-packages $VENV/lib
COPY kokoro-local/requirements.txt /tmp/requirements.txt
RUN sleep {requirements_seconds} && install-packages $VENV/lib </tmp/requirements.txt
RUN echo "en_core_web_sm 3.7 text {spacy}" | install-packages $VENV/lib
RUN find $VENV -name "*.pyc" | xargs -r rm{and_executable}

FROM {node_base} AS node-deps
WORKDIR /app
COPY package.json package-lock.json ./
RUN sleep {npm_seconds} && install-packages node_modules <package-lock.json
COPY prisma prisma
RUN echo "@prisma 5.22 binary {prisma}" | install-packages node_modules

FROM node-deps AS builder
COPY . .
RUN sleep {next_seconds} && next-build {next_cache} {standalone} {static}{and_prune}

FROM base AS runtime
ENV NODE_ENV=production VENV=/opt/kokoro-venv
WORKDIR /app
RUN mkdir -p data public/audio logs backups && chown -R nextjs:nodejs /app
"""
_COPIES = (
    ".next/standalone ./",
    ".next/static .next/static",
    "public public",
    "prisma prisma",
    "package.json package.json",
    "package-lock.json package-lock.json",
    "scripts scripts",
    "kokoro-local kokoro-local",
    "node_modules/@prisma node_modules/@prisma",
    "node_modules node_modules",
)
_PRUNE = "rm -rf node_modules/dev-*"
_EXECUTABLE = "chmod +x $VENV/bin/*"
_CLOSING = """\
USER nextjs
EXPOSE 3000
CMD ["cat", "/app/server.js"]
"""
_NODE_PACKAGES = 40


def render_as_it_is(sizes: ImageSizes) -> str:
    """Return the Dockerfile whose final stage ends with a step over everything that it copied."""
    lines = ["COPY --from=python-deps /opt/kokoro-venv $VENV\n"]
    lines += [f"COPY --from=builder --chown=nextjs:nodejs /app/{paths}\n" for paths in _COPIES]
    lines.append(f"RUN {_PRUNE} && chown -R nextjs:nodejs $VENV && {_EXECUTABLE}\n")
    return _render_stages(sizes, "base") + "".join(lines) + _CLOSING


def render_mended(sizes: ImageSizes, node_base: str = "base") -> str:
    """Return the Dockerfile with linked copies, and with the closing step in the stages that it belongs to."""
    copy = "COPY --link --chown=1001:1001"
    lines = [f"{copy} --from=python-deps /opt/kokoro-venv $VENV\n"]
    lines += [f"{copy} --from=builder /app/{paths}\n" for paths in _COPIES]
    more = {"and_prune": f" && {_PRUNE}", "and_executable": f" && {_EXECUTABLE}"}
    return _render_stages(sizes, node_base, **more) + "".join(lines) + _CLOSING


def render_slim(sizes: ImageSizes) -> str:
    """Return the mended Dockerfile with `node-deps` and `builder` on a small image instead of the CUDA image."""
    return render_mended(sizes, NODE_IMAGE)


DOCKERFILES: Mapping[str, Callable[[ImageSizes], str]] = {
    "as-it-is": render_as_it_is,
    "mended": render_mended,
    "slim": render_slim,
}


def render_application(sizes: ImageSizes) -> dict[str, bytes]:
    """Return the files of the application by their paths."""
    return {
        ".dockerignore": b"stagebake.toml\n.git\nDockerfile\n",
        "package.json": b'{"name": "listening-trainer"}\n',
        "package-lock.json": render_lock(sizes).encode(),
        "kokoro-local/requirements.txt": render_requirements(sizes).encode(),
        "prisma/schema.prisma": b"model User {}\n",
        "scripts/start.sh": b"exec node server.js\n",
        "app/page.tsx": b"export default 1\n",
        "app/components.tsx": b"".join(make_text("components", sizes.scale_megabytes(5))),
        "public/picture.png": b"".join(make_binary("picture", sizes.scale_megabytes(5))),
    }


def render_lock(sizes: ImageSizes, *more: str) -> str:
    """Return the lock file of npm: a line for each package; every fifth is for development only."""
    size = sizes.scale_kilobytes(480 / _NODE_PACKAGES)
    names = [f"{'dev-' if number % 5 == 0 else ''}package-{number}" for number in range(_NODE_PACKAGES)]
    return "".join(f"{name} 1.0.0 text {size}\n" for name in (*names, *more))


def render_requirements(sizes: ImageSizes, version: str = "0.9.2") -> str:
    """Return the list of Python packages beside PyTorch."""
    sizes_in_megabytes = {"scipy": 100, "spacy": 120, "transformers": 90, "soundfile": 20}
    lines = [f"kokoro {version} text {sizes.scale_kilobytes(20)}\n"]
    for name, megabytes in sizes_in_megabytes.items():
        lines.append(f"{name} 1.13.0 binary {sizes.scale_kilobytes(megabytes)}\n")
    return "".join(lines)


def _render_stages(sizes: ImageSizes, node_base: str, *, and_executable: str = "", and_prune: str = "") -> str:
    return _STAGES.format(
        cuda=CUDA_IMAGE,
        node_base=node_base,
        and_executable=and_executable,
        and_prune=and_prune,
        apt=sizes.scale_kilobytes(600),
        pip=sizes.scale_kilobytes(20),
        torch=sizes.scale_kilobytes(1600),
        spacy=sizes.scale_kilobytes(30),
        prisma=sizes.scale_kilobytes(20),
        next_cache=sizes.scale_kilobytes(100),
        standalone=sizes.scale_kilobytes(40),
        static=sizes.scale_kilobytes(10),
        apt_seconds=sizes.scale_seconds(40),
        torch_seconds=sizes.scale_seconds(60),
        requirements_seconds=sizes.scale_seconds(30),
        npm_seconds=sizes.scale_seconds(30),
        next_seconds=sizes.scale_seconds(30),
    )
