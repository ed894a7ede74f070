"""Cache manifests are read, joined, thinned and written without changing what they say."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from stagebake import compose
from stagebake.compose import Cache, Document, InvalidCache, join, read, without_blobs, write

CACHES = Path(__file__).parent / "caches"
REAL = ("base", "python-deps", "node-deps", "builder", "runtime")

Raw = dict[str, list[dict[str, Any]]]

T1, T2, T3 = "2026-01-01T10:00:00Z", "2026-01-01T10:00:00.5Z", "2026-01-01T10:00:01Z"


def digest(name: object) -> str:
    return compose.digest_of(str(name).encode())


def layer(blob: str, parent: int = -1, **more: Any) -> dict[str, Any]:
    return {"blob": digest(blob), "parent": parent, **more}


def record(name: str, *inputs: list[int], at: str = T1, **results: Any) -> dict[str, Any]:
    """A step as BuildKit writes it: `layer` an index, `chain` a list of indexes; each input a list of links."""
    entry: dict[str, Any] = {"digest": digest(name)}
    if inputs:
        entry["inputs"] = [[{"link": link} for link in links] for links in inputs]
    if "layer" in results:
        entry["layers"] = [{"layer": results["layer"], "createdAt": at}]
    if "chain" in results:
        entry["chains"] = [{"layers": results["chain"], "createdAt": at}]
    return entry


def files_of(raw: Raw) -> tuple[bytes, bytes]:
    """Manifest and config of a cache of these layers and records."""
    config = json.dumps(raw).encode()
    blobs = dict.fromkeys(entry["blob"] for entry in raw.get("layers", []))
    manifest = {
        "schemaVersion": 2,
        "mediaType": compose.MANIFEST_TYPE,
        "config": {"mediaType": compose.CONFIG_TYPE, "digest": compose.digest_of(config), "size": len(config)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": b, "size": 7} for b in blobs],
    }
    return json.dumps(manifest).encode(), config


def cache_of(*layers: dict[str, Any], records: list[dict[str, Any]]) -> Cache:
    return read(*files_of({"layers": list(layers), "records": records}))


def rewritten(cache: Cache) -> Cache:
    document = write(cache)
    return read(document.manifest, document.config)


def plain(cache: Cache) -> Cache:
    """The cache without `proven`, which is worked out on reading and is not part of the format."""
    records = {
        identity: replace(entry, results=tuple(replace(result, proven="") for result in entry.results[-1:]))
        for identity, entry in cache.records.items()
    }
    return replace(cache, records=records)


def config_of(cache: Cache) -> Any:
    return json.loads(write(cache).config)


def blobs_of(cache: Cache, identity: str) -> list[str]:
    """The blobs of one layer's chain, its own first."""
    chain = []
    step: str | None = identity
    while step is not None:
        chain.append(cache.layers[step].blob)
        step = cache.layers[step].parent
    return chain


def results_of(cache: Cache) -> dict[str, list[list[str]]]:
    """Digest of each step that has a result, and the blobs of that result."""
    return {
        entry.digest: [blobs_of(cache, identity) for identity in entry.result.layers]
        for entry in cache.records.values()
        if entry.result
    }


def real(name: str) -> Cache:
    """A cache that BuildKit 0.25 wrote for a stage."""
    return read((CACHES / f"{name}.manifest.json").read_bytes(), (CACHES / f"{name}.config.json").read_bytes())


def test_numbers_that_are_left_out_are_zero() -> None:
    """No `parent` is parent 0, no `link` is record 0, no `layer` is layer 0; -1 alone is no parent."""
    cache = cache_of(
        layer("bottom"),
        {"blob": digest("top")},
        records=[
            record("source"),
            {"digest": digest("first"), "inputs": [[{}]], "layers": [{"createdAt": T1}]},
            {"digest": digest("second"), "inputs": [[{"link": 1}]], "layers": [{"layer": 1, "createdAt": T1}]},
        ],
    )
    assert results_of(cache) == {
        digest("first"): [[digest("bottom")]],
        digest("second"): [[digest("top"), digest("bottom")]],
    }
    first = next(entry for entry in cache.records.values() if entry.digest == digest("first"))
    assert [cache.records[link.record].digest for (link,) in first.inputs] == [digest("source")]


def test_a_written_cache_leaves_no_number_out() -> None:
    """Zeros are written, so that nobody has to know what a missing number means."""
    config = config_of(cache_of(layer("a"), records=[record("s"), record("r", [0], layer=0)]))
    assert all("parent" in entry for entry in config["layers"])
    assert all("layer" in result for entry in config["records"] for result in entry.get("layers", []))
    assert all("link" in x for entry in config["records"] for links in entry.get("inputs", []) for x in links)


@pytest.mark.parametrize("name", REAL)
def test_what_buildkit_wrote_is_read_and_written_again(name: str) -> None:
    """A cache of BuildKit is read whole and survives being written."""
    raw = json.loads((CACHES / f"{name}.config.json").read_bytes())
    cache = real(name)
    assert len(cache.layers) == len(raw["layers"])
    assert len(cache.records) == len(raw["records"])
    assert sum(entry.result is not None for entry in cache.records.values()) == sum(
        "layers" in r for r in raw["records"]
    )
    assert rewritten(cache) == cache


def test_the_real_caches_share_their_base() -> None:
    """Joined, the caches of five stages hold each step and each blob once, and every result of each."""
    caches = [real(name) for name in REAL]
    joined = join(caches)
    assert joined.blobs() == {blob: size for cache in caches for blob, size in cache.blobs().items()}
    assert {d for cache in caches for d in results_of(cache)} == set(results_of(joined))
    assert len(joined.records) < sum(len(cache.records) for cache in caches)


def test_join_makes_shared_records_and_layers_once() -> None:
    """The same step and the same blob on the same parent are one, wherever they stand in their configs."""
    one = cache_of(
        layer("base"), layer("a", 0), records=[record("s"), record("base", [0], layer=0), record("a", [1], layer=1)]
    )
    two = cache_of(
        layer("b", 1), layer("base"), records=[record("b", [2], layer=0), record("s"), record("base", [1], layer=1)]
    )
    joined = join([one, two])
    assert len(joined.layers) == 3
    assert len(joined.records) == 4
    assert results_of(joined) == results_of(one) | results_of(two)


def test_the_same_blob_on_another_parent_is_another_layer() -> None:
    """A blob says nothing of what lies below it."""
    cache = cache_of(
        layer("x"), layer("y"), layer("top", 0), layer("top", 1),
        records=[record("s"), record("a", [0], layer=2), record("b", [0], layer=3)],
    )  # fmt: skip
    assert results_of(rewritten(cache)) == {
        digest("a"): [[digest("top"), digest("x")]],
        digest("b"): [[digest("top"), digest("y")]],
    }


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (T1, T3),
        (T1, T2),
        (T2, T3),
        ("2026-01-01T10:00:00.09Z", "2026-01-01T10:00:00.1Z"),
        ("2026-01-01T10:00:00.999999999Z", T3),
        ("2025-12-31T23:59:59Z", T1),
        ("0001-01-01T00:00:00Z", T1),
        ("2026-01-01T11:30:00+02:00", T1),
        (T1, "2026-01-01T09:00:00.25-05:00"),
    ],
    ids=["seconds", "with-fraction", "from-fraction", "short-fraction", "nanoseconds", "year", "zero", "east", "west"],
)
def test_the_newer_result_of_a_step_wins(older: str, newer: str) -> None:
    """Of two results of one step the newer stays; Go writes fractions of any length and the daemon's own offset."""
    caches = [cache_of(layer(at), records=[record("s"), record("r", [0], layer=0, at=at)]) for at in (older, newer)]
    for order in (caches, caches[::-1]):
        assert results_of(join(order)) == {digest("r"): [[digest(newer)]]}


def test_a_layer_and_a_list_of_that_layer_join_alike_in_any_order() -> None:
    """Of two results of the same time and layers always the same one stays, whichever cache comes first."""
    caches = [
        cache_of(layer("a"), records=[record("s"), entry])
        for entry in (record("r", [0], layer=0), record("r", [0], chain=[0]))
    ]
    assert write(join(caches)) == write(join(caches[::-1]))


def test_of_several_results_in_one_record_the_newest_is_read() -> None:
    """A record may list results; one is enough."""
    entry = record("r", [0])
    entry["layers"] = [{"layer": i, "createdAt": at} for i, at in enumerate((T2, T3, T1))]
    assert results_of(cache_of(*map(layer, "abc"), records=[record("s"), entry])) == {digest("r"): [[digest("b")]]}


def test_a_result_older_than_its_input_is_left_out() -> None:
    """What was made from a result that has been replaced since is no longer true, over any number of steps."""
    old = cache_of(
        layer("a"), layer("b", 0), layer("c", 1),
        records=[
            record("s"), record("a", [0], layer=0, at=T1), record("b", [1], layer=1, at=T1),
            record("c", [2], layer=2, at=T1),
        ],
    )  # fmt: skip
    forced = cache_of(layer("new"), records=[record("s"), record("a", [0], layer=0, at=T2)])
    assert results_of(join([old, forced])) == {digest("a"): [[digest("new")]]}


def runs(*blobs: tuple[str, str]) -> Cache:
    """What is known when a step `a` gave these blobs one after the other, and `b` was made from the first of them."""
    first, *later = blobs
    above = cache_of(
        layer(first[0]), layer("b", 0),
        records=[record("s"), record("a", [0], layer=0, at=first[1]), record("b", [1], layer=1, at=first[1])],
    )  # fmt: skip
    forced = [cache_of(layer(blob), records=[record("s"), record("a", [0], layer=0, at=at)]) for blob, at in later]
    return join([above, *forced])


def test_a_step_that_came_out_the_same_outdates_nothing() -> None:
    """A forced step, or one behind a forced one, that gave the same bytes: what was made from them stays true."""
    assert digest("b") in results_of(runs(("a", T1), ("a", T2)))


def test_a_step_that_came_out_the_same_after_another_result_outdates() -> None:
    """In between there was another one, from which `b` may have been made: what came first is proven no more."""
    assert results_of(runs(("a", T1), ("other", T2), ("a", T3))) == {digest("a"): [[digest("a")]]}


def test_a_key_between_does_not_hide_what_is_below() -> None:
    """A step without a result of its own hands on that its input ran again."""
    old = cache_of(
        layer("a"), layer("c"),
        records=[record("s"), record("a", [0], layer=0, at=T1), record("key", [1]), record("c", [2], layer=1, at=T1)],
    )  # fmt: skip
    forced = cache_of(layer("new"), records=[record("s"), record("a", [0], layer=0, at=T2)])
    assert results_of(join([old, forced])) == {digest("a"): [[digest("new")]]}


@pytest.mark.parametrize("name", ["p", "q", "r", "t"])
def test_one_digest_with_inputs_of_different_number(name: str) -> None:
    """BuildKit writes no such steps; a cache that holds them is joined or refused, and nothing else happens."""
    caches = [
        cache_of(layer("a"), records=[record("s"), record(name, *inputs, layer=0)]) for inputs in ([[0]], [[0], [0]])
    ]
    with contextlib.suppress(InvalidCache):
        assert plain(rewritten(join(caches))) == plain(join(caches))


def test_a_source_never_outdates_what_was_made_from_it() -> None:
    """A record without inputs is an image or local files: it does not run, so its time says nothing."""
    cache = cache_of(
        layer("image"), layer("a", 0), records=[record("image", layer=0, at=T3), record("a", [0], layer=1, at=T1)]
    )
    assert set(results_of(join([cache]))) == {digest("image"), digest("a")}


def test_a_result_as_old_as_its_input_stays() -> None:
    """Equal times are no proof of anything."""
    cache = cache_of(
        layer("a"), layer("b", 0), records=[record("s"), record("a", [0], layer=0), record("b", [1], layer=1)]
    )
    assert join([cache]) == cache


@pytest.mark.parametrize("size", ["1e999", "-1e999", "NaN", '"x"', "null"])
def test_a_size_that_is_none_is_no_cache(size: str) -> None:
    """JSON holds numbers that no blob can have."""
    manifest, config = files_of({"layers": [layer("a")], "records": [record("s"), record("r", [0], layer=0)]})
    odd = manifest.replace(b'"size": 7', b'"size": ' + size.encode())
    for call in (lambda: read(odd, config), lambda: compose.layers_of(odd)):
        with pytest.raises(InvalidCache):
            call()


def test_two_ways_to_write_a_time_join_alike_in_any_order() -> None:
    """A step of no time and one of Go's zero time are as old; always the same of the two stays."""
    caches = [
        cache_of(layer("a"), records=[record("s"), record("r", [0], layer=0, at=at)])
        for at in ("", "0001-01-01T00:00:00Z")
    ]
    assert join(caches) == join(caches[::-1])
    both = cache_of(
        layer("a"),
        records=[record("s"), *(record(f"r{i}", [0], layer=0, at=at) for i, at in enumerate(("", TIMES[1])))],
    )
    assert rewritten(both) == both


def test_join_drops_what_leads_to_no_result() -> None:
    """Records without a result above them, and layers of no result, are not carried along."""
    cache = cache_of(layer("a"), layer("loose"), records=[record("s"), record("a", [0], layer=0), record("key", [1])])
    joined = join([cache])
    assert {entry.digest for entry in joined.records.values()} == {digest("s"), digest("a")}
    assert set(joined.blobs()) == {digest("a")}


def test_joining_nothing_is_an_empty_cache() -> None:
    """No caches make a cache that says nothing, and it can be written."""
    assert join([]) == Cache()
    assert rewritten(Cache()) == Cache()


def test_without_blobs_drops_what_stands_on_them() -> None:
    """Every result whose chain touches the blob goes, with the layers only those used; the keys of others stay."""
    cache = cache_of(
        layer("base"), layer("bad", 0), layer("on-bad", 1), layer("good", 0), layer("last", 3),
        records=[
            record("s"),
            record("base", [0], layer=0),
            record("bad", [1], layer=1),
            record("on-bad", [2], layer=2),
            record("good", [1], layer=3),
            record("last", [4], [2], layer=4),
        ],
    )  # fmt: skip
    healed = without_blobs(cache, frozenset({digest("bad")}))
    assert set(results_of(healed)) == {digest("base"), digest("good"), digest("last")}
    assert set(healed.blobs()) == {digest(name) for name in ("base", "good", "last")}
    assert {entry.digest for entry in healed.records.values()} == {
        digest(name) for name in ("s", "base", "bad", "good", "last")
    }
    assert plain(rewritten(healed)) == plain(healed)


def test_without_blobs_drops_a_list_of_layers_with_one_bad_one() -> None:
    """A result of several layers is lost with any of them."""
    cache = cache_of(layer("a"), layer("b"), records=[record("s"), record("r", [0], chain=[0, 1])])
    assert without_blobs(cache, frozenset({digest("b")})) == Cache()


def test_without_foreign_blobs_nothing_changes() -> None:
    """Blobs that the cache does not hold change nothing."""
    assert without_blobs(real("runtime"), frozenset({digest("foreign")})) == real("runtime")


def test_results_of_several_layers_survive() -> None:
    """`chains` are read and written in their own order."""
    cache = cache_of(layer("a"), layer("b"), layer("c"), records=[record("s"), record("r", [0], chain=[2, 0, 1])])
    assert results_of(rewritten(cache)) == {digest("r"): [[digest("c")], [digest("a")], [digest("b")]]}
    assert rewritten(cache) == cache


def test_selectors_annotations_and_descriptors_survive() -> None:
    """What the format carries besides numbers is kept."""
    notes = {"mediaType": "application/vnd.oci.image.layer.v1.tar+zstd", "size": 3}
    raw: Raw = {
        "layers": [layer("a", annotations=notes)],
        "records": [record("s"), {"digest": digest("r"), "inputs": [[{"selector": digest("path")}]], "layers": [{}]}],
    }
    cache = rewritten(read(*files_of(raw)))
    (only,) = cache.layers.values()
    assert only.notes == notes
    assert only.descriptor["size"] == 7
    assert [link.selector for entry in cache.records.values() for (link,) in entry.inputs] == [digest("path")]
    assert cache.blobs() == {digest("a"): 7}


def test_the_same_content_gives_the_same_bytes() -> None:
    """The order in which things stand in the files, and in which caches are joined, does not show."""
    caches = [real(name) for name in REAL]
    assert write(join(caches)) == write(join(caches[::-1]))


def test_descriptors_of_one_blob_that_differ_give_the_same_bytes_in_any_order() -> None:
    """Runners note different times beside the same blob; the digest of what is composed must not flicker for it."""
    caches = []
    for parent, stamp in (("x", "1"), ("y", "2")):
        manifest, config = files_of(
            {"layers": [layer(parent), layer("same", 0)], "records": [record("s"), record(parent, [0], layer=1)]}
        )
        document = json.loads(manifest)
        document["layers"][1]["annotations"] = {"buildkit/createdat": stamp}
        caches.append(read(json.dumps(document).encode(), config))
    assert write(join(caches)) == write(join(caches[::-1]))


def test_the_manifest_names_config_and_blobs() -> None:
    """The manifest is an ordinary OCI manifest: the config by digest and size, each blob once."""
    document = write(join(real(name) for name in REAL))
    manifest = json.loads(document.manifest)
    assert manifest["config"] == {
        "mediaType": compose.CONFIG_TYPE,
        "digest": compose.digest_of(document.config),
        "size": len(document.config),
    }
    assert compose.config_digest(document.manifest) == compose.digest_of(document.config)
    assert document.digest == compose.digest_of(document.manifest)
    digests = [entry["digest"] for entry in manifest["layers"]]
    assert len(digests) == len(set(digests))
    assert compose.layers_of(document.manifest) == join(real(name) for name in REAL).blobs()


@pytest.mark.parametrize(
    ("manifest", "config", "large"),
    [(1, 1 << 20, False), (1 << 20, 1, False), (1, (1 << 20) + 1, True), ((1 << 20) + 1, 1, True)],
    ids=["config-at-limit", "manifest-at-limit", "config-above", "manifest-above"],
)
def test_too_large(manifest: int, config: int, large: bool) -> None:
    """BuildKit reads a manifest or config of 1 MiB and drops a larger one."""
    assert Document(manifest=b" " * manifest, config=b" " * config).too_large is large


@pytest.mark.parametrize(
    "raw",
    [
        {"layers": [layer("a", 1)]},
        {"layers": [layer("a", 7)]},
        {"layers": [layer("a", -2)]},
        {"layers": [layer("a", 0)]},
        {"layers": [{"blob": digest("a")}]},
        {"layers": [layer("a", 1), layer("b", 0)]},
        {"layers": [layer("a", "0")]},  # type: ignore[arg-type]
        {"layers": [{"parent": -1}]},
        {"layers": [layer("a")], "records": [record("r", layer=1)]},
        {"layers": [layer("a")], "records": [record("r", layer=-1)]},
        {"layers": [layer("a")], "records": [record("r", chain=[0, 1])]},
        {"layers": [layer("a")], "records": [record("r", chain=[-1])]},
        {"layers": [layer("a")], "records": [{"digest": digest("r"), "chains": [{}]}]},
        {"records": [record("r", layer=0)]},
        {"records": [record("r", [1])]},
        {"records": [record("s"), record("r", [-1])]},
        {"records": [record("r", [0])]},
        {"records": [{"digest": digest("r"), "inputs": [[{}]]}]},
        {"records": [record("r", [1]), record("q", [0])]},
        {"records": [{}]},
        {"records": ["r"]},
        {"records": [{"digest": digest("r"), "inputs": 3}]},
        {"layers": {}, "records": {"a": 1}},
    ],
    ids=[
        "parent-too-large", "parent-far-too-large", "parent-minus-two", "parent-itself",
        "parent-left-out-of-only-layer", "parents-in-a-circle", "parent-a-string", "no-blob", "layer-too-large",
        "layer-negative", "chain-too-large", "chain-negative", "chain-without-layers", "no-layers-at-all",
        "link-too-large", "link-negative", "link-itself",
        "link-left-out-of-only-record", "links-in-a-circle", "no-digest", "record-a-string", "inputs-a-number",
        "records-an-object",
    ],
)  # fmt: skip
def test_what_does_not_hold_together_is_no_cache(raw: Any) -> None:
    """Where BuildKit would refuse the config, it is an InvalidCache."""
    manifest = json.dumps({"layers": [{"digest": digest(name), "size": 7} for name in "ab"]}).encode()
    with pytest.raises(InvalidCache):
        read(manifest, json.dumps(raw).encode())


def test_a_layer_that_the_manifest_does_not_name_is_no_cache() -> None:
    """A config may only speak of blobs that its manifest holds."""
    _, config = files_of({"layers": [layer("a")], "records": [record("r", layer=0)]})
    with pytest.raises(InvalidCache):
        read(b'{"layers": []}', config)


def test_a_blob_without_a_size_is_zero_bytes_or_no_cache() -> None:
    """A descriptor without `size` never surfaces as anything but an InvalidCache."""
    manifest, config = files_of({"layers": [layer("a")], "records": [record("s"), record("r", [0], layer=0)]})
    document = json.loads(manifest)
    del document["layers"][0]["size"]
    try:
        sizes = read(json.dumps(document).encode(), config).blobs()
    except InvalidCache:
        return
    assert sizes == {digest("a"): 0}


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[]", b"null", b'"x"', b"404 page not found"], ids=repr)
def test_what_is_no_json_object_is_no_cache(data: bytes) -> None:
    """Anything but a JSON object is an InvalidCache, as manifest and as config."""
    manifest, config = files_of({"layers": [], "records": []})
    for call in (
        lambda: read(data, config),
        lambda: read(manifest, data),
        lambda: compose.config_digest(data),
        lambda: compose.layers_of(data),
        lambda: compose.manifests_of(data),
    ):
        with pytest.raises(InvalidCache):
            call()


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"config": None},
        {"config": []},
        {"config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:0"}},
        {"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []},
    ],
    ids=["nothing", "null", "a-list", "an-image", "an-index"],
)
def test_another_media_type_is_no_cache(manifest: Any) -> None:
    """Only a manifest whose config is of BuildKit's type is a cache."""
    with pytest.raises(InvalidCache):
        compose.config_digest(json.dumps(manifest).encode())


def test_attestations_of_an_index_are_no_images() -> None:
    """An index names images, and attestations under an unknown platform."""
    index = {
        "manifests": [
            {"digest": "sha256:1", "platform": {"os": "linux", "architecture": "amd64"}},
            {"digest": "sha256:2", "platform": {"os": "unknown", "architecture": "unknown"}},
            {"digest": "sha256:3"},
        ]
    }
    assert compose.manifests_of(json.dumps(index).encode()) == ["sha256:1", "sha256:3"]


def chain_of(length: int, order: Callable[[int], int]) -> tuple[bytes, bytes]:
    """A cache whose layers and records each stand on the one before, written at the places that `order` gives."""
    layers: list[dict[str, Any]] = [{}] * length
    records: list[dict[str, Any]] = [{}] * length
    for i in range(length):
        below = order(i - 1) if i else -1
        layers[order(i)] = layer(f"blob {i}", below)
        records[order(i)] = record(f"step {i}", *([[below]] if i else []), layer=order(i))
    return files_of({"layers": layers, "records": records})


def use(manifest: bytes, config: bytes, blob: str) -> Cache:
    """Everything that is done with a cache, one after the other."""
    joined = join([join([read(manifest, config)])])
    without_blobs(joined, frozenset({digest(blob)}))
    return rewritten(joined)


@pytest.mark.parametrize("downwards", [False, True], ids=["from-the-bottom", "from-the-top"])
def test_a_deep_cache_works(downwards: bool) -> None:
    """600 steps, one on the other, in whichever order they are written, are a cache like any other."""
    length = 600
    cache = use(*chain_of(length, (lambda i: length - 1 - i) if downwards else (lambda i: i)), "blob 300")
    assert len(cache.records) == length


def test_a_bottomless_cache_works_or_is_refused() -> None:
    """5,000 layers and records, one on the other, never end in a RecursionError."""
    length = 5_000
    with contextlib.suppress(InvalidCache):
        use(*chain_of(length, lambda i: length - 1 - i), "blob 0")


NAMES = [f"step {i}" for i in range(6)]
BLOBS = [f"blob {i}" for i in range(4)]
TIMES = ["", "0001-01-01T00:00:00Z", T1, T2, T3]


@st.composite
def raw_caches(draw: st.DrawFn) -> Raw:
    """Any cache that holds together: a graph of layers and one of records, in any order, zeros left out at will."""
    layers = [
        layer(draw(st.sampled_from(BLOBS)), draw(st.integers(-1, i - 1)))
        for i in range(draw(st.integers(min_value=1, max_value=6)))
    ]
    records = []
    for i in range(draw(st.integers(min_value=1, max_value=7))):
        # a step's digest fixes how many inputs it has
        name = draw(st.integers(0, len(NAMES) - 1)) if i else 0
        links = st.lists(st.integers(0, max(i - 1, 0)), min_size=1, max_size=2)
        inputs = [draw(links) for _ in range(name % 3)]
        results: dict[str, Any] = {}
        if draw(st.booleans()):
            results["layer"] = draw(st.integers(0, len(layers) - 1))
        if draw(st.integers(0, 4)) == 0:
            results["chain"] = draw(st.lists(st.integers(0, len(layers) - 1), min_size=1, max_size=3))
        records.append(record(NAMES[name], *inputs, at=draw(st.sampled_from(TIMES)), **results))
    return shuffled({"layers": layers, "records": records}, draw)


def shuffled(raw: Raw, draw: st.DrawFn) -> Raw:
    layer_at = draw(st.permutations(range(len(raw["layers"]))))
    record_at = draw(st.permutations(range(len(raw["records"]))))
    bare = draw(st.booleans())

    def number(key: str, value: int) -> dict[str, int]:
        return {} if bare and value == 0 else {key: value}

    layers: list[Any] = [None] * len(layer_at)
    for old, new in enumerate(layer_at):
        entry = raw["layers"][old]
        layers[new] = {"blob": entry["blob"]} | number(
            "parent", layer_at[entry["parent"]] if entry["parent"] >= 0 else -1
        )
    records: list[Any] = [None] * len(record_at)
    for old, new in enumerate(record_at):
        entry = dict(raw["records"][old])
        for key, value in list(entry.items()):
            if key == "inputs":
                entry[key] = [[number("link", record_at[x["link"]]) for x in links] for links in value]
            elif key == "layers":
                entry[key] = [number("layer", layer_at[x["layer"]]) | {"createdAt": x["createdAt"]} for x in value]
            elif key == "chains":
                entry[key] = [x | {"layers": [layer_at[i] for i in x["layers"]]} for x in value]
        records[new] = entry
    return {"layers": layers, "records": records}


caches = raw_caches().map(lambda raw: read(*files_of(raw)))
quick = settings(max_examples=30, deadline=None, database=None, derandomize=True, phases=[Phase.generate])


@quick
@given(caches)
def test_write_then_read_is_the_identity(cache: Cache) -> None:
    """Writing keeps what counts (the newest result of each step) and adds nothing; twice it gives the same bytes."""
    assert plain(rewritten(cache)) == plain(cache)
    assert write(rewritten(cache)) == write(cache)


@quick
@given(st.lists(caches, max_size=3))
def test_every_index_that_is_written_is_valid(several: list[Cache]) -> None:
    """BuildKit drops a whole cache for one wrong index: each points at something, and never in a circle."""
    document = write(join(several))
    config, manifest = json.loads(document.config), json.loads(document.manifest)
    layers, records = range(len(config["layers"])), range(len(config["records"]))
    assert {entry["blob"] for entry in config["layers"]} == {entry["digest"] for entry in manifest["layers"]}
    assert all(entry["parent"] == -1 or entry["parent"] in layers for entry in config["layers"])
    for entry in config["records"]:
        assert all(link["link"] in records for links in entry.get("inputs", []) for link in links)
        assert all(result["layer"] in layers for result in entry.get("layers", []))
        assert all(index in layers for result in entry.get("chains", []) for index in result["layers"])


@quick
@given(caches, caches)
def test_join_is_commutative(one: Cache, two: Cache) -> None:
    """The order of the caches does not matter."""
    assert join([one, two]) == join([two, one])
    assert write(join([one, two])) == write(join([two, one]))


@quick
@given(caches)
def test_join_is_idempotent(cache: Cache) -> None:
    """A cache joined with itself, or joined again, says nothing new."""
    once = join([cache])
    assert join([cache, cache]) == once
    assert join([once]) == once


@quick
@given(caches, st.sets(st.sampled_from(BLOBS), min_size=1, max_size=2))
def test_without_blobs_keeps_exactly_the_results_that_do_not_touch_them(cache: Cache, names: set[str]) -> None:
    """Each result stays or goes by its own layers alone; no blob is left of those that were taken out."""
    bad = frozenset(digest(name) for name in names)
    healed = without_blobs(cache, bad)
    if not bad & cache.blobs().keys():
        assert healed == cache
        return
    kept = {
        identity
        for identity, entry in cache.records.items()
        if entry.result and not any(bad & set(blobs_of(cache, chain)) for chain in entry.result.layers)
    }
    assert {identity for identity, entry in healed.records.items() if entry.result} == kept
    assert all(healed.records[identity] == cache.records[identity] for identity in kept)
    assert not bad & healed.blobs().keys()
    assert {link.record for entry in healed.records.values() for links in entry.inputs for link in links} <= set(
        healed.records
    )
    assert plain(rewritten(healed)) == plain(healed)
