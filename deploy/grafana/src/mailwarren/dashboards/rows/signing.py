"""A row of *Senders*: DKIM signatures, and the keys that they are made with."""

from mailwarren.dashboards.board import Row
from mailwarren.dashboards.panels import ANY_IS_BAD, Graph, Limits
from mailwarren.dashboards.queries import Query, quantile, rate, select, total

_SECONDS = "mailwarren_sender_dkim_seconds"
_MISSING = select("mailwarren_sender_dkim_domains_missing")

ROW = Row(
    "Signing",
    (
        Graph(
            "DKIM signatures",
            (
                Query(
                    rate("mailwarren_sender_dkim_signatures_total", by="algorithm, origin"), "{{algorithm}} {{origin}}"
                ),
            ),
            shows="Signatures a second: made, or kept from an attempt before. A mail has one for each key of its "
            "domain.",
            bad="None while mail of a domain with keys goes out: look at the two panels of keys beside this one.",
            unit="ops",
            stacked=True,
        ),
        Graph(
            "Time to sign a mail",
            (Query(quantile(0.5, _SECONDS), "p50"), Query(quantile(0.95, _SECONDS), "p95")),
            shows="From a built mail to its signatures, the wait for a thread with it. RSA-2048 alone takes 0.3 to "
            "1 ms.",
            bad="Over 50 ms: more mail than the cores can sign. Add senders; `MAILWARREN_DKIM_THREADS` helps only "
            "where a pod has more than two cores.",
            unit="s",
            limits=Limits(0.05, 0.5),
        ),
        Graph(
            "Domains without their DKIM keys",
            (
                Query(
                    f"max by (pod, instance) ({select('mailwarren_sender_dkim_domains_missing')})",
                    "{{pod}} {{instance}}",
                ),
            ),
            shows="Domains whose mail waits at a sender, because their keys cannot be had. It is never sent unsigned.",
            bad="All senders: ingest's internal port is away. One domain: it was deleted while it had mail.",
            unit="short",
            limits=ANY_IS_BAD,
            runbook="MailwarrenDkimKeysAway",
        ),
        Graph(
            "Age of the oldest DKIM keys in use",
            (Query(f"max ({select('mailwarren_sender_dkim_key_age_seconds')})"),),
            shows="How long ago keys that signed mail in the last minute were read from ingest.",
            bad="Over ten minutes: ingest cannot be asked. Known keys go on for a day (`MAILWARREN_DKIM_KEEP`).",
            unit="s",
            limits=Limits(600, 3600),
            runbook="MailwarrenDkimKeysAway",
        ),
        Graph(
            "Domains whose DKIM keys are known",
            (Query(select("mailwarren_sender_dkim_domains"), "{{pod}} {{instance}}"),),
            shows="Domains whose keys each sender has in memory.",
            bad="At `MAILWARREN_DKIM_DOMAINS` with many keys asked for: raise it, at some kilobytes a domain.",
            unit="short",
        ),
        Graph(
            "DKIM keys asked for, by answer",
            (Query(total("mailwarren_sender_dkim_key_reads_total", by="result"), "{{result}}"),),
            shows="Since the senders started: `fetched`, `unchanged`, `none` of that domain, and ingest `away`.",
            bad="`away` grows: ingest's internal port. `none`: a domain was deleted while it had mail.",
            unit="short",
            runbook="MailwarrenDkimKeysAway",
        ),
        Graph(
            "CPU of the private keys",
            (Query(rate("mailwarren_sender_dkim_private_key_seconds_total", by="algorithm"), "{{algorithm}} cores"),),
            shows="Cores that signing itself takes, by algorithm.",
            bad="High with senders at the end of their cores: add senders. An RSA signature is dear, whoever makes it.",
            unit="none",
            decimals=2,
        ),
        Graph(
            "Sending domains, by state",
            (
                Query(f"max by (state) ({select('mailwarren_ops_domains')})", "{{state}}"),
                Query(f"max ({select('mailwarren_ops_domains_broken')})", "broken"),
            ),
            shows="Domains by how it stands with their DNS records; `broken` were verified and now lack one.",
            bad="`broken`: receivers distrust their mail. `GET /v1/domains/{id}` names the record.",
            unit="short",
            runbook="MailwarrenDomainBroken",
        ),
    ),
)
