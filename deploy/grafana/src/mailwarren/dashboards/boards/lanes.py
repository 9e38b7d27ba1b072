"""Lanes and SLO: does each lane keep its promise, and what takes the time?"""

from mailwarren.dashboards.board import Board, Row
from mailwarren.dashboards.palette import LANES
from mailwarren.dashboards.panels import ANY_IS_BAD, Graph, Heat, Limits, Number
from mailwarren.dashboards.queries import (
    LANE,
    RATE,
    SEND_QUEUE,
    Query,
    burn,
    by_lane,
    in_time,
    quantile,
    queues,
    rate,
    select,
    share,
    total,
)

_TO_250 = "mailwarren_tracker_accept_to_250_seconds"
_EVENTS = "mailwarren_tracker_events_total"
_ENDED = 'kind!~"deferred|started|parked|unconfirmed"'
_PROMISE = "Promise: 99 % of delivered mail within 10 s (high), 60 s (normal), 15 minutes (bulk) of its acceptance."


def _kept(window: str) -> str:
    return share(in_time(window), rate(f"{_TO_250}_count", LANE, by="lane", window=window))


_SLO = Row(
    "Service level",
    (
        Number(
            "In time, over the range shown",
            (Query(_kept("[$__range]"), "{{lane}}", instant=True),),
            shows=f"Share of delivered deliveries that were fast enough. {_PROMISE}",
            bad="Under 99 % the promise is broken for this range. The burn rates say whether it still is.",
            unit="percentunit",
            limits=Limits(0.995, 0.99, below=True),
            width=12,
            decimals=2,
            runbook="MailwarrenHighLaneFastBurn",
        ),
        Number(
            "95th percentile, now",
            (Query(quantile(0.95, _TO_250, LANE, by="lane", window="[5m]"), "{{lane}}"),),
            shows="Acceptance to 250 over the last five minutes.",
            bad="Compare *First attempt* with *250*: when both are late, mail waits in our queues; when only the "
            "second is, it waits on the ladder because servers defer.",
            unit="s",
            width=12,
            decimals=2,
        ),
        Graph(
            "Error budget burn, last hour",
            (Query(burn("[1h]"), "{{lane}}"),),
            shows="How many times too fast the budget of late mail is used. 1 uses it up exactly in 30 days.",
            bad="Over 14.4 a month's budget is gone in two days: act now. Add senders to the lane's fleet, or find "
            "the provider that is slow.",
            unit="none",
            limits=Limits(6, 14.4),
            colours=LANES,
            decimals=1,
            runbook="MailwarrenHighLaneFastBurn",
        ),
        Graph(
            "Error budget burn, last six hours",
            (Query(burn("[6h]"), "{{lane}}"),),
            shows="The same over six hours, which forgives a short trouble.",
            bad="Over 6 the month's budget is gone in five days: act today.",
            unit="none",
            limits=Limits(1, 6),
            colours=LANES,
            decimals=1,
            runbook="MailwarrenHighLaneFastBurn",
        ),
    ),
)

_LATENCY = Row(
    "Where the time goes",
    (
        Graph(
            "Acceptance to 250",
            tuple(
                Query(quantile(q, _TO_250, LANE, by="lane"), f"{{{{lane}}}} p{q * 100:g}") for q in (0.5, 0.95, 0.99)
            ),
            shows="Percentiles of the whole way, by lane, as recorded in the ledger.",
            bad="Look at the two graphs beside it for the part that grew.",
            unit="s",
        ),
        Graph(
            "Acceptance to the end of the first attempt",
            tuple(
                Query(
                    quantile(q, "mailwarren_sender_accept_to_first_attempt_seconds", LANE, by="lane"),
                    f"{{{{lane}}}} p{q * 100:g}",
                )
                for q in (0.5, 0.95)
            ),
            shows="How long mail waits in our own queues and in a sender, with one SMTP transaction.",
            bad="Grows: too few senders for this lane (`kubectl scale`, or raise the autoscaler's maximum).",
            unit="s",
        ),
        Graph(
            "Acceptance to 250, as senders see it",
            tuple(
                Query(
                    quantile(q, "mailwarren_sender_accept_to_delivered_seconds", LANE, by="lane"),
                    f"{{{{lane}}}} p{q * 100:g}",
                )
                for q in (0.5, 0.95)
            ),
            shows="The whole way by the senders' own clocks, retries included, before the tracker has recorded it.",
            bad="Far under *Acceptance to 250*: the tracker is behind. Far over it: look at the senders' clocks.",
            unit="s",
            width=8,
            runbook="MailwarrenClockSkew",
        ),
        Graph(
            "One SMTP transaction",
            tuple(
                Query(quantile(q, "mailwarren_sender_attempt_seconds", LANE, by="lane"), f"{{{{lane}}}} p{q * 100:g}")
                for q in (0.5, 0.95)
            ),
            shows="From MAIL to the reply after the final dot.",
            bad="Grows: the receiving servers are slow. More connections help only while they allow them.",
            unit="s",
            width=8,
        ),
        Heat(
            "Acceptance to 250, spread",
            (Query(f"sum by (le) (increase({select(f'{_TO_250}_bucket', LANE)}{RATE}))", "{{le}}"),),
            shows="Delivered deliveries by how long they took, of the chosen lanes.",
            bad="A second band above the first is mail that was deferred once, and waited on the ladder.",
            unit="s",
            width=8,
        ),
    ),
)

_LOAD = Row(
    "Load of each lane",
    (
        Graph(
            "Accepted less ended",
            (
                Query(
                    f"{rate('mailwarren_ingest_accepted_deliveries_total', LANE, by='lane')} - "
                    f"{rate(_EVENTS, LANE, _ENDED, by='lane')}",
                    "{{lane}}",
                ),
            ),
            shows="By how much the backlog of a lane grows (above 0) or shrinks, in deliveries a second.",
            bad="Above 0 for long: the lane's fleet cannot keep up. Scale it.",
            unit="mps",
            colours=LANES,
            lowest=None,
        ),
        Graph(
            "Parcels ready, by lane",
            (Query(by_lane(queues("queue_messages_ready", SEND_QUEUE), "send"), "{{lane}}"),),
            shows="Parcels in the send queues that no sender has taken. A parcel holds up to 50 deliveries.",
            bad="High above nothing is trouble within seconds; bulk may hold many.",
            unit="short",
            colours=LANES,
        ),
        Graph(
            "Put on the ladder, by reason",
            (Query(rate("mailwarren_sender_ladder_total", LANE, by="lane, wait"), "{{lane}} {{wait}}"),),
            shows="Parcels a second that wait for a later try: deferred by a server, on another hop of a long wait, "
            "or unsettled because the tracker did not answer.",
            bad="`unsettled`: the tracker is behind or away. `deferred`: *Providers and shaping* says by whom.",
            unit="ops",
        ),
        Graph(
            "Sent although the tracker did not answer",
            (
                Query(
                    f"{total('mailwarren_sender_sent_unsettled_total', LANE, by='lane')} or "
                    f"0 * {rate('mailwarren_sender_parcels_total', LANE, by='lane')}",
                    "{{lane}}",
                ),
            ),
            shows="Deliveries sent since the senders started without knowing whether they were sent before: their "
            "patience ended.",
            bad="Any growth may be mail that arrives twice. Bring the tracker and Postgres back.",
            unit="short",
            colours=LANES,
            limits=ANY_IS_BAD,
            runbook="MailwarrenSentUnsettled",
        ),
    ),
)

BOARD = Board(
    name="lanes",
    title="Lanes and SLO",
    about="Does each lane keep its promise, and what takes the time?",
    variables=("namespace", "broker", "lane", "shard"),
    rows=(_SLO, _LATENCY, _LOAD),
)
