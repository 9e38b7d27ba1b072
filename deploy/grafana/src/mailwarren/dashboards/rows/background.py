"""A row of *Queues and shards*: work that nobody waits for, by the workers, on the scheduler's orders."""

from mailwarren.dashboards.board import Row
from mailwarren.dashboards.panels import ANY_IS_BAD, Graph, Limits, Number
from mailwarren.dashboards.queries import (
    OPS_QUEUE,
    Query,
    quantile,
    queues,
    rate,
    relabel,
    select,
    total,
)

_CLOCK = select("mailwarren_service_clock_seconds")
_HEARTBEAT = select("mailwarren_ops_heartbeat_timestamp_seconds")
_ROUND = select("mailwarren_ops_round_timestamp_seconds")

ROW = Row(
    "Work that nobody waits for",
    (
        Number(
            "Workers that take orders",
            (Query(total("mailwarren_ops_consuming")),),
            shows="Worker processes with a connection to the broker and the queue `ops.tasks` in hand.",
            bad="At nothing retention and every other order wait. `kubectl get pods`, then the worker's log.",
            unit="short",
            limits=Limits(bad=1, below=True),
        ),
        Number(
            "Last heartbeat",
            (Query(f"min ({_CLOCK} - ({_HEARTBEAT} > 0))"),),
            shows="Since a worker last carried out a heartbeat: scheduler, broker, worker and database worked then.",
            bad="Over five minutes one of the four is away: *Scheduler's last round* tells the first from the others.",
            unit="s",
            limits=Limits(180, 300),
        ),
        Number(
            "Scheduler's last round",
            (Query(f"min ({_CLOCK} - ({_ROUND} > 0))"),),
            shows="Since a scheduler last looked for what is due, to the end and well.",
            bad="Over a minute: no scheduler runs, or Postgres or the broker refuses it. Its log says which.",
            unit="s",
            limits=Limits(15, 60),
        ),
        Number(
            "Overdue",
            (Query(f"max ({select('mailwarren_ops_overdue_seconds')})"),),
            shows="Since the job was due that waits longest to be carried out.",
            bad="Over an hour: the graph below names it, `SELECT * FROM periodic_jobs` says what was tried.",
            unit="s",
            limits=Limits(300, 3600),
        ),
        Number(
            "Orders set aside",
            (Query(f"sum ({select('mailwarren_ops_set_aside_total')})"),),
            shows="Orders put into `ops.dead` since the workers started.",
            bad="Flower and the worker's log have the reason. What they should have done is not done.",
            unit="short",
            limits=ANY_IS_BAD,
        ),
        Number(
            "Orders in hand",
            (Query(f"{total('mailwarren_ops_orders_running')} / {total('mailwarren_ops_slots')}"),),
            shows="Orders being carried out, as a share of how many the workers may carry out at once.",
            bad="At 100 % with orders ready: more workers, or a higher `MAILWARREN_WORKER_CONCURRENCY`.",
            unit="percentunit",
            limits=Limits(0.8, 1),
        ),
        Graph(
            "Scheduled mail, waiting and held",
            (Query(f"max by (state) ({select('mailwarren_ops_scheduled_emails')})", "{{state}}"),),
            shows="Emails that wait for their time, and those that wait for a person.",
            bad="`held` above nothing: nobody sends them until somebody decides.",
            unit="short",
        ),
        Graph(
            "Lateness of scheduled mail",
            (
                Query(f"max ({select('mailwarren_ops_scheduled_late_seconds')})", "longest waiting"),
                Query(quantile(0.95, "mailwarren_ops_scheduled_lateness_seconds"), "p95 released"),
            ),
            shows="From when an email was due until the broker had it, and since the first was due that still waits.",
            bad="Over a few seconds: a scheduler too few, no room in the queues, or the broker is away.",
            unit="s",
        ),
        Graph(
            "Rows of imports",
            (Query(rate("mailwarren_ops_import_rows_total", by="result"), "{{result}}"),),
            shows="Rows a second of CSV files of contacts, by what became of them.",
            bad="`failed` most of all: a file in another form than its columns say. Its report has the reasons.",
            unit="ops",
        ),
        Graph(
            "Imports, and how long one stands still",
            (
                Query(f"max by (state) ({select('mailwarren_ops_imports')})", "{{state}}"),
                Query(f"max ({select('mailwarren_ops_import_still_seconds')})", "seconds without a batch"),
            ),
            shows="Imports of contacts that wait or are worked on, and seconds since the slowest of them moved.",
            bad="Seconds that climb by one a second: no worker has it. Its runbook is *MailwarrenImportStuck*.",
            unit="short",
        ),
        Graph(
            "Broadcasts on their way, by state",
            (Query(f"max by (state) ({select('mailwarren_ops_broadcasts')})", "{{state}}"),),
            shows="Broadcasts that wait for their time or a worker, are being published, or wait for a person.",
            bad="`held`, `failed`: `mailwarren broadcasts list`. `queued` for long: no worker is free.",
            unit="short",
        ),
        Graph(
            "Recipients of broadcasts",
            (Query(rate("mailwarren_ops_broadcast_recipients_total"), "published"),),
            shows="Recipients a second whose mail the broker has taken.",
            bad="Far below a thousand while one is `sending`: it waits for room, or the database is slow.",
            unit="ops",
        ),
        Graph(
            "Batches of broadcasts without room, by reason",
            (Query(rate("mailwarren_ops_broadcast_waits_total", by="reason"), "{{reason}}"),),
            shows="Batches a second that had to wait. Nothing is lost; they go on by themselves.",
            bad="`queue_full`: more senders. `tracker_backlog`: the tracker is behind.",
            unit="ops",
        ),
        Graph(
            "Start of broadcasts",
            (
                Query(f"max ({select('mailwarren_ops_broadcast_waited_seconds')})", "longest waiting"),
                Query(quantile(0.95, "mailwarren_ops_broadcast_start_seconds"), "p95 started"),
            ),
            shows="From when a broadcast was to be sent until its first batch was in the broker.",
            bad="Over two seconds: workers too few, or busy with other orders.",
            unit="s",
        ),
        Graph(
            "Orders released, by work",
            (Query(rate("mailwarren_ops_released_total", by="work"), "{{work}}"),),
            shows="Orders a second that the schedulers gave to the workers.",
            bad="Nothing with *Scheduler's last round* at a few seconds: nothing is due. Else no scheduler runs.",
            unit="ops",
            width=8,
        ),
        Graph(
            "Lateness of orders",
            (Query(quantile(0.95, "mailwarren_ops_release_lateness_seconds"), "p95"),),
            shows="From when an order was due until a scheduler gave it to the workers.",
            bad="Over a minute: the scheduler was away, or Postgres or the broker refused it.",
            unit="s",
            width=8,
            limits=Limits(15, 60),
        ),
        Graph(
            "Next scheduled email",
            (
                Query(
                    f"min (({select('mailwarren_ops_scheduled_next_due_timestamp_seconds')} > 0) - {_CLOCK})",
                    "due in",
                ),
            ),
            shows="Until the next scheduled email is due; nothing when none waits.",
            bad="Below 0 for more than seconds: it is late. *Lateness of scheduled mail* says by how much.",
            unit="s",
            width=8,
            lowest=None,
        ),
        Graph(
            "Tries of orders, by what came of them",
            (Query(rate("mailwarren_ops_orders_total", by="work, result"), "{{work}} {{result}}"),),
            shows="Tries a second. `again` waits for its next try, `repeated` was done before, `failed` is set aside.",
            bad="`again` for long: `periodic_jobs.trouble` and Flower have the error. Link *Flower* at the top.",
            unit="ops",
        ),
        Graph(
            "Orders waiting, by queue",
            (
                Query(
                    relabel(queues("queue_messages_ready", OPS_QUEUE), "short", ".*(ops[.].+)"),
                    "{{short}}",
                ),
            ),
            shows="`ops.tasks` waits for a worker, `ops.retry.*` for its next try, `ops.dead` for a person.",
            bad="`ops.tasks` grows: too few workers. `ops.dead`: read the order in RabbitMQ, mend, and move it back.",
            unit="short",
        ),
        Graph(
            "Overdue, by job",
            (Query(f"max by (work) ({select('mailwarren_ops_overdue_seconds')})", "{{work}}"),),
            shows="Since each periodic job was due that has not been carried out; 0 when none is.",
            bad="A climb of one second a second: no worker carries it out. A saw-tooth is a job that is slow.",
            unit="s",
        ),
        Graph(
            "Since each job was last done",
            (
                Query(
                    f"max by (work) ({_CLOCK} - on (job, instance) group_right () "
                    f"{select('mailwarren_ops_done_timestamp_seconds')})",
                    "{{work}}",
                ),
            ),
            shows="Age of the last run that ended well. A healthy job falls to nothing once in its period.",
            bad="Over a few periods: its runs fail. `periodic_jobs.trouble` says why.",
            unit="s",
        ),
        Graph(
            "Time of a try, 95th percentile",
            (Query(quantile(0.95, "mailwarren_ops_order_seconds", by="work"), "{{work}}"),),
            shows="How long a try of an order takes.",
            bad="Retention for many minutes: Postgres is slow, or there is much to delete after a change of its days.",
            unit="s",
        ),
        Graph(
            "Rows deleted by retention",
            (Query(rate("mailwarren_ops_forgotten_rows_total", by="kind"), "{{kind}}"),),
            shows="Rows a second that are past their time.",
            bad="Nothing for days while mail is sent: retention does not run, and the database grows.",
            unit="ops",
        ),
    ),
)
