"""Queues and shards: what waits where, who takes it, and how the broker is."""

from mailwarren.dashboards.board import Board, Row
from mailwarren.dashboards.palette import BLUE, GREEN, LANES, RED
from mailwarren.dashboards.panels import ANY_IS_BAD, Bars, Graph, Limits, Number, Table
from mailwarren.dashboards.queries import (
    BROKER,
    LADDER_QUEUE,
    LANE,
    PARKING_QUEUE,
    RATE,
    SEND_QUEUE,
    TRACKER_QUEUE,
    Query,
    by_lane,
    queues,
    rate,
    relabel,
    select,
    total,
)
from mailwarren.dashboards.rows import background

_READY, _UNACKED, _CONSUMERS = "queue_messages_ready", "queue_messages_unacked", "queue_consumers"

_TRACKER_KIND = "(?:.+[.])?tracker[.]([^.]+)[.].+"


def _broker(metric: str, by: str = "") -> str:
    return f"sum{f' by ({by})' if by else ''} (rabbitmq_{metric}{{{BROKER}}})"


_SENDING = Row(
    "Send queues",
    (
        Number(
            "Send queues without a consumer",
            (Query(f"sum ({queues(_CONSUMERS, SEND_QUEUE)} == bool 0)"),),
            shows="Of the chosen lanes and shards. Every queue needs a fleet that consumes it.",
            bad="A fleet has no running sender, or no fleet names this queue in its `-Q`. The table below lists them.",
            unit="short",
            limits=ANY_IS_BAD,
            runbook="MailwarrenQueueWithoutConsumer",
        ),
        Number(
            "Parcels ready",
            (Query(f"sum ({queues(_READY, SEND_QUEUE)})"),),
            shows="In the chosen send queues. A parcel holds up to 50 deliveries.",
            bad="Growing: too few senders, or their provider does not take more.",
            unit="short",
        ),
        Number(
            "Parcels with senders",
            (Query(f"sum ({queues(_UNACKED, SEND_QUEUE)})"),),
            shows="Delivered to senders and not acked: at most prefetch x queues x senders.",
            bad="At that bound while few mails leave: senders wait for servers. See *Senders*.",
            unit="short",
        ),
        Number(
            "On the ladder",
            (Query(f"sum ({queues(_READY, LADDER_QUEUE)})"),),
            shows="Parcels that wait for their next try.",
            bad="Grows for hours: a provider defers everything. See *Providers and shaping*.",
            unit="short",
        ),
        Number(
            "Queues missing",
            (Query(f"max ({select('mailwarren_ingest_missing_queues')})"),),
            shows="Queues of the topology that do not exist, as ingest sees it.",
            bad="Run `mailwarren topology apply`; nothing else declares anything.",
            unit="short",
            limits=ANY_IS_BAD,
            runbook="MailwarrenMissingQueues",
        ),
        Number(
            "Queues that do not answer",
            (Query(f"max ({select('mailwarren_ingest_unknown_depths')})"),),
            shows="Queues whose depth ingest could not read for a while: perhaps without a leader.",
            bad="For longer than a minute: a RabbitMQ node is away. `rabbitmq-queues quorum_status QUEUE` names it.",
            unit="short",
            limits=ANY_IS_BAD,
            runbook="MailwarrenDepthsUnknown",
        ),
        Graph(
            "Ready by lane",
            (Query(by_lane(queues(_READY, SEND_QUEUE), "send"), "{{lane}}"),),
            shows="Parcels that no sender has taken.",
            bad="High: scale that fleet at once. A queue over `MAILWARREN_MAX_DEPTH` gets no more mail from the API.",
            unit="short",
            colours=LANES,
            runbook="MailwarrenShardStuck",
        ),
        Graph(
            "Ready by shard",
            (Query(f"sum by (shard) ({relabel(queues(_READY, SEND_QUEUE), 'shard', '.+[.]([^.]+)')})", "{{shard}}"),),
            shows="The same by shard: a big provider has one of its own, the rest share `h0` to `h7`.",
            bad="One shard alone: that provider defers or is slow. All hashed ones: senders are too few.",
            unit="short",
            runbook="MailwarrenShardStuck",
        ),
        Bars(
            "Deepest send queues",
            (Query(f"topk(12, {queues(_READY, SEND_QUEUE)})", "{{queue}}"),),
            shows="The twelve with most ready parcels, now.",
            bad="Compare with *Consumers*: without one it is a missing fleet, with one it is a slow provider.",
            unit="short",
            limits=Limits(50_000, 200_000),
            runbook="MailwarrenShardStuck",
        ),
        Table(
            "Consumers and depth of each send queue",
            (
                Query(queues(_CONSUMERS, SEND_QUEUE)),
                Query(queues(_READY, SEND_QUEUE)),
                Query(queues(_UNACKED, SEND_QUEUE)),
            ),
            shows="Senders that consume the queue, parcels ready, parcels with senders.",
            bad="0 consumers: start the fleet, or add the queue to one.",
            unit="short",
            columns=("Consumers", "Ready", "With senders"),
            labels=("queue",),
            runbook="MailwarrenQueueWithoutConsumer",
        ),
    ),
)

_OTHERS = Row(
    "Ladder, tracker and dead letters",
    (
        Graph(
            "On the ladder, by lane",
            (Query(by_lane(queues(_READY, LADDER_QUEUE), "ladder"), "{{lane}}"),),
            shows="Parcels on all rungs of a lane.",
            bad="A wave is a provider's trouble and ebbs by itself. Without ebb: look for the provider.",
            unit="short",
            colours=LANES,
        ),
        Graph(
            "On the ladder, by rung",
            (
                Query(
                    f"sum by (rung) ({relabel(queues(_READY, LADDER_QUEUE), 'rung', '.+[.]([^.]+)')} > 0)", "{{rung}}"
                ),
            ),
            shows="By how long a rung holds a parcel.",
            bad="Only long rungs are filled: mail is at the end of its budget and will expire.",
            unit="short",
            stacked=True,
        ),
        Graph(
            "Waiting for the tracker",
            (
                Query(
                    f"sum by (kind) ({relabel(queues(_READY, TRACKER_QUEUE), 'kind', _TRACKER_KIND)})",
                    "{{kind}}",
                ),
            ),
            shows="Acceptances and events that are not yet in Postgres.",
            bad="Grows: Postgres or the tracker is slow or away. Mail still goes out; at "
            "`MAILWARREN_MAX_TRACKER_DEPTH` the API stops taking it.",
            unit="short",
            limits=Limits(100_000, 500_000),
            runbook="MailwarrenTrackerBacklog",
        ),
        Graph(
            "Dead letters and unrouted",
            (Query(queues("queue_messages_ready", PARKING_QUEUE), "{{queue}}"),),
            shows="Messages that nobody can go on with.",
            bad="`mailwarren dead list` says why. `mail.unrouted`: a message with a key that no queue knows, a mistake "
            "of ours.",
            unit="short",
            limits=ANY_IS_BAD,
            runbook="MailwarrenDeadLettersGrow",
        ),
        Graph(
            "Refused for want of room",
            (Query(rate("mailwarren_ingest_no_room_total", by="cause"), "{{cause}}"),),
            shows="Emails a second that got 503, by the mark that was reached.",
            bad="The cause names the lane and shard, the tracker, or the broker's alarm: help that one.",
            unit="ops",
            runbook="MailwarrenNoRoom",
        ),
        Graph(
            "Depth as ingest reads it",
            (
                Query(f"max by (lane) ({select('mailwarren_ingest_send_depth', LANE)})", "{{lane}}"),
                Query(f"max ({select('mailwarren_ingest_tracker_depth')})", "tracker"),
            ),
            shows="What the API decides by, read every second; the broker's own figures lag by up to five.",
            bad="Differs from the broker's for long: ingest cannot read the queues. Its log names them.",
            unit="short",
            colours=LANES,
        ),
    ),
)

_BROKER = Row(
    "RabbitMQ",
    (
        Graph(
            "Memory",
            (
                Query(_broker("process_resident_memory_bytes", "instance"), "{{instance}} used"),
                Query(_broker("resident_memory_limit_bytes", "instance"), "{{instance}} alarm"),
            ),
            shows="Resident memory of each node, and where it stops all publishers.",
            bad="Over 80 % of the alarm the API answers 503. Drain queues, or give the nodes memory.",
            unit="bytes",
            runbook="MailwarrenBrokerMemoryHigh",
        ),
        Graph(
            "Free disk",
            (
                Query(_broker("disk_space_available_bytes", "instance"), "{{instance}} free"),
                Query(_broker("disk_space_available_limit_bytes", "instance"), "{{instance}} alarm"),
            ),
            shows="Free space for each node's data, and where it stops all publishers.",
            bad="Falling towards the alarm: drain queues, or enlarge the volume.",
            unit="bytes",
            runbook="MailwarrenBrokerDiskLow",
        ),
        Graph(
            "Messages through the broker",
            (
                Query(f"sum (rate(rabbitmq_global_messages_received_total{{{BROKER}}}{RATE}))", "received"),
                Query(f"sum (rate(rabbitmq_global_messages_confirmed_total{{{BROKER}}}{RATE}))", "confirmed"),
                Query(f"sum (rate(rabbitmq_global_messages_delivered_total{{{BROKER}}}{RATE}))", "delivered"),
                Query(f"sum (rate(rabbitmq_global_messages_redelivered_total{{{BROKER}}}{RATE}))", "redelivered"),
            ),
            shows="Messages a second over all queues and nodes.",
            bad="`redelivered` above 0: a sender or the tracker lost its connection or died. `confirmed` far under "
            "`received`: disks are slow.",
            unit="mps",
            colours={"received": BLUE, "confirmed": "#8AB8FF", "delivered": GREEN, "redelivered": RED},
        ),
        Graph(
            "Connections, channels, consumers",
            (
                Query(_broker("connections"), "connections"),
                Query(_broker("channels"), "channels"),
                Query(_broker("consumers"), "consumers"),
            ),
            shows="Over all nodes. Every service keeps a handful of connections open for ever.",
            bad="A saw-tooth: something connects again and again. Its log says why.",
            unit="short",
        ),
        Graph(
            "CPU of the broker",
            (
                Query(
                    f"sum by (instance) (rate(erlang_vm_statistics_runtime_milliseconds{{{BROKER}}}{RATE})) / 1000",
                    "{{instance}}",
                ),
            ),
            shows="Cores that each node's Erlang machine uses.",
            bad="At the number of its cores: the broker is the limit. More nodes spread the queues' leaders.",
            unit="none",
            decimals=2,
        ),
        Number(
            "Alarms",
            (Query(f'sum ({{__name__=~"rabbitmq_alarms_.+",{BROKER}}})'),),
            shows="Memory, disk and file-descriptor alarms that are on.",
            bad="While one is on no publisher gets a confirm: the API answers 503 and outcomes wait in the senders.",
            unit="short",
            limits=ANY_IS_BAD,
            width=6,
            height=8,
            runbook="MailwarrenBrokerAlarm",
        ),
        Number(
            "Reports that wait for the broker",
            (
                Query(total("mailwarren_ingest_unconfirmed_waiting"), "waiting"),
                Query(total("mailwarren_ingest_unconfirmed_dropped_total"), "given up"),
            ),
            shows="Deliveries whose publish was not confirmed and of which the tracker is not yet told.",
            bad="`given up` above 0: those rows stay without an end for 48 hours. Callers were told 503.",
            unit="short",
            limits=ANY_IS_BAD,
            width=6,
            height=8,
            runbook="MailwarrenUnconfirmedDropped",
        ),
    ),
)

BOARD = Board(
    name="queues",
    title="Queues and shards",
    about="What waits where, who takes it, how the broker is, and what the workers do. RabbitMQ's series come from "
    "/metrics and /metrics/detailed of its prometheus plugin.",
    variables=("namespace", "broker", "lane", "shard"),
    rows=(_SENDING, _OTHERS, _BROKER, background.ROW),
    flower=True,
)
