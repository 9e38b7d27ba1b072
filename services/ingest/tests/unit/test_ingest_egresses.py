"""What senders tell of the addresses that they send from, and which of it explains that a mail waits."""

from uuid import uuid4

import msgspec
import pytest

from mailwarren.contracts.egress import EGRESSES_TOLD, EgressState, PoolRoute, Warming
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shaping import Heartbeat
from mailwarren.ingest.domain.egresses import find_spent, total_egresses

QUEUE = "send.bulk.google"
TENANT = uuid4()
WARM = EgressState("out1", "out1.test", ("192.0.2.1",))
FULL = EgressState("new", "new.test", ("192.0.2.2",), warming=(Warming("google", 50, 50), Warming("other", 50, 7)))
SHUT = EgressState("bad", "bad.test", open=False, problems=("192.0.2.3 spf: expected x; found y",))


def a_beat(*egresses: EgressState, queues: tuple[str, ...] = (QUEUE,), routes: tuple[PoolRoute, ...] = ()) -> Heartbeat:
    beat = Heartbeat(
        sender=uuid4(), host="h", fleet="bulk", version="1", started_at=0.0, at=0.0, queues=queues, in_flight=0,
        limit=1, waiting=0, mails_10s=0,
    )  # fmt: skip
    return msgspec.structs.replace(beat, egresses=egresses, egress_routes=routes or msgspec.UNSET)


def a_beat_of_the_release_before() -> Heartbeat:
    return Heartbeat(
        sender=uuid4(), host="h", fleet="bulk", version="1", started_at=0.0, at=0.0, queues=(QUEUE,), in_flight=0,
        limit=1, waiting=0, mails_10s=0,
    )  # fmt: skip


def spent(beats: list[Heartbeat], queue: str | None = QUEUE, site: str | None = "google") -> str | None:
    return find_spent(beats, queue, Lane.BULK, TENANT, site)


def test_mail_waits_for_an_egress_when_none_of_its_senders_has_one_that_is_open() -> None:
    found = spent([a_beat(FULL, SHUT), a_beat(WARM, queues=("send.high.google",))])
    assert found is not None
    assert "bad: 192.0.2.3 spf: expected x; found y; new: 50 of 50 mails of its warm-up today" in found
    assert found.endswith(".")


def test_one_that_is_open_or_unknown_is_no_reason_to_wait() -> None:
    assert spent([a_beat(FULL), a_beat(WARM)]) is None
    assert spent([a_beat(FULL), a_beat()]) is None
    assert spent([a_beat(FULL), a_beat_of_the_release_before()]) is None
    assert spent([a_beat(FULL)], site="d.test") is None
    assert spent([a_beat(FULL)], site=None) is None
    assert spent([]) is None
    assert spent([a_beat(SHUT)], None) is None


@pytest.mark.parametrize(
    ("first", "waits"),
    [
        (PoolRoute(("new",)), True),
        (PoolRoute(("new",), lanes=(Lane.BULK,), sites=("google",), tenants=(TENANT,)), True),
        (PoolRoute(("new",), lanes=(Lane.HIGH,)), False),
        (PoolRoute(("new",), sites=("yahoo",)), False),
        (PoolRoute(("new",), tenants=(uuid4(),)), False),
        (PoolRoute(("new", "out1")), False),
    ],
    ids=["all", "it", "another lane", "another site", "another tenant", "a pool with a warm one"],
)
def test_an_egress_that_its_route_does_not_name_is_no_help(first: PoolRoute, waits: bool) -> None:
    beat = a_beat(FULL, WARM, routes=(first, PoolRoute(("new", "out1"))))
    assert (spent([beat]) is not None) is waits


def test_senders_without_an_egress_of_the_route_are_said_to_have_none() -> None:
    beat = a_beat(WARM, routes=(PoolRoute(("elsewhere",)),))
    assert "they have none of those that its route names" in (spent([beat]) or "")


def test_a_sender_with_more_than_it_tells_of_may_have_one_that_is_open() -> None:
    assert spent([a_beat(*[SHUT] * (EGRESSES_TOLD - 1))]) is not None
    assert spent([a_beat(*[SHUT] * EGRESSES_TOLD)]) is None


def test_a_site_without_a_row_counts_with_the_others() -> None:
    full = EgressState("new", "new.test", warming=(Warming("other", 50, 50),))
    assert spent([a_beat(full)], site="d.test") is not None
    assert "send it to sites without a row now" in (spent([a_beat(full)], site=None) or "")


def test_egresses_are_added_up_over_senders() -> None:
    behind = EgressState(
        "new", "new.test", ("192.0.2.2",), open=False, problems=("p",), warming=(Warming("google", 50, 3),)
    )
    new, out1 = total_egresses([a_beat(FULL), a_beat(behind, WARM), a_beat_of_the_release_before()])
    assert (new.name, new.senders, new.open_at, new.problems) == ("new", 2, 1, ["p"])
    assert new.warming["google"] == Warming("google", 50, 50)
    assert (out1.name, out1.senders, out1.open_at, out1.warming) == ("out1", 1, 1, {})
