"""Which second copies a death explains."""

import pytest

from mailwarren.chaos.crew import Death
from mailwarren.chaos.judge import copies_of, explain
from mailwarren.devstack.harness.sink import SinkRecord

DIED = 1000.0
DEATH = Death(round=1, sender="sender0", at=DIED, gauge=3, ports=frozenset({7, 8}), others=frozenset({1, 9}))
OTHER = Death(round=2, sender="sender1", at=DIED + 60, gauge=None, ports=frozenset({9}))


def copy(received: float, answered: float | None, port: int = 7, rcpt: str = "a@x.test") -> SinkRecord:
    return SinkRecord("m@s", rcpt, DIED + received, None if answered is None else DIED + answered, 250, port)


LAST = copy(5, 5.1, port=1)


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (copy(-0.04, -0.01), "unconfirmed"),
        (copy(-2.3, -2.2), "unconfirmed"),
        (copy(-0.04, None), "unanswered"),
        (copy(-0.04, 0.2), "unanswered"),
    ],
)
def test_what_came_shortly_before_the_death_of_its_sender_is_explained(first: SinkRecord, kind: str) -> None:
    costs, unexplained = explain([[first, LAST]], [OTHER, DEATH])
    assert unexplained == []
    cost = costs[1]
    assert {name: getattr(cost, name) for name in ("unconfirmed", "unanswered")} == {
        "unconfirmed": [],
        "unanswered": [],
        kind: [first],
    }
    assert (cost.count, costs[0].count) == (1, 0)


@pytest.mark.parametrize(
    "first",
    [
        copy(-0.04, -0.01, port=1),  # a sender that lives
        copy(-0.04, -0.01, port=9),  # one that died a minute later
        copy(-5.0, -4.9),  # recorded long before
        copy(4.0, 4.1),  # the port was taken by another sender
    ],
)
def test_what_no_death_explains_is_found(first: SinkRecord) -> None:
    _, unexplained = explain([[first, LAST]], [DEATH, OTHER])
    assert unexplained == [[first, LAST]]


def test_a_connection_that_nobody_had_open_any_more_was_the_dead_senders() -> None:
    costs, unexplained = explain([[copy(-0.7, -0.6, port=5), LAST]], [DEATH, OTHER])
    assert ([cost.count for cost in costs], unexplained) == ([1, 0], [])


def test_every_copy_but_the_last_needs_a_death() -> None:
    second = copy(4.0, 4.1, port=1)
    _, unexplained = explain([[copy(-0.1, None), second, LAST]], [DEATH])
    assert len(unexplained) == 1


def test_copies_are_those_of_one_mail_to_one_recipient_in_order() -> None:
    one, two = copy(3, 3.1), copy(1, 1.1)
    alone = copy(1, 1.1, rcpt="b@x.test")
    assert copies_of([one, alone, two]) == [[two, one]]


def test_the_oldest_unconfirmed_is_told() -> None:
    costs, _ = explain([[copy(-0.4, -0.3), LAST], [copy(-0.9, -0.8, rcpt="b@x.test"), LAST]], [DEATH])
    assert costs[0].oldest == pytest.approx(0.8)
