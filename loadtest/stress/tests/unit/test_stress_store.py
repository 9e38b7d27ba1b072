"""A run that was stopped goes on where it stopped."""

from msgspec.structs import replace

from mailwarren.stress.grid import cells
from mailwarren.stress.progress import Progress, clock
from mailwarren.stress.store import Store


def test_cells_that_are_done_are_found_again_in_the_order_of_the_plan(tmp_path, made):
    planned = cells(quick=True)
    for cell in (planned[5], planned[2]):
        outcome = made()
        outcome.cell = cell
        Store(tmp_path).keep(outcome)
    assert [one.cell for one in Store(tmp_path).outcomes(planned)] == [planned[2], planned[5]]


def test_a_cell_of_another_size_is_measured_again(tmp_path, made):
    cell = cells()[0]
    outcome = made()
    outcome.cell = replace(cell, mails=cell.mails // 2)
    Store(tmp_path).keep(outcome)
    assert Store(tmp_path).outcomes([cell]) == []


def test_half_a_file_of_a_killed_run_is_no_cell(tmp_path):
    store = Store(tmp_path)
    cell = cells()[0]
    (tmp_path / "cells" / f"{cell.ident}.json.part").write_text('{"cell":')
    assert store.outcomes([cell]) == []


def test_the_time_left_follows_what_cells_really_took(made, monkeypatch):
    planned = cells(quick=True)[:3]
    now = [0.0]
    monkeypatch.setattr("mailwarren.stress.progress.time.monotonic", lambda: now[0])
    progress = Progress(planned)
    assert progress.left_seconds == sum(cell.expected_seconds for cell in planned)
    progress.begin(planned[0])
    now[0] += 2 * planned[0].expected_seconds
    outcome = made()
    outcome.cell = planned[0]
    progress.end(outcome)
    assert progress.left_seconds == 2 * sum(cell.expected_seconds for cell in planned[1:])
    assert (clock(40), clock(300), clock(5400)) == ("40 s", "5 min", "1 h 30 min")
