"""Find the route to a server as Docker does: directly or through a proxy, and with which certificates.

Docker and BuildKit are Go programs: golang.org/x/net/http/httpproxy says which proxy (ALL_PROXY is not read, a loopback
address is always reached directly), crypto/x509 which certificates. dockerd's own are in /etc/docker/certs.d/HOST
(docs.docker.com/engine/security/certificates).
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import certifi

from stagebake.errors import InputError

_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
_CERTIFICATES = Path("/etc/docker/certs.d")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def find_proxy(url: str, environment: Mapping[str, str]) -> str | None:
    """Return the address of the proxy for a URL; None for a direct route.

    Raises InputError, which names the variable and hides the proxy's login, for an address that cannot be used.
    """
    parts = urlsplit(url)
    variable, address = _read_variable(f"{parts.scheme}_proxy", environment)
    if not address or parts.hostname is None:
        return None
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    if _is_loopback(parts.hostname) or _matches_no_proxy(parts.hostname, port, environment):
        return None
    return _checked_address(variable, address)


def is_loopback_host(host: str) -> bool:
    """Return True for HOST[:PORT] on this machine: `localhost`, 127.0.0.0/8 and `[::1]`."""
    name = urlsplit(f"//{host}").hostname
    return name is not None and _is_loopback(name)


def tls_context(host: str, certificates: Path = _CERTIFICATES) -> ssl.SSLContext:
    """Return what TLS to HOST[:PORT] needs: the system's certificates and those that dockerd has for the host.

    SSL_CERT_FILE and SSL_CERT_DIR are read by OpenSSL; the certificates of `certifi` serve where the system has none.
    Raises InputError for a file of dockerd's folder that is not a certificate.
    """
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    try:
        files = sorted((certificates / host).iterdir())
    except OSError:
        return context
    for file in files:
        try:
            if file.suffix == ".crt":
                context.load_verify_locations(file)
            elif file.suffix == ".cert":
                context.load_cert_chain(file, file.with_suffix(".key"))
        except (OSError, ssl.SSLError) as error:
            raise InputError(f"{file}: certificate not valid ({error})", "replace the file, or remove it") from None
    return context


def _read_variable(name: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the variable's name and value; the name in upper case wins, as in Go."""
    for spelling in (name.upper(), name):
        if environment.get(spelling):
            return spelling, environment[spelling]
    return name.upper(), ""


def _checked_address(variable: str, address: str) -> str:
    full = address if "://" in address else f"http://{address}"
    try:
        parts = urlsplit(full)
        usable = parts.scheme in _PROXY_SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        hidden = address.rpartition("@")[2]
        raise InputError(
            f"{variable}: `{hidden}` is not the address of a proxy",
            "write http://HOST:PORT (or https, socks5, socks5h), or name the registry in NO_PROXY",
        )
    return full


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _matches_no_proxy(name: str, port: int, environment: Mapping[str, str]) -> bool:
    """Return True if NO_PROXY has this host: by `*`, address, network or domain, with or without a port."""
    _, entries = _read_variable("no_proxy", environment)
    return any(_matches_entry(entry.strip().lower(), name.lower(), port) for entry in entries.split(","))


def _matches_entry(entry: str, name: str, port: int) -> bool:
    if not entry:
        return False
    if entry == "*":
        return True
    if "/" in entry:
        return _in_network(name, entry)
    host, entry_port = _split_port(entry)
    if entry_port is not None and entry_port != port:
        return False
    try:
        return ipaddress.ip_address(host) == ipaddress.ip_address(name)
    except ValueError:
        return _matches_domain(host, name)


def _in_network(name: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(name) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _split_port(entry: str) -> tuple[str, int | None]:
    """Split HOST:PORT and [IPv6]:PORT; an IPv6 address without brackets has no port."""
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        port = rest.removeprefix(":")
    elif entry.count(":") == 1:
        host, _, port = entry.partition(":")
    else:
        host, port = entry, ""
    return host, int(port) if port.isdecimal() else None


def _matches_domain(domain: str, name: str) -> bool:
    """Match as Go does: `example.com` and its subdomains; `.example.com` and `*.example.com` the subdomains alone."""
    if domain.startswith("*."):
        domain = domain[1:]
    if domain.startswith("."):
        return name.endswith(domain)
    return name == domain or name.endswith(f".{domain}")
