"""Test what the other tests are built on: the proxy's faults, and the emptied engine."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.chosen_builder import start_builder
from tests.support.engine import Engine
from tests.support.project import BUSYBOX, TOOLS, Project
from tests.support.proxy import Fault
from tests.support.registry import Registry


class Layer:
    """First layer of a pushed image."""

    def __init__(self, registry: Registry, name: str) -> None:
        self.proxy = registry.proxy
        self._host = registry.host
        self._path = f"/v2/{name}/blobs/{registry.image_manifest(name, 'latest')['layers'][0]['digest']}"

    @contextmanager
    def asked(self, fault: Fault, method: str = "GET") -> Iterator[http.client.HTTPResponse]:
        """Yield the answer to a request for the layer while there is a fault."""
        with (
            closing(http.client.HTTPConnection(self._host)) as connection,
            self.proxy.faults(lambda _method, path: fault if path == self._path else None),
        ):
            connection.request(method, self._path)
            with connection.getresponse() as answer:
                yield answer


@pytest.fixture
def layer(registry: Registry, first_push: str) -> Layer:
    return Layer(registry, first_push)


def test_proxy_without_a_fault_passes_on_and_counts_the_bytes(layer: Layer) -> None:
    with layer.proxy.watched() as seen, layer.asked(Fault()) as answer:
        content = answer.read()
    assert answer.status == 200
    assert seen[-1].sent == len(content) == int(answer.headers["Content-Length"])


def test_proxy_status_fault_answers_instead_of_the_registry(layer: Layer) -> None:
    """Send no body in the answer to HEAD."""
    with layer.asked(Fault(status=503)) as answer:
        assert answer.status == 503
        assert b"FAULT" in answer.read()
    with layer.asked(Fault(status=503), "HEAD") as answer:
        assert (answer.status, answer.read()) == (503, b"")


def test_proxy_delay_fault_answers_late_and_completely(layer: Layer) -> None:
    start = time.monotonic()
    with layer.asked(Fault(delay=0.3)) as answer:
        assert answer.status == 200
    assert time.monotonic() - start >= 0.3


def test_proxy_reset_fault_breaks_the_connection(layer: Layer) -> None:
    with pytest.raises(ConnectionError), layer.asked(Fault(reset=True)):
        pass


def test_proxy_truncate_fault_sends_half_of_the_body(layer: Layer) -> None:
    with layer.asked(Fault(truncate=True)) as answer, pytest.raises(http.client.IncompleteRead) as error:
        answer.read()
    assert len(error.value.partial) == int(answer.headers["Content-Length"]) // 2


def test_proxy_flip_fault_changes_one_byte(layer: Layer) -> None:
    with layer.asked(Fault()) as answer:
        good = answer.read()
    with layer.asked(Fault(flip=True)) as answer:
        bad = answer.read()
    assert len(good) == len(bad)
    assert sum(a != b for a, b in zip(good, bad, strict=True)) == 1


def test_engine_emptied_has_only_the_base_images(shipped: Project) -> None:
    shipped.build()
    shipped.engine.empty()
    images = shipped.engine.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert {BUSYBOX, TOOLS} <= set(images)
    assert f"{shipped.image}:latest" not in images
    assert "Total:\t\t0B" in shipped.engine.docker("buildx", "du")


def test_chosen_builder_of_an_unknown_kind_is_refused(engine: Engine, registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="write buildkitd:PROGRAM or docker-container:IMAGE"):
        start_builder("kubernetes:pod", tmp_path, engine.docker, registry)
