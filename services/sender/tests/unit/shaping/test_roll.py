"""Among how many living senders a site's limits are shared out."""

from uuid import UUID, uuid4

from msgspec import structs

from mailwarren.contracts.egress import EgressState, Warming
from mailwarren.contracts.shaping import LIVE_FOR, Heartbeat, SiteState
from mailwarren.sender.shaping.roll import Roll, shards_of

ME = UUID(int=1)


def a_beat(sender: UUID, *queues: str, sites: tuple[str, ...] = (), leaving: bool = False) -> Heartbeat:
    return Heartbeat(
        sender=sender, host="h", fleet="bulk", version="1", started_at=0, at=0, queues=queues, in_flight=0, limit=1,
        waiting=0, mails_10s=0, leaving=leaving, sites=tuple(SiteState(site, open=1) for site in sites),
    )  # fmt: skip


def test_senders_of_the_same_shards_and_those_that_are_connected_count() -> None:
    roll = Roll(ME, shards_of(["send.bulk.h1", "send.bulk.google"]))
    assert roll.live("x", 0.0) == 1
    roll.heard(a_beat(ME, "send.bulk.h1"), 0.0)
    roll.heard(a_beat(uuid4(), "send.high.h1"), 0.0)
    roll.heard(a_beat(uuid4(), "send.bulk.h2", sites=("y",)), 0.0)
    assert (roll.live("x", 0.0), roll.live("y", 0.0)) == (2, 3)


def test_who_leaves_or_falls_silent_counts_no_more() -> None:
    roll, one, other = Roll(ME, shards_of(["t1.send.bulk.h1"])), uuid4(), uuid4()
    for sender in (one, other):
        roll.heard(a_beat(sender, "send.bulk.h1"), 10.0)
    assert roll.live("x", 10.0 + LIVE_FOR) == 3
    roll.heard(a_beat(one, "send.bulk.h1", leaving=True), 11.0)
    assert roll.live("x", 11.0) == 2
    assert roll.peers(11.0) == {other}
    assert roll.live("x", 10.1 + LIVE_FOR) == 1


def test_a_site_lacks_slots_when_its_mail_waits_and_all_senders_together_have_fewer() -> None:
    roll, other = Roll(ME, shards_of(["send.bulk.h1"])), uuid4()

    def told(sender: UUID, at: float, *, slots: int, waiting: int = 0) -> None:
        beat = a_beat(sender, "send.bulk.h1")
        roll.heard(structs.replace(beat, sites=(SiteState("x", slots=slots, waiting=waiting),)), at)

    assert not roll.lacks("x", 3, 0.0)
    told(ME, 0.0, slots=2)
    assert not roll.lacks("x", 3, 0.0)
    told(other, 0.0, slots=0, waiting=7)
    assert roll.lacks("x", 3, 0.0)
    assert not roll.lacks("y", 3, 0.0)
    told(other, 0.0, slots=1, waiting=7)
    assert not roll.lacks("x", 3, 0.0)
    told(other, 0.0, slots=0, waiting=7)
    assert not roll.lacks("x", 3, LIVE_FOR + 1)


def test_an_egress_is_open_elsewhere_at_a_sender_of_the_same_shards_that_lives() -> None:
    roll = Roll(ME, shards_of(["send.bulk.h1"]))
    full = EgressState("warm", "warm.test", warming=(Warming("other", 5, 5),))
    open_ = EgressState("warm", "warm.test")
    roll.heard(structs.replace(a_beat(ME, "send.bulk.h1"), egresses=(open_,)), 0.0)
    roll.heard(structs.replace(a_beat(uuid4(), "send.bulk.h2"), egresses=(open_,)), 0.0)
    roll.heard(structs.replace(a_beat(uuid4(), "send.high.h1"), egresses=(full,)), 0.0)
    roll.heard(a_beat(uuid4(), "send.bulk.h1"), 0.0)
    assert not roll.has_open(["warm"], "other", 0.0)
    roll.heard(structs.replace(a_beat(uuid4(), "send.bulk.h1"), egresses=(open_,)), 1.0)
    assert roll.has_open(["cold", "warm"], "other", 1.0)
    assert not roll.has_open(["cold"], "other", 1.0)
    assert not roll.has_open(["warm"], "other", 1.1 + LIVE_FOR)
