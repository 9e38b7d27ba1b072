"""From a reply to an outcome (DESIGN §4, stop 10).

The first rule of :data:`RULES` that fits gives the bounce class. 4yz always defers. 5yz bounces only by a rule that
says so; a 5yz that speaks of us and not of the recipient (a blocklist, a refused connection) defers; an unknown 5yz
fails. Only rules about the recipient suppress an address.
"""

import re
from dataclasses import dataclass

from mailwarren.contracts.events import Kind
from mailwarren.contracts.reply import Command, Reply

HINT_MARGIN = 10.0
"""Seconds added to "try again in N": clocks differ."""
LONGEST_HINT = 3600.0

_OF_THE_SESSION = frozenset({Command.CONNECT, Command.EHLO, Command.STARTTLS, Command.AUTH})

_WANTS_LOGIN = frozenset({530, 534, 535, 538})
"""AUTH or STARTTLS first, in answer to whatever command (RFC 4954 §6, RFC 3207 §4)."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reply means: ``suppress`` is that the address should get no more mail, ``retry_in`` the server's wish."""

    kind: Kind
    bounce_class: str | None = None
    suppress: bool = False
    retry_in: float | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: all given patterns must fit. ``permanent`` is the outcome of a 5yz that fits."""

    bounce_class: str
    permanent: Kind
    enhanced: str = ""
    text: str = ""
    suppress: bool = False

    def fits(self, reply: Reply) -> bool:
        """Whether this row is about such a reply."""
        if self.enhanced and not re.fullmatch(self.enhanced, reply.enhanced or ""):
            return False
        return not self.text or re.search(self.text, reply.text, re.IGNORECASE) is not None


# Texts before codes: many servers answer 5.7.1 to everything. Sources: RFC 3463, the IANA registry of enhanced codes.
RULES: tuple[Rule, ...] = (
    Rule("ip_blocked", Kind.DEFERRED, text=r"spamhaus|spamcop|barracuda|sorbs|dnsbl|\brbl\b|block ?list|black ?list"),
    Rule("ip_blocked", Kind.DEFERRED, text=r"blocked using|S3150|\bip\b.{0,40}\b(blocked|reputation)"),
    Rule("greylisted", Kind.DEFERRED, text=r"gr[ae]y-?list"),
    Rule(
        "rate_limited", Kind.DEFERRED, text=r"too many (connections|messages)|rate limit|throttl|temporarily deferred"
    ),
    Rule("rate_limited", Kind.DEFERRED, enhanced=r"[45]\.7\.28|4\.7\.32"),
    # Postfix says such things of us at RCPT.
    Rule("ip_blocked", Kind.DEFERRED, text=r"(client host|helo command) rejected"),
    # These are worded like a refusal of the recipient: "Sender address rejected: User unknown in …" (Postfix),
    # "Domain of sender address … does not exist" (Sendmail).
    Rule(
        "invalid_sender",
        Kind.BOUNCED,
        text=r"\bsender (address|domain|verify|verification|callout)\b|\b(unknown|invalid) sender\b",
    ),
    Rule("auth_failed", Kind.BOUNCED, text=r"\breverse dns\b|\brdns\b|\bptr\b"),
    Rule(
        "invalid_recipient",
        Kind.BOUNCED,
        text=r"(user|recipient|mailbox|account|address)\b.{0,40}"
        r"\b(unknown|not found|does(n't| not) exist|invalid|no such|rejected: undeliverable)"
        r"|no such (user|recipient|mailbox|person|address)|unknown (user|recipient|mailbox|local part)",
        suppress=True,
    ),
    Rule("bad_domain", Kind.BOUNCED, enhanced=r"[45]\.1\.10|[45]\.7\.18|5\.1\.2", suppress=True),
    Rule("invalid_recipient", Kind.BOUNCED, enhanced=r"[45]\.1\.[134]|[45]\.2\.4|5\.7\.17", suppress=True),
    Rule("inactive_mailbox", Kind.BOUNCED, enhanced=r"[45]\.1\.6|[45]\.2\.1|[45]\.7\.13", suppress=True),
    Rule("quota", Kind.BOUNCED, enhanced=r"[45]\.2\.2|[45]\.3\.1", text=r""),
    Rule("quota", Kind.BOUNCED, text=r"(mailbox|quota|storage).{0,30}(full|exceeded|over)|over quota"),
    Rule("message_too_large", Kind.BOUNCED, enhanced=r"[45]\.3\.4|[45]\.2\.3"),
    Rule("invalid_sender", Kind.BOUNCED, enhanced=r"[45]\.1\.[78]|[45]\.7\.27"),
    Rule("spam_content", Kind.BOUNCED, enhanced=r"[45]\.7\.38"),
    Rule("spam_content", Kind.BOUNCED, text=r"\bspam\b|junk|unsolicited|virus|malware"),
    Rule("auth_failed", Kind.BOUNCED, enhanced=r"5\.7\.515|[45]\.7\.(2[0-69]|30|9)", text=r""),
    Rule("auth_failed", Kind.BOUNCED, text=r"\b(dmarc|dkim|spf)\b"),
    Rule("policy", Kind.BOUNCED, enhanced=r"[45]\.7\.\d+"),
    Rule("too_many_recipients", Kind.DEFERRED, enhanced=r"[45]\.5\.3"),
    Rule("no_answer", Kind.DEFERRED, enhanced=r"4\.4\.\d+|4\.3\.\d+"),
)


_DELIVERED = Reading(Kind.DELIVERED)


def read_reply(reply: Reply, attempt: int) -> Reading:  # noqa: PLR0911 - one line of the decision each
    """The outcome of ``attempt`` (from 1), from the reply that decided it."""
    if reply.positive:
        return _DELIVERED
    rule = next((rule for rule in RULES if rule.fits(reply) and not _of_another(rule, reply)), None)
    name = rule.bounce_class if rule else None
    if reply.transient:
        return Reading(Kind.DEFERRED, name or "transient", retry_in=retry_hint(reply.text))
    if reply.command in _OF_THE_SESSION or reply.code in _WANTS_LOGIN:
        # A server that refuses the connection or our login says nothing about this recipient.
        return Reading(Kind.DEFERRED, name or "bad_connection", retry_in=retry_hint(reply.text))
    if re.match(r"5\.[56]\.", reply.enhanced or "") and name is None:
        # Protocol trouble is often a passing confusion of the two ends: once more, on a fresh connection.
        return Reading(Kind.DEFERRED if attempt == 1 else Kind.FAILED, "protocol_error")
    if not reply.permanent:
        return Reading(Kind.DEFERRED, "protocol_error")
    if rule is None:
        return Reading(Kind.FAILED, "unknown")
    return Reading(rule.permanent, name, suppress=_suppresses(rule, reply))


def _suppresses(rule: Rule, reply: Reply) -> bool:
    # Whoever mentions the sender may have meant the sender: suppressing is not worth a guess.
    return rule.suppress and rule.permanent is Kind.BOUNCED and not re.search(r"\bsender\b", reply.text, re.IGNORECASE)


def _of_another(rule: Rule, reply: Reply) -> bool:
    """What answers MAIL is about the sender: the recipient has not been named yet."""
    return rule.suppress and reply.command is Command.MAIL


_HINT = re.compile(
    r"(?:try|retry)(?: again)?(?: later)? (?:in|after) (\d{1,6}) ?(s|sec|seconds?|m|min|minutes?|h|hours?)?\b",
    re.IGNORECASE,
)
_UNIT = {"s": 1.0, "m": 60.0, "h": 3600.0}


def retry_hint(text: str) -> float | None:
    """Seconds to wait when a text says "try again in N", with a margin, at most an hour."""
    found = _HINT.search(text)
    if not found:
        return None
    unit = _UNIT[(found.group(2) or "s")[0].lower()]
    return min(int(found.group(1)) * unit + HINT_MARGIN, LONGEST_HINT)
