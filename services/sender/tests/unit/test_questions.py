"""Asking the tracker needs a link, and waits for it: to have none is not to be unanswered."""

import asyncio
from typing import Any

from mailwarren.contracts.codec import decode_tracker, encode, headers_of
from mailwarren.contracts.settle import Answer, Question, Verdict
from mailwarren.contracts.testing import a_parcel
from mailwarren.contracts.topology import Topology
from mailwarren.sender.adapters.questions import Asker


class Broker:
    """A link and a publisher; whoever publishes a question has its answer at once."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.asked: list[Question] = []
        self.asker: Any = None

    def on_up(self, _: Any) -> None:
        """Nothing to listen to."""

    async def wait_up(self) -> None:
        await self.up.wait()

    async def publish(self, _exchange: str, _key: str, body: bytes, headers: dict[str, Any]) -> None:
        question = decode_tracker(body, headers)
        assert isinstance(question, Question)
        self.asked.append(question)
        answer = Answer(question.id, (Verdict.UNTOUCHED,))

        class Message:
            def __init__(self) -> None:
                self.body, self.headers = encode(answer), headers_of(answer)

        await self.asker._on_answer(Message())


async def test_a_question_waits_for_the_link() -> None:
    broker, parcel = Broker(), a_parcel()
    asker = broker.asker = Asker(broker, broker, Topology(), timeout=0.05)  # type: ignore[arg-type]
    asking = asyncio.create_task(asker.ask(parcel, list(parcel.deliveries), 1))
    await asyncio.sleep(0.2)
    assert not asking.done()
    assert broker.asked == []
    broker.up.set()
    assert await asking == (Verdict.UNTOUCHED,)
