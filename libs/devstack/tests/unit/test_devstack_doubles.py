"""Which copies the ledger excuses."""

import pytest

from mailwarren.devstack.harness.counts import Promise
from mailwarren.devstack.harness.doubles import MARGIN, unexcused
from mailwarren.devstack.harness.sink import SinkRecord

KILLED = 1000.0
MAIL = Promise("e", "u@d.test", "e@sender.test")


def copy(received_at: float, answered_at: float | None) -> SinkRecord:
    return SinkRecord(MAIL.message_id, MAIL.address, received_at, answered_at, 250)


AGAIN = copy(KILLED + 5, KILLED + 5.1)


@pytest.mark.parametrize(
    ("first", "kills", "excused"),
    [
        (copy(KILLED - 3, None), (), True),
        (copy(KILLED - 3, None), (KILLED,), True),
        (copy(KILLED - 0.4, KILLED - 0.3), (KILLED,), True),
        (copy(KILLED - 0.4, KILLED + 2), (KILLED,), True),
        (copy(KILLED - 3, KILLED - MARGIN - 0.01), (KILLED,), False),
        (copy(KILLED - 0.4, KILLED - 0.3), (), False),
        (copy(KILLED + 2, KILLED + 2.1), (KILLED,), False),
        (copy(KILLED + 2, KILLED + 2.1), (KILLED, KILLED + 2.2), True),
    ],
)
def test_a_copy_is_excused_by_silence_or_by_a_death_right_after(
    first: SinkRecord, kills: tuple[float, ...], excused: bool
) -> None:
    expected = [] if excused else [(first, AGAIN)]
    assert unexcused([MAIL], [AGAIN, first], kills) == expected


def test_every_copy_but_the_last_needs_an_excuse() -> None:
    copies = [copy(KILLED - 0.2, None), copy(KILLED + 1, KILLED + 1.1), AGAIN]
    assert unexcused([MAIL], copies, [KILLED]) == [tuple(copies)]
