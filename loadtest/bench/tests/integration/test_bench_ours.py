"""The bench of Mailwarren itself, small: every run ends, and counts what it says that it counts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(sys.executable).with_name("mailwarren-bench")


@pytest.mark.e2e
@pytest.mark.broker
@pytest.mark.postgres
def test_bulk_and_single_posts_are_measured_to_the_last_committed_result():
    asked = [str(BENCH), "bulk", "single", "steady", "--scale", "0.04"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=240)
    # Status 1 is a bound that does not hold, as on a busy machine it may not.
    assert done.returncode in {0, 1}, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    runs = found["runs"]
    assert {name: run["mails"] for name, run in runs.items()} == {"bulk": 1200, "single": 200, "steady": 180}
    for run in runs.values():
        assert {"client", "ingest", "broker", "sender", "tracker", "postgres", "sink"} == set(run["cpu"])
        assert all(used >= 0 for used in run["cpu"].values())  # the kernel counts in steps of 10 ms
        assert run["rate"] == pytest.approx(run["mails"] / run["seconds"])
        assert 0 < run["latency"]["p50"] <= run["latency"]["p95"] <= run["latency"]["p99"] < run["seconds"]
    assert runs["bulk"]["cpu"]["sender"] > 0
    assert runs["steady"]["seconds"] >= 0.5
    assert len(found["checks"]) == 5
