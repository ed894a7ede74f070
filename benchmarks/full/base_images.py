"""Make the images that the Dockerfiles start from, and push them to a registry that plays Docker Hub.

The CUDA image has its size in libraries. Each image also has two tools: `install-packages` writes packages out of two
pools of content, `next-build` reads `node_modules` and writes `.next`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.full.project_files import CUDA_IMAGE, NODE_IMAGE
from benchmarks.full.sizes import BINARY_MEMBER, TEXT_MEMBER, ImageSizes, make_archive, make_binary, make_text
from tests.support.engine import Engine
from tests.support.project import BUSYBOX
from tests.support.registry import Registry

_DOCKERFILE = """\
FROM busybox:1
COPY etc /etc
COPY --chmod=755 tools /usr/local/bin
COPY pools /usr/share/pools
COPY runtime /usr/local/cuda/lib64
COPY libraries /usr/local/cuda/lib64
COPY cudnn /usr/local/cuda/lib64
ENV PATH=/usr/local/bin:/bin
"""
# Lines of standard input: NAME VERSION KIND KILOBYTES. Name, version and size of a package decide its bytes. A pool is
# a row of archive members of one size, and a package is made of parts of that row
_INSTALL_PACKAGES = f"""\
#!/bin/sh
set -eu
write_package() {{
    pool=/usr/share/pools/$3 member={BINARY_MEMBER} number=0
    [ "$3" = binary ] || member={TEXT_MEMBER}
    block=$((member + 512)) left=$((($4 * 1000 + member - 1) / member))
    blocks=$(($(stat -c %s "$pool") / block))
    while [ $left -gt 0 ]; do
        number=$((number + 1)) count=$((blocks / 16 + 1))
        [ $count -lt $left ] || count=$left
        left=$((left - count)) start=$(echo "$2 $number" | md5sum | cut -c 1-7)
        mkdir -p "$1/part-$number"
        {{ dd if="$pool" bs=$block skip=$((0x$start % (blocks - count + 1))) count=$count 2>/dev/null
          head -c 1024 /dev/zero; }} | tar -x -C "$1/part-$number" -f -
    done
}}
while read -r name version kind size; do
    write_package "$1/$name" "$name $version" "$kind" "$size"
done
"""
_NEXT_BUILD = """\
#!/bin/sh
set -eu
find node_modules -type f | xargs cat | md5sum >/dev/null
version=$(cat app/* | md5sum | cut -c 1-16)
echo "cache $version text $1
standalone $version text $2
static $version text $3" | install-packages .next
echo "server $version" >.next/standalone/server.js
"""
_TAGS = {CUDA_IMAGE: "cuda:12.1.1", NODE_IMAGE: "node:20-slim"}

Content = Callable[[str, float], Iterator[bytes]]
"""Key and megabytes to bytes."""


@dataclass(frozen=True, kw_only=True)
class BaseSizes:
    """Megabytes of the parts of a base image, at scale 1."""

    binary_pool: float
    text_pool: float
    runtime: float
    libraries: float = 0
    cudnn: float = 0


_BASES = {
    CUDA_IMAGE: BaseSizes(binary_pool=600, text_pool=120, runtime=100, libraries=900, cudnn=680),
    NODE_IMAGE: BaseSizes(binary_pool=60, text_pool=120, runtime=10),
}


@dataclass(frozen=True, kw_only=True)
class Hub:
    """Registry with the images that the Dockerfiles start from, and the engine that makes them.

    `make_library` makes the bytes of the CUDA libraries.
    """

    registry: Registry
    engine: Engine
    folder: Path
    sizes: ImageSizes
    make_library: Content = make_binary

    @property
    def images(self) -> dict[str, str]:
        """Return the image in this registry for each that the Dockerfiles name."""
        return {name: f"{self.registry.host}/{tag}" for name, tag in _TAGS.items()}

    def push_images(self, edition: str) -> None:
        """Make the images and push them; another edition has other bytes under the same tags."""
        for image, base in _BASES.items():
            folder = self.folder / "base"
            self._write_base(folder, base, edition)
            self._build_base(folder, _TAGS[image])
            shutil.rmtree(folder)

    def _write_base(self, folder: Path, base: BaseSizes, edition: str) -> None:
        scale, library = self.sizes.scale_megabytes, self.make_library
        files: Mapping[str, Iterable[bytes]] = {
            "Dockerfile": [_DOCKERFILE.encode()],
            "etc/os-release": [f"ID=ubuntu\nVERSION={edition}\n".encode()],
            "tools/install-packages": [_INSTALL_PACKAGES.encode()],
            "tools/next-build": [_NEXT_BUILD.encode()],
            "pools/binary": make_archive(library(edition, scale(base.binary_pool)), BINARY_MEMBER),
            "pools/text": make_archive(make_text(edition, scale(base.text_pool)), TEXT_MEMBER),
            "runtime/libcudart.so": library(f"{edition} cudart", scale(base.runtime)),
            "libraries/libcublas.so": library(f"{edition} cublas", scale(base.libraries)),
            "cudnn/libcudnn.so": library(f"{edition} cudnn", scale(base.cudnn)),
        }
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.writelines(content)

    def _build_base(self, folder: Path, name: str) -> None:
        output = f"type=image,name={self.registry.host}/{name},push=true,store=false,unpack=false"
        context = f"busybox:1=docker-image://{self.engine.base_reference(BUSYBOX)}"
        self.engine.docker(
            "buildx", "build", "--progress=quiet", "--provenance=false", f"--output={output}",
            f"--build-context={context}", str(folder),
        )  # fmt: skip
