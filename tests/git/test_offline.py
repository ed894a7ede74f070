"""Test that no verb waits for a network that is missing: each host gets one attempt."""

from __future__ import annotations

from collections import Counter

import httpx
import pytest

from stagebake.__main__ import main
from tests.git.conftest import CreateRepository

DOCKERFILE = """FROM one.test/base:1 AS base
FROM one.test/other:1 AS other
FROM two.test/image:1 AS image
COPY --from=base / /
COPY --from=other / /
"""


@pytest.mark.parametrize("verb", ["plan", "doctor"])
@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("[Errno 111] Connection refused"),
        httpx.ConnectError("[Errno -2] Name or service not known"),
        httpx.ConnectTimeout("timed out"),
    ],
    ids=repr,
)
def test_verb_offline_connects_once_to_each_host(
    create_repository: CreateRepository, monkeypatch: pytest.MonkeyPatch, verb: str, error: Exception
) -> None:
    """Read base images, caches and ledger of several scopes without a network."""
    connected: Counter[str] = Counter()

    def connect(_transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        connected[request.url.host] += 1
        raise error

    repository = create_repository({"Dockerfile": DOCKERFILE})
    repository.checkout()
    repository.git("checkout", "--quiet", "-b", "feature")
    monkeypatch.chdir(repository.folder)
    monkeypatch.setenv("HOME", str(repository.folder))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    monkeypatch.setenv("STAGEBAKE_IMAGE", "one.test/app")
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", connect)
    assert main([verb]) == 0
    assert connected == ({"one.test": 1, "two.test": 1} if verb == "plan" else {"one.test": 1})
