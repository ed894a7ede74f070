"""Send HTTP requests to registries and to GitHub.

`HttpClient` is the one place for retries, timeouts, error messages and the user agent. `fetch_all` sends many requests
in parallel.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypeVar

import httpx
import stamina
from stamina.instrumentation import set_on_retry_hooks

from stagebake.errors import RegistryError, RegistryUnreachable
from stagebake.http.insecure_registries import engine_allows_http
from stagebake.http.transport import MAX_CONNECTIONS, RoutedTransport

_USER_AGENT = f"stagebake/{version('stagebake')}"
_CONNECT_SECONDS = 5.0
_ATTEMPTS = 4

# stamina's own log line for each retry would appear in the middle of the progress
set_on_retry_hooks(())

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class ServerInfo:
    """Names of a server in error messages, its hints for the user, and how long to wait for it.

    Messages begin with `where`; `server` is the noun in "... not reached". `status_hint` returns the hint for a
    refused request, `address_hint` is the hint for an address that is not valid. `answer_seconds` is the timeout of
    one request, `retry_seconds` that of a request with its retries.
    """

    where: str
    server: str
    status_hint: Callable[[httpx.Response], str]
    address_hint: str
    answer_seconds: float = 20.0
    retry_seconds: float = 30.0


class HttpClient:
    """HTTP client for one server. Methods raise RegistryError; RegistryUnreachable where no response arrives."""

    def __init__(
        self,
        info: ServerInfo,
        *,
        base_url: str = "",
        headers: Mapping[str, str] | None = None,
        auth: httpx.Auth | None = None,
    ) -> None:
        self._info = info
        self._client = httpx.Client(
            base_url=base_url,
            headers={"User-Agent": _USER_AGENT, **(headers or {})},
            auth=auth,
            timeout=httpx.Timeout(info.answer_seconds, connect=_CONNECT_SECONDS),
            transport=RoutedTransport(engine_allows_http),
            trust_env=False,
            follow_redirects=True,
        )

    @property
    def base_url(self) -> httpx.URL:
        return self._client.base_url

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def send(self, method: str, url: str, *, accept: Collection[int] = (), **arguments: Any) -> httpx.Response:
        """Send a request; retry on lost connections, HTTP 429 and 5xx. Return a response with a status in 2xx.

        Responses with a status in `accept` are returned too. `arguments` are those of `httpx.Client.request`.
        """
        retries = stamina.retry_context(
            on=_is_temporary,
            attempts=_ATTEMPTS,
            timeout=self._info.retry_seconds,
            wait_initial=0.1,
            wait_max=3.0,
        )
        try:
            for attempt in retries:
                with attempt:
                    response = self._client.request(method, url, **arguments)
                    if response.status_code not in accept:
                        response.raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise self._translate_error(error) from None
        return response

    def has_content(self, url: str) -> bool:
        """Return True if a GET of this URL has a body, of which one byte is asked for. Raises RegistryError."""
        try:
            with self._client.stream("GET", url, headers={"Range": "bytes=0-0"}) as response:
                if response.status_code == 416:  # Range Not Satisfiable: there is no first byte
                    return False
                response.raise_for_status()
                return any(response.iter_raw())
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise self._translate_error(error) from None

    def hash_content(self, url: str) -> str | None:
        """Return the SHA-256 of what GET returns, in hexadecimal; None for HTTP 404. Raises RegistryError."""
        sha256 = hashlib.sha256()
        try:
            with self._client.stream("GET", url) as response:
                if response.status_code == 404:
                    return None
                response.raise_for_status()
                for chunk in response.iter_raw():
                    sha256.update(chunk)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise self._translate_error(error) from None
        return sha256.hexdigest()

    def parse_json(self, response: httpx.Response, parse: Callable[[Any], Answer]) -> Answer:
        """Return what `parse` reads from the response's JSON. Raises RegistryError for JSON of another shape."""
        try:
            return parse(response.json())
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            content_type = response.headers.get("Content-Type", "no content type")
            raise RegistryError(
                f"{self._info.where}: unexpected response ({response.status_code}, {content_type})",
                "try again later; check whether a proxy answers instead of the server",
            ) from None

    def _translate_error(self, error: Exception) -> RegistryError:
        info = self._info
        if isinstance(error, httpx.HTTPStatusError):
            response = error.response
            answer = f"{response.request.method} answered {response.status_code} ({read_error_text(response)})"
            return RegistryError(f"{info.where}: {answer}", info.status_hint(response))
        if isinstance(error, httpx.HTTPError):
            reason = str(error) or type(error).__name__
            return RegistryUnreachable(f"{info.where}: {info.server} not reached ({reason})", _find_route_hint(reason))
        return RegistryError(f"{info.where}: address not valid ({error})", info.address_hint)


def read_error_text(response: httpx.Response) -> str:
    """Return the server's explanation of an error, else the reason phrase of the status.

    GitHub sends `message`; a registry sends `errors` with codes (distribution-spec, "Error Codes").
    """
    try:
        document = response.json()
        if "message" in document:
            return str(document["message"])
        return "; ".join(f"{entry.get('code')}: {entry.get('message')}" for entry in document["errors"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return response.reason_phrase


def require_text(value: Any) -> str:
    """Return a value that must be a string. Raises TypeError for any other."""
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def fetch_all(fetch: Callable[[str], Answer], keys: Iterable[str]) -> dict[str, Answer | RegistryError]:
    """Fetch all keys in parallel; return for each its answer or RegistryError. Any other error is raised.

    After a server did not respond once, every remaining key gets the same error: waiting for many keys takes no longer
    than for one.
    """
    wanted = list(dict.fromkeys(keys))
    remaining = deque(wanted)
    answers: dict[str, Answer | Exception] = {}
    unreached: list[RegistryUnreachable] = []

    def fetch_remaining() -> None:
        while True:
            try:
                key = remaining.popleft()
            except IndexError:
                return
            answer = unreached[0] if unreached else _fetch_one(fetch, key)
            answers[key] = answer
            if isinstance(answer, RegistryUnreachable):
                unreached.append(answer)

    # Daemon threads: Ctrl-C must not wait for a request, as the threads of a pool would
    thread_count = min(MAX_CONNECTIONS, len(wanted))
    threads = [threading.Thread(target=fetch_remaining, daemon=True) for _ in range(thread_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {key: _raise_unexpected(answers[key]) for key in wanted}


def _fetch_one(fetch: Callable[[str], Answer], key: str) -> Answer | Exception:
    try:
        return fetch(key)
    except Exception as error:
        return error


def _raise_unexpected(answer: Answer | Exception) -> Answer | RegistryError:
    if isinstance(answer, Exception) and not isinstance(answer, RegistryError):
        raise answer
    return answer


def _find_route_hint(reason: str) -> str:
    """Return what to do about a server that is not reached, from OpenSSL's words for an answer that is not TLS."""
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER_FAILURE" in reason:
        return "if this registry speaks http, name it under `insecure-registries` in the engine's daemon.json"
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return "put the registry's CA into /etc/docker/certs.d/HOST/ca.crt, where the engine reads it, too"
    return "check the network connection"


def _is_temporary(error: Exception) -> bool:
    """Tell whether a retry may succeed. GitHub also limits requests with other statuses and `Retry-After`.

    A refused connection or an unknown host is final, so that a build does not wait while it is offline.
    """
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        return False
    if isinstance(error, httpx.HTTPStatusError):
        response = error.response
        return response.status_code == 429 or response.status_code >= 500 or "Retry-After" in response.headers
    return isinstance(error, httpx.TransportError)
