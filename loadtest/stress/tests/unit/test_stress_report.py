"""No number of the report is typed: it comes out again from its cells, and its sentences have no digits."""

import ast
import re
from pathlib import Path

import pytest

import mailwarren.stress.report
from mailwarren.stress.grid import cells
from mailwarren.stress.machine import Run
from mailwarren.stress.report.publish import CSV, PAGE, publish, read, rendered

SOURCES = Path(mailwarren.stress.report.__file__).parent
DOCS = Path(__file__).parents[4] / "docs" / "stress"
RUN = Run(
    began="2026-11-22T12:00:00+00:00",
    command="make stress QUICK=1",
    commit="abc1234",
    machine={"CPU": "2 cores, Example"},
    versions={"Python": "3.11.2"},
    quick=True,
)


def _outcomes(made):
    found = []
    for cell in cells(quick=True):
        rate = min(cell.rate or 3000.0, 350.0 * cell.senders if cell.latency_ms else 3000.0)
        outcome = made(rate, refused=cell.refused)
        refused = round(cell.mails * cell.refused)
        outcome.cell, outcome.refused, outcome.delivered = cell, refused, cell.mails - refused
        outcome.seconds = cell.mails / rate
        found.append(outcome)
    return found


def test_a_report_comes_out_again_from_its_cells(tmp_path, made):
    outcomes = _outcomes(made)
    publish(tmp_path, RUN, outcomes, planned=len(outcomes))
    head, again = read(tmp_path)
    assert again == outcomes
    page = (tmp_path / PAGE).read_text()
    assert rendered(head, again) == {PAGE: page, CSV: (tmp_path / CSV).read_text()}
    assert len((tmp_path / CSV).read_text().splitlines()) == len(outcomes) + 1
    for plot in head.plots:
        assert f"({plot})" in page
        assert (tmp_path / plot).read_bytes().startswith(b"\x89PNG")
    assert len(head.plots) == 6
    for words in ("make stress QUICK=1", "abc1234", "2 cores, Example", "Python 3.11.2", "2026-11-22", "How long"):
        assert words in page


def test_a_partial_report_says_so(tmp_path, made):
    publish(tmp_path, RUN, [made()], planned=7)
    page = (tmp_path / PAGE).read_text()
    assert "1 of 7: **a partial report**" in page
    assert "The rivals" not in page


def test_a_number_that_is_changed_by_hand_is_noticed(tmp_path, made):
    publish(tmp_path, RUN, [made()], planned=1)
    page = (tmp_path / PAGE).read_text()
    (tmp_path / PAGE).write_text(page.replace("60,000", "61,000"))
    head, outcomes = read(tmp_path)
    assert rendered(head, outcomes)[PAGE] != (tmp_path / PAGE).read_text()


@pytest.mark.parametrize("name", [PAGE, CSV])
def test_the_committed_report_is_what_its_cells_say(name):
    head, outcomes = read(DOCS)
    assert rendered(head, outcomes)[name] == (DOCS / name).read_text()
    assert all((DOCS / plot).exists() for plot in head.plots)


@pytest.mark.parametrize("name", ["answers.py", "markdown.py", "tables.py"])
def test_no_sentence_has_a_digit_of_its_own(name):
    tree = ast.parse((SOURCES / name).read_text())
    formats = {id(part) for node in ast.walk(tree) if isinstance(node, ast.FormattedValue) and node.format_spec
               for part in ast.walk(node.format_spec)}  # fmt: skip
    said = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
            and id(node) not in formats]  # fmt: skip
    assert len(said) > 20
    # p50, p95 and p99 are names of percentiles.
    assert [text for text in said if re.search(r"\d", re.sub(r"\bp(50|95|99)\b", "", text))] == []
