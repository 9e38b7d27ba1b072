"""From a recipient's domain to the site that takes its mail: a smarthost for all, or the domain's own MX."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mailwarren.contracts.tls import TlsPolicy, TlsSession
from mailwarren.sender.smtp.domains import ascii_domain
from mailwarren.sender.smtp.mx import DnsFailure, MailHost, Resolver
from mailwarren.sender.smtp.result import Negotiated, PolicyFailure
from mailwarren.sender.smtp.shaping import Shaping
from mailwarren.sender.smtp.site import DomainPolicy, Host, Site, SiteLimits, TlsMode
from mailwarren.sender.smtp.sts import StsMode
from mailwarren.sender.smtp.stscache import Known, StsCache
from mailwarren.sender.smtp.tlsproblem import TlsProblem
from mailwarren.sender.smtp.tlsrules import at_least
from mailwarren.sender.smtp.url import SmtpUrl

SMARTHOST = "smarthost"
"""The site of all mail that goes through a smarthost."""

MOST_DOMAINS = 20_000
"""Domains whose site is kept; the least recently used leave first."""


_NO_RULES = Shaping()
_NO_POLICY = Known()


@dataclass(frozen=True, slots=True)
class _Known:
    hosts: tuple[MailHost, ...]
    shaping: Shaping
    sts: Known
    site: Site | PolicyFailure


class Routes:
    """Finds the site for a domain.

    Args:
        smarthost: Takes everything when given.
        resolver: For direct delivery; may be None with a smarthost.
        mx_port: Port of MX hosts: 25, other values are for tests.
        shaping: The rules in force, asked for each mail, so that changes take effect with the next one.
        policies: The MTA-STS policies of domains; None obeys none.

    Raises:
        ValueError: neither a smarthost nor a resolver.
    """

    def __init__(
        self,
        *,
        smarthost: SmtpUrl | None = None,
        resolver: Resolver | None = None,
        mx_port: int = 25,
        shaping: Callable[[], Shaping] = lambda: _NO_RULES,
        policies: StsCache | None = None,
    ) -> None:
        if smarthost is None and resolver is None:
            raise ValueError("routes need a smarthost or a resolver")
        self._smarthost = smarthost
        self._resolver = resolver
        self._mx_port = mx_port
        self._shaping = shaping
        self._policies = policies
        self._known: OrderedDict[tuple[str, bool], _Known] = OrderedDict()
        self._relays: dict[bool, tuple[Shaping, Site]] = {}

    async def site_for(self, domain: str, *, tls: bool = False) -> Site | DnsFailure | PolicyFailure:
        """Return where mail for ``domain`` goes, or why it can go nowhere. Never raises for DNS trouble.

        The same ``Site`` object is returned as long as hosts, policies and shaping stay.

        Args:
            domain: The recipient's.
            tls: The mail asks for TLS.
        """
        if self._smarthost is not None:
            return self._through(self._smarthost, tls=tls)
        found = await self._resolver.mail_hosts(domain) if self._resolver else ()
        if isinstance(found, DnsFailure):
            return found
        sts = _NO_POLICY if self._policies is None else await self._policies.policy(domain)
        return self._direct(domain, found, sts, tls=tls)

    async def close(self) -> None:
        """End the lookups under way."""
        if self._policies is not None:
            await self._policies.close()
        if self._resolver is not None:
            await self._resolver.close()

    def limits_of(self, site: Site) -> SiteLimits | None:
        """The limits that ``site`` has now; None when its destinations now belong to another site or need other TLS."""
        shaping = self._shaping()
        if site.name == SMARTHOST:
            return shaping.policy(SMARTHOST).limits
        policy = shaping.policy(site.name)
        same = shaping.site_of(site.hosts[0].name) == site.name and policy.tls is site.by_row
        return policy.limits if same else None

    def _through(self, url: SmtpUrl, *, tls: bool) -> Site:
        shaping = self._shaping()
        known = self._relays.get(tls)
        if known is None or known[0] is not shaping:
            hosts = (Host(url.host, url.port),)
            limits = shaping.policy(SMARTHOST).limits
            mode = url.tls if url.implicit_tls else at_least(url.tls, required=tls)
            site = Site(SMARTHOST, hosts, mode, url.implicit_tls, url.auth, limits, row=_unless(url.tls, mode))
            known = self._relays[tls] = shaping, site
        return known[1]

    def _direct(self, domain: str, hosts: tuple[MailHost, ...], sts: Known, *, tls: bool) -> Site | PolicyFailure:
        shaping = self._shaping()
        key = domain, tls
        known = self._known.get(key)
        if known is not None and known.hosts is hosts and known.shaping is shaping and known.sts is sts:
            self._known.move_to_end(key)
            return known.site
        site = self._make(domain, hosts, sts, shaping, tls=tls)
        self._known[key] = _Known(hosts, shaping, sts, site)
        if len(self._known) > MOST_DOMAINS:
            self._known.popitem(last=False)
        return site

    def _make(
        self, domain: str, hosts: tuple[MailHost, ...], sts: Known, shaping: Shaping, *, tls: bool
    ) -> Site | PolicyFailure:
        policy = _policy(ascii_domain(domain), sts)
        allowed = [host for host in hosts if host.dane is None or host.dane.unknown is None]
        if not allowed:
            return self._refuse(policy, hosts, TlsProblem.DNSSEC, hosts[0].dane.unknown if hosts[0].dane else None)
        enforced = sts.policy is not None and sts.policy.mode is StsMode.ENFORCE
        if enforced and sts.policy is not None:
            allowed = [host for host in allowed if host.dane is not None or sts.policy.allows(host.name)]
        if not allowed:
            text = f"the MTA-STS policy of {policy.domain} names none of its mail hosts"
            return self._refuse(policy, hosts, TlsProblem.STS_MX, text)
        # Best first, and by name among equals: all domains of one MX set agree.
        name = shaping.site_of(allowed[0].name)
        rules = shaping.policy(name)
        mode = TlsMode.VERIFY if enforced else at_least(rules.tls, required=tls)
        addresses = tuple(self._host(host, address) for host in allowed for address in host.addresses)
        return Site(name, addresses, mode, limits=rules.limits, row=_unless(rules.tls, mode), policy=policy)

    def _host(self, host: MailHost, address: str) -> Host:
        return Host(host.name, self._mx_port, address, host.preference, host.dane)

    def _refuse(
        self, policy: DomainPolicy, hosts: Sequence[MailHost], problem: TlsProblem, text: str | None
    ) -> PolicyFailure:
        """No host may be used; each is told of once."""
        told = [Negotiated(self._host(host, host.addresses[0]), problem, text or "").told(policy) for host in hosts]
        return PolicyFailure(problem, text or problem.value, [*policy.take_trouble(), *told])


def _unless(row: TlsMode, mode: TlsMode) -> TlsMode | None:
    return row if row is not mode else None


def _policy(domain: str, sts: Known) -> DomainPolicy:
    found = sts.policy
    trouble: list[TlsSession] = sts.trouble
    if found is None:
        return DomainPolicy(domain, trouble=trouble, unavailable=sts.unavailable)
    return DomainPolicy(domain, TlsPolicy.STS, found.mode is StsMode.TESTING, found.lines, found.mx, trouble)
