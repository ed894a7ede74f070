"""Find cache mounts in a Dockerfile, and write the stages that restore and save them."""

from __future__ import annotations

import pytest

from stagebake.build.cache_mounts import (
    MOUNT_STAGE,
    CacheMount,
    MountUse,
    find_mounts,
    following_steps,
    listing_stages,
    parse_listing,
    restore_stages,
    save_stages,
)
from stagebake.dockerfile.stages import StageGraph, parse_dockerfile


def find_in(
    text: str, *, platforms: tuple[str, ...] = (), **args: str
) -> tuple[tuple[CacheMount, ...], tuple[str, ...]]:
    graph = parse_dockerfile(text, args=args, platforms=platforms)
    return find_mounts(graph, platforms)


def find_one(text: str, **args: str) -> CacheMount:
    (mount,), warnings = find_in(text, platforms=(), **args)
    assert warnings == ()
    return mount


@pytest.mark.parametrize(
    ("flag", "identity"),
    [
        ("target=/root/.cache/pip", "/root/.cache/pip"),
        ("dst=/a/b/../c/", "/a/c"),
        ("destination=//x", "/x"),
        ("target=rel/./x", "rel/x"),
        ("id=pip,target=/x", "pip"),
        ("ID=pip,Target=/x,Sharing=locked", "pip"),
        ("id=pip-$WHICH,target=/x", "pip-3"),
        ("id=${WHICH:-none},target=/x", "3"),
        ("target=$STORE/pip", "/store/pip"),
        ('"target=/x"', "/x"),
    ],
)
def test_find_mounts_id_is_the_one_that_buildkit_uses(flag: str, identity: str) -> None:
    """Use `id`, else the cleaned target; variables come from the stage's ARG and ENV."""
    text = f"FROM a:1 AS base\nENV STORE=/store\nFROM base\nARG WHICH=3\nRUN --mount=type=cache,{flag} true\n"
    assert find_one(text).id == identity


def test_find_mounts_same_mount_of_two_stages_is_one() -> None:
    """Another owner makes it another mount."""
    text = """\
FROM a:1 AS base
RUN --mount=type=cache,target=/c,sharing=locked one
FROM base AS next
WORKDIR /
RUN --mount=type=cache,target=/c two
RUN --mount=type=cache,target=/c,uid=1000 three
FROM b:1 AS unused
RUN --mount=type=cache,target=/unused four
FROM next
"""
    (plain, owned), warnings = find_in(text)
    assert warnings == ()
    assert plain.uses == {MountUse("base", 1), MountUse("next", 2)}
    assert owned.uses == {MountUse("next", 3)}
    assert plain.name != owned.name
    assert {plain.image, owned.image} == {"a:1"}


def test_find_mounts_other_types_are_left_out() -> None:
    """Mount bind, tmpfs and secret, with and without a type."""
    text = "FROM a\nRUN --mount=target=/x --mount=type=tmpfs,target=/t --mount=type=secret,id=s true\n"
    assert find_in(text) == ((), ())


def test_find_mounts_mount_that_cannot_be_saved_is_a_warning() -> None:
    """Name the line of a variable that only the image can set, and of a stage on scratch."""
    text = """\
FROM scratch AS bare
RUN --mount=type=cache,target=/c true
FROM a:1
ARG EMPTY
RUN --mount=type=cache,target=$PIP_CACHE_DIR true
COPY --from=bare / /
"""
    carried, (first, second) = find_in(text)
    assert carried == ()
    assert first.startswith("Dockerfile:2: cache mount /c is not saved: its stage starts from scratch")
    assert second.startswith("Dockerfile:5: cache mount $PIP_CACHE_DIR is not saved: no ARG or ENV")


def test_find_mounts_id_with_a_platform_variable_is_one_mount_per_platform() -> None:
    """Use TARGETARCH in an id."""
    text = "FROM a\nARG TARGETARCH\nRUN --mount=type=cache,id=x-$TARGETARCH,target=/x true\n"
    carried, _ = find_in(text, platforms=("linux/amd64", "linux/arm64"))
    assert [mount.id for mount in carried] == ["x-amd64", "x-arm64"]
    assert find_one("FROM a\nRUN --mount=type=cache,target=/x true\n").uses == {MountUse("stage-0", 1)}


def test_find_mounts_env_overrides_build_argument_overrides_default() -> None:
    """Follow BuildKit: --build-arg, then the default of the ARG, then that of the ARG before the first FROM."""
    text = "ARG V=global\nFROM a\nARG V\nRUN --mount=type=cache,id=$V,target=/x true\n"
    assert find_one(text).id == "global"
    assert find_one(text, V="given").id == "given"
    assert find_one(text.replace("ARG V\nRUN", "ARG V\nENV V=fixed\nRUN"), V="given").id == "fixed"


def test_find_mounts_other_namespace_is_another_mount() -> None:
    """Set BUILDKIT_CACHE_MOUNT_NS."""
    text = "FROM a\nRUN --mount=type=cache,target=/x true\n"
    assert find_one(text).name != find_one(text, BUILDKIT_CACHE_MOUNT_NS="other").name


def test_find_mounts_image_named_like_a_stage_gets_a_tag() -> None:
    """Appended stages must start from the image, not from the stage (`FROM node AS node`)."""
    assert find_one("FROM node AS node\nRUN --mount=type=cache,target=/x true\n").image == "node:latest"


DOWNSTREAM = parse_dockerfile("""\
FROM a AS base
RUN one
FROM base AS side
COPY x x
RUN two
FROM base AS app
RUN before
COPY --from=side /x /
RUN after
""")


@pytest.mark.parametrize(
    ("ran", "coming"),
    [
        ({MountUse("side", 1)}, {"side": 1, "app": 2}),
        ({MountUse("side", 2), MountUse("side", 1)}, {"side": 1, "app": 2}),
        ({MountUse("app", 3)}, {"app": 3}),
        ({MountUse("base", 1)}, {"base": 1, "side": 0, "app": 0}),
        (set(), {}),
    ],
)
def test_following_steps_include_dependent_stages(ran: set[MountUse], coming: dict[str, int]) -> None:
    """Return the rest of the stage, and other stages from the first step that takes from it."""
    steps = {stage.name: len(stage.steps) for stage in DOWNSTREAM.stages}
    expected = {MountUse(stage, step) for stage, first in coming.items() for step in range(first, steps[stage])}
    assert following_steps(DOWNSTREAM, ran) == expected


def parse_after_user_stage(text: str) -> StageGraph:
    return parse_dockerfile("FROM a:1 AS user\nRUN true\n" + text)


def test_mount_stages_appended_to_a_dockerfile_are_valid() -> None:
    """Append a last stage without a network, whose mounts keep their flags and are locked."""
    mount = find_one("FROM a:1\nRUN --mount=type=cache,id=x,target=/y,uid=7,mode=0700,sharing=private true\n")
    for text in (
        restore_stages([(mount, f"host/name@sha256:{64 * '1'}")], "w1"),
        listing_stages([mount], "w1"),
        save_stages(mount, "w1"),
    ):
        graph = parse_after_user_stage(text)
        assert graph.final.name == MOUNT_STAGE
        (run,) = (
            step.instruction for stage in graph.needed_stages() for step in stage.steps if "w1" in step.instruction.text
        )
        assert run.flag_value("network") == "none"
        assert run.mounts[0].items() >= {"id": "x", "uid": "7", "mode": "0700", "sharing": "locked"}.items()


def test_parse_listing_ignores_order_and_times_of_folders() -> None:
    """Names, modes, owners, sizes and times of files change the digest."""
    listing = "41ed 0 0 4096 1 .\n81a4 0 0 10 5 ./a b\n81a4 0 0 7 6 ./c\n"
    content = parse_listing(listing)
    assert content.bytes == 17
    assert parse_listing("81a4 0 0 7 6 ./c\n41ed 0 0 60 9 .\n81a4 0 0 10 5 ./a b\n") == content
    for old, new in (
        ("./c", "./d"),
        (" 7 6", " 7 8"),
        (" 7 6", " 8 6"),
        ("81a4 0 0 7", "81ed 0 0 7"),
        ("41ed", "41c0"),
    ):
        assert parse_listing(listing.replace(old, new)).digest != content.digest
    assert parse_listing("41ed 0 0 4096 1 .\n").bytes == 0
