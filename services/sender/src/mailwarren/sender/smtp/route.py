"""From a recipient's domain to the site that takes its mail: a smarthost for all, or the domain's own MX."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from mailwarren.sender.smtp.mx import DnsFailure, MailHost, Resolver
from mailwarren.sender.smtp.shaping import Shaping
from mailwarren.sender.smtp.site import Host, Site, SiteLimits
from mailwarren.sender.smtp.url import SmtpUrl

SMARTHOST = "smarthost"
"""The site of all mail that goes through a smarthost."""

MOST_DOMAINS = 20_000
"""Domains whose site is kept; the least recently used leave first."""


_NO_RULES = Shaping()


@dataclass(frozen=True, slots=True)
class _Known:
    hosts: tuple[MailHost, ...]
    shaping: Shaping
    site: Site


class Routes:
    """Finds the site for a domain.

    Args:
        smarthost: Takes everything when given.
        resolver: For direct delivery; may be None with a smarthost.
        mx_port: Port of MX hosts: 25, other values are for tests.
        shaping: The rules in force, asked for each mail, so that changes take effect with the next one.

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
    ) -> None:
        if smarthost is None and resolver is None:
            raise ValueError("routes need a smarthost or a resolver")
        self._smarthost = smarthost
        self._resolver = resolver
        self._mx_port = mx_port
        self._shaping = shaping
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def site_for(self, domain: str) -> Site | DnsFailure:
        """Return where mail for ``domain`` goes, or why it can go nowhere. Never raises for DNS trouble.

        The same ``Site`` object is returned as long as hosts and shaping stay.
        """
        if self._smarthost is not None:
            return self._through(self._smarthost)
        found = await self._resolver.mail_hosts(domain) if self._resolver else ()
        return found if isinstance(found, DnsFailure) else self._direct(domain, found)

    def limits_of(self, site: Site) -> SiteLimits | None:
        """The limits that ``site`` has now; None when its destinations now belong to another site or need other TLS."""
        shaping = self._shaping()
        if site.name == SMARTHOST:
            return shaping.policy(SMARTHOST).limits
        policy = shaping.policy(site.name)
        same = shaping.site_of(site.hosts[0].name) == site.name and policy.tls is site.tls
        return policy.limits if same else None

    def _through(self, url: SmtpUrl) -> Site:
        shaping = self._shaping()
        known = self._known.get(SMARTHOST)
        if known is None or known.shaping is not shaping:
            hosts = (Host(url.host, url.port),)
            limits = shaping.policy(SMARTHOST).limits
            site = Site(SMARTHOST, hosts, url.tls, url.implicit_tls, url.auth, limits)
            known = self._known[SMARTHOST] = _Known((), shaping, site)
        return known.site

    def _direct(self, domain: str, hosts: tuple[MailHost, ...]) -> Site:
        shaping = self._shaping()
        known = self._known.get(domain)
        if known is not None and known.hosts is hosts and known.shaping is shaping:
            self._known.move_to_end(domain)
            return known.site
        # Best first, and by name among equals: all domains of one MX set agree.
        name = shaping.site_of(hosts[0].name)
        policy = shaping.policy(name)
        addresses = tuple(
            Host(host.name, self._mx_port, address, host.preference) for host in hosts for address in host.addresses
        )
        site = Site(name, addresses, policy.tls, limits=policy.limits)
        self._known[domain] = _Known(hosts, shaping, site)
        if len(self._known) > MOST_DOMAINS:
            self._known.popitem(last=False)
        return site
