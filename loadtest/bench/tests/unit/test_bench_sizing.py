"""The cells of ``make sizing`` and what it prints of them."""

from mailwarren.bench import sizing_senders, sizing_storage
from mailwarren.bench.broker_loss import Phase, Verdict, table
from mailwarren.contracts.shards import HASHED


def test_each_cell_of_the_broker_has_a_queue_of_its_own():
    assert len(sizing_storage.CELLS) <= HASHED
    assert all(cell.mails % sizing_storage.ROWS == 0 for cell in sizing_storage.CELLS if cell.parcel > 1)
    assert sizing_storage.ROWS % sizing_storage.PARCEL == 0


def test_no_sender_runs_out_of_mail_before_its_connections_are_open():
    assert all(cell.mails * sizing_senders.FROM > cell.connections for cell in sizing_senders.CELLS)


def test_rows_are_markdown_with_units():
    sized = sizing_senders.Sized(
        latency_ms=500, connections=1000, connected=998, rate=1228.6, cpu=421.9, cores=0.52, megabytes=152.3
    )
    assert sizing_senders.sender_table([sized]).splitlines()[2] == (
        "| 500 ms | 1,000 | 998 | 1,229 | 422 µs | 0.52 | 152 MB |"
    )
    waiting = sizing_storage.Waiting(kib=10, parcel=1, mails=3000, queue_bytes=11115.0, disk_bytes=800.0)
    assert sizing_storage.waiting_table([waiting]).splitlines()[2] == "| 10 KiB | 1 | 10.9 KiB | 800 B |"
    tables = {"emails": 1.0, "deliveries": 2.0, "events": 3.0, "contents": 4.0}
    kept = sizing_storage.Kept(kind="bulk", mails=1, tables=tables, database=10.0, wal=20.0)
    assert sizing_storage.kept_table([kept]).splitlines()[2] == "| bulk | 1 B | 2 B | 3 B | 4 B | 10 B | 20 B |"


def test_every_row_of_a_table_has_as_many_cells_as_its_head():
    phase = Phase(name="x", seconds=1.0, accepted=2.0, delivered=3.0, refused=4, first_yes=5.0, longest=6.0, pause=7.0)
    widths = {line.count("|") for line in table([phase]).splitlines()}
    assert len(widths) == 1


def test_a_loss_or_an_invention_or_a_rest_breaks_the_verdict():
    kept = {"promised": 10, "lost": 0, "doubled": 3, "unasked": 0, "left": {}}
    assert Verdict(**kept).holds
    for wrong in ({"lost": 1}, {"unasked": 1}, {"left": {"send.bulk.h1": 1}}):
        assert not Verdict(**{**kept, **wrong}).holds
