"""Which registries the engine reaches without a valid certificate, from what `docker info` says."""

from __future__ import annotations

from typing import Any

import pytest

from stagebake.http.insecure_registries import is_insecure

CONFIG: dict[str, Any] = {
    "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8", "10.0.0.0/8"],
    "IndexConfigs": {"docker.io": {"Secure": True}, "registry.corp:5000": {"Secure": False}},
}


@pytest.mark.parametrize(
    ("host", "insecure"),
    [
        ("registry.corp:5000", True),
        ("registry.corp", False),
        ("docker.io", False),
        ("10.1.2.3:5000", True),
        ("[::1]:5000", True),
        ("11.1.2.3:5000", False),
        ("ghcr.io", False),
    ],
)
def test_is_insecure_by_name_with_port_or_by_network(host: str, insecure: bool) -> None:
    assert is_insecure(host, CONFIG) is insecure


@pytest.mark.parametrize("config", [{}, {"IndexConfigs": None, "InsecureRegistryCIDRs": None}])
def test_is_insecure_without_configuration_is_false(config: dict[str, Any]) -> None:
    assert not is_insecure("10.1.2.3:5000", config)
