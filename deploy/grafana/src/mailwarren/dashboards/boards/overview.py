"""Overview: is mail going out, and if not, where does it stay?"""

from mailwarren.dashboards.board import Board, Row
from mailwarren.dashboards.palette import LANES, OUTCOMES, STATUS
from mailwarren.dashboards.panels import ANY_IS_BAD, Graph, Limits, Number, Table
from mailwarren.dashboards.queries import (
    ALERT,
    BROKER,
    LADDER_QUEUE,
    LANE,
    PARKING_QUEUE,
    SEND_QUEUE,
    TRACKER_QUEUE,
    Query,
    by_lane,
    increase,
    quantile,
    queues,
    rate,
    select,
    share,
    unended,
)

_ACCEPTED = "mailwarren_ingest_accepted_deliveries_total"
_ATTEMPTS = "mailwarren_sender_attempts_total"
_EVENTS = "mailwarren_tracker_events_total"
_NO_YES = 'kind=~"bounced|failed|expired"'
_ENDED = 'kind=~"delivered|bounced|failed|expired"'

_INFO = select("mailwarren_service_info")
_FAILING = f"{select('mailwarren_service_check')} == 0"
_NAMED_CHECKS = f"({select('mailwarren_service_check')} == bool 0) * on (job, instance) group_left (component) {_INFO}"

_NOW = Row(
    "Now",
    (
        Number(
            "Accepted",
            (Query(rate(_ACCEPTED, LANE)),),
            shows="Deliveries a second that the API said yes to: durable in RabbitMQ.",
            bad="Lower than your callers send: look at *Answers of the API* below, then at *Queues and shards*.",
            unit="mps",
            decimals=1,
        ),
        Number(
            "Delivered",
            (Query(rate(_EVENTS, LANE, 'kind="delivered"')),),
            shows="Deliveries a second that the next hop answered with 250, as the tracker recorded them.",
            bad="Far below *Accepted* for minutes: senders are too few, or a provider defers. See *Senders* and "
            "*Providers and shaping*.",
            unit="mps",
            decimals=1,
        ),
        Number(
            "Ended without a yes",
            (Query(share(rate(_EVENTS, LANE, _NO_YES), rate(_EVENTS, LANE, _ENDED))),),
            shows="Bounced, failed and expired deliveries, as a share of all that ended.",
            bad="Over 5 % providers begin to slow you down. *Failures by class* says why, *Providers and shaping* "
            "whose addresses they are. Stop the list that causes it.",
            unit="percentunit",
            limits=Limits(0.02, 0.05),
            decimals=2,
            runbook="MailwarrenFailuresHigh",
        ),
        Number(
            "Without an end",
            (Query(unended()),),
            shows="Deliveries in the ledger that are neither delivered nor given up.",
            bad="Growing while *Accepted* is steady: see *Deliveries without an end* for the state in which they stay.",
            unit="short",
        ),
        Number(
            "Oldest without an end",
            (Query(f"max ({select('mailwarren_tracker_oldest_open_seconds', LANE)})"),),
            shows="Age of the oldest such delivery; unconfirmed ones left out.",
            bad="Over 48 hours (high lane: 4) no sender works on it any more: look at `mailwarren dead list`.",
            unit="s",
            limits=Limits(4 * 3600, 48 * 3600),
            runbook="MailwarrenDeliveriesOverdue",
        ),
        Number(
            "Dead letters",
            (Query(f"sum ({queues('queue_messages_ready', PARKING_QUEUE)})"),),
            shows="Messages in `mail.dead` and `mail.unrouted`, which wait for a person.",
            bad="Any is one too many. `mailwarren dead list` names the reason, `mailwarren dead replay` puts it back.",
            unit="short",
            limits=ANY_IS_BAD,
            runbook="MailwarrenDeadLettersGrow",
        ),
    ),
)

_PARTS = Row(
    "What is wrong, and where",
    (
        Number(
            "Alerts",
            (Query(f'count (ALERTS{{{ALERT},alertstate="firing"}}) or vector(0)'),),
            shows="Alerts of Mailwarren that fire, where this Prometheus evaluates them.",
            bad="The table beside names them; the link *Runbooks* at the top has a page for each.",
            unit="short",
            limits=ANY_IS_BAD,
        ),
        Number(
            "Do not answer",
            (Query(f"count ((up == 0) and on (job, instance) max_over_time({_INFO}[6h])) or vector(0)"),),
            shows="Processes of ours that are to be scraped, answered within six hours, and do not answer now.",
            bad="`kubectl get pods`, or `make status`: they crashed, or their node or network is gone.",
            unit="short",
            limits=ANY_IS_BAD,
            runbook="MailwarrenTargetDown",
        ),
        Number(
            "Not ready",
            (Query(f"count ({_FAILING}) or vector(0)"),),
            shows="Checks of `/readyz` that do not hold, over all processes.",
            bad="The graph *Not ready, by check* names them. `/readyz` on port 9464 of the process says why in words.",
            unit="short",
            limits=ANY_IS_BAD,
            runbook="MailwarrenPodNotReady",
        ),
        Number(
            "Queues without a sender",
            (Query(f"sum ({queues('queue_consumers', SEND_QUEUE)} == bool 0)"),),
            shows="Send queues that nobody consumes: their mail stays where it is.",
            bad="The table in *Queues and shards* names them. Start the fleet, or add the queue to one.",
            unit="short",
            limits=ANY_IS_BAD,
            runbook="MailwarrenQueueWithoutConsumer",
        ),
        Number(
            "RabbitMQ's alarms",
            (Query(f'sum ({{__name__=~"rabbitmq_alarms_.+",{BROKER}}})'),),
            shows="Memory, disk and file-descriptor alarms that are on.",
            bad="No mail is accepted while one is on. Free disk or memory of the node: *Queues and shards*, last row.",
            unit="short",
            limits=ANY_IS_BAD,
            runbook="MailwarrenBrokerAlarm",
        ),
        Number(
            "Postgres",
            (Query(f"min ({select('mailwarren_tracker_database_up')})"),),
            shows="1 while the last use of Postgres by every tracker worked.",
            bad="0: mail goes out, results wait in RabbitMQ, calls with an Idempotency-Key get 503. Bring it back.",
            unit="none",
            limits=Limits(bad=1, below=True),
            runbook="MailwarrenDatabaseAway",
        ),
        Table(
            "Alerts that fire or are about to",
            (Query(f"count by (alertname, severity, alertstate) (ALERTS{{{ALERT}}})"),),
            shows="By name. `pending` holds already, and fires when it has held for long enough.",
            bad="Open its page: link *Runbooks*, then the name. `critical` first.",
            unit="short",
            columns=("Series",),
            labels=("alertname", "severity", "alertstate"),
            runbook="README",
        ),
        Graph(
            "Not ready, by check",
            (Query(f"sum by (component, check) ({_NAMED_CHECKS})", "{{component}} {{check}}"),),
            shows="Processes of a service in which a check does not hold; nothing when all are ready.",
            bad="`broker`, `database`, `schema`: that is away, or of another version. `consumer`: no mail is taken.",
            unit="short",
            stacked=True,
            runbook="MailwarrenPodNotReady",
        ),
        Graph(
            "Processes, by service",
            (Query(f"count by (component) ({_INFO})", "{{component}}"),),
            shows="Processes that answer Prometheus.",
            bad="A step down without a deploy: pods were evicted or crash. `kubectl get events`.",
            unit="short",
            runbook="MailwarrenServiceAbsent",
        ),
        Graph(
            "Waiting in our queues",
            (
                Query(by_lane(queues("queue_messages_ready", SEND_QUEUE), "send"), "{{lane}}"),
                Query(by_lane(queues("queue_messages_ready", LADDER_QUEUE), "ladder"), "{{lane}} to be tried again"),
                Query(f"sum ({queues('queue_messages_ready', TRACKER_QUEUE)})", "tracker"),
            ),
            shows="Parcels ready for senders, parcels on the ladder, and messages that wait for the tracker.",
            bad="The one that grows is where mail stays: senders (scale that lane's fleet), a provider that defers, or "
            "the tracker and its Postgres.",
            unit="short",
            colours=LANES,
            runbook="MailwarrenShardStuck",
        ),
    ),
)

_FLOW = Row(
    "Flow",
    (
        Graph(
            "Accepted, and what became of it",
            (
                Query(rate(_ACCEPTED, LANE), "accepted"),
                Query(rate(_EVENTS, LANE, 'kind!="started"', by="kind"), "{{kind}}"),
            ),
            shows="Deliveries a second: accepted by the API, and events that the tracker recorded. A delivery has one "
            "event of its end and any number of `deferred`.",
            bad="`delivered` far under `accepted` is a backlog that grows. `deferred` above `delivered` is a provider "
            "that does not want more: *Providers and shaping*.",
            unit="mps",
            colours=OUTCOMES,
        ),
        Graph(
            "Delivered, by lane",
            (Query(rate(_EVENTS, LANE, 'kind="delivered"', by="lane"), "{{lane}}"),),
            shows="Deliveries a second in each lane.",
            bad="One lane at nothing while mail for it is accepted: its fleet is down. See *Consumers* in "
            "*Queues and shards*.",
            unit="mps",
            colours=LANES,
            stacked=True,
        ),
        Graph(
            "Accepted to 250, 95th percentile, by lane",
            (Query(quantile(0.95, "mailwarren_tracker_accept_to_250_seconds", LANE, by="lane"), "{{lane}}"),),
            shows="19 of 20 delivered deliveries took at most this long from the API's yes to the next hop's.",
            bad="High over 2 s: the high fleet is short of senders, or waits for a slow server. *Lanes and SLO* has "
            "the parts of it.",
            unit="s",
            colours=LANES,
        ),
        Graph(
            "Answers of the API, by status",
            (Query(rate("mailwarren_ingest_request_seconds_count", by="status"), "{{status}}"),),
            shows="Requests a second by the class of their status.",
            bad="5xx are ours: a full or unreachable broker (503 with Retry-After; *Refused for want of room*) or "
            "Postgres. 4xx are the callers': the ingest log names the error.",
            unit="reqps",
            colours=STATUS,
        ),
    ),
)

_FAILURES = Row(
    "Failures",
    (
        Graph(
            "Failures by class",
            (
                Query(
                    rate(_ATTEMPTS, LANE, 'bounce_class!="none"', by="bounce_class"),
                    "{{bounce_class}}",
                ),
            ),
            shows="Attempts a second that ended without a 250, by the rule that read the reply.",
            bad="`invalid_recipient`: a poor list. `spam` or `policy`: the content or the sending domain. `dns` and "
            "`connection`: our network. `/v1/emails/{id}/timeline` shows the server's own words.",
            unit="ops",
            width=8,
            stacked=True,
            runbook="MailwarrenFailuresHigh",
        ),
        Graph(
            "Deferred, by provider",
            (
                Query(
                    share(
                        rate(_ATTEMPTS, LANE, 'result="deferred"', by="provider"),
                        rate(_ATTEMPTS, LANE, by="provider"),
                    ),
                    "{{provider}}",
                ),
            ),
            shows="Share of each provider's attempts that it put off.",
            bad="One near 100 %: it blocks or limits you, and only its mail waits. All: your address is listed, or "
            "your network is in trouble. *Providers and shaping* has more.",
            unit="percentunit",
            width=8,
            limits=Limits(bad=0.5),
            runbook="MailwarrenProviderDefers",
        ),
        Graph(
            "Bounced, failed, expired, suppressed",
            (Query(rate(_EVENTS, LANE, 'kind=~"bounced|failed|expired|suppressed"', by="kind"), "{{kind}}"),),
            shows="Deliveries a second that ended without mail being taken.",
            bad="`failed` is a refusal that no rule knows, or a mail that could not be built: read its reason in the "
            "timeline. `expired`: its time ran out on the ladder.",
            unit="mps",
            width=8,
            colours=OUTCOMES,
            stacked=True,
        ),
    ),
)

_LEDGER = Row(
    "Ledger",
    (
        Graph(
            "Deliveries without an end, by state",
            (Query(unended(by="state"), "{{state}}"),),
            shows="Rows of the ledger that still wait: accepted (not tried), deferred, parked (in `mail.dead`), "
            "unconfirmed (the broker never confirmed them).",
            bad="`accepted` grows: too few senders. `deferred`: a provider. `parked` or `unconfirmed`: a person has "
            "to look.",
            unit="short",
            colours=OUTCOMES,
            stacked=True,
            runbook="MailwarrenDeliveriesOverdue",
        ),
        Graph(
            "Oldest delivery without an end, by lane",
            (Query(f"max by (lane) ({select('mailwarren_tracker_oldest_open_seconds', LANE)})", "{{lane}}"),),
            shows="Its age in each lane; unconfirmed ones left out.",
            bad="A steady climb at one second a second is a single delivery that nobody works on. Find it with "
            "`GET /v1/emails?status=queued`, then its timeline.",
            unit="s",
            colours=LANES,
            runbook="MailwarrenDeliveriesOverdue",
        ),
        Graph(
            "Overdue deliveries, by lane",
            (Query(f"max by (lane) ({select('mailwarren_tracker_deliveries_overdue', LANE)})", "{{lane}}"),),
            shows="Accepted or deferred deliveries that have no end 10 minutes after their lane's budget ended: the "
            "ledger does not balance by as many.",
            bad="Any: they are in no queue, or their retries were lost. `/v1/emails/{id}/timeline` shows the last "
            "thing that happened to one.",
            unit="short",
            limits=ANY_IS_BAD,
            colours=LANES,
            runbook="MailwarrenDeliveriesOverdue",
        ),
        Graph(
            "Not taken or not sure",
            (
                Query(rate("mailwarren_ingest_no_room_total", by="cause"), "no room: {{cause}}"),
                Query(
                    rate("mailwarren_ingest_publishes_total", 'result!="confirmed"', by="result"), "publish: {{result}}"
                ),
            ),
            shows="Emails a second that were answered 503 because a queue or the broker is over its mark, and parcels "
            "that RabbitMQ did not confirm.",
            bad="`no room` with a lane's name: that lane's senders are behind. With the tracker's: Postgres is. "
            "Unconfirmed: the broker is unwell. Callers repeat with their Idempotency-Key.",
            unit="ops",
            stacked=True,
            runbook="MailwarrenNoRoom",
        ),
        Number(
            "Deliveries in the range shown",
            (
                Query(increase(_ACCEPTED, LANE), "accepted", instant=True),
                Query(increase(_EVENTS, LANE, 'kind="delivered"'), "delivered", instant=True),
            ),
            shows="Counts over the chosen time: what the API took and what was delivered.",
            bad="They differ by what is still on its way and what ended otherwise; the graphs beside say which.",
            unit="short",
            width=24,
            height=4,
            decimals=0,
        ),
    ),
)

BOARD = Board(
    name="overview",
    title="Overview",
    about="Is mail going out, and if not, where does it stay?",
    variables=("namespace", "broker", "lane", "shard"),
    rows=(_NOW, _PARTS, _FLOW, _FAILURES, _LEDGER),
)
