"""^C and SIGTERM as exceptions."""

from __future__ import annotations

import signal

import pytest

from stagebake.interrupts import Interrupted, raise_on_signals
from tests.support.signals import interruptible


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@interruptible()
def test_a_signal_is_raised_with_its_exit_code(number: int, code: int) -> None:
    """The code is what a shell says of a program that died of the signal."""
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught, raise_on_signals():
        signal.raise_signal(number)
    assert caught.value.exit_code == code
    assert signal.getsignal(number) is before


@interruptible()
def test_the_second_signal_changes_nothing() -> None:
    """While the first one is answered, neither ^C nor SIGTERM breaks into that."""
    with raise_on_signals():
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)


def test_what_ignores_an_interrupt_goes_on_to() -> None:
    """A program that was started deaf to ^C, as behind a shell's `&`, stays so."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with raise_on_signals():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
