"""Overrides and plans, as the log tells of them: what is in force at which moment."""

from uuid import UUID, uuid4

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shaping import Override, OverrideEnd, Scope, SlotPlan
from mailwarren.sender.domain.in_force import BREAKER, NOTHING, PROBED_FOR, InForce

TENANT = UUID(int=7)


def an_override(since: float = 100.0, until: float = 200.0, **fields: object) -> Override:
    values = {"id": uuid4(), "scope": Scope.SITE, "name": "x"} | fields
    return Override(since=since, until=until, **values)  # type: ignore[arg-type]


def test_an_override_holds_from_its_beginning_to_its_end() -> None:
    in_force = InForce()
    assert in_force.apply(an_override(suspend=True), 90.0) == "x"
    assert [in_force.site("x", now).suspended for now in (99.0, 100.0, 199.9, 200.0)] == [None, 200.0, 200.0, None]
    assert in_force.site("y", 150.0) is NOTHING


def test_of_several_the_strictest_of_each_limit_counts() -> None:
    in_force = InForce()
    for one in (an_override(connections=3, rate=9.0), an_override(until=150.0, connections=5, rate=2.0)):
        in_force.apply(one, 100.0)
    assert (in_force.site("x", 120.0).connections, in_force.site("x", 120.0).rate) == (3, 2.0)
    assert (in_force.site("x", 160.0).connections, in_force.site("x", 160.0).rate) == (3, 9.0)


def test_a_person_ends_one_before_its_time_and_a_copy_of_it_that_is_late_changes_nothing() -> None:
    in_force, override = InForce(), an_override(suspend=True)
    in_force.apply(override, 100.0)
    assert in_force.apply(OverrideEnd(override.id, 120.0, "ada"), 120.0) == "x"
    assert in_force.site("x", 121.0) is NOTHING
    assert in_force.apply(override, 122.0) is None
    assert in_force.site("x", 122.0) is NOTHING
    again = an_override(id=override.id, since=130.0, suspend=True)
    assert in_force.apply(again, 130.0) == "x"
    assert in_force.site("x", 131.0).suspended == 200.0


def test_a_sender_that_starts_later_learns_from_the_log_what_still_holds() -> None:
    in_force = InForce()
    over, ended, holds = an_override(), an_override(since=150.0, until=9000.0), an_override(since=160.0, until=9000.0)
    for entry in (over, ended, holds, OverrideEnd(ended.id, 170.0)):
        in_force.apply(entry, 5000.0)
    in_force.apply(an_override(id=over.id, since=100.0, until=200.0, name="y"), 5000.0)
    assert in_force.names == {"x"}
    assert in_force.apply(OverrideEnd(holds.id, 5001.0), 5001.0) == "x"
    assert in_force.names == set()


def test_a_tenant_is_suspended_by_its_id() -> None:
    in_force = InForce()
    assert in_force.tenant(TENANT, Lane.HIGH, 150.0) is None
    assert in_force.apply(an_override(scope=Scope.TENANT, name=str(TENANT), suspend=True), 100.0) is None
    assert in_force.tenant(TENANT, Lane.HIGH, 150.0) == 200.0
    assert in_force.tenant(UUID(int=8), Lane.HIGH, 150.0) is None


def test_one_lane_of_a_tenant_is_suspended_and_what_is_told_again_lasts_longer() -> None:
    in_force = InForce()
    pause = an_override(scope=Scope.TENANT, name=str(TENANT), suspend=True, lane=Lane.BULK)
    in_force.apply(pause, 100.0)
    in_force.apply(an_override(id=pause.id, until=300.0, scope=pause.scope, name=pause.name, suspend=True,
                               lane=Lane.BULK), 150.0)  # fmt: skip
    assert [in_force.tenant(TENANT, lane, 250.0) for lane in Lane] == [None, None, 300.0]
    in_force.apply(OverrideEnd(pause.id, 260.0, "person:ada"), 260.0)
    assert in_force.tenant(TENANT, Lane.BULK, 261.0) is None


def test_the_clock_alone_changes_things_and_is_told_so_once() -> None:
    in_force = InForce()
    in_force.apply(an_override(suspend=True), 90.0)
    assert list(in_force.changes(90.0, 99.0)) == []
    assert list(in_force.changes(99.0, 100.0)) == ["x"]
    assert list(in_force.changes(100.0, 199.0)) == []
    assert list(in_force.changes(199.0, 201.0)) == ["x"]
    list(in_force.changes(201.0, 200.0 + PROBED_FOR))
    assert in_force.names == set()


def test_after_a_breaker_one_connection_tries() -> None:
    in_force = InForce()
    override = an_override(suspend=True, cause=BREAKER)
    in_force.apply(override, 100.0)
    assert in_force.site("x", 150.0).probed is None
    assert in_force.site("x", 200.0).probed is override
    in_force.apply(OverrideEnd(override.id, 210.0, BREAKER), 210.0)
    assert in_force.site("x", 211.0) is NOTHING


def test_a_plan_counts_from_its_moment_and_a_late_one_of_an_older_generation_never() -> None:
    in_force = InForce()
    first, second = SlotPlan("x", 1, 5, 1, 100.0), SlotPlan("x", 3, 8, 1, 200.0)
    for plan in (first, second, SlotPlan("x", 2, 1, 0, 150.0)):
        in_force.apply(plan, 100.0)
    assert in_force.plan("x", 99.0) is None
    assert in_force.last_plan("x") is second
    assert (in_force.plan("x", 200.0), in_force.coming("x", 200.0)) == (second, None)
    assert in_force.coming("x", 199.0) is second
    assert list(in_force.changes(199.0, 200.0)) == ["x"]
