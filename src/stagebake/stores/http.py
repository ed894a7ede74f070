"""Asking a server many things at once, and which of its failures pass by themselves."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, TypeVar

import httpx
from stamina.instrumentation import set_on_retry_hooks

from stagebake.errors import RegistryError, Unreached

PARALLEL = 16

# Its own log line for each repetition would stand amid the progress
set_on_retry_hooks(())

Answer = TypeVar("Answer")


def fetch_all(ask: Callable[[str], Answer], keys: Iterable[str]) -> dict[str, Answer | RegistryError]:
    """The answer to each key, or the registry's error that it came to; any other error is raised.

    A server that does not answer at all is not asked for the rest: waiting for many takes no longer than for one.
    """
    wanted = list(dict.fromkeys(keys))
    left, answers = deque(wanted), dict[str, Answer | Exception]()
    unreached: list[Unreached] = []

    def work() -> None:
        with suppress(IndexError):  # nothing is left
            while True:
                key = left.popleft()
                answers[key] = answer = unreached[0] if unreached else _answer(ask, key)
                unreached.extend([answer] if isinstance(answer, Unreached) else [])

    # Daemons: after ^C a request that is under way must not be waited for, and the threads of a pool always are
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(PARALLEL, len(wanted)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {key: _known(answers[key]) for key in wanted}


def _answer(ask: Callable[[str], Answer], key: str) -> Answer | Exception:
    try:
        return ask(key)
    except Exception as error:
        return error


def _known(answer: Answer | Exception) -> Answer | RegistryError:
    if isinstance(answer, Exception) and not isinstance(answer, RegistryError):
        raise answer
    return answer


def parse_answer(response: httpx.Response, who: str, take: Callable[[Any], Answer]) -> Answer:
    """What is taken from an answer's JSON. Raises RegistryError for what is none, or of another shape."""
    try:
        return take(response.json())
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        kind = response.headers.get("Content-Type", "of no type")
        raise RegistryError(
            f"{who} gave an answer that is none of its own ({response.status_code}, {kind})",
            "try again later; does a proxy answer in its place?",
        ) from None


def require_text(value: Any) -> str:
    """A value that must be a string. Raises TypeError for any other."""
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def is_temporary(error: Exception) -> bool:
    """Failures that may pass by themselves."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    return isinstance(error, httpx.TransportError)
