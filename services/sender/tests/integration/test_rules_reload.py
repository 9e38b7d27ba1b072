"""Rules of files, changed as a kubelet changes them, and what a real sink then sees of a sender's mail."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from mailwarren.contracts.events import Kind
from mailwarren.contracts.testing import a_delivery, a_parcel
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.sender.adapters.outcomes import OutcomeWriter
from mailwarren.sender.rules.book import RuleBook
from mailwarren.sender.settings import SenderSettings
from mailwarren.sender.transmit import Permit, Transmitter, Tried
from mailwarren.sender.wiring import build_routes, build_shaping, open_rules
from mailwarren.sink.server import Sink, running_sink

LOOK = 0.05
PERMIT = Permit(lambda: True, lambda _: True, None)


class ConfigMap:
    """A folder as a kubelet fills it: ``name -> ..data/name``, and ``..data`` renamed over with each change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._version = 0
        self._content: dict[str, str] = {}
        for name in ("shaping.toml", "replies.toml"):
            (folder / name).symlink_to(f"..data/{name}")

    def put(self, **content: str) -> None:
        self._content |= {f"{name}.toml": text for name, text in content.items()}
        self._version += 1
        version = self.folder / f"..2026_{self._version}"
        version.mkdir()
        for name, text in self._content.items():
            (version / name).write_text(text)
        (self.folder / "..data_tmp").symlink_to(version.name)
        (self.folder / "..data_tmp").replace(self.folder / "..data")


class SendingProcess:
    """What a sender process does with rules and mail, without its broker."""

    def __init__(self, settings: SenderSettings) -> None:
        self.rules: RuleBook = open_rules(settings)
        self.routes = build_routes(settings, self.rules)
        link = Link("amqp://unused.test/", "test")
        publisher, topology = Publisher(link), Topology("")
        shaping = build_shaping(settings, topology, link, publisher, rules=self.rules, fleet="", names=())
        self.pool = shaping.pool
        outcomes = OutcomeWriter(publisher, topology)
        self._transmitter = Transmitter(
            routes=self.routes,
            pool=self.pool,
            outcomes=outcomes,
            replies=lambda: self.rules.replies,
            shaper=shaping.shaper,
            automation=shaping.automation,
        )
        self.follow = asyncio.create_task(self.rules.follow(lambda: self.pool.adapt(self.routes.limits_of), LOOK))

    async def send(self, to: str) -> Tried:
        delivery = a_delivery(to)
        return await self._transmitter.transmit(a_parcel(deliveries=(delivery,)), delivery, PERMIT)


@pytest.fixture
def config(tmp_path: Path) -> ConfigMap:
    return ConfigMap(tmp_path)


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    script = {
        "personas": [
            {"domains": ["slow.test"], "dot_latency_ms": 20},
            {"domains": ["no.test"], "rules": [{"stage": "rcpt", "code": 550, "text": "The purple room is shut"}]},
        ]
    }
    async with running_sink(script=script, http=None) as sink:
        yield sink


@pytest.fixture
async def start(sink: Sink, config: ConfigMap) -> AsyncIterator[Callable[[], Awaitable[SendingProcess]]]:
    started: list[SendingProcess] = []

    async def start() -> SendingProcess:
        settings = SenderSettings(
            smtp_url=f"smtp://{sink.addresses.smtp}?tls=off",
            helo="sender.test",
            shaping_file=config.folder / "shaping.toml",
            replies_file=config.folder / "replies.toml",
        )
        started.append(SendingProcess(settings))
        return started[-1]

    yield start
    for process in started:
        process.follow.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await process.follow
        await process.pool.close(1.0)


def connections(count: int) -> str:
    return f"[sites.smarthost]\nconnections = {count}\n"


def valid(file: str) -> float | None:
    return REGISTRY.get_sample_value("mailwarren_sender_rules_valid", {"file": file})


def loaded_at(file: str) -> float:
    return REGISTRY.get_sample_value("mailwarren_sender_rules_loaded_timestamp_seconds", {"file": file}) or 0.0


async def test_the_sink_sees_as_many_connections_as_the_file_says_while_mail_flows(start, config, sink) -> None:
    config.put(shaping=connections(3))
    process = await start()
    done = False

    async def keep_sending(to: str) -> int:
        sent = 0
        while not done:
            assert (await process.send(to)).kind is Kind.DELIVERED
            sent += 1
        return sent

    tasks = [asyncio.create_task(keep_sending(f"u{n}@slow.test")) for n in range(30)]
    try:
        for count in (3, 12, 2):
            config.put(shaping=connections(count))
            await sink.wait_until(lambda stats, count=count: stats.connections_open == count, within=3)  # type: ignore[misc]
            await asyncio.sleep(2 * LOOK)
            assert sink.store.stats().connections_open == count
    finally:
        done = True
        sent = sum(await asyncio.gather(*tasks))
    stats = sink.store.stats()
    assert stats.accepted == sent
    assert stats.protocol_errors == {}
    assert stats.lost_in_data == 0
    # 12, of which 2 stay.
    assert stats.connections == 12


async def test_a_reply_rule_of_the_file_alters_the_outcome_of_the_next_mail(start, config, wait_until) -> None:
    config.put(replies="")
    process = await start()
    before = await process.send("a@no.test")
    assert (before.kind, before.attempt and before.attempt.bounce_class) == (Kind.FAILED, "unknown")

    rule = "[[rules]]\nclass = 'room_shut'\npermanent = '{}'\ntext = 'purple room'\n"
    config.put(replies=rule.format("deferred"))
    await wait_until(lambda: process.rules.replies[0].bounce_class == "room_shut")
    after = await process.send("a@no.test")
    assert (after.kind, after.attempt and after.attempt.bounce_class) == (Kind.DEFERRED, "room_shut")

    config.put(replies=rule.format("bounced") + "suppress = true\n")
    await wait_until(lambda: process.rules.replies[0].suppress)
    final = await process.send("a@no.test")
    assert (final.kind, final.suppress) == (Kind.BOUNCED, True)


async def test_a_broken_file_keeps_the_rules_in_force_and_is_said_once(start, config, wait_until) -> None:
    config.put(shaping=connections(3), replies="")
    process = await start()
    in_force, replies = process.rules.shaping, process.rules.replies
    assert (valid("shaping"), valid("replies")) == (1, 1)

    with capture_logs() as logs:
        config.put(shaping="[sites.smarthost]\nconnections = 0\n")
        await wait_until(lambda: valid("shaping") == 0)
        config.put(replies="")  # the same again, in another file
        await asyncio.sleep(4 * LOOK)
    assert process.rules.shaping is in_force
    assert process.rules.replies is replies
    assert valid("replies") == 1
    (line,) = [entry for entry in logs if entry["event"].startswith("sender.rules")]
    assert line["event"] == "sender.rules.refused"
    assert line["log_level"] == "error"
    assert line["reason"] == "[sites.smarthost] connections: Expected `int` >= 1"
    assert (await process.send("a@x.test")).kind is Kind.DELIVERED

    began = time.time()
    with capture_logs() as logs:
        config.put(shaping=connections(4))
        await wait_until(lambda: valid("shaping") == 1)
    (line,) = logs
    assert line["event"] == "sender.rules.loaded"
    assert (line["file"], line["count"], len(line["digest"])) == ("shaping", 12, 64)
    assert process.rules.shaping.policy("smarthost").limits.connections == 4
    assert loaded_at("shaping") >= began


async def test_a_file_that_is_taken_away_leaves_the_built_in_rules(start, config, wait_until) -> None:
    config.put(shaping=connections(3), replies="")
    process = await start()
    (config.folder / "shaping.toml").unlink()
    await wait_until(lambda: process.rules.shaping.policy("smarthost").limits.connections == 20)


@pytest.fixture
def wait_until() -> Callable[[Callable[[], Any]], Awaitable[None]]:
    async def wait(condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(3):
            while not condition():
                await asyncio.sleep(0.01)

    return wait
