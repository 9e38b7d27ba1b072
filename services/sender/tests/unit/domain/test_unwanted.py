"""Who gets no mail any more, as the control log tells it."""

from uuid import UUID

import pytest
from msgspec.structs import replace

from mailwarren.contracts.events import Suppress
from mailwarren.contracts.parcel import Parcel
from mailwarren.contracts.testing import TENANT, a_delivery, a_parcel
from mailwarren.contracts.unsubscribe import LISTS, Unsubscribe
from mailwarren.sender.domain.unwanted import KEEP, MOST, Unwanted

NOW = 1_780_000_000.0
TOPIC = UUID(int=3)
ADA = a_delivery("Ada@example.test")


def entry(**changes: object) -> Suppress:
    return replace(Suppress(TENANT, "ada@example.test", NOW), **changes)


def parcel(unsubscribe: Unsubscribe | None = None) -> Parcel:
    return replace(a_parcel(), tenant=TENANT, unsubscribe=unsubscribe)


def known(*entries: Suppress, most: int = 100) -> Unwanted:
    unwanted = Unwanted(most)
    for one in entries:
        unwanted.note(one)
    return unwanted


SINGLE, BULK, ABOUT = parcel(), parcel(Unsubscribe()), parcel(Unsubscribe(TOPIC))


@pytest.mark.parametrize(
    ("topic", "held"),
    [(None, [SINGLE, BULK, ABOUT]), (LISTS, [BULK, ABOUT]), (TOPIC, [ABOUT]), (UUID(int=4), [])],
)
def test_an_entry_holds_for_the_mail_that_it_is_about(topic: UUID | None, held: list[Parcel]) -> None:
    unwanted = known(entry(topic=topic))
    for one in (SINGLE, BULK, ABOUT):
        assert unwanted.holds(one, ADA, NOW) == (one in held)


def test_others_and_other_tenants_are_not_meant() -> None:
    unwanted = known(entry(more=("eve@example.test",)))
    assert unwanted.holds(SINGLE, a_delivery("EVE@example.test"), NOW)
    assert not unwanted.holds(SINGLE, a_delivery("bob@example.test"), NOW)
    assert not unwanted.holds(replace(SINGLE, tenant=UUID(int=9)), ADA, NOW)


def test_who_is_taken_from_the_list_gets_mail_again() -> None:
    assert not known(entry(), entry(removed=True)).holds(SINGLE, ADA, NOW)
    assert known(entry(), entry(removed=True), entry()).holds(SINGLE, ADA, NOW)
    assert known(entry(), entry(topic=LISTS, removed=True)).holds(SINGLE, ADA, NOW)


def test_an_entry_ends_at_its_time_and_is_forgotten() -> None:
    unwanted = known(entry(until=NOW + 10), entry(address="eve@example.test"))
    assert unwanted.holds(SINGLE, ADA, NOW + 9)
    assert not unwanted.holds(SINGLE, ADA, NOW + 11)
    unwanted.prune(NOW + 11)
    assert len(unwanted) == 1
    unwanted.prune(NOW + KEEP + 1)
    assert not unwanted


def test_the_oldest_are_forgotten_when_there_are_too_many() -> None:
    unwanted = known(*(entry(address=f"p{n}@example.test") for n in range(5)), entry(address="p0@example.test"), most=4)
    found = [n for n in range(5) if unwanted.holds(SINGLE, a_delivery(f"p{n}@example.test"), NOW)]
    assert (found, len(unwanted), unwanted.forgotten) == ([0, 2, 3, 4], 4, 2)


def test_a_file_of_a_million_is_known_as_far_as_it_may_be() -> None:
    unwanted = Unwanted()
    for start in range(0, 1_000_000, 1000):
        first, *more = (f"p{n}@example.test" for n in range(start, start + 1000))
        unwanted.note(Suppress(TENANT, first, NOW, more=tuple(more)))
    assert MOST // 2 <= len(unwanted) <= MOST
    assert unwanted.forgotten == 1_000_000 - len(unwanted)
    assert unwanted.holds(SINGLE, a_delivery("p999999@example.test"), NOW)
