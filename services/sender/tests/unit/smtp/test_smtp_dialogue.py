"""Every sequence of replies ends a transaction in a way that neither loses nor invents an answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.sender.smtp import Command, Envelope, Refused, Reply
from mailwarren.sender.smtp.capabilities import Capabilities
from mailwarren.sender.smtp.dialogue import Step, Transaction, check_sendable, mail_parameters, used_up
from mailwarren.sender.smtp.replies import RawReply

ENVELOPE = Envelope("a@x.example", "b@y.example")
CODES = st.sampled_from([220, 250, 251, 252, 354, 334, 421, 450, 451, 452, 500, 503, 550, 554])


@given(st.lists(CODES, min_size=8, max_size=8), st.booleans(), st.booleans())
def test_the_data_is_asked_for_only_when_all_of_the_envelope_was_taken(codes, pipelined, reset):
    transaction = Transaction(ENVELOPE, b"", pipelined=pipelined, reset=reset)
    transaction.start()
    heard: list[tuple[Command, int]] = []
    asked_for_data = False
    step: Step | bytes = Step.WAIT
    for code in codes:
        heard.append((transaction.command, code))
        step = transaction.advance(RawReply(code, (b"",)))
        asked_for_data |= step is Step.SEND_DATA
        if step in {Step.DONE, Step.DROP}:
            break

    assert step in {Step.DONE, Step.DROP}
    envelope = [code for command, code in heard if command is not Command.DOT]
    assert asked_for_data == (
        all(code < 400 for code in envelope) and envelope[-1] >= 300 and Command.DATA in dict(heard)
    )
    if transaction.decided is None:
        assert transaction.nonsense
        assert step is Step.DROP
    elif transaction.decided.command is not Command.DOT:
        # The first refusal is the answer.
        assert transaction.decided.code == next(code for _, code in heard if code >= 400)
    if heard[-1][1] == 421:
        assert step is Step.DROP


@pytest.mark.parametrize(
    ("pipelined", "reset", "first"),
    [
        (True, False, b"MAIL FROM:<a@x.example> SIZE=9\r\nRCPT TO:<b@y.example>\r\nDATA\r\n"),
        (True, True, b"RSET\r\nMAIL FROM:<a@x.example> SIZE=9\r\nRCPT TO:<b@y.example>\r\nDATA\r\n"),
        (False, False, b"MAIL FROM:<a@x.example> SIZE=9\r\n"),
        (False, True, b"RSET\r\n"),
    ],
)
def test_what_is_written_first(pipelined, reset, first):
    assert Transaction(ENVELOPE, b" SIZE=9", pipelined=pipelined, reset=reset).start() == first


def test_a_group_follows_its_replies():
    transaction = Transaction(ENVELOPE, b"", pipelined=True, reset=True)

    steps = [transaction.advance(RawReply(code, (b"",))) for code in (250, 250, 250, 354, 250)]

    assert steps == [Step.WAIT, Step.WAIT, Step.WAIT, Step.SEND_DATA, Step.DONE]
    assert transaction.decided is not None
    assert not transaction.unfinished


def test_commands_follow_one_by_one_without_pipelining():
    transaction = Transaction(ENVELOPE, b"", pipelined=False, reset=True)

    steps = [transaction.advance(RawReply(code, (b"",))) for code in (250, 250, 250, 354, 250)]

    assert steps == [
        b"MAIL FROM:<a@x.example>\r\n",
        b"RCPT TO:<b@y.example>\r\n",
        b"DATA\r\n",
        Step.SEND_DATA,
        Step.DONE,
    ]


@pytest.mark.parametrize("codes", [(250, 550, 503), (250, 250, 451), (450, 250, 503)])
def test_an_envelope_that_was_taken_in_part_needs_a_reset_before_the_next(codes):
    transaction = Transaction(ENVELOPE, b"", pipelined=True, reset=False)

    for code in codes:
        step = transaction.advance(RawReply(code, (b"",)))

    assert step is Step.DONE
    assert transaction.unfinished


@pytest.mark.parametrize("code", [451, 550])
def test_a_refused_message_needs_a_reset_before_the_next(code):
    transaction = Transaction(ENVELOPE, b"", pipelined=False, reset=False)

    for each in (250, 250, 354, code):
        step = transaction.advance(RawReply(each, (b"",)))

    assert step is Step.DONE
    assert transaction.unfinished


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(421, "bye", None, Command.MAIL), True),
        (Reply(503, "nested MAIL", "5.5.1", Command.MAIL), True),
        (Reply(452, "too many recipients", "4.5.3", Command.MAIL), True),
        (Reply(452, "too many recipients", "4.5.3", Command.RCPT), False),
        (Reply(451, "too many mails in one connection", None, Command.MAIL), True),
        (Reply(451, "too many connections", None, Command.MAIL), False),
        (Reply(550, "not in this session", None, Command.MAIL), False),
        (Reply(450, "too much mail", "4.7.1", Command.MAIL), False),
    ],
)
def test_which_answers_to_mail_are_about_the_connection(reply, expected):
    assert used_up(reply) == expected


def test_parameters_are_given_only_when_offered_and_needed():
    utf8 = Envelope("", "ü@y.example")
    everything = Capabilities(size=True, eight_bit=True, utf8=True)

    assert mail_parameters(Capabilities(), ENVELOPE, b"x\xff\r\n.\r\n") == b""
    assert mail_parameters(everything, ENVELOPE, b"x\r\n.\r\n") == b" SIZE=3"
    assert mail_parameters(everything, utf8, b"\xff\r\n.\r\n") == b" SIZE=3 BODY=8BITMIME SMTPUTF8"
    fields = b"Cc: \xc3\xbc@x\r\n\r\n.\r\n"
    assert mail_parameters(everything, ENVELOPE, fields, utf8_fields=True) == b" SIZE=12 BODY=8BITMIME SMTPUTF8"


def test_who_has_no_smtputf8_is_sent_neither_such_an_envelope_nor_such_a_header():
    plain, able = Capabilities(), Capabilities(utf8=True)

    assert check_sendable(able, Envelope("", "ü@y.example"), 9, utf8_fields=True) is None
    assert check_sendable(plain, ENVELOPE, 9) is None
    codes = []
    for envelope, fields in ((Envelope("", "ü@y.example"), True), (Envelope("ü@x.example", "b@y.example"), False),
                             (ENVELOPE, True)):  # fmt: skip
        refused = check_sendable(plain, envelope, 9, utf8_fields=fields)
        assert refused is not None
        assert "SMTPUTF8 (RFC 6531), which the server does not offer" in refused.text
        codes.append(refused.enhanced)
    assert codes == ["5.6.7", "5.6.7", "5.6.9"]


@pytest.mark.parametrize(("limit", "size", "refused"), [(0, 10**9, False), (100, 100, False), (100, 101, True)])
def test_only_a_message_over_a_limit_that_was_named_is_too_large(limit, size, refused):
    assert isinstance(check_sendable(Capabilities(size=True, size_limit=limit), ENVELOPE, size), Refused) == refused
