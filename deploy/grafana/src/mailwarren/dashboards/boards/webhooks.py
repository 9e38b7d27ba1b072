"""Webhooks: do the tenants' servers hear of what happens, and in time?"""

from mailwarren.dashboards.board import Board, Row
from mailwarren.dashboards.panels import ANY_IS_BAD, Graph, Limits, Number
from mailwarren.dashboards.queries import Query, cpu, of_service, quantile, rate, select, total

_POD = "{{pod}} {{instance}}"
_LIVE = 'health="live"'
_RUNBOOK = "MailwarrenWebhookBacklog"


def _seen(metric: str, *matchers: str, by: str = "") -> str:
    """A gauge of the database, of which every tracker shows the same."""
    grouping = f" by ({by})" if by else ""
    return f"sum{grouping} (max by (namespace, health) ({select(metric, *matchers)}))"


def _late(*matchers: str) -> str:
    return select("mailwarren_tracker_webhooks_late_seconds", *matchers)


_NOW = Row(
    "Now",
    (
        Number(
            "Live webhooks are behind by",
            (Query(f"max ({_late(_LIVE)})"),),
            shows="Since the event that waits longest for a webhook that answers was due.",
            bad="Over a minute: no process tells webhooks, or too few do. Nothing is lost.",
            unit="s",
            limits=Limits(15, 60),
            runbook=_RUNBOOK,
        ),
        Number(
            "Events waiting",
            (Query(_seen("mailwarren_tracker_webhooks_waiting")),),
            shows="Events that have not been told yet, those of failing and disabled webhooks included.",
            bad="See *Waiting, by health*: what waits for a failing webhook waits for its owner.",
            unit="short",
        ),
        Number(
            "Live webhooks",
            (Query(_seen("mailwarren_tracker_webhooks", _LIVE)),),
            shows="Enabled webhooks of which the last try was answered with 2xx, and new ones.",
            bad="At nothing although there were some: our own network, or its DNS, is the likely reason.",
            unit="short",
        ),
        Number(
            "Failing webhooks",
            (Query(_seen("mailwarren_tracker_webhooks", 'health="failing"')),),
            shows="Enabled webhooks of which nothing has come through since a failure.",
            bad="All at once: our side. One: its owner's; it is disabled after some days of this.",
            unit="short",
            limits=Limits(warning=1),
        ),
        Number(
            "Disabled webhooks",
            (Query(_seen("mailwarren_tracker_webhooks", 'health="disabled"')),),
            shows="Webhooks that their owners disabled, or that were given up.",
            bad="`GET /v1/webhooks` says why. `PATCH` with `status: enabled` takes one up again.",
            unit="short",
        ),
        Number(
            "Given up",
            (Query(total("mailwarren_webhooks_given_up_total")),),
            shows="Webhooks that were disabled since these processes started, because nothing came through.",
            bad="The log has their ids: `webhooks.endpoint.disabled`. Tell their owners.",
            unit="short",
            limits=Limits(warning=1),
        ),
    ),
)

_TELLING = Row(
    "Telling",
    (
        Graph(
            "Tries by result",
            (Query(rate("mailwarren_webhooks_tries_total", by="result"), "{{result}}"),),
            shows="Requests a second by what came of them.",
            bad="`timeout`, `unreachable`: the receiver, or our way out. `private`: an address in a closed network. "
            "`bug`: ours, see the log.",
            unit="reqps",
            stacked=True,
        ),
        Graph(
            "Delivered and given up",
            (Query(rate("mailwarren_webhooks_ended_total", by="state"), "{{state}}"),),
            shows="Events a second that a receiver has taken (`success`), or that were given up (`failed`).",
            bad="`failed`: owners have lost events. They can be replayed for as long as they are kept.",
            unit="ops",
        ),
        Graph(
            "From event to first try",
            (
                Query(quantile(0.5, "mailwarren_webhooks_lag_seconds"), "p50"),
                Query(quantile(0.95, "mailwarren_webhooks_lag_seconds"), "p95"),
            ),
            shows="From the recording of an event to its first try, failing webhooks included.",
            bad="High while live webhooks are not behind: it is the events of failing ones.",
            unit="s",
            limits=Limits(5, 60),
            runbook=_RUNBOOK,
        ),
        Graph(
            "Time of a try",
            (
                Query(quantile(0.5, "mailwarren_webhooks_try_seconds"), "p50"),
                Query(quantile(0.95, "mailwarren_webhooks_try_seconds"), "p95"),
            ),
            shows="From the resolver to the end of the answer; at most `MAILWARREN_WEBHOOKS_TIMEOUT`.",
            bad="At the timeout: dead receivers. They get one event at a time.",
            unit="s",
        ),
        Graph(
            "Waiting, by health",
            (Query(_seen("mailwarren_tracker_webhooks_waiting", by="health"), "{{health}}"),),
            shows="Events that have not been told yet, by how their webhook does.",
            bad="`live` grows: more processes. `failing`: up to three days of events, then they are given up.",
            unit="short",
            runbook=_RUNBOOK,
        ),
        Graph(
            "Behind, by health",
            (Query(f"max by (health) ({_late()})", "{{health}}"),),
            shows="Since the event that waits longest was due.",
            bad="`live` over a minute: see the runbook. `failing` may be days.",
            unit="s",
            runbook=_RUNBOOK,
        ),
        Graph(
            "On their way",
            (Query(select("mailwarren_webhooks_in_flight"), _POD),),
            shows="Events for which a request is open, by process.",
            bad="At `MAILWARREN_WEBHOOKS_ALL` (500) for long: another process takes more.",
            unit="short",
        ),
        Graph(
            "CPU of the webhooks",
            (Query(cpu("webhooks", "pod, instance"), f"{_POD} cores"),),
            shows="Cores that each process uses; one is the most.",
            bad="Near 1: run another one.",
            unit="none",
            limits=Limits(0.8, 0.95),
            decimals=2,
        ),
    ),
)

_TROUBLES = Row(
    "Troubles",
    (
        Graph(
            "Database up, for webhooks",
            (Query(select("mailwarren_webhooks_database_up"), _POD),),
            shows="1 while the last use of Postgres worked, by process.",
            bad="0: nothing is told until it is back; what was on its way is tried again, with the same id.",
            unit="none",
            decimals=0,
            runbook="MailwarrenDatabaseAway",
        ),
        Graph(
            "Results written again, or lost",
            (
                Query(total("mailwarren_webhooks_write_retries_total"), "written again"),
                Query(total("mailwarren_webhooks_results_lost_total"), "lost"),
            ),
            shows="Writes that Postgres did not take at once, and results that were given up, since the start.",
            bad="`lost`: those events are told twice, with the same id.",
            unit="short",
        ),
        Graph(
            "Secrets that cannot be read",
            (Query(select("mailwarren_webhooks_unreadable"), _POD),),
            shows="Webhooks that are told nothing, because no key of `MAILWARREN_DATA_KEYS` decrypts their secret.",
            bad="Give the process the key that they were encrypted with; or rotate their secrets.",
            unit="short",
            limits=ANY_IS_BAD,
        ),
        Graph(
            "How late the loop is, for webhooks",
            (
                Query(
                    f"max by (pod, instance) {of_service(select('mailwarren_service_loop_lag_seconds'), 'webhooks')}",
                    _POD,
                ),
            ),
            shows="The most that a process's loop came too late in the last minute.",
            bad="Over a second: its CPU is throttled or taken by others.",
            unit="s",
            limits=Limits(0.5, 2),
        ),
    ),
)

BOARD = Board(
    name="webhooks",
    title="Webhooks",
    about="Do the tenants' servers hear of what happens, and in time?",
    variables=("namespace",),
    rows=(_NOW, _TELLING, _TROUBLES),
)
