"""plan_parcels: every delivery exactly once, at most 50 in a parcel, one lane, shard and content in each."""

from collections import Counter
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mailwarren.contracts.codec import decode_parcel, encode_parcel, parcel_headers
from mailwarren.contracts.ids import delivery_id, new_id, partition_of
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.routing import domain_of
from mailwarren.contracts.shards import shard_of
from mailwarren.contracts.testing import TENANT, a_content
from mailwarren.ingest.domain.email import Numbered, Recipient, SendEmail
from mailwarren.ingest.domain.parcels import Plan, plan_parcels

domains = st.sampled_from(["gmail.com", "outlook.com", "icloud.com", *(f"d{n}.test" for n in range(20))])
addresses = st.builds(lambda n, domain: f"p{n}@{domain}", st.integers(0, 10_000), domains)
singles = st.lists(
    st.builds(
        lambda found, lane: SendEmail(a_content(), "s.test", tuple(Recipient(a, a) for a in found), lane),
        st.lists(addresses, min_size=1, max_size=50, unique=True),
        st.sampled_from(Lane),
    ),
    max_size=8,
)
SHARED = a_content(subject="{{ x }}")
rows = st.lists(addresses, max_size=400).map(
    lambda found: [SendEmail(SHARED, "s.test", (Recipient(a, a),), Lane.BULK) for a in found]
)


def plan(emails, suppressed=(), **changes):
    values = {"tenant": TENANT, "base": new_id(), "accepted_at": 5.0} | changes
    numbered = [Numbered(index, new_id(), email) for index, email in enumerate(emails)]
    return numbered, list(plan_parcels(Plan(**values), numbered, suppressed, new_id, sign=None))


@given(singles, rows)
def test_every_delivery_exactly_once_in_parcels_that_hold_together(mails, bulk):
    numbered, planned = plan([*mails, *bulk])
    expected = Counter((item.id, r.address) for item in numbered for r in item.email.recipients)
    assert Counter((d.email_id, d.to) for p in planned for d in p.parcel.deliveries) == expected
    by_id = {item.id: item for item in numbered}
    for item in planned:
        parcel = item.parcel
        assert 1 <= len(parcel.deliveries) <= 50
        assert {shard_of(domain_of(d.to)) for d in parcel.deliveries} == {parcel.shard}
        members = [by_id[d.email_id] for d in parcel.deliveries]
        assert {m.email.lane for m in members} == {parcel.lane}
        assert all(m.email.content is parcel.content for m in members)
        assert item.indexes == {m.index for m in members}
        assert decode_parcel(encode_parcel(parcel), parcel_headers(parcel)) == parcel


@given(rows)
def test_no_more_parcels_than_needed(bulk):
    _, planned = plan(bulk)
    sizes = Counter(shard_of(domain_of(email.recipients[0].address)) for email in bulk)
    assert len(planned) == sum(-(-size // 50) for size in sizes.values())


def test_ids_follow_from_the_request():
    base, email_id = UUID(int=7), UUID(int=8)
    email = SendEmail(a_content(), "s.test", (Recipient("Bob@e.test", "Bob <Bob@e.test>"),), Lane.HIGH, 9.0)
    [item] = plan_parcels(
        Plan(TENANT, base, 5.0, request_id=base, settle=True),
        [Numbered(0, email_id, email)],
        {"bob@e.test"},
        new_id,
        sign=None,
    )
    parcel, [delivery] = item.parcel, item.parcel.deliveries
    assert (parcel.partition, parcel.request_id, parcel.settle) == (partition_of(base), base, True)
    assert (parcel.accepted_at, parcel.expires_at, parcel.attempt) == (5.0, 9.0, 1)
    assert delivery.id == delivery_id(email_id, "bob@e.test")
    assert delivery.message_id == f"{email_id}@s.test"
    assert delivery.suppressed


def test_a_content_is_signed_once_for_all_its_parcels():
    asked = []

    def sign(content, sender):
        asked.append((content.subject, sender))
        return replace(content, signing=sender, envelope_sender=f"bounces@send.{sender}")

    shared = [SendEmail(SHARED, "s.test", (Recipient(f"a@d{n}.test", ""),), Lane.BULK) for n in range(200)]
    other = SendEmail(a_content(), "t.test", (Recipient("b@e.test", ""),), Lane.HIGH)
    numbered = [Numbered(index, new_id(), email) for index, email in enumerate([*shared, other])]
    planned = list(plan_parcels(Plan(TENANT, new_id(), 5.0), numbered, frozenset(), new_id, sign=sign))
    assert len(planned) > 2
    assert asked == [(SHARED.subject, "s.test"), (a_content().subject, "t.test")]
    assert {(p.parcel.lane, p.parcel.content.signing, p.parcel.content.envelope_sender) for p in planned} == {
        (Lane.BULK, "s.test", "bounces@send.s.test"), (Lane.HIGH, "t.test", "bounces@send.t.test"),
    }  # fmt: skip
    # One object, so that it is encoded as one.
    assert len({id(p.parcel.content) for p in planned if p.parcel.lane is Lane.BULK}) == 1


def test_equal_contents_of_two_emails_are_still_two_parcels():
    mails = [SendEmail(a_content(), "s.test", (Recipient(a, a),), Lane.HIGH) for a in ("a@e.test", "b@e.test")]
    assert len(plan(mails)[1]) == 2
