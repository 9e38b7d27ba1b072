"""What became of one attempt. Every member of ``Outcome`` is a value: nothing here is ever raised."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice

import msgspec

from mailwarren.contracts.reply import Command, Reply
from mailwarren.contracts.tls import TlsPolicy, TlsSession
from mailwarren.sender.smtp.site import DomainPolicy, Host
from mailwarren.sender.smtp.tlsproblem import TlsProblem


class UnreachableKind(StrEnum):
    """Why no server answer decided the attempt."""

    DNS = "dns"
    """The name of the host could not be resolved."""
    EGRESS = "egress"
    """No connection could come from the address that was to be its source: it is not this host's. The host was not
    asked."""
    CONNECT = "connect"
    """No TCP connection (refused, unroutable, connect timed out)."""
    TIMEOUT = "timeout"
    """The server was silent for longer than its stage allows (RFC 5321 §4.5.3.2)."""
    TLS = "tls"
    """TLS was needed and could not be had (not offered, handshake or certificate failed)."""
    LOST = "lost"
    """The connection went away in the middle of the dialogue."""
    PROTOCOL = "protocol"
    """The server does not speak SMTP as we know it, or lacks what the route needs (AUTH)."""


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No server answer decided this recipient.

    Attributes:
        kind: What went wrong.
        text: One line for people; never holds a password or message content.
        host: The host that was tried, ``name[address]:port``.
        command: The stage that was under way, None before the connection stood.
        dot_sent: True when the final dot had been written: the server may have taken the mail.
        tls: What was wrong with its TLS, where that was it.
    """

    kind: UnreachableKind
    text: str
    host: str
    command: Command | None = None
    dot_sent: bool = False
    tls: TlsProblem | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """We cannot send this mail to this server, and said so without trying.

    Attributes:
        enhanced: Our own enhanced code: 5.6.7 (the envelope needs SMTPUTF8, which the server has not), 5.6.9 (the
            header does), 5.3.4 (larger than its SIZE).
        text: The reason, for people.
    """

    enhanced: str
    text: str


@dataclass(frozen=True, slots=True)
class Abandoned:
    """Not sent: the caller's gate said no, or the pool was closed. The message data was not written."""


@dataclass(frozen=True, slots=True)
class PolicyFailure:
    """A domain's mail may go to none of its hosts, by what DNS or its policy says of their TLS.

    Attributes:
        problem: What it is.
        text: The reason, for people.
        sessions: For reports, until somebody has told of it.
    """

    problem: TlsProblem
    text: str
    sessions: list[TlsSession] = field(default_factory=list, compare=False)

    def take_sessions(self) -> tuple[TlsSession, ...]:
        """What there is to tell, once."""
        sessions = tuple(self.sessions)
        self.sessions.clear()
        return sessions


Failure = Reply | Unreachable
"""Why a host gave no usable session: its own answer (greeting, EHLO, STARTTLS, AUTH), or none."""


@dataclass(frozen=True, slots=True)
class Negotiated:
    """How one negotiation of TLS with a host ended: what was wrong, None when it went well."""

    host: Host
    problem: TlsProblem | None = None
    text: str = ""

    def told(self, policy: DomainPolicy) -> TlsSession:
        """As reports have it, for mail to the domain of ``policy``."""
        dane, problem, host = self.host.dane, self.problem, self.host
        return TlsSession(
            policy.domain,
            policy.kind if dane is None else TlsPolicy.DANE,
            "" if problem is None else problem.report,
            host.name,
            host.address or "",
            self.text[:LONGEST_TOLD],
            _short(policy.lines if dane is None else map(str, dane.records)),
            _short(policy.mx if dane is None else ()),
        )


LONGEST_TOLD = 200
"""Characters of a negotiation's text, and of each line of a policy, in reports."""
MOST_TOLD = 20
"""Lines of a policy."""


def _short(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(line[:LONGEST_TOLD] for line in islice(lines, MOST_TOLD))


@dataclass(frozen=True, slots=True)
class NoSession:
    """A host that gave no usable session.

    Attributes:
        failure: Its own answer, or that there was none.
        host: ``name[address]:port``.
        rule: The rule that its TLS had to keep, as ``Result.tls_policy``.
        negotiated: How TLS was tried, until somebody has told of it.
    """

    failure: Failure
    host: str
    rule: str | None = None
    negotiated: list[Negotiated] = field(default_factory=list, compare=False)

    @property
    def reason(self) -> str:
        """``connect``, ``tls`` …, or the stage and code of the answer: ``ehlo 421``; a bounded label."""
        if isinstance(self.failure, Unreachable):
            return self.failure.kind.value
        return f"{self.failure.command.value} {self.failure.code}"


MaySend = Callable[[], bool]
"""The gate: asked once per attempt, right before message data is written. It must be quick."""

Outcome = Reply | Unreachable | Refused | Abandoned
"""All that can become of one attempt; match on it exhaustively."""


class Result(msgspec.Struct, frozen=True):
    """One attempt over SMTP.

    Attributes:
        outcome: What decided it.
        host: The host that it was decided at, ``name[address]:port``; empty when none was tried.
        tls: ``TLSv1.3 TLS_AES_256_GCM_SHA384`` or the like; None without TLS.
        waited: Seconds until there was a connection, or none to be had; dialling is part of it.
        duration: Seconds of the dialogue, from MAIL on.
        dot_at: When the final dot was written (``time.time()``), None when it was not.
        replied_at: When the deciding reply came (``time.time()``), None when none came.
        tls_policy: The rule that its TLS had to keep, as in ``Attempt``.
        sessions: The negotiations of TLS that were made for it.
    """

    outcome: Outcome
    host: str = ""
    tls: str | None = None
    waited: float = 0.0
    duration: float = 0.0
    dot_at: float | None = None
    replied_at: float | None = None
    tls_policy: str | None = None
    sessions: tuple[TlsSession, ...] = ()
