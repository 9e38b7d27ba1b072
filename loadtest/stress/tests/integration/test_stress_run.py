"""Cells for real: ^C after the first leaves a report and nothing running, and the same command goes on from there."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mailwarren.devstack.state import LocalDir
from mailwarren.stress.report.publish import PAGE, read, rendered
from mailwarren.stress.verdicts import ledger, shares

STRESS = Path(sys.executable).with_name("mailwarren-stress")
CELLS = ["grid-s1-q1-50ms-r0", "grid-s1-q1-500ms-r0", "grid-s1-q1-0ms-r0"]
"""In the order in which they run: that without latency is measured three times."""
STARTED = 90.0


def _start(folder):
    only = ("--quick", "--only", "grid-s1-q1-*ms-r0", "--scale", "0.25", "--folder", str(folder))
    return subprocess.Popen([str(STRESS), *only], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _stands():
    return set((LocalDir.of_clone().path / "bench").glob("tmp*"))


def _said_of(stands):
    """Processes whose command line names one of these folders."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        found += [line for stand in stands if str(stand) in line]
    return found


@pytest.mark.e2e
@pytest.mark.broker
@pytest.mark.postgres
def test_a_run_that_is_interrupted_reports_leaves_nothing_and_goes_on(tmp_path):
    before = _stands()
    run = _start(tmp_path)
    first = tmp_path / "cells" / f"{CELLS[0]}.json"
    deadline = time.monotonic() + STARTED
    while not first.exists() and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert first.exists(), run.communicate()
    stands = _stands() - before
    family = psutil.Process(run.pid).children(recursive=True)
    assert stands and len(family) > 5
    assert _said_of(stands)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    _, left = psutil.wait_procs(family, timeout=10)  # those that it killed last are still on their way out
    assert not [one for one in left if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert _said_of(stands) == []
    assert not any(stand.exists() for stand in stands)
    assert "3 cells, 3 to measure: about" in err
    assert " left" in err
    report = tmp_path / "report"
    head, outcomes = read(report)
    assert (head.planned, outcomes[0].cell.ident) == (3, CELLS[0])
    assert len(outcomes) < 3
    assert "**a partial report**" in (report / PAGE).read_text()
    assert f"Report ({len(outcomes)} of 3 cells)" in out

    run = _start(tmp_path)
    out, err = run.communicate(timeout=120)
    assert f"3 cells, {3 - len(outcomes)} to measure" in err
    head, whole = read(report)
    assert [one.cell.ident for one in whole] == CELLS
    assert whole[: len(outcomes)] == outcomes
    assert rendered(head, whole)[PAGE] == (report / PAGE).read_text()
    assert "PASS The ledger agrees in every cell (3 looked at)" in out, out + err
    assert run.returncode == 0, out + err
    assert ledger(whole).holds and shares(whole).holds
    for one in whole:
        assert one.completion is not None and one.completion.count == one.delivered == one.cell.mails
        assert one.completion.p50 * 1000 >= one.cell.latency_ms
        assert {"client", "ingest", "broker", "sender", "tracker", "postgres", "sink"} < set(one.cpu)
        assert max(mails for _, mails, _ in one.curve) > 0
