"""`stagebake cache purge`: the caches of one scope leave the registry, and nothing else does."""

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
    """Pushes something that is different for each note."""
    config = json.dumps({"note": note}).encode()
    described = {"mediaType": CONFIG_TYPE, "digest": f"sha256:{hashlib.sha256(config).hexdigest()}"}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": described | {"size": len(config)}}
    document = ManifestAndConfig(manifest=json.dumps(manifest | {"layers": []}).encode(), config=config)
    with closing(Registry(project.image)) as registry:
        registry.push_manifest(document, tag)


def test_one_scope_goes(repository: Project) -> None:
    """All tags of a pull request's caches go and those of a branch with its name stay; a dry run says so beforehand."""
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


def test_what_another_tag_names_stays(repository: Project) -> None:
    """A manifest goes with all its tags: one that another tag names too is kept, and the other tag is named."""
    put(repository, "cache-base", "the same")
    put(repository, SEVEN.stage_tag("base"), "the same")
    answer = repository.stagebake("cache", "purge", "--scope=pr-7", f"--image={repository.image}")
    assert answer.exit_code == 0
    assert answer.stdout == f"kept {repository.image}:{SEVEN.stage_tag('base')} (also tagged cache-base)\n"
    assert repository.tags() == {"cache-base", SEVEN.stage_tag("base")}


def test_a_registry_that_deletes_nothing(repository: Project) -> None:
    """A registry without deletion is named with the way to turn it on; nothing is gone."""
    put(repository, OWN[0], "x")
    proxy = repository.registry.proxy
    refusal = Fault(status=405, body=b'{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}')
    with proxy.faults(lambda method, _path: refusal if method == "DELETE" else None):
        answer = repository.stagebake("cache", "purge", "--scope=pr-7", f"--image={repository.image}")
    assert answer.exit_code == 1
    assert "DELETE answered 405 (UNSUPPORTED: The operation is unsupported.)" in answer.stderr
    assert "delete: enabled: true" in answer.stderr
    assert repository.tags() == {OWN[0]}


def test_on_ghcr_github_is_asked(repository: Project) -> None:
    """For an image on ghcr.io the packages API is used, with the token of the environment, which is never shown."""
    with Packages("users", "owner", {"app": {1: ["latest"], 2: ["cache"], 3: [OWN[0]], 4: [OWN[1]]}}) as github:
        command = ("cache", "purge", "--scope=pr-7", "--image=ghcr.io/owner/app")
        refused = repository.stagebake(*command, GITHUB_API_URL=github.url, GITHUB_TOKEN=POWERLESS)
        answer = repository.stagebake(*command, GITHUB_API_URL=github.url, GITHUB_TOKEN=TOKEN)
        assert github.versions["app"] == {1: ["latest"], 2: ["cache"]}
    assert answer.stdout.splitlines() == [f"deleted ghcr.io/owner/app:{tag}" for tag in sorted(OWN[:2])]
    assert refused.exit_code == 1
    assert "Manage Actions access" in refused.stderr
    assert POWERLESS not in refused.stdout + refused.stderr
