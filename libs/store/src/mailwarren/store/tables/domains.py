"""Domains that tenants send from, and the keys that their mail is signed with. Ingest alone writes these tables.

A deleted domain stays as a row with ``deleted_at`` for a while: the API processes learn of every change by asking for
the rows that changed since they last asked.
"""

from sqlalchemy import Boolean, Column, DateTime, ForeignKeyConstraint, Index, LargeBinary, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from mailwarren.contracts.dkim import ED25519, RSA
from mailwarren.store.metadata import metadata, one_of
from mailwarren.store.states import DomainState, KeyState

Time = DateTime(timezone=True)
TLS = ("opportunistic", "enforced")

domains = Table(
    "domains",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("return_path", Text, nullable=False),
    Column("tls", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("findings", JSONB, nullable=False),
    Column("strict", Boolean, nullable=False, server_default=text("false")),
    Column("returns", Boolean, nullable=False, server_default=text("false")),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False, index=True),
    Column("checked_at", Time),
    Column("next_check_at", Time, nullable=False),
    Column("verified_at", Time),
    Column("failing_since", Time),
    Column("deleted_at", Time),
    Column("open_tracking", Boolean, nullable=False, server_default=text("false")),
    Column("click_tracking", Boolean, nullable=False, server_default=text("false")),
    Column("tracks", Boolean, nullable=False, server_default=text("false")),
    Column("tracking_subdomain", Text),
    one_of("tls", TLS),
    one_of("state", DomainState),
    comment=(
        "Writer: ingest. Sending domains (lower case, A-labels), kept until 30 days after their tenant deleted "
        "them. findings is what the DNS was last seen to say; strict: DMARC wants d= to be the very domain of From; "
        "returns: the records of the return path (a name below the domain) are there, so mail may name it as its "
        "sender. tracks: the record of the tracking host (tracking_subdomain below the domain) is there, so links may "
        "lead over it."
    ),
)
Index(
    "uq_domains_name",
    domains.c.tenant,
    domains.c.name,
    unique=True,
    postgresql_where=domains.c.deleted_at.is_(None),
)
Index("ix_domains_due", domains.c.next_check_at, postgresql_where=domains.c.deleted_at.is_(None))

domain_keys = Table(
    "domain_keys",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("domain", Uuid, primary_key=True),
    Column("selector", Text, primary_key=True),
    Column("algorithm", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("public", LargeBinary, nullable=False),
    Column("private", LargeBinary),
    Column("created_at", Time, nullable=False),
    Column("seen_at", Time),
    Column("retired_at", Time),
    Column("named_until", Time),
    ForeignKeyConstraint(["tenant", "domain"], ["domains.tenant", "domains.id"], ondelete="CASCADE"),
    one_of("algorithm", (RSA, ED25519)),
    one_of("state", KeyState),
    comment=(
        "Writer: ingest. DKIM keys: private is PKCS #8, encrypted with the first key of MAILWARREN_DATA_KEYS, and null "
        "once the key is retired; its row is deleted at named_until. public is what p= of its record says, decoded."
    ),
)
