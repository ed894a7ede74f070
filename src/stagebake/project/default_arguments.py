"""Find the build arguments that buildx passes without being told to."""

from __future__ import annotations

from collections.abc import Mapping

from stagebake.http.docker_config import find_engine_host, lower_keys, read_docker_config

_EPOCH = "SOURCE_DATE_EPOCH"

# docker/buildx, store/storeutil/storeutil.go (GetProxyConfig): it leaves out `allProxy`, and names in lower case
_PROXY_ARGUMENTS = {
    "httpproxy": "HTTP_PROXY",
    "httpsproxy": "HTTPS_PROXY",
    "noproxy": "NO_PROXY",
    "ftpproxy": "FTP_PROXY",
}


def find_default_arguments(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the arguments that a build has without the setting `args`, which overrides them.

    They are SOURCE_DATE_EPOCH of the environment (docker/buildx, commands/bake.go) and the proxies that docker's
    config.json has for the engine, or for every engine (docs.docker.com/engine/cli/proxy). Proxies enter a cache key
    only where an ARG declares them.
    """
    arguments = _read_proxies(environment)
    epoch = environment.get(_EPOCH)
    if epoch:
        arguments[_EPOCH] = epoch
    return arguments


def _read_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    proxies = read_docker_config(environment).get("proxies")
    if not isinstance(proxies, dict):
        return {}
    host = find_engine_host(environment)
    chosen = lower_keys(proxies[host] if host in proxies else proxies.get("default"))
    arguments: dict[str, str] = {}
    for key, name in _PROXY_ARGUMENTS.items():
        value = chosen.get(key)
        if value and isinstance(value, str):
            arguments[name] = value
    return arguments
