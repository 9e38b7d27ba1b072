"""Feedback: what readers do, who wants no mail, and what is kept of people."""

from mailwarren.dashboards.board import Board, Row
from mailwarren.dashboards.panels import ANY_IS_BAD, Graph, Limits, Number
from mailwarren.dashboards.queries import Query, increase, rate, select, share, total

_FETCHES = "mailwarren_ingest_hits_total"
_HITS = "mailwarren_tracker_hits_total"
_PROGRAMS = 'what=~"bot|prefetch|odd"'
_RECORDED = 'what!~"head|too_many|refused"'
_BREAKERS = select("mailwarren_tracker_breakers")
_PAUSED = select("mailwarren_tracker_breakers", 'state="paused"')
_WARNED = select("mailwarren_tracker_breakers", 'state="warned"')
_PRIVACY = f"max by (namespace, state) ({select('mailwarren_ops_privacy_requests')})"
_KINDS = 'kind=~"api_logs|metrics|unsubscribes|suppressions|privacy_.+"'
_BOUNCES = "MailwarrenBounceRateHigh"

_NOW = Row(
    "Now",
    (
        Number(
            "Opens and clicks",
            (Query(rate(_HITS)),),
            shows="Hits a second that were recorded, those of programs too.",
            bad="At nothing while tracked mail goes out: is `/t/` of the tracking hosts routed to the API?",
            unit="ops",
            decimals=2,
        ),
        Number(
            "Of programs",
            (Query(share(increase(_FETCHES, _PROGRAMS), increase(_FETCHES, _RECORDED))),),
            shows="Share of the hits in the range shown that say themselves that no reader made them.",
            bad="Nearly all: a scanner in front of a big recipient. They do not count, and no webhook hears of them.",
            unit="percentunit",
            decimals=1,
        ),
        Number(
            "Hits waiting",
            (Query(total("mailwarren_ingest_hits_waiting")),),
            shows="Hits that the broker has not confirmed, in the memory of the API.",
            bad="The broker is away or slow. Links work meanwhile; a process that dies loses its hits.",
            unit="short",
            limits=Limits(1000, 40_000),
            runbook="MailwarrenBrokerAway",
        ),
        Number(
            "Tenants paused",
            (Query(f"max ({_PAUSED})"),),
            shows="Tenants whose bulk mail is held, because too much of it bounced or drew complaints.",
            bad="It goes on when a person says so: `mailwarren breaker resume`, after the list was mended.",
            unit="short",
            limits=ANY_IS_BAD,
            runbook=_BOUNCES,
        ),
        Number(
            "Tenants warned",
            (Query(f"max ({_WARNED})"),),
            shows="Tenants near that mark.",
            bad="The tracker's log names them: `tracker.breaker.warned`. Talk to them before they are paused.",
            unit="short",
            limits=Limits(warning=1),
            runbook=_BOUNCES,
        ),
        Number(
            "Privacy requests",
            (Query(f"sum ({_PRIVACY})"),),
            shows="Exports and erasures that have not ended. An erasure waits for mail under way, 50 hours at most.",
            bad="Growing: see *Exports and erasures late*.",
            unit="short",
            runbook="MailwarrenPrivacyLate",
        ),
    ),
)

_HITS_ROW = Row(
    "Opens and clicks",
    (
        Graph(
            "Fetches, by what they were",
            (Query(rate(_FETCHES, by="kind, what"), "{{kind}} {{what}}"),),
            shows="Fetches of pixels and tracked links a second: `reader`, a flag of a program, or not recorded "
            "(`head`, `too_many` of one mail, `refused`: not signed here).",
            bad="`refused` in numbers: a key of `MAILWARREN_LINK_KEYS` was taken out too early, or somebody guesses.",
            unit="ops",
            width=8,
            stacked=True,
        ),
        Graph(
            "Recorded, by how they count",
            (Query(rate(_HITS, by="lane, kind"), "{{lane}} {{kind}}"),),
            shows="Hits a second in the ledger. What is a program's is recorded and does not count.",
            bad="Nothing while *Fetches* has some: the tracker is behind, see *Tracker and database*.",
            unit="ops",
            width=8,
            runbook="MailwarrenTrackerLag",
        ),
        Graph(
            "Hits that wait for the broker",
            (
                Query(total("mailwarren_ingest_hits_waiting"), "waiting"),
                Query(total("mailwarren_ingest_hits_dropped_total"), "given up"),
            ),
            shows="In the memory of the API, 50,000 for each process at most; and given up since the start.",
            bad="`given up`: opens and clicks are lost, and no mail. Bring the broker back.",
            unit="short",
            width=8,
            runbook="MailwarrenBrokerAway",
        ),
    ),
)

_NO_MAIL = Row(
    "Who wants no mail",
    (
        Graph(
            "Accepted for suppressed addresses",
            (Query(rate("mailwarren_ingest_suppressed_deliveries_total", by="lane"), "{{lane}}"),),
            shows="Deliveries a second that were accepted and recorded as suppressed.",
            bad="Many: a tenant writes to a list without taking out who left or does not exist.",
            unit="mps",
            width=8,
        ),
        Graph(
            "Links to unsubscribe",
            (Query(rate("mailwarren_ingest_unsubscribe_links_total", by="what"), "{{what}}"),),
            shows="Links followed a second: the page was `shown`, somebody `left`, or by `one_click` of their mail "
            "program, a choice was `saved`, the link was `refused`.",
            bad="`refused` in numbers: a key of `MAILWARREN_LINK_KEYS` was taken out too early.",
            unit="ops",
            width=8,
        ),
        Graph(
            "Suppressed, and the senders not told",
            (Query(total("mailwarren_ingest_suppressions_untold_total")),),
            shows="Addresses suppressed since the API started that could not be told to the senders.",
            bad="What the senders had of their mail then was sent. It grows while the broker is away.",
            unit="short",
            limits=Limits(warning=1),
            width=8,
            runbook="MailwarrenBrokerAway",
        ),
    ),
)

_BREAKERS_ROW = Row(
    "When too much bounces",
    (
        Graph(
            "Tenants, by state",
            (Query(f"max by (state) ({_BREAKERS})", "{{state}}"),),
            shows="Tenants of whose mail of 24 hours too much bounced or drew complaints: `warned`, or bulk `paused`.",
            bad="Several at once: a provider refuses everybody. *Providers and shaping* has it.",
            unit="short",
            runbook=_BOUNCES,
        ),
        Graph(
            "Changes of the state of a tenant",
            (Query(rate("mailwarren_tracker_breaker_steps_total", by="state"), "{{state}}"),),
            shows="Tenants a second that are in another state than before, by the new one.",
            bad="`paused` soon after `fine`: it was resumed, and the list was not mended.",
            unit="ops",
            runbook=_BOUNCES,
        ),
    ),
)

_PRIVACY_ROW = Row(
    "What is kept of people",
    (
        Graph(
            "Exports and erasures, by state",
            (Query(f"max by (state) ({_PRIVACY})", "{{state}}"),),
            shows="Requests that no worker has taken yet, and those that are worked on or wait for mail to end.",
            bad="`queued` for long: no worker is free, see *Workers that take orders* in *Queues and shards*.",
            unit="short",
            runbook="MailwarrenPrivacyLate",
        ),
        Graph(
            "Exports and erasures late",
            (Query(f"max ({select('mailwarren_ops_privacy_late_seconds')})"),),
            shows="Since a request was due that no worker has; 0 when none is.",
            bad="A climb of one second a second: nobody does it. A law gives a month; find it out today.",
            unit="s",
            limits=Limits(600, 3600),
            runbook="MailwarrenPrivacyLate",
        ),
        Graph(
            "Exports and erasures completed",
            (Query(rate("mailwarren_ops_privacy_ended_total", by="kind"), "{{kind}}"),),
            shows="Requests a second that came to their end.",
            bad="None while some are `in_progress` for days: the worker's log has `worker.order.again` with the error.",
            unit="ops",
            runbook="MailwarrenPrivacyLate",
        ),
        Graph(
            "Rows of people deleted by retention",
            (Query(rate("mailwarren_ops_forgotten_rows_total", _KINDS, by="kind"), "{{kind}}"),),
            shows="Rows a second past their time: calls of the API, counters, suppressions, unsubscribes, exports.",
            bad="Nothing for days while *Rows deleted by retention* in *Queues and shards* has others: a setting is 0.",
            unit="ops",
        ),
    ),
)

BOARD = Board(
    name="feedback",
    title="Feedback",
    about="What readers do, who wants no mail, and what is kept of people.",
    variables=("namespace",),
    rows=(_NOW, _HITS_ROW, _NO_MAIL, _BREAKERS_ROW, _PRIVACY_ROW),
)
