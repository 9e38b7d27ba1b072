"""From a recipient's domain to the site that takes its mail: a smarthost for all, or the domain's own MX."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from mailwarren.sender.smtp.domains import site_name
from mailwarren.sender.smtp.mx import DnsFailure, MailHost, Resolver
from mailwarren.sender.smtp.site import Host, Site, SiteLimits, TlsMode
from mailwarren.sender.smtp.url import SmtpUrl

SMARTHOST = "smarthost"
"""The site of all mail that goes through a smarthost."""

MOST_DOMAINS = 20_000
"""Domains whose site is kept; the least recently used leave first."""


@dataclass(frozen=True, slots=True)
class SitePolicy:
    """How a site is treated. For the smarthost its URL decides about TLS."""

    limits: SiteLimits = field(default_factory=SiteLimits)
    tls: TlsMode = TlsMode.OPPORTUNISTIC


DEFAULT_POLICY = SitePolicy()

PROVIDER_POLICIES: Mapping[str, SitePolicy] = MappingProxyType(
    {
        "google": SitePolicy(SiteLimits(connections=5, messages_per_connection=50), TlsMode.REQUIRED),
        "microsoft": SitePolicy(SiteLimits(connections=5, messages_per_connection=50)),
        "yahoo": SitePolicy(SiteLimits(connections=10, messages_per_connection=20)),
        "apple": SitePolicy(SiteLimits(connections=10, messages_per_connection=5)),
    }
)
"""What the large providers stand from one address, until told otherwise."""


def default_policy(site: str) -> SitePolicy:
    """The built-in policy for ``site``."""
    return PROVIDER_POLICIES.get(site, DEFAULT_POLICY)


@dataclass(frozen=True, slots=True)
class _Known:
    hosts: tuple[MailHost, ...]
    policy: SitePolicy
    site: Site


class Routes:
    """Finds the site for a domain.

    Args:
        smarthost: Takes everything when given.
        resolver: For direct delivery; may be None with a smarthost.
        mx_port: Port of MX hosts: 25, other values are for tests.
        policy: Limits and TLS by site name, asked each time, so that changes take effect with the next mail.

    Raises:
        ValueError: neither a smarthost nor a resolver.
    """

    def __init__(
        self,
        *,
        smarthost: SmtpUrl | None = None,
        resolver: Resolver | None = None,
        mx_port: int = 25,
        policy: Callable[[str], SitePolicy] = default_policy,
    ) -> None:
        if smarthost is None and resolver is None:
            raise ValueError("routes need a smarthost or a resolver")
        self._smarthost = smarthost
        self._resolver = resolver
        self._mx_port = mx_port
        self._policy = policy
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def site_for(self, domain: str) -> Site | DnsFailure:
        """Return where mail for ``domain`` goes, or why it can go nowhere. Never raises for DNS trouble.

        The same ``Site`` object is returned as long as hosts and policy stay.
        """
        if self._smarthost is not None:
            return self._through(self._smarthost)
        found = await self._resolver.mail_hosts(domain) if self._resolver else ()
        return found if isinstance(found, DnsFailure) else self._direct(domain, found)

    def _through(self, url: SmtpUrl) -> Site:
        policy = self._policy(SMARTHOST)
        known = self._known.get(SMARTHOST)
        if known is None or known.policy is not policy:
            hosts = (Host(url.host, url.port),)
            site = Site(SMARTHOST, hosts, url.tls, url.implicit_tls, url.auth, policy.limits)
            known = self._known[SMARTHOST] = _Known((), policy, site)
        return known.site

    def _direct(self, domain: str, hosts: tuple[MailHost, ...]) -> Site:
        known = self._known.get(domain)
        if known is not None and known.hosts is hosts and known.policy is self._policy(known.site.name):
            self._known.move_to_end(domain)
            return known.site
        # Best first, and by name among equals: all domains of one MX set agree.
        name = site_name(hosts[0].name)
        policy = self._policy(name)
        addresses = tuple(
            Host(host.name, self._mx_port, address, host.preference) for host in hosts for address in host.addresses
        )
        site = Site(name, addresses, policy.tls, limits=policy.limits)
        self._known[domain] = _Known(hosts, policy, site)
        if len(self._known) > MOST_DOMAINS:
            self._known.popitem(last=False)
        return site
