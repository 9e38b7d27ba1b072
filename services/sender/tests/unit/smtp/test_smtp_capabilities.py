import pytest

from mailwarren.sender.smtp.capabilities import Capabilities, parse_capabilities


def test_all_that_matters_is_read():
    lines = [
        b"mx.example greets you",
        b"PIPELINING",
        b"8BITMIME",
        b"smtputf8",
        b"STARTTLS",
        b"SIZE 35882577",
        b"ENHANCEDSTATUSCODES",
        b"CHUNKING",
        b"AUTH PLAIN login",
        b"DSN",
        b"X-ODD \xff",
        b"",
    ]

    assert parse_capabilities(lines) == Capabilities(
        pipelining=True,
        eight_bit=True,
        utf8=True,
        starttls=True,
        enhanced_codes=True,
        chunking=True,
        size=True,
        size_limit=35882577,
        auth=frozenset({"PLAIN", "LOGIN"}),
    )


def test_the_greeting_offers_nothing():
    assert parse_capabilities([b"PIPELINING"]) == Capabilities()


@pytest.mark.parametrize(
    ("line", "limit"),
    [(b"SIZE", 0), (b"SIZE 0", 0), (b"SIZE 12 34", 12), (b"SIZE x", 0), (b"SIZE -5", 0), (b"SIZE \xc2\xb2", 0)],
)
def test_size_may_come_without_a_limit(line, limit):
    found = parse_capabilities([b"x", line])

    assert (found.size, found.size_limit) == (True, limit)


def test_both_forms_of_the_auth_line_count():
    assert parse_capabilities([b"x", b"AUTH PLAIN", b"AUTH=LOGIN CRAM-MD5"]).auth == {"PLAIN", "LOGIN", "CRAM-MD5"}
