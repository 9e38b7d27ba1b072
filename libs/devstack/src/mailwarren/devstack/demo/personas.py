"""How the recipients' mail servers behave in the demo: a script for the sink, and the same in words.

Shares are decided by the sink from its seed, so the same recipients meet the same answers in every run.
"""

from typing import Any

from mailwarren.devstack.demo import roster

_Persona = dict[str, Any]


def _rule(stage: str, code: int, text: str, *, enhanced: str | None = None, **more: Any) -> dict[str, Any]:
    return {"stage": stage, "code": code, "text": text, **({"enhanced": enhanced} if enhanced else {}), **more}


_UNKNOWN_USER = _rule("rcpt", 550, "User unknown", enhanced="5.1.1", share=0.15)
_UNKNOWN_ACCOUNT = _rule(
    "rcpt", 550, "The email account that you tried to reach\ndoes not exist.", enhanced="5.1.1", share=0.01
)

_COME_BACK = _rule("rcpt", 451, "Server busy, please come back", enhanced="4.3.2", share=0.03, first_attempts=1)

PERSONAS: tuple[tuple[str, str, _Persona], ...] = (
    ("gmail.com", "1 % of the accounts do not exist", {"rules": [_UNKNOWN_ACCOUNT]}),
    ("outlook.com", "3 % are told to come back later, once (451)", {"rules": [_COME_BACK]}),
    (roster.GREYLISTS, "greylists for 2 s", {"greylist_s": 2}),
    (roster.LEFT_CAMPUS, "15 % of the users are unknown (550 5.1.1)", {"rules": [_UNKNOWN_USER]}),
    (
        roster.POLICY,
        "refuses 10 % after reading them (550 5.7.1)",
        {"rules": [_rule("dot", 550, "Refused by our message policy", enhanced="5.7.1", share=0.1)]},
    ),
    (
        roster.FULL_MAILBOXES,
        "10 % of the mailboxes are full (552 5.2.2)",
        {"rules": [_rule("rcpt", 552, "Mailbox full", enhanced="5.2.2", share=0.1)]},
    ),
    (
        roster.STRANGE_WORDS,
        "refuses 20 % in words that nobody knows (554)",
        {"rules": [_rule("dot", 554, "The omens are against it, reference 0x1F4A9", share=0.2)]},
    ),
    (
        roster.BUSY,
        "defers every first attempt, some second ones (451)",
        {
            "rules": [
                _rule("rcpt", 451, "Temporary lookup failure", enhanced="4.3.0", first_attempts=1),
                _rule("rcpt", 451, "Temporary lookup failure", enhanced="4.3.0", share=0.3, first_attempts=2),
            ]
        },
    ),
    (
        roster.CLOSES_EARLY,
        "closes the connection on half of the first attempts (421)",
        {"rules": [_rule("rcpt", 421, "Service not available", enhanced="4.3.2", share=0.5, first_attempts=1)]},
    ),
    (roster.FRAYED, "drops 15 % of the connections inside DATA", {"drop_mid_data": 0.15}),
    (roster.LOSES_ANSWERS, "takes 5 % of the mails and drops the line instead of the answer", {"drop_after_dot": 0.05}),
    (roster.SLOW_DOT, "answers the final dot after 400 ms", {"dot_latency_ms": 400}),
    (roster.TARPIT, "answers each RCPT after 100 ms", {"tarpit_ms_per_rcpt": 100}),
    (
        roster.CLOSED,
        f"never takes anything (451); its mails expire after {roster.CLOSED_EXPIRES_IN} s",
        {"rules": [_rule("rcpt", 451, "System not accepting messages", enhanced="4.3.2")]},
    ),
)
"""Domain, what its servers do in words, and as the sink reads it. All other domains take every mail at once."""


def script() -> dict[str, Any]:
    """The body for the sink's ``POST /script``."""
    return {
        "seed": roster.SEED,
        "personas": [{"name": words, "domains": [domain], **persona} for domain, words, persona in PERSONAS],
    }
