"""Personas as data: how the mail servers of some domains, or behind some addresses, behave."""

import re
from enum import StrEnum
from typing import Annotated, Literal

import msgspec

ANY_DOMAIN = ("*",)
"""The ``domains`` of the persona that also answers what knows no recipient yet: the connection, EHLO and MAIL."""

_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_LONGEST_TEXT = 480  # a reply line has 512 octets (RFC 5321 §4.5.3.1.5), code, enhanced code and CRLF included
_CLOSING = 421

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=3_600_000)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Refusing = Annotated[int, msgspec.Meta(ge=400, le=599)]
Limit = Annotated[int, msgspec.Meta(ge=1)]


class Stage(StrEnum):
    """Where a connection stands when something is refused: a command, inside the data, or its end (``dot``)."""

    CONNECT = "connect"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    MID_DATA = "mid_data"
    DOT = "dot"
    RSET = "rset"
    QUIT = "quit"


OF_RECIPIENTS = frozenset({Stage.RCPT, Stage.DATA, Stage.MID_DATA, Stage.DOT})
"""The stages at which a recipient is known, so that its domain can choose the persona."""


class Tls(StrEnum):
    """What STARTTLS leads to.

    ``default``: as the sink was started; ``none``: it is not offered; ``valid``, ``expired``, ``not_yet_valid``,
    ``wrong_name``, ``self_signed``: it is offered with such a certificate (of the sink's own authority,
    ``GET /ca.pem``); ``untrusted``: with one of another authority; ``with_authority``: valid, and the authority's own
    certificate is shown behind it, as DANE-TA wants; ``old_version``: TLS 1.1 at most;
    ``broken``: 220, and then octets that are no TLS; ``stalled``: 220, and then nothing at all.
    """

    DEFAULT = "default"
    NONE = "none"
    VALID = "valid"
    WITH_AUTHORITY = "with_authority"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    WRONG_NAME = "wrong_name"
    SELF_SIGNED = "self_signed"
    UNTRUSTED = "untrusted"
    OLD_VERSION = "old_version"
    BROKEN = "broken"
    STALLED = "stalled"


def _check_words(code: int | None, enhanced: str | None, text: str) -> None:
    if enhanced is not None:
        if not _ENHANCED.fullmatch(enhanced):
            raise ValueError(f"enhanced is {enhanced!r}, expected the form 4.7.1 (RFC 3463)")
        if enhanced[0] != str(code)[0]:
            raise ValueError(f"enhanced {enhanced} contradicts code {code}")
    for line in text.split("\n"):
        if not (line.isascii() and (line.isprintable() or not line) and len(line) <= _LONGEST_TEXT):
            raise ValueError(f"text must be printable ASCII, at most {_LONGEST_TEXT} characters a line")


class _Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What all parts of a script are."""


class Spread(_Data, frozen=True):
    """Milliseconds that differ: between ``low`` and ``high`` evenly, or lognormal by ``median`` and ``p95``."""

    low: Milliseconds | None = None
    high: Milliseconds | None = None
    median: Annotated[float, msgspec.Meta(gt=0, le=3_600_000)] | None = None
    p95: Annotated[float, msgspec.Meta(gt=0, le=3_600_000)] | None = None

    def __post_init__(self) -> None:
        given = tuple(value is not None for value in (self.low, self.high, self.median, self.p95))
        if given == (True, True, False, False):
            if (self.low or 0) > (self.high or 0):
                raise ValueError(f"low {self.low} is above high {self.high}")
        elif given == (False, False, True, True):
            if (self.median or 0) > (self.p95 or 0):
                raise ValueError(f"median {self.median} is above p95 {self.p95}")
        else:
            raise ValueError("expected low and high, or median and p95")


Delay = Milliseconds | Spread


class Refusal(_Data, frozen=True):
    """A reply in a persona's own words: ``code enhanced text``; a newline in ``text`` makes several lines."""

    code: Refusing
    enhanced: str | None = None
    text: str = "Refused by script"

    def __post_init__(self) -> None:
        _check_words(self.code, self.enhanced, self.text)


class Rule(_Data, frozen=True):
    """One refusal: ``code enhanced text``, for a ``share`` of the tries, optionally only the first of each.

    The connection is closed after the reply when ``close`` is set, and always after 421. With ``reset`` it is reset
    (TCP RST) instead of a reply.
    """

    stage: Stage
    code: Refusing | None = None
    enhanced: str | None = None
    text: str = "Refused by script"
    share: Share = 1.0
    first_attempts: Limit | None = None
    close: bool = False
    reset: bool = False

    def __post_init__(self) -> None:
        _check_end(self.code, self.stage, reset=self.reset)
        if self.code is None and not self.reset:
            raise ValueError("a rule needs a code, or reset")
        _check_words(self.code, self.enhanced, self.text)


class Choice(_Data, frozen=True):
    """One outcome of a stage's mix, as likely as its ``weight`` among those of its stage; without a code: go on."""

    stage: Stage
    weight: Annotated[float, msgspec.Meta(gt=0)]
    code: Refusing | None = None
    enhanced: str | None = None
    text: str = "Refused by script"
    close: bool = False
    reset: bool = False

    def __post_init__(self) -> None:
        _check_end(self.code, self.stage, reset=self.reset)
        _check_words(self.code, self.enhanced, self.text)


def _check_end(code: int | None, stage: Stage, *, reset: bool) -> None:
    if reset and code is not None:
        raise ValueError("a connection that is reset gets no reply: leave out code or reset")
    if stage is Stage.MID_DATA and code not in {None, _CLOSING}:
        raise ValueError(f"inside the data a server can only say {_CLOSING} and close, not {code}")


class Persona(_Data, frozen=True):
    """How some servers behave: those of recipient ``domains``, or those at listening ``hosts``, or both at once.

    Args:
        domains: globs over the recipient's domain in lower case: ``*``, ``gmail.com``, ``*.example.test``. May be
            left out where ``hosts`` are given: all domains then.
        hosts: the addresses that a client connected to: ``127.0.0.2``, ``127.0.0.2:2525``, ``:2526``, ``127.0.1.*``,
            or a name given with ``--mx``, ``*.google.test``. Left out: all.
        name: what people and counts call it. Personas of one name share their counts and limits.
        rules: tried in their order at each stage.
        mix: where no rule applied: one outcome of those of the stage is drawn by weight.
        latency_ms: wait before every reply.
        latency_by_stage_ms: instead of ``latency_ms``, for the replies at some stages.
        dot_latency_ms: wait before the reply to the final dot, on top of its latency.
        tarpit_ms_per_rcpt: wait before every reply to RCPT, on top of its latency.
        octets_per_s: every reply trickles at this speed.
        greylist_s: 450 4.7.1 for a (client, sender, recipient) until so many seconds after its first RCPT.
        drop_mid_data: share of mails whose connection is cut after the first octets of data, before the final dot.
        drop_after_dot: share of mails that are taken and recorded, and whose connection is cut instead of the answer.
        tls: what STARTTLS leads to.
        requires_tls: 530 5.7.0 to MAIL in the clear.
        chunking: CHUNKING is offered, and BDAT taken (RFC 3030).
        size_limit: octets of one mail, in place of the script's.
        leaves_out: extensions that EHLO does not offer: ``SMTPUTF8``, ``8BITMIME``, ``SIZE``, ``PIPELINING``.
        connections: open at once; above it 421 and close.
        connections_per_client: the same, for each client address.
        mails_per_connection: final dots on one connection; then 421 and close.
        recipients_per_s: recipients taken each second, no more than a second's worth at once; above it ``over_rate``.
        over_limit: said instead of the plain 421 of the limits above.
        over_rate: said instead of the plain 451 of ``recipients_per_s``.
    """

    domains: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    name: str = ""
    rules: tuple[Rule, ...] = ()
    mix: tuple[Choice, ...] = ()
    latency_ms: Delay = 0
    latency_by_stage_ms: dict[Stage, Delay] = {}
    dot_latency_ms: Delay = 0
    tarpit_ms_per_rcpt: Milliseconds = 0
    octets_per_s: Annotated[float, msgspec.Meta(gt=0, le=1_000_000)] | None = None
    greylist_s: Seconds = 0
    drop_mid_data: Share = 0
    drop_after_dot: Share = 0
    tls: Tls = Tls.DEFAULT
    requires_tls: bool = False
    chunking: bool = False
    size_limit: Annotated[int, msgspec.Meta(ge=1, le=1 << 30)] | None = None
    leaves_out: tuple[Literal["SMTPUTF8", "8BITMIME", "SIZE", "PIPELINING"], ...] = ()
    connections: Limit | None = None
    connections_per_client: Limit | None = None
    mails_per_connection: Limit | None = None
    recipients_per_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    over_limit: Refusal | None = None
    over_rate: Refusal | None = None

    def __post_init__(self) -> None:
        if not (self.domains or self.hosts):
            raise ValueError("a persona needs domains or hosts")
        for glob in self.domains:
            if not glob or glob != glob.lower() or "@" in glob or any(c.isspace() for c in glob):
                raise ValueError(f"domains has {glob!r}, expected a glob over a domain in lower case, without @")
        for host in self.hosts:
            if not host or host != host.lower() or any(c.isspace() for c in host):
                raise ValueError(f"hosts has {host!r}, expected ADDRESS, ADDRESS:PORT, :PORT or a name in lower case")
        if self.over_limit and self.over_limit.code != _CLOSING:
            raise ValueError(f"over_limit closes the connection: its code is {_CLOSING}, not {self.over_limit.code}")
        if not self.meets_connections:
            self._check_knows_recipients()

    @property
    def globs(self) -> tuple[str, ...]:
        """The globs over domains, all when none are given."""
        return self.domains or ANY_DOMAIN

    @property
    def meets_connections(self) -> bool:
        """It answers from the greeting on, not only once a recipient is known."""
        return self.globs == ANY_DOMAIN

    @property
    def label(self) -> str:
        """What counts call it."""
        return self.name or (self.domains or self.hosts)[0]

    def _check_knows_recipients(self) -> None:
        only = 'only a persona with "hosts" and no domains, or with "domains": ["*"], can have it'
        outcomes: tuple[tuple[str, tuple[Rule | Choice, ...]], ...] = (("rules", self.rules), ("mix", self.mix))
        for field, several in outcomes:
            for at, outcome in enumerate(several):
                if outcome.stage not in OF_RECIPIENTS:
                    raise ValueError(
                        f"{field}[{at}] is at stage {outcome.stage.value}, where no recipient is known yet: {only}"
                    )
        for stage in self.latency_by_stage_ms:
            if stage not in OF_RECIPIENTS:
                raise ValueError(f"latency_by_stage_ms has {stage.value}, where no recipient is known yet: {only}")
        if self.tls is not Tls.DEFAULT or self.requires_tls:
            raise ValueError(f"tls and requires_tls are decided before a recipient is known: {only}")
        if self.chunking or self.size_limit is not None or self.leaves_out:
            raise ValueError(f"chunking, size_limit and leaves_out are said before a recipient is known: {only}")
