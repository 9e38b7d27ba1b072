"""Load test: how much goes through, what it costs, and what gives way first."""

from mailwarren.dashboards.board import Board, Row
from mailwarren.dashboards.palette import BLUE, GREEN, OUTCOMES, SERVICES, STATUS
from mailwarren.dashboards.panels import ANY_IS_BAD, Bars, Graph, Limits, Number
from mailwarren.dashboards.queries import (
    BROKER,
    LANE,
    RATE,
    SEND_QUEUE,
    TRACKER_QUEUE,
    Query,
    cpu,
    increase,
    mean,
    of_service,
    quantile,
    queues,
    rate,
    select,
    share,
    total,
)

_ACCEPTED = "mailwarren_ingest_accepted_deliveries_total"
_EVENTS = "mailwarren_tracker_events_total"
_REQUESTS = "mailwarren_ingest_request_seconds"
_TO_250 = "mailwarren_tracker_accept_to_250_seconds"
_FAILED = 'status="5xx"'
_DELIVERED = rate(_EVENTS, LANE, 'kind="delivered"')


def _spent(service: str) -> str:
    seconds = f"increase({select('process_cpu_seconds_total')}[$__range])"
    return f"sum {of_service(seconds, service, '[$__range]')}"


def _peak(expr: str) -> str:
    return f"max_over_time(({expr})[$__range:])"


_RESULT = Row(
    "Result over the range shown",
    (
        Number(
            "Accepted",
            (Query(increase(_ACCEPTED, LANE), instant=True),),
            shows="Deliveries that the API took.",
            bad="Less than the load generator sent: it got errors. See *Answers by status*.",
            unit="short",
            decimals=0,
        ),
        Number(
            "Delivered",
            (Query(increase(_EVENTS, LANE, 'kind="delivered"'), instant=True),),
            shows="Deliveries that ended with a 250.",
            bad="Less than accepted when all is quiet: find the rest by state in *Overview*.",
            unit="short",
            decimals=0,
        ),
        Number(
            "Most accepted a second",
            (Query(_peak(rate(_ACCEPTED, LANE)), instant=True),),
            shows="The best rate of acceptance in the range.",
            bad="Flat under the offered load: see which process is at its core below.",
            unit="mps",
            decimals=0,
        ),
        Number(
            "Most delivered a second",
            (Query(_peak(_DELIVERED), instant=True),),
            shows="The best rate of delivery in the range.",
            bad="Flat while parcels are ready: senders or the receiving side are the limit.",
            unit="mps",
            decimals=0,
        ),
        Number(
            "99th percentile to 250",
            (Query(quantile(0.99, _TO_250, LANE, window="[$__range]"), instant=True),),
            shows="Acceptance to 250 for 99 of 100 deliveries of the range.",
            bad="Choose one lane above: bulk may wait, high may not.",
            unit="s",
            decimals=2,
        ),
        Number(
            "Errors of the API",
            (
                Query(
                    share(f"({increase(f'{_REQUESTS}_count', _FAILED)} or vector(0))", increase(f"{_REQUESTS}_count")),
                    instant=True,
                ),
            ),
            shows="Share of requests that were answered with a 5xx.",
            bad="503 with Retry-After is what a full system says. Anything else is a defect: see the log of ingest.",
            unit="percentunit",
            limits=Limits(0.001, 0.01),
            decimals=2,
        ),
    ),
)

_THROUGHPUT = Row(
    "Throughput and latency",
    (
        Graph(
            "Through the system",
            (
                Query(rate(_ACCEPTED, LANE), "accepted"),
                Query(rate("mailwarren_sender_attempts_total", LANE), "attempts"),
                Query(_DELIVERED, "delivered"),
            ),
            shows="Deliveries a second at the three stages: API, senders, ledger.",
            bad="The first one that is lower than the one before it is where the system is limited.",
            unit="mps",
            colours={"accepted": BLUE, "attempts": "#C0D8FF", "delivered": GREEN},
        ),
        Graph(
            "Answers by status",
            (Query(rate(f"{_REQUESTS}_count", by="status"), "{{status}}"),),
            shows="Requests a second.",
            bad="5xx grow with the load: see *Waiting* for the mark that was reached.",
            unit="reqps",
            colours=STATUS,
            stacked=True,
        ),
        Graph(
            "Time to answer, by endpoint",
            (
                Query(quantile(0.5, f"{_REQUESTS}", by="endpoint"), "{{endpoint}} p50"),
                Query(quantile(0.99, f"{_REQUESTS}", by="endpoint"), "{{endpoint}} p99"),
            ),
            shows="Of the API. An answer to a send waits for RabbitMQ's confirm.",
            bad="Over a second: the broker confirms slowly, or ingest is at its core. Add replicas of ingest.",
            unit="s",
        ),
        Graph(
            "Acceptance to 250",
            tuple(Query(quantile(q, _TO_250, LANE, by="lane"), f"{{{{lane}}}} p{q * 100:g}") for q in (0.5, 0.95)),
            shows="The whole way, by lane.",
            bad="High rises with bulk's load: the high lane shares something it should not.",
            unit="s",
        ),
        Graph(
            "Waiting",
            (
                Query(f"sum ({queues('queue_messages_ready', SEND_QUEUE)})", "send queues"),
                Query(f"sum ({queues('queue_messages_ready', TRACKER_QUEUE)})", "tracker"),
                Query(rate("mailwarren_ingest_no_room_total"), "refused a second"),
            ),
            shows="Parcels that wait for senders, messages that wait for the tracker, emails refused for want of room.",
            bad="Grows for as long as the load lasts: this is the stage to scale.",
            unit="short",
        ),
        Graph(
            "Outcomes",
            (Query(rate(_EVENTS, LANE, by="kind"), "{{kind}}"),),
            shows="Events a second.",
            bad="Other than what the sink's personas were told to answer: a defect, or a sink at its limit.",
            unit="mps",
            colours=OUTCOMES,
            stacked=True,
        ),
    ),
)

_COST = Row(
    "Cost",
    (
        Graph(
            "Cores used, by service",
            (
                *(Query(cpu(service), service) for service in ("ingest", "sender", "tracker")),
                Query(f"sum (rate(erlang_vm_statistics_runtime_milliseconds{{{BROKER}}}{RATE})) / 1000", "broker"),
            ),
            shows="Processor time a second. The load generator's and Postgres' are not among them.",
            bad="Their sum at the machine's cores: the test measures the machine. A process uses one core at most.",
            unit="none",
            colours=SERVICES,
            stacked=True,
            decimals=2,
        ),
        Graph(
            "CPU a delivered mail, by service",
            (
                *(Query(share(cpu(service), _DELIVERED), service) for service in ("ingest", "sender", "tracker")),
                Query(
                    share(
                        f"sum (rate(erlang_vm_statistics_runtime_milliseconds{{{BROKER}}}{RATE})) / 1000", _DELIVERED
                    ),
                    "broker",
                ),
            ),
            shows="Processor time for each delivery, when acceptance and delivery keep pace.",
            bad="Compare with `docs/speed.md`, which has measured values and how they were measured.",
            unit="s",
            colours=SERVICES,
            stacked=True,
        ),
        Bars(
            "CPU seconds for 1,000 deliveries, over the range shown",
            tuple(
                Query(
                    share(f"1000 * {_spent(service)}", increase(_EVENTS, LANE, 'kind="delivered"')),
                    service,
                    instant=True,
                )
                for service in ("ingest", "sender", "tracker")
            ),
            shows="The cost of the whole test, spread over what it delivered.",
            bad="Higher than in the test before: something became dearer. `make profile` names the functions.",
            unit="s",
            decimals=2,
        ),
        Graph(
            "Rows in the tracker's batches",
            (Query(mean("mailwarren_tracker_batch_rows"), "mean"),),
            shows="Grows with the load; larger batches make a row cheaper.",
            bad="Small under load: Postgres answers slowly and the prefetch is used up.",
            unit="short",
            decimals=0,
        ),
    ),
)

_SINK = Row(
    "The receiving side",
    (
        Graph(
            "Mails at the sink, by persona",
            (
                Query(rate("mailwarren_sink_mails_total", by="persona"), "{{persona}}"),
                Query(_DELIVERED, "delivered, by the ledger"),
            ),
            shows="Mails a second whose final dot reached the sink, and deliveries that the tracker recorded.",
            bad="The sink has more than the ledger for minutes: the tracker is behind. Fewer: mail goes elsewhere.",
            unit="mps",
        ),
        Graph(
            "Replies of the sink, by code",
            (Query(rate("mailwarren_sink_replies_total", by="code"), "{{code}}"),),
            shows="What the personas answered to mails, each second.",
            bad="Codes that no persona was told to give: the sink is at its limit, or its script is another.",
            unit="ops",
            stacked=True,
        ),
        Graph(
            "Replies other than 250, by persona",
            (Query(rate("mailwarren_sink_replies_total", 'code!~"2.."', by="persona, code"), "{{persona}} {{code}}"),),
            shows="Refusals and deferrals that the personas gave.",
            bad="Compare with *Outcomes* above: what the sink refused and we did not record is a defect.",
            unit="ops",
            stacked=True,
        ),
        Graph(
            "Connections to the sink",
            (
                Query(total("mailwarren_sink_connections"), "open at the sink"),
                Query(total("mailwarren_sender_smtp_connections"), "open at the senders"),
            ),
            shows="SMTP connections as either side counts them.",
            bad="The sink has far more: senders died and left them, or other clients send too.",
            unit="short",
        ),
        Graph(
            "Connections opened",
            (Query(rate("mailwarren_sink_connections_opened_total"), "opened"),),
            shows="New SMTP connections a second at the sink.",
            bad="Near the mails a second: every mail pays for a connection, and the test measures that.",
            unit="ops",
        ),
        Graph(
            "Octets into the sink",
            (Query(rate("mailwarren_sink_bytes_total"), "mail data"),),
            shows="Mail data a second.",
            bad="At the network's speed: the test measures the network. Send smaller mails.",
            unit="Bps",
        ),
        Number(
            "Copies beyond the first",
            (Query(f"max ({select('mailwarren_sink_duplicates')})"),),
            shows="Mails that the sink took more than once, by Message-ID and recipient.",
            bad="After a kill some are allowed (see *Exposed*). Without one: a defect, report it with the logs.",
            unit="short",
            limits=ANY_IS_BAD,
            width=24,
        ),
    ),
)

BOARD = Board(
    name="loadtest",
    title="Load test",
    about="How much goes through, what it costs, and what gives way first. Choose the time of the test as the range.",
    variables=("namespace", "broker", "lane", "shard"),
    rows=(_RESULT, _THROUGHPUT, _SINK, _COST),
    since="now-30m",
    refresh="5s",
)
