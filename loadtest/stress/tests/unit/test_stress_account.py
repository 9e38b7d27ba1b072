"""Every way in which a cell's ledger can differ is found."""

import pytest

from mailwarren.devstack.harness.counts import Promise, SinkPair
from mailwarren.stress.account import Entry, differences

DONE = [Promise(f"e{n}", f"u{n}@x.test", f"e{n}@sender.test") for n in range(3)]


def _entries(**states):
    given = {"e0": "delivered", "e1": "delivered", "e2": "bounced"} | states
    return [Entry(one.email_id, one.address, given[one.email_id], 1, 0.0, 1.0) for one in DONE]


def _found(**changed):
    values = {
        "promises": DONE,
        "entries": _entries(),
        "pairs": {(one.message_id, one.address): SinkPair(1, 0) for one in DONE[:2]},
        "stats": {"by_code": {"250": 2, "550": 1}},
        "asked": 3,
        "recorded": 3,
        "left": {},
    } | changed
    return differences(
        values.pop("promises"), values.pop("entries"), values.pop("pairs"), values.pop("stats"), **values
    )


def test_a_ledger_that_agrees_has_no_differences():
    assert _found() == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"asked": 4}, "4 mails were posted and 3 accepted"),
        ({"recorded": 5}, "3 mails were accepted and 5 recorded"),
        ({"entries": _entries()[:2]}, "missing_rows"),
        ({"entries": _entries(e0="accepted")}, "without_end"),
        ({"entries": _entries(e2="delivered")}, "delivered_but_not_at_sink"),
        ({"entries": _entries(e0="bounced")}, "at_sink_but_not_delivered"),
        ({"entries": _entries(e2="failed")}, "1 failed"),
        ({"pairs": {(one.message_id, one.address): SinkPair(2, 0) for one in DONE[:2]}}, "more than once"),
        ({"pairs": {("stranger@x", "u0@x.test"): SinkPair(1, 0)}}, "strangers_at_sink"),
        ({"stats": {"by_code": {"250": 3, "550": 1}}}, "2 delivered in the tables, 3 answers 250"),
        ({"stats": {"by_code": {"250": 2}}}, "1 refused for good in the tables, 0 answers 550"),
        ({"stats": {"by_code": {"250": 2, "550": 1, "450": 7}}}, "0 tried again in the tables, 7 answers 450"),
        ({"left": {"send.bulk.h0": 2}}, "2 messages are left in send.bulk.h0"),
    ],
)
def test_each_difference_is_said(changed, words):
    assert any(words in one for one in _found(**changed)), _found(**changed)
