"""How sites are treated: which mail hosts make a site, its limits and its TLS. New rules are a new object."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from mailwarren.sender.smtp.domains import site_name
from mailwarren.sender.smtp.site import SiteLimits, TlsMode


@dataclass(frozen=True, slots=True)
class SitePolicy:
    """How a site is treated. For the smarthost its URL decides about TLS."""

    limits: SiteLimits = field(default_factory=SiteLimits)
    tls: TlsMode = TlsMode.OPPORTUNISTIC


class Shaping:
    """The policies of all sites.

    Args:
        sites: Policies by the name of the site.
        default: The policy of all others.
        mx: Which site a mail host belongs to, by its name (``mx.example.org``) or by its end (``.example.org``). The
            longest one that fits counts. Other hosts belong to a site named after their registered domain, roughly.
    """

    __slots__ = ("_default", "_mx", "_sites")

    def __init__(
        self,
        sites: Mapping[str, SitePolicy] = MappingProxyType({}),
        *,
        default: SitePolicy | None = None,
        mx: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._sites = dict(sites)
        self._default = default or SitePolicy()
        self._mx = dict(mx)

    @property
    def names(self) -> frozenset[str]:
        """The sites that have a policy of their own."""
        return frozenset(self._sites)

    def policy(self, site: str) -> SitePolicy:
        """The policy of ``site``: the same object each time."""
        return self._sites.get(site, self._default)

    def site_of(self, mail_host: str) -> str:
        """Name the site that ``mail_host`` (lower case, no trailing dot) belongs to."""
        end = mail_host
        while end:
            found = self._mx.get(end)
            if found is not None:
                return found
            dot = end.find(".", 1)
            end = end[dot:] if dot > 0 else ""
        return site_name(mail_host)
