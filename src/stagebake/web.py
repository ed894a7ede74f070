"""Asking a server many things at once, and which of its failures pass by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import httpx

from stagebake.errors import RegistryError

PARALLEL = 16
Answer = TypeVar("Answer")


def each(
    ask: Callable[[str], Answer], keys: Iterable[str], give_up: Callable[[], None] = lambda: None
) -> dict[str, Answer | RegistryError]:
    """The answer to each key, or the error that it came to. `give_up` ends what is under way when ^C comes."""

    def answer(key: str) -> Answer | RegistryError:
        try:
            return ask(key)
        except RegistryError as error:
            return error

    wanted = list(dict.fromkeys(keys))
    with ThreadPoolExecutor(PARALLEL) as pool:
        try:
            return dict(zip(wanted, pool.map(answer, wanted), strict=True))
        except BaseException:  # ^C: what is under way must not be waited for
            pool.shutdown(wait=False, cancel_futures=True)
            give_up()
            raise


def passing(error: Exception) -> bool:
    """Failures that may pass by themselves."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    return isinstance(error, httpx.TransportError)
