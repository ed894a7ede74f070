"""Test which stage or step is named at a limit of the registry or of the disk."""

from __future__ import annotations

import json

import pytest

from stagebake.buildkit.events import StepRun
from stagebake.buildkit.limits import (
    DiskSpace,
    StepSize,
    explain_large_layer,
    has_layer_limit,
    is_disk_full,
    is_layer_too_large,
    is_upload_cut_off,
    parse_step_sizes,
    warn_large_stages,
    warn_low_disk,
)

GITHUB_PUSH = "failed to push ghcr.io/owner/app:latest: {}"
OTHER_PUSH = "failed to push host/app:latest: {}"
ADDRESS = 'Put "https://host/v2/app/blobs/uploads/413?digest=sha256%3A504":'
TORCH = StepSize(step="RUN pip install torch", stage="deps", bytes=12_300_000_000)


@pytest.mark.parametrize(
    ("reason", "too_large"),
    [
        (f"unexpected status from PUT request to {ADDRESS} 413 Request Entity Too Large", True),
        ("unsupported: layer too large", True),
        ("denied: blob exceeds the maximum size", True),
        (f"{ADDRESS} EOF", False),
        ("unexpected status from HEAD request: 403 Forbidden", False),
    ],
)
def test_is_layer_too_large_reads_the_answer_but_not_the_address(reason: str, too_large: bool) -> None:
    assert is_layer_too_large(OTHER_PUSH.format(reason)) is too_large


@pytest.mark.parametrize(
    ("reason", "cut_off"),
    [
        (f"failed to do request: {ADDRESS} EOF", True),
        ("write tcp 10.0.0.1:1->140.82.121.33:443: write: connection reset by peer", True),
        ("write: broken pipe", True),
        ("unexpected status from PUT request: 504 Gateway Timeout", True),
        ("http2: client connection lost", True),
        ("context deadline exceeded (Client.Timeout exceeded)", True),
        (f"{ADDRESS} denied: permission_denied: write_package", False),
        ("unexpected status from POST request: 403 Forbidden", False),
    ],
)
def test_is_upload_cut_off_is_true_for_github_alone(reason: str, cut_off: bool) -> None:
    assert is_upload_cut_off(GITHUB_PUSH.format(reason)) is cut_off
    assert not is_upload_cut_off(OTHER_PUSH.format(reason))


def result_line(description: str, size: str) -> str:
    return json.dumps({"ID": "x", "Description": description, "Size": size, "Type": "regular"})


def test_parse_step_sizes_largest_step_comes_first_with_its_stage() -> None:
    command = "pip install torch && \\\n  rm -rf /root/.cache"
    lines = (
        result_line("local source for context", "99GB"),
        result_line("[app 2/4] COPY --from=deps /venv /venv", "6.009MB"),
        result_line(f"mount / from exec /bin/sh -c {command}", "12.3GB"),
        result_line("mount / from exec /bin/sh -c true", "4.096kB"),
        result_line("[7/9] COPY a b", "17B"),
        result_line("[app 3/4] ADD a b", "large"),
        "not JSON",
        "[]",
    )
    step = StepRun(name=f"RUN {command}", stage="deps", number=2, cached=False, ran=True, running=False, intervals=())
    assert parse_step_sizes("\n".join(lines), [step]) == (
        StepSize(step=f"RUN {command}", stage="deps", bytes=12_300_000_000),
        StepSize(step="COPY --from=deps /venv /venv", stage="app", bytes=6_009_000),
        StepSize(step="RUN true", stage="", bytes=4096),
    )


def test_explain_large_layer_on_github_names_limits_step_and_size() -> None:
    hint = explain_large_layer((TORCH,), GITHUB_PUSH.format("EOF"))
    assert "ghcr.io refuses a layer of more than 10 GB and ends an upload after 10 minutes" in hint
    assert "stage deps, `RUN pip install torch` (12.3 GB uncompressed)" in hint


def test_explain_large_layer_elsewhere_names_a_proxy_and_the_step() -> None:
    hint = explain_large_layer((TORCH,), OTHER_PUSH.format("413 Request Entity Too Large"))
    assert hint.startswith("the registry, or a proxy before it, limits the size of a layer: split the step")
    assert "RUN pip install torch" in hint
    assert "ghcr.io" not in hint


def test_explain_large_layer_cut_upload_of_small_steps_has_another_cause() -> None:
    small = StepSize(step="COPY a b", stage="app", bytes=1000)
    assert explain_large_layer((small,), GITHUB_PUSH.format("EOF")) == ""
    assert explain_large_layer((), GITHUB_PUSH.format("EOF")) == ""
    assert explain_large_layer((), GITHUB_PUSH.format("413")) != ""


@pytest.mark.parametrize(
    ("refs", "limited"),
    [
        (("ghcr.io/o/app:1",), True),
        (("host/ghcr.io/app:1",), False),
        (("host/a:1", "ghcr.io/o/a:1"), True),
        ((), False),
    ],
)
def test_has_layer_limit_is_true_for_github(refs: tuple[str, ...], limited: bool) -> None:
    assert has_layer_limit(refs) is limited


def test_warn_large_stages_names_stage_and_size() -> None:
    (warning,) = warn_large_stages({"base": 9_000_000_000, "deps": 11_000_000_000})
    assert warning.startswith("stage deps had 11.0 GB of layers in its last build: ghcr.io refuses")


def test_warn_low_disk_says_what_the_image_needs_and_what_is_free() -> None:
    sizes = {"base": 2_000_000_000, "deps": 2_000_000_000}
    assert warn_low_disk(DiskSpace(folder="/data", free=15_000_000_000), sizes) == ()
    (warning,) = warn_low_disk(DiskSpace(folder="/data", free=13_000_000_000), sizes)
    assert warning.startswith("the image needs about 14.0 GB of disk, and /data has 13.0 GB free: ")
    assert "docker image prune" in warning
    assert "--make-room" in warning


def test_is_disk_full_reads_all_lines() -> None:
    assert is_disk_full(["a", "write /x: no space left on device"])
    assert not is_disk_full(["a", "b"])
