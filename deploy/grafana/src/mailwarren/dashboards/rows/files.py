"""A row of *Senders*: attachments and large bodies, fetched from ingest and kept."""

from mailwarren.dashboards.board import Row
from mailwarren.dashboards.panels import Graph
from mailwarren.dashboards.queries import Query, rate, select

ROW = Row(
    "Files",
    (
        Graph(
            "Files of mails, by how they were had",
            (Query(rate("mailwarren_sender_attachments_total", by="result"), "{{result}}"),),
            shows="Attachments and large bodies a second: `cached` here, `fetched` from ingest, `missing` for good, or "
            "`away` for now.",
            bad="`away`: ingest's internal port, or its blob store; mail waits. `missing`: such mail ends as failed.",
            unit="ops",
            stacked=True,
        ),
        Graph(
            "Files kept",
            (Query(select("mailwarren_sender_attachment_cache_bytes"), "{{pod}} {{instance}}"),),
            shows="Size of each sender's folder of files, at most `MAILWARREN_BLOB_CACHE`.",
            bad="At the most with many `fetched`: large files of many mails push each other out. Give it more.",
            unit="bytes",
        ),
    ),
)
