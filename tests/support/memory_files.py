"""Hold a build context in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property

from stagebake.context.entries import ContextEntry
from stagebake.context.folder import git_blob_id
from stagebake.dockerfile.ignore_file import included_paths, parse_patterns
from stagebake.dockerfile.stages import parse_dockerfile
from stagebake.fingerprint.model import BuildInputs, Fingerprint, ImageInfo
from stagebake.fingerprint.stage_inputs import fingerprint_stages

LINK = "link "
BUSYBOX = ImageInfo(digest=f"sha256:{'b' * 64}", env={"PATH": "/bin"}, triggers=())


class Held:
    """Files by path, their folders with them; a text that starts with `link ` is a link to what follows."""

    def __init__(
        self,
        files: Mapping[str, str],
        rules: str = "",
        modes: Mapping[str, int] | None = None,
        rules_name: str = ".dockerignore",
    ) -> None:
        self._files = dict(files)
        self._modes = modes or {}
        self.rules = rules
        self.rules_name = rules_name

    @cached_property
    def paths(self) -> tuple[str, ...]:
        parts = (path.split("/") for path in self._files)
        everything = {"/".join(names[:end]) for names in parts for end in range(1, len(names) + 1)}
        return tuple(included_paths(sorted(everything), parse_patterns(self.rules.splitlines())))

    @property
    def links(self) -> dict[str, str]:
        return {path: text.removeprefix(LINK) for path, text in self._files.items() if text.startswith(LINK)}

    def read_entries(self, paths: Collection[str]) -> dict[str, ContextEntry]:
        return {path: self._entry(path) for path in paths}

    def _entry(self, path: str) -> ContextEntry:
        text = self._files.get(path)
        if text is None:
            return ContextEntry("folder", self._modes.get(path, 0o755))
        if text.startswith(LINK):
            return ContextEntry(text)
        content = text.encode()
        return ContextEntry(git_blob_id(content), self._modes.get(path, 0o644), len(content), text.count("\n"))


def prints(
    text: str,
    files: Mapping[str, str] | None = None,
    rules: str = "",
    *,
    modes: Mapping[str, int] | None = None,
    inputs: BuildInputs | None = None,
    **graph: object,
) -> dict[str, Fingerprint]:
    """Return the fingerprints of a Dockerfile whose images are all `BUSYBOX`; `graph` goes to `parse_dockerfile`."""
    read = parse_dockerfile(text, **graph)  # type: ignore[arg-type]
    images = {image.name: BUSYBOX for stage in read.stages for image in stage.images}
    return fingerprint_stages(read, inputs or BuildInputs(context=Held(files or {}, rules, modes), images=images))


def changed(before: Mapping[str, Fingerprint], after: Mapping[str, Fingerprint]) -> set[str]:
    """Return the stages whose result is not known to be the same."""
    return {name for name in after if name not in before or not before[name].is_same(after[name])}
