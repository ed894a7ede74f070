"""Delete the caches of one scope with `stagebake cache purge`, and nothing else."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing

from stagebake.cache.manifest import CONFIG_TYPE, MANIFEST_TYPE, ManifestAndConfig
from stagebake.cache.scopes import Scope
from stagebake.stores.registry import Registry
from tests.support.packages import POWERLESS, TOKEN, Packages
from tests.support.project import Project
from tests.support.proxy import Fault

SEVEN = Scope("pr-7", pull_request=True)
OWN = (SEVEN.merged_tag, SEVEN.stage_tag("base"), SEVEN.stage_tag("base", 1), SEVEN.ledger_tag)
OTHERS = ("cache", "cache.ledger", "cache-base", "latest", "pr-7", Scope("pr-7").stage_tag("base"))


def put(project: Project, tag: str, note: str) -> None:
    """Push a manifest that differs for each note."""
    config = json.dumps({"note": note}).encode()
    described = {"mediaType": CONFIG_TYPE, "digest": f"sha256:{hashlib.sha256(config).hexdigest()}"}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": described | {"size": len(config)}}
    document = ManifestAndConfig(manifest=json.dumps(manifest | {"layers": []}).encode(), config=config)
    with closing(Registry(project.image)) as registry:
        registry.push_manifest(document, tag)


def test_purge_scope_deletes_all_its_tags_and_no_others(repository: Project) -> None:
    """Purge a pull request: a branch with the same name keeps its tags. A dry run lists the tags beforehand."""
    for tag in (*OWN, *OTHERS):
        put(repository, tag, tag)
    names = [f"{repository.image}:{tag}" for tag in sorted(OWN)]
    flags = ("cache", "purge", "--scope=pr-7", f"--image={repository.image}")
    dry = repository.stagebake(*flags, "--dry-run")
    assert dry.stdout.splitlines() == [f"would delete {name}" for name in names]
    assert repository.tags() == {*OWN, *OTHERS}

    assert repository.stagebake(*flags).stdout.splitlines() == [f"deleted {name}" for name in names]
    assert repository.tags() == set(OTHERS)
    assert repository.stagebake(*flags).stdout == f"{repository.image}: no matching caches\n"


def test_purge_keeps_a_manifest_that_another_tag_names(repository: Project) -> None:
    """Keep the manifest, because deleting it would delete both tags; name the other tag."""
    put(repository, "cache-base", "the same")
    put(repository, SEVEN.stage_tag("base"), "the same")
    answer = repository.stagebake("cache", "purge", "--scope=pr-7", f"--image={repository.image}")
    assert answer.exit_code == 0
    assert answer.stdout == f"kept {repository.image}:{SEVEN.stage_tag('base')} (also tagged cache-base)\n"
    assert repository.tags() == {"cache-base", SEVEN.stage_tag("base")}


def test_purge_on_a_registry_without_deletion_says_how_to_turn_it_on(repository: Project) -> None:
    put(repository, OWN[0], "x")
    proxy = repository.registry.proxy
    refusal = Fault(status=405, body=b'{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}')
    with proxy.faults(lambda method, _path: refusal if method == "DELETE" else None):
        answer = repository.stagebake("cache", "purge", "--scope=pr-7", f"--image={repository.image}")
    assert answer.exit_code == 1
    assert "DELETE answered 405 (UNSUPPORTED: The operation is unsupported.)" in answer.stderr
    assert "delete: enabled: true" in answer.stderr
    assert repository.tags() == {OWN[0]}


def leave_out_headers(method: str, _path: str) -> Fault:
    """Answer without the headers that the distribution specification recommends, and HEAD without the size."""
    names = ("Docker-Content-Digest", "Content-Length") if method == "HEAD" else ("Docker-Content-Digest",)
    return Fault(without=names)


def test_purge_on_a_registry_that_names_no_digests_deletes_the_same(repository: Project) -> None:
    """Read the manifests for their digests; a manifest that another tag names is kept."""
    for tag in (*OWN, *OTHERS):
        put(repository, tag, tag)
    put(repository, SEVEN.stage_tag("shared"), "cache")
    with repository.registry.proxy.faults(leave_out_headers):
        answer = repository.stagebake("cache", "purge", "--scope=pr-7", f"--image={repository.image}")
    assert answer.exit_code == 0
    assert {f"deleted {repository.image}:{tag}" for tag in OWN} < set(answer.stdout.splitlines())
    assert f"kept {repository.image}:{SEVEN.stage_tag('shared')} (also tagged cache)" in answer.stdout
    assert repository.tags() == {*OTHERS, SEVEN.stage_tag("shared")}


def test_build_on_a_registry_that_names_no_digests_and_sizes_restores_all(shipped: Project) -> None:
    with shipped.registry.proxy.faults(leave_out_headers, agent="stagebake/"):
        assert shipped.build("--push").ran == set()


def test_purge_on_ghcr_uses_the_packages_api(repository: Project) -> None:
    """Send the token of the environment to GitHub, and never show it."""
    with Packages("users", "owner", {"app": {1: ["latest"], 2: ["cache"], 3: [OWN[0]], 4: [OWN[1]]}}) as github:
        command = ("cache", "purge", "--scope=pr-7", "--image=ghcr.io/owner/app")
        refused = repository.stagebake(*command, GITHUB_API_URL=github.url, GITHUB_TOKEN=POWERLESS)
        answer = repository.stagebake(*command, GITHUB_API_URL=github.url, GITHUB_TOKEN=TOKEN)
        assert github.versions["app"] == {1: ["latest"], 2: ["cache"]}
    assert answer.stdout.splitlines() == [f"deleted ghcr.io/owner/app:{tag}" for tag in sorted(OWN[:2])]
    assert refused.exit_code == 1
    assert "Manage Actions access" in refused.stderr
    assert POWERLESS not in refused.stdout + refused.stderr
