"""What the endpoints work with; made by :mod:`mailwarren.ingest.main`."""

import asyncio
from dataclasses import dataclass, field

from mailwarren.ingest.adapters.api_logs import ApiLogs
from mailwarren.ingest.adapters.attachments import EmailAttachments
from mailwarren.ingest.adapters.blob_store import BlobStore
from mailwarren.ingest.adapters.broadcasts import Broadcasts
from mailwarren.ingest.adapters.broker import Broker
from mailwarren.ingest.adapters.domains import Domains
from mailwarren.ingest.adapters.email_metrics import EmailMetrics
from mailwarren.ingest.adapters.heartbeats import Heartbeats
from mailwarren.ingest.adapters.imports import Imports
from mailwarren.ingest.adapters.keys import Keys
from mailwarren.ingest.adapters.listings import Listings
from mailwarren.ingest.adapters.lists import Lists
from mailwarren.ingest.adapters.overrides import Overrides
from mailwarren.ingest.adapters.parked import Parked
from mailwarren.ingest.adapters.pauses import Pauses
from mailwarren.ingest.adapters.privacy import Privacy
from mailwarren.ingest.adapters.queue_looks import QueueLooks
from mailwarren.ingest.adapters.reads import Reads
from mailwarren.ingest.adapters.scheduled import Schedule
from mailwarren.ingest.adapters.sending_domains import SendingDomains
from mailwarren.ingest.adapters.suppression_lists import SuppressionLists
from mailwarren.ingest.adapters.templates import Templates
from mailwarren.ingest.adapters.tls_reports import TlsReports
from mailwarren.ingest.adapters.webhooks import Webhooks
from mailwarren.ingest.attach import Attacher
from mailwarren.ingest.domain.dns_records import Site
from mailwarren.ingest.domain.tracking_links import TrackingLinks
from mailwarren.ingest.domain.unsubscribe_links import Links
from mailwarren.ingest.hits import Tracked
from mailwarren.ingest.markup.compiler import Compiler
from mailwarren.ingest.submit import Submit
from mailwarren.ingest.told import Told
from mailwarren.ingest.verifying import Verifier
from mailwarren.runtime.health import Health
from mailwarren.runtime.room import Room
from mailwarren.runtime.vault import Vault


@dataclass(frozen=True, slots=True)
class DomainParts:
    """What ``/v1/domains`` works with."""

    rows: Domains
    sending: SendingDomains
    """All of them in memory, for mail."""
    verifier: Verifier
    site: Site
    tracking: TrackingLinks
    vault: Vault | None
    """None where no private key can be kept, or no sender get at it: no domain can be made then."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything behind the API."""

    submit: Submit
    broker: Broker
    keys: Keys
    reads: Reads
    listings: Listings
    overrides: Overrides
    heartbeats: Heartbeats
    queues: QueueLooks
    parked: Parked
    lists: Lists
    imports: Imports
    privacy: Privacy
    suppressions: SuppressionLists
    told: Told
    unsubscribe: Links
    tracked: Tracked
    templates: Templates
    compiler: Compiler
    schedule: Schedule
    broadcasts: Broadcasts
    domains: DomainParts
    tls_reports: TlsReports
    webhooks: Webhooks
    email_metrics: EmailMetrics
    pauses: Pauses
    api_logs: ApiLogs
    health: Health
    attached: EmailAttachments
    attacher: Attacher | None
    """None where there is no blob store: attachments are refused then."""
    store: BlobStore | None
    links: bytes
    """The key that download links are signed with."""
    max_body: int
    max_with_files: int
    """The same for a request that may carry attachments."""
    max_import: int
    """Of an uploaded file, which takes no such memory."""
    large_bodies: Room
    """The memory for those that are longer than ``max_body``."""
    private_webhooks: bool = False
    """Whether a webhook may be at a private address, or without TLS."""
    retry_scale: float = 1.0
    public_url: str = ""
    aside: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by who works with templates in a thread: several of them at once would leave the loop no time."""
