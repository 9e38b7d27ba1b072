"""The parts of PromQL that boards share.

Every query is narrowed by the board's variables. ``All`` is the pattern ``.*``, which a series without the label
matches too: on one machine nothing has a namespace, and the boards work all the same.

Only PromQL of Prometheus 2.42 is used, no recording rules: a board works where nothing but scraping is set up.
"""

from dataclasses import dataclass

from mailwarren.contracts.lanes import Lane

NAMESPACE = 'namespace=~"$namespace"'
LANE = 'lane=~"$lane"'
SHARD = 'shard=~"$shard"'
PROVIDER = 'provider=~"$provider"'
BROKER = 'namespace=~"$broker"'
FLEET = 'fleet=~"$fleet"'
ALERT = 'alertname=~"Mailwarren.+",namespace=~"$namespace|"'
"""An alert that sums over namespaces has none, and is everybody's."""
RATE = "[$__rate_interval]"

SEND_QUEUE = r'queue=~"(.+[.])?send[.]($lane)[.]($shard)"'
LADDER_QUEUE = r'queue=~"(.+[.])?ladder[.]($lane)[.].+"'
TRACKER_QUEUE = r'queue=~"(.+[.])?tracker[.](accepted|events)[.].+"'
PARKING_QUEUE = r'queue=~"(.+[.])?mail[.](dead|unrouted)"'
OPS_QUEUE = r'queue=~"(.+[.])?ops[.](tasks|dead|retry[.].+)"'
"""An installation may put a prefix before its names (``MAILWARREN_AMQP_PREFIX``)."""

TARGET = 0.99
"""The share of deliveries that has to be faster than :data:`WITHIN`."""
WITHIN = {Lane.HIGH: 10, Lane.NORMAL: 60, Lane.BULK: 900}
"""Seconds from acceptance to the next hop's 250. The alerts on burn rates use the same."""


@dataclass(frozen=True)
class Query:
    """One query of a panel.

    Attributes:
        expr: PromQL.
        legend: how Grafana names its series.
        instant: only the newest value, for tables and big numbers over the chosen range.
    """

    expr: str
    legend: str = ""
    instant: bool = False


def select(metric: str, *matchers: str) -> str:
    """The metric in the chosen namespace."""
    return f"{metric}{{{','.join((NAMESPACE, *matchers))}}}"


def rate(metric: str, *matchers: str, by: str = "", window: str = RATE) -> str:
    """Per second, summed over all but ``by``."""
    grouping = f" by ({by})" if by else ""
    return f"sum{grouping} (rate({select(metric, *matchers)}{window}))"


def total(metric: str, *matchers: str, by: str = "") -> str:
    """A gauge's sum over all but ``by``."""
    grouping = f" by ({by})" if by else ""
    return f"sum{grouping} ({select(metric, *matchers)})"


def unended(by: str = "") -> str:
    """Deliveries without an end. Every tracker shows the same database, so the highest of them counts."""
    grouping = f" by ({by})" if by else ""
    shown = select("mailwarren_tracker_deliveries_open", LANE)
    return f"sum{grouping} (max by (namespace, lane, state) ({shown}))"


def increase(metric: str, *matchers: str, by: str = "") -> str:
    """How much a counter grew in the range that the board shows."""
    grouping = f" by ({by})" if by else ""
    return f"sum{grouping} (increase({select(metric, *matchers)}[$__range]))"


def quantile(share: float, histogram: str, *matchers: str, by: str = "", window: str = RATE) -> str:
    """A quantile of a histogram; ``by`` are labels to keep apart."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', *matchers, by=labels, window=window)})"


def mean(histogram: str, *matchers: str, by: str = "") -> str:
    """The mean of what a histogram observed."""
    return f"{rate(f'{histogram}_sum', *matchers, by=by)} / {rate(f'{histogram}_count', *matchers, by=by)}"


def share(part: str, whole: str) -> str:
    """Part of whole; nothing where there is no whole."""
    return f"({part}) / ({whole} > 0)"


def queues(metric: str, matcher: str) -> str:
    """A RabbitMQ metric of each queue. Every node reports the queues it leads, so the maximum is the value."""
    return f"max by (namespace, vhost, queue) (rabbitmq_detailed_{metric}{{{BROKER},{matcher}}})"


def relabel(expr: str, label: str, pattern: str) -> str:
    """Adds a label from the name of the queue."""
    return f'label_replace({expr}, "{label}", "$1", "queue", "{pattern}")'


def by_lane(expr: str, kind: str) -> str:
    """Sums queues of a kind (``send``, ``ladder``, ``accepted``) by their lane."""
    return f"sum by (lane) ({relabel(expr, 'lane', rf'(?:.+[.])?{kind}[.](high|normal|bulk)[.].+')})"


def of_service(expr: str, service: str, window: str = "") -> str:
    """Narrows a metric that every process has to those of a service.

    By a metric of ours: names of jobs are chosen by who scrapes, and a label ``service`` is overwritten in most
    clusters. With a ``window``, processes that ended within it count too.
    """
    only = select("mailwarren_service_info", f'component="{service}"')
    there = f"max_over_time({only}{window})" if window else only
    return f"({expr} and on (job, instance) {there})"


def of_fleet(expr: str) -> str:
    """Gives a metric of senders the label ``fleet``, and narrows it to the chosen fleets."""
    return f"({expr}) * on (job, instance) group_left (fleet) {select('mailwarren_sender_info', FLEET)}"


def by_fleet(expr: str) -> str:
    """Sums a metric of senders by fleet."""
    return f"sum by (fleet) ({of_fleet(expr)})"


def cpu(service: str, by: str = "") -> str:
    """Cores that a service uses."""
    grouping = f" by ({by})" if by else ""
    used = f"rate({select('process_cpu_seconds_total')}{RATE})"
    return f"sum{grouping} {of_service(used, service)}"


def in_time(window: str) -> str:
    """The rate of deliveries that kept their lane's objective, by lane."""
    bucket = "mailwarren_tracker_accept_to_250_seconds_bucket"
    kept = (select(bucket, LANE, f'lane="{lane}"', f'le="{seconds:.1f}"') for lane, seconds in WITHIN.items())
    parts = (f"rate({series}{window})" for series in kept)
    return f"sum by (lane) ({' or '.join(parts)})"


def burn(window: str) -> str:
    """How many times too fast the error budget is used, by lane: 1 uses it up exactly at the end of its time."""
    measured = rate("mailwarren_tracker_accept_to_250_seconds_count", LANE, by="lane", window=window)
    return f"(1 - {in_time(window)} / {measured}) / {1 - TARGET:.2f}"
