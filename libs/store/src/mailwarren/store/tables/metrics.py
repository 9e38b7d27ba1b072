"""What became of mail, in counts, and which tenants it went badly for: tables that the tracker alone writes."""

from sqlalchemy import BigInteger, Column, DateTime, Index, Table, Text, Uuid, text

from mailwarren.contracts.counters import COUNTERS, NO_BROADCAST
from mailwarren.store.metadata import metadata, one_of
from mailwarren.store.states import BreakerState

Time = DateTime(timezone=True)

email_metrics = Table(
    "email_metrics",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("quarter", Time, primary_key=True),
    Column("domain", Text, primary_key=True),
    Column("broadcast", Uuid, primary_key=True, server_default=text(f"'{NO_BROADCAST}'")),
    *(Column(name, BigInteger, nullable=False, server_default=text("0")) for name in COUNTERS),
    comment=(
        "Writer: tracker. What became of deliveries, by the quarter of an hour in which it happened, the domain of "
        "their sender, and their broadcast (zeros: none). Written in the transaction that changes the deliveries. Kept "
        "as long as counts per minute."
    ),
    # The rows of now are updated all the time, and new versions of them are to fit beside them.
    postgresql_with={"fillfactor": "50"},
)
Index("ix_email_metrics_quarter", email_metrics.c.quarter, email_metrics.c.tenant)

breakers = Table(
    "breakers",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("state", Text, nullable=False),
    Column("since", Time, nullable=False),
    Column("decided", BigInteger, nullable=False),
    Column("bounced", BigInteger, nullable=False),
    Column("complained", BigInteger, nullable=False),
    Column("counted_from", Time),
    Column("override", Uuid),
    Column("told_until", Time),
    Column("ended_at", Time),
    Column("ended_by", Text),
    one_of("state", BreakerState),
    comment=(
        "Writer: tracker. Tenants of whose mail too much bounced or drew complaints, with the counts that said so: one "
        "row each, for ever. override: the entry of the control log that holds their bulk mail, until told_until "
        "unless it is told again. ended_at, ended_by: the last pause. counted_from: what came before it counts no more."
    ),
)
