"""Turn signals into exceptions."""

from __future__ import annotations

import signal

import pytest

from stagebake.interrupts import Interrupted, raise_on_signals, run_later
from tests.support.signals import interruptible


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@interruptible()
def test_raise_on_signals_first_signal_raises_with_exit_code(number: int, code: int) -> None:
    """Expect the exit code that a shell reports, and the old handler afterwards."""
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught, raise_on_signals():
        signal.raise_signal(number)
    assert caught.value.exit_code == code
    assert signal.getsignal(number) is before


@interruptible()
def test_raise_on_signals_later_signals_are_ignored() -> None:
    with raise_on_signals():
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)


def test_raise_on_signals_ignored_signal_stays_ignored() -> None:
    """Keep ignoring ^C in a program that was started so, as behind `&` of a shell."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with raise_on_signals():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_run_later_returns_the_result_or_raises_the_error() -> None:
    assert run_later(lambda: 1).result() == 1
    with pytest.raises(ZeroDivisionError):
        run_later(lambda: 1 // 0).result()
