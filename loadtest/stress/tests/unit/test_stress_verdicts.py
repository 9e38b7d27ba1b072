"""What must hold is found broken when it is, and only then."""

import pytest

from mailwarren.stress.verdicts import growth, ledger, shares, verdicts

FULL = {"machine": 1.95, "busy": {"sender": 0.5}}


@pytest.mark.parametrize(
    ("rates", "fields", "holds"),
    [
        ((400, 790), [{}, {}], True),
        ((400, 500), [{}, {}], False),
        ((400, 420), [{}, FULL], True),
        ((400, 420), [FULL, FULL], True),
        ((400, 200), [FULL, FULL], False),
        ((400, 420), [{"busy": {"sender": 0.99}}, {"busy": {"sender": 0.99}}], False),
    ],
)
def test_rates_have_to_grow_until_a_shared_resource_is_full(made, rates, fields, holds):
    outcomes = [
        made(rate, senders=place + 1, **more) for place, (rate, more) in enumerate(zip(rates, fields, strict=True))
    ]
    found = growth(outcomes)
    assert found.looked == 1
    assert found.holds is holds, found.failures


def test_only_cells_of_one_load_are_compared(made):
    assert growth([made(400, senders=1), made(10, senders=2, latency_ms=50)]).looked == 0


def test_errors_have_to_be_the_refusals_asked_for(made):
    good = made(refused=0.05)
    assert shares([good]).holds
    good.refused, good.delivered = 900, 9100
    assert shares([good]).failures == ["grid-s1-q9-0ms-r5: 9.00%, asked 5.00% ± 0.87%"]


def test_a_lost_mail_where_none_is_refused_fails(made):
    one = made()
    one.refused, one.delivered = 1, 9999
    assert not shares([one]).holds


def test_one_cell_whose_ledger_differs_fails_the_run(made):
    found = ledger([made(), made(queues=1, differences=["3 messages are left in send.bulk.h0"])])
    assert found.looked == 2
    assert found.failures == ["grid-s1-q1-0ms-r0: 3 messages are left in send.bulk.h0"]


def test_a_partial_run_is_judged_by_what_it_has(made):
    assert len(verdicts([made()])) == 2
