"""The files of a mail over a real dialogue: open while its site takes it, and not before or after."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mailwarren.contracts.events import Kind
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.parcel import Attachment
from mailwarren.contracts.shaping import Override, Scope
from mailwarren.contracts.testing import a_content, a_parcel
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.sender.adapters.blobs import BlobsAway
from mailwarren.sender.adapters.outcomes import OutcomeWriter
from mailwarren.sender.domain.mime import File
from mailwarren.sender.domain.render import base64_lines
from mailwarren.sender.settings import SenderSettings
from mailwarren.sender.shaping.shaper import SlowSite
from mailwarren.sender.transmit import Permit, Transmitter, Tried
from mailwarren.sender.wiring import build_routes, build_shaping, open_rules

LINES = base64_lines(bytes(range(256)) * 10)
FILE = File(Attachment("a.bin", "application/octet-stream", "0" * 64, 2560), memoryview(LINES))
PARCEL = a_parcel(content=a_content(attachments=(FILE.attachment,)))


class Process:
    """What a sender process does with a mail that has files, without its broker and where they come from."""

    def __init__(self, there: Any) -> None:
        self.there = there
        settings = SenderSettings(smtp_url=f"smtp://127.0.0.1:{there.port}?tls=off", helo="sender.test")
        rules = open_rules(settings)
        publisher, topology = Publisher(link := Link("amqp://unused.test/", "test")), Topology()
        self.shaping = build_shaping(settings, topology, link, publisher, rules=rules, fleet="", names=())
        self._transmitter = Transmitter(
            routes=build_routes(settings, rules),
            pool=self.shaping.pool,
            outcomes=OutcomeWriter(publisher, topology),
            replies=lambda: rules.replies,
            shaper=self.shaping.shaper,
            automation=self.shaping.automation,
        )
        self.opened = self.open = 0
        self.bring: Callable[[], None] = lambda: None

    @asynccontextmanager
    async def _files(self) -> AsyncIterator[Sequence[File]]:
        self.opened += 1
        self.bring()
        self.open += 1
        try:
            yield [FILE]
        finally:
            self.open -= 1

    async def send(self) -> Tried:
        permit = Permit(lambda: True, lambda _: True, None, files=self._files)
        return await self._transmitter.transmit(PARCEL, PARCEL.deliveries[0], permit)

    def suspend(self) -> None:
        now = time.time()
        override = Override(new_id(), Scope.TENANT, str(PARCEL.tenant), now - 1, now + 60, suspend=True, cause="person")
        self.shaping.shares.in_force.apply(override, now)

    async def close(self) -> None:
        await self.shaping.pool.close(1.0)
        await self.shaping.shares.close()


@pytest.fixture
async def process(nothing_leaks: None, server) -> AsyncIterator[Process]:
    made = Process(await server())
    yield made
    await made.close()


async def test_they_are_open_while_the_mail_is_written(process) -> None:
    open_then = []

    async def before_data(_: object) -> None:
        open_then.append(process.open)

    process.there.before_data = before_data
    assert (await process.send()).kind is Kind.DELIVERED
    assert (open_then, process.opened, process.open) == ([1], 1, 0)
    [mail] = process.there.mails
    assert LINES in mail.data


async def test_they_are_not_opened_for_a_mail_that_has_to_wait(process) -> None:
    process.suspend()
    with pytest.raises(SlowSite):
        await process.send()
    assert (process.opened, process.there.sessions) == (0, [])


async def test_a_mail_that_has_to_wait_by_the_time_they_are_there_gives_them_back(process) -> None:
    process.bring = process.suspend
    with pytest.raises(SlowSite):
        await process.send()
    assert (process.opened, process.open, process.there.sessions) == (1, 0, [])


async def test_no_connection_waits_for_them(process) -> None:
    def away() -> None:
        raise BlobsAway("ingest answered 503")

    process.bring = away
    with pytest.raises(BlobsAway):
        await process.send()
    assert process.there.sessions == []
