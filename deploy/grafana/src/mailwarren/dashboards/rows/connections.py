"""A row of *Senders*: connections to mail servers, and parcels from the broker."""

from mailwarren.dashboards.board import Row
from mailwarren.dashboards.palette import GREEN, GREY
from mailwarren.dashboards.panels import Graph
from mailwarren.dashboards.queries import (
    LANE,
    PROVIDER,
    SHARD,
    Query,
    quantile,
    rate,
    share,
    total,
)

_ATTEMPTS = "mailwarren_sender_attempts_total"
_CHOSEN = (LANE, SHARD, PROVIDER)

ROW = Row(
    "Connections and parcels",
    (
        Graph(
            "SMTP connections",
            (Query(total("mailwarren_sender_smtp_connections", PROVIDER, by="state"), "{{state}}"),),
            shows="Open connections of all senders: busy, or idle and kept.",
            bad="All busy: the limit of connections holds you (`MAILWARREN_CONNECTIONS`, or the provider's).",
            unit="short",
            colours={"busy": GREEN, "idle": GREY},
            stacked=True,
        ),
        Graph(
            "Mails that wait for a connection",
            (Query(total("mailwarren_sender_smtp_waiting", PROVIDER, by="provider"), "{{provider}}"),),
            shows="Mails in hand for which no connection is free, by provider.",
            bad="One provider: its row in `shaping.toml` is the limit, or it answers slowly. More senders open more "
            "connections; ask first what the provider allows.",
            unit="short",
            stacked=True,
        ),
        Graph(
            "Connections that failed, by provider",
            (Query(rate("mailwarren_sender_smtp_dials_failed_total", PROVIDER, by="provider"), "{{provider}}"),),
            shows="Hosts a second that gave no SMTP session: refused, timed out, or no TLS where it is required.",
            bad="One provider: it turns you away, read `trouble` in a mail's timeline. All: your network, or port 25 "
            "is closed for you.",
            unit="ops",
            stacked=True,
        ),
        Graph(
            "Attempts for each connection opened",
            (
                Query(
                    share(
                        rate(_ATTEMPTS, *_CHOSEN, by="provider"),
                        rate("mailwarren_sender_smtp_connections_opened_total", PROVIDER, by="provider"),
                    ),
                    "{{provider}}",
                ),
            ),
            shows="How often a connection is used before it is closed.",
            bad="Near 1 every mail pays for TCP and TLS: the server closes early, or there are more senders than work.",
            unit="none",
            decimals=1,
        ),
        Graph(
            "One SMTP transaction, by provider",
            (
                Query(
                    quantile(0.95, "mailwarren_sender_attempt_seconds", LANE, PROVIDER, by="provider"),
                    "{{provider}} p95",
                ),
            ),
            shows="From MAIL to the reply after the final dot.",
            bad="One provider grows: it tarpits you, or is in trouble itself. All: your network, or the smarthost.",
            unit="s",
        ),
        Graph(
            "Parcels by how they ended",
            (Query(rate("mailwarren_sender_parcels_total", LANE, by="verdict"), "{{verdict}}"),),
            shows="`ack`: done with. `requeue`: handed back at a shutdown. `stale`: its connection to the broker was "
            "gone, and the parcel belongs to somebody else now.",
            bad="`stale` in numbers: the broker's connections break.",
            unit="ops",
            stacked=True,
        ),
    ),
)
