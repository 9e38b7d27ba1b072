"""Which hits count, which are the first of their kind, and what they add up to."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mailwarren.contracts import codec
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.testing import TENANT
from mailwarren.contracts.tracking import Flag, Hit, HitKind, Hits
from mailwarren.contracts.webhooks import EventType
from mailwarren.store.states import State
from mailwarren.tracker.domain.hits import QUICK, Reached, Seen, flag_of, judge, tallies
from mailwarren.tracker.domain.notices import HITS, Subscription, hit_notices_of
from mailwarren.tracker.domain.read import Message, Source, read
from mailwarren.tracker.domain.split import split
from mailwarren.tracker.domain.stats import Cell, count

BOB, EVE = UUID(int=1), UUID(int=2)
DELIVERED_AT = 1_764_000_000.0
LATER = DELIVERED_AT + 600
REACHED = Reached(TENANT, "bob@x.test", Lane.HIGH, State.DELIVERED, DELIVERED_AT, opened=False, clicked=False)


def a_hit(kind: HitKind = HitKind.OPENED, **changes) -> Hit:
    values = {"id": new_id(), "kind": kind, "delivery": BOB, "email_id": UUID(int=3), "tenant": TENANT, "at": LATER}
    return Hit(**(values | {"accepted_at": DELIVERED_AT - 1} | changes))


def seen(*hits: Hit, reached: Reached = REACHED, recorded=frozenset()) -> list[Seen]:
    return judge(hits, {BOB: reached, EVE: reached._replace(address="eve@x.test")}, recorded)


@pytest.mark.parametrize(
    ("flag", "after", "judged"),
    [
        (None, QUICK - 0.1, Flag.QUICK),
        (None, -1.0, Flag.QUICK),
        (None, QUICK, None),
        (Flag.PROXY, 0.5, Flag.QUICK),
        (Flag.PROXY, QUICK, Flag.PROXY),
        (Flag.BOT, 0.5, Flag.BOT),
        (Flag.PREFETCH, 9.0, Flag.PREFETCH),
    ],
)
def test_what_comes_within_seconds_of_the_delivery_is_no_reader(flag, after, judged):
    assert flag_of(a_hit(flag=flag, at=DELIVERED_AT + after), REACHED) is judged


def test_of_a_reader_who_was_erased_nothing_is_kept_but_the_count():
    click = a_hit(HitKind.CLICKED, link="https://x.test", agent="Mozilla", ip="192.0.2.7")
    (kept,) = seen(click, reached=REACHED._replace(address=f"erased-{BOB.hex}@erased.invalid"))
    assert kept.hit == replace(click, link=None, agent="", ip=None)
    assert (kept.counts, kept.first) == (True, True)


@pytest.mark.parametrize(
    ("state", "judged"), [(State.ACCEPTED, Flag.QUICK), (State.DEFERRED, None), (State.UNCONFIRMED, None)]
)
def test_before_its_delivery_is_reported_a_hit_is_quick_unless_an_attempt_was_made(state, judged):
    """A server that took the mail and whose answer was lost: the mail is deferred, and its reader has it."""
    assert flag_of(a_hit(), REACHED._replace(state=state, ended_at=None)) is judged


def test_the_first_that_counts_is_the_first():
    bot, first, second = a_hit(flag=Flag.BOT), a_hit(), a_hit()
    click, other = a_hit(HitKind.CLICKED, link="https://x.test"), a_hit(delivery=EVE)
    found = seen(bot, first, second, click, other)
    assert [(one.hit.id, one.first) for one in found] == [
        (bot.id, False), (first.id, True), (second.id, False), (click.id, True), (other.id, True),
    ]  # fmt: skip
    assert [one.to for one in found[-2:]] == ["bob@x.test", "eve@x.test"]
    assert not any(one.first for one in seen(first, reached=REACHED._replace(opened=True)))
    assert [one.first for one in seen(click, first, reached=REACHED._replace(clicked=True))] == [False, True]


def test_a_hit_is_recorded_once_and_only_of_mail_that_is_known():
    hit = a_hit()
    assert len(seen(hit, hit)) == 1
    assert seen(hit, recorded=frozenset({hit.id})) == []
    assert seen(a_hit(delivery=UUID(int=9))) == []
    assert seen(a_hit(tenant=UUID(int=9))) == []


@given(st.lists(st.tuples(st.sampled_from(HitKind), st.sampled_from([None, *Flag]), st.integers(0, 50))))
def test_what_is_told_and_counted_is_what_counts(parts):
    hits = [a_hit(kind, flag=flag, at=LATER + after) for kind, flag, after in parts]
    found = seen(*hits)
    counted = [hit for hit in hits if hit.flag in {None, Flag.PROXY}]
    tally = tallies(found).get(BOB)
    assert (tally is None) == (not counted)
    cells = count([], [], found)
    for kind, number, first in (
        (HitKind.OPENED, tally.opens if tally else 0, tally and tally.opened_at),
        (HitKind.CLICKED, tally.clicks if tally else 0, tally and tally.clicked_at),
    ):
        times = [hit.at for hit in counted if hit.kind is kind]
        assert number == len(times)
        assert (first or None) == (min(times) if times else None)
        assert sum(cells[cell] for cell in cells if cell.kind == kind) == len(times)
        assert sum(cells[cell] for cell in cells if cell.kind == f"unique_{kind}") == bool(times)
    assert sum(cells[cell] for cell in cells if cell.kind == "automated") == len(hits) - len(counted)
    wanted = {TENANT: [Subscription(UUID(int=7), frozenset(EventType))]}
    assert len(list(hit_notices_of(found, wanted, new_id))) == len(counted)


def test_counts_are_of_the_minute_and_the_lane():
    assert count([], [], seen(a_hit())) == {
        Cell(TENANT, LATER // 60 * 60, Lane.HIGH, "opened"): 1,
        Cell(TENANT, LATER // 60 * 60, Lane.HIGH, "unique_opened"): 1,
    }


def test_a_webhook_is_told_of_a_click_as_the_sdks_have_it():
    click = a_hit(HitKind.CLICKED, link="https://x.test/?a=1", agent="Mozilla/5.0 (X11)", at=1_764_000_600.25)
    wanted = {TENANT: [Subscription(UUID(int=7), frozenset({EventType.EMAIL_CLICKED}))]}
    (notice,) = hit_notices_of(seen(click, a_hit()), wanted, new_id)
    assert (notice.kind, notice.at, notice.email_id) == (EventType.EMAIL_CLICKED, click.at, click.email_id)
    assert notice.data == {
        "to": ["bob@x.test"],
        "click": {
            "ipAddress": "",
            "link": "https://x.test/?a=1",
            "timestamp": "2025-11-24T16:10:00.250Z",
            "userAgent": "Mozilla/5.0 (X11)",
        },
    }
    (kept,) = hit_notices_of(seen(replace(click, ip="192.0.2.7")), wanted, new_id)
    assert kept.data["click"]["ipAddress"] == "192.0.2.7"
    assert set(HITS) == set(HitKind)


def test_a_message_of_hits_is_read_and_can_be_taken_apart():
    hits = Hits(tuple(a_hit() for _ in range(3)))
    work = read(Message(Source.EVENTS, "q", codec.encode(hits), codec.headers_of(hits)), LATER)
    assert (work.hits, work.rows, work.reports) == (hits.hits, 3, [])
    halves = split(work)
    assert halves is not None
    assert [half.hits for half in halves] == [hits.hits[:1], hits.hits[1:]]
    for half in halves:
        assert read(half.message, LATER).hits == half.hits
    assert split(halves[0]) is None
