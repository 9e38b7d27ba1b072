"""^C waits until what is ended has ended."""

import signal
from collections.abc import Iterator

import pytest

from mailwarren.devstack.interrupts import held_back


@pytest.fixture(autouse=True)
def _usual() -> Iterator[None]:
    """Python's own handler: processes that run tests for others ignore ^C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_comes_when_the_block_has_ended():
    done = []

    def work():
        with held_back():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append(True)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == [True]


def test_without_one_nothing_comes_and_the_handler_is_back():
    before = signal.getsignal(signal.SIGINT)
    with held_back():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
