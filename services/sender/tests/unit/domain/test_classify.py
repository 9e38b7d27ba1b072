"""Replies to outcomes: what the field's servers really say, and what nobody knows."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.contracts.events import Kind
from mailwarren.contracts.reply import Command, Reply
from mailwarren.sender.domain.classify import LONGEST_READ, Rule, find_rule, read_reply, retry_hint
from mailwarren.sender.rules.book import built_in
from mailwarren.sender.rules.replies import read_replies

RCPT = Command.RCPT
RULES = read_replies([built_in("replies")])


@pytest.mark.parametrize(
    ("reply", "kind", "bounce_class", "suppress"),
    [
        (Reply(250, "queued as 1", "2.0.0"), Kind.DELIVERED, None, False),
        (Reply(550, "no such user here", "5.1.1", Command.RCPT), Kind.BOUNCED, "invalid_recipient", True),
        (Reply(550, "User unknown", None, Command.RCPT), Kind.BOUNCED, "invalid_recipient", True),
        (Reply(550, "mailbox disabled", "5.2.1", Command.RCPT), Kind.BOUNCED, "inactive_mailbox", True),
        (Reply(556, "domain does not accept mail", "5.1.10", Command.RCPT), Kind.BOUNCED, "bad_domain", True),
        (Reply(552, "mailbox full", "5.2.2", Command.RCPT), Kind.BOUNCED, "quota", False),
        (Reply(452, "mailbox full", "4.2.2", Command.RCPT), Kind.DEFERRED, "quota", False),
        (Reply(450, "Greylisted, please try again", "4.7.1", Command.RCPT), Kind.DEFERRED, "greylisted", False),
        (Reply(554, "blocked using Spamhaus", "5.7.1", Command.RCPT), Kind.DEFERRED, "ip_blocked", False),
        (Reply(550, "spam content detected", "5.7.1"), Kind.BOUNCED, "spam_content", False),
        (Reply(550, "not allowed", "5.7.1"), Kind.BOUNCED, "policy", False),
        (Reply(550, "DMARC policy rejects this", "5.7.1"), Kind.BOUNCED, "auth_failed", False),
        (Reply(553, "sender refused", "5.1.8", Command.MAIL), Kind.BOUNCED, "invalid_sender", False),
        # RFC 6531 §3.5, and servers that word it as if there were no such address.
        (Reply(550, "Non-ASCII addresses not permitted", "5.6.7", RCPT), Kind.BOUNCED, "no_smtputf8", False),
        (Reply(553, "Address needs SMTPUTF8", "5.6.7", Command.MAIL), Kind.BOUNCED, "no_smtputf8", False),
        (Reply(554, "UTF-8 header cannot be transferred", "5.6.9"), Kind.BOUNCED, "no_smtputf8", False),
        (Reply(550, "Recipient address invalid: needs SMTPUTF8", "5.1.1", RCPT), Kind.BOUNCED, "no_smtputf8", False),
        (Reply(450, "No SMTPUTF8 today", "4.6.7", RCPT), Kind.DEFERRED, "no_smtputf8", False),
        (Reply(554, "go away", None, Command.CONNECT), Kind.DEFERRED, "bad_connection", False),
        (Reply(535, "bad password", "5.7.8", Command.AUTH), Kind.DEFERRED, "policy", False),
        (Reply(421, "closing", "4.3.2", Command.MAIL), Kind.DEFERRED, "no_answer", False),
        (Reply(599, "the moon is wrong", None), Kind.FAILED, "unknown", False),
        (Reply(499, "the moon is wrong", None), Kind.DEFERRED, "transient", False),
        # Postfix, Sendmail and Exim about the sender, in the words that they have for recipients.
        (
            Reply(550, "<g@s.test>: Sender address rejected: User unknown in virtual mailbox table", "5.1.0", RCPT),
            Kind.BOUNCED,
            "invalid_sender",
            False,
        ),
        (
            Reply(550, "<g@s.test>: Sender address rejected: undeliverable address: unknown user", "5.1.7", RCPT),
            Kind.BOUNCED,
            "invalid_sender",
            False,
        ),
        (
            Reply(553, "<g@s.test>... Domain of sender address g@s.test does not exist", "5.1.8", Command.MAIL),
            Kind.BOUNCED,
            "invalid_sender",
            False,
        ),
        (Reply(550, "Unrouteable address Sender verify failed", None, RCPT), Kind.BOUNCED, "invalid_sender", False),
        (Reply(550, "No such user here", "5.1.1", Command.MAIL), Kind.FAILED, "unknown", False),
        (Reply(550, "Reverse DNS for your address not found", None, RCPT), Kind.BOUNCED, "auth_failed", False),
        # About us, whoever the mail is for.
        (Reply(554, "<x[127.0.0.1]>: Client host rejected: denied", "5.7.1", RCPT), Kind.DEFERRED, "ip_blocked", False),
        (Reply(504, "<x>: Helo command rejected: not FQDN", "5.5.2", RCPT), Kind.DEFERRED, "ip_blocked", False),
        (Reply(530, "Error: authentication Required", None, Command.MAIL), Kind.DEFERRED, "bad_connection", False),
        (Reply(530, "Must issue a STARTTLS command first", "5.7.0", Command.MAIL), Kind.DEFERRED, "policy", False),
    ],
)
def test_replies_of_the_field(reply: Reply, kind: Kind, bounce_class: str | None, suppress: bool) -> None:
    reading = read_reply(reply, 1, RULES)
    assert (reading.kind, reading.bounce_class, reading.suppress) == (kind, bounce_class, suppress)


def test_protocol_trouble_gets_a_second_try_and_no_third() -> None:
    reply = Reply(503, "bad sequence", "5.5.1", Command.DATA)
    assert (read_reply(reply, 1, RULES).kind, read_reply(reply, 2, RULES).kind) == (Kind.DEFERRED, Kind.FAILED)


@given(
    code=st.integers(400, 499), text=st.text(), enhanced=st.none() | st.from_regex(r"4\.\d\.\d{1,2}", fullmatch=True)
)
def test_no_transient_reply_ever_ends_a_delivery(code: int, text: str, enhanced: str | None) -> None:
    assert read_reply(Reply(code, text, enhanced), 7, RULES).kind is Kind.DEFERRED


@given(code=st.integers(500, 599), text=st.text(), command=st.sampled_from(list(Command)), attempt=st.integers(1, 9))
def test_only_a_named_rule_bounces_or_suppresses(code: int, text: str, command: Command, attempt: int) -> None:
    reading = read_reply(Reply(code, text, None, command), attempt, RULES)
    if reading.kind is Kind.BOUNCED or reading.suppress:
        assert any(rule.bounce_class == reading.bounce_class for rule in RULES)


@pytest.mark.parametrize("code", [530, 534, 535, 538])
def test_no_attempt_is_the_last_for_want_of_a_login(code: int) -> None:
    reply = Reply(code, "5.5.1 STARTTLS first", "5.5.1", Command.MAIL)
    assert read_reply(reply, 9, RULES).kind is Kind.DEFERRED


@pytest.mark.parametrize("text", ["user unknown", "no such mailbox", "recipient not found", "go away"])
@pytest.mark.parametrize("enhanced", ["5.1.1", "5.2.1", "5.1.10", None])
def test_an_answer_to_mail_never_suppresses_the_recipient(text: str, enhanced: str | None) -> None:
    assert not read_reply(Reply(550, text, enhanced, Command.MAIL), 1, RULES).suppress


@pytest.mark.parametrize(
    ("text", "enhanced"),
    [
        ("Sender's domain does not resolve", "5.1.2"),
        ("Address rejected: sender account ada@sender.test unknown", "5.1.0"),
        ("User unknown; sender was not told", "5.1.1"),
    ],
)
def test_a_refusal_that_mentions_the_sender_suppresses_nobody(text: str, enhanced: str) -> None:
    assert not read_reply(Reply(550, text, enhanced, Command.RCPT), 1, RULES).suppress


@pytest.mark.parametrize("rule", [rule for rule in RULES if not rule.suppress], ids=lambda rule: rule.bounce_class)
def test_only_rules_about_the_recipient_suppress(rule: Rule) -> None:
    assert rule.bounce_class not in {"invalid_recipient", "bad_domain", "inactive_mailbox"}


anything = st.builds(
    Reply,
    code=st.integers(-1, 999),
    text=st.text() | st.text(alphabet="user unknown.", max_size=3000),
    enhanced=st.none() | st.text(max_size=12) | st.from_regex(r"[245]\.\d{1,3}\.\d{1,3}", fullmatch=True),
    command=st.sampled_from(list(Command)),
)


@given(reply=anything, attempt=st.integers(1, 99))
def test_every_reply_has_a_reading(reply: Reply, attempt: int) -> None:
    assert read_reply(reply, attempt, RULES).kind in {Kind.DELIVERED, Kind.DEFERRED, Kind.BOUNCED, Kind.FAILED}


@given(reply=anything, attempt=st.integers(1, 99))
def test_without_rules_nothing_bounces(reply: Reply, attempt: int) -> None:
    reading = read_reply(reply, attempt, ())
    assert reading.kind is not Kind.BOUNCED
    assert not reading.suppress


def test_a_yes_does_not_look_at_the_rules() -> None:
    assert read_reply(Reply(250, "user unknown", "5.1.1"), 1, None).kind is Kind.DELIVERED  # type: ignore[arg-type]


def test_only_the_beginning_of_a_long_text_is_read() -> None:
    late = Reply(550, "x" * LONGEST_READ + " user unknown", None, RCPT)
    early = Reply(550, "user unknown " + "x" * LONGEST_READ, None, RCPT)
    assert find_rule(late, RULES) is None
    assert find_rule(early, RULES) is not None


def test_a_rule_fits_when_all_that_it_names_does() -> None:
    rule = Rule("strict", Kind.BOUNCED, frozenset({550}), re.compile(r"5\.1\.\d"), re.compile("gone"))
    for reply, fits in [
        (Reply(550, "gone", "5.1.1"), True),
        (Reply(551, "gone", "5.1.1"), False),
        (Reply(550, "gone", "5.1.10"), False),
        (Reply(550, "gone", None), False),
        (Reply(550, "here", "5.1.1"), False),
    ]:
        assert (find_rule(reply, (rule,)) is rule) is fits


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("try again in 30 seconds", 40.0),
        ("Please try again later in 5 minutes", 310.0),
        ("retry after 2m", 130.0),
        ("try again in 9 hours", 3600.0),
        ("try again in 12", 22.0),
        ("try again later", None),
        ("4.2.1 call 555 1234", None),
    ],
)
def test_a_server_may_name_its_own_wait(text: str, seconds: float | None) -> None:
    assert retry_hint(text) == seconds
