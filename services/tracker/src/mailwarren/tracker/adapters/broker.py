"""The tracker's queues by name, and what it publishes."""

import asyncio
from typing import Any

import structlog

from mailwarren.contracts import codec
from mailwarren.contracts.ids import PARTITIONS
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.settle import Answer, Question
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import Link, Publisher, PublishError
from mailwarren.runtime.traceparent import trace_id_of
from mailwarren.tracker import metrics
from mailwarren.tracker.domain.read import EXCHANGE, FROM, KEY, REASON, Message, Source

log = structlog.get_logger()

ANSWER_TIMEOUT = 2.0
REASON_LENGTH = 1000
"""Characters of a reason at most: a broker's headers are no place for a traceback."""


def queues_of(topology: Topology) -> dict[str, Source]:
    """The tracker's queues by name."""
    return {
        **{topology.accepted_queue(lane).name: Source.ACCEPTED for lane in Lane},
        **{topology.events_queue(n).name: Source.EVENTS for n in range(PARTITIONS)},
        topology.tracker_dead_queue.name: Source.DEAD,
        topology.shaping_queue.name: Source.SHAPING,
    }


class BrokerOutbox:
    """Answers and dead letters over the link's confirmed publisher."""

    def __init__(self, link: Link, publisher: Publisher, topology: Topology) -> None:
        self._link = link
        self._publisher = publisher
        self._answers = topology.answers.name
        self._dead = topology.dead.name

    async def answer(self, question: Question, answer: Answer) -> None:
        """Send an answer to the asker's own queue; it may be lost, and then the question is put again."""
        try:
            # Right after a connect questions arrive before the publisher is open.
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await self._link.wait_up()
            await self._publisher.publish(
                self._answers if question.bound else "",
                question.reply_to,
                codec.encode(answer),
                codec.headers_of(answer),
                mandatory=False,
                timeout=ANSWER_TIMEOUT,
            )
        except (PublishError, TimeoutError, ValueError) as error:
            metrics.record_answer_lost()
            log.warning(
                "tracker.answer.lost",
                trace_id=trace_id_of(question.trace),
                question=str(question.id),
                error=f"{type(error).__name__}: {error}",
            )

    async def set_aside(self, message: Message, reason: str) -> None:
        """Return when the message is safe in ``mail.dead``, with what a replay needs.

        Raises:
            PublishError: it may be there or not.
        """
        # The broker's own headers stay behind: an old x-death makes it drop what it takes for a cycle.
        plain = str | int | float | bool | None
        kept: dict[str, Any] = {
            name: value
            for name, value in message.headers.items()
            if not name.startswith("x-") and isinstance(value, plain)
        }
        ours = {
            REASON: reason[:REASON_LENGTH].encode(errors="replace").decode(),
            FROM: message.queue,
            KEY: message.key,
            EXCHANGE: message.exchange,
        }
        await self._publisher.publish(self._dead, message.key, message.body, kept | ours)
