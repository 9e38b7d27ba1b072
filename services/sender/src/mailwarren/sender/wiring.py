"""From settings to the SMTP engine's parts, and what keeps it within limits."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from aio_pika.abc import AbstractConnection

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.shaping import Notice
from mailwarren.contracts.topology import Topology
from mailwarren.runtime.amqp import Link, Publisher
from mailwarren.runtime.tasks import end
from mailwarren.sender import metrics
from mailwarren.sender.adapters.blobs import Blobs
from mailwarren.sender.adapters.control_log import ControlLog, ShapingWriter
from mailwarren.sender.adapters.dkim_keys import DkimKeys
from mailwarren.sender.adapters.internal import Internal
from mailwarren.sender.adapters.keeper_queue import KeeperQueue
from mailwarren.sender.adapters.notices import Notices
from mailwarren.sender.deliver import OPEN_BYTES
from mailwarren.sender.domain.in_force import InForce
from mailwarren.sender.egress.checks import Checks
from mailwarren.sender.egress.departures import Departures
from mailwarren.sender.egress.dns import Dns
from mailwarren.sender.egress.leases import Leases
from mailwarren.sender.rules.book import RuleBook
from mailwarren.sender.settings import SenderSettings
from mailwarren.sender.shaping.automation import Automation
from mailwarren.sender.shaping.heart import Heart, Vitals
from mailwarren.sender.shaping.keeper import Keeper
from mailwarren.sender.shaping.roll import Roll, shards_of
from mailwarren.sender.shaping.shaper import Shaper
from mailwarren.sender.shaping.shares import Shares
from mailwarren.sender.shaping.waiting import SHARE_OF_PREFETCH, WaitingRoom
from mailwarren.sender.signing.mails import Signer
from mailwarren.sender.smtp import (
    ClientSettings,
    Pool,
    Resolver,
    Routes,
    Shaping,
    SiteLimits,
    StsCache,
    Timeouts,
    TlsContexts,
    Watch,
    parse_smtp_url,
)


def build_pool(settings: SenderSettings, watch: Watch) -> Pool:
    """The connections of this process, within the limits that ``watch`` knows."""
    return Pool(
        ClientSettings(
            helo_name=settings.helo or socket.getfqdn(),
            contexts=TlsContexts(settings.tls_ca_file),
            timeouts=Timeouts(final_dot=settings.dot_timeout),
        ),
        watch=watch,
    )


def build_internal(settings: SenderSettings) -> Internal:
    """Ingest's internal HTTP."""
    # It logs every request at info level.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    token = settings.internal_token
    return Internal(settings.internal_url, None if token is None else token.get_secret_value())


def build_blobs(settings: SenderSettings, internal: Internal) -> Blobs:
    """The attachments."""
    return Blobs(internal, folder=settings.blob_folder, limit=settings.blob_cache)


def build_signer(settings: SenderSettings, internal: Internal) -> Signer:
    """What signs mail, with the keys that ingest has."""
    keys = DkimKeys(internal, limit=settings.dkim_domains, keep=settings.dkim_keep)
    return Signer(keys, settings.dkim_threads)


def open_rules(settings: SenderSettings) -> RuleBook:
    """The rules: ours, and the operator's files over them.

    Raises:
        RulesError: a file cannot be obeyed.
    """
    through = SiteLimits(
        connections=settings.connections,
        messages_per_connection=settings.messages_per_connection,
        behind=settings.mails_behind,
    )
    return RuleBook(
        shaping_file=settings.shaping_file,
        replies_file=settings.replies_file,
        smarthost=through,
        egress_file=settings.egress_file,
        egresses=settings.egresses,
    )


def build_routes(settings: SenderSettings, rules: RuleBook) -> Routes:
    """Through the smarthost when there is one, else to the recipients' mail hosts.

    Raises:
        ValueError: the SMTP URL or the resolver's address is wrong; the text says how, without the password.
    """

    def shaping() -> Shaping:
        return rules.shaping

    url = settings.smtp_url.get_secret_value() if settings.smtp_url else ""
    if url:
        return Routes(smarthost=parse_smtp_url(url), shaping=shaping)
    server, dane = settings.dnssec_resolver or settings.resolver, settings.dnssec_resolver is not None
    resolver = Resolver(
        [server] if server else None, private=settings.private_mx, tlsa_port=settings.mx_port if dane else None
    )
    policies = None
    if settings.mta_sts:
        policies = StsCache(resolver, TlsContexts(settings.tls_ca_file).verifying, fetched=metrics.record_sts_fetch)
    return Routes(resolver=resolver, mx_port=settings.mx_port, shaping=shaping, policies=policies)


@dataclass(frozen=True, slots=True)
class ShapingParts:
    """What keeps this process within the limits that all senders share."""

    control: ControlLog
    shares: Shares
    shaper: Shaper
    automation: Automation
    pool: Pool
    keeper: Keeper | None
    departures: Departures
    checks: Checks
    heart: Callable[[Callable[[], Vitals]], Heart]

    @contextlib.asynccontextmanager
    async def running(self, vitals: Callable[[], Vitals]) -> AsyncIterator[None]:
        """Inside, everything of it runs."""
        heart = self.heart(vitals)
        works = [self.shaper.run(), heart.run(), self.checks.run(), self.departures.run()]
        works += [self.keeper.run()] if self.keeper is not None else []
        tasks = [asyncio.create_task(work) for work in works]
        try:
            yield
        finally:
            await end(tasks)
            await self.shares.close()
            await self.departures.leases.close()
            await heart.stop()


def build_shaping(
    settings: SenderSettings,
    topology: Topology,
    link: Link,
    publisher: Publisher,
    *,
    rules: RuleBook,
    fleet: str,
    names: Sequence[str],
) -> ShapingParts:
    """The limits, and the connections under them; ``names`` are the queues that this process consumes."""
    queues = [name.removeprefix(topology.prefix) for name in names]
    direct = not (settings.smtp_url and settings.smtp_url.get_secret_value())
    me, in_force = new_id(), InForce()
    writer = ShapingWriter(publisher, topology)
    connections: list[AbstractConnection] = []
    roll = Roll(me, shards_of(queues))
    room = WaitingRoom(
        settings.held or 4 * settings.in_flight, OPEN_BYTES // 2, max(1, settings.prefetch // SHARE_OF_PREFETCH)
    )
    shares = Shares(
        topology=topology,
        in_force=in_force,
        roll=roll,
        shaping=lambda: rules.shaping,
        direct=direct,
        high=any(name.startswith("send.high.") for name in queues),
        write=writer.write,
        connection=lambda: connections[-1] if link.up else None,
        held=room.count,
        changed=room.look_again,
    )
    shaper = Shaper(shares, room, topology.ladder.scale)
    leases = Leases(me, writer.write)
    control = ControlLog(link, topology, shares.heard, leases.heard)
    checks = Checks(
        plan=lambda: rules.egress,
        mine=settings.egresses,
        dns=Dns(settings.dnssec_resolver or settings.resolver or None),
        gate=settings.egress_gate,
        every=settings.egress_check_every,
    )
    checks.bind()
    departures = Departures(
        plan=lambda: rules.egress,
        mine=settings.egresses,
        shaping=lambda: rules.shaping,
        leases=leases,
        checks=checks,
        elsewhere=lambda names, site: roll.has_open(names, site, asyncio.get_running_loop().time()),
    )
    said: set[asyncio.Task[None]] = set()

    def say(notice: Notice) -> None:
        task = asyncio.get_running_loop().create_task(notices.say(notice))
        said.add(task)
        task.add_done_callback(said.discard)

    automation = Automation(
        in_force,
        replies=lambda: rules.replies,
        named=lambda name: name in rules.shaping.names,
        impose=shares.impose,
        say=say,
    )

    def heard(notice: Notice) -> None:
        shares.noticed(notice)
        automation.noticed(notice)

    notices = Notices(link, publisher, topology, heard)

    async def connected(connection: AbstractConnection) -> None:
        connections[:] = [connection]
        shares.connected()

    link.on_up(connected)
    pool = shares.pool = build_pool(settings, shares)
    keeper = None
    if direct:
        keeper = Keeper(
            queue=KeeperQueue(link, publisher, topology),
            writer=writer,
            in_force=in_force,
            shaping=lambda: rules.shaping,
            ready=lambda: control.read,
            lacks=lambda site, slots: roll.lacks(site, slots, asyncio.get_running_loop().time()),
        )

    def heart(vitals: Callable[[], Vitals]) -> Heart:
        return Heart(
            me=me,
            fleet=fleet,
            queues=queues,
            notices=notices,
            pool=pool,
            shaper=shaper,
            vitals=vitals,
            egresses=departures.states,
            egress_routes=departures.routes,
        )

    return ShapingParts(control, shares, shaper, automation, pool, keeper, departures, checks, heart)
