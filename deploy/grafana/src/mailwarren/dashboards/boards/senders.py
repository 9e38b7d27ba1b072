"""Senders: what they do, what a mail costs, and whether they are well."""

from mailwarren.dashboards.board import Board, Row
from mailwarren.dashboards.panels import ANY_IS_BAD, Graph, Limits, Number, Table
from mailwarren.dashboards.queries import (
    FLEET,
    LANE,
    NAMESPACE,
    PROVIDER,
    RATE,
    SHARD,
    Query,
    by_fleet,
    cpu,
    of_fleet,
    of_service,
    quantile,
    rate,
    select,
    share,
)
from mailwarren.dashboards.rows import connections, files, signing

_ATTEMPTS = "mailwarren_sender_attempts_total"
_POD = "{{pod}} {{instance}}"
_BY_POD = "pod, instance"
_CHOSEN = (LANE, SHARD, PROVIDER)
_MAILS = f"rate({select(_ATTEMPTS, *_CHOSEN)}{RATE})"
_CPU = f"rate({select('process_cpu_seconds_total')}{RATE})"
_IN_FLIGHT, _LIMIT = select("mailwarren_sender_in_flight"), select("mailwarren_sender_in_flight_limit")
_IN_HAND = select("mailwarren_sender_parcels_open")
_MOST_IN_HAND = f"{select('mailwarren_sender_prefetch')} * {select('mailwarren_sender_queues')}"


def _by_sender(expr: str) -> str:
    """Of the chosen fleets' senders, one by one."""
    return f"sum by (fleet, {_BY_POD}) ({of_fleet(expr)})"


_WORK = Row(
    "Work",
    (
        Number(
            "Senders",
            (Query(f"count ({select('mailwarren_sender_info', FLEET)})"),),
            shows="Processes that answer Prometheus.",
            bad="Fewer than deployed: `kubectl get pods`; the missing ones' logs say what they wait for.",
            unit="short",
            runbook="MailwarrenQueueWithoutConsumer",
        ),
        Number(
            "Attempts",
            (Query(rate(_ATTEMPTS, *_CHOSEN)),),
            shows="SMTP transactions a second over all senders.",
            bad="Falls while parcels are ready: servers are slow, or senders wait for the broker.",
            unit="ops",
            decimals=1,
        ),
        Number(
            "CPU a mail",
            (Query(share(cpu("sender"), rate(_ATTEMPTS))),),
            shows="Processor time of a sender for one attempt.",
            bad="Over a millisecond: debug logging, no pipelining, a connection for each mail. See `make profile`.",
            unit="s",
            limits=Limits(0.001, 0.003),
            decimals=2,
        ),
        Number(
            "In flight, of what is allowed",
            (Query(f"sum ({of_fleet(_IN_FLIGHT)}) / sum ({of_fleet(_LIMIT)})"),),
            shows="Deliveries being worked on in the chosen fleets, as a share of `MAILWARREN_IN_FLIGHT` x senders.",
            bad="At 100 % all wait for slow servers. Scale the fleet up, if its providers allow more connections.",
            unit="percentunit",
            limits=Limits(0.8, 0.95),
            decimals=1,
        ),
        Number(
            "Exposed",
            (Query(f"max ({select('mailwarren_sender_exposed')})"),),
            shows="Mails that a server took and whose outcome the broker has not confirmed, in the worst sender: they "
            "are sent twice if it dies now.",
            bad="Near 400 senders hold back, because RabbitMQ confirms slowly: look at its disks.",
            unit="short",
            limits=Limits(200, 400),
            runbook="MailwarrenSenderExposed",
        ),
        Number(
            "Parked",
            (Query(f"sum ({select('mailwarren_sender_parked_total')})"),),
            shows="Messages put into `mail.dead` since the senders started.",
            bad="`mailwarren dead list`: an error of ours, or a message that cannot be read.",
            unit="short",
            limits=ANY_IS_BAD,
            runbook="MailwarrenDeadLettersGrow",
        ),
        Table(
            "Fleets",
            (
                Query(f"count by (fleet, lanes, shards) ({select('mailwarren_sender_info', FLEET)})"),
                Query(
                    f"sum by (fleet, lanes, shards) ({_IN_FLIGHT} * on (job, instance) group_left (fleet, lanes, "
                    f"shards) {select('mailwarren_sender_info', FLEET)})"
                ),
                Query(
                    f"sum by (fleet, lanes, shards) ({_LIMIT} * on (job, instance) group_left (fleet, lanes, "
                    f"shards) {select('mailwarren_sender_info', FLEET)})"
                ),
            ),
            shows="Each fleet with what it consumes, its senders, and deliveries in flight against their limit.",
            bad="A lane or shard that no fleet has is sent by nobody: add it to one, or start a fleet for it.",
            unit="short",
            columns=("Senders", "In flight", "Limit"),
            labels=("fleet", "lanes", "shards"),
            width=24,
            height=6,
            runbook="MailwarrenQueueWithoutConsumer",
        ),
        Graph(
            "Attempts by fleet",
            (Query(by_fleet(_MAILS), "{{fleet}}"),),
            shows="Attempts a second of each fleet.",
            bad="One falls to nothing while its queues fill: its servers are slow, or its senders are not ready.",
            unit="ops",
            stacked=True,
        ),
        Graph(
            "CPU a mail, by fleet",
            (Query(share(by_fleet(_CPU), by_fleet(f"rate({select(_ATTEMPTS)}{RATE})")), "{{fleet}}"),),
            shows="Processor time for one attempt. A fleet that does little looks dear.",
            bad="One fleet dearer than the others: its provider closes connections early, or wants TLS for each mail.",
            unit="s",
            limits=Limits(bad=0.003),
        ),
        Graph(
            "In flight against its limit, by fleet",
            (
                Query(by_fleet(_IN_FLIGHT), "{{fleet}}"),
                Query(by_fleet(_LIMIT), "{{fleet}} limit"),
            ),
            shows="Deliveries being worked on, and `MAILWARREN_IN_FLIGHT` (500) for each sender of the fleet.",
            bad="Flat at the limit: the fleet waits for servers, not for work. *Mails that wait for a connection* says "
            "whether connections are short; else more senders help.",
            unit="short",
        ),
        Graph(
            "Parcels in hand against the prefetch, by fleet",
            (
                Query(by_fleet(_IN_HAND), "{{fleet}}"),
                Query(by_fleet(_MOST_IN_HAND), "{{fleet}} most"),
            ),
            shows="Parcels taken from the broker and not yet acked, and the most that `MAILWARREN_PREFETCH` (50) lets "
            "the fleet take from all of its queues.",
            bad="Near the most with mail ready: the fleet is full, scale it up. Near 0 it waits for work.",
            unit="short",
        ),
        Graph(
            "Attempts by sender",
            (Query(_by_sender(_MAILS), f"{{{{fleet}}}} {_POD}"),),
            shows="Attempts a second of each process.",
            bad="One far under the others of its fleet: look at its connections and its log.",
            unit="ops",
        ),
        Graph(
            "CPU a mail, by sender",
            (Query(share(_by_sender(_CPU), _by_sender(f"rate({select(_ATTEMPTS)}{RATE})")), f"{{{{fleet}}}} {_POD}"),),
            shows="Processor time for one attempt. A process that does little looks dear.",
            bad="One dearer than its fleet: it was started with debug logging, or shares its core.",
            unit="s",
            limits=Limits(bad=0.003),
        ),
        Graph(
            "In flight, by sender",
            (Query(_by_sender(f"{_IN_FLIGHT} / {_LIMIT}"), f"{{{{fleet}}}} {_POD}"),),
            shows="Deliveries being worked on, as a share of what the process may.",
            bad="One at 100 % and the others not: it has got the slow servers' mail. All: see the fleet above.",
            unit="percentunit",
            limits=Limits(0.8, 0.95),
        ),
        Graph(
            "Exposed, by sender",
            (Query(select("mailwarren_sender_exposed"), _POD),),
            shows="Mails that would be sent twice if the process died now.",
            bad="At 500 a sender starts no new mail data until the broker has confirmed.",
            unit="short",
            limits=Limits(200, 400),
            runbook="MailwarrenSenderExposed",
        ),
    ),
)

_SAFETY = Row(
    "After troubles",
    (
        Graph(
            "Settled, by answer",
            (Query(rate("mailwarren_sender_settle_total", by="verdict"), "{{verdict}}"),),
            shows="Deliveries that may have been tried before, by what the tracker knew of them.",
            bad="`unanswered`: the tracker is away. `done` in numbers: something redelivers parcels again and again.",
            unit="ops",
            stacked=True,
        ),
        Graph(
            "Time to settle",
            (
                Query(quantile(0.5, "mailwarren_sender_settle_seconds", by="answered"), "p50, answered: {{answered}}"),
                Query(quantile(0.95, "mailwarren_sender_settle_seconds", by="answered"), "p95, answered: {{answered}}"),
            ),
            shows="From a sender's question to the tracker's answer, or to the end of the wait for one (10 s).",
            bad="Seconds: the tracker is behind, and retries and redelivered mail wait for it. `no`: it is away.",
            unit="s",
            limits=Limits(1, 5),
        ),
        Graph(
            "Parcels split",
            (Query(f"sum by (lane) ({select('mailwarren_sender_parcels_split_total')})", "{{lane}}"),),
            shows="Parcels that the broker gave three times to senders that were gone before they had finished them. "
            "Their mails go on one by one.",
            bad="With senders that restart: a mail may kill them, and ends in `mail.dead` with the reason `poison`. "
            "Without: their connections to the broker break.",
            unit="short",
        ),
        Graph(
            "New broker connections",
            (Query(f"sum by ({_BY_POD}) ({select('mailwarren_sender_epoch')})", _POD),),
            shows="How many connections the consumer has had. 1 is a quiet life.",
            bad="Steps for all at once: the broker restarted. Steps for one: its node or network.",
            unit="short",
        ),
        Graph(
            "Parked, by reason",
            (Query(f"sum by (reason) ({select('mailwarren_sender_parked_total')})", "{{reason}}"),),
            shows="Messages put into `mail.dead` since the senders started.",
            bad="`error`: a defect of ours, with its traceback in the log and in `mailwarren dead show`. "
            "`poison`: three senders died of it. `undecodable`: not written by us.",
            unit="short",
            limits=ANY_IS_BAD,
            runbook="MailwarrenDeadLettersGrow",
        ),
        Graph(
            "How late the loop is, by sender",
            (
                Query(
                    _by_sender(select("mailwarren_service_loop_lag_seconds", 'loop="engine"')), f"{{{{fleet}}}} {_POD}"
                ),
            ),
            shows="The most that a sender's loop came too late in the last minute: all of its mail waited that long.",
            bad="Over a second: its CPU is throttled or taken by others, or one mail is huge. See *CPU throttled*.",
            unit="s",
            limits=Limits(0.5, 2),
        ),
        Graph(
            "Since a loop last turned, by sender",
            (
                Query(
                    f"max by (loop, {_BY_POD}) {of_service(select('mailwarren_service_loop_age_seconds'), 'sender')}",
                    "{{loop}} " + _POD,
                ),
            ),
            shows="`engine` sends mail, `consumer` takes it from the broker. Each turns every second.",
            bad="Climbs: that loop is stuck. Kubernetes restarts the sender when its heartbeat file is old; elsewhere "
            "take a `py-spy dump` and restart it.",
            unit="s",
            limits=Limits(10, 30),
        ),
        Graph(
            "Memory",
            (Query(of_service(select("process_resident_memory_bytes"), "sender"), _POD),),
            shows="Resident memory of each sender.",
            bad="Grows for hours with steady work: report it, with the log. Large contents cost memory too.",
            unit="bytes",
        ),
    ),
)

_KUBERNETES = Row(
    "In Kubernetes",
    (
        Graph(
            "Replicas of the fleets",
            (
                Query(
                    f'sum by (deployment) (kube_deployment_spec_replicas{{{NAMESPACE},deployment=~".*sender.*"}})',
                    "{{deployment}} wanted",
                ),
                Query(
                    "sum by (deployment) (kube_deployment_status_replicas_available"
                    f'{{{NAMESPACE},deployment=~".*sender.*"}})',
                    "{{deployment}} available",
                ),
            ),
            shows="Senders that each fleet should have, and that are ready.",
            bad="Available under wanted for minutes: no room on the nodes, or pods that are not ready. "
            "`kubectl describe pod` says which.",
            unit="short",
        ),
        Graph(
            "Autoscaler against its maximum",
            (
                Query(
                    "sum by (horizontalpodautoscaler) (kube_horizontalpodautoscaler_status_current_replicas"
                    f"{{{NAMESPACE}}}) / sum by (horizontalpodautoscaler) "
                    f"(kube_horizontalpodautoscaler_spec_max_replicas{{{NAMESPACE}}})",
                    "{{horizontalpodautoscaler}}",
                ),
            ),
            shows="Replicas as a share of the most that are allowed.",
            bad="At 100 % with a backlog: raise the maximum, if the providers allow more connections.",
            unit="percentunit",
            limits=Limits(0.9, 1),
        ),
        Graph(
            "Restarts in the last hour",
            (
                Query(
                    "sum by (pod) (increase(kube_pod_container_status_restarts_total"
                    f'{{{NAMESPACE},container=~"ingest|sender|tracker"}}[1h]))',
                    "{{pod}}",
                ),
            ),
            shows="Containers that ended and were started again.",
            bad="`kubectl logs --previous POD`. Out of memory shows as exit code 137.",
            unit="short",
            limits=ANY_IS_BAD,
        ),
        Graph(
            "CPU throttled",
            (
                Query(
                    "sum by (pod) (rate(container_cpu_cfs_throttled_periods_total"
                    f'{{{NAMESPACE},container="sender"}}{RATE})) / sum by (pod) '
                    f'(rate(container_cpu_cfs_periods_total{{{NAMESPACE},container="sender"}}{RATE}))',
                    "{{pod}}",
                ),
            ),
            shows="Share of scheduling periods in which a sender was held at its CPU limit.",
            bad="Over 25 %: raise the limit or leave it out; a sender uses one core at most.",
            unit="percentunit",
            limits=Limits(0.1, 0.25),
        ),
    ),
    collapsed=True,
)

BOARD = Board(
    name="senders",
    title="Senders",
    about="What the senders do, what a mail costs, and whether they are well.",
    variables=("namespace", "fleet", "lane", "shard", "provider"),
    rows=(_WORK, connections.ROW, signing.ROW, files.ROW, _SAFETY, _KUBERNETES),
)
