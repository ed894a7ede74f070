"""Which proxy and certificates a request takes: as Go's programs do, of which Docker is one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from stagebake.errors import InputError
from stagebake.http.route import find_proxy, is_loopback_host, tls_context

PROXY = "http://proxy.example:3128"
EVERYWHERE = {"HTTP_PROXY": PROXY, "HTTPS_PROXY": PROXY}


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("https://r.io/v2/", {"HTTPS_PROXY": PROXY}, PROXY),
        ("https://r.io/v2/", {"https_proxy": PROXY}, PROXY),
        ("https://r.io/v2/", {"HTTPS_PROXY": "", "https_proxy": PROXY}, PROXY),
        ("https://r.io/v2/", {"HTTPS_PROXY": PROXY, "https_proxy": "http://other"}, PROXY),
        ("https://r.io/v2/", {"HTTP_PROXY": PROXY}, None),
        ("http://r.io/v2/", {"HTTP_PROXY": PROXY}, PROXY),
        ("http://r.io/v2/", {"HTTPS_PROXY": PROXY}, None),
        ("https://r.io/v2/", {"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
        ("https://r.io/v2/", {"HTTPS_PROXY": "socks5://127.0.0.1:1080"}, "socks5://127.0.0.1:1080"),
        ("https://r.io/v2/", {"ALL_PROXY": "socks://127.0.0.1:7890/", "all_proxy": PROXY}, None),
        ("http://localhost:5000/v2/", EVERYWHERE, None),
        ("http://127.0.0.1:5000/v2/", EVERYWHERE, None),
        ("http://127.8.9.10:5000/v2/", EVERYWHERE, None),
        ("http://[::1]:5000/v2/", EVERYWHERE, None),
        ("http://registry:5000/v2/", EVERYWHERE, PROXY),
    ],
)
def test_find_proxy_by_scheme_variable_and_host(url: str, environment: Mapping[str, str], proxy: str | None) -> None:
    assert find_proxy(url, environment) == proxy


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("*", "https://r.io/", True),
        ("r.io", "https://r.io/", True),
        ("r.io", "https://cache.r.io/", True),
        ("r.io", "https://other.io/", False),
        ("r.io", "https://bar.io/", False),
        (".r.io", "https://r.io/", False),
        (".r.io", "https://cache.r.io/", True),
        ("*.r.io", "https://cache.r.io/", True),
        ("R.IO", "https://r.io/", True),
        ("a.io, r.io ,", "https://r.io/", True),
        ("r.io:5000", "https://r.io:5000/", True),
        ("r.io:5000", "https://r.io/", False),
        ("r.io:443", "https://r.io/", True),
        ("10.0.0.5", "http://10.0.0.5:5000/", True),
        ("10.0.0.5:5000", "http://10.0.0.5:5000/", True),
        ("10.0.0.5:80", "http://10.0.0.5:5000/", False),
        ("10.0.0.0/8", "http://10.0.0.5:5000/", True),
        ("10.0.0.0/8", "http://11.0.0.5:5000/", False),
        ("10.0.0.0/8", "http://r.io/", False),
        ("10.0.0.0/99", "http://10.0.0.5/", False),
        ("fd00::/8", "http://[fd00::5]:5000/", True),
        ("fd00::5", "http://[fd00::5]:5000/", True),
        ("[fd00::5]:5000", "http://[fd00::5]:5000/", True),
        ("[fd00::5]:80", "http://[fd00::5]:5000/", False),
        ("", "https://r.io/", False),
    ],
)
def test_find_proxy_no_proxy_names_hosts_networks_and_ports(no_proxy: str, url: str, direct: bool) -> None:
    assert (find_proxy(url, {**EVERYWHERE, "NO_PROXY": no_proxy}) is None) is direct
    assert (find_proxy(url, {**EVERYWHERE, "no_proxy": no_proxy}) is None) is direct


@pytest.mark.parametrize(
    "address", ["socks://me:secret@127.0.0.1:7890/", "ftp://me:secret@p", "http://", "http://p:99999", "http://p:x"]
)
def test_find_proxy_address_that_cannot_be_used_names_the_variable(address: str) -> None:
    with pytest.raises(InputError, match=r"^HTTPS_PROXY: ") as caught:
        find_proxy("https://r.io/", {"HTTPS_PROXY": address})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.1.2.3", True),
        ("[::1]:5000", True),
        ("[::1]", True),
        ("localhost.example", False),
        ("127.example", False),
        ("10.0.0.1:5000", False),
        ("[fd00::1]:5000", False),
        ("ghcr.io", False),
    ],
)
def test_is_loopback_host(host: str, loopback: bool) -> None:
    assert is_loopback_host(host) is loopback


def test_tls_context_certificate_file_that_is_missing_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """conda leaves SSL_CERT_FILE at a file that it removed."""
    monkeypatch.setenv("SSL_CERT_FILE", "/missing/cacert.pem")
    monkeypatch.setenv("SSL_CERT_DIR", "/missing")
    assert tls_context("r.io").get_ca_certs()


def test_tls_context_reads_the_engine_s_certificates_of_the_host(tmp_path: Path) -> None:
    """Name a file that is not a certificate; do not read the files of other hosts."""
    folder = tmp_path / "r.io:5000"
    folder.mkdir()
    (folder / "ca.crt").write_text("not a certificate")
    assert tls_context("other.io", tmp_path)
    with pytest.raises(InputError, match=r"ca\.crt: certificate not valid"):
        tls_context("r.io:5000", tmp_path)
