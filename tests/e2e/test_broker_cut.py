"""A sender's connections to the broker are cut with 150 mails in flight: ``make broker-cut`` without the naive one."""

import pytest

from mailwarren.chaos.cut import MAILS, WAITS, cut_ours
from mailwarren.devstack.harness.system import System

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def standing(module_system: System) -> System:
    module_system.start_sink()
    module_system.start_ingest(wait=False)
    module_system.start_tracker(wait=False)
    module_system.wait_ready()
    return module_system


@pytest.mark.parametrize("stage", WAITS.values())
def test_every_mail_arrives_once(standing: System, stage: str) -> None:
    came = cut_ours(standing, stage)
    assert (came.mails, came.lost, came.twice) == (MAILS, 0, 0)
