"""The grid is the one that was asked for, and its mails go into exactly its queues."""

import pytest

from mailwarren.contracts.routing import domain_of, route
from mailwarren.stress.grid import CONNECTIONS, RIVALS, Cell, Row, ceiling, cells, stands
from mailwarren.stress.runner import middle
from mailwarren.stress.work import ROWS, calls, everyone, recipients, rows_of


@pytest.mark.parametrize("quick", [False, True])
def test_every_combination_is_there_once(quick):
    planned = cells(quick=quick)
    grid = {(c.senders, c.queues, c.latency_ms, c.refused) for c in planned if c.row is Row.GRID}
    assert grid == {
        (s, q, ms, r) for s in (1, 2, 4) for q in (1, 9, 36) for ms in (0, 50, 500) for r in (0.0, 0.05, 0.20)
    }
    assert len({c.ident for c in planned}) == len(planned)
    assert {c.row for c in planned} == set(Row)


def test_rivals_get_the_grids_loads_for_thirty_seconds():
    planned = cells()
    ours = {(c.senders, c.latency_ms, c.refused): c.mails for c in planned if c.row is Row.GRID}
    for rival in RIVALS:
        theirs = {(c.senders, c.latency_ms, c.refused): c.mails for c in planned if c.row is rival}
        assert theirs == ours
    assert {c.seconds for c in planned if c.row in RIVALS} == {30.0}


def test_the_short_grid_is_expected_under_half_an_hour():
    assert sum(c.expected_seconds for c in cells(quick=True)) < 28 * 60


@pytest.mark.parametrize("quick", [False, True])
def test_only_loads_that_are_over_in_seconds_are_repeated(quick):
    assert {(c.row, c.latency_ms) for c in cells(quick=quick) if c.repeats > 1} == {(Row.GRID, 0)}


def test_the_middle_rate_counts_with_the_ledgers_of_all(made):
    tries = [made(rate=rate, differences=found) for rate, found in ((900.0, ["lost"]), (300.0, []), (600.0, ["twice"]))]
    assert (middle(tries).rate, middle(tries).differences) == (pytest.approx(600.0), ["lost", "twice"])


def test_no_cell_has_more_mails_than_its_connections_carry_in_its_time():
    for cell in cells():
        if cell.is_ours:
            assert cell.mails <= 10_000
            assert cell.mails <= ceiling(cell) * cell.seconds
    slow = next(c for c in cells() if c.ident == "grid-s1-q9-500ms-r0")
    assert slow.mails == pytest.approx(CONNECTIONS / 0.5 * 60, rel=0.11)


def test_cells_that_share_a_system_and_its_senders_stand_together():
    for group in stands(cells()):
        sets = [(c.senders, c.queues) for c in group]
        assert sets == sorted(sets)
        assert len({c.retry_scale for c in group}) == 1
    assert [group[0].is_ours for group in stands(cells())] == [True, True, False]


@pytest.mark.parametrize("queues", [1, 9, 36])
def test_mails_are_spread_evenly_over_exactly_the_cells_queues(queues):
    cell = Cell(row=Row.GRID, senders=1, queues=queues, mails=3600)
    counts: dict[str, int] = {}
    for lane, work in recipients(cell, "x").items():
        for one in work:
            key = route(lane, domain_of(one.to))
            counts[key] = counts.get(key, 0) + 1
    assert len(counts) == queues
    assert set(counts.values()) == {3600 // queues}
    assert set(counts) == {f"{lane}.{shard}" for lane in cell.lanes for shard in cell.shards}


def test_steady_cells_post_singles_and_the_others_bulk():
    plain = Cell(row=Row.GRID, senders=1, queues=9, mails=90)
    assert {path for path, _ in calls(plain, "x")} == {"/emails/bulk"}
    steady = Cell(row=Row.STEADY, senders=1, queues=9, mails=90, rate=30.0)
    assert [path for path, _ in calls(steady, "x")] == ["/emails"] * 90


def test_rivals_mail_as_many_people_each_once():
    rival = Cell(row=Row.SMTPLIB, senders=2, mails=500)
    assert len({one.to for one in everyone(rival, "r")}) == 500


def test_slow_cells_come_in_parcels_for_every_sender_and_fast_ones_in_full_calls():
    for cell in cells(quick=True):
        if cell.row is Row.GRID:
            each = cell.mails / cell.queues
            parcels = each / min(50, rows_of(cell) / len(cell.shards))
            assert parcels >= min(each, 8 * cell.senders) or rows_of(cell) == ROWS
            assert (rows_of(cell) == ROWS) or cell.latency_ms
