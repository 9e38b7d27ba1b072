"""Tracker and database: is the ledger up to date?"""

from mailwarren.dashboards.board import Board, Row
from mailwarren.dashboards.palette import OUTCOMES
from mailwarren.dashboards.panels import ANY_IS_BAD, Graph, Limits, Number
from mailwarren.dashboards.queries import (
    LANE,
    NAMESPACE,
    TRACKER_QUEUE,
    Query,
    cpu,
    mean,
    of_service,
    quantile,
    queues,
    rate,
    relabel,
    select,
)

_POD = "{{pod}} {{instance}}"

_NOW = Row(
    "Now",
    (
        Number(
            "Database",
            (Query(f"min ({select('mailwarren_tracker_database_up')})"),),
            shows="1 while the last use of Postgres by every tracker worked.",
            bad="0: Postgres is away or refuses. Mail goes out all the same, results wait in the broker.",
            unit="none",
            limits=Limits(bad=1, below=True),
            runbook="MailwarrenDatabaseAway",
        ),
        Number(
            "Behind by",
            (Query(quantile(0.95, "mailwarren_tracker_lag_seconds", window="[5m]")),),
            shows="Age of the oldest event of a batch when it is recorded, 95th percentile over five minutes.",
            bad="Minutes: what the API shows is that old. See the batches below for the reason.",
            unit="s",
            limits=Limits(5, 60),
            runbook="MailwarrenTrackerLag",
        ),
        Number(
            "Waiting for the tracker",
            (Query(f"sum ({queues('queue_messages_ready', TRACKER_QUEUE)})"),),
            shows="Messages in the queues that the tracker reads.",
            bad="At `MAILWARREN_MAX_TRACKER_DEPTH` (500,000) the API stops taking mail.",
            unit="short",
            limits=Limits(100_000, 500_000),
            runbook="MailwarrenTrackerLag",
        ),
        Number(
            "Events recorded",
            (Query(rate("mailwarren_tracker_events_total", LANE)),),
            shows="Events a second that were committed, each once.",
            bad="At nothing while mail is sent: the tracker is down, or waits for its schema (`mailwarren migrate`).",
            unit="ops",
            decimals=1,
        ),
        Number(
            "Set aside",
            (Query(f"sum ({select('mailwarren_tracker_set_aside_total')})"),),
            shows="Messages that cannot be recorded, put into `mail.dead`, since the trackers started.",
            bad="`undecodable`: not ours. `newer`: upgrade the tracker. `refused`: the database said no; see the log.",
            unit="short",
            limits=ANY_IS_BAD,
            runbook="MailwarrenDeadLettersGrow",
        ),
        Number(
            "Accepted unchecked",
            (Query(f"sum ({select('mailwarren_ingest_suppression_unchecked_total')})"),),
            shows="Requests that were accepted without a look at the suppression list, because Postgres was away.",
            bad="Some mail may go to suppressed addresses; senders still drop those they know of.",
            unit="short",
            limits=Limits(warning=1),
        ),
    ),
)

_RECORDING = Row(
    "Recording",
    (
        Graph(
            "Messages by source",
            (Query(rate("mailwarren_tracker_messages_total", by="source"), "{{source}}"),),
            shows="Messages a second that were recorded and acked: acceptances, events, dead letters.",
            bad="Under what the broker shows as waiting for long: Postgres is the limit, or the tracker's core.",
            unit="mps",
            stacked=True,
        ),
        Graph(
            "Events by kind",
            (
                Query(rate("mailwarren_tracker_events_total", LANE, by="kind"), "{{kind}}"),
                Query(rate("mailwarren_tracker_accepted_total", LANE), "accepted"),
            ),
            shows="Events a second that were committed, and deliveries whose acceptance was.",
            bad="`held`, `parked`, `unconfirmed` are for a person: `GET /v1/emails` finds the mails.",
            unit="ops",
            colours=OUTCOMES,
            stacked=True,
        ),
        Graph(
            "Lag",
            (
                Query(quantile(0.5, "mailwarren_tracker_lag_seconds"), "p50"),
                Query(quantile(0.95, "mailwarren_tracker_lag_seconds"), "p95"),
            ),
            shows="Age of the oldest event of a batch when it is recorded.",
            bad="Grows steadily: events come faster than they are written.",
            unit="s",
            limits=Limits(5, 60),
            runbook="MailwarrenTrackerLag",
        ),
        Graph(
            "Time of a batch",
            (
                Query(quantile(0.5, "mailwarren_tracker_batch_seconds"), "p50"),
                Query(quantile(0.95, "mailwarren_tracker_batch_seconds"), "p95"),
            ),
            shows="From the start of writing a batch to its ack.",
            bad="Over a second: Postgres is slow. Look for locks, autovacuum and its disk.",
            unit="s",
            limits=Limits(bad=1),
        ),
        Graph(
            "Rows in a batch",
            (Query(mean("mailwarren_tracker_batch_rows"), "mean"),),
            shows="Deliveries and events that are written at once. It grows with the load, up to "
            "`MAILWARREN_TRACKER_BATCH_ROWS`.",
            bad="At the maximum with a lag: the tracker is at its limit; a second one shares acceptances.",
            unit="short",
            decimals=0,
        ),
        Graph(
            "In hand",
            (Query(select("mailwarren_tracker_in_hand_bytes"), _POD),),
            shows="Octets of messages delivered to a tracker and not acked.",
            bad="At `MAILWARREN_TRACKER_OCTETS` with large contents: the prefetch beside it falls, as it should.",
            unit="bytes",
        ),
        Graph(
            "Prefetch",
            (Query(select("mailwarren_tracker_prefetch"), _POD),),
            shows="Messages that a tracker takes from each queue at most; less when they are large.",
            bad="Far under `MAILWARREN_TRACKER_PREFETCH` (400): messages are large. Give it memory and raise "
            "`MAILWARREN_TRACKER_OCTETS`.",
            unit="short",
        ),
        Graph(
            "Waiting, by queue",
            (
                Query(
                    f"topk(8, {relabel(queues('queue_messages_ready', TRACKER_QUEUE), 'short', '.*tracker[.](.+)')})",
                    "{{short}}",
                ),
            ),
            shows="The deepest queues of the tracker. Each event partition has one consumer at a time.",
            bad="One partition alone: its consumer is stuck. Restart that tracker; nothing is lost.",
            unit="short",
            runbook="MailwarrenTrackerLag",
        ),
    ),
)

_TROUBLES = Row(
    "Troubles",
    (
        Graph(
            "Database up",
            (Query(select("mailwarren_tracker_database_up"), _POD),),
            shows="1 while the last use of Postgres worked, by tracker.",
            bad="0 for one tracker only: its network. For all: Postgres.",
            unit="none",
            decimals=0,
            runbook="MailwarrenDatabaseAway",
        ),
        Graph(
            "Batches tried again, or left",
            (
                Query(rate("mailwarren_tracker_batch_retries_total"), "tried again"),
                Query(rate("mailwarren_tracker_batches_stale_total"), "left to the broker"),
            ),
            shows="Batches that Postgres did not take, and batches whose broker connection was gone.",
            bad="Both are harmless for a moment. `tried again` for minutes: the log has Postgres' own words.",
            unit="ops",
        ),
        Graph(
            "Reported again",
            (Query(rate("mailwarren_tracker_events_repeated_total"), "events"),),
            shows="Events a second that were recorded before: the price of at-least-once.",
            bad="Steady and high: something redelivers all the time. See *New broker connections* of *Senders*.",
            unit="ops",
        ),
        Graph(
            "Answers to senders",
            (
                Query(rate("mailwarren_tracker_answers_total", by="verdict"), "{{verdict}}"),
                Query(rate("mailwarren_tracker_answers_lost_total"), "not published"),
            ),
            shows="Deliveries that senders asked about before they try again.",
            bad="`not published`: the tracker's connection to the broker breaks; the senders ask again.",
            unit="ops",
        ),
        Graph(
            "Set aside, by reason",
            (
                Query(
                    f"sum by (source, reason) ({select('mailwarren_tracker_set_aside_total')})", "{{source}} {{reason}}"
                ),
            ),
            shows="Messages put into `mail.dead` since the trackers started.",
            bad="See the number above.",
            unit="short",
            limits=ANY_IS_BAD,
            runbook="MailwarrenDeadLettersGrow",
        ),
        Graph(
            "CPU of the trackers",
            (Query(cpu("tracker", "pod, instance"), f"{_POD} cores"),),
            shows="Cores that each tracker uses; one is the most.",
            bad="Near 1 with a lag: run a second tracker, which takes over partitions when this one stops and shares "
            "the acceptances.",
            unit="none",
            limits=Limits(0.8, 0.95),
            decimals=2,
        ),
        Graph(
            "Memory",
            (Query(of_service(select("process_resident_memory_bytes"), "tracker"), _POD),),
            shows="Resident memory of each tracker.",
            bad="Grows with `MAILWARREN_TRACKER_OCTETS` and the batch. Without end: report it, with the log.",
            unit="bytes",
        ),
        Graph(
            "How late the loop is, by tracker",
            (
                Query(
                    f"max by (pod, instance) {of_service(select('mailwarren_service_loop_lag_seconds'), 'tracker')}",
                    _POD,
                ),
            ),
            shows="The most that a tracker's loop came too late in the last minute.",
            bad="Over a second with a lag of the ledger: its CPU is throttled or taken by others.",
            unit="s",
            limits=Limits(0.5, 2),
        ),
    ),
)

_POSTGRES = Row(
    "Postgres by CloudNativePG",
    (
        Graph(
            "Connections",
            (Query(f"sum by (state) (cnpg_backends_total{{{NAMESPACE}}})", "{{state}}"),),
            shows="Backends by state.",
            bad="Near `max_connections`: lower `MAILWARREN_DATABASE_POOL` or the number of ingest pods.",
            unit="short",
            stacked=True,
        ),
        Graph(
            "Replication lag",
            (Query(f"max by (pod) (cnpg_pg_replication_lag{{{NAMESPACE}}})", "{{pod}}"),),
            shows="How far a standby is behind.",
            bad="Minutes: a failover would lose them unless replication is synchronous.",
            unit="s",
            limits=Limits(10, 60),
        ),
        Graph(
            "Size",
            (
                Query(
                    f'max by (datname) (cnpg_pg_database_size_bytes{{{NAMESPACE},datname!~"template.*|postgres"}})',
                    "{{datname}}",
                ),
            ),
            shows="Size of the database.",
            bad="Grows beyond the volume: shorten `MAILWARREN_TRACKER_EVENTS_DAYS`, or enlarge it.",
            unit="bytes",
        ),
        Graph(
            "Instances up",
            (Query(f"sum by (pod) (cnpg_collector_up{{{NAMESPACE}}})", "{{pod}}"),),
            shows="Instances whose exporter reaches Postgres.",
            bad="Fewer than the cluster has: `kubectl get cluster`.",
            unit="none",
        ),
    ),
    collapsed=True,
)

BOARD = Board(
    name="tracker",
    title="Tracker and database",
    about="Is the ledger up to date?",
    variables=("namespace", "broker", "lane"),
    rows=(_NOW, _RECORDING, _TROUBLES, _POSTGRES),
)
