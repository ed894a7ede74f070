"""Turn ^C and SIGTERM into an exception: the first one cancels the run, later ones change nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Thread
from types import FrameType
from typing import NoReturn, TypeVar

T = TypeVar("T")


class Interrupted(KeyboardInterrupt):
    """Signal that ends the program; `exit_code` is the one that a shell reports for it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Raise Interrupted for the first ^C or SIGTERM, and ignore later ones.

    A signal that was ignored before stays ignored, such as ^C under `nohup`.
    """
    handled = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]

    def raise_interrupted(number: int, _frame: FrameType | None) -> NoReturn:
        for each in handled:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(number)

    before = {number: signal.signal(number, raise_interrupted) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_later(function: Callable[[], T]) -> Future[T]:
    """Run a function in a thread, which an interrupt does not wait for."""
    future: Future[T] = Future()

    def set_result() -> None:
        try:
            future.set_result(function())
        except Exception as error:
            future.set_exception(error)

    Thread(target=set_result, daemon=True).start()
    return future
