"""The rivals' cells on few mails: what arrives, what is refused, and what is not done when the time is over."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from mailwarren.baselines.postfix_relay import missing
from mailwarren.bench.stand import Sink
from mailwarren.devstack.harness.system import System
from mailwarren.stress.bottleneck import resources
from mailwarren.stress.grid import Cell, Row
from mailwarren.stress.progress import Progress
from mailwarren.stress.rivals import run_cell


@dataclass
class Place:
    """The tests' servers: others use them too, so their CPU says nothing."""

    system: System
    sink: Sink
    amqp_url: str = ""
    database_url: str = ""
    broker_pids: list[int] = field(default_factory=list)
    postgres_pids: list[int] = field(default_factory=list)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    system = System(tmp_path_factory.mktemp("rivals"), amqp_url="", database_url="")
    try:
        system.start_sink()
        yield Place(system, Sink(system))
    finally:
        system.close()


def _measure(place: Place, **load):
    cell = Cell(**({"row": Row.SMTPLIB, "senders": 2, "mails": 100, "seconds": 20.0} | load))
    return cell, run_cell(place, cell, Progress([cell]))


def test_loops_of_smtplib_give_up_what_is_refused(place):
    cell, outcome = _measure(place, refused=0.2)
    assert outcome.delivered + outcome.refused == cell.mails
    assert 5 <= outcome.refused <= 40
    assert outcome.open == 0
    assert outcome.completion.count == outcome.delivered
    assert outcome.cpu["sender"] > 0
    assert outcome.curve[-1][1] <= outcome.refused


def test_what_is_not_done_in_time_is_open_and_the_connections_that_wait_are_counted(place):
    cell, outcome = _measure(place, latency_ms=200, seconds=3.0)
    assert outcome.open == cell.mails - outcome.delivered > 0
    assert outcome.delivered > 5
    assert outcome.seconds < 4
    wire = resources(outcome)["connections"]
    assert wire.grows
    assert 0.3 < wire.share <= 1.1


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_postfix_gives_up_what_is_refused_and_its_own_notices_do_not_count(place):
    cell, outcome = _measure(place, row=Row.POSTFIX, senders=1, refused=0.2)
    assert outcome.delivered + outcome.refused == cell.mails
    assert outcome.refused > 5
    assert outcome.completion.count == outcome.delivered
    assert outcome.cpu["postfix"] > 0


@pytest.mark.broker
@pytest.mark.postgres
def test_the_textbook_does_not_take_a_refusal_for_an_end(place, rabbitmq, postgres):
    place.amqp_url, place.database_url = rabbitmq.amqp_url, postgres.database_url
    cell, outcome = _measure(place, row=Row.TEXTBOOK, refused=0.2, seconds=5.0)
    assert outcome.refused == 0
    assert outcome.open == cell.mails - outcome.delivered > 5
    assert outcome.completion.p50 > 0
