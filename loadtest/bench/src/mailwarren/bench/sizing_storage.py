"""What mail takes on disk: in the broker while it waits, in Postgres once it is delivered."""

import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import msgspec

from mailwarren.bench.ours import bulk_bodies, post, single_bodies
from mailwarren.bench.stand import Stand
from mailwarren.bench.work import SENDER, make_work
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shards import shard_of
from mailwarren.devstack.rabbitmq import VHOST, RabbitMQ

KIB = 1024
ROWS = 1_000
"""Recipients of one bulk call here, all in one shard: 20 full parcels."""
PARCEL = 50
PATIENCE = 60.0
_TABLES = ("emails", "deliveries", "events", "contents")
_ROLL_OVER = "ra_log_wal, force_roll_over, [ra_log_wal]"


class Cell(msgspec.Struct, frozen=True):
    """Mails that wait: the size of their text, and how many share a parcel."""

    kib: int
    parcel: int
    mails: int


CELLS = (
    Cell(1, 1, 8_000),
    Cell(10, 1, 3_000),
    Cell(100, 1, 600),
    Cell(1, PARCEL, 100_000),
    Cell(10, PARCEL, 40_000),
    Cell(100, PARCEL, 10_000),
)


class Waiting(msgspec.Struct):
    """Bytes for each waiting mail on one node."""

    kib: int
    parcel: int
    mails: int
    queue_bytes: float
    """``message_bytes`` of the management API."""
    disk_bytes: float
    """Of the queue's files."""


class Kept(msgspec.Struct):
    """Bytes for each delivered mail in Postgres."""

    kind: str
    mails: int
    tables: dict[str, float]
    """With their indexes."""
    database: float
    """The whole database's growth."""
    wal: float
    """Write-ahead log."""


def measure_waiting(stand: Stand, cell: Cell, scale: float = 1.0) -> Waiting:
    """Post mails that no sender takes, and look at their queue; each cell has a shard, and so a queue, of its own."""
    count = max(int(cell.mails * scale) // ROWS * ROWS, ROWS) if cell.parcel > 1 else max(int(cell.mails * scale), 50)
    shard = f"h{CELLS.index(cell)}"
    domain = next(name for n in range(1_000) if shard_of(name := f"size{n}.test") == shard)
    line = "x" * 70 + "\r\n"
    text = (line * (cell.kib * KIB // len(line) + 1))[: cell.kib * KIB]
    mail = {"from": SENDER, "subject": "Sizing", "text": text, "priority": Lane.BULK.value}
    if cell.parcel > 1:
        people = [{"to": f"u{n}@{domain}"} for n in range(ROWS)]
        body = msgspec.json.encode(mail | {"recipients": people})
        post(stand, "/emails/bulk", [body] * (count // ROWS), connections=1)
    else:
        bodies = [msgspec.json.encode(mail | {"to": f"u{n}@{domain}"}) for n in range(count)]
        post(stand, "/emails", bodies, connections=16)
    queue = f"send.{Lane.BULK}.{shard}"
    octets = _message_bytes(stand, queue, count // cell.parcel)
    return Waiting(cell.kib, cell.parcel, count, octets / count, _disk_bytes(stand, queue) / count)


def _message_bytes(stand: Stand, queue: str, messages: int) -> int:
    """What the management API says once it has seen all of them; its figures are five seconds old."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = httpx.get(f"{stand.rabbitmq.management_url}/api/queues/{VHOST}/{queue}", timeout=10).json()
        if found.get("messages") == messages:
            return int(found["message_bytes"])
        if time.monotonic() > deadline:
            raise TimeoutError(f"{queue} has {found.get('messages')} of {messages} messages after {PATIENCE:.0f} s")
        time.sleep(0.5)


def _disk_bytes(stand: Stand, queue: str) -> int:
    """The queue's files, after the node has moved all of them out of the log that its queues share.

    Raises:
        TypeError: the broker's files are not here: it runs in Docker.
    """
    node = stand.rabbitmq
    if not isinstance(node, RabbitMQ):
        raise TypeError("sizing needs a RabbitMQ of the system's packages: its files are measured")
    node.erlang(_ROLL_OVER)
    (config,) = (path for path in (node.data / "quorum").glob("*/*/config") if f"'{VHOST}_{queue}'" in path.read_text())
    seen, size = -1, 0
    while size != seen or not size:  # written in the background
        seen = size
        time.sleep(1)
        size = _size(config.parent)
    return size


def _size(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def measure_kept(stand: Stand, scale: float = 1.0) -> list[Kept]:
    """Deliver mails, bulk and single ones, and look at the tables."""
    stand.system.start_sender("sender-normal", (Lane.NORMAL,))
    bulk, single = max(int(40_000 * scale), 100), max(int(8_000 * scale), 100)
    return [
        _measure_kept(stand, "bulk", "/emails/bulk", bulk_bodies(make_work(bulk), Lane.NORMAL), bulk),
        _measure_kept(stand, "single posts", "/emails", single_bodies(make_work(single, tag="s")), single),
    ]


def _measure_kept(stand: Stand, kind: str, path: str, bodies: list[bytes], count: int) -> Kept:
    before, database, wal = _tables(stand), *_database(stand)
    ended = stand.ended()
    post(stand, path, bodies, connections=1 if kind == "bulk" else 16)
    stand.wait_ended(ended + count)
    after, database_now, wal_now = _tables(stand), *_database(stand)
    return Kept(
        kind=kind,
        mails=count,
        tables={name: (after[name] - before[name]) / count for name in _TABLES},
        database=(database_now - database) / count,
        wal=(wal_now - wal) / count,
    )


def _tables(stand: Stand) -> dict[str, int]:
    """Bytes of each table with all its partitions, indexes and long values."""
    found = {}
    for name in _TABLES:
        (row,) = stand.system.query(
            "select sum(pg_total_relation_size(relid)) as size from pg_partition_tree($1::text::regclass)", name
        )
        found[name] = int(row["size"] or 0)
        if not found[name]:
            (row,) = stand.system.query("select pg_total_relation_size($1::text::regclass) as size", name)
            found[name] = int(row["size"])
    return found


def _database(stand: Stand) -> tuple[int, int]:
    (row,) = stand.system.query(
        "select pg_database_size(current_database()) as size, pg_current_wal_lsn() - '0/0'::pg_lsn as wal"
    )
    return int(row["size"]), int(row["wal"])


def waiting_table(rows: Sequence[Waiting]) -> str:
    """Markdown."""
    head = "| text | mails in a parcel | `message_bytes` a mail | disk a mail, one node |\n|---|---|---|---|"
    lines = [
        f"| {one.kib} KiB | {one.parcel} | {_octets(one.queue_bytes)} | {_octets(one.disk_bytes)} |" for one in rows
    ]
    return "\n".join([head, *lines])


def kept_table(rows: Sequence[Kept]) -> str:
    """Markdown."""
    names = " | ".join(_TABLES)
    head = f"| bytes a delivered mail | {names} | database in all | WAL |\n|---|{'---|' * len(_TABLES)}---|---|"
    lines = [
        f"| {one.kind} | {' | '.join(_octets(one.tables[name]) for name in _TABLES)} | {_octets(one.database)} "
        f"| {_octets(one.wal)} |"
        for one in rows
    ]
    return "\n".join([head, *lines])


def _octets(count: float) -> str:
    return f"{count:,.0f} B" if count < 10 * KIB else f"{count / KIB:,.1f} KiB"
