"""Messages cross between two threads; what comes back after a lost connection may not stop what comes later."""

import asyncio
import threading
from typing import Any

import pytest

from mailwarren.sender.engine.handover import Handover
from mailwarren.sender.incoming import Finish, Incoming


class Message:
    """What kombu hands over."""

    def __init__(self, number: int, done: list[tuple[str, int]]) -> None:
        self.number, self.done = number, done
        self.body, self.headers, self.delivery_tag = b"%d" % number, {}, number
        self.delivery_info = {"consumer_tag": "tag-1", "routing_key": "normal.h1", "redelivered": False}

    def ack_log_error(self, *_: Any, multiple: bool = False) -> None:
        self.done.append(("ack up to" if multiple else "ack", self.number))

    def reject_log_error(self, *_: Any, requeue: bool) -> None:
        self.done.append(("requeue" if requeue else "reject", self.number))


class Consumer:
    """A Celery consumer whose loop turns when the test says so."""

    connection_errors = (OSError,)

    class task_consumer:  # noqa: N801 - kombu's name
        _active_tags = {"send.normal.h1": "tag-1"}  # noqa: RUF012

    def __init__(self) -> None:
        self.soon: list[Any] = []

    def call_soon(self, call: Any) -> None:
        self.soon.append(call)

    def turn(self) -> None:
        soon, self.soon = self.soon, []
        for call in soon:
            call()


class Crossing:
    def __init__(self) -> None:
        self.handover, self.done = Handover(), []
        self.gates: dict[int, asyncio.Event] = {}
        self.seen: list[Incoming] = []
        self.work_of: dict[int, Finish] = {}
        self.handover.start(asyncio.get_running_loop(), self.work)

    async def work(self, incoming: Incoming) -> Finish:
        self.seen.append(incoming)
        number = int(incoming.body)
        if number in self.gates:
            await self.gates[number].wait()
        return self.work_of.get(number, Finish.ACK) if incoming.owned() else Finish.STALE

    async def send(self, *numbers: int) -> None:
        def submit() -> None:
            for number in numbers:
                self.handover.submit(Message(number, self.done))

        thread = threading.Thread(target=submit)
        thread.start()
        thread.join()
        await asyncio.sleep(0.03)


@pytest.fixture
async def crossing() -> Crossing:
    return Crossing()


async def test_a_burst_is_acked_in_one_turn(crossing: Crossing) -> None:
    consumer = Consumer()
    crossing.handover.attach(consumer)
    await crossing.send(1, 2, 3)
    assert len(consumer.soon) == 1
    consumer.turn()
    assert crossing.done == [("ack up to", 3)]
    assert crossing.handover.open == 0


async def test_the_queue_is_known_by_its_consumer_tag(crossing: Crossing) -> None:
    crossing.handover.attach(Consumer())
    await crossing.send(1)
    assert crossing.seen[0].queue == "send.normal.h1"


@pytest.mark.parametrize("ended", ["while away", "after", "before, unflushed"])
async def test_acks_go_on_after_a_lost_connection(crossing: Crossing, ended: str) -> None:
    """What was in flight then is nobody's to ack, and may not keep later acks from being done."""
    first, second = Consumer(), Consumer()
    crossing.handover.attach(first)
    if ended != "before, unflushed":
        crossing.gates[1] = asyncio.Event()
    await crossing.send(1)
    crossing.handover.lost()
    if ended == "while away":
        crossing.gates[1].set()
        await asyncio.sleep(0.03)
    crossing.handover.attach(second)
    if ended == "after":
        crossing.gates[1].set()
        await asyncio.sleep(0.03)
    await crossing.send(2, 3)
    first.turn()
    second.turn()
    await crossing.send(4)
    second.turn()
    assert crossing.done == [("ack up to", 3), ("ack", 4)]
    assert crossing.handover.open == 0


async def test_what_is_out_of_order_is_acked_alone(crossing: Crossing) -> None:
    consumer = Consumer()
    crossing.handover.attach(consumer)
    crossing.gates[2] = asyncio.Event()
    await crossing.send(1, 2, 3, 4)
    consumer.turn()
    assert crossing.done == [("ack", 1), ("ack", 3), ("ack", 4)]
    crossing.done.clear()
    crossing.gates[2].set()
    await crossing.send(5)
    consumer.turn()
    # 3 and 4 are settled, and an ack up to 5 means 2 and 5 alone.
    assert crossing.done == [("ack up to", 5)]


@pytest.mark.parametrize("end", [Finish.RELEASED, Finish.ACK, Finish.REQUEUE])
async def test_a_released_message_is_acked_once_while_its_work_goes_on(crossing: Crossing, end: Finish) -> None:
    consumer = Consumer()
    crossing.handover.attach(consumer)
    crossing.gates[1] = asyncio.Event()
    crossing.work_of[1] = end
    await crossing.send(1)
    releasing = asyncio.ensure_future(crossing.seen[0].release())
    await asyncio.sleep(0.03)
    assert not releasing.done()
    consumer.turn()
    assert (crossing.done, await releasing) == ([("ack", 1)], True)
    assert crossing.handover.open == 1, "a shutdown waits for its work"
    crossing.gates[1].set()
    await asyncio.sleep(0.03)
    consumer.turn()
    assert (crossing.done, crossing.handover.open) == ([("ack", 1)], 0)


@pytest.mark.parametrize("moment", ["before", "while it waits"])
async def test_what_cannot_be_acked_any_more_is_not_released(crossing: Crossing, moment: str) -> None:
    crossing.handover.attach(Consumer())
    crossing.gates[1] = asyncio.Event()
    await crossing.send(1)
    if moment == "before":
        crossing.handover.lost()
    releasing = asyncio.ensure_future(crossing.seen[0].release())
    await asyncio.sleep(0.03)
    crossing.handover.lost()
    async with asyncio.timeout(5):
        assert await releasing is False
    crossing.gates[1].set()
    await asyncio.sleep(0.03)
    crossing.handover.attach(Consumer())
    assert crossing.handover.open == 0


async def test_what_goes_back_is_not_acked_with_the_others(crossing: Crossing) -> None:
    consumer = Consumer()
    crossing.handover.attach(consumer)
    crossing.work_of[2] = Finish.REQUEUE
    await crossing.send(1, 2, 3)
    consumer.turn()
    assert crossing.done == [("requeue", 2), ("ack up to", 3)]
