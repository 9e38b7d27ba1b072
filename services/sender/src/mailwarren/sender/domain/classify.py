"""From a reply to an outcome (DESIGN §4, stop 10).

The first reply rule that fits gives the bounce class; the rules are an argument (``rules/replies.toml`` has ours).
4yz always defers. 5yz bounces only by a rule that says so; a 5yz that speaks of us and not of the recipient (a
blocklist, a refused connection) defers; an unknown 5yz fails. Only rules about the recipient suppress an address.
"""

import re
from dataclasses import dataclass, field

from mailwarren.contracts.events import Kind
from mailwarren.contracts.reply import Command, Reply
from mailwarren.sender.domain.actions import Action

HINT_MARGIN = 10.0
"""Seconds added to "try again in N": clocks differ."""
LONGEST_HINT = 3600.0

LONGEST_READ = 1000
"""Characters of a reply's text that rules look at: what a server can cost us is bounded by it."""

_OF_THE_SESSION = frozenset({Command.CONNECT, Command.EHLO, Command.STARTTLS, Command.AUTH})

TLS_REFUSED = "tls_refused"
"""The bounce class of a server that refuses STARTTLS to mail that needs TLS."""

PROTOCOL_ERROR = "protocol_error"
"""The bounce class of what is tried once more and then fails."""

_OF_THE_PROTOCOL = ("5.5.", "5.6.")

_SERVICE_CLOSING = 421
_WANTS_LOGIN = frozenset({530, 534, 535, 538})
"""AUTH or STARTTLS first, in answer to whatever command (RFC 4954 §6, RFC 3207 §4)."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reply means: ``suppress`` is that the address should get no more mail, ``retry_in`` the server's wish.

    ``rule`` is the one that read it.
    """

    kind: Kind
    bounce_class: str | None = None
    suppress: bool = False
    retry_in: float | None = None
    rule: "Rule | None" = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Rule:
    """A reply rule: all that is given of it must fit. ``permanent`` is the outcome of a 5yz that fits.

    ``sites`` are those that it is about; without any it is about all. ``key`` tells it from all other rules, at every
    sender that has it.
    """

    bounce_class: str
    permanent: Kind
    codes: frozenset[int] = frozenset()
    enhanced: re.Pattern[str] | None = None
    text: re.Pattern[str] | None = None
    suppress: bool = False
    sites: frozenset[str] = frozenset()
    action: Action | None = None
    key: str = ""

    def fits(self, reply: Reply, text: str, site: str | None) -> bool:
        """Whether it is about such a reply of a site; ``text`` is the part of the reply's text that is looked at."""
        if self.sites and site not in self.sites:
            return False
        if self.codes and reply.code not in self.codes:
            return False
        if self.enhanced is not None and self.enhanced.fullmatch(reply.enhanced or "") is None:
            return False
        return self.text is None or self.text.search(text) is not None


ReplyRules = tuple[Rule, ...]
"""In the order in which they are tried."""


_DELIVERED = Reading(Kind.DELIVERED)


def find_rule(reply: Reply, rules: ReplyRules, site: str | None = None) -> Rule | None:
    """The first of ``rules`` that reads ``reply`` of ``site``."""
    text = reply.text[:LONGEST_READ]
    for rule in rules:
        if rule.fits(reply, text, site) and not _of_another(rule, reply):
            return rule
    return None


def read_reply(reply: Reply, attempt: int, rules: ReplyRules, site: str | None = None) -> Reading:
    """The outcome, from the reply that decided it, by the first of ``rules`` that fits.

    ``attempt`` counts from 1, anew after each that ended otherwise than by an error of the protocol.
    """
    if reply.positive:
        return _DELIVERED
    rule = find_rule(reply, rules, site)
    kind, name = _judge(reply, attempt, rule)
    hint = retry_hint(reply.text) if kind is Kind.DEFERRED else None
    return Reading(kind, name, kind is Kind.BOUNCED and _suppresses(rule, reply), hint, rule)


def _judge(reply: Reply, attempt: int, rule: Rule | None) -> tuple[Kind, str]:
    """The outcome of a negative reply, and its bounce class."""
    name = rule.bounce_class if rule else None
    if reply.command is Command.STARTTLS and reply.code != _SERVICE_CLOSING:
        # Whatever it says of policies, it is about TLS.
        return Kind.DEFERRED, TLS_REFUSED
    if reply.transient:
        return Kind.DEFERRED, name or "transient"
    if reply.command in _OF_THE_SESSION or reply.code in _WANTS_LOGIN:
        # A server that refuses the connection or our login says nothing about this recipient.
        return Kind.DEFERRED, name or "bad_connection"
    if (reply.enhanced or "").startswith(_OF_THE_PROTOCOL) and name is None:
        # Protocol trouble is often a passing confusion of the two ends: once more, on a fresh connection.
        return (Kind.DEFERRED if attempt == 1 else Kind.FAILED), PROTOCOL_ERROR
    if not reply.permanent:
        return Kind.DEFERRED, PROTOCOL_ERROR
    return (rule.permanent, rule.bounce_class) if rule else (Kind.FAILED, "unknown")


_SENDER = re.compile(r"\bsender\b", re.IGNORECASE)


def _suppresses(rule: Rule | None, reply: Reply) -> bool:
    # Whoever mentions the sender may have meant the sender: suppressing is not worth a guess.
    return rule is not None and rule.suppress and not _SENDER.search(reply.text)


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
