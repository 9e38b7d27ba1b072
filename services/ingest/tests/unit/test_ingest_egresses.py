"""What senders tell of the addresses that they send from, and which of it explains that a mail waits."""

from uuid import uuid4

from mailwarren.contracts.egress import EgressState, Warming
from mailwarren.contracts.shaping import Heartbeat
from mailwarren.ingest.domain.egresses import find_spent, total_egresses

QUEUE = "send.bulk.google"
WARM = EgressState("out1", "out1.test", ("192.0.2.1",))
FULL = EgressState("new", "new.test", ("192.0.2.2",), warming=(Warming("google", 50, 50), Warming("other", 50, 7)))
SHUT = EgressState("bad", "bad.test", open=False, problems=("192.0.2.3 spf: expected x; found y",))


def a_beat(*egresses: EgressState, queues: tuple[str, ...] = (QUEUE,)) -> Heartbeat:
    beat = Heartbeat(
        sender=uuid4(), host="h", fleet="bulk", version="1", started_at=0.0, at=0.0, queues=queues, in_flight=0,
        limit=1, waiting=0, mails_10s=0,
    )  # fmt: skip
    return Heartbeat(**{name: getattr(beat, name) for name in beat.__struct_fields__} | {"egresses": egresses})


def a_beat_of_the_release_before() -> Heartbeat:
    return Heartbeat(
        sender=uuid4(), host="h", fleet="bulk", version="1", started_at=0.0, at=0.0, queues=(QUEUE,), in_flight=0,
        limit=1, waiting=0, mails_10s=0,
    )  # fmt: skip


def test_mail_waits_for_an_egress_when_none_of_its_senders_has_one_that_is_open() -> None:
    found = find_spent([a_beat(FULL, SHUT), a_beat(WARM, queues=("send.high.google",))], QUEUE, "google")
    assert found is not None
    assert "bad: 192.0.2.3 spf: expected x; found y; new: 50 of 50 mails of its warm-up today" in found
    assert found.endswith(".")


def test_one_that_is_open_or_unknown_is_no_reason_to_wait() -> None:
    assert find_spent([a_beat(FULL), a_beat(WARM)], QUEUE, "google") is None
    assert find_spent([a_beat(FULL), a_beat()], QUEUE, "google") is None
    assert find_spent([a_beat(FULL), a_beat_of_the_release_before()], QUEUE, "google") is None
    assert find_spent([a_beat(FULL)], QUEUE, "d.test") is None
    assert find_spent([a_beat(FULL)], QUEUE, None) is None
    assert find_spent([], QUEUE, "google") is None
    assert find_spent([a_beat(SHUT)], None, "google") is None


def test_a_site_without_a_row_counts_with_the_others() -> None:
    full = EgressState("new", "new.test", warming=(Warming("other", 50, 50),))
    assert find_spent([a_beat(full)], QUEUE, "d.test") is not None
    assert "send to sites without a row now" in (find_spent([a_beat(full)], QUEUE, None) or "")


def test_egresses_are_added_up_over_senders() -> None:
    behind = EgressState(
        "new", "new.test", ("192.0.2.2",), open=False, problems=("p",), warming=(Warming("google", 50, 3),)
    )
    new, out1 = total_egresses([a_beat(FULL), a_beat(behind, WARM), a_beat_of_the_release_before()])
    assert (new.name, new.senders, new.open_at, new.problems) == ("new", 2, 1, ["p"])
    assert new.warming["google"] == Warming("google", 50, 50)
    assert (out1.name, out1.senders, out1.open_at, out1.warming) == ("out1", 1, 1, {})
