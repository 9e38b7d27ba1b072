"""Senders: what they do, what a mail costs, and whether they are well."""

from mailwarren.dashboards.board import Board, Row
from mailwarren.dashboards.palette import GREEN, GREY
from mailwarren.dashboards.panels import ANY_IS_BAD, Graph, Limits, Number
from mailwarren.dashboards.queries import (
    LANE,
    NAMESPACE,
    RATE,
    SEND_QUEUE,
    Query,
    cpu,
    of_service,
    queues,
    rate,
    select,
    share,
    total,
)

_ATTEMPTS = "mailwarren_sender_attempts_total"
_POD = "{{pod}} {{instance}}"
_BY_POD = "pod, instance"

_WORK = Row(
    "Work",
    (
        Number(
            "Senders",
            (Query(f"count ({select('mailwarren_sender_epoch')})"),),
            shows="Processes that answer Prometheus.",
            bad="Fewer than deployed: `kubectl get pods`; the missing ones' logs say what they wait for.",
            unit="short",
            runbook="MailwarrenQueueWithoutConsumer",
        ),
        Number(
            "Attempts",
            (Query(rate(_ATTEMPTS, LANE)),),
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
            "In flight",
            (Query(total("mailwarren_sender_in_flight")),),
            shows="Deliveries being worked on in all senders.",
            bad="At `MAILWARREN_IN_FLIGHT` x senders: all wait for slow servers. More help, if providers allow.",
            unit="short",
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
        Graph(
            "Attempts by sender",
            (Query(rate(_ATTEMPTS, LANE, by=_BY_POD), _POD),),
            shows="Attempts a second of each process.",
            bad="One far under the others of its fleet: look at its connections and its log.",
            unit="ops",
        ),
        Graph(
            "CPU a mail, by sender",
            (Query(share(cpu("sender", _BY_POD), rate(_ATTEMPTS, by=_BY_POD)), _POD),),
            shows="Processor time for one attempt. A process that does little looks dear.",
            bad="See the number above.",
            unit="s",
            limits=Limits(bad=0.003),
        ),
        Graph(
            "In flight, by sender",
            (Query(select("mailwarren_sender_in_flight"), _POD),),
            shows="Deliveries being worked on; `MAILWARREN_IN_FLIGHT` (500) bounds it.",
            bad="Flat at the bound: the process waits for servers, not for work.",
            unit="short",
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

_CONNECTIONS = Row(
    "Connections and parcels",
    (
        Graph(
            "SMTP connections",
            (Query(total("mailwarren_sender_smtp_connections", by="state"), "{{state}}"),),
            shows="Open connections of all senders: busy, or idle and kept.",
            bad="All busy: the limit of connections holds you (`MAILWARREN_CONNECTIONS`, or the provider's).",
            unit="short",
            colours={"busy": GREEN, "idle": GREY},
            stacked=True,
        ),
        Graph(
            "Attempts for each connection opened",
            (
                Query(
                    share(rate(_ATTEMPTS), f"sum (rate({select('mailwarren_sender_smtp_connections_opened')}{RATE}))")
                ),
            ),
            shows="How often a connection is used before it is closed.",
            bad="Near 1 every mail pays for TCP and TLS: the server closes early, or there are more senders than work.",
            unit="none",
            decimals=1,
        ),
        Graph(
            "Parcels held by a consumer",
            (
                Query(
                    f"sum ({queues('queue_messages_unacked', SEND_QUEUE)}) / "
                    f"(sum ({queues('queue_consumers', SEND_QUEUE)}) > 0)",
                    "parcels",
                ),
            ),
            shows="Parcels that a sender has taken from one queue and not yet acked, on average. `MAILWARREN_PREFETCH` "
            "(50) is the most.",
            bad="At the prefetch: senders are full, and more senders are needed. Near 0: they wait for work.",
            unit="short",
            decimals=1,
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
            "`undecodable`: not written by us.",
            unit="short",
            limits=ANY_IS_BAD,
            runbook="MailwarrenDeadLettersGrow",
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
    variables=("namespace", "broker", "lane", "shard"),
    rows=(_WORK, _CONNECTIONS, _SAFETY, _KUBERNETES),
)
