"""The dialogue: order, syntax, limits and outcomes of RFC 5321, spoken over a wire that only takes notes."""

from collections.abc import Callable
from typing import Any

import pytest

Converse = Callable[..., Any]


def test_greeting_and_extensions(converse: Converse) -> None:
    client = converse(hello=False)
    assert client.wire.sent[:19] == b"220 sink.test ESMTP"
    assert client.say("EHLO me.test") == [
        "250-sink.test",
        "250-PIPELINING",
        "250-SIZE 26214400",
        "250-8BITMIME",
        "250-SMTPUTF8",
        "250 ENHANCEDSTATUSCODES",
    ]
    assert client.say("HELO me.test") == ["250 sink.test"]


def test_a_mail_is_recorded_with_all_that_is_known(converse: Converse) -> None:
    client = converse()
    assert client.mail("b@Y.test") == [250, 250, 354, 250]
    (record,) = client.records
    assert (record.message_id, record.rcpt, record.code) == ("<1@x>", "b@Y.test", 250)
    assert (record.received_at, record.answered_at) == (1000.0, 1000.0)
    assert (len(b"Message-ID: <1@x>\r\n\r\nhi\r\n"), 1, 4321) == (record.size, record.connection, record.port)
    assert client.raw == [b"Message-ID: <1@x>\r\n\r\nhi\r\n"]


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        (["MAIL FROM:<a@x.test>"], [503]),
        (["EHLO"], [501]),
        (["HELO"], [501]),
        (["EHLO x", "RCPT TO:<a@x.test>"], [250, 503]),
        (["EHLO x", "DATA"], [250, 503]),
        (["EHLO x", "MAIL FROM:<a@x.test>", "MAIL FROM:<a@x.test>"], [250, 250, 503]),
        (["EHLO x", "MAIL FROM:<a@x.test>", "DATA"], [250, 250, 554]),
        (["EHLO x", "MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA now"], [250, 250, 250, 501]),
        (["EHLO x", "MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "RSET", "DATA"], [250, 250, 250, 250, 503]),
        (["EHLO x", "MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "EHLO x", "DATA"], [250, 250, 250, 250, 503]),
        (["EHLO x", "MAIL FROM:<a@x.test>", "NOOP", "MAIL FROM:<a@x.test>"], [250, 250, 250, 503]),
        (["NOOP", "NOOP any thing", "HELP", "VRFY a", "VRFY", "EXPN a"], [250, 250, 214, 252, 501, 502]),
        (["FROB", "", "mail from:<a@x.test>", "ehlo x", "mail from:<a@x.test>"], [500, 500, 503, 250, 250]),
        (["RSET x", "RSET", "QUIT now", "QUIT"], [501, 250, 501, 221]),
        (["STARTTLS", "AUTH PLAIN"], [502, 502]),
        (["EHLO x", "MAIL <a@x.test>", "MAIL FROM:<>"], [250, 501, 250]),
    ],
)
def test_order_and_syntax(converse: Converse, lines: list[str], codes: list[int]) -> None:
    assert codes == converse(hello=False).codes(*lines)


def test_quit_closes_and_what_follows_is_not_read(converse: Converse) -> None:
    client = converse()
    assert client.codes("QUIT", "NOOP") == [221]
    assert client.wire.ended == ["close"]
    assert client.say("NOOP") == []


def test_a_pipelined_group_is_answered_in_one_write(converse: Converse) -> None:
    client = converse()
    client.wire.writes.clear()
    client.say("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA")
    assert len(client.wire.writes) == 1
    replies = client.say("Message-ID: <1@x>", "", "hi", ".", "MAIL FROM:<a@x.test>", "RCPT TO:<c@y.test>", "DATA")
    assert len(client.wire.writes) == 2
    assert [int(line[:3]) for line in replies] == [250, 250, 250, 354]


def test_each_recipient_has_its_own_reply_and_record(converse: Converse) -> None:
    client = converse({"personas": [{"domains": ["no.test"], "rules": [{"stage": "rcpt", "code": 550}]}]})
    assert client.mail("a@y.test", "b@no.test", "c@y.test") == [250, 250, 550, 250, 354, 250]
    assert [record.rcpt for record in client.records] == ["a@y.test", "c@y.test"]
    assert {0} == {record.mail for record in client.records}
    assert (client.stats.received, client.stats.accepted, client.stats.refused) == (2, 2, 1)
    assert client.stats.by_domain["no.test"].refused == 1
    assert client.stats.by_code == {250: 2, 550: 1}


def test_data_without_an_accepted_recipient_is_554(converse: Converse) -> None:
    client = converse({"personas": [{"domains": ["*"], "rules": [{"stage": "rcpt", "code": 450}]}]})
    assert client.mail("a@y.test") == [250, 450, 554]
    assert client.stats.protocol_errors == {}
    assert client.codes("MAIL FROM:<a@x.test>", "RSET", "MAIL FROM:<a@x.test>") == [503, 250, 250]


def test_the_rest_of_a_group_whose_mail_was_refused_is_no_protocol_error(converse: Converse) -> None:
    client = converse(
        {"personas": [{"domains": ["*"], "rules": [{"stage": "mail", "code": 451, "first_attempts": 1}]}]}
    )
    group = ("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA")
    assert client.codes(*group) == [451, 503, 503]
    assert client.stats.protocol_errors == {}
    assert client.codes(*group) == [250, 250, 354]
    assert client.stats.refused_by_stage["mail"] == 1


def test_protocol_errors_are_counted_apart_from_refusals(converse: Converse) -> None:
    client = converse()
    client.say("RCPT TO:<a@x.test>", "FROB", "MAIL FROM:<a b@x.test>")
    assert client.stats.protocol_errors == {500: 1, 501: 1, 503: 1}
    assert client.stats.refused == 0


@pytest.mark.parametrize(
    ("wire", "content"),
    [
        (b"", b""),
        (b"..\r\n", b".\r\n"),
        (b"...\r\n", b"..\r\n"),
        (b"a\r\n..b\r\n", b"a\r\n.b\r\n"),
        (b".b\r\n", b"b\r\n"),
        (b"\r\n", b"\r\n"),
        (b"a\r\n\r\n", b"a\r\n\r\n"),
        (b"a\n.\nb\r\n", b"a\n.\nb\r\n"),
        (b"a\r\n.\nb\r\n", b"a\r\n\nb\r\n"),
        (b"a\n.\r\nb\r\n", b"a\n.\r\nb\r\n"),
        (b"a\r.\rb\r\n", b"a\r.\rb\r\n"),
        (b"a\r\n.\rb\r\n", b"a\r\n\rb\r\n"),
    ],
)
def test_dots_are_unstuffed_and_only_a_real_dot_line_ends_the_data(
    converse: Converse, wire: bytes, content: bytes
) -> None:
    client = converse()
    assert client.mail("b@y.test", content=wire) == [250, 250, 354, 250]
    assert [content] == client.raw
    assert [len(content)] == [record.size for record in client.records]
    assert client.codes("NOOP") == [250]


def test_a_command_line_has_a_limit_and_one_reply(converse: Converse) -> None:
    client = converse()
    assert client.codes(b"NOOP " + b"x" * 2100, "NOOP") == [500, 250]
    for _ in range(100):
        assert client.feed(b"x" * 4096) == []
        assert len(client.dialogue._intake) <= 2048
    assert client.feed(b"\r\n") == ["500 5.5.2 Line too long"]
    assert client.codes("NOOP") == [250]


def test_a_mail_over_the_limit_is_swallowed_in_bounded_memory(converse: Converse) -> None:
    client = converse({"size_limit": 1000})
    assert client.codes("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA") == [250, 250, 354]
    client.feed(b"Message-ID: <big@x>\r\n\r\n")
    for _ in range(1000):
        assert client.feed(b"y" * 1022 + b"\r\n") == []
        assert len(client.dialogue._intake) < 70_000
    assert client.feed(b".\r\n") == ["552 5.3.4 Message exceeds the size limit"]
    (record,) = client.records
    assert (record.message_id, record.code, record.size) == ("<big@x>", 552, 1_024_000 + 23)
    assert len(client.raw[0]) == 65_536
    assert client.mail("b@y.test") == [250, 250, 354, 250]


def test_of_a_mail_over_the_limit_the_same_head_is_kept_however_it_arrives(converse: Converse) -> None:
    content = b"Message-ID: <big@x>\r\n\r\n" + b"".join(b"%070d\r\n" % i for i in range(2000))
    raws = []
    for piece in (len(content) + 10, 5000):
        client = converse({"size_limit": 1000})
        client.codes("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA")
        wire = content + b".\r\n"
        for start in range(0, len(wire), piece):
            client.feed(wire[start : start + piece])
        assert [len(content)] == [record.size for record in client.records]
        raws += client.raw
    assert [content[:65_536]] * 2 == raws


def test_a_mail_at_the_limit_is_taken_and_one_octet_more_is_not(converse: Converse) -> None:
    client = converse({"size_limit": 100})
    assert client.mail("b@y.test", content=b"x" * 98 + b"\r\n") == [250, 250, 354, 250]
    assert client.mail("b@y.test", content=b"x" * 99 + b"\r\n") == [250, 250, 354, 552]


def test_a_declared_size_over_the_limit_is_refused_at_mail(converse: Converse) -> None:
    client = converse({"size_limit": 100})
    assert client.codes("MAIL FROM:<a@x.test> SIZE=101", "MAIL FROM:<a@x.test> SIZE=100") == [552, 250]


def test_too_many_recipients_are_452_and_the_others_stay(converse: Converse) -> None:
    client = converse({"recipient_limit": 2})
    assert client.mail("a@y.test", "b@y.test", "c@y.test") == [250, 250, 250, 452, 354, 250]
    assert client.stats.accepted == 2


def test_a_refused_dot_is_recorded_and_does_not_count_as_accepted(converse: Converse) -> None:
    client = converse(
        {"personas": [{"domains": ["y.test"], "rules": [{"stage": "dot", "code": 451, "first_attempts": 1}]}]}
    )
    assert client.mail("b@y.test") == [250, 250, 354, 451]
    assert client.mail("b@y.test") == [250, 250, 354, 250]
    assert [record.code for record in client.records] == [451, 250]
    stats = client.stats
    assert (
        stats.received,
        stats.accepted,
        stats.refused,
        stats.unanswered,
        stats.unique,
        stats.duplicates,
    ) == (2, 1, 1, 0, 1, 0)


def test_a_refusal_of_several_lines(converse: Converse) -> None:
    rule = {"stage": "rcpt", "code": 550, "enhanced": "5.7.1", "text": "Blocked.\nSee http://x.test"}
    client = converse({"personas": [{"domains": ["*"], "rules": [rule]}]})
    client.say("MAIL FROM:<a@x.test>")
    assert client.say("RCPT TO:<b@y.test>") == ["550-5.7.1 Blocked.", "550 5.7.1 See http://x.test"]


def test_a_rule_that_closes_ends_the_connection_after_its_reply(converse: Converse) -> None:
    client = converse({"personas": [{"domains": ["*"], "rules": [{"stage": "rcpt", "code": 421}]}]})
    assert client.codes("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA") == [250, 421]
    assert client.wire.ended == ["close"]


def test_a_server_that_refuses_the_connection_only_takes_quit(converse: Converse) -> None:
    client = converse({"personas": [{"domains": ["*"], "rules": [{"stage": "connect", "code": 554}]}]}, hello=False)
    assert client.wire.sent[:4] == b"554 "
    assert client.codes("EHLO x", "MAIL FROM:<a@x.test>", "QUIT") == [503, 503, 221]
    assert client.stats.refused_by_stage["connect"] == 1


def test_drop_mid_data_leaves_no_record(converse: Converse) -> None:
    client = converse({"personas": [{"domains": ["y.test"], "drop_mid_data": 1}]})
    assert client.codes("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA") == [250, 250, 354]
    assert client.wire.ended == []
    assert client.feed(b"M") == []
    assert client.wire.ended == ["cut"]
    client.dialogue.lost()
    stats = client.stats
    assert (stats.received, stats.dropped_mid_data, stats.dropped_after_dot, stats.lost_in_data) == (0, 1, 0, 0)


def test_drop_after_dot_records_what_it_never_answers(converse: Converse) -> None:
    client = converse({"personas": [{"domains": ["y.test"], "drop_after_dot": 1}]})
    assert client.mail("b@y.test", "c@z.test") == [250, 250, 250, 354]
    assert client.wire.ended == ["cut"]
    client.dialogue.lost()
    assert [record.answered_at for record in client.records] == [None, None]
    stats = client.stats
    assert (
        stats.received,
        stats.accepted,
        stats.unanswered,
        stats.pending,
        stats.dropped_after_dot,
    ) == (2, 0, 2, 0, 2)
    assert stats.unique == 0


def test_a_slow_dot_is_pending_until_it_is_answered(converse: Converse) -> None:
    client = converse({"personas": [{"domains": ["y.test"], "dot_latency_ms": 500}]})
    client.say("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA")
    client.dialogue.feed(b"Message-ID: <1@x>\r\n\r\nhi\r\n.\r\nNOOP\r\n")
    assert client.wire.held == [0.5]
    assert (client.stats.pending, client.stats.unanswered, client.stats.accepted) == (1, 1, 0)
    assert client.dialogue.backlog
    client.now += 0.5
    assert client.records[0].answered_at is None
    client.settle()
    assert (client.records[0].received_at, client.records[0].answered_at) == (1000.0, 1000.5)
    assert client.wire.sent.endswith(b"queued as 0\r\n250 2.0.0 Ok\r\n")
    assert (client.stats.pending, client.stats.unanswered, client.stats.accepted) == (0, 0, 1)


def test_a_connection_lost_before_the_answer_leaves_it_unanswered_for_ever(converse: Converse) -> None:
    client = converse({"personas": [{"domains": ["y.test"], "dot_latency_ms": 500}]})
    client.say("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA")
    client.dialogue.feed(b"Message-ID: <1@x>\r\n\r\nhi\r\n.\r\n")
    client.dialogue.lost()
    client.settle()
    assert client.records[0].answered_at is None
    stats = client.stats
    assert (stats.received, stats.accepted, stats.unanswered, stats.pending, stats.lost_in_data) == (1, 0, 1, 0, 0)


def test_a_client_that_goes_away_inside_data_left_no_mail(converse: Converse) -> None:
    client = converse()
    client.say("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA", "Message-ID: <1@x>", "", "hi")
    client.dialogue.lost()
    assert (client.stats.received, client.stats.lost_in_data) == (0, 1)


def test_a_client_that_goes_away_before_354_was_never_inside_data(converse: Converse) -> None:
    client = converse({"personas": [{"domains": ["y.test"], "latency_ms": 10}]})
    client.codes("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>")
    client.dialogue.feed(b"DATA\r\n")
    client.dialogue.lost()
    assert client.stats.lost_in_data == 0


def test_what_was_said_before_a_cut_still_goes_out(converse: Converse) -> None:
    client = converse({"personas": [{"domains": ["y.test"], "drop_after_dot": 1}]})
    replies = client.feed(b"NOOP\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\nhi\r\n.\r\n")
    assert [line[:3] for line in replies] == ["250", "250", "250", "354"]
    assert client.wire.ended == ["cut"]


def test_forgetting_while_an_answer_is_owed_counts_nothing_twice(converse: Converse) -> None:
    client = converse({"personas": [{"domains": ["y.test"], "dot_latency_ms": 500}]})
    client.say("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA")
    client.dialogue.feed(b"Message-ID: <1@x>\r\n\r\nhi\r\n.\r\n")
    assert client.receiver.forget() == 1
    client.settle()
    assert (
        client.stats.received,
        client.stats.accepted,
        client.stats.unanswered,
        client.stats.pending,
    ) == (0, 0, 0, 0)
    assert client.mail("b@y.test") == [250, 250, 354, 250]
    assert client.stats.accepted == 1


def test_a_new_script_leaves_a_transaction_under_way_alone(converse: Converse) -> None:
    client = converse()
    client.say("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>")
    client.receiver.play({"size_limit": 1, "personas": [{"domains": ["*"], "drop_after_dot": 1}]})
    assert client.codes("DATA") == [354]
    assert [line[:3] for line in client.feed(b"Message-ID: <1@x>\r\n\r\nhi\r\n.\r\n")] == ["250"]
    assert client.mail("b@y.test") == [250, 250, 354, 552]


def test_duplicates_are_copies_beyond_the_first_of_a_pair(converse: Converse) -> None:
    client = converse()
    for _ in range(3):
        client.mail("b@y.test", "c@y.test")
    client.mail("b@y.test", content=b"message-id:\r\n <2@x>\r\n\r\nhi\r\n")
    stats = client.stats
    assert (stats.accepted, stats.unique, stats.duplicates) == (7, 3, 4)
    records = client.receiver.store.records
    pairs = set(records.pairs(0, 99))
    assert {("<1@x>", "b@y.test", 3, 0), ("<1@x>", "c@y.test", 3, 0), ("<2@x>", "b@y.test", 1, 0)} == pairs


def test_what_a_correct_client_never_sends_is_noticed(converse: Converse) -> None:
    client = converse()
    client.mail("b@y.test", content=b"a\nb\r\n" + b"x" * 999 + b"\r\n\xe9\0\r\n")
    client.mail("b@y.test", content=b"a\rb\r\n" + b"x" * 998 + b"\r\n")
    assert client.stats.faults == {"bare_newline": 1, "bare_return": 1, "long_line": 1, "nul": 1, "undeclared_8bit": 1}
    client.codes("MAIL FROM:<a@x.test> BODY=8BITMIME", "RCPT TO:<b@y.test>", "DATA")
    client.feed(b"\xe9\r\n.\r\n")
    assert client.stats.faults["undeclared_8bit"] == 1


def test_shutting_down_says_421_but_not_inside_data(converse: Converse) -> None:
    idle = converse()
    idle.dialogue.shut_down()
    assert idle.wire.sent.endswith(b"421 4.3.2 Sink is stopping\r\n")
    busy = converse()
    busy.codes("MAIL FROM:<a@x.test>", "RCPT TO:<b@y.test>", "DATA")
    busy.dialogue.shut_down()
    assert b"421" not in busy.wire.sent
    assert (idle.wire.ended, busy.wire.ended) == (["close"], ["close"])
