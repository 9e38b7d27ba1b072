"""Egress and TLS: what does mail leave from, is it well, and is the way encrypted?"""

from mailwarren.dashboards.board import Board, Row
from mailwarren.dashboards.panels import ANY_IS_BAD, Graph, Limits, Number
from mailwarren.dashboards.queries import Query, increase, rate, select, share

_ATTEMPTS = "mailwarren_sender_egress_attempts_total"
_WAITS = "mailwarren_sender_egress_waits_total"
_SESSIONS = "mailwarren_sender_tls_sessions_total"
_POD = "{{pod}} {{instance}}"


def _of_all(metric: str, by: str) -> str:
    """A gauge that every sender of an egress shows: the highest counts, as one that is open anywhere takes its mail."""
    return f"max by (namespace, {by}) ({select(f'mailwarren_sender_egress_{metric}')})"


_OPEN = _of_all("open", "egress")
_CHECKS = _of_all("check", "egress, check")
_TAKEN, _LIMIT = _of_all("warmup_taken", "egress, site"), _of_all("warmup_limit", "egress, site")

_NOW = Row(
    "Now",
    (
        Number(
            "Egresses open",
            (Query(f"sum ({_OPEN})"),),
            shows="Egresses that mail may leave from at one sender or more. None without a file of egresses.",
            bad="At nothing all mail of its pools waits: see *Egresses closed*.",
            unit="short",
        ),
        Number(
            "Egresses closed",
            (Query(f"sum ({_OPEN} == bool 0)"),),
            shows="Egresses that are closed at every sender that has them.",
            bad="Their mail leaves from the others of the pool, or waits. `mailwarren egress` says what is wrong.",
            unit="short",
            limits=ANY_IS_BAD,
            runbook="MailwarrenEgressClosed",
        ),
        Number(
            "Checks that fail",
            (Query(f"sum ({_CHECKS} == bool 0)"),),
            shows="Checks of the egresses (address, reverse DNS, HELO, SPF) that fail at every sender that makes them.",
            bad="Receivers refuse or distrust such mail: publish the record that `mailwarren egress` expects.",
            unit="short",
            limits=ANY_IS_BAD,
            runbook="MailwarrenEgressCheckFails",
        ),
        Number(
            "Mail without an egress",
            (Query(rate(_WAITS)),),
            shows="Mails a second that found no egress open and went to the ladder, at no cost of an attempt.",
            bad="The graph *Mail without an egress, by reason* tells a warm-up from what nobody may send.",
            unit="ops",
            decimals=2,
            runbook="MailwarrenWarmUpWaits",
        ),
        Number(
            "Warm-up used",
            (Query(f"max ({_TAKEN} / ({_LIMIT} > 0))"),),
            shows="Of today's number of the egress and site that is used up furthest.",
            bad="At 100 % hours before midnight UTC: the curve is slower than the mail. *Warm-up* below names it.",
            unit="percentunit",
            limits=Limits(0.9, 1),
            runbook="MailwarrenWarmUpWaits",
        ),
        Number(
            "TLS negotiated",
            (Query(share(increase(_SESSIONS, 'result="ok"'), increase(_SESSIONS))),),
            shows="Share of the negotiations of TLS with mail hosts that went well, over the range shown.",
            bad="*Negotiations of TLS* has the reasons, `GET /v1/tls-reports` the domains.",
            unit="percentunit",
            limits=Limits(0.95, 0.8, below=True),
            decimals=1,
            runbook="MailwarrenTlsFailures",
        ),
    ),
)

_EGRESSES = Row(
    "Egresses",
    (
        Graph(
            "Attempts by egress",
            (Query(rate(_ATTEMPTS, by="egress"), "{{egress}}"),),
            shows="Attempts a second that left from each egress.",
            bad="One at nothing: it is closed, its number of the day is used up, or no pool with mail has it.",
            unit="ops",
            stacked=True,
        ),
        Graph(
            "Attempts without a 250, by egress",
            (
                Query(
                    share(rate(_ATTEMPTS, 'result!="delivered"', by="egress"), rate(_ATTEMPTS, by="egress")),
                    "{{egress}}",
                ),
            ),
            shows="Share of each egress's attempts that were deferred or refused.",
            bad="One far above the others: its address is on a list, or warmed up too fast. Give it less weight.",
            unit="percentunit",
            limits=Limits(0.2, 0.5),
        ),
        Graph(
            "Open, by egress",
            (Query(f"max by (egress) ({_OPEN})", "{{egress}}"),),
            shows="1 while mail may leave from it at one sender or more.",
            bad="0: the checks beside it say why.",
            unit="none",
            decimals=0,
            runbook="MailwarrenEgressClosed",
        ),
        Graph(
            "Checks, by egress",
            (Query(f"max by (egress, check) ({_CHECKS})", "{{egress}} {{check}}"),),
            shows="1 while a check passes at one sender or more, else 0; nothing while the DNS does not answer.",
            bad="0: `mailwarren egress` has what was expected and what was found.",
            unit="none",
            decimals=0,
            runbook="MailwarrenEgressCheckFails",
        ),
        Graph(
            "Mail without an egress, by reason",
            (Query(rate(_WAITS, by="reason"), "{{reason}}"),),
            shows="Mails a second that went to the ladder: `used_up` (numbers of the day), `closed` (checks), "
            "`not_here` (other senders have all of the pool), `unreached` (no address of the hosts' family), "
            "`passed_on` (a greylisted mail was left to the sender that has its egress).",
            bad="`used_up` is a warm-up at work. `not_here` for long, of queues that fleets do not share, is mail that "
            "nobody may send: it waits until it expires.",
            unit="ops",
            stacked=True,
            runbook="MailwarrenWarmUpWaits",
        ),
        Graph(
            "Parts of the days' numbers",
            (Query(rate("mailwarren_sender_egress_reservations_total", by="result"), "{{result}}"),),
            shows="Times a second that senders asked for a part of a day's number, by what came of it.",
            bad="`unheard`: the control log does not answer, and nothing more leaves from new egresses. `none_left` is "
            "the end of a day's number.",
            unit="ops",
            runbook="MailwarrenBrokerAway",
        ),
    ),
)

_WARM_UP = Row(
    "Warm-up",
    (
        Graph(
            "Mails of today's number",
            (
                Query(f"max by (egress, site) ({_TAKEN})", "{{egress}} {{site}}"),
                Query(f"max by (egress, site) ({_LIMIT})", "{{egress}} {{site}} most"),
            ),
            shows="Mails that senders have taken of today's (UTC) number, and the number, by egress and site.",
            bad="At the number with mail that waits: give the pool more egresses, or wait for midnight.",
            unit="short",
            runbook="MailwarrenWarmUpWaits",
        ),
        Graph(
            "Share of today's number",
            (Query(f"max by (egress, site) ({_TAKEN} / ({_LIMIT} > 0))", "{{egress}} {{site}}"),),
            shows="The same as a share.",
            bad="At 100 % early in the day, day after day: mail waits longer each day, and expires after two.",
            unit="percentunit",
            limits=Limits(0.9, 1),
            runbook="MailwarrenWarmUpWaits",
        ),
    ),
)

_TLS = Row(
    "TLS",
    (
        Graph(
            "Negotiations of TLS",
            (Query(rate(_SESSIONS, by="policy, result"), "{{policy}} {{result}}"),),
            shows="With mail hosts of recipients' domains, a second: whose rule held (`sts`, `tlsa` for DANE, "
            "`no-policy-found`), and `ok` or the failure in the words of RFC 8460.",
            bad="Failures under `sts` or `tlsa` hold mail back. The other side may have changed its certificate, or "
            "somebody stands between.",
            unit="ops",
            stacked=True,
            runbook="MailwarrenTlsFailures",
        ),
        Graph(
            "Attempts that failed for TLS",
            (
                Query(
                    rate("mailwarren_sender_attempts_total", 'bounce_class=~"tls.*"', by="provider, bounce_class"),
                    "{{provider}} {{bounce_class}}",
                ),
            ),
            shows="Attempts a second that ended because TLS was needed and could not be had.",
            bad="These mails are tried again until their time runs out. A timeline has the words in `trouble`.",
            unit="ops",
            stacked=True,
            runbook="MailwarrenTlsFailures",
        ),
        Graph(
            "Hosts spoken to in the clear",
            (Query(select("mailwarren_sender_tls_broken_hosts"), _POD),),
            shows="Mail hosts whose handshake broke within the hour and for which nothing requires TLS, by sender.",
            bad="Many at once: our own TLS is the likely reason, a root store or a box in between.",
            unit="short",
        ),
        Graph(
            "MTA-STS policies fetched",
            (Query(rate("mailwarren_sender_sts_fetches_total", by="result"), "{{result}}"),),
            shows="Policies of recipients' domains fetched over HTTPS a second, by how that went.",
            bad="`sts-policy-fetch-error` for all: port 443 is closed for the senders, and policies are not obeyed.",
            unit="ops",
        ),
    ),
)

BOARD = Board(
    name="egress",
    title="Egress and TLS",
    about="What does mail leave from, is it well, and is the way encrypted?",
    variables=("namespace",),
    rows=(_NOW, _EGRESSES, _WARM_UP, _TLS),
)
