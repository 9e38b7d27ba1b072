"""Questions to the tracker, and their answers on an exclusive queue of this process (:mod:`contracts.settle`)."""

import asyncio
from uuid import UUID

import aio_pika
import structlog

from mailwarren.contracts.codec import NewerVersion, Undecodable, decode_answer, encode, headers_of
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.parcel import Delivery, Parcel
from mailwarren.contracts.routing import partition_key
from mailwarren.contracts.settle import Question, Verdict
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import Link, Publisher, PublishError
from mailwarren.sender import metrics

log = structlog.get_logger()


class Asker:
    """Puts questions into the event partitions and waits for the answers."""

    def __init__(self, link: Link, publisher: Publisher, topology: Topology, timeout: float) -> None:
        self._link = link
        self._publisher = publisher
        self._exchange = topology.events.name
        self._timeout = timeout
        self._me = new_id()
        self._topology = topology
        self._reply_to = ""
        self._open: dict[UUID, asyncio.Future[tuple[Verdict, ...]]] = {}
        link.on_up(self._listen)

    async def _listen(self, connection: aio_pika.abc.AbstractConnection) -> None:
        channel = await self._link.consumer_channel(connection)
        # A new name each time: the broker may hold the old connection, and its exclusive queue, for a while yet.
        name = self._topology.name(f"answers.{new_id().hex}")
        queue = await channel.declare_queue(name, exclusive=True, auto_delete=True)
        await queue.bind(self._topology.answers.name, routing_key=name)
        await queue.consume(self._on_answer, no_ack=True)
        self._reply_to = name

    async def _on_answer(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        try:
            answer = decode_answer(message.body, message.headers)
        except (Undecodable, NewerVersion) as error:
            log.warning("sender.answer.unreadable", error=str(error))
            return
        waiting = self._open.get(answer.question)
        if waiting and not waiting.done():
            waiting.set_result(answer.verdicts)

    async def ask(self, parcel: Parcel, deliveries: list[Delivery], count: int) -> tuple[Verdict, ...] | None:
        """One verdict for each delivery, or None when nobody answered in time.

        Without a link nobody is asked, and that is no silence: a parcel may be here before the link is up.
        """
        await self._link.wait_up()
        question = Question(
            id=new_id(),
            asker=self._me,
            reply_to=self._reply_to,
            deliveries=tuple(one.id for one in deliveries),
            attempt=parcel.attempt,
            turn=parcel.turn,
            count=count,
            bound=True,
            trace=parcel.trace,
        )
        loop = asyncio.get_running_loop()
        waiting, asked = loop.create_future(), loop.time()
        self._open[question.id] = waiting
        try:
            async with asyncio.timeout(self._timeout):
                await self._publisher.publish(
                    self._exchange, partition_key(parcel.partition), encode(question), headers_of(question)
                )
                verdicts: tuple[Verdict, ...] = await waiting
        except (TimeoutError, PublishError) as error:
            log.info("sender.settle.unanswered", parcel_id=str(parcel.id), error=type(error).__name__)
            metrics.record_settle_round(loop.time() - asked, answered=False)
            return None
        finally:
            del self._open[question.id]
        metrics.record_settle_round(loop.time() - asked, answered=True)
        return verdicts if len(verdicts) == len(deliveries) else None
