"""Ids: two parties arrive at the same one alone, and new ones sort by time."""

import time
from collections import Counter
from uuid import UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st

from mailwarren.contracts.events import Kind
from mailwarren.contracts.ids import (
    PARTITIONS,
    broadcast_email_id,
    delivery_id,
    event_id,
    keyed_id,
    new_id,
    nth_id,
    partition_of,
)

EMAIL = UUID("019b0000-0000-7000-8000-00000000000a")


def test_new_ids_sort_in_the_order_of_their_making() -> None:
    made = [new_id() for _ in range(5000)]
    assert made == sorted(made)
    assert len(set(made)) == 5000
    assert {i.version for i in made} == {7}


def test_a_new_id_carries_its_time() -> None:
    before = time.time_ns() // 1_000_000
    stamp = new_id().int >> 80
    assert before <= stamp <= time.time_ns() // 1_000_000


def test_stored_mail_keeps_its_ids() -> None:
    """Literal values: a change of a namespace or of a format would orphan every row and every parcel in a queue."""
    assert str(delivery_id(EMAIL, "bob@example.test")) == "6ba47cd9-c4e1-53d8-913e-e0fc767d75ea"
    assert str(event_id(EMAIL, 2, Kind.DELIVERED)) == "a135b495-71e8-5ced-acb4-b4f911504936"
    assert str(keyed_id(EMAIL, "order-17")) == "3c2d37a4-6f08-5296-8255-090973a3d34b"
    assert str(nth_id(EMAIL, 3)) == "195364ae-369f-5a52-9bd4-84c4e82e5e76"
    assert str(broadcast_email_id(EMAIL, UUID(int=EMAIL.int + 1))) == "5856c1ed-6a00-58b3-a2b0-d6527c0f34b1"
    assert partition_of(EMAIL) == 2


def test_an_address_has_one_delivery_however_it_is_written() -> None:
    assert delivery_id(EMAIL, "Bob@Example.TEST") == delivery_id(EMAIL, "bob@example.test")


def test_two_mailboxes_have_two_deliveries() -> None:
    assert delivery_id(EMAIL, "straße@example.test") != delivery_id(EMAIL, "strasse@example.test")
    assert delivery_id(EMAIL, "bob@example.test") != delivery_id(new_id(), "bob@example.test")


@given(st.uuids(), st.text(st.characters(codec="utf-8")))
def test_the_ids_that_two_parties_arrive_at_are_version_5(base: UUID, text: str) -> None:
    expected = uuid5(UUID("6f1c7d5e-7d3c-5a43-9a55-0a2f2f6d8c03"), f"{base}\n{text}")
    assert keyed_id(base, text) == expected
    assert type(keyed_id(base, text)) is type(new_id()) is UUID
    assert repr(keyed_id(base, text)) == repr(expected)


@given(st.uuids(), st.text(st.characters(codec="utf-8")))
def test_a_delivery_id_may_be_made_from_the_text_of_an_email_id(email: UUID, address: str) -> None:
    assert delivery_id(str(email), address) == delivery_id(email, address)


@given(st.uuids(), st.integers(0, 99), st.sampled_from(Kind))
def test_an_event_of_another_attempt_or_kind_is_another_event(delivery: UUID, attempt: int, kind: Kind) -> None:
    assert event_id(delivery, attempt, kind) == event_id(delivery, attempt, kind.value)
    assert event_id(delivery, attempt, kind) != event_id(delivery, attempt + 1, kind)
    assert len({event_id(delivery, attempt, each) for each in Kind}) == len(Kind)


def test_a_key_belongs_to_its_tenant() -> None:
    assert keyed_id(EMAIL, "order-17") != keyed_id(new_id(), "order-17")


def test_the_emails_of_a_keyed_call_have_ids_of_their_own() -> None:
    base = keyed_id(EMAIL, "order-17")
    assert len({nth_id(base, index) for index in range(1000)} | {base}) == 1001


@given(st.uuids())
def test_every_request_has_a_partition(request_id: UUID) -> None:
    assert 0 <= partition_of(request_id) < PARTITIONS


def test_requests_spread_evenly_over_the_partitions() -> None:
    counts = Counter(partition_of(new_id()) for _ in range(8000))
    assert len(counts) == PARTITIONS
    assert min(counts.values()) > 500 * 0.75
    assert max(counts.values()) < 500 * 1.25
