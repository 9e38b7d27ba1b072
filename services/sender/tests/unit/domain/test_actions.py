"""Sightings are counted in a sliding window, and what they lead to is the same at all senders."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from mailwarren.contracts.shaping import SAMPLE_LENGTH, Scope
from mailwarren.sender.domain.actions import MOST_COUNTED, Action, Sightings

THREE = Action(60.0, suspend=True, after=3, within=100.0)
WHAT = ("rule", "site", None)


def test_so_many_within_the_window_are_enough_and_then_it_begins_anew() -> None:
    sightings = Sightings()
    assert [sightings.add(WHAT, THREE, 1, at) for at in (0.0, 90.0, 110.0, 195.0, 200.0)] == [False] * 4 + [True]
    assert not sightings.add(WHAT, THREE, 2, 201.0)
    assert sightings.add(WHAT, THREE, 1, 202.0)


def test_sites_and_tenants_are_counted_each_for_itself() -> None:
    sightings = Sightings()
    for what in (("rule", "a", None), ("rule", "b", None), ("other", "a", None), ("rule", "a", UUID(int=1))):
        assert not sightings.add(what, THREE, 2, 0.0)


def test_memory_is_bounded() -> None:
    sightings = Sightings()
    for number in range(MOST_COUNTED + 10):
        sightings.add(("rule", str(number), None), THREE, 2, 0.0)
    assert not sightings.add(("rule", "0", None), THREE, 2, 1.0)  # forgotten
    assert sightings.add(("rule", str(MOST_COUNTED), None), THREE, 2, 1.0)


@given(steps=st.lists(st.tuples(st.floats(0, 60), st.integers(1, 3)), max_size=40), after=st.integers(1, 6))
def test_it_is_enough_exactly_when_the_window_holds_so_many(steps: list[tuple[float, int]], after: int) -> None:
    action = Action(1.0, after=after, within=100.0)
    sightings, now, seen = Sightings(), 0.0, []
    for pause, count in steps:
        now += pause
        seen = [(at, many) for at, many in [*seen, (now, count)] if at >= now - 100.0]
        enough = sum(many for _, many in seen) >= after
        assert sightings.add(WHAT, action, count, now) == enough
        seen = [] if enough else seen


def test_the_override_of_one_sighting_is_the_same_everywhere() -> None:
    action = Action(60.0, rate=0.5, connections=2)
    first = action.override("google", "slow", "slow:1", sample="x" * 999, at=1000.0)
    assert first == action.override("google", "slow", "slow:1", sample="x" * 999, at=1000.0)
    assert (first.since, first.until, len(first.sample)) == (1000.0, 1060.0, SAMPLE_LENGTH)
    assert action.made(first, "slow")
    assert not action.made(first, "other")
    assert first.id != action.override("google", "slow", "slow:2", sample="", at=1000.0).id
    assert first.id != action.override("google", "slow", "slow:1", sample="", at=1100.0).id


def test_actions_have_few_names() -> None:
    assert [Action(1.0, suspend=True).name, Action(1.0, rate=1.0).name] == ["suspend", "limit"]
    assert Action(1.0, Scope.TENANT, suspend=True).name == "suspend_tenant"
