"""TLS with mail hosts, for the reports of RFC 8460: a table that the tracker alone writes."""

from sqlalchemy import BigInteger, Column, Date, Index, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY

from mailwarren.contracts.tls import TlsPolicy
from mailwarren.store.metadata import metadata, one_of

tls_results = Table(
    "tls_results",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("domain", Text, primary_key=True),
    Column("policy", Text, primary_key=True),
    Column("result", Text, primary_key=True),
    Column("mx", Text, primary_key=True),
    Column("ip", Text, primary_key=True),
    Column("sessions", BigInteger, nullable=False),
    Column("detail", Text, nullable=False, server_default=text("''")),
    Column("policy_string", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("mx_host", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    one_of("policy", TlsPolicy),
    comment=(
        "Writer: tracker. Negotiations of TLS by UTC day, policy domain and result (RFC 8460; empty: it went well),"
        " for the mail of a tenant. Kept as long as events."
    ),
)
Index("ix_tls_results_day", tls_results.c.day, tls_results.c.tenant)
