"""Negotiations of TLS, counted by day for the reports of RFC 8460."""

from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING
from uuid import UUID

from mailwarren.contracts.events import Event
from mailwarren.contracts.tls import TlsSession
from mailwarren.tracker.adapters.rows import array_text, columns, moment
from mailwarren.tracker.domain.sessions import told_by

if TYPE_CHECKING:
    from asyncpg import Connection, Record

_ADD = """
INSERT INTO tls_results AS r
  (tenant, day, domain, policy, result, mx, ip, sessions, detail, policy_string, mx_host)
SELECT tenant, day, domain, policy, result, mx, ip, sessions, detail, policy_string::text[], mx_host::text[]
FROM unnest($1::uuid[], $2::date[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int8[], $9::text[],
            $10::text[], $11::text[])
  AS t (tenant, day, domain, policy, result, mx, ip, sessions, detail, policy_string, mx_host)
ORDER BY tenant, day, domain, policy, result, mx, ip
ON CONFLICT (tenant, day, domain, policy, result, mx, ip) DO UPDATE
  SET sessions = r.sessions + excluded.sessions, detail = excluded.detail, policy_string = excluded.policy_string,
      mx_host = excluded.mx_host
"""
FORGET = "DELETE FROM tls_results WHERE day < current_date - $1::int"


async def add_sessions(connection: "Connection[Record]", events: Iterable[Event]) -> None:
    """Add what these events tell, inside of a transaction that records each of them for the first time."""
    counts: dict[tuple[UUID, date, str, str, str, str, str], tuple[int, TlsSession]] = {}
    for event in events:
        for session in told_by(event):
            # Of those that went well it is of no interest where.
            place = (session.mx, session.ip) if session.result else ("", "")
            key = event.tenant, moment(event.at).date(), session.domain, session.policy.value, session.result, *place
            counts[key] = counts.get(key, (0, session))[0] + 1, session
    if counts:
        rows = [
            (*key, number, last.text, array_text(last.policy_string), array_text(last.mx_host))
            for key, (number, last) in counts.items()
        ]
        await connection.execute(_ADD, *columns(rows, 11))
