"""The short version of ``make crash-rounds``."""

import pytest

from mailwarren.chaos.report import report
from mailwarren.chaos.rounds import run
from mailwarren.devstack.harness.system import System

pytestmark = pytest.mark.e2e

MAILS = 3000
ROUNDS = 3


def test_nothing_is_lost_and_each_second_copy_has_its_kill(system: System) -> None:
    system.start_sink("--keep", "10")
    system.start_ingest(wait=False)
    system.start_tracker(wait=False)
    system.wait_ready()
    account = run(system, rounds=ROUNDS, mails=MAILS, seed=4, tell=print)
    print(report(account))
    assert account.holds, report(account)
    assert (account.promised, account.arrived) == (MAILS, MAILS)
    assert len(account.blows) == ROUNDS and len(account.costs) >= ROUNDS
