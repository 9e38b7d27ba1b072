"""Providers and shaping: who takes our mail, who defers it, who refuses it."""

from mailwarren.dashboards.board import Board, Row
from mailwarren.dashboards.palette import OUTCOMES
from mailwarren.dashboards.panels import Graph, Limits, Number, Table
from mailwarren.dashboards.queries import LANE, PROVIDER, SHARD, Query, increase, quantile, rate, select, share, total

_ATTEMPTS = "mailwarren_sender_attempts_total"
_SECONDS = "mailwarren_sender_attempt_seconds"
_OVERRIDES = select("mailwarren_sender_overrides", PROVIDER, 'scope="site"')
_CHOSEN = (LANE, SHARD, PROVIDER)
_CLOCK = select("mailwarren_service_clock_seconds")


def _part(result: str) -> str:
    return share(
        rate(_ATTEMPTS, *_CHOSEN, f'result=~"{result}"', by="provider"), rate(_ATTEMPTS, *_CHOSEN, by="provider")
    )


_NOW = Row(
    "Now",
    (
        Number(
            "Attempts",
            (Query(rate(_ATTEMPTS, *_CHOSEN)),),
            shows="SMTP transactions a second that reached an outcome.",
            bad="At nothing while mail waits: see *Queues and shards* and *Senders*.",
            unit="ops",
            width=6,
            decimals=1,
        ),
        Number(
            "Delivered",
            (Query(share(rate(_ATTEMPTS, *_CHOSEN, 'result="delivered"'), rate(_ATTEMPTS, *_CHOSEN))),),
            shows="Share of attempts that got a 250.",
            bad="Under 90 %: the table below names the provider.",
            unit="percentunit",
            limits=Limits(0.95, 0.9, below=True),
            width=6,
            decimals=1,
        ),
        Number(
            "Deferred",
            (Query(share(rate(_ATTEMPTS, *_CHOSEN, 'result="deferred"'), rate(_ATTEMPTS, *_CHOSEN))),),
            shows="Share of attempts that are tried again later.",
            bad="Over 20 %: a provider limits us or greylists. Fewer senders and connections help, more do not.",
            unit="percentunit",
            limits=Limits(0.1, 0.2),
            width=6,
            decimals=1,
        ),
        Number(
            "Bounced or failed",
            (Query(share(rate(_ATTEMPTS, *_CHOSEN, 'result=~"bounced|failed"'), rate(_ATTEMPTS, *_CHOSEN))),),
            shows="Share of attempts that were refused for good.",
            bad="Over 5 % your reputation suffers: stop the list, and look at the class of the failures.",
            unit="percentunit",
            limits=Limits(0.02, 0.05),
            width=6,
            decimals=1,
            runbook="MailwarrenFailuresHigh",
        ),
    ),
)

_PROVIDERS = Row(
    "Providers",
    (
        Graph(
            "Attempts by provider",
            (Query(rate(_ATTEMPTS, *_CHOSEN, by="provider"), "{{provider}}"),),
            shows="Attempts a second. `smarthost` is the relay of `MAILWARREN_SMTP_URL`, `other` all providers without "
            "a name of their own, `none` mail for which no server was found.",
            bad="One falls to nothing while its shard fills: no server answers, or nobody consumes its queue.",
            unit="ops",
        ),
        Graph(
            "Outcomes",
            (Query(rate(_ATTEMPTS, *_CHOSEN, by="result"), "{{result}}"),),
            shows="Attempts a second of the chosen providers, by what they led to.",
            bad="Choose one provider above to see whose `deferred` or `bounced` it is.",
            unit="ops",
            colours=OUTCOMES,
            stacked=True,
        ),
        Graph(
            "Deferred, by provider",
            (Query(_part("deferred"), "{{provider}}"),),
            shows="Share of a provider's attempts that it put off.",
            bad="A step to nearly 100 % is a block for a time: read a reply in the timeline. A slow rise is a limit "
            "that we are at.",
            unit="percentunit",
            limits=Limits(bad=0.5),
        ),
        Graph(
            "Bounced or failed, by provider",
            (Query(_part("bounced|failed"), "{{provider}}"),),
            shows="Share of a provider's attempts that it refused for good.",
            bad="High at one provider: it blocks us, or the list's addresses there are old.",
            unit="percentunit",
            limits=Limits(bad=0.05),
            runbook="MailwarrenFailuresHigh",
        ),
        Table(
            "Provider and outcome, over the range shown",
            (Query(f"{increase(_ATTEMPTS, *_CHOSEN, by='provider, result, bounce_class')} > 0"),),
            shows="Attempts by provider, outcome and class of failure.",
            bad="Sort by attempts. Classes are those of the reply rules; `none` is a success.",
            unit="short",
            columns=("Attempts",),
            labels=("provider", "result", "bounce_class"),
            decimals=0,
            width=24,
        ),
    ),
)

_CAUSES = Row(
    "Causes",
    (
        Graph(
            "Failures by class",
            (Query(rate(_ATTEMPTS, *_CHOSEN, 'bounce_class!="none"', by="bounce_class"), "{{bounce_class}}"),),
            shows="Attempts a second without a 250, by the rule that read the reply.",
            bad="A class that is new since a change of content, of the sending domain or of DNS names its cause.",
            unit="ops",
            stacked=True,
        ),
        Graph(
            "Attempts by shard",
            (Query(rate(_ATTEMPTS, *_CHOSEN, by="shard"), "{{shard}}"),),
            shows="Attempts a second by the shard of the recipient's domain.",
            bad="A named shard at nothing with parcels ready: its provider stopped taking mail.",
            unit="ops",
            stacked=True,
        ),
        Graph(
            "One SMTP transaction, by provider",
            (
                Query(quantile(0.5, _SECONDS, LANE, PROVIDER, by="provider"), "{{provider}} p50"),
                Query(quantile(0.95, _SECONDS, LANE, PROVIDER, by="provider"), "{{provider}} p95"),
            ),
            shows="From MAIL to the last reply.",
            bad="One grows: it tarpits you, or is in trouble itself. More connections to it seldom help.",
            unit="s",
        ),
        Graph(
            "SMTP connections, by provider",
            (
                Query(
                    total("mailwarren_sender_smtp_connections", PROVIDER, by="provider, state"),
                    "{{provider}} {{state}}",
                ),
            ),
            shows="Open connections over all senders, doing something or kept for the next mail.",
            bad="All busy while mail waits: the limit of connections is what holds you. It is the provider's row in "
            "`shaping.toml`, for each sender.",
            unit="short",
            stacked=True,
        ),
        Graph(
            "Mails that wait for a connection, by provider",
            (Query(total("mailwarren_sender_smtp_waiting", PROVIDER, by="provider"), "{{provider}}"),),
            shows="Mails that senders hold and for which no connection is free.",
            bad="Steady at one provider: raise its `connections` if it allows more, or let its mail wait.",
            unit="short",
            stacked=True,
        ),
        Graph(
            "Connections opened and failed, by provider",
            (
                Query(
                    rate("mailwarren_sender_smtp_connections_opened_total", PROVIDER, by="provider"),
                    "{{provider}} opened",
                ),
                Query(
                    rate("mailwarren_sender_smtp_dials_failed_total", PROVIDER, by="provider"), "{{provider}} failed"
                ),
            ),
            shows="SMTP sessions set up a second, and hosts that gave none.",
            bad="`failed` above `opened`: the provider turns you away, or its hosts are not reached. A mail's timeline "
            "has the words in `trouble`.",
            unit="ops",
        ),
        Graph(
            "Limits in force for a time, by provider",
            (
                Query(
                    f"max by (provider, kind, cause) ({_OVERRIDES})",
                    "{{provider}} {{kind}} {{cause}}",
                ),
            ),
            shows="Suspensions and limits that all senders keep, by their cause: a reply rule, a breaker, a person.",
            bad="A provider that is suspended again and again: it is told too much, or its users complain.",
            unit="short",
            width=24,
            runbook="MailwarrenProviderSuspended",
        ),
        Graph(
            "Limits put in force by reply rules",
            (Query(total("mailwarren_sender_rule_actions_total", by="rule, action"), "{{rule}} {{action}}"),),
            shows="Suspensions and limits since the senders started, by the class of the rule that read the reply.",
            bad="Steps every hour: what the rule does is too little. Fewer connections, or a lower rate, in the row.",
            unit="short",
            runbook="MailwarrenProviderSuspended",
        ),
        Graph(
            "Age of the rules in force",
            (
                Query(
                    f"max by (file) ({_CLOCK} - on (job, instance) group_right () "
                    f"{select('mailwarren_sender_rules_loaded_timestamp_seconds')})",
                    "{{file}}",
                ),
            ),
            shows="Since the sender that is furthest behind loaded its `shaping` and `replies`.",
            bad="Hours after a change: a sender has not got the new file, or refuses it.",
            unit="s",
            runbook="MailwarrenRulesRefused",
        ),
    ),
)

BOARD = Board(
    name="providers",
    title="Providers and shaping",
    about="Who takes our mail, who defers it, who refuses it.",
    variables=("namespace", "lane", "shard", "provider"),
    rows=(_NOW, _PROVIDERS, _CAUSES),
)
