"""The ledger: exact, small, and without a long pause."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.sink.ledger import Ledger, digest_of


def test_an_entry_counts_dots_answers_and_times() -> None:
    ledger = Ledger(names=True)
    number = ledger.see(b"<1@x>", b"u@y.test", 10.0, taken=True)
    assert number == ledger.see(b"<1@x>", b"u@y.test", 11.0, taken=False)
    assert number == ledger.see(b"<1@x>", b"u@y.test", 12.5, taken=True)
    other = ledger.see(b"<1@x>", b"v@y.test", 13.0, taken=True)
    ledger.accept(number)
    entry = ledger.entry(number)
    assert (entry.message_id, entry.rcpt) == ("<1@x>", "u@y.test")
    assert (entry.dots, entry.accepted, entry.unanswered, entry.first_at, entry.last_at) == (3, 1, 1, 10.0, 12.5)
    assert (ledger.unique, ledger.duplicates, ledger.entry(other).accepted) == (1, 0, 0)
    ledger.accept(number)
    assert (ledger.unique, ledger.duplicates, ledger.accepted) == (1, 1, 2)


def test_a_ledger_of_digests_finds_what_it_cannot_name() -> None:
    ledger = Ledger(names=False)
    number = ledger.see(b"<1@x>", b"u@y.test", 10.0, taken=True)
    assert ledger.find(b"<1@x>", b"u@y.test") == number
    assert ledger.find(b"<1@x>", b"U@y.test") is None
    entry = ledger.entry(number)
    named = Ledger(names=True)
    assert named.entry(named.see(b"<1@x>", b"u@y.test", 10.0, taken=True)).digest == entry.digest
    assert named.find(b"<1@x>", b"u@y.test") == 0 and named.find(b"<1@x>", b"v@y.test") is None
    assert (entry.message_id, entry.rcpt) == (None, None)
    assert entry.digest == digest_of(b"<1@x>", b"u@y.test").hex()


@pytest.mark.parametrize("names", [True, False])
@given(seen=st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.booleans()), max_size=200))
def test_it_counts_as_a_dictionary_would(names, seen: list[tuple[int, bool, bool]]) -> None:
    ledger, dots, accepted = Ledger(names=names), {}, {}
    for who, taken, answered in seen:
        number = ledger.see(b"<%d@x>" % who, b"u@y.test", 1.0, taken=taken)
        dots[who] = dots.get(who, 0) + 1
        if taken and answered:
            ledger.accept(number)
            accepted[who] = accepted.get(who, 0) + 1
    for who, count in dots.items():
        number = ledger.find(b"<%d@x>" % who, b"u@y.test")
        assert number is not None
        assert (ledger.entry(number).dots, ledger.entry(number).accepted) == (count, accepted.get(who, 0))
    assert (len(ledger), ledger.unique) == (len(dots), len(accepted))
    assert ledger.duplicates == sum(accepted.values()) - len(accepted)


def test_a_million_entries_stay_under_150_mb() -> None:
    # A tenth of a million, with a tenth of the memory: tables and columns grow in proportion.
    ledger = Ledger(names=False)
    count = 100_000
    tracemalloc.start()
    for n in range(count):
        ledger.accept(ledger.see(b"<%d@mail.example.test>" % n, b"firstname.lastname%d@dom.test" % n, 1.0, taken=True))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert ledger.unique == count
    assert used / count < 100
    assert all(ledger.find(b"<%d@mail.example.test>" % n, b"firstname.lastname%d@dom.test" % n) == n
               for n in range(0, count, 997))  # fmt: skip
