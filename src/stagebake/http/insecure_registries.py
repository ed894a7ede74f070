"""Ask the engine which registries it reaches by http, or by TLS without a valid certificate.

docs.docker.com/reference/cli/dockerd, "Insecure registries"; `docker info` lists them (moby, api/types/registry).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit


@cache
def engine_allows_http(host: str) -> bool:
    """Return True if the engine has this HOST[:PORT] among its insecure registries; False without an engine."""
    from python_on_whales import DockerClient  # slow to load, and needed after a failed connection only
    from python_on_whales.exceptions import DockerException

    try:
        config = DockerClient().system.info().registry_config
    except (DockerException, OSError, ValueError):
        return False
    return is_insecure(host, config or {})


def is_insecure(host: str, config: Mapping[str, Any]) -> bool:
    """Return True if the engine's `RegistryConfig` names this HOST[:PORT], or a network that has its address."""
    index = (config.get("IndexConfigs") or {}).get(host) or {}
    if index.get("Secure") is False:
        return True
    try:
        address = ipaddress.ip_address(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False
    networks = config.get("InsecureRegistryCIDRs") or ()
    return any(address in ipaddress.ip_network(network, strict=False) for network in networks)
