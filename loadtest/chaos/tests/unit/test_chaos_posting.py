"""The calls of the load."""

from collections import Counter

import pytest

from mailwarren.chaos.posting import SHIFT, calls
from mailwarren.contracts.lanes import Lane


@pytest.mark.parametrize("mails", [1, 30, 31, SHIFT, SHIFT + 1, 3000, 3333])
def test_every_mail_is_asked_for_once(mails: int) -> None:
    addresses = [address for call in calls(mails) for address in call.addresses]
    assert len(addresses) == len(set(addresses)) == mails


def test_a_tenth_is_in_the_high_lane_and_a_tenth_is_posted_one_by_one() -> None:
    lanes: Counter[Lane] = Counter()
    singles = 0
    for call in calls(5000):
        lanes[call.lane] += len(call.addresses)
        singles += len(call.addresses) == 1
    assert lanes == {Lane.HIGH: 500, Lane.NORMAL: 1500, Lane.BULK: 3000}
    assert singles == 500
