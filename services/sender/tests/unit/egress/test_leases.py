"""A process's part of a day's number, asked for in a log that all processes read in one order."""

import asyncio
from collections.abc import Callable
from uuid import uuid4

import pytest

from mailwarren.contracts.egress import DAY, Reservation
from mailwarren.runtime.amqp import NotConnected
from mailwarren.sender.egress.leases import IDLE, Leases

TODAY = 20_414
KEY = ("out2", "google", TODAY)


class Log:
    """The control log, without a broker: what is written is heard by all, in one order, a moment later."""

    def __init__(self) -> None:
        self.entries: list[Reservation] = []
        self.readers: list[Callable[[Reservation], None]] = []
        self.now = TODAY * DAY + 60.0
        self.away = False
        self.silent = False

    async def write(self, entry: Reservation) -> None:
        if self.away:
            raise NotConnected("the broker is away")
        self.entries.append(entry)
        if not self.silent:
            asyncio.get_running_loop().call_soon(self.hear, entry)

    def hear(self, entry: Reservation) -> None:
        for reader in self.readers:
            reader(entry)

    def process(self, heard_within: float = 60.0) -> Leases:
        made = Leases(uuid4(), self.write, clock=lambda: self.now, heard_within=heard_within)
        for entry in self.entries:
            made.heard(entry)
        self.readers.append(made.heard)
        return made


@pytest.fixture
def log() -> Log:
    return Log()


async def take(leases: Leases, times: int, most: int = 100, key: tuple[str, str, int] = KEY) -> int:
    """How many of so many mails, all at once, were let go."""
    return sum(await asyncio.gather(*(leases.take(key, most) for _ in range(times))))


async def test_no_more_leave_than_the_number_however_many_processes_ask(log: Log) -> None:
    processes = [log.process() for _ in range(4)]
    assert sum(await asyncio.gather(*(take(one, 60) for one in processes))) == 100
    assert {one.taken(KEY) for one in processes} == {100}
    assert await take(processes[0], 3) == 0


async def test_mails_that_wait_together_ask_once_for_all(log: Log) -> None:
    leases = log.process()
    assert await take(leases, 5) == 5
    assert [entry.count for entry in log.entries] == [5]


async def test_a_process_that_starts_anew_knows_what_is_gone(log: Log) -> None:
    assert await take(log.process(), 80, most=90) == 80
    again = log.process()
    assert again.taken(KEY) == 80
    assert await take(again, 80, most=90) == 10


async def test_a_mail_that_was_not_sent_leaves_its_place_to_another(log: Log) -> None:
    leases = log.process()
    assert await take(leases, 10, most=10) == 10
    leases.give_back(KEY)
    assert await take(leases, 2, most=10) == 1


async def test_what_nobody_uses_goes_back_for_others(log: Log) -> None:
    idle, busy = log.process(), log.process()
    assert await take(idle, 1, most=1000) == 1
    assert busy.taken(KEY) == 50
    await idle.look()
    assert busy.taken(KEY) == 50
    log.now += IDLE + 1
    await idle.look()
    await asyncio.sleep(0)
    assert busy.taken(KEY) == 1
    assert await take(busy, 999, most=1000) == 999


async def test_a_process_that_ends_gives_all_of_it_back(log: Log) -> None:
    leases, other = log.process(), log.process()
    await take(leases, 3, most=1000)
    await leases.close()
    await asyncio.sleep(0)
    assert other.taken(KEY) == 3


async def test_a_new_day_has_a_number_of_its_own(log: Log) -> None:
    leases = log.process()
    assert await take(leases, 20, most=10) == 10
    log.now += DAY
    tomorrow = ("out2", "google", TODAY + 1)
    assert await take(leases, 20, most=15, key=tomorrow) == 15
    leases.give_back(KEY)
    assert leases.of_today() == {("out2", "google"): 15}
    await leases.look()
    assert log.entries[-1].day == TODAY + 1


async def test_without_the_broker_nothing_new_is_let_go(log: Log) -> None:
    leases = log.process()
    assert await take(leases, 1, most=1000) == 1
    log.away = True
    assert await take(leases, 60, most=1000) == 49


async def test_what_the_log_tells_late_is_ours_all_the_same(log: Log) -> None:
    leases = log.process(heard_within=0.05)
    log.silent = True
    assert await take(leases, 3) == 0
    (entry,) = log.entries
    log.hear(entry)
    log.away = True
    assert await take(leases, 9) == 5


async def test_who_stops_waiting_leaves_the_others_waiting(log: Log) -> None:
    leases = log.process()
    log.silent = True
    first = asyncio.create_task(leases.take(KEY, 100))
    second = asyncio.create_task(leases.take(KEY, 100))
    await asyncio.sleep(0.01)
    second.cancel()
    await asyncio.sleep(0)
    log.hear(log.entries[0])
    assert await first
    assert second.cancelled()
