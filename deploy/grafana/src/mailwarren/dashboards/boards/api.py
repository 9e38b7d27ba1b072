"""API: what is asked of it, what it refuses, and how fresh is what it goes by?"""

from mailwarren.dashboards.board import Board, Row
from mailwarren.dashboards.panels import Graph, Limits, Number
from mailwarren.dashboards.queries import Query, cpu, of_service, quantile, rate, select, share, total

_SECONDS = "mailwarren_ingest_request_seconds"
_COUNT = f"{_SECONDS}_count"
_POD = "{{pod}} {{instance}}"
_CLOCK = select("mailwarren_service_clock_seconds")


def _age(metric: str) -> str:
    """Seconds since a moment that a process shows; those that have not come so far show 0, and are left out."""
    return f"max ({_CLOCK} - ({select(metric)} > 0))"


_NOW = Row(
    "Now",
    (
        Number(
            "Requests",
            (Query(rate(_COUNT)),),
            shows="Requests a second that were answered.",
            bad="At nothing: is the API ready, and does its ingress lead to it?",
            unit="reqps",
            decimals=1,
        ),
        Number(
            "Refused (4xx)",
            (Query(share(rate(_COUNT, 'status="4xx"'), rate(_COUNT))),),
            shows="Share of the requests that the callers have to mend.",
            bad="*Refused, by error* names the error, `GET /v1/logs` has a tenant's calls.",
            unit="percentunit",
            decimals=1,
        ),
        Number(
            "Failed (5xx)",
            (Query(share(rate(_COUNT, 'status="5xx"'), rate(_COUNT))),),
            shows="Share of the requests that were answered with 5xx: no room, the broker or Postgres away, a defect.",
            bad="Callers repeat a 503 after its `Retry-After`. 500 is ours: `ingest.request.crashed` in the log.",
            unit="percentunit",
            limits=Limits(0.01, 0.05),
            decimals=1,
            runbook="MailwarrenApiErrors",
        ),
        Number(
            "95th percentile",
            (Query(quantile(0.95, _SECONDS)),),
            shows="19 of 20 requests were answered within this time.",
            bad="Over a second: *95th percentile, by endpoint* tells a slow broker (sends) from Postgres (reads).",
            unit="s",
            limits=Limits(0.5, 2),
            runbook="MailwarrenApiSlow",
        ),
        Number(
            "Age of the API keys",
            (Query(_age("mailwarren_ingest_keys_refreshed_timestamp_seconds")),),
            shows="Since the API process that is furthest behind read its keys from Postgres.",
            bad="Over a minute: Postgres is away. Known keys go on, new ones are not known and revoked ones still are.",
            unit="s",
            limits=Limits(60, 300),
            runbook="MailwarrenKeysStale",
        ),
        Number(
            "Age of the domains",
            (Query(_age("mailwarren_ingest_domains_refreshed_timestamp_seconds")),),
            shows="The same for the sending domains, with their return paths, tracking and keys' names.",
            bad="Over a minute: changes of domains are not obeyed yet. Bring Postgres back.",
            unit="s",
            limits=Limits(60, 300),
            runbook="MailwarrenKeysStale",
        ),
    ),
)

_CALLS = Row(
    "Calls",
    (
        Graph(
            "Requests by endpoint",
            (Query(rate(_COUNT, by="endpoint"), "{{endpoint}}"),),
            shows="Requests a second of each operation.",
            bad="One that jumps: a caller in a loop. `GET /v1/logs` with the tenant's key shows its calls.",
            unit="reqps",
            stacked=True,
        ),
        Graph(
            "95th percentile, by endpoint",
            (Query(quantile(0.95, _SECONDS, by="endpoint"), "{{endpoint}}"),),
            shows="How long 19 of 20 requests of each operation took at most.",
            bad="Sends wait for the broker's confirm, reads for Postgres.",
            unit="s",
            runbook="MailwarrenApiSlow",
        ),
        Graph(
            "Refused, by error",
            (Query(rate("mailwarren_ingest_refused_total", by="reason"), "{{reason}}"),),
            shows="Requests a second that were refused, by the name of the error in the answer.",
            bad="`invalid_api_key` in numbers: an old key is still in use, or somebody guesses.",
            unit="reqps",
            stacked=True,
        ),
        Graph(
            "Keyed calls that were not the first",
            (Query(rate("mailwarren_ingest_idempotent_total", by="what"), "{{what}}"),),
            shows="Calls a second with an Idempotency-Key that was there before: the answer was `replayed`, a call "
            "that had died was `taken_over`, or it was refused.",
            bad="Many: callers time out too early. `invalid_idempotent_request`: one key for two different mails.",
            unit="reqps",
        ),
        Graph(
            "Calls that are kept",
            (
                Query(rate("mailwarren_ingest_api_logs_written_total"), "kept"),
                Query(rate("mailwarren_ingest_api_logs_dropped_total"), "not kept"),
            ),
            shows="Calls a second that `GET /v1/logs` will show, and those beyond 200 a second and process.",
            bad="`not kept` costs no mail. With few calls: Postgres is slow or away.",
            unit="reqps",
        ),
        Graph(
            "Emails kept for later",
            (Query(rate("mailwarren_ingest_scheduled_emails_total")),),
            shows="Emails a second with a time of their own, which wait in Postgres.",
            bad="Far above what is released later: *Scheduled mail* in *Queues and shards*.",
            unit="ops",
        ),
    ),
)

_FILES = Row(
    "Files and keys",
    (
        Graph(
            "Attachments",
            (Query(rate("mailwarren_ingest_attachments_total", by="result"), "{{result}}"),),
            shows="Attachments of calls a second: `stored`, `known` from before, or `failed`.",
            bad="`failed`: the blob store (`MAILWARREN_BLOB_URL`) does not take them, and their calls get 503.",
            unit="ops",
            stacked=True,
        ),
        Graph(
            "Size of the attachments",
            (Query(rate("mailwarren_ingest_attachment_bytes_total", by="result"), "{{result}}"),),
            shows="Their bytes a second.",
            bad="`known` is what was not stored twice. `stored` steady and high: look at the room of the blob store.",
            unit="binBps",
            stacked=True,
        ),
        Graph(
            "Blobs that senders asked for",
            (Query(rate("mailwarren_ingest_blob_reads_total", by="result"), "{{result}}"),),
            shows="Attachments and large bodies a second that senders fetched; each sender keeps a copy.",
            bad="`missing`: retention was shorter than the mail lived. `failed`: the blob store.",
            unit="ops",
        ),
        Graph(
            "DKIM keys that senders asked for",
            (Query(rate("mailwarren_ingest_signing_key_reads_total", by="result"), "{{result}}"),),
            shows="Requests a second for the keys of a domain.",
            bad="`failed`: no key of `MAILWARREN_DATA_KEYS` decrypts them. `no_database`: Postgres is away.",
            unit="ops",
            runbook="MailwarrenSigningKeysUnreadable",
        ),
    ),
)

_PROCESS = Row(
    "Processes",
    (
        Graph(
            "CPU of the API",
            (Query(cpu("ingest", "pod, instance"), f"{_POD} cores"),),
            shows="Cores that each process uses; one is about the most.",
            bad="Near 1: another process (the chart's HPA does it).",
            unit="none",
            limits=Limits(0.8, 0.95),
            decimals=2,
            width=8,
        ),
        Graph(
            "How late the loop is, for the API",
            (
                Query(
                    f"max by (pod, instance) {of_service(select('mailwarren_service_loop_lag_seconds'), 'ingest')}",
                    _POD,
                ),
            ),
            shows="The most that a process's loop came too late in the last minute: every request waited that long.",
            bad="Over a second: its CPU is throttled or taken by others, or one request is huge.",
            unit="s",
            limits=Limits(0.5, 2),
            width=8,
        ),
        Graph(
            "Reports that wait",
            (Query(total("mailwarren_ingest_unconfirmed_waiting")),),
            shows="Deliveries whose publish the broker did not confirm and that the tracker has not been told of.",
            bad="It falls to nothing when the broker is back.",
            unit="short",
            width=8,
            runbook="MailwarrenUnconfirmedDropped",
        ),
    ),
)

BOARD = Board(
    name="api",
    title="API",
    about="What is asked of the API, what does it refuse, and how fresh is what it goes by?",
    variables=("namespace",),
    rows=(_NOW, _CALLS, _FILES, _PROCESS),
)
