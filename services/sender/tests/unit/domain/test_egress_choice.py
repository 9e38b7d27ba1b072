"""Which egress of its pool a mail leaves from, first and when it is tried again."""

from collections import Counter
from uuid import UUID

import pytest

from mailwarren.contracts.egress import EgressState, Warming
from mailwarren.sender.domain.egress import any_open, prefer, rank

POOL = {"a": 6.0, "b": 3.0, "c": 1.0}
MAILS = [UUID(int=number * 0x9E3779B97F4A7C15 % 2**128, version=5) for number in range(1, 4001)]


def test_each_is_first_for_its_share_of_all_mail() -> None:
    first = Counter(rank(POOL, mail)[0] for mail in MAILS)
    shares = {name: first[name] / len(MAILS) for name in POOL}
    assert shares == pytest.approx({"a": 0.6, "b": 0.3, "c": 0.1}, abs=0.03)


def test_the_order_is_of_the_mail_alone_whoever_asks() -> None:
    shuffled = dict(reversed(POOL.items()))
    assert [rank(POOL, mail) for mail in MAILS[:50]] == [rank(shuffled, mail) for mail in MAILS[:50]]
    assert all(sorted(rank(POOL, mail)) == ["a", "b", "c"] for mail in MAILS[:50])


def test_one_that_goes_moves_no_mail_of_the_others() -> None:
    left = {"a": 6.0, "c": 1.0}
    kept = [mail for mail in MAILS[:500] if rank(POOL, mail)[0] != "b"]
    assert all(rank(POOL, mail)[0] == rank(left, mail)[0] for mail in kept)


def test_a_mail_that_is_tried_again_leaves_from_where_it_left() -> None:
    assert prefer(["a", "b", "c"], "b", "greylisted") == ["b", "a", "c"]
    assert prefer(["a", "b", "c"], "c", None) == ["c", "a", "b"]


@pytest.mark.parametrize("bounce_class", ["ip_blocked", "egress"])
def test_it_leaves_from_another_when_the_address_was_what_was_wrong(bounce_class: str) -> None:
    assert prefer(["a", "b", "c"], "a", bounce_class) == ["b", "c", "a"]


def test_an_egress_that_is_no_more_of_the_pool_is_forgotten() -> None:
    assert prefer(["a", "b"], "gone", "greylisted") == ["a", "b"]


def test_an_egress_is_open_elsewhere_when_a_sender_says_so() -> None:
    full = EgressState("b", "b.test", warming=(Warming("google", 10, 10), Warming("other", 10, 9)))
    states = (EgressState("a", "a.test", open=False), full)
    assert not any_open(states, ["a", "b"], "google")
    assert any_open(states, ["a", "b"], "other")
    assert any_open(states, ["b"], "yahoo")
    assert not any_open(states, ["c"], "other")
    assert not any_open((), ["a"], "other")
