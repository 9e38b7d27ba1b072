"""The breaker of a site: when it opens, for how long, and what closes it."""

from mailwarren.contracts.shaping import Override
from mailwarren.sender.domain.breaker import FIRST_SPAN, LONGEST_SPAN, Breaker
from mailwarren.sender.domain.in_force import BREAKER, NOTHING, Force, InForce


def test_it_opens_after_so_many_failures_in_a_row_and_a_connection_begins_the_row_anew() -> None:
    breaker = Breaker()
    assert [breaker.failed("x", 3, NOTHING, "refused", 0.0) for _ in range(2)] == [None, None]
    assert breaker.worked("x", NOTHING, 0.0) is None
    assert [breaker.failed("x", 3, NOTHING, "refused", 0.0) for _ in range(2)] == [None, None]
    assert breaker.failed("y", 3, NOTHING, "refused", 0.0) is None
    override = breaker.failed("x", 3, NOTHING, "refused", 1000.0)
    assert override is not None
    assert (override.name, override.suspend, override.cause, override.sample) == ("x", True, BREAKER, "refused")
    assert (override.since, override.until) == (1000.0, 1000.0 + FIRST_SPAN)


def test_two_senders_that_see_the_same_write_the_same() -> None:
    one, other = (Breaker().failed("x", 1, NOTHING, "refused", now) for now in (1000.0, 1010.0))
    assert one is not None
    assert other is not None
    assert one.id == other.id


def test_while_it_is_open_nothing_counts() -> None:
    breaker = Breaker()
    assert breaker.failed("x", 1, Force(suspended=99.0), "refused", 0.0) is None


def test_a_failure_of_the_one_that_tries_doubles_the_span_up_to_half_an_hour() -> None:
    breaker, in_force, now, spans = Breaker(), InForce(), 1000.0, []
    for _ in range(8):
        override = breaker.failed("x", 1, in_force.site("x", now), "refused", now)
        assert override is not None
        in_force.apply(override, now)
        spans.append(override.until - override.since)
        now = override.until + 1
    assert spans == [60, 120, 240, 480, 960, LONGEST_SPAN, LONGEST_SPAN, LONGEST_SPAN]


def test_a_connection_that_works_afterwards_ends_it() -> None:
    breaker, in_force = Breaker(), InForce()
    override = breaker.failed("x", 1, NOTHING, "refused", 1000.0)
    assert isinstance(override, Override)
    in_force.apply(override, 1000.0)
    now = override.until + 1
    end = breaker.worked("x", in_force.site("x", now), now)
    assert end is not None
    assert end.id == override.id
    in_force.apply(end, now)
    assert in_force.site("x", now) is NOTHING
    again = breaker.failed("x", 1, in_force.site("x", now), "refused", now)
    assert again is not None
    assert again.until - again.since == FIRST_SPAN
