"""The records: exact, filtered, and small."""

import tracemalloc

from mailwarren.sink.policy import Recipient
from mailwarren.sink.records import Records
from mailwarren.sink.store import Delivery, Store


def add(records: Records, message_id: bytes, rcpt: bytes, *, code: int = 250) -> int:
    return records.append(message_id, rcpt, received_at=5.0, code=code, size=10, mail=0, connection=1, port=2)


def test_records_are_selected_by_number_prefix_and_domain() -> None:
    records = Records()
    for n, (message_id, rcpt) in enumerate(
        [(b"<a1@m>", b"u@x.test"), (b"<a2@m>", b"v@Y.test"), (b"<b1@m>", b"w@y.test"), (b"<b2@m>", b"w@yy.test")]
    ):
        assert n == add(records, message_id, rcpt)
    assert [r.n for r in records.select(1, 3)] == [1, 2]
    assert [r.n for r in records.select(0, 99, message_id_prefix="<a")] == [0, 1]
    assert [r.n for r in records.select(0, 99, domain="Y.test")] == [1, 2]
    assert [r.n for r in records.select(0, 99, message_id_prefix="<b", domain="y.test")] == [2]
    assert list(records.select(4, 99)) == []


def test_only_accepted_copies_make_a_pair() -> None:
    records = Records()
    for code in (250, 250, 451):
        add(records, b"<1>", b"u@x.test", code=code)
    add(records, b"<2>", b"u@x.test", code=554)
    assert list(records.pairs(0, 99)) == [("<1>", "u@x.test", 0, 2)]
    assert (records.answered(0, 6.0), records.answered(2, 6.0)) == (250, 451)
    assert list(records.pairs(0, 99)) == [("<1>", "u@x.test", 1, 1)]
    assert (records.unique, records.answered_at(0), records.answered_at(1)) == (1, 6.0, None)


def test_a_message_id_may_contain_anything() -> None:
    records = Records()
    add(records, b"<a\0b\xff@m>", b"u@x.test")
    assert next(records.pairs(0, 1))[:2] == ("<a\0b\\xff@m>", "u@x.test")
    assert next(records.select(0, 1)).message_id == "<a\0b\\xff@m>"


def test_a_record_costs_less_than_400_octets() -> None:
    store = Store(keep=0)
    count = 20_000
    tracemalloc.start()
    for i in range(count):
        recipient = Recipient(
            b"firstname.lastname%d@dom%d.example.test" % (i, i % 50), b"dom%d.example.test" % (i % 50)
        )
        message_id = b"<0192f7a1-7b3c-7000-8000-%012d@mail.example-sender.test>" % i
        ticket = store.receive(Delivery(b"a@x.test", [recipient], message_id, b"", 2048, 1.0 + i, 250, i % 20, 4000))
        store.answer(ticket, 2.0 + i)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == store.stats().unique
    assert used / count < 400
