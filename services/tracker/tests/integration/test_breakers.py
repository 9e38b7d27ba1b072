"""The breaker of a tenant, from the counters to the control log and back."""

import time

import pytest
from prometheus_client import REGISTRY

from mailwarren.contracts.counters import QUARTER
from mailwarren.contracts.events import Kind
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shaping import LONGEST_OVERRIDE, OverrideEnd, Scope
from mailwarren.contracts.testing import TENANT, a_parcel, an_attempt, an_event
from mailwarren.runtime.amqp import NotConnected
from mailwarren.tracker.adapters.breakers import TELL_AGAIN, Breakers
from mailwarren.tracker.adapters.overrides import write_overrides
from mailwarren.tracker.domain.breaker import Marks

pytestmark = pytest.mark.postgres

MARKS = Marks(least=20)


class Log:
    """The control log of a broker that may be away."""

    def __init__(self):
        self.entries = []
        self.away = False

    async def write(self, override):
        if self.away:
            raise NotConnected("no broker")
        self.entries.append(override)


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def breakers(log):
    return Breakers(log, MARKS)


@pytest.fixture
def sent(ledger, inbound):
    """Mail of which some bounced."""

    async def send(good, bad):
        parcel = a_parcel(to=[f"u{number}@x.test" for number in range(good + bad)])
        works = [inbound.parcel(parcel)]
        for index in range(good + bad):
            if index < good:
                works.append(inbound.events(an_event(parcel, index=index)))
            else:
                tried = an_attempt(bounce_class="invalid_recipient")
                works.append(inbound.events(an_event(parcel, Kind.BOUNCED, index, tried=tried)))
        await ledger.record(works)

    return send


async def row(database):
    return await database.fetchrow("SELECT * FROM breakers WHERE tenant = $1", TENANT)


def gauge(state):
    return REGISTRY.get_sample_value("mailwarren_tracker_breakers", {"state": state})


async def test_too_little_mail_tells_nothing(breakers, database, log, sent):
    await sent(0, 19)
    await breakers.look(database, time.time())
    assert await row(database) is None
    assert log.entries == []
    assert gauge("warned") == gauge("paused") == 0


async def test_a_tenant_is_warned_and_the_warning_ends(breakers, database, log, sent):
    await sent(19, 1)
    await breakers.look(database, time.time())
    warned = await row(database)
    assert [warned[name] for name in ("state", "decided", "bounced", "complained")] == ["warned", 20, 1, 0]
    assert (log.entries, gauge("warned")) == ([], 1)
    await sent(20, 0)
    await breakers.look(database, time.time())
    assert (await row(database))["state"] == "fine"
    assert gauge("warned") == 0


async def test_bulk_mail_is_paused_in_the_control_log_and_told_again_until_a_person_ends_it(
    breakers, database, log, sent
):
    await sent(18, 2)
    now = time.time()
    await breakers.look(database, now)
    (pause,) = log.entries
    assert (pause.scope, pause.name, pause.suspend, pause.lane) == (Scope.TENANT, str(TENANT), True, Lane.BULK)
    assert (pause.cause, pause.until) == ("bounces", pytest.approx(now + LONGEST_OVERRIDE))
    assert pause.sample == "10.0% of 20 mails bounced or drew complaints (2 bounces, 0 complaints)"
    assert ((await row(database))["state"], gauge("paused")) == ("paused", 1)

    await write_overrides(database, [pause])  # as it comes back
    assert await database.fetchval("SELECT lane FROM shaping_overrides WHERE id = $1", pause.id) == "bulk"
    await breakers.look(database, now + 60)
    assert len(log.entries) == 1
    await breakers.look(database, now + TELL_AGAIN + 60)
    assert [one.id for one in log.entries] == [pause.id] * 2
    assert log.entries[1].until > pause.until
    assert log.entries[1].since == pytest.approx(pause.since)

    await write_overrides(database, [OverrideEnd(pause.id, now + 70, "person:ada")])
    await breakers.look(database, now + 80)
    after = await row(database)
    assert (after["state"], after["ended_by"], gauge("paused")) == ("fine", "person:ada", 0)
    # What led to it counts no more.
    assert after["counted_from"].timestamp() == (now + 80) // QUARTER * QUARTER + QUARTER
    await breakers.look(database, now + 90)
    assert ((await row(database))["state"], len(log.entries)) == ("fine", 2)


async def test_a_pause_that_the_broker_does_not_take_is_told_with_the_next_look(breakers, database, log, sent):
    await sent(10, 10)
    log.away = True
    now = time.time()
    await breakers.look(database, now)
    assert ((await row(database))["state"], (await row(database))["told_until"]) == ("paused", None)
    log.away = False
    await breakers.look(database, now + 15)
    (pause,) = log.entries
    assert (pause.id, pause.since) == ((await row(database))["override"], pytest.approx(now))
    assert (await row(database))["told_until"] is not None


async def test_mail_of_the_day_before_does_not_count(breakers, database, log, sent):
    await sent(10, 10)
    await breakers.look(database, time.time() + 86400 + QUARTER)
    assert await row(database) is None
