"""What a worker can do: a job or an errand for each :class:`mailwarren.contracts.order.Work`."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from mailwarren.contracts.order import Order, Work
from mailwarren.ingest.adapters.blob_store import BlobStore
from mailwarren.ingest.adapters.dns import Dns
from mailwarren.ingest.adapters.domains import Domains
from mailwarren.ingest.adapters.retention import DELETED, Retention
from mailwarren.ingest.ops import broadcasts, importing, metrics, privacy
from mailwarren.ingest.ops.bench import REPEATED, Bench
from mailwarren.ingest.settings import OpsSettings
from mailwarren.ingest.verifying import Verifier, verify_due

Job = Callable[[Bench], Awaitable[str]]
"""Returns what it did, for Flower; a repeat finds what it left. Bounded statements, each a transaction of its own."""

Step = Callable[[], Awaitable[dict[str, int]]]
"""Deletes one batch; the first number says whether there may be more."""


@dataclass(frozen=True, slots=True)
class Errand:
    """Work about one row, the order's ``subject``. Unlike a job it has no period: its rows say when it is due."""

    carry_out: Callable[[Bench, Order], Awaitable[str]]
    """As a :data:`Job`. The row has to tell a repeat that is late from the run that it waits for."""
    give_up: Callable[[Bench, Order, str], Awaitable[None]]
    """Note in the row that the last try failed, and why: nobody else will."""


async def heartbeat(bench: Bench) -> str:
    """Nothing but a look at the database: that it came this far is what counts."""
    await bench.database.fetch("SELECT 1")
    metrics.record_heartbeat()
    return "alive"


async def retention(bench: Bench) -> str:
    """Delete in batches until nothing is past its time; a run that is cut short goes on with the next."""
    settings = bench.settings
    rows = Retention(bench.database, settings.retention_batch)
    gone: dict[str, int] = {}
    for step in _steps(rows, settings):
        while True:
            if bench.stopping():
                return f"{_told(gone)}; stopped before the end"
            batch = await step()
            for kind, number in batch.items():
                gone[kind] = gone.get(kind, 0) + number
                metrics.record_forgotten(kind, number)
            if next(iter(batch.values())) < settings.retention_batch:
                break
    return _told(gone)


def _steps(rows: Retention, settings: OpsSettings) -> list[Step]:
    steps: list[Step] = [rows.idempotency_keys]
    if settings.emails_days:
        steps.append(lambda: rows.emails(settings.emails_days))
        steps.append(lambda: rows.contents(settings.emails_days))
    if settings.attachments_days:
        steps.append(lambda: rows.attachments(settings.attachments_days))
    if settings.stats_days:
        steps.append(lambda: rows.stats(settings.stats_days))
        steps.append(lambda: rows.metrics(settings.stats_days))
    steps.append(lambda: rows.api_logs(settings.api_logs_days))
    steps += [partial(rows.deleted, kind) for kind in DELETED]
    steps += [rows.suppressions, rows.scheduled_mail]
    if settings.emails_days:
        steps.append(lambda: rows.scheduled(settings.emails_days))
        steps.append(lambda: rows.broadcasts(settings.emails_days))
    steps += [rows.scheduled_contents, rows.domains]
    steps += [rows.import_files, rows.import_uploads]
    steps.append(lambda: rows.privacy_parts(settings.export_days))
    if settings.privacy_days:
        steps.append(lambda: rows.privacy_requests(settings.privacy_days))
    if settings.imports_days:
        steps.append(lambda: rows.import_errors(settings.imports_days))
        steps.append(lambda: rows.imports(settings.imports_days))
    if settings.blob_url:
        store = BlobStore(settings.blob_url)
        steps.append(lambda: rows.blobs(store, settings.blobs_days))
    return steps


async def broadcast(bench: Bench, order: Order) -> str:
    """Make the mails of a broadcast and publish them, or a part of them: the scheduler orders the rest."""
    return await broadcasts.expand(bench.database, bench.settings, bench.stopping, order) or REPEATED


async def give_up_broadcast(bench: Bench, order: Order, trouble: str) -> None:
    """It waits for a person."""
    await broadcasts.give_up(bench.database, order, trouble)


async def domains(bench: Bench) -> str:
    """Look at the records of the domains that are due, some at a time."""
    settings = bench.settings
    table = Domains(bench.database, settings.site)
    verifier = Verifier(table, Dns(settings.resolver), settings.site, settings.dkim_overlap_days)
    return f"looked at {await verify_due(table, verifier, bench.stopping)} domains"


def _told(gone: Mapping[str, int]) -> str:
    return "deleted " + (", ".join(f"{number} {kind}" for kind, number in gone.items() if number) or "nothing")


JOBS: Mapping[Work, Job] = {Work.HEARTBEAT: heartbeat, Work.RETENTION: retention, Work.DOMAINS: domains}
"""Those that come again and again."""
ERRANDS: Mapping[Work, Errand] = {
    Work.IMPORT: Errand(importing.carry_out, importing.give_up),
    Work.BROADCAST: Errand(broadcast, give_up_broadcast),
    Work.PRIVACY: Errand(privacy.carry_out, privacy.give_up),
}
"""Those about a row."""


def periods(settings: OpsSettings) -> dict[str, float]:
    """The jobs that come again, with the seconds between two runs."""
    return {
        Work.HEARTBEAT: settings.heartbeat_every,
        Work.RETENTION: settings.retention_every,
        Work.DOMAINS: settings.domains_every,
    }
