"""Mail by BDAT (RFC 3030), chunk by chunk."""

import pytest

TAKES = {"personas": [{"hosts": ["127.0.0.1"], "chunking": True}]}
ENVELOPE = ("MAIL FROM:<a@x.test>", "RCPT TO:<u@x.test>")


def chunk(octets: bytes, *, last: bool = True) -> bytes:
    return b"BDAT %d%b\r\n%b" % (len(octets), b" LAST" if last else b"", octets)


def codes(lines: list[str]) -> list[int]:
    return [int(line[:3]) for line in lines]


def test_it_is_offered_and_taken_where_the_persona_says_so(converse) -> None:
    assert "250-CHUNKING" in converse(TAKES, hello=False).say("EHLO me.test")
    plain = converse()
    assert not [line for line in plain.say("EHLO me.test") if "CHUNKING" in line]
    assert plain.codes(*ENVELOPE, "BDAT 0 LAST") == [250, 250, 500]


def test_one_chunk_is_a_mail_and_dots_are_dots(converse) -> None:
    client = converse(TAKES)
    content = b"Message-ID: <1@x>\r\n\r\n.one\r\n..two\r\n.\r\n"
    assert client.codes(*ENVELOPE) == [250, 250]
    assert codes(client.feed(chunk(content))) == [250]
    assert client.raw == [content]
    assert client.codes("MAIL FROM:<a@x.test>") == [250], "the transaction is over"


def test_several_chunks_however_they_are_cut(converse) -> None:
    client = converse(TAKES)
    client.say(*ENVELOPE)
    octets = chunk(b"Message-ID: <1@x>\r\n\r\nhel", last=False) + chunk(b"lo\r\n", last=False) + chunk(b"")
    said = [line for at in range(len(octets)) for line in client.feed(octets[at : at + 1])]
    assert codes(said) == [250, 250, 250]
    assert client.raw == [b"Message-ID: <1@x>\r\n\r\nhello\r\n"]


def test_the_next_envelope_may_follow_in_the_same_write(converse) -> None:
    client = converse(TAKES)
    client.say(*ENVELOPE)
    said = client.feed(chunk(b"Message-ID: <1@x>\r\n\r\nx\r\n") + b"MAIL FROM:<b@x.test>\r\nRCPT TO:<v@x.test>\r\n")
    assert codes(said) == [250, 250, 250]
    assert codes(client.feed(chunk(b"Message-ID: <2@x>\r\n\r\ny\r\n"))) == [250]
    assert client.stats.unique == 2


@pytest.mark.parametrize(
    ("said", "code"), [((), 503), (("MAIL FROM:<a@x.test>",), 554)], ids=["no envelope", "no recipient"]
)
def test_a_chunk_that_nobody_wants_is_read_all_the_same(converse, said, code) -> None:
    client = converse(TAKES)
    if said:
        client.say(*said)
    assert codes(client.feed(chunk(b"QUIT\r\nRSET\r\n") + b"NOOP\r\n")) == [code, 250]
    assert client.stats.received == 0


def test_a_refusal_is_said_when_the_chunk_has_come(converse) -> None:
    rule = {"stage": "data", "code": 451, "text": "not now"}
    client = converse({"personas": [{"hosts": ["127.0.0.1"], "chunking": True, "rules": [rule]}]})
    client.say(*ENVELOPE)
    assert client.feed(chunk(b"x" * 100)[:50]) == []
    assert codes(client.feed(chunk(b"x" * 100)[50:])) == [451]
    assert client.codes("RSET") == [250]


def test_the_dots_verdict_is_the_last_chunks(converse) -> None:
    rule = {"stage": "dot", "code": 554, "text": "no"}
    client = converse({"personas": [{"hosts": ["127.0.0.1"], "chunking": True, "rules": [rule]}]})
    client.say(*ENVELOPE)
    assert codes(client.feed(chunk(b"Message-ID: <1@x>\r\n\r\n", last=False) + chunk(b"x\r\n"))) == [250, 554]


def test_a_mail_over_the_limit_is_read_and_refused(converse) -> None:
    client = converse({"personas": [{"hosts": ["127.0.0.1"], "chunking": True, "size_limit": 1000}]})
    assert "250-SIZE 1000" in client.say("EHLO me.test")
    client.say(*ENVELOPE)
    assert codes(client.feed(chunk(b"x" * 700, last=False) + chunk(b"y" * 700))) == [250, 552]


def test_bdat_and_data_do_not_mix(converse) -> None:
    client = converse(TAKES)
    client.say(*ENVELOPE)
    client.feed(chunk(b"x\r\n", last=False))
    assert client.codes("DATA", "RSET") == [503, 250]


@pytest.mark.parametrize("argument", ["", "x", "-1", "1 LASST", "1LAST", "9" * 13])
def test_what_is_no_size_is_a_mistake(converse, argument: str) -> None:
    client = converse(TAKES)
    client.say(*ENVELOPE)
    assert client.codes(f"BDAT {argument}".strip()) == [501]


def test_a_connection_lost_in_a_chunk_has_lost_a_mail(converse) -> None:
    client = converse(TAKES)
    client.say(*ENVELOPE)
    client.feed(chunk(b"x" * 100)[:60])
    client.dialogue.lost()
    assert client.stats.lost_in_data == 1


def test_ehlo_leaves_out_what_the_persona_leaves_out(converse) -> None:
    left_out = ["SMTPUTF8", "8BITMIME", "SIZE", "PIPELINING"]
    client = converse({"personas": [{"hosts": ["127.0.0.1"], "leaves_out": left_out}]}, hello=False)
    assert client.say("EHLO me.test") == ["250-sink.test", "250 ENHANCEDSTATUSCODES"]
