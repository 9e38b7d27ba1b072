"""Where mail goes: hosts, how to talk to them, from what, and how much of it they get."""

import ipaddress
from dataclasses import dataclass, field
from enum import StrEnum

from mailwarren.contracts.tls import TlsPolicy, TlsSession
from mailwarren.sender.smtp.dane import Dane
from mailwarren.sender.smtp.timeouts import AS_ALL, SiteTimeouts


class TlsMode(StrEnum):
    """How much TLS a site needs."""

    OFF = "off"
    """Never, even when offered."""
    OPPORTUNISTIC = "opportunistic"
    """When offered, whatever the certificate; plain when the handshake fails (RFC 7435)."""
    REQUIRED = "required"
    """Always, whatever the certificate."""
    VERIFY = "verify"
    """Always, and the certificate must be valid for the host's name."""


@dataclass(frozen=True, slots=True)
class Host:
    """One address of one mail host.

    Attributes:
        name: Host name, used for SNI and certificates.
        port: TCP port.
        address: IP address; None leaves the name to the system's resolver (smarthosts).
        preference: MX preference, lower first.
        dane: What DNS says of its certificates, None where it says nothing with certainty.
    """

    name: str
    port: int
    address: str | None = None
    preference: int = field(default=0, compare=False)
    dane: Dane | None = field(default=None, compare=False)

    @property
    def shows(self) -> str:
        """The name that it is asked to show a certificate for: the one that its TLSA records stand at (RFC 7672 §8)."""
        return self.dane.names[0] if self.dane is not None and self.dane.names else self.name

    def __str__(self) -> str:
        """``name[address]:port``, or ``name:port`` without an address."""
        return f"{self.name}[{self.address}]:{self.port}" if self.address else f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Source:
    """What connections come from: addresses of this host, and the name that is said in EHLO.

    Attributes:
        name: What the operator calls it.
        helo: Said in EHLO.
        ipv4: Towards IPv4 addresses; None there takes what the system chooses, if ``ipv6`` is None too.
        ipv6: Towards IPv6 addresses, likewise.

    Raises:
        ValueError: ``helo`` is no name that could be said, or an address is not one of its family.
    """

    name: str
    helo: str
    ipv4: str | None = None
    ipv6: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no connection could come from."""
        check_helo(self.helo)
        if self.ipv4 is not None:
            ipaddress.IPv4Address(self.ipv4)
        if self.ipv6 is not None:
            ipaddress.IPv6Address(self.ipv6)

    @property
    def fixed(self) -> bool:
        """Whether it has addresses, so that it cannot reach what is of another family."""
        return self.ipv4 is not None or self.ipv6 is not None

    def reaches(self, host: Host) -> bool:
        """Whether connections to a host can come from it."""
        return not self.fixed or host.address is None or self.address_to(host) is not None

    def address_to(self, host: Host) -> str | None:
        """The address that a connection to a host comes from; None leaves it to the system.

        A host without an address gets the family that there is, IPv4 before IPv6.
        """
        if host.address is None:
            return self.ipv4 or self.ipv6
        return self.ipv6 if ":" in host.address else self.ipv4


def check_helo(name: str) -> None:
    """Refuse a name that would end the command that says it.

    Raises:
        ValueError: it holds spaces, control characters or characters outside ASCII, or nothing.
    """
    if not name or not name.isascii() or not name.isprintable() or " " in name:
        raise ValueError("helo_name must be a host name")


@dataclass(frozen=True, slots=True)
class Auth:
    """Credentials for SMTP AUTH (RFC 4954).

    Attributes:
        user: The authentication identity.
        password: Its password, never shown by ``repr``.
        plaintext: True allows them over a connection without TLS.

    Raises:
        ValueError: NUL in either, which AUTH PLAIN uses as its separator (RFC 4616).
    """

    user: str
    password: str = field(repr=False)
    plaintext: bool = False

    def __post_init__(self) -> None:
        """Refuse what AUTH PLAIN cannot carry."""
        if "\0" in self.user or "\0" in self.password:
            raise ValueError("user and password may not hold NUL")


@dataclass(frozen=True, slots=True)
class SiteLimits:
    """What may be done to a site, by all senders together; by each process where nothing shares it out.

    Attributes:
        connections: Open at the same time.
        messages_per_connection: Transactions before QUIT, refused ones included.
        idle: Seconds that a connection is kept without work.
        behind: Mails that a busy connection is given beside the one under way, when all are busy and the server offers
            PIPELINING; from 2 on, data and the next envelope go out in one write. 0 waits for each final reply.
        rate: Mails begun in a second; None is as many as go.
        connection_rate: Connections begun in a second; None likewise.
        breaker: Connection failures in a row, over all hosts of the site, after which it is left alone for a while.
        timeouts: What it has otherwise than all; for connections that are opened from now on.
        chunking: Whether messages go out by BDAT where it is offered (RFC 3030).

    Raises:
        ValueError: a limit under which no mail could ever go.
    """

    connections: int = 10
    messages_per_connection: int = 100
    idle: float = 60.0
    behind: int = 0
    rate: float | None = None
    connection_rate: float | None = None
    breaker: int = 100
    timeouts: SiteTimeouts = AS_ALL
    chunking: bool = False

    def __post_init__(self) -> None:
        """Refuse limits that would keep senders waiting for ever."""
        if self.connections < 1 or self.messages_per_connection < 1:
            raise ValueError("a site needs at least one connection and one message on it")
        if any(rate is not None and rate <= 0 for rate in (self.rate, self.connection_rate)) or self.breaker < 1:
            raise ValueError("rates and the breaker's count are above zero")


@dataclass(frozen=True, slots=True)
class DomainPolicy:
    """What the recipients' domain says about TLS to its mail hosts, as far as it is one for all of them (MTA-STS).

    Attributes:
        domain: The policy domain (RFC 8460): the recipients'.
        kind: Whether there is one.
        testing: It is to be tried and reported, not obeyed.
        lines: As it was served.
        mx: Its patterns of mail hosts.
        trouble: What went wrong when it was looked for, until somebody has told of it.
        unavailable: There should be one, and it could not be had: mail goes as if there were none.
    """

    domain: str
    kind: TlsPolicy = TlsPolicy.NONE
    testing: bool = False
    lines: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()
    trouble: list[TlsSession] = field(default_factory=list, compare=False)
    unavailable: bool = False

    @property
    def words(self) -> str:
        """What tells it from others, in the name of a route."""
        return f"{self.kind}{' testing' if self.testing else ''}{' unavailable' if self.unavailable else ''}"

    def take_trouble(self) -> tuple[TlsSession, ...]:
        """What went wrong, once."""
        if not self.trouble:
            return ()
        trouble = tuple(self.trouble)
        self.trouble.clear()
        return trouble


@dataclass(frozen=True, slots=True)
class Site:
    """A set of hosts that serves one destination, under the limits that go by ``name``.

    Destinations of one provider share ``name``, and with it the limits. A connection serves another destination only
    when that has the same hosts and security (``route``): a provider's hosts are not all good for all its domains.

    Attributes:
        tls: How much TLS hosts need of which DNS says nothing (``Host.dane``): the row's, or more.
        row: What the site's row says, where that is not ``tls``.
        policy: What the recipients' domain says; None through a smarthost, whose sessions are not reported to them.
        source: What connections come from; None leaves that to the system.
    """

    name: str
    hosts: tuple[Host, ...]
    tls: TlsMode = TlsMode.OPPORTUNISTIC
    implicit_tls: bool = False
    auth: Auth | None = None
    limits: SiteLimits = SiteLimits()
    row: TlsMode | None = None
    policy: DomainPolicy | None = None
    source: Source | None = None
    route: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compute ``route`` once; as a string it keeps its own hash."""
        if not self.hosts:
            raise ValueError("a site needs a host")
        hosts = ",".join(sorted({f"{host.name}:{host.port}{_mark(host)}" for host in self.hosts}))
        kind = "" if self.policy is None else self.policy.words
        route = f"{self.tls} {kind} {self.implicit_tls} {hash(self.auth)} {hosts}"
        if (source := self.source) is not None:
            route = f"{source.name} {source.helo} {source.ipv4} {source.ipv6} {route}"
        object.__setattr__(self, "route", route)

    @property
    def by_row(self) -> TlsMode:
        """What the rules said when it was made."""
        return self.row or self.tls


def _mark(host: Host) -> str:
    return f"/{host.dane.key}" if host.dane is not None else ""
