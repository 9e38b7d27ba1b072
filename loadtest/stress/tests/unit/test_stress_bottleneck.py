"""Each rule names its resource, with the numbers it was named from."""

import pytest
from msgspec.structs import replace

from mailwarren.stress.bottleneck import bottleneck, disturbed
from mailwarren.stress.grid import Row


def test_connections_that_all_wait_for_an_answer(made):
    found = bottleneck(made(390.0, latency_ms=50))
    assert (found.name, found.full, found.grows) == ("SMTP connections", True, True)
    assert found.evidence == "20 of 20 connections wait for an answer"


def test_refused_recipients_hold_no_connection(made):
    assert bottleneck(made(390.0, latency_ms=50, refused=0.2)).full is False
    assert bottleneck(made(390.0 / 0.8, latency_ms=50, refused=0.2)).name == "SMTP connections"


def test_the_wait_for_the_next_try(made):
    found = bottleneck(made(row=Row.TEMPORARY, deferred=0.2, tries=1, waiting_only=0.9))
    assert (found.name, found.full, found.grows) == ("the wait for the next try", True, False)


def test_a_machine_without_cpu_left_names_who_uses_most(made):
    found = bottleneck(made(machine=1.95, busy={"sender 1": 0.6, "sender 2": 0.6, "broker": 0.5}))
    assert (found.name, found.full, found.grows) == ("the machine's CPU", True, False)
    assert "1.95 of 2 cores in use" in found.evidence
    assert "sender most with 1.20" in found.evidence


def test_what_the_host_keeps_counts_as_used(made):
    assert bottleneck(made(machine=1.2, stolen=0.7)).name == "the machine's CPU"


@pytest.mark.parametrize(
    ("busy", "name", "grows"),
    [
        ({"sender": 0.97, "ingest": 0.2}, "one core of each sender", True),
        ({"sender": 0.3, "tracker": 0.97}, "one core of tracker", False),
    ],
)
def test_one_core_of_a_process_that_can_use_one(made, busy, name, grows):
    found = bottleneck(made(machine=1.4, busy=busy))
    assert (found.name, found.full, found.grows) == (name, True, grows)


def test_a_broker_on_one_core_of_two_is_not_full(made):
    found = bottleneck(made(machine=1.3, busy={"broker": 1.0, "sender": 0.3}))
    assert not found.full
    assert found.name.startswith("nothing; nearest")


def test_a_steady_load_that_is_taken_as_it_comes(made):
    found = bottleneck(_steady(made, 299.0))
    assert found.name == "the offered load"
    assert bottleneck(_steady(made, 150.0)).name != "the offered load"


def _steady(made, rate):
    outcome = made(rate, row=Row.STEADY)
    outcome.cell = replace(outcome.cell, rate=300.0)
    return outcome


def test_strangers_on_the_machine_are_seen(made):
    assert not disturbed(made(machine=0.7))
    assert disturbed(made(machine=1.5))
    assert "by strangers" in bottleneck(made(machine=1.9)).evidence
