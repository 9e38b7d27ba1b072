"""Wherever TCP cuts the stream, the same octets mean the same thing."""

import re
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

Converse = Callable[..., Any]

MAIL = b"MAIL FROM:<a@x.test>\r\n"
SCRIPT = {
    "seed": 3,
    "size_limit": 300,
    "personas": [
        {"domains": ["flaky.test"], "rules": [{"stage": "rcpt", "code": 451, "share": 0.5}], "latency_ms": 5},
        {"domains": ["slow.test"], "dot_latency_ms": 50, "rules": [{"stage": "dot", "code": 452, "share": 0.5}]},
        {"domains": ["cut.test"], "drop_mid_data": 0.5, "drop_after_dot": 0.5},
        {"domains": ["bye.test"], "rules": [{"stage": "data", "code": 421, "share": 0.5}]},
    ],
}

DOTS = [b"\r\n", b"\n", b"\r", b".", b"..", b"\r\n.", b"\r\n.\n", b"\n.\r\n", b"\n.\n", b"\r\n.\r"]
HEADERS = [b"Message-ID: <1@x>\r\n", b"message-id:\r\n <2@x>\r\n", b"\r\n\r\n"]
COMMANDS = [b"RSET\r\n", b"NOOP\n", b"FROB\r\n", b"DATA\r\n", b"RCPT TO:<>\r\n", MAIL, b"EHLO y\r\n", b"QUIT\r\n"]
LINES = [b"\r\n", b"z" * 3000 + b"\r\n", b"z" * 2047 + b"\r\n", b"z" * 2048 + b"\r\n", b"half a li"]

fragments = st.sampled_from([*DOTS, *HEADERS, b"x", b"\0", b"\xff", b"y" * 200])
bodies = st.lists(fragments, max_size=12).map(lambda parts: b"".join(parts) + b"\r\n.\r\n")
recipients = st.sampled_from([b"flaky.test", b"slow.test", b"cut.test", b"bye.test", b"ok.test"]).map(
    lambda domain: b"RCPT TO:<u@" + domain + b">\r\n"
)
transactions = st.tuples(st.lists(recipients, min_size=1, max_size=3), bodies).map(
    lambda it: MAIL + b"".join(it[0]) + b"DATA\r\n" + it[1]
)
oddities = st.sampled_from([*COMMANDS, *LINES])
streams = st.lists(st.one_of(transactions, transactions, oddities), max_size=6).map(b"".join)


def outcome(client: Any) -> tuple[object, ...]:
    """All that can be seen from outside."""
    client.dialogue.lost()
    return bytes(client.wire.sent), client.wire.ended, client.records, client.raw, client.stats


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(streams, st.data())
@example(MAIL + b"RCPT TO:<u@ok.test>\r\nDATA\r\n.\r\n" + MAIL, None)
def test_any_split_of_a_stream_gives_the_same_result(converse: Converse, stream: bytes, data: Any) -> None:
    whole = converse(SCRIPT)
    whole.feed(stream)
    split = converse(SCRIPT)
    cuts = range(len(stream)) if data is None else sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        split.dialogue.feed(stream[start:end])
        # A held reply may come due between any two pieces, or much later.
        if split.wire.waiting and (data is None or data.draw(st.booleans())):
            split.resume()
    split.settle()
    assert outcome(whole) == outcome(split)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(streams)
def test_octet_by_octet_gives_the_same_result(converse: Converse, stream: bytes) -> None:
    whole, single = converse(SCRIPT), converse(SCRIPT)
    whole.feed(stream)
    for at in range(len(stream)):
        single.feed(stream[at : at + 1])
    assert outcome(whole) == outcome(single)


senders = st.sampled_from(
    [
        b"FROM:<a@x.test>", b"FROM:<>", b"FROM:<a@x.test> SIZE=301", b"FROM:<a@x.test> SIZE=30 BODY=8BITMIME ",
        b"FROM:<\xe9@x.test>", "FROM:<é@x.test> SMTPUTF8".encode(), b"FROM:<a@x.test> FOO", b"FROM: <a@x.test>", b"",
        b"from:<a@x>", b" FROM:<a@x.test>", b"FROM:<" + b"a" * 2100 + b">",
    ]
)  # fmt: skip
receivers = st.sampled_from(
    [
        b"TO:<u@ok.test>", b"TO:<u@OK.test>", b"TO:<Postmaster>", b"TO:<>", "TO:<é@ök.test>".encode(),
        b"TO:<u@ok.test> NOTIFY=NEVER", b"TO:<u@ok.test>\r", b"to:<u@ok.test>  ",
    ]
)  # fmt: skip
ends = st.sampled_from([b"\r\n", b"\n", b" \r\n"])
whole_groups = st.just(MAIL + b"RCPT TO:<u@ok.test>\r\nDATA\r\n")
odd_groups = st.tuples(senders, ends, receivers, ends, st.sampled_from([b"DATA", b"data", b"DATA x"]), ends).map(
    lambda it: b"MAIL " + it[0] + it[1] + b"RCPT " + it[2] + it[3] + it[4] + it[5]
)
groups = st.tuples(st.one_of(whole_groups, odd_groups), bodies).map(b"".join)
hellos = st.sampled_from([b"EHLO x\r\n", b"HELO x\r\n", b"", b"AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n", b"AUTH PLAIN\r\n"])
plain_streams = st.tuples(hellos, st.lists(st.one_of(groups, groups, oddities, hellos), max_size=6)).map(
    lambda it: it[0] + b"".join(it[1])
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(plain_streams, st.booleans())
@example(b"EHLO x\r\n" + MAIL + MAIL + b"RCPT TO:<u@ok.test>\r\nDATA\r\n", False)
@example(b"EHLO x\r\nAUTH PLAIN\r\n" + MAIL + b"RCPT TO:<u@ok.test>\r\nDATA\r\n", True)
@example(b"EHLO x\r\nMAIL FROM:<> SIZE=301\r\nRCPT TO:<u@ok.test>\r\nDATA\r\n.\r\n", False)
def test_a_group_that_is_taken_at_once_is_what_its_commands_are(
    converse: Converse, stream: bytes, guarded: bool
) -> None:
    """No persona stands against anything here; octet by octet, each command comes alone."""
    credentials = (b"joe", b"secret") if guarded else None
    whole, single = [converse({"size_limit": 300}, hello=False, credentials=credentials) for _ in range(2)]
    whole.feed(stream)
    for at in range(len(stream)):
        single.feed(stream[at : at + 1])
    assert outcome(whole) == outcome(single)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.one_of(fragments, st.binary(max_size=30)), max_size=30).map(b"".join))
def test_what_a_client_stuffs_arrives_as_it_was(converse: Converse, content: bytes) -> None:
    content += b"\r\n"
    client = converse()
    stuffed = re.sub(rb"(^|\r\n)\.", rb"\1..", content)
    assert client.mail("u@ok.test", content=stuffed) == [250, 250, 354, 250]
    assert [content] == client.raw
    # Nothing of the mail was taken for a command, and the connection is still in step.
    assert client.codes("NOOP") == [250]
    assert client.stats.protocol_errors == {}


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(streams)
def test_the_counts_always_balance(converse: Converse, stream: bytes) -> None:
    client = converse(SCRIPT)
    client.feed(stream)
    client.dialogue.lost()
    stats = client.stats
    assert stats.received == stats.accepted + stats.refused_by_stage["dot"] + stats.unanswered
    assert stats.accepted == stats.unique + stats.duplicates
    assert stats.refused + stats.accepted == sum(stats.by_code.values())
    assert stats.received == len(client.records)
    assert stats.accepted == sum(r.code == 250 and r.answered_at is not None for r in client.records)
    assert stats.unanswered == sum(r.answered_at is None for r in client.records)
    assert stats.pending == 0
    store = client.receiver.store.records
    pairs = list(store.pairs(0, len(store.ledger)))
    assert stats.accepted == sum(pair.accepted for pair in pairs)
    assert stats.unique == sum(pair.accepted > 0 for pair in pairs)
    for count in ("received", "accepted", "unanswered", "dropped"):
        assert getattr(stats, count) == sum(getattr(domain, count) for domain in stats.by_domain.values())
