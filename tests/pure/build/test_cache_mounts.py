"""Cache mounts in a Dockerfile: which there are, when they are needed, and what carries them."""

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


def found(text: str, *, platforms: tuple[str, ...] = (), **args: str) -> tuple[tuple[CacheMount, ...], tuple[str, ...]]:
    graph = parse_dockerfile(text, args=args, platforms=platforms)
    return find_mounts(graph, platforms)


def only(text: str, **args: str) -> CacheMount:
    (mount,), warnings = found(text, platforms=(), **args)
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
def test_the_id_is_buildkits(flag: str, identity: str) -> None:
    """It is `id`, else the target as it is written, cleaned; variables come from the stage's ARG and ENV."""
    text = f"FROM a:1 AS base\nENV STORE=/store\nFROM base\nARG WHICH=3\nRUN --mount=type=cache,{flag} true\n"
    assert only(text).id == identity


def test_a_mount_is_one_over_all_stages_that_have_it() -> None:
    """Two stages with the same mount share its content; another owner makes it another one."""
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
    (plain, owned), warnings = found(text)
    assert warnings == ()
    assert plain.uses == {MountUse("base", 1), MountUse("next", 2)}
    assert owned.uses == {MountUse("next", 3)}
    assert plain.name != owned.name
    assert {plain.image, owned.image} == {"a:1"}


def test_other_mounts_are_none_of_ours() -> None:
    """Bind, tmpfs, secret and ssh mounts, and what is mounted without a type, are left alone."""
    text = "FROM a\nRUN --mount=target=/x --mount=type=tmpfs,target=/t --mount=type=secret,id=s true\n"
    assert found(text) == ((), ())


def test_what_cannot_be_known_or_copied_is_named() -> None:
    """A variable that only the image can set, and a stage on scratch: a warning with the line."""
    text = """\
FROM scratch AS bare
RUN --mount=type=cache,target=/c true
FROM a:1
ARG EMPTY
RUN --mount=type=cache,target=$PIP_CACHE_DIR true
COPY --from=bare / /
"""
    carried, (first, second) = found(text)
    assert carried == ()
    assert first.startswith("Dockerfile:2: cache mount /c is not saved: its stage starts from scratch")
    assert second.startswith("Dockerfile:5: cache mount $PIP_CACHE_DIR is not saved: no ARG or ENV")


def test_each_platform_has_its_own_where_the_id_says_so() -> None:
    """An id with TARGETARCH is one mount for each platform."""
    text = "FROM a\nARG TARGETARCH\nRUN --mount=type=cache,id=x-$TARGETARCH,target=/x true\n"
    carried, _ = found(text, platforms=("linux/amd64", "linux/arm64"))
    assert [mount.id for mount in carried] == ["x-amd64", "x-arm64"]
    assert only("FROM a\nRUN --mount=type=cache,target=/x true\n").uses == {MountUse("stage-0", 1)}


def test_a_build_argument_goes_over_the_default_and_an_env_over_both() -> None:
    """As in BuildKit: --build-arg, the ARG's own default, that of the ARG before the first FROM."""
    text = "ARG V=global\nFROM a\nARG V\nRUN --mount=type=cache,id=$V,target=/x true\n"
    assert only(text).id == "global"
    assert only(text, V="given").id == "given"
    assert only(text.replace("ARG V\nRUN", "ARG V\nENV V=fixed\nRUN"), V="given").id == "fixed"


def test_the_namespace_parts_mounts() -> None:
    """BUILDKIT_CACHE_MOUNT_NS: the same id in another namespace is another mount."""
    text = "FROM a\nRUN --mount=type=cache,target=/x true\n"
    assert only(text).name != only(text, BUILDKIT_CACHE_MOUNT_NS="other").name


def test_an_image_with_the_name_of_a_stage_is_still_the_image() -> None:
    """`FROM node AS node`: what is appended must not start from the stage."""
    assert only("FROM node AS node\nRUN --mount=type=cache,target=/x true\n").image == "node:latest"


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
def test_what_follows_a_step_that_runs(ran: set[MountUse], coming: dict[str, int]) -> None:
    """The rest of its stage, and every other stage from the step on that takes from it."""
    steps = {stage.name: len(stage.steps) for stage in DOWNSTREAM.stages}
    expected = {MountUse(stage, step) for stage, first in coming.items() for step in range(first, steps[stage])}
    assert following_steps(DOWNSTREAM, ran) == expected


def parsed(text: str) -> StageGraph:
    return parse_dockerfile("FROM a:1 AS user\nRUN true\n" + text)


def test_what_carries_mounts_is_a_dockerfile() -> None:
    """Appended to the user's own: a last stage, without a network, whose mounts have their own flags and a lock."""
    mount = only("FROM a:1\nRUN --mount=type=cache,id=x,target=/y,uid=7,mode=0700,sharing=private true\n")
    for text in (
        restore_stages([(mount, "host/name@sha256:1")], "w1"),
        listing_stages([mount], "w1"),
        save_stages(mount, "w1"),
    ):
        graph = parsed(text)
        assert graph.final.name == MOUNT_STAGE
        (run,) = (
            step.instruction for stage in graph.needed_stages() for step in stage.steps if "w1" in step.instruction.text
        )
        assert run.flag_value("network") == "none"
        assert run.mounts[0].items() >= {"id": "x", "uid": "7", "mode": "0700", "sharing": "locked"}.items()


def test_a_list_is_read_without_regard_to_order_and_folders_times() -> None:
    """What tells: names, modes, owners, sizes, times of files; what does not: the list's order, a folder's time."""
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
