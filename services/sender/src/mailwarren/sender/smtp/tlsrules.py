"""Whose rule holds for a host's TLS, and in which order connections to it are tried (docs/adr/0032).

DANE of the host before MTA-STS of the recipients' domain before the row of the site; a mail that asks for TLS raises
what the row says.
"""

from dataclasses import dataclass
from enum import Enum, auto

from mailwarren.contracts.tls import TlsPolicy
from mailwarren.sender.smtp.brokentls import BrokenTls
from mailwarren.sender.smtp.site import Host, Site, TlsMode


class Check(Enum):
    """What is asked of a server's certificate."""

    ANY = auto()
    """Nothing: TLS against those who only listen (RFC 7435)."""
    PKIX = auto()
    """An authority that is trusted here vouches for it, under the host's name."""
    DANE = auto()
    """A TLSA record fits it."""


@dataclass(frozen=True, slots=True)
class Way:
    """How one connection is tried: with which check, None in the clear from the start.

    ``clear``: it may go on in the clear when the server offers no STARTTLS, or refuses it.
    """

    check: Check | None
    clear: bool = False


IN_THE_CLEAR = Way(None, clear=True)
_WAYS = {
    TlsMode.OFF: (IN_THE_CLEAR,),
    TlsMode.OPPORTUNISTIC: (Way(Check.ANY, clear=True), IN_THE_CLEAR),
    TlsMode.REQUIRED: (Way(Check.ANY),),
    TlsMode.VERIFY: (Way(Check.PKIX),),
}


def ways(host: Host, site: Site, broken: BrokenTls) -> tuple[Way, ...]:
    """The connections to ``host`` that are tried one after the other, as long as TLS is what fails."""
    if host.dane is not None:
        return (Way(Check.DANE if host.dane.records else Check.ANY),)
    tried = _WAYS[site.tls]
    if site.implicit_tls:
        return tried[:1]
    if site.tls is TlsMode.OPPORTUNISTIC and broken.holds(host):
        return (IN_THE_CLEAR,)
    if site.policy is not None and site.policy.testing and tried[0].check is Check.ANY:
        return (Way(Check.PKIX, clear=tried[0].clear), *tried)
    return tried


def rule_of(host: Host, site: Site) -> str | None:
    """The rule that the TLS of a connection to ``host`` has to keep, as ``Attempt.tls_policy`` names it."""
    if host.dane is not None:
        return "dane"
    if site.policy is not None and site.policy.kind is TlsPolicy.STS:
        return "mta-sts testing" if site.policy.testing else "mta-sts"
    if site.tls in {TlsMode.REQUIRED, TlsMode.VERIFY}:
        return site.tls.value
    return "mta-sts unavailable" if site.policy is not None and site.policy.unavailable else None


def at_least(mode: TlsMode, *, required: bool) -> TlsMode:
    """``mode``, or TLS whatever the certificate where that is less and the mail asks for it."""
    return TlsMode.REQUIRED if required and mode in {TlsMode.OFF, TlsMode.OPPORTUNISTIC} else mode
